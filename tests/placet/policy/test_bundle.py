from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from placet.canonical import Digest
from placet.errors import EngineError
from placet.policy.bundle import SHIPPED, load_bundle, parse_manifest, shipped_bundle
from placet.policy.catalog import Catalog, rule


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_reads_the_bundle_that_ships() -> None:
    bundle = shipped_bundle()
    assert bundle.revision.startswith("sha256:")
    assert (bundle.compiler, bundle.entry_point) == ("1.22.2", "admission/main/decision")
    assert len(bundle.rules) == 29
    assert bundle.guard.id == "admission.main"


def _change(folder: Path, **fields: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), "utf-8")


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": "placet.dev/policy-bundle/v2"},
        {"revision": "main"},
        {"revision": 7},
        {"entrypoints": []},
        {"entrypoints": ["a", "b"]},
        {"rules": []},
        {"rules": ["approvals.required"]},
        {"rules": [{"id": "a"}]},
        {"rules": None},
        {"guard": None},
        {"files": {"policy.wasm": "none"}},
        {"files": []},
        {"compiler": ""},
    ],
)
def test_a_manifest_that_can_not_be_used_is_refused(folder: Path, fields: dict[str, Any]) -> None:
    _change(folder, **fields)
    with pytest.raises(EngineError, match="no usable manifest") as caught:
        load_bundle(folder)
    assert caught.value.code == "bundle_invalid"
    assert "`placet policy bundle build`" in caught.value.hint
    assert "make" not in caught.value.hint


def test_who_has_the_shipped_bundle_damaged_is_told_to_install_placet_again() -> None:
    with pytest.raises(EngineError, match="no usable manifest") as caught:
        parse_manifest(b"{", folder=SHIPPED)
    assert caught.value.hint.startswith("Install placet again")


def test_a_rule_that_is_named_twice_is_refused(folder: Path) -> None:
    rules = json.loads((folder / "manifest.json").read_text("utf-8"))["rules"]
    _change(folder, rules=[*rules, rules[0]])
    with pytest.raises(EngineError, match="names no rules, or one twice"):
        load_bundle(folder)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b"\xff"])
def test_a_manifest_that_is_no_json_object_is_refused(folder: Path, raw: bytes) -> None:
    (folder / "manifest.json").write_bytes(raw)
    with pytest.raises(EngineError) as caught:
        load_bundle(folder)
    assert caught.value.code == "bundle_invalid"


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        load_bundle(tmp_path / "none")
    assert caught.value.code == "bundle_invalid"


@pytest.mark.parametrize("name", ["policy.wasm", "bundle.tar.gz", "schemas/input.json", "defaults/risk.yaml"])
def test_a_file_that_is_changed_missing_or_not_named_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(EngineError, match="is not the one in its manifest"):
        load_bundle(folder).load_file(name)
    path.unlink()
    with pytest.raises(EngineError, match="can't be read") as caught:
        load_bundle(folder).load_file(name)
    assert caught.value.code == "bundle_invalid"
    path.with_name("stray").write_bytes(b"")
    with pytest.raises(EngineError, match="is not the one in its manifest"):
        load_bundle(folder).load_file(str(path.with_name("stray").relative_to(folder)))


def test_the_catalog_knows_every_rule_and_the_guard() -> None:
    assert [each.id for each in Catalog(shipped_bundle()).rules] == sorted(
        [*(each.id for each in shipped_bundle().rules), "admission.main"]
    )
    assert rule("approvals.required").severity == "high"
    assert "placet approve" in rule("approvals.required").solution
    assert rule("admission.main").title


def test_the_catalog_has_something_to_say_about_a_rule_that_it_does_not_know() -> None:
    unknown = Catalog(shipped_bundle()).rule("stars.aligned")
    assert unknown.title
    assert unknown.solution


def test_reads_the_modules_of_the_archive() -> None:
    modules = shipped_bundle().load_modules()
    assert "package admission.main" in modules["admission/main/main.rego"]
    assert {name.rpartition(".")[2] for name in modules} == {"rego"}


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b"", mtime=0), gzip.compress(bytes(1024), mtime=0)[:-9]],
    ids=["empty", "no-archive", "no-files", "cut"],
)
def test_an_archive_without_modules_is_refused(folder: Path, content: bytes) -> None:
    (folder / "bundle.tar.gz").write_bytes(content)
    _change(folder, files={"bundle.tar.gz": str(Digest.of(content))})
    with pytest.raises(EngineError) as caught:
        load_bundle(folder).load_modules()
    assert caught.value.code == "bundle_invalid"


def test_an_archive_that_is_not_the_manifests_is_refused(folder: Path) -> None:
    (folder / "bundle.tar.gz").write_bytes((folder / "bundle.tar.gz").read_bytes() + b"x")
    with pytest.raises(EngineError, match="not the one in its manifest"):
        load_bundle(folder).load_modules()
