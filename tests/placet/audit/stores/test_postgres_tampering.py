"""A database that was tampered with is found out, whoever did it and whatever they may do there."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from placet.audit.location import DatabaseUrl
from placet.audit.stores.postgres.schema import load_inventory, read_inventory
from placet.audit.workers import open_workers
from tests.simulators.bothways import verify_file
from tests.simulators.pgsurgery import owners
from tests.simulators.postgres import PostgresServer
from tests.simulators.tampering import ATTACKS, LOG_KEY, SIGNED, SIZE, Attack, build_log, surgery

KEYS = [LOG_KEY.verifier]


@pytest.fixture(scope="module")
def built(postgres: PostgresServer) -> Iterator[str]:
    build_log(postgres.make_record("built"))
    yield "built"
    postgres.drop_database("built")


@pytest.fixture
def store(postgres: PostgresServer, built: str) -> Iterator[DatabaseUrl]:
    with postgres.copy_of(built) as url:
        yield url


def _saved(store: DatabaseUrl) -> list[tuple[str, bytes]]:
    with psycopg.connect(owners(store)) as connection:
        rows = connection.execute("SELECT size, note FROM placet.checkpoints ORDER BY size").fetchall()
    return [(f"saved-{size}.note", note.encode()) for size, note in rows]


def test_accepts_what_placet_wrote(store: DatabaseUrl) -> None:
    result = verify_file(store, KEYS, saved=_saved(store))
    assert result.findings == ()
    assert result.verified
    assert (result.size, result.signed_size, result.checkpoints) == (SIZE, SIGNED[-1], len(SIGNED))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "_"))
def test_finds_every_attack_and_names_it(attack: Attack, store: DatabaseUrl) -> None:
    saved = _saved(store) if attack.needs_saved else []
    with surgery(store) as database:
        attack.work(database)
    result = verify_file(store, KEYS, saved=saved)
    assert not result.verified
    assert attack.kind in result.kinds
    assert result.first_bad_index == attack.index


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("ALTER TABLE leaves DISABLE TRIGGER leaves_no_update", "leaves_no_update"),
        ("DROP TRIGGER checkpoints_no_delete ON checkpoints", "checkpoints_no_delete"),
        ("CREATE TRIGGER mine BEFORE INSERT ON leaves FOR EACH ROW EXECUTE FUNCTION refuse()", "mine"),
        ("CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'", "refuse"),
        ("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "mine"),
        ("DROP INDEX leaves_by_model", "leaves_by_model"),
        ("ALTER TABLE leaves DROP CONSTRAINT leaves_uid_key", "leaves_uid_key"),
        ("ALTER TABLE leaves ADD COLUMN note text", "leaves"),
        ('ALTER TABLE leaves ALTER COLUMN time TYPE text COLLATE pg_catalog."default"', "leaves"),
        ("ALTER TABLE leaves ENABLE ROW LEVEL SECURITY", "leaves"),
        ("CREATE RULE mine AS ON DELETE TO leaves DO INSTEAD NOTHING", "leaves"),
        ("CREATE VIEW mine AS SELECT 1 AS one", "mine"),
    ],
)  # fmt: skip
def test_a_schema_that_was_changed_is_found(store: DatabaseUrl, statement: str, name: str) -> None:
    with surgery(store) as database:
        database.execute(statement)
    result = verify_file(store, KEYS)
    assert result.kinds[0] == "schema_changed"
    assert any(repr(name) in finding.sentence for finding in result.findings)


def test_a_new_record_is_what_the_verifier_compares_with(store: DatabaseUrl) -> None:
    with psycopg.connect(owners(store)) as connection:
        connection.execute("SET search_path = placet, pg_catalog, pg_temp")
        assert read_inventory(connection) == load_inventory()


def test_several_processes_verify_what_one_does(store: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = verify_file(store, KEYS)
    monkeypatch.setattr("placet.audit.verify.open_workers", lambda *a, **named: open_workers(*a, **named, share=8))
    assert verify_file(store, KEYS, jobs=2) == alone
    assert alone.verified
