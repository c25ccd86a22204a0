"""Decisions that the policies did not make alone, what was taken away by a leaf that says so, and announced rules."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from placet.audit.log import AuditLog, render_time
from placet.audit.record import SCHEMA
from placet.audit.stores.file import open_readonly
from placet.cli import root
from placet.policy.bundle import load_bundle
from placet.policy.data import merge_policy_data
from tests.policies.test_effective_dates import announce
from tests.simulators.cases import ROLES, CaseDesk, index_of
from tests.simulators.gate import ORIGIN, example, review
from tests.simulators.tampering import surgery
from tools import bundle

Json = dict[str, Any]
# All that the example lacks in the data that ship.
OPEN = "environments: {production: {mode: warn}}\n"


def replay(store: Path, *arguments: str, expect: int) -> list[Json]:
    asked = ["policy", "replay", "--store", str(store), *arguments, "-o", "json", "--jobs", "1"]
    done = CliRunner().invoke(root, asked, prog_name="placet")
    assert done.exit_code == expect, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    made = tmp_path / "open.yaml"
    made.write_text(OPEN, "utf-8")
    return made


def test_what_break_glass_let_in_is_not_admitted_anew_but_needs_no_token(tmp_path: Path, opened: Path) -> None:
    desk = CaseDesk.start(tmp_path)
    desk.desk.glass_keepers()
    carried, _ = desk.let_in(example())
    desk.ledger.permit(carried, "break-glass")
    decision = desk.decide(review(carried))
    assert decision.allowed
    desk.log.close()
    *_, change, told = replay(desk.store, "--data", str(opened), expect=1)
    assert (change["code"], change["break_glass"]) == ("token_needless", True)
    assert told["changed"]["newly_admitted"] == 0
    same = tmp_path / "same.yaml"
    same.write_text("", "utf-8")
    lines = replay(desk.store, "--data", str(same), expect=0)
    assert lines[-1]["workloads"] == {"break_glass": 1}
    assert (lines[-1]["reproduced"], lines[-1]["same"]) == (1, 1)


def test_what_the_policies_were_not_asked_about_is_counted_by_its_ground(tmp_path: Path, opened: Path) -> None:
    desk = CaseDesk.start(
        tmp_path, data=merge_policy_data(b"environments: {production: {coverage: labelled}}", name="d")
    )
    plain = copy.deepcopy(example())
    for name in [key for key in plain["metadata"]["labels"] if key.startswith("placet.dev/")]:
        del plain["metadata"]["labels"][name]
    assert desk.decide(review(plain)).allowed
    refused = copy.deepcopy(example())
    refused["spec"]["template"]["spec"]["containers"] = []
    assert not desk.decide(review(refused)).allowed
    desk.log.close()
    told = replay(desk.store, "--data", str(opened), expect=0)[-1]
    assert sum(told["not_judged"].values()) + told["reproduced"] == told["decisions"] == 2
    assert told["not_judged"]["not_governed"] == 1
    assert told["workloads"] == {}


def _prune(index: int, size: int) -> Json:
    return {
        "schema": SCHEMA,
        "type": "prune",
        "before": 0,
        "size": size,
        "root": "00" * 32,
        "days": {},
        "cutoffs": {},
        "leaves": [],
        "attachments": {"input": [[index, index + 1]]},
        "by": "ops",
        "reason": "",
    }


def _erasure(index: int, _: int) -> Json:
    places = [{"index": index, "name": "input"}]
    return {"schema": SCHEMA, "type": "erasure", "cluster": "c", "attachments": places, "attachments_total": 1}


@pytest.mark.parametrize(("made", "code"), [(_prune, "pruned"), (_erasure, "erased")])
def test_what_a_leaf_says_was_taken_is_told_from_what_is_gone(
    tmp_path: Path, opened: Path, made: Callable[[int, int], Json], code: str
) -> None:
    desk = CaseDesk.start(tmp_path)
    index = index_of(desk.decide(review(desk.approve(example(), *ROLES))))
    with open_readonly(desk.store) as reader:
        size = reader.state().size
    desk.log.append({**made(index, size), "time": render_time(desk.desk.now)})
    desk.log.close()
    with surgery(desk.store) as database:
        database.execute("DELETE FROM blobs WHERE idx = ? AND name = 'input'", (index,))
    lines = replay(desk.store, "--data", str(opened), expect=2)
    (fault,) = [one for one in lines if one["type"] == "fault"]
    assert (fault["index"], fault["code"]) == (index, code)
    (workload,) = [one for one in lines if one["type"] == "workload"]
    assert workload["answer"] == "unknown"


def test_an_announced_rule_is_tried_on_its_day(tmp_path: Path) -> None:
    manifest = copy.deepcopy(example())
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/serving/vllm-openai:latest"
    by_content = merge_policy_data(b"environments: {production: {bindings: [projection]}}", name="d")
    desk = CaseDesk.start(tmp_path, data=by_content)
    decision = desk.decide(review(desk.approve(manifest, *ROLES)))
    assert {one.rule for one in decision.violations} == {"images.pinned"}
    desk.log.close()
    candidate = tmp_path / "candidate"
    for name, content in bundle.build(bundle.find_opa(), announce(tmp_path, "2027-01-31")).items():
        (candidate / name).parent.mkdir(parents=True, exist_ok=True)
        (candidate / name).write_bytes(content)
    assert load_bundle(candidate)
    asked = ("--bundle", str(candidate))
    *_, change, _summary = replay(desk.store, *asked, expect=1)
    assert (change["code"], change["after"]["tolerated"]) == ("newly_admitted", ["images.pinned"])
    on_its_day = replay(desk.store, *asked, "--effective-time", "2027-01-31", expect=0)
    assert on_its_day[-1]["same"] == 1
    the_day_before = replay(desk.store, *asked, "--effective-time", "2027-01-30T23:59:59Z", expect=1)
    assert the_day_before[-1]["changed"]["newly_admitted"] == 1


def test_a_record_without_its_policies_can_not_be_replayed(tmp_path: Path, opened: Path) -> None:
    AuditLog.open(tmp_path / "empty.sqlite", origin=ORIGIN).close()
    done = CliRunner().invoke(
        root, ["policy", "replay", "--store", str(tmp_path / "empty.sqlite"), "--data", str(opened)], prog_name="placet"
    )
    assert done.exit_code != 0
    assert "does not say which policies are in force" in f"{done.stderr}{done.exception}"
