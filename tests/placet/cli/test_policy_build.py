"""`placet policy bundle build`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from placet.cli import root
from placet.policy.bundle import SHIPPED, load_bundle
from placet.policy.signed import SIGNATURE
from tools.bundle import find_opa

RULE = Path("team/rules/scale/modest/modest.rego")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLACET_OPA", find_opa())
    return tmp_path


def run(*arguments: str, expect: int = 0) -> Result:
    done = CliRunner().invoke(root, ["policy", *arguments], prog_name="placet")
    assert done.exit_code == expect, done.output
    return done


def build(*arguments: str, expect: int = 0) -> Result:
    return run("bundle", "build", *arguments, expect=expect)


def test_what_ships_alone_is_built_again_byte_for_byte() -> None:
    build("--out", "built")
    for path in (path for path in SHIPPED.rglob("*") if path.is_file()):
        assert (Path("built") / path.relative_to(SHIPPED)).read_bytes() == path.read_bytes()
    assert build("--out", "built", "--check").stdout.startswith("built")


def test_a_bundle_of_a_team_is_built_judged_by_and_compared() -> None:
    run("new", "scale.modest", "--policies", "team")
    Path("team/config").mkdir()
    Path("team/config/modest.yaml").write_text("rules: {scale.modest: {mode: warn}}\n", "utf-8")
    shown = json.loads(build("--policies", "team", "--out", "built", "-o", "json").stdout)
    assert (shown["own_rules"], shown["own_data"]) == (["scale.modest"], ["team/config/modest.yaml"])
    assert shown["rules"] == [rule.id for rule in load_bundle(Path("built")).rules]
    config = run("config", "--bundle", "built", "--explain", "--key", "rules").stdout
    assert "scale.modest" in config
    assert "built/overlay/modest.yaml:1" in config
    assert "team/config/modest.yaml:1" in run("config", "--policies", "team", "--explain", "--key", "rules").stdout
    (Path("built") / SIGNATURE).write_text("{}", "utf-8")
    build("--policies", "team", "--out", "built", "--check")
    RULE.write_text(RULE.read_text("utf-8") + "\nnever := 1\n", "utf-8")
    differs = build("--policies", "team", "--out", "built", "--check", expect=1)
    assert "is not what the policies give: bundle.tar.gz, manifest.json" in differs.stderr


def test_nothing_is_written_while_something_is_wrong() -> None:
    run("new", "scale.modest", "--policies", "team")
    RULE.write_text(RULE.read_text("utf-8").replace("input.workload.namespace)", "input.workload.place)"), "utf-8")
    refused = build("--policies", "team", "--out", "built", expect=1)
    assert f"{RULE}:26: rego_type_error: undefined ref: input.workload.place" in refused.stderr
    assert "nothing was written" in refused.stderr
    Path("team/config").mkdir()
    Path("team/config/team.yaml").write_text("limits:\n  default:\n    latency_p95_ms: 0\n", "utf-8")
    assert "team/config/team.yaml:3: " in build("--policies", "team", "--out", "built", expect=2).stderr
    assert not Path("built").exists()


def test_an_empty_folder_is_no_policies_and_a_bundle_without_rules_none() -> None:
    Path("empty").mkdir()
    assert "holds no policies" in build("--policies", "empty", "--out", "built", expect=2).stderr
    manifest = json.loads((SHIPPED / "manifest.json").read_text("utf-8"))
    (Path("empty") / "manifest.json").write_text(json.dumps({**manifest, "rules": []}), "utf-8")
    assert "it names no rules" in run("matrix", "--bundle", "empty", expect=2).stderr


def test_a_folder_with_something_else_in_it_is_left_alone() -> None:
    Path("built").mkdir()
    Path("built/letters").write_text("dear", "utf-8")
    assert "holds no policy bundle" in build("--out", "built", expect=2).stderr
    assert [path.name for path in Path("built").iterdir()] == ["letters"]


def test_a_missing_or_another_opa_says_how_to_get_it(here: Path) -> None:
    missing = build("--out", "built", "--opa", "/nowhere/opa", expect=2).stderr
    assert "there is no opa 1.22.2, which compiles and tests policies: /nowhere/opa is no opa" in missing
    assert "go install github.com/open-policy-agent/opa@v1.22.2" in missing
    other = here / "opa"
    other.write_text("#!/bin/sh\necho 'Version: 1.0.0'\n", "utf-8")
    other.chmod(0o755)
    assert f"{other} is 1.0.0" in build("--out", "built", "--opa", str(other), expect=2).stderr


def test_a_category_of_what_ships_is_taken() -> None:
    assert "placet's own rules are in images" in run("new", "images.ours", "--policies", "team", expect=2).stderr


def test_sources_and_a_compiled_bundle_are_not_shown_at_once() -> None:
    assert "name one of them" in run("config", "--bundle", "a", "--policies", "b", expect=2).stderr
