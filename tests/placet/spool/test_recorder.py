"""One request has one answer, wherever it is kept: what waits on the disk is asked again before a record is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from placet.audit.log import AuditLog
from placet.audit.stores.postgres.failure import unavailable
from placet.audit.stores.sqlite import SqliteStore
from placet.decision import Decision
from placet.policy.data import load_policy_data
from placet.policy.decision import PolicyDecision
from placet.policy.wasm import EmbeddedEngine
from placet.spool.recorder import SpoolingRecorder
from placet.spool.spool import Spool
from tests.simulators.desk import NOON
from tests.simulators.faults import FaultyStore
from tests.simulators.gate import ORIGIN, GateDesk, example, review

NOW = datetime(2026, 11, 22, 13, tzinfo=UTC)
CLUSTER = "prod-eu-1"
ROLES = ("technical", "security", "business", "executive")
HOST = "db.internal.example"


class Interrupted(EmbeddedEngine):
    """An engine during whose work something else happens."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine
        self.meanwhile: Any = lambda: None
        self.name, self.version, self.revision = engine.name, engine.version, engine.revision

    def prepare(self) -> None:
        self.engine.prepare()

    def problem(self) -> str:
        return self.engine.problem()

    def decide(self, document: Mapping[str, Any], *, deadline_s: float) -> PolicyDecision:
        self.meanwhile()
        return self.engine.decide(document, deadline_s=deadline_s)

    def close(self) -> None:
        self.engine.close()


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedEngine]:
    opened = EmbeddedEngine.default(load_policy_data(None))
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", max_bytes=1 << 20, max_denials=100)
    yield opened
    opened.close()


def gate_over(folder: Path, store: FaultyStore | SqliteStore, spool: Spool, engine: EmbeddedEngine) -> GateDesk:
    folder.mkdir()
    recorder = SpoolingRecorder(AuditLog(store), cluster=CLUSTER, spool=spool, clock=lambda: NOW)
    return GateDesk.open(folder, engine=engine, recorder=recorder)


def away(path: Path) -> FaultyStore:
    """A store whose database server does not answer, in the words of libpq."""
    store = FaultyStore(SqliteStore.open(path, origin=ORIGIN))
    said = f'connection to server at "{HOST}" (10.20.30.40), port 5432 failed: Connection refused'
    store.leave(unavailable("store_unavailable", said))
    return store


def said(decision: Decision) -> str:
    return repr(decision.violations)


def test_a_request_that_was_denied_and_waits_while_it_is_judged_again_keeps_its_answer(
    tmp_path: Path, spool: Spool, embedded: EmbeddedEngine
) -> None:
    """The second would have allowed: the answer that somebody has counts, and no leaf says otherwise."""
    store = SqliteStore.open(tmp_path / "record.db", origin=ORIGIN)
    broken = gate_over(tmp_path / "broken", away(tmp_path / "away.db"), spool, embedded)
    engine = Interrupted(embedded)
    sound = gate_over(tmp_path / "sound", store, spool, engine)
    assert sound.desk.now == broken.desk.now == NOON
    asked = review(sound.approve(example(), *ROLES), uid="0f0f0f0f-0000-4000-8000-000000000001")
    first: list[Decision] = []
    engine.meanwhile = lambda: first.append(broken.decide(asked))
    second = sound.decide(asked)
    assert [one.allowed for one in first] == [False]
    assert first[0].spooled is not None
    assert not first[0].spooled.replayed
    assert second.spooled is not None
    assert (second.allowed, second.spooled.replayed, second.recorded) == (False, True, None)
    assert second.spooled.leaf == first[0].spooled.leaf
    log = AuditLog(store)
    assert (log.size(), spool.standing().waiting) == (0, 1)
    engine.meanwhile = lambda: None
    other = review(sound.approve(example(), *ROLES), uid="0f0f0f0f-0000-4000-8000-000000000002")
    assert sound.decide(other).allowed, "the same content is let in where nothing waits"
    log.close()


def test_another_request_with_the_uid_of_one_that_came_meanwhile_is_refused(
    tmp_path: Path, spool: Spool, embedded: EmbeddedEngine
) -> None:
    store = SqliteStore.open(tmp_path / "record.db", origin=ORIGIN)
    broken = gate_over(tmp_path / "broken", away(tmp_path / "away.db"), spool, embedded)
    engine = Interrupted(embedded)
    sound = gate_over(tmp_path / "sound", store, spool, engine)
    uid = "0f0f0f0f-0000-4000-8000-000000000003"
    engine.meanwhile = lambda: broken.decide(review(example(), uid=uid))
    refused = sound.decide(review(sound.approve(example(), *ROLES), uid=uid))
    assert not refused.allowed
    assert "uid_reused" in said(refused)
    assert AuditLog(store).size() == 0
    store.close()


def test_who_is_refused_does_not_read_where_the_database_is(
    tmp_path: Path, spool: Spool, embedded: EmbeddedEngine
) -> None:
    broken = gate_over(tmp_path / "broken", away(tmp_path / "away.db"), spool, embedded)
    refused = broken.decide(review(broken.approve(example(), *ROLES)))
    assert "store_unavailable" in said(refused)
    assert "the record's store can't be reached" in said(refused)
    assert refused.spooled is not None
    for told in (said(refused), repr(refused.spooled.leaf)):
        assert HOST not in told
        assert "10.20.30.40" not in told
