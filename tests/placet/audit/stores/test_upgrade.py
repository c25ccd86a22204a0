"""A record of every earlier version is read, and is taken to the newest without a change of any leaf."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from click.testing import CliRunner

from placet.audit.location import DatabaseUrl, StoreLocation, open_reader, plan_upgrade, upgrade_store
from placet.audit.log import AuditLog
from placet.audit.proof import find_leaf, prove_inclusion, verify_proof
from placet.audit.query import Query, find
from placet.audit.stores import past, schema, steps
from placet.audit.stores.postgres import upgrade as postgres_upgrade
from placet.audit.stores.postgres.schema import load_inventory, read_inventory
from placet.audit.stores.upgrade import no_progress
from placet.audit.verify import verify_file
from placet.cli import root
from placet.errors import AuditError, InputError, StoreUnavailable, TamperError
from tests.golden.audit.build import FOLDER
from tests.simulators.pgsurgery import database_surgery, owners
from tests.simulators.postgres import AUDITOR, GATE, PostgresServer
from tests.simulators.tampering import LOG_KEY, ORIGIN, append, decision

STORES: Final = FOLDER / "stores"
SIZE: Final = 9
KEYS: Final = [LOG_KEY.verifier]
SHAPES: Final = {"sqlite-1a": past.V1, "sqlite-1b": past.V1_APPROVED, "sqlite-2": past.V2, "sqlite-3": past.V3}
DATABASES: Final = ("postgres-2", "postgres-3")


def make_file(name: str, path: Path) -> Path:
    """A file as the placet of then has written it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript((STORES / f"{name}.sql").read_text(encoding="utf-8"))
    connection.close()
    return path


@contextlib.contextmanager
def made_database(server: PostgresServer, name: str = DATABASES[0]) -> Iterator[DatabaseUrl]:
    """A database as the placet of then has made it, with the leaves of the file; its address for the gate's role."""
    with server.copy_of("template0") as url:
        with psycopg.connect(owners(url), autocommit=True) as connection:
            connection.execute((STORES / f"{name}.sql").read_bytes())
        file = sqlite3.connect(":memory:")
        file.executescript((STORES / "sqlite-2.sql").read_text(encoding="utf-8"))
        with database_surgery(url) as database:
            database.execute("DELETE FROM state")
            for table in ("leaves", "state", "checkpoints", "blobs"):
                for row in file.execute(f"SELECT * FROM {table}").fetchall():  # noqa: S608 - our own names
                    database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
        file.close()
        yield url


@pytest.fixture(params=[*SHAPES, *DATABASES])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreLocation]:
    """A record of an earlier version, as its owner reaches it."""
    if request.param not in DATABASES:
        yield make_file(request.param, tmp_path / "record.db")
        return
    with made_database(request.getfixturevalue("postgres"), request.param) as url:
        yield owners(url)


def _leaves(store: StoreLocation) -> list[Any]:
    with open_reader(store) as reader:
        return [*reader.leaves(0, SIZE + 9), *reader.raw_blobs(), *reader.raw_checkpoints(), *reader.raw_states()]


def _differences(store: StoreLocation) -> list[str]:
    with open_reader(store) as reader:
        return reader.schema_differences()


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_what_the_placet_of_then_has_made(name: str, tmp_path: Path) -> None:
    connection = sqlite3.connect(make_file(name, tmp_path / "record.db"))
    assert schema.read_objects(connection) == SHAPES[name].objects
    assert past.read_shape(connection, SHAPES[name].version) is SHAPES[name]
    connection.close()


def test_there_is_a_step_to_every_version_for_both_stores() -> None:
    versions = [shape.version for shape in past.SHAPES]
    assert versions == sorted(versions)
    assert [step.version for step in steps.STEPS] == list(range(2, schema.VERSION + 1))
    assert sorted(postgres_upgrade._STEPS) == list(range(3, schema.VERSION + 1))
    assert all(load_inventory(version) for version in range(2, schema.VERSION + 1))


def test_an_earlier_version_is_read_as_it_is(old: StoreLocation) -> None:
    before = old.read_bytes() if isinstance(old, Path) else b""
    result = verify_file(old, KEYS)
    assert (result.verified, result.size, result.signed_size, result.findings) == (True, SIZE, 8, ())
    with open_reader(old) as reader:
        assert [one.index for one in find(reader, Query(allowed=False), limit=9).found] == [8, 4, 0]
        assert [one.index for one in find(reader, Query(type="heartbeat"), limit=9).found] == [2]
        projection = decision(3)["projection"]
        found = find(reader, Query(projection=projection, name="llama-0"), limit=2)
        assert ([one.index for one in found.found], found.cursor) == ([6, 3], "3")
        leaf = find_leaf(reader, "uid-6")
        assert leaf is not None
        assert verify_proof(prove_inclusion(reader, leaf, KEYS), KEYS)
    assert not isinstance(old, Path) or old.read_bytes() == before


