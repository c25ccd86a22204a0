"""What a record in PostgreSQL is trusted with, who may do what to it, and what is said when it can't be reached."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from placet.audit.location import DatabaseUrl
from placet.audit.log import AuditLog
from placet.audit.stores.postgres.connection import Link, connect, is_silent
from placet.audit.stores.postgres.schema import create_statements, grant_statements
from placet.audit.stores.postgres.store import MAX_READERS, PostgresStore, open_view
from placet.audit.stores.postgres.transaction import PostgresTransaction
from placet.audit.verify import verify_file
from placet.errors import AuditError, StoreUnavailable, TamperError
from tests.simulators.faults import STEPS, FaultyStore
from tests.simulators.pgsurgery import owners
from tests.simulators.postgres import AUDITOR, GATE, PostgresServer
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, append, build_log, decision


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[DatabaseUrl]:
    with postgres.own_record() as url:
        yield url


@pytest.fixture
def log(url: DatabaseUrl) -> Iterator[AuditLog]:
    log = AuditLog.open(url, origin=ORIGIN, key=LOG_KEY)
    yield log
    log.close()


def _as_owner(url: DatabaseUrl, *statements: str) -> None:
    with psycopg.connect(owners(url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def _open_code(url: DatabaseUrl, **terms: Any) -> str:
    with pytest.raises(AuditError) as caught:
        PostgresStore.open(url, origin=terms.pop("origin", ORIGIN), **terms)
    return caught.value.code


# --- who may do what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [GATE, AUDITOR])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaves SET requester = 'x'",
        "DELETE FROM leaves",
        "TRUNCATE leaves",
        "UPDATE checkpoints SET note = ''",
        "DELETE FROM checkpoints",
        "DELETE FROM state",
        "UPDATE state SET origin = 'x'",
        "UPDATE blobs SET content = ''",
        "DELETE FROM blobs",
        "ALTER TABLE leaves DISABLE TRIGGER ALL",
        "CREATE TABLE placet.mine (x int)",
        "SET session_replication_role = replica",
    ],
)
def test_neither_gate_nor_auditor_may_change_what_was_written(
    postgres: PostgresServer, log: AuditLog, url: DatabaseUrl, role: str, statement: str
) -> None:
    append(log, 0)
    log.checkpoint()
    with psycopg.connect(postgres.url(url.split("/")[3].split("?")[0], role)) as connection:
        connection.execute("SET search_path = placet")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaves SET requester = 'x'",
        "DELETE FROM leaves",
        "TRUNCATE leaves",
        "INSERT INTO leaves SELECT (jsonb_populate_record(leaves, '{\"idx\": 5}')).* FROM leaves",
        "UPDATE checkpoints SET note = ''",
        "DELETE FROM checkpoints",
        "TRUNCATE checkpoints",
        "DELETE FROM state",
        "TRUNCATE state",
        "UPDATE blobs SET content = ''",
        "TRUNCATE blobs",
    ],
)
def test_the_store_itself_refuses_its_owner_to_change_what_was_written(
    log: AuditLog, url: DatabaseUrl, statement: str
) -> None:
    append(log, 0)
    log.checkpoint()
    with psycopg.connect(owners(url)) as connection:
        connection.execute("SET search_path = placet")
        with pytest.raises(psycopg.Error, match="append-only") as caught:
            connection.execute(statement)
    assert caught.value.sqlstate == "PL001"


def test_an_owner_or_superuser_is_not_let_to_write_as_a_gate(postgres: PostgresServer, url: DatabaseUrl) -> None:
    assert _open_code(owners(url)) == "store_role"
    _as_owner(url, f"GRANT DELETE ON placet.leaves TO {GATE}")
    assert _open_code(url) == "store_role"


def test_a_role_that_may_only_read_writes_nothing_and_reads_all(postgres: PostgresServer, url: DatabaseUrl) -> None:
    build_log(url)
    auditor = DatabaseUrl(url.replace(GATE, AUDITOR))
    assert _open_code(auditor) == "store_readonly"
    assert verify_file(auditor, [LOG_KEY.verifier]).verified


# --- what it is trusted with -----------------------------------------------------------------------------------------


def test_a_role_whose_commits_may_be_lost_is_refused(postgres: PostgresServer, url: DatabaseUrl) -> None:
    name = url.split("/")[3].split("?")[0]
    _as_owner(url, f"ALTER ROLE {GATE} IN DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(StoreUnavailable, match="synchronous_commit = off") as caught:
        PostgresStore.open(url, origin=ORIGIN)
    assert "synchronous_commit = on" in caught.value.hint


def test_a_change_of_the_servers_settings_does_not_reach_what_is_open_or_is_refused(
    postgres: PostgresServer, log: AuditLog, url: DatabaseUrl
) -> None:
    append(log, 0)
    try:
        for name, refused in (("synchronous_commit", False), ("fsync", True), ("full_page_writes", True)):
            with postgres.admin() as connection:
                connection.execute(f"ALTER SYSTEM SET {name} = off")
                connection.execute("SELECT pg_reload_conf()")
            with postgres.admin() as connection:
                while connection.execute(f"SHOW {name}").fetchone() != ("off",):
                    connection.execute("SELECT pg_sleep(0.01)")
            if refused:
                with pytest.raises(StoreUnavailable, match=f"{name} = off"):
                    append(log, 1)
            else:
                append(log, 1)
                assert _open_code(url) == "store_unavailable"
            with postgres.admin() as connection:
                connection.execute(f"ALTER SYSTEM RESET {name}")
                connection.execute("SELECT pg_reload_conf()")
                while connection.execute(f"SHOW {name}").fetchone() != ("on",):
                    connection.execute("SELECT pg_sleep(0.01)")
    finally:
        with postgres.admin() as connection:
            connection.execute("ALTER SYSTEM RESET ALL")
            connection.execute("SELECT pg_reload_conf()")
    append(log, 2)
    assert log.size() == 3


def test_what_is_no_record_is_told_from_one(postgres: PostgresServer, url: DatabaseUrl) -> None:
    name = url.split("/")[3].split("?")[0]
    assert _open_code(url, origin="placet.dev/log/other") == "origin_differs"
    _as_owner(url, "COMMENT ON SCHEMA placet IS 'record of placet, version 99'")
    assert _open_code(url) == "store_foreign"
    _as_owner(url, "COMMENT ON SCHEMA placet IS NULL")
    assert _open_code(url) == "store_foreign"
    _as_owner(url, "DROP SCHEMA placet CASCADE")
    with pytest.raises(AuditError, match="holds no record") as caught, open_view(url):
        pass
    assert "placet audit init-store" in caught.value.hint
    assert _open_code(DatabaseUrl(url.replace(name, "not_there"))) == "store_unavailable"


def test_text_that_the_database_can_not_hold_is_kept_all_the_same(log: AuditLog, url: DatabaseUrl) -> None:
    users = ["a\0b", "a\\0b", "CORP\\alice", "\\", "\U0001f512"]
    for number, user in enumerate(users):
        append(log, number, user=user)
    log.checkpoint()
    assert verify_file(url, [LOG_KEY.verifier]).findings == ()
    with open_view(url) as reader:
        for number, user in enumerate(users):
            found = reader.search({"user": user}, before=None, limit=9)
            assert [one.index for one in found] == [number]
    with psycopg.connect(owners(url)) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(r"UPDATE placet.leaves SET requester = 'CORP\alice' WHERE idx = 2")  # as never written
    assert verify_file(url, [LOG_KEY.verifier]).kinds == ("column_changed",)


# --- when it can't be reached ----------------------------------------------------------------------------------------


def test_a_lock_that_another_holds_is_told_within_the_deadline(log: AuditLog, url: DatabaseUrl) -> None:
    append(log, 0)
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM placet.state FOR UPDATE")
        with pytest.raises(StoreUnavailable) as caught:
            log.append(decision(1), uid="uid-1", deadline_s=0.05)
        assert caught.value.code == "store_locked"
        assert log.health().code == "store_locked"
        assert log.size() == 1  # reading waits for nobody
    append(log, 1)


def test_a_connection_that_broke_is_opened_anew(postgres: PostgresServer, log: AuditLog) -> None:
    append(log, 0)
    assert log.size() == 1
    with postgres.admin() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'placet%'"
        )
    append(log, 1)
    assert log.size() == 2


def test_a_server_that_is_away_is_told_and_taken_again(postgres: PostgresServer, log: AuditLog) -> None:
    append(log, 0)
    postgres.stop(signal.SIGINT)
    try:
        for ask in (log.size, lambda: append(log, 1)):
            with pytest.raises(StoreUnavailable) as caught:
                ask()
            assert caught.value.code == "store_unavailable"
        assert not log.health().writable
    finally:
        postgres.start()
    append(log, 1)
    assert log.health().writable


def test_a_server_that_does_not_answer_is_left(
    postgres: PostgresServer, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("placet.audit.stores.postgres.store._GRACE_S", 0.1)
    monkeypatch.setattr("placet.audit.stores.postgres.store._ANSWER_S", 0.1)
    append(log, 0)
    assert log.size() == 1
    postgres.pause()
    try:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            log.append(decision(1), uid="uid-1", deadline_s=0.1)
        with pytest.raises(StoreUnavailable, match="time"):  # nor does it take a new connection
            log.size()
    finally:
        postgres.resume()
    append(log, 1)
    assert log.size() == 2


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("53100", "store_full"),
        ("25006", "store_readonly"),
        ("42501", "store_readonly"),
        ("40P01", "store_locked"),
        ("XX001", "store_corrupt"),
        ("XX002", "store_corrupt"),
        ("57014", "store_unavailable"),
        ("58030", "store_unavailable"),
        ("22000", "record_refused"),
        ("54000", "record_refused"),
    ],
)
def test_what_the_server_can_not_do_has_its_code_and_passes(
    log: AuditLog, url: DatabaseUrl, sqlstate: str, code: str
) -> None:
    append(log, 0)
    fail = f"BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{sqlstate}', DETAIL = 'of the row'; END"
    _as_owner(
        url,
        f"CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $${fail}$$",
        "CREATE TRIGGER fail BEFORE INSERT ON placet.leaves EXECUTE FUNCTION public.fail()",
    )
    with pytest.raises(AuditError, match="injected") as caught:
        append(log, 1)
    assert caught.value.code == code
    assert "of the row" not in str(caught.value)
    _as_owner(url, "DROP TRIGGER fail ON placet.leaves")
    append(log, 1)
    assert log.size() == 2


def _lose_answers(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let so many commits happen, and end the connection before anybody hears of them."""
    commit, left = PostgresTransaction.commit, [times]

    def commit_and_lose(self: PostgresTransaction) -> None:
        if not left[0]:
            commit(self)
            return
        left[0] -= 1
        with self._guarded():
            cursor = self._link.cursor(binary=True)
            self._append(cursor)
            if self._begun:
                self._link.execute("COMMIT")
            with postgres.admin() as connection:
                connection.execute("SELECT pg_terminate_backend(%s)", (self._link.info.backend_pid,))
            self._link.execute("SELECT pg_sleep(60)")  # the answer that never comes

    monkeypatch.setattr(PostgresTransaction, "commit", commit_and_lose)


