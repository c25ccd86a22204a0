"""``placet audit hold`` and ``placet audit prune``, as whoever keeps the record uses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from placet.audit.log import AuditLog
from placet.cli import audit_hold, audit_prune, root
from tests.simulators.aged import DENIALS, HEARTBEATS, LAST, NOW, SIZE, build_aged
from tests.simulators.tampering import LOG_KEY, ORIGIN, surgery

VKEY = str(LOG_KEY.verifier)
GONE = len(HEARTBEATS) + len(DENIALS) + 3


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (audit_hold, audit_prune):
        monkeypatch.setattr(module, "now", lambda: NOW)
    monkeypatch.chdir(tmp_path)
    return build_aged(tmp_path / "record.db")


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(root, ["audit", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def sign(record: Path) -> None:
    log = AuditLog.open(record, origin=ORIGIN, key=LOG_KEY)
    log.checkpoint()
    log.close()


def prune(record: Path, *options: object, code: int = 0) -> Result:
    return run("prune", "--store", record, "--log-key", VKEY, *options, code=code)


def hold(record: Path, *options: object, code: int = 0) -> Result:
    words = () if "--by" in options else ("--by", "lee", "--reason", "suit")
    return run("hold", "add", "--store", record, *words, *options, code=code)


def prune_all(record: Path) -> None:
    prune(record, "--yes", "--by", "sam", "--wait", 0, code=1)
    sign(record)
    prune(record, "--yes", "--by", "sam", "--wait", 0)


def test_by_default_it_is_said_what_would_go_and_nothing_is_changed(record: Path) -> None:
    shown = prune(record)
    assert shown.stdout.splitlines() == [
        "model artifacts    2557 days: before 2019-11-22",
        "approval records   3653 days: before 2016-11-21",
        "audit logs         2557 days: before 2019-11-22",
        f"goes   {GONE - 3} leaves of type decision",
        "goes   3 leaves of type heartbeat",
        "goes   1 attachments content, beside leaves that stay",
        "goes   19 attachments input, beside leaves that stay",
        "stays  16 leaves: a gate may still ask for it",
        "stays  4 leaves: its term has not run out",
        "stays  2 leaves: leaves of its type are kept for good",
        "stays  7 leaves: what stays rests on it",
    ]
    assert shown.stderr.endswith("Nothing was changed; --yes with --by does it.\n")
    assert json.loads(prune(record, "-o", "json").stdout)["done"] is None
    assert f"leaves       {SIZE} " in run("verify", "--store", record, "--log-key", VKEY).stdout


def test_what_is_announced_goes_once_it_is_signed_for(record: Path) -> None:
    first = prune(record, "--yes", "--by", "sam", "--wait", 0, code=1)
    assert f"No checkpoint signs yet for what leaf {SIZE} announces" in first.stderr
    assert run("show", DENIALS[0], "--store", record).exit_code == 0
    sign(record)
    value = json.loads(prune(record, "--yes", "--by", "sam", "--wait", 0, "-o", "json").stdout)
    assert value["done"] == {"announced": [], "unsigned": [], "leaves": GONE, "attachments": 20}
    verified = run("verify", "--store", record, "--log-key", VKEY)
    assert verified.stdout.splitlines()[-1] == "VERIFIED"
    assert f"explains that {GONE} leaves" in verified.stdout


def test_who_asks_for_what_is_gone_is_told_so_and_lists_go_on(record: Path) -> None:
    prune_all(record)
    for command in ("show", "prove"):
        options = () if command == "show" else ("--log-key", VKEY)
        refused = run(command, DENIALS[0], "--store", record, *options, code=2)
        assert f"leaf {DENIALS[0]} was pruned" in refused.stderr
    assert "decision-6" not in run("list", "--store", record, "--type", "any", "--limit", 1000, "-o", "jsonl").stdout
    assert run("tail", "--store", record, "--type", "any", "--lines", 1000, "-o", "jsonl").exit_code == 0
    (pruned,) = json.loads(run("list", "--store", record, "--type", "prune", "-o", "json").stdout)["records"][:1]
    assert pruned["record"]["by"] == "sam"
    run("prove", LAST, "--store", record, "--log-key", VKEY)
    run("migrate", "--from", record, "--to", record.with_name("copy.db"))
    assert run("verify", "--store", record.with_name("copy.db"), "--log-key", VKEY).exit_code == 0


def test_the_terms_are_those_of_the_configuration(record: Path, tmp_path: Path) -> None:
    config = tmp_path / "gate.yaml"
    settings = {
        "cluster": "prod-eu-1",
        "keyring": {"file": "k", "roots": ["r"], "threshold": 1},
        "record": {"store": "record.db", "log_key": "l", "retention": {"approval_records_days": 36525}},
    }
    config.write_text(json.dumps(settings))
    shown = run("prune", "--config", config, "--log-key", VKEY).stdout
    assert "approval records   36525 days" in shown
    assert "leaves of type decision" not in shown
    settings["record"]["retention"]["approval_records_days"] = 364  # type: ignore[index]
    config.write_text(json.dumps(settings))
    assert "365" in run("prune", "--config", config, "--log-key", VKEY, code=2).stderr


def test_a_hold_is_put_in_force_listed_and_released(record: Path) -> None:
    made = hold(record, "--everything", "--ticket", "L-1")
    hold_id = made.stdout.strip()
    assert f"puts hold {hold_id} in force: everything, {SIZE} records" in made.stderr
    listed = run("hold", "list", "--store", record).stdout
    assert listed == f"{hold_id}  in force  since leaf {SIZE}  everything  lee: suit [L-1]\n"
    sign(record)
    assert "goes   nothing" in prune(record).stdout
    refused = run("hold", "release", "abc", "--store", record, "--by", "lee", "--reason", "x", code=2)
    assert f"In force: {hold_id}." in refused.stderr
    run("hold", "release", hold_id, "--store", record, "--by", "lee", "--reason", "settled")
    assert run("hold", "list", "--store", record).stdout == ""
    every = json.loads(run("hold", "list", "--store", record, "--all", "-o", "json").stdout)
    assert [(one["hold_id"], one["released"]) for one in every["holds"]] == [(hold_id, SIZE + 1)]
    sign(record)
    assert f"goes   {GONE - 3} leaves of type decision" in prune(record).stdout


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        (("--index", "6-8"), GONE - 3 - 3),
        (("--name", "llama-0", "-n", "ml", "--kind", "Deployment"), GONE - 3 - 4),
        (("--model", "llama-3.1-70b"), 0),
        (("--since", "2014-01-01", "--until", "2015-01-01"), 0),
        (("--since", "2026-01-01"), GONE - 3),
    ],
)
def test_a_hold_covers_what_it_names(record: Path, options: tuple[str, ...], gone: int) -> None:
    hold(record, *options)
    sign(record)
    value = json.loads(prune(record, "-o", "json").stdout)
    assert value["leaves_by_type"].get("decision", 0) == gone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "say what it covers"),
        (("--everything", "--index", "1-2"), "say what it covers"),
        (("--index", "9-2"), "no range"),
        (("--everything", "--by", " ", "--reason", "x"), "--by must have 1 to 500 characters"),
        (("--everything", "--by", "lee", "--reason", "x" * 501), "--reason must have 1 to 500 characters"),
    ],
)
def test_a_hold_that_says_nothing_is_refused(record: Path, options: tuple[Any, ...], message: str) -> None:
    assert message in hold(record, *options, code=2).stderr
    assert "No hold is in force." in run("hold", "list", "--store", record).stderr


def test_it_is_not_done_without_saying_who(record: Path) -> None:
    assert "--yes needs --by" in prune(record, "--yes", code=2).stderr


def test_nothing_is_removed_from_a_record_that_is_not_what_was_signed(record: Path) -> None:
    with surgery(record) as database:
        database.execute("UPDATE leaves SET requester = 'mallory' WHERE idx = 7")
    refused = prune(record, "--yes", "--by", "sam", code=2)
    assert "nothing is removed from it" in refused.stderr


def test_a_folder_of_tiles_is_pruned_by_what_the_record_says(record: Path, tmp_path: Path) -> None:
    run("tiles", "--store", record, "--log-key", VKEY, "--out", tmp_path / "tiles")
    shown = prune(record, "--tiles", tmp_path / "tiles")
    assert shown.stdout.splitlines()[0] == "0 leaves would go, 0 entry bundles; 0 leaves of them stay in kept"
    value = json.loads(prune(record, "--tiles", tmp_path / "tiles", "--yes", "-o", "json").stdout)
    assert value == {
        "schema": "placet.dev/audit-prune-tiles/v1",
        "done": True,
        "minimum": 0,
        "bundles": [],
        "leaves": 0,
        "kept": 0,
    }