def test_tampering_with_an_earlier_version_is_found(old: StoreLocation) -> None:
    with _opened(old) as database:
        for trigger in ("leaves_no_update",) if isinstance(old, Path) else ():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("UPDATE leaves SET requester = 'eve' WHERE idx = 6")
    assert "column_changed" in verify_file(old, KEYS).kinds


@contextlib.contextmanager
def _opened(store: StoreLocation) -> Iterator[Any]:
    if isinstance(store, Path):
        connection = sqlite3.connect(store, isolation_level=None)
        yield connection
        connection.close()
    else:
        with database_surgery(store) as database:
            yield database


def test_an_upgrade_keeps_every_byte_and_makes_the_tables_of_a_new_record(old: StoreLocation) -> None:
    before = _leaves(old)
    root = verify_file(old, KEYS).root
    planned = plan_upgrade(old)
    assert _leaves(old) == before
    seen: list[tuple[int, int]] = []
    done = upgrade_store(old, progress=lambda *at: seen.append(at))
    assert (done.before, done.version, done.steps) == (planned.before, schema.VERSION, planned.steps)
    assert (done.size, done.root) == (SIZE, root)
    assert _leaves(old) == before
    assert _differences(old) == []
    result = verify_file(old, KEYS)
    assert (result.verified, result.root) == (True, root)
    assert upgrade_store(old, progress=no_progress).steps == ()


@pytest.mark.parametrize("name", SHAPES)
def test_an_upgraded_file_is_as_a_new_one_to_the_letter(name: str, tmp_path: Path) -> None:
    path = make_file(name, tmp_path / "record.db")
    upgrade_store(path, progress=no_progress)
    AuditLog.open(tmp_path / "new.db", origin=ORIGIN).close()
    found = []
    for each in (path, tmp_path / "new.db"):
        connection = sqlite3.connect(each)
        columns = {table: connection.execute(f"PRAGMA table_info({table})").fetchall() for table in schema.TABLES}
        version = connection.execute("PRAGMA user_version").fetchone()
        found.append((schema.read_objects(connection), columns, version))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("name", DATABASES)
def test_an_upgraded_database_is_as_a_new_one_for_every_role(postgres: PostgresServer, name: str) -> None:
    rights = (
        "SELECT c.relname, a.grantee::regrole::text, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a "
        "WHERE c.relnamespace = 'placet'::regnamespace AND a.grantee::regrole::text IN (%s, %s) ORDER BY 1, 2, 3"
    )
    found = []
    with made_database(postgres, name) as url, postgres.own_record() as fresh:
        upgrade_store(owners(url), progress=no_progress)
        for each in (url, fresh):
            with psycopg.connect(owners(each)) as connection:
                connection.execute("SET search_path = placet, pg_catalog, pg_temp")
                inventory = read_inventory(connection)
                comment = connection.execute("SELECT obj_description('placet'::regnamespace)").fetchone()
                found.append((inventory, comment, connection.execute(rights, (GATE, AUDITOR)).fetchall()))
        assert found[0] == found[1]
        log = AuditLog.open(url, origin=ORIGIN, key=LOG_KEY)
        append(log, SIZE)
        log.checkpoint()
        log.close()
        assert verify_file(url, KEYS).signed_size == SIZE + 1


@pytest.mark.parametrize("name", SHAPES)
def test_a_gate_takes_its_file_along_when_it_opens_it(name: str, tmp_path: Path) -> None:
    path = make_file(name, tmp_path / "record.db")
    with pytest.raises(AuditError) as caught:
        AuditLog.open(path, origin="placet.dev/log/other")
    assert caught.value.code == "origin_differs"
    assert plan_upgrade(path).before == SHAPES[name].version
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    append(log, SIZE)
    log.checkpoint()
    log.close()
    result = verify_file(path, KEYS)
    assert (result.verified, result.size, result.signed_size) == (True, SIZE + 1, SIZE + 1)


def test_a_gate_leaves_a_database_to_its_owner_and_names_the_command(postgres: PostgresServer) -> None:
    with made_database(postgres) as url:
        with pytest.raises(AuditError, match="record of version 2; this placet writes") as caught:
            AuditLog.open(url, origin=ORIGIN)
        assert caught.value.code == "store_foreign"
        assert "placet audit upgrade-store" in caught.value.hint
        with pytest.raises(StoreUnavailable) as refused:
            upgrade_store(url, progress=no_progress)
        assert refused.value.code == "store_readonly"
        assert plan_upgrade(url).before == 2


def test_what_is_not_what_placet_wrote_is_not_upgraded(old: StoreLocation) -> None:
    with _opened(old) as database:
        database.execute("DROP INDEX leaves_by_type")
    with pytest.raises(AuditError, match="leaves_by_type") as caught:
        upgrade_store(old, progress=no_progress)
    assert caught.value.code == "tampered"
    assert plan_code(old) == "tampered"