def test_a_commit_whose_answer_is_lost_is_found_by_its_uid_and_adds_no_second_leaf(
    postgres: PostgresServer, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, 0)
    _lose_answers(postgres, monkeypatch, 1)
    found = log.append(decision(1), uid="uid-1")
    assert (found.index, found.size, found.replayed) == (1, 2, True)
    append(log, 2)
    assert log.size() == 3


def test_a_commit_whose_answer_is_lost_again_is_no_success_and_the_same_uid_finds_it(
    postgres: PostgresServer, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, 0)
    _lose_answers(postgres, monkeypatch, 2)
    with pytest.raises(StoreUnavailable):
        log.append(decision(1), uid="uid-1")
    again = log.append(decision(1), uid="uid-1")
    assert (again.index, again.size, again.replayed) == (1, 2, True)


def test_a_leaf_without_uid_whose_answer_is_lost_is_no_success(
    postgres: PostgresServer, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, 0)
    _lose_answers(postgres, monkeypatch, 1)
    with pytest.raises(StoreUnavailable):
        log.heartbeat(START)
    assert log.size() == 2
    append(log, 1)


def test_an_error_at_the_very_commit_is_no_success(log: AuditLog, url: DatabaseUrl) -> None:
    append(log, 0)
    fail = "BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '53100'; END"
    _as_owner(
        url,
        f"CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $${fail}$$",
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON placet.leaves DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION public.fail()",
    )
    with pytest.raises(StoreUnavailable, match="injected") as caught:
        append(log, 1)
    assert caught.value.code == "store_full"
    assert log.size() == 1
    _as_owner(url, "DROP TRIGGER fail ON placet.leaves")
    append(log, 1)
    assert log.size() == 2


