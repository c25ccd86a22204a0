"""The opa of policy authors: the right release, or a sentence that says how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.errors import InputError
from placet.policy.authoring.opa import find_opa
from tools.bundle import find_opa as find_pinned


def program(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'Version: {version}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_the_one_that_is_named_comes_first(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "opa", "1.22.2")
    environment = {"PLACET_OPA": find_pinned(), "PATH": str(tmp_path / "bin")}
    assert find_opa(environment).path == find_pinned()


def test_the_one_on_path_is_taken_unless_it_is_of_another_release(tmp_path: Path) -> None:
    here = program(tmp_path / "bin" / "opa", "1.22.2")
    other = program(tmp_path / "other" / "opa", "0.68.0")
    cached = program(tmp_path / "cache" / "bin" / "opa", "1.22.2")
    nowhere = str(tmp_path / "none")
    assert find_opa({"PATH": str(here.parent), "PLACET_CACHE": nowhere}).path == str(here)
    assert find_opa({"PATH": str(other.parent), "PLACET_CACHE": str(tmp_path / "cache")}).path == str(cached)
    with pytest.raises(InputError, match=r"there is no opa 1\.22\.2.*is 0\.68\.0") as caught:
        find_opa({"PATH": str(other.parent), "PLACET_CACHE": nowhere})
    assert "opa@v1.22.2" in caught.value.hint
    assert "PLACET_OPA" in caught.value.hint
    assert caught.value.code == "opa_missing"


def test_one_that_is_named_and_not_there_is_not_replaced_by_another(tmp_path: Path) -> None:
    here = program(tmp_path / "bin" / "opa", "1.22.2")
    with pytest.raises(InputError, match="nowhere/opa is no opa"):
        find_opa({"PLACET_OPA": "/nowhere/opa", "PATH": str(here.parent)})
