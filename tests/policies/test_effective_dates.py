"""A rule that is announced for a day: written in seconds by the build, a warning until then, an order from then on."""

from __future__ import annotations

import copy
import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from placet.cli import root
from placet.errors import EngineError, InputError
from placet.policy.bundle import Bundle, load_bundle
from placet.policy.data import load_policy_data, merge_policy_data
from placet.policy.wasm import EmbeddedEngine
from tests.policies.documents import passing_request
from tests.policies.programs import POLICIES
from tests.simulators.gate import example
from tools import bundle

DAY = datetime(2027, 1, 31, 8, 30, tzinfo=UTC)
RULE = Path("admission/rules/images/pinned/pinned.rego")
CONTROLS = "#   controls:\n"


def announce(folder: Path, day: str, *, line: str = bundle.EFFECTIVE_S) -> Path:
    """The policies with images.pinned announced for a day; their folder."""
    policies = folder / "policies"
    shutil.copytree(POLICIES, policies)
    text = (policies / RULE).read_text("utf-8").replace(CONTROLS, f"#   effective_on: {day}\n{CONTROLS}", 1)
    (policies / RULE).write_text(f"{text}\n{line}\n", "utf-8")
    return policies


@pytest.fixture(scope="module")
def announced(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("announced")
    policies = announce(folder, '"2027-01-31T09:30:00+01:00"')
    for name, content in bundle.build(bundle.find_opa(), policies).items():
        (folder / "bundle" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "bundle" / name).write_bytes(content)
    return load_bundle(folder / "bundle")


def unpinned(moment: datetime) -> dict[str, object]:
    document = copy.deepcopy(passing_request())
    shift = int(moment.timestamp()) - document["time_s"]
    document["time_s"] += shift
    for approval in document["approvals"]:
        approval["expires_s"] += shift
    document["images"][0]["digest"] = ""
    return document


def test_the_manifest_and_the_rule_reference_have_the_day_in_utc(announced: Bundle) -> None:
    assert {rule.id: rule.effective_on for rule in announced.rules if rule.effective_on} == {"images.pinned": DAY}
    raw = {"manifest.json": announced.load_manifest()}
    assert "In force from 2027-01-31T08:30:00Z; until then it warns." in bundle.reference(raw).decode()


def test_the_day_is_in_the_revision(announced: Bundle, tmp_path: Path) -> None:
    other = bundle.sources(announce(tmp_path, "2027-01-31"))
    assert bundle.source_digest(other) != announced.revision


def test_it_warns_until_its_second_and_refuses_from_then_on(announced: Bundle) -> None:
    engine = EmbeddedEngine(announced, load_policy_data(None))
    before = engine.decide(unpinned(datetime(2027, 1, 31, 8, 29, 59, tzinfo=UTC)), deadline_s=60)
    assert (before.allowed, before.tolerated) == (True, ("images.pinned",))
    assert {(one.rule, one.mode) for one in before.warnings} == {("images.pinned", "warn")}
    then = engine.decide(unpinned(DAY), deadline_s=60)
    assert not then.allowed
    assert {(one.rule, one.mode) for one in then.violations} == {("images.pinned", "enforce")}
    engine.close()


def test_another_day_is_tried_with_the_clock_of_the_request(announced: Bundle) -> None:
    data = load_policy_data(None)
    today = unpinned(datetime(2026, 11, 23, tzinfo=UTC))
    for moment, allowed in ((None, True), (DAY, False), (datetime(2027, 1, 31, tzinfo=UTC), True)):
        engine = EmbeddedEngine(announced, data.at_time(moment))
        assert engine.decide(today, deadline_s=60).allowed is allowed
        engine.close()
    assert data.at_time(DAY).digest == data.digest


@pytest.mark.parametrize(
    ("day", "seconds"),
    [
        ("2027-01-31", 1801353600),
        ("'2027-01-31T00:00:00Z'", 1801353600),
        ('"2027-01-31T00:00:00+02:00"', 1801346400),
        ("1969-12-31", -86400),
    ],
)
def test_a_day_is_written_in_seconds_beside_it(day: str, seconds: int) -> None:
    source = f"# METADATA\n# custom:\n#   effective_on: {day}\n#   severity: low\npackage a\n\n{bundle.EFFECTIVE_S}\n"
    written = bundle.write_seconds("a.rego", source.encode()).decode()
    assert re.findall(r"^#   effective_s: (-?\d+)$", written, re.MULTILINE) == [str(seconds)]
    assert written.replace(f"#   effective_s: {seconds}\n", "") == source


@pytest.mark.parametrize("day", ["soon", "31.01.2027", "2027-02-30", "2027-01-31T08:00:00", "2027-1-3", "", "20270131"])
def test_what_is_no_day_is_refused_with_file_and_line(day: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pinned\.rego:\d+: effective_on"):
        bundle.sources(announce(tmp_path, day))


@pytest.mark.parametrize("line", ["", "effective_s := 4102444800", "effective_s := 1 if input.dry_run"])
def test_a_day_that_the_rule_does_not_give_or_makes_up_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a rule has this line"):
        bundle.sources(announce(tmp_path, "2027-01-31", line=line))


def test_a_rule_without_a_day_makes_none_up() -> None:
    for source in ("package a\n\neffective_s := 4102444800\n", "#   effective_s: 4102444800\npackage a\n"):
        with pytest.raises(InputError, match="and only then"):
            bundle.write_seconds("a.rego", source.encode())


def test_policy_data_can_not_name_another_day(announced: Bundle) -> None:
    with pytest.raises(EngineError, match="effective_time_s"):
        merge_policy_data(b"effective_time_s: 1\n", name="data")
    data = load_policy_data(None)
    assert "effective_time_s" not in data.stamped(expected_rules=1)
    hidden = replace(data, value={**data.value, "rules": {"images.pinned": {"effective_s": 4102444800}}})
    engine = EmbeddedEngine(announced, hidden)
    assert not engine.decide(unpinned(DAY), deadline_s=60).allowed
    engine.close()


def run(*arguments: str, expect: int) -> Result:
    done = CliRunner().invoke(root, arguments, prog_name="placet")
    assert done.exit_code == expect, done.output
    return done


def test_eval_and_matrix_show_what_is_announced(announced: Bundle, tmp_path: Path) -> None:
    request = tmp_path / "input.json"
    request.write_text(json.dumps(unpinned(datetime(2026, 11, 23, tzinfo=UTC))), "utf-8")
    asked = ["policy", "eval", "-i", str(request), "--bundle", str(announced.folder)]
    assert "warn: images.pinned/image_not_pinned" in run(*asked, expect=0).stdout
    refused = run(*asked, "--effective-time", "2027-01-31T08:30:00Z", expect=1).stdout
    assert "enforce: images.pinned/image_not_pinned" in refused
    matrix = run("policy", "matrix", "--bundle", str(announced.folder), "-o", "json", expect=0)
    assert json.loads(matrix.stdout)["announced"] == [{"rule": "images.pinned", "effective_on": "2027-01-31T08:30:00Z"}]
    text = run("policy", "matrix", "--bundle", str(announced.folder), expect=0).stdout
    assert "images.pinned: in force from 2027-01-31T08:30:00Z; until then it warns" in text


@pytest.mark.parametrize("day", ["tomorrow", "2027-02-30", "2027-01-31T25:00:00Z", "9999-12-31T23:59:59-12:00", ""])
@pytest.mark.parametrize(
    "command", [["plan", "-f", "x"], ["policy", "test"], ["policy", "eval", "-i", "x"], ["policy", "replay"]]
)
def test_what_is_no_day_is_refused_with_an_example(command: list[str], day: str) -> None:
    told = " ".join(run(*command, "--effective-time", day, expect=2).stderr.split())
    assert f"{day!r} is neither a date, such as 2027-01-31, nor" in told
    assert "2027-01-31T09:00:00Z" in told
    assert "%" not in told


def test_plan_tries_another_day_in_its_own_process(
    announced: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate's OPA server is not there, and is not asked either."""
    monkeypatch.chdir(tmp_path)
    run("init", "gate", "--cluster", "prod-eu-1", "--no-passphrase", expect=0)
    config = tmp_path / "gate" / "placet.yaml"
    elsewhere = f"policy:\n  engine: opa\n  opa_url: http://127.0.0.1:9\n  bundle: {announced.folder}\n"
    settings = re.sub(r"(?m)^policy:\n(?:[ #].*\n)*", "", config.read_text("utf-8"))
    config.write_text(settings + elsewhere, "utf-8")
    manifest = copy.deepcopy(example())
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/serving/vllm-openai:latest"
    (tmp_path / "deploy.json").write_text(json.dumps(manifest), "utf-8")
    asked = ["plan", "-f", "deploy.json", "-e", "production", "--config", str(config), "-o", "json"]
    for day, refuses in (("2027-01-31", False), ("2027-01-31T08:30:00Z", True)):
        told = json.loads(run(*asked, "--effective-time", day, expect=1).stdout)
        codes = {one["code"] for one in told["decisions"][0]["violations"]}
        assert ("image_not_pinned" in codes) is refuses, told