def test_a_commit_that_the_server_made_a_rollback_of_is_no_success(url: DatabaseUrl) -> None:
    store = PostgresStore.open(url, origin=ORIGIN)
    transaction = store.begin(deadline_s=1.0)
    with pytest.raises(psycopg.Error):
        transaction._link.execute("SELECT 1 / 0")
    with pytest.raises(StoreUnavailable, match="ROLLBACK"):
        transaction.commit()
    transaction.rollback()
    store.begin(deadline_s=1.0).rollback()
    store.close()


def test_an_error_names_neither_password_nor_rows(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2-hunter2")
    with pytest.raises(StoreUnavailable) as caught:
        PostgresStore.open(DatabaseUrl(url.replace(GATE, "nobody")), origin=ORIGIN)
    assert "hunter2" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    with psycopg.connect(owners(url)) as connection, pytest.raises(psycopg.Error):
        connection.execute("SELECT 'hunter2'::int")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://placet_gate@127.0.0.1:1/placet?sslmode=disable",
        "postgresql://placet_gate@db.placet.invalid/placet",
        "postgresql://placet_gate@/placet?host=/nonexistent/of-db-7",
    ],
)
def test_where_the_database_is_stands_in_the_error_and_not_in_what_is_shown(address: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        PostgresStore.open(DatabaseUrl(address), origin=ORIGIN)
    error = caught.value
    place = next(part for part in ("127.0.0.1", "db.placet.invalid", "of-db-7") if part in address)
    assert place in str(error), "whoever runs the gate has to find it"
    for part in (place, "placet_gate", "5432", "port"):
        assert part not in f"{error.shown} {error.hint}"
    assert error.shown == "the record's store can't be reached"


def test_a_database_without_a_record_is_not_named_in_what_is_shown(postgres: PostgresServer) -> None:
    postgres.make_database("nothing_here")
    with pytest.raises(AuditError) as caught:
        PostgresStore.open(postgres.url("nothing_here"), origin=ORIGIN)
    assert "nothing_here" in str(caught.value)
    assert caught.value.shown == "the record's database holds no record of placet"


# --- threads ---------------------------------------------------------------------------------------------------------


def test_many_threads_share_few_connections(postgres: PostgresServer, log: AuditLog, url: DatabaseUrl) -> None:
    together = threading.Barrier(24)

    def ask(number: int) -> int:
        together.wait(60)
        append(log, number)
        found = log.find_uid(f"uid-{number}")
        assert found is not None
        return found.index

    with ThreadPoolExecutor(24) as pool:
        assert sorted(pool.map(ask, range(24))) == list(range(24))
    with postgres.admin() as connection:
        (count,) = connection.execute(  # type: ignore[misc]
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'placet%%'",
            (url.split("/")[3].split("?")[0],),
        ).fetchone()
    assert count <= MAX_READERS + 1


def test_a_view_does_not_change_while_others_write(log: AuditLog, url: DatabaseUrl) -> None:
    append(log, 0)
    with open_view(url) as reader:
        assert reader.state().size == 1
        append(log, 1)
        assert reader.state().size == 1
        assert [row.index for row in reader.raw_rows()] == [0]
        assert reader.find_uid("uid-1") is None
    assert log.size() == 2


def test_roles_and_names_are_quoted() -> None:
    statements = "\n".join([*create_statements("it's"), *grant_statements(gate='a"b', auditor="c'd")])
    assert "'it''s'" in statements
    assert '"a""b"' in statements
    assert "'c''d'" in statements


# --- several that write ----------------------------------------------------------------------------------------------


@pytest.fixture
def other(url: DatabaseUrl) -> Iterator[AuditLog]:
    """Another replica's."""
    log = AuditLog.open(url, origin=ORIGIN)
    yield log
    log.close()


def test_who_supposed_that_nobody_else_writes_finds_out_and_goes_on(
    log: AuditLog, other: AuditLog, url: DatabaseUrl
) -> None:
    for number in range(0, 12, 3):
        append(log, number)
        append(other, number + 1)
        append(other, number + 2)
    again = log.append(decision(11), uid="uid-11")
    assert (again.index, again.size, again.replayed) == (11, 12, True)
    with pytest.raises(AuditError) as caught:
        log.append(decision(40) | {"uid": "uid-10"}, uid="uid-10")
    assert caught.value.code == "uid_reused"
    log.checkpoint()
    assert verify_file(url, [LOG_KEY.verifier]).findings == ()


def test_who_supposed_that_nobody_else_writes_waits_for_a_lock_as_long_as_it_has_time(
    log: AuditLog, url: DatabaseUrl
) -> None:
    append(log, 0)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(url) as holder:
        holder.execute("SELECT 1 FROM placet.state FOR UPDATE")
        waiting = pool.submit(append, log, 1)
        with psycopg.connect(owners(url), autocommit=True) as connection:
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'BEGIN%'"
            while connection.execute(waits).fetchone() == (0,):
                assert not waiting.done()
        holder.rollback()
        waiting.result(60)
    assert log.size() == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE placet.state SET frontier = decode(repeat('00', 32), 'hex') || substr(frontier, 33)", "state_changed"),
        ("UPDATE placet.state SET size = 2, frontier = substr(frontier, 1, 32)", "rolled_back"),
        ("DELETE FROM placet.state", "state_changed"),
        ("DELETE FROM placet.leaves WHERE idx = 2", "state_changed"),
    ],
)
def test_a_state_that_was_changed_meanwhile_is_not_appended_to(
    log: AuditLog, url: DatabaseUrl, change: str, code: str
) -> None:
    for number in range(3):
        append(log, number)
    with psycopg.connect(owners(url)) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(change)
        counted = connection.execute("SELECT count(*) FROM placet.leaves").fetchone()
    with pytest.raises(TamperError) as caught:
        append(log, 3)
    assert caught.value.code == code
    with psycopg.connect(owners(url)) as connection:
        assert connection.execute("SELECT count(*) FROM placet.leaves").fetchone() == counted


