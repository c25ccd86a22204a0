"""``placet audit`` as somebody uses it who was handed a file and a key."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from placet.audit.log import AuditLog
from placet.audit.note import load_log_key
from placet.cli import audit_list, progress, root
from tests.simulators.tampering import (
    LOG_KEY,
    ORIGIN,
    OTHER_KEY,
    START,
    append,
    build_log,
    copy_of,
    decision,
    saved_notes,
    surgery,
)

VKEY = str(LOG_KEY.verifier)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["audit", *map(str, arguments)], catch_exceptions=False)


def read(*arguments: object) -> Any:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_verify_accepts_and_says_what_it_saw(built: Path) -> None:
    result = run("verify", "--store", built, "--log-key", VKEY)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "log          placet.dev/log/test",
        "leaves       21 (20 decision, 1 heartbeat)",
        "decisions    14 allowed, 6 denied",
        f"root         {read('verify', '--store', built, '--log-key', VKEY)['root']}",
        "checkpoints  3 in the store, no saved one to compare with; 18 of 21 leaves signed for",
        "note         the last 3 leaves are not signed for yet: keep the next checkpoint and verify again",
        "VERIFIED",
    ]
    assert result.stderr == ""


def test_verify_names_what_was_done_and_where(built: Path, tmp_path: Path) -> None:
    tampered = copy_of(built, tmp_path)
    with surgery(tampered) as database:
        database.execute("DELETE FROM leaves WHERE idx = 7")
        database.execute("DELETE FROM blobs WHERE idx = 7")
    result = run("verify", "--store", tampered, "--log-key", VKEY)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-2:] == ["missing at 7: leaf 7 is missing", "NOT VERIFIED"]
    value = json.loads(run("verify", "--store", tampered, "--log-key", VKEY, "-o", "json").stdout)
    assert (value["verified"], value["first_bad_index"], value["kinds"]) == (False, 7, ["missing"])


def test_verify_holds_saved_checkpoints_against_the_store(built: Path, tmp_path: Path) -> None:
    older = build_log(tmp_path / "older.db", size=12, signed=(5, 12))
    options: list[object] = []
    for name, raw in saved_notes(built):
        (tmp_path / name).write_bytes(raw)
        options += ["--checkpoint", tmp_path / name]
    held = run("verify", "--store", built, "--log-key", VKEY, *options)
    assert held.exit_code == 0
    assert "checkpoints  3 in the store, 3 saved ones given, which hold; 18 of 21 leaves signed for\n" in held.stdout
    result = run("verify", "--store", older, "--log-key", VKEY, *options)
    assert result.exit_code == 1
    assert "rolled_back in 12..17: " in result.stdout
    assert "2 in the store, 3 saved ones given, of which 2 hold; 12 of 12 leaves signed for\n" in result.stdout


def test_verify_counts_the_saved_checkpoint_that_shows_a_rollback(built: Path, tmp_path: Path) -> None:
    older = build_log(tmp_path / "older.db", size=12, signed=(5, 12))
    (tmp_path / "newest.note").write_bytes(saved_notes(built)[-1][1])
    options = ("--store", older, "--log-key", VKEY, "--checkpoint", tmp_path / "newest.note")
    result = run("verify", *options)
    assert result.exit_code == 1
    assert "2 in the store, 1 saved one given, which does not hold; 12 of 12" in result.stdout
    assert f"rolled_back in 12..17: {tmp_path / 'newest.note'} was signed over 18 leaves" in result.stdout
    value = json.loads(run("verify", *options, "-o", "json").stdout)
    assert (value["saved_given"], value["saved_checkpoints"], value["kinds"]) == (1, [], ["rolled_back"])


def test_verify_says_that_it_could_not_tell(built: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.note").write_text("x")
    for arguments in (
        ("--store", tmp_path / "none.db", "--log-key", VKEY),
        ("--store", built, "--log-key", "nonsense"),
        ("--store", built, "--log-key", "a+b"),
        ("--store", built, "--log-key", VKEY, "--checkpoint", tmp_path / "none.note"),
        ("--store", built, "--log-key", VKEY, "--checkpoint", tmp_path / "broken.note"),
        ("--log-key", VKEY),
        ("--store", built),
        ("--proof", tmp_path / "broken.note", "--log-key", VKEY),
    ):
        result = run("verify", *arguments)
        assert result.exit_code == 2, arguments
        assert result.stdout == ""
        assert "Traceback" not in result.stderr


def test_the_key_may_come_from_a_file(built: Path, tmp_path: Path) -> None:
    (tmp_path / "log.vkey").write_text(VKEY + "\n")
    assert run("verify", "--store", built, "--log-key", tmp_path / "log.vkey").exit_code == 0


def test_a_proof_is_made_and_verifies_without_the_store(built: Path, tmp_path: Path) -> None:
    made = run("prove", "decision-6", "--leaf-only", "--store", built, "--log-key", VKEY)
    assert made.exit_code == 0
    proof = tmp_path / "proof.json"
    proof.write_bytes(made.stdout_bytes)
    result = run("verify", "--proof", proof, "--log-key", VKEY)
    assert (result.exit_code, result.stdout) == (
        0,
        "VERIFIED leaf 6 is in the log placet.dev/log/test of 18 leaves\n",
    )
    assert read("verify", "--proof", proof, "--log-key", VKEY)["record"] == decision(6)
    document = json.loads(proof.read_bytes())
    proof.write_text(json.dumps(document | {"index": 7}))
    refused = run("verify", "--proof", proof, "--log-key", VKEY)
    assert refused.exit_code == 1
    assert refused.stdout.startswith("NOT VERIFIED proof_invalid: ")
    assert json.loads(run("verify", "--proof", proof, "--log-key", VKEY, "-o", "json").stdout)["verified"] is False
    assert run("verify", "--proof", proof, "--log-key", str(OTHER_KEY.verifier)).exit_code == 1


def test_a_proof_of_consistency_is_made_and_verifies(built: Path, tmp_path: Path) -> None:
    (tmp_path / "old.note").write_bytes(saved_notes(built)[0][1])
    made = run("prove", "--consistency", tmp_path / "old.note", "--store", built, "--log-key", VKEY)
    (tmp_path / "proof.json").write_bytes(made.stdout_bytes)
    result = run("verify", "--proof", tmp_path / "proof.json", "--log-key", VKEY)
    assert result.stdout == "VERIFIED the log placet.dev/log/test of 18 leaves extends the one of 5\n"


def test_prove_says_what_it_can_not_prove(built: Path) -> None:
    for arguments, sentence in (
        (("20",), "no checkpoint signs for leaf 20 yet"),
        (("nobody",), "no record 'nobody'"),
        ((), "give RECORD or --consistency"),
    ):
        result = run("prove", *arguments, "--store", built, "--log-key", VKEY)
        assert result.exit_code == 2
        assert sentence in result.stderr
        assert result.stdout == ""


def test_list_shows_the_newest_first(built: Path) -> None:
    result = run("list", "--store", built, "--limit", 2)
    assert result.exit_code == 0
    head, deny, allow = (line.split() for line in result.stdout.splitlines())
    assert head == [
        "TIME",
        "DECISION",
        "ENVIRONMENT",
        "NAMESPACE",
        "OBJECT",
        "MODEL",
        "RISK",
        "USER",
        "VIOLATIONS",
        "ID",
    ]
    where = ["production", "ml"]
    who = ["llama-3.1-70b", "6.65", "high", "alice@example.org"]
    assert deny == ["2026-11-22T18:00:20", "deny", *where, "Deployment/llama-2", *who, "role_missing", "decision-20"]
    assert allow == ["2026-11-22T18:00:19", "allow", *where, "Deployment/llama-1", *who, "-", "decision-19"]
    assert (
        len({line.index(word) for line, word in zip(result.stdout.splitlines(), ("ENV", "prod", "prod"), strict=True)})
        == 1
    )
    assert result.stderr == "More follow: --after 19\n"


def test_list_pages_and_filters(built: Path) -> None:
    first = read("list", "--store", built, "--limit", 3, "--decision", "deny")
    second = read("list", "--store", built, "--limit", 3, "--decision", "deny", "--after", first["cursor"])
    assert [one["index"] for one in first["records"] + second["records"]] == [20, 16, 12, 8, 4, 0]
    assert second["cursor"] == ""
    assert first["records"][0]["record"] == decision(20)
    assert [
        one["index"]
        for one in read("list", "--store", built, "--type", "any", "--until", "2026-11-22T18:00:03")["records"]
    ] == [2, 1, 0]
    assert read("list", "--store", built, "--type", "heartbeat")["records"][0]["index"] == 2
    since = read("list", "--store", built, "--since", "2026-11-22T19:00:19+0100")["records"]
    assert [one["index"] for one in since] == [20, 19]


def test_list_goes_back_so_many_days(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_list, "now", lambda: START + timedelta(days=1, seconds=18))
    assert [one["index"] for one in read("list", "--store", built, "--days", 1)["records"]] == [20, 19, 18]
    assert run("list", "--store", built, "--days", 1, "--since", "2026-11-22").exit_code == 2


def test_list_says_when_nothing_matches(built: Path) -> None:
    result = run("list", "--store", built, "--user", "nobody")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No record matches.\n")


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "record.db", origin=ORIGIN)
    append(
        log, 1, user="\x1b[2Jeve\nallow\u202e", message="a\x1b[31m\nb", violations=[{"rule": "\x07", "code": "\x1b]0;"}]
    )
    log.close()
    for arguments in (("list",), ("show", "0")):
        shown = run(*arguments, "--store", tmp_path / "record.db").stdout
        assert not any(char in shown for char in "\x1b\x07\u202e")
        assert "\\u001b[2Jeve\\u000aallow\\u202e" in shown


def test_show_says_everything_and_how_far_it_is_proved(built: Path) -> None:
    result = run("show", "decision-8", "--store", built)
    assert result.stdout.splitlines() == [
        "DENIED Deployment/llama-2 in ml",
        "time         2026-11-22T18:00:08.000000Z",
        "decision     decision-8, request uid-8",
        "environment  production, cluster prod-eu-1, mode enforce",
        "request      UPDATE by alice@example.org",
        f"model        llama-3.1-70b 1.0.0 sha256:{'3' * 64}",
        "risk         6.65 high",
        "             model_complexity 8",
        "approvals    required technical, security; granted technical",
        "violation    approvals.required: role_missing",
        "policy       , data ,",
        f"projection   sha256:{'2' * 64}",
        "",
        f"leaf         8, hash {read('show', '8', '--store', built)['leaf_hash']}",
        "proof        under the checkpoint of 18 leaves; give --log-key to verify that it is",
    ]
    assert run("show", "uid-8", "--store", built, "--log-key", VKEY).stdout.splitlines()[-1] == (
        "proof        in the signed checkpoint of 18 leaves: verified"
    )
    assert read("show", "20", "--store", built)["status"] == "not signed yet"
    assert "heartbeat" in run("show", "2", "--store", built).stdout
    assert run("show", "99", "--store", built).exit_code == 2


def test_show_does_not_prove_by_a_foreign_key(built: Path) -> None:
    result = run("show", "8", "--store", built, "--log-key", str(OTHER_KEY.verifier))
    assert result.exit_code == 2
    assert "no trusted key has signed the checkpoint" in result.stderr


def test_the_last_checkpoint_can_be_kept_elsewhere(built: Path, tmp_path: Path) -> None:
    assert run("checkpoint", "--store", built).stdout_bytes == saved_notes(built)[-1][1]
    empty = build_log(tmp_path / "empty.db", size=0, signed=())
    assert run("checkpoint", "--store", empty).exit_code == 2


def test_a_key_is_made_and_its_verifier_key_printed(tmp_path: Path) -> None:
    made = run("key", tmp_path / "log.pem", "--name", ORIGIN, "--new")
    assert made.exit_code == 0
    assert made.stdout == f"{load_log_key(tmp_path / 'log.pem', name=ORIGIN).verifier}\n"
    assert run("key", tmp_path / "log.pem", "--name", ORIGIN).stdout == made.stdout
    assert run("key", tmp_path / "log.pem", "--name", ORIGIN, "--new").exit_code == 2


def test_a_store_is_named_by_the_environment_too(built: Path) -> None:
    result = CliRunner().invoke(root, ["audit", "checkpoint"], env={"PLACET_AUDIT_STORE": str(built)})
    assert result.exit_code == 0


def configuration(folder: Path, *, store: str) -> Path:
    """A configuration that names a record; nothing else in it is there."""
    file = folder / "placet.yaml"
    file.write_text(
        "cluster: prod-eu-1\n"
        "keyring: {file: keyring.dsse.json, roots: [roots/root-1.pub], threshold: 1}\n"
        f"record: {{store: {store}, log_key: keys/log.key}}\n",
        encoding="utf-8",
    )
    return file


@pytest.fixture
def beside(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and a record of 12 leaves; the working folder."""
    build_log(tmp_path / "own.db", size=12, signed=(12,))
    monkeypatch.chdir(tmp_path)
    return configuration(tmp_path, store="own.db")


