"""The artefacts: reproducible, those of the sources, and built only from what may be in them."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from placet.canonical import Digest
from placet.errors import InputError
from placet.policy.authoring.checking import find_faults
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.tree import find_tree
from placet.policy.bundle import SHIPPED, shipped_bundle
from placet.policy.data import load_policy_data
from tests.policies.programs import POLICIES, ROOT
from tools import bundle


@pytest.fixture(scope="module")
def built() -> dict[str, bytes]:
    return bundle.build(bundle.find_opa())


def test_the_checked_in_bundle_is_what_the_sources_give(built: dict[str, bytes]) -> None:
    assert bundle.check(built) == []
    assert (POLICIES / "capabilities.json").read_bytes() == bundle.capabilities(bundle.find_opa())


def test_the_rule_reference_is_what_the_metadata_gives(built: dict[str, bytes]) -> None:
    assert (ROOT / "docs" / "rules.md").read_bytes() == bundle.reference(built)


def test_the_bytes_do_not_depend_on_the_folder(built: dict[str, bytes], tmp_path: Path) -> None:
    elsewhere = tmp_path / "a" / "deeper" / "policies"
    shutil.copytree(POLICIES, elsewhere)
    (elsewhere / "admission" / "stray.json").write_text('{"rules": {"stray": true}}', "utf-8")
    assert bundle.build(bundle.find_opa(), elsewhere) == built


def test_a_changed_rule_changes_the_revision_and_the_check_sees_it(built: dict[str, bytes], tmp_path: Path) -> None:
    shutil.copytree(POLICIES, tmp_path / "policies")
    rule = tmp_path / "policies" / "admission" / "rules" / "images" / "pinned" / "pinned.rego"
    rule.write_text(rule.read_text("utf-8") + "\npasses if input.dry_run\n", "utf-8")
    changed = bundle.build(bundle.find_opa(), tmp_path / "policies")
    assert set(bundle.check(changed)) == {"bundle.tar.gz", "manifest.json", "policy.wasm"}
    assert json.loads(changed["manifest.json"])["revision"] != shipped_bundle().revision


def test_a_stray_file_in_the_bundle_is_seen(built: dict[str, bytes]) -> None:
    assert bundle.check({name: content for name, content in built.items() if name != "policy.wasm"}) == ["policy.wasm"]
    assert bundle.check(built | {"new": b""}) == ["new"]


def test_the_archive_holds_sources_without_tests_times_or_names() -> None:
    raw = (SHIPPED / "bundle.tar.gz").read_bytes()
    assert raw[4:8] == bytes(4)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(raw))) as archive:
        members = archive.getmembers()
    assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}
    names = [member.name for member in members]
    assert names == sorted(names)
    assert not [name for name in names if "test" in name or "fixtures" in name or name.endswith(".yaml")]
    assert json.loads(_member(raw, "/.manifest")) == {
        "revision": shipped_bundle().revision,
        "roots": ["admission"],
        "rego_version": 1,
    }
    assert json.loads(_member(raw, "/data.json")) == {}


def _member(raw: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(raw))) as archive:
        content = archive.extractfile(name)
        assert content is not None
        return content.read()


def test_a_package_is_one_file_since_an_opa_is_given_one_module_at_a_time() -> None:
    modules = shipped_bundle().load_modules().values()
    packages = [line for text in modules for line in text.splitlines() if line.startswith("package ")]
    assert len(packages) == len(set(packages)) == len(modules)


def test_the_manifest_names_every_file_and_every_rule() -> None:
    shipped = shipped_bundle()
    present = {path.relative_to(SHIPPED).as_posix() for path in SHIPPED.rglob("*") if path.is_file()}
    assert set(shipped.files) == present - {"manifest.json"}
    assert all(Digest.of((SHIPPED / name).read_bytes()) == digest for name, digest in shipped.files.items())
    folders = {
        f"{path.parent.parent.name}.{path.parent.name}"
        for path in (POLICIES / "admission/rules").glob("*/*/*_test.rego")
    }
    assert {rule.id for rule in shipped.rules} == folders


def test_every_rule_says_what_it_is_and_what_to_do() -> None:
    for rule in (*shipped_bundle().rules, shipped_bundle().guard):
        assert rule.severity in {"critical", "high", "medium", "low", "info"}
        assert rule.title
        assert rule.controls
        for text in (rule.description, rule.solution):
            assert text.endswith(".")
            assert "\n" not in text


def test_rules_about_rules_refuse_a_rule_without_annotations_and_tests(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    shutil.copytree(POLICIES, policies)
    folder = policies / "admission" / "rules" / "images" / "signed"
    folder.mkdir()
    (folder / "signed.rego").write_text("package admission.rules.images.signed\n\nreport := set()\n", "utf-8")
    pinned = policies / "admission" / "rules" / "images" / "pinned" / "pinned_test.rego"
    pinned.write_text(pinned.read_text("utf-8").replace("test_fails_", "test_refuses_"), "utf-8")
    faults = find_faults(Opa(bundle.find_opa()), find_tree(policies), load_policy_data(None))
    assert {(Path(each.file).stem, each.code, each.message.split()[-1]) for each in faults} == {
        ("pinned", "no_test", "file"),
        ("signed", "controls_missing", "answers"),
        ("signed", "no_test", "file"),
        ("signed", "part_missing", "reason"),
        ("signed", "severity_unknown", "info"),
        ("signed", "text_missing", "description"),
        ("signed", "text_missing", "solution"),
        ("signed", "text_missing", "title"),
    }


def test_a_missing_opa_says_how_to_get_it() -> None:
    done = _run_tool({"PLACET_OPA": "/nowhere/opa"})
    assert done.returncode == 2
    assert "there is no opa at /nowhere/opa: run `python tools/build.py opa`" in done.stderr


def test_an_opa_of_another_version_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "opa"
    other.write_text("#!/bin/sh\necho 'Version: 1.0.0'\n", "utf-8")
    other.chmod(0o755)
    done = _run_tool({"PLACET_OPA": str(other)})
    assert done.returncode == 2
    assert "is version 1.0.0: the bundle is built with 1.22.2 alone" in done.stderr


def _run_tool(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "bundle.py"), "--check"]
    return subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False
    )


def test_policies_that_do_not_compile_are_refused_with_file_and_line(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    shutil.copytree(POLICIES, policies)
    broken = policies / "admission" / "rules" / "images" / "pinned" / "pinned.rego"
    broken.write_text(broken.read_text("utf-8") + "\nlate if time.now_ns() > 0\n", "utf-8")
    with pytest.raises(InputError, match=r"pinned\.rego:\d+: rego_type_error: undefined function time\.now_ns"):
        bundle.build(bundle.find_opa(), policies)