def test_who_writes_alone_appends_in_one_trip_however_many_wait(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(8)
    for number in range(3):
        append(log, number)
    trips: list[int] = []
    wait = Link.wait

    def count(self: Link, *args: Any, **named: Any) -> Any:
        trips.append(1)
        return wait(self, *args, **named)

    monkeypatch.setattr(Link, "wait", count)
    append(log, 3)
    assert len(trips) == 1
    with ThreadPoolExecutor(8) as pool:

        def ask(number: int) -> None:
            together.wait(60)
            append(log, number)

        list(pool.map(ask, range(4, 12)))
    assert len(trips) <= 1 + 8 + 1  # one more to prepare the statement of many
    assert log.size() == 12


def test_an_append_reads_no_more_of_a_long_record_than_of_a_short_one(log: AuditLog, url: DatabaseUrl) -> None:
    for number in range(40):  # plans are made while it is empty
        append(log, number)
    assert log.find_uid("uid-7") is not None
    with psycopg.connect(owners(url), autocommit=True) as connection:
        scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE schemaname = 'placet' AND relname = 'leaves'"
        connection.execute("SELECT pg_stat_force_next_flush()")
        before = connection.execute(scans).fetchone()
    for number in range(40, 60):
        append(log, number)
        assert log.find_uid(f"uid-{number - 40}") is not None
    again = log.append(decision(3), uid="uid-3")
    assert again.replayed
    log.close()  # what a connection has counted is known at its end at the latest
    with psycopg.connect(owners(url), autocommit=True) as connection:
        alive = "SELECT count(*) FROM pg_stat_activity WHERE usename <> 'postgres' AND datname = current_database()"
        while connection.execute(alive).fetchone() != (0,):
            pass
        connection.execute("SELECT pg_stat_clear_snapshot()")
        assert connection.execute(scans).fetchone() == before


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with others"])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt()], ids=["store", "interrupt"])
def test_a_fault_at_any_step_is_no_success_and_the_next_append_works(
    url: DatabaseUrl, other: AuditLog, step: str, error: BaseException | None, *, after: bool, alone: bool
) -> None:
    store = FaultyStore(PostgresStore.open(url, origin=ORIGIN))
    log = AuditLog(store)
    append(log, 0)
    if not alone:
        append(other, 1)
    store.fail(step, after=after, error=error)
    if step == "find_uids":  # the last that is asked, of a uid that is there
        append(log, 2)
        assert log.size() == (3 if not alone else 2)
        with pytest.raises(StoreUnavailable if error is None else type(error)):
            append(log, 0)
    else:
        with pytest.raises(StoreUnavailable if error is None else type(error)):
            append(log, 2)
    again = log.append(decision(2), uid="uid-2")
    assert again.replayed == ((step, after) in {("commit", True), ("find_uids", False), ("find_uids", True)})
    append(log, 3)
    log.close()
    assert other.size() == (3 if alone else 4)
    checking = AuditLog.open(url, origin=ORIGIN, key=LOG_KEY)
    checking.checkpoint()
    checking.close()
    assert verify_file(url, [LOG_KEY.verifier]).findings == ()


def test_a_connection_that_the_server_has_closed_is_told_from_one_that_is_idle(
    postgres: PostgresServer, url: DatabaseUrl
) -> None:
    link = connect(url, idle_s=0)
    assert link.execute("SELECT 1").fetchone() == (1,)
    assert is_silent(link)
    with postgres.admin() as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 60000)", (link.info.backend_pid,))
    assert not is_silent(link)
    link.close()
