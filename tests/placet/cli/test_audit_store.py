"""``placet audit init-store`` and ``migrate``, and every command that reads a record, on a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from placet.audit.location import DatabaseUrl
from placet.cli import root
from tests.simulators.pgsurgery import owners
from tests.simulators.postgres import AUDITOR, GATE, PostgresServer, running_server
from tests.simulators.tampering import LOG_KEY, ORIGIN, SIZE, build_log

VKEY = str(LOG_KEY.verifier)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[DatabaseUrl]:
    with postgres.own_record() as url:
        yield url


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["audit", *map(str, arguments)])


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_the_sql_is_printed_or_applied_and_is_the_same(postgres: PostgresServer) -> None:
    for name in ("printed", "applied"):
        postgres.make_database(name)
    asked = ("init-store", "--origin", ORIGIN, "--gate-role", GATE, "--auditor-role", AUDITOR)
    with postgres.admin("printed") as connection:
        connection.execute(done(*asked))
    done(*asked, "--apply", owners(postgres.url("applied")))
    for name in ("printed", "applied"):
        url = postgres.url(name)
        build_log(url)
        verified = json.loads(done("verify", "--store", url, "--log-key", VKEY, "-o", "json"))
        assert (verified["verified"], verified["size"]) == (True, SIZE)
    again = run(*asked, "--apply", owners(postgres.url("applied")))
    assert "has a schema placet already" in again.stderr
    for name in ("printed", "applied"):
        postgres.drop_database(name)


def test_every_command_reads_a_database(url: DatabaseUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_log(url)
    assert "llama-1" in done("list", "--store", url)
    assert json.loads(done("show", "uid-3", "--store", url, "--log-key", VKEY, "-o", "json"))["status"] == "proved"
    note = done("checkpoint", "--store", url)
    (tmp_path / "saved.note").write_text(note, encoding="utf-8")
    monkeypatch.setenv("PLACET_AUDIT_STORE", url)
    assert done("verify", "--log-key", VKEY, "--checkpoint", tmp_path / "saved.note").endswith("VERIFIED\n")
    (tmp_path / "proof.json").write_text(done("prove", "3", "--leaf-only", "--log-key", VKEY), encoding="utf-8")
    monkeypatch.delenv("PLACET_AUDIT_STORE")
    assert "VERIFIED" in done("verify", "--proof", tmp_path / "proof.json", "--log-key", VKEY)


def test_a_record_is_copied_into_a_database_and_back(url: DatabaseUrl, tmp_path: Path) -> None:
    file, back = build_log(tmp_path / "record.db"), tmp_path / "back.db"
    there = json.loads(done("migrate", "--from", file, "--to", url, "-o", "json"))
    assert (there["size"], there["copied"]) == (SIZE, SIZE)
    said = done("migrate", "--from", url, "--to", back)
    assert "VERIFIED" in done("verify", "--store", back, "--log-key", VKEY)
    assert there["root"] in said or there["root"] in run("migrate", "--from", url, "--to", back).stderr


@pytest.mark.parametrize("command", ["list", "checkpoint"])
def test_a_password_in_an_address_is_refused_and_not_shown(command: str) -> None:
    result = run(command, "--store", "postgresql://gate:hunter2@db.example.org/placet")
    assert result.exit_code != 0
    assert "holds a password" in result.stderr
    assert "PGPASSFILE" in result.stderr
    assert "hunter2" not in result.output


def test_a_file_is_no_database_to_make_a_record_in(tmp_path: Path) -> None:
    result = run("init-store", "--origin", ORIGIN, "--apply", tmp_path / "record.db")
    assert "is not the address of a database" in result.stderr
