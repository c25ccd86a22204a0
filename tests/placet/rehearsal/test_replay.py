"""Past decisions judged again: what they were judged by gives the same, and a candidate's changes are told exactly."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from placet.audit.location import open_reader
from placet.audit.record import render_leaf
from placet.cli import root
from placet.rehearsal import run as runner
from tests.placet.rehearsal.conftest import HALF, LATER, Weeks
from tests.simulators.tampering import put_leaf, raw_leaf, surgery
from tests.simulators.traffic import ALL, THREE, TWO, expected_changes, find_standing

Json = dict[str, Any]
# What is critical needs one role less than ships: technical, security and business.
LIGHT = "risk_approvals: {critical: [technical, security, business]}\n"
# Nothing critical enters production any more.
LOW = "environments: {production: {max_level: high}}\n"


def replay(*arguments: str, expect: int, jobs: int = 1) -> list[Json]:
    asked = ["policy", "replay", *arguments, "-o", "json", "--jobs", str(jobs)]
    done = CliRunner().invoke(root, asked, prog_name="placet")
    assert done.exit_code == expect, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def summary(lines: list[Json]) -> Json:
    assert lines[-1]["type"] == "summary"
    return lines[-1]


def of_type(lines: list[Json], name: str) -> list[Json]:
    return [one for one in lines if one["type"] == name]


def uids(store: Path) -> dict[str, str]:
    """Decision id -> uid of the request."""
    with open_reader(store) as reader:
        bodies = [json.loads(one.raw_leaf.split(b"\n", 1)[1]) for one in reader.leaves(0, reader.state().size)]
    return {body["decision_id"]: body["uid"] for body in bodies if body["type"] == "decision"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "candidate.yaml"


def test_every_verdict_is_reproduced_by_what_it_was_judged_by(weeks: Weeks, data: Path) -> None:
    data.write_bytes(LATER)
    lines = replay("--store", str(weeks.store), "--data", str(data), "--since", weeks.turn.isoformat(), expect=0)
    found = summary(lines)
    assert (found["decisions"], found["reproduced"], found["same"]) == (HALF, HALF, HALF)
    assert (found["not_reproduced"], found["not_comparable"], found["exit_code"]) == (0, {}, 0)
    assert lines == [found]


def test_a_change_is_reported_exactly(weeks: Weeks, data: Path) -> None:
    data.write_text(LIGHT, "utf-8")
    lines = replay("--store", str(weeks.store), "--data", str(data), expect=1)
    expected = dict([*expected_changes(weeks.first, ALL, THREE), *expected_changes(weeks.second, TWO, THREE)])
    names = uids(weeks.store)
    assert {names[one["decision_id"]]: one["code"] for one in of_type(lines, "change")} == expected
    found = summary(lines)
    counted = Counter(expected.values())
    assert {code: count for code, count in found["changed"].items() if count} == counted
    assert min(counted["newly_refused"], counted["newly_admitted"], counted["roles"]) > 0
    assert (found["decisions"], found["reproduced"]) == (2 * HALF, 2 * HALF)
    assert found["same"] == 2 * HALF - len(expected)
    for one in of_type(lines, "change"):
        if one["code"] == "newly_refused":
            assert one["after"]["missing_roles"] == ["business"]


def test_against_what_is_in_force_an_earlier_change_is_not_told_again(weeks: Weeks, data: Path) -> None:
    data.write_text(LIGHT, "utf-8")
    lines = replay("--store", str(weeks.store), "--data", str(data), "--against", "in-force", expect=1)
    expected = dict(expected_changes([*weeks.first, *weeks.second], TWO, THREE))
    names = uids(weeks.store)
    assert {names[one["decision_id"]]: one["code"] for one in of_type(lines, "change")} == expected


def test_what_is_admitted_now_and_would_not_be_again_is_named_also_of_an_earlier_time(weeks: Weeks, data: Path) -> None:
    data.write_text(LIGHT, "utf-8")
    needed = {one.uid: ALL for one in weeks.first} | {one.uid: TWO for one in weeks.second}
    standing = find_standing([*weeks.first, *weeks.second], needed)
    refused = {key for key, one in standing.items() if not one.carried and not one.roles >= THREE}
    assert 0 < len(refused) < len(standing)
    for since in ("2020-01-01", weeks.turn.isoformat(), weeks.end.isoformat()):
        code = 0 if since == weeks.end.isoformat() and not refused else 1
        lines = replay("--store", str(weeks.store), "--data", str(data), "--since", since, expect=code)
        told = {(one["namespace"], one["name"]): one for one in of_type(lines, "workload")}
        assert told.keys() == refused
        assert all(one["answer"] == "refused" and one["after"]["missing_roles"] for one in told.values())
        assert sum(summary(lines)["workloads"].values()) == len(standing)


def test_what_the_level_no_longer_allows_is_refused_whoever_signed(weeks: Weeks, data: Path) -> None:
    data.write_text(LOW, "utf-8")
    lines = replay("--store", str(weeks.store), "--data", str(data), "--until", weeks.turn.isoformat(), expect=1)
    admitted = {one.uid for one in weeks.first if not one.carried and one.roles >= ALL}
    changes = of_type(lines, "change")
    names = uids(weeks.store)
    assert {names[one["decision_id"]] for one in changes if one["code"] == "newly_refused"} == admitted
    for one in changes:
        assert any(reason.startswith("risk.ceiling/") for reason in one["after"]["violations"])
    assert {one["code"] for one in changes} == {"newly_refused", "reasons"}


def test_processes_and_interruptions_change_nothing(
    weeks: Weeks, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.write_text(LIGHT, "utf-8")
    asked = ("--store", str(weeks.store), "--data", str(data), "--since", "300w")
    whole = replay(*asked, expect=1)
    monkeypatch.setattr(runner, "STRETCH", 16)
    kept = tmp_path / "replay.state"
    for stopped in (1, 3):  # stretches until somebody presses Ctrl-C
        with monkeypatch.context() as patch:
            patch.setattr(runner, "rehearse", _stopping_after(stopped))
            done = CliRunner().invoke(root, ["policy", "replay", *asked, "--resume", str(kept), "--jobs", "1"])
        assert done.exit_code == 1  # click's own runner; the process ends with 130
        assert f"goes on from {kept}" in done.stderr
        assert not done.stdout
    resumed = replay(*asked, "--resume", str(kept), expect=1, jobs=2)
    again = replay(*asked, "--resume", str(kept), expect=1)
    for lines in (resumed, again):
        assert [one for one in lines if one["type"] != "summary"] == [one for one in whole if one["type"] != "summary"]
        assert {**summary(lines), "since": ""} == {**summary(whole), "since": ""}


def _stopping_after(stretches: int) -> Any:
    honest = runner.rehearse

    def rehearse(task: Any, notebook: Any, *, size: int, jobs: int, progress: Any) -> None:
        left = stretches

        def stop(done: int, total: int) -> None:
            nonlocal left
            left -= 1
            progress(done, total)
            if left == 0:
                raise KeyboardInterrupt

        honest(task, notebook, size=size, jobs=jobs, progress=stop)

    return rehearse


def test_a_file_of_another_replay_or_none_is_refused(weeks: Weeks, data: Path, tmp_path: Path) -> None:
    data.write_text(LIGHT, "utf-8")
    asked = ("--store", str(weeks.store), "--data", str(data), "--resume")
    kept, other = tmp_path / "kept", tmp_path / "other"
    replay(*asked, str(kept), expect=1)
    other.write_text("no database", "utf-8")
    before = kept.read_bytes()
    for arguments, said in (
        ((*asked, str(other)), "can't be used for the replay"),
        ((*asked, str(weeks.store)), "is no file of a replay"),
        ((*asked, str(kept), "--since", "30d"), "the file of another replay"),
        ((*asked, str(kept), "--effective-time", "2030-01-01"), "the file of another replay"),
    ):
        done = CliRunner().invoke(root, ["policy", "replay", *arguments])
        assert done.exit_code != 0
        assert said in f"{done.stderr}{done.exception}"
    assert kept.read_bytes() == before


@pytest.fixture
def store(weeks: Weeks, tmp_path: Path) -> Path:
    made = tmp_path / "copy.sqlite"
    source, copy = sqlite3.connect(weeks.store), sqlite3.connect(made)
    source.backup(copy)
    source.close()
    copy.close()
    return made


def last_decision(store: Path) -> int:
    with sqlite3.connect(store) as database:
        (index,) = database.execute("SELECT max(idx) FROM leaves WHERE leaf_type = 'decision'").fetchone()
    database.close()
    return int(index)


def rewrite(database: sqlite3.Connection, index: int, body: Json) -> None:
    """Another leaf with its hash, as somebody has it who can write the store: the tree alone would tell."""
    leaf = render_leaf(body)
    put_leaf(database, index, leaf.raw)
    database.execute("UPDATE leaves SET leaf_hash = ? WHERE idx = ?", (leaf.hash, index))


def fault_of(store: Path, data: Path, index: int) -> Json:
    """The one fault that is found; everything else is reproduced."""
    data.write_bytes(LATER)
    lines = replay("--store", str(store), "--data", str(data), expect=2)
    (fault,) = of_type(lines, "fault")
    assert fault["index"] == index
    assert summary(lines)["reproduced"] == 2 * HALF - 1
    assert not [one for one in of_type(lines, "change") if one["index"] == index]
    return fault


def test_a_verdict_that_was_changed_is_named_and_not_compared(store: Path, data: Path) -> None:
    index = last_decision(store)
    with surgery(store) as database:
        body = json.loads(raw_leaf(database, index).split(b"\n", 1)[1])
        body["allowed"] = not body["allowed"]
        rewrite(database, index, body)
    fault = fault_of(store, data, index)
    assert (fault["code"], fault["sentence"].partition(":")[0]) == ("differs", "allowed")


def test_a_leaf_or_an_input_that_was_changed_is_named(store: Path, data: Path) -> None:
    index = last_decision(store)
    with surgery(store) as database:
        database.execute(
            "UPDATE blobs SET content = CAST(content || ' ' AS BLOB) WHERE idx = ? AND name = 'input'", (index,)
        )
    assert fault_of(store, data, index)["code"] == "attachment_changed"
    with surgery(store) as database:
        database.execute("UPDATE leaves SET leaf = CAST(leaf || ' ' AS BLOB) WHERE idx = ?", (index,))
    assert fault_of(store, data, index)["code"] == "leaf_changed"


def test_an_input_that_is_of_another_decision_is_named(store: Path, data: Path) -> None:
    index = last_decision(store)
    with surgery(store) as database:
        body = json.loads(raw_leaf(database, index).split(b"\n", 1)[1])
        body["namespace"] = "elsewhere"
        rewrite(database, index, body)
    fault = fault_of(store, data, index)
    assert (fault["code"], "namespace" in fault["sentence"]) == ("input_differs", True)


def test_an_input_that_is_gone_is_named_with_why(store: Path, data: Path) -> None:
    index = last_decision(store)
    with surgery(store) as database:
        database.execute("DELETE FROM blobs WHERE idx = ? AND name = 'input'", (index,))
    assert fault_of(store, data, index)["code"] == "missing"


def test_policies_and_data_that_are_gone_leave_their_decisions_unreproduced(store: Path, data: Path) -> None:
    data.write_bytes(LATER)
    with surgery(store) as database:
        (first,) = database.execute("SELECT min(idx) FROM blobs WHERE name = 'data'").fetchone()
        digest = database.execute("SELECT sha256 FROM blobs WHERE idx = ? AND name = 'data'", (first,)).fetchone()[0]
        database.execute("DELETE FROM blobs WHERE name = 'data' AND sha256 = ?", (digest,))
    found = summary(replay("--store", str(store), "--data", str(data), expect=2))
    assert (found["reproduced"], found["not_reproduced"]) == (HALF, HALF)
    with surgery(store) as database:
        database.execute("DELETE FROM blobs WHERE name = 'wasm'")
    done = CliRunner().invoke(root, ["policy", "replay", "--store", str(store), "--data", str(data)])
    assert "the policies in force are not in the record" in f"{done.stderr}{done.exception}"


def test_a_leaf_that_was_pruned_is_named(store: Path, data: Path) -> None:
    index = last_decision(store)
    with surgery(store) as database:
        database.execute("UPDATE leaves SET leaf = x'', leaf_type = 'pruned' WHERE idx = ?", (index,))
        database.execute("DELETE FROM blobs WHERE idx = ?", (index,))
    assert fault_of(store, data, index)["code"] == "pruned"


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_people_are_shown_what_changes_by_namespace_and_model(weeks: Weeks, data: Path, form: str) -> None:
    data.write_text(LIGHT, "utf-8")
    asked = ["policy", "replay", "--store", str(weeks.store), "--data", str(data), "-o", form, "--jobs", "1"]
    done = CliRunner().invoke(root, [*asked, "--since", weeks.turn.isoformat()])
    assert done.exit_code == 1, done.output
    shown = done.stdout
    anew = [one for one in weeks.second if not one.carried and one.roles >= TWO and not one.roles >= THREE]
    why = "approvals.required/role_missing, approvals.separation/approvals_missing"
    rows = [" ".join(line.replace("|", " ").split()) for line in shown.splitlines()]
    assert anew
    for (namespace, model), count in Counter((one.namespace, one.model) for one in anew).items():
        assert rows.count(f"{namespace} {model} {count} {why} business") == 1, shown
    for namespace, name in {(one.namespace, one.name) for one in anew}:
        assert any(row.startswith(f"production {namespace} Deployment/{name} ") for row in rows) or (
            find_standing(weeks.second, {one.uid: TWO for one in weeks.second})[namespace, name].carried
        )
    assert f"{HALF} judged again, {HALF} reproduced" in shown


def test_wrong_usage_is_told_before_anything_is_judged(weeks: Weeks, data: Path) -> None:
    data.write_text("risk_approvals: {critical: [technica]}\n", "utf-8")
    for arguments, said in (
        ((), "nothing to try"),
        (("--data", str(data)), "technica"),
        (("--data", str(data), "--since", "soon"), "technica"),
        (("--bundle", str(data.parent)), "no usable manifest"),
        (("--effective-time", "2030-01-01", "--since", "soon"), "neither 30d"),
        (("--effective-time", "2030-01-01", "--since", "2026-01-02", "--until", "2026-01-01"), "not before"),
    ):
        done = CliRunner().invoke(root, ["policy", "replay", "--store", str(weeks.store), *arguments])
        assert done.exit_code != 0
        assert said in f"{done.stderr}{done.exception}"


_KILLED = """
import os, signal
from placet.cli import root
from placet.rehearsal import run
run.STRETCH, honest = 16, run.rehearse
def rehearse(task, notebook, *, size, jobs, progress):
    def stop(done, total):
        if done > {after}:
            os.kill(os.getpid(), signal.SIGKILL)
    honest(task, notebook, size=size, jobs=jobs, progress=stop)
run.rehearse = rehearse
root()
"""


def test_a_replay_that_was_killed_goes_on_to_the_same_report(weeks: Weeks, data: Path, tmp_path: Path) -> None:
    data.write_text(LIGHT, "utf-8")
    asked = ("--store", str(weeks.store), "--data", str(data))
    kept = tmp_path / "replay.state"
    for after in (0, 40):
        command = [sys.executable, "-c", _KILLED.format(after=after), "policy", "replay", *asked]
        killed = subprocess.run([*command, "--resume", str(kept), "--jobs", "1"], capture_output=True, check=False)
        assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, b"")
        assert kept.exists()
    assert replay(*asked, "--resume", str(kept), expect=1) == replay(*asked, expect=1)