READING: list[tuple[str, ...]] = [
    ("list", "--limit", "1"),
    ("show", "decision-11"),
    ("verify", "--log-key", VKEY),
    ("prove", "decision-11", "--log-key", VKEY),
    ("checkpoint",),
]


@pytest.mark.parametrize("arguments", READING, ids=lambda row: row[0])
def test_without_a_store_the_configurations_is_read(
    beside: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    expected = run(*arguments, "--store", tmp_path / "own.db").stdout
    assert expected
    assert run(*arguments).stdout == expected
    monkeypatch.chdir("/")
    assert run(*arguments, "--config", beside).stdout == expected
    by_variable = CliRunner().invoke(root, ["audit", *arguments], env={"PLACET_CONFIG": str(beside)})
    assert by_variable.stdout == expected
    typed_first = CliRunner().invoke(
        root, ["audit", *arguments, "--config", str(beside)], env={"PLACET_AUDIT_STORE": str(built)}
    )
    assert typed_first.stdout == expected


@pytest.mark.parametrize("arguments", READING, ids=lambda row: row[0])
def test_without_any_record_it_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = run(*arguments)
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    assert "no record is named, and there is no placet.yaml" in nothing.stderr
    assert "--store" in nothing.stderr
    absent = run(*arguments, "--config", configuration(tmp_path, store="/placet/record/record.sqlite"))
    assert absent.exit_code == 2
    assert "/placet/record/record.sqlite, the record of" in absent.stderr
    mistyped = run(*arguments, "--config", tmp_path / "none.yaml")
    assert mistyped.exit_code == 2
    assert "none.yaml: can't be read" in mistyped.stderr


def test_the_environments_store_counts_before_a_configuration_that_is_only_there(beside: Path, built: Path) -> None:
    assert beside.is_file()
    result = CliRunner().invoke(root, ["audit", "checkpoint"], env={"PLACET_AUDIT_STORE": str(built)})
    assert result.stdout_bytes == saved_notes(built)[-1][1]


def test_progress_is_shown_on_a_terminal_alone(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            assert options["label"] == "leaves"
            self.pos = 0
            self.length = 0

        def render_progress(self) -> None:
            pass

        def update(self, more: int) -> None:
            self.pos += more
            steps.append(self.pos)

        def render_finish(self) -> None:
            steps.append(-1)

    monkeypatch.setattr(click, "progressbar", Bar)
    run("verify", "--store", built, "--log-key", VKEY)
    assert steps == []
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    run("verify", "--store", built, "--log-key", VKEY)
    assert steps == []
    monkeypatch.setattr(progress, "_on_terminal", lambda: True)
    run("verify", "--store", built, "--log-key", VKEY)
    assert steps == [21, -1]