def plan_code(store: StoreLocation) -> str:
    """Why there is no plan."""
    with pytest.raises(AuditError) as caught:
        plan_upgrade(store)
    return caught.value.code


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE leaves SET leaf_hash = zeroblob(32) WHERE idx = 6", "leaf_changed"),
        ("DELETE FROM leaves WHERE idx = 6", "leaf_changed"),
        ("DELETE FROM leaves WHERE idx = 8", "state_changed"),
        ("UPDATE state SET frontier = zeroblob(64)", "state_changed"),
    ],
)
def test_a_damaged_record_is_not_upgraded(tmp_path: Path, statement: str, code: str) -> None:
    path = make_file("sqlite-2", tmp_path / "record.db")
    with _opened(path) as database:
        triggers = [name for name, (kind, _) in past.V2.objects.items() if kind == "trigger"]
        for name in triggers:
            database.execute(f"DROP TRIGGER {name}")
        database.execute(statement)
        for name in triggers:
            database.execute(past.V2.objects[name][1])
    with pytest.raises(TamperError) as caught:
        upgrade_store(path, progress=no_progress)
    assert caught.value.code == code
    assert "placet audit verify" in caught.value.hint
    assert plan_upgrade(path).before == 2


def test_a_step_that_changes_leaves_or_makes_other_tables_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_file("sqlite-2", tmp_path / "record.db")

    def spoil(connection: sqlite3.Connection) -> None:
        steps._add_terms(connection)
        columns = ", ".join(name for name in past.V2.columns if name not in {"uid", "decision_id"})
        connection.execute(
            f"INSERT INTO leaves (idx, leaf_hash, leaf, {columns}) SELECT 9, leaf_hash, leaf, {columns} "  # noqa: S608
            "FROM leaves WHERE idx = 8"
        )

    for run, expected, code in (
        (spoil, past.V3.objects, "leaf_changed"),
        (lambda _: None, past.V3.objects, "store_corrupt"),
    ):
        monkeypatch.setattr(steps, "STEPS", (steps.Step(3, "spoils", run, expected),))
        with pytest.raises(AuditError) as caught:
            upgrade_store(path, progress=no_progress)
        assert caught.value.code in {code, "state_changed"}
        assert plan_upgrade(path).before == 2
        assert verify_file(path, KEYS).verified


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("moment", [SIZE - 1, SIZE, 2 * SIZE])
def test_a_process_that_is_killed_in_the_middle_leaves_the_old_record_whole(
    tmp_path: Path, name: str, moment: int
) -> None:
    path = make_file(name, tmp_path / "record.db")
    program = (
        "import os, pathlib, signal, sys\n"
        "from placet.audit.stores import upgrade\n"
        "upgrade._PROGRESS_EVERY = 1\n"
        "left = int(sys.argv[2])\n"
        "def progress(done, total):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "upgrade.upgrade_file(pathlib.Path(sys.argv[1]), progress=progress)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path, str(moment)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    result = verify_file(path, KEYS)
    assert (result.verified, result.size) == (True, SIZE)
    assert plan_upgrade(path).before == SHAPES[name].version
    assert upgrade_store(path, progress=no_progress).root == result.root


def test_an_upgrade_of_a_database_that_is_broken_off_leaves_the_old_record_whole(postgres: PostgresServer) -> None:
    with made_database(postgres) as url:

        def break_off(done: int, total: int) -> None:
            raise KeyboardInterrupt(done, total)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(postgres_upgrade, "_PROGRESS_EVERY", 1)
            with pytest.raises(KeyboardInterrupt):
                upgrade_store(owners(url), progress=break_off)
        assert plan_upgrade(url).before == 2
        assert verify_file(url, KEYS).verified


def test_a_newer_version_is_refused_with_what_to_do(tmp_path: Path, postgres: PostgresServer) -> None:
    path = make_file("sqlite-2", tmp_path / "record.db")
    with _opened(path) as database:
        database.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with made_database(postgres) as url:
        with psycopg.connect(owners(url)) as connection:
            connection.execute(f"COMMENT ON SCHEMA placet IS 'record of placet, version {schema.VERSION + 1}'")
        for store in (path, url):
            with pytest.raises(AuditError, match="by a newer placet") as caught:
                upgrade_store(store, progress=no_progress)
            assert (caught.value.code, plan_code(store)) == ("store_foreign", "store_foreign")
            assert "newer one" in caught.value.hint
    with pytest.raises(InputError):
        plan_upgrade(tmp_path / "missing.db")


def test_the_command_says_what_it_does_and_does_it(tmp_path: Path) -> None:
    path = make_file("sqlite-1a", tmp_path / "record.db")
    ask = ["audit", "upgrade-store", "--store", str(path)]
    dry = CliRunner().invoke(root, [*ask, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert f"is of version 1; to be of version {schema.VERSION}" in dry.stderr
    assert all(f"- {step.says}" in dry.stderr for step in steps.STEPS)
    assert plan_upgrade(path).before == 1
    done = json.loads(CliRunner().invoke(root, [*ask, "-o", "json"]).stdout)
    assert (done["before"], done["version"], done["size"], done["done"]) == (1, schema.VERSION, SIZE, True)
    assert done["root"] == verify_file(path, KEYS).root.hex()
    assert "there is nothing to do" in CliRunner().invoke(root, ask).stderr
