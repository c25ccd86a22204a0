"""Several processes find what one finds, and what one of them can't certify is read by the one that answers."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from placet.audit import workers
from placet.audit.certify import _Beside, certify
from placet.audit.depth import Depth
from placet.audit.forms import Forms
from placet.audit.location import open_reader
from placet.audit.verify import verify_file
from placet.audit.workers import Workers, open_workers
from tests.simulators.bothways import verify_shared
from tests.simulators.tampering import ATTACKS, LOG_KEY, SIZE, Attack, build_log, surgery

KEYS = [LOG_KEY.verifier]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return build_log(tmp_path / "record.db")


def test_two_processes_verify_what_one_does(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = verify_file(store, KEYS)
    asked: list[tuple[int, int]] = []
    real = Workers.certify

    def noted(self: Workers, start: int, end: int) -> Any:
        made = real(self, start, end)
        if made is not None:
            asked.append((start, end))
        return made

    monkeypatch.setattr(Workers, "certify", noted)
    monkeypatch.setattr("placet.audit.verify.open_workers", lambda *a, **named: open_workers(*a, **named, share=8))

    assert verify_file(store, KEYS, jobs=2) == alone
    assert alone.verified
    assert asked == [(0, 8), (8, 16), (16, SIZE)]  # all of it by the other processes


@pytest.mark.parametrize("share", [1, 8])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "_"))
def test_every_attack_is_found_alike(attack: Attack, share: int, store: Path) -> None:
    with surgery(store) as database:
        attack.work(database)
    alone = verify_file(store, KEYS)

    assert verify_shared(store, KEYS, share=share) == alone


def test_a_process_that_is_killed_costs_time_and_no_finding(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = verify_file(store, KEYS)
    monkeypatch.setattr("placet.audit.workers._certify", _die)
    monkeypatch.setattr("placet.audit.verify.open_workers", lambda *a, **named: open_workers(*a, **named, share=8))

    assert verify_file(store, KEYS, jobs=2) == alone


def _die(*_arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_store_that_a_process_cannot_open_is_left_to_the_one_that_answers(tmp_path: Path) -> None:
    assert all(workers._certify(tmp_path / "nowhere.db", 0, 8, depth) is None for depth in Depth)


def test_shares_are_asked_for_ahead_and_in_bounds(store: Path) -> None:
    pool = Asked()
    Workers(pool, store, 3, 10_000, jobs=3, share=10)  # type: ignore[arg-type]

    assert pool.calls[:2] == [(3, 13), (13, 23)]
    assert len(pool.calls) == 3 * workers._AHEAD


class Asked(Executor):
    """A pool that never answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def submit(self, _call: Any, /, *arguments: Any, **_named: Any) -> Future[Any]:
        """Note what was asked."""
        _, start, end, depth = arguments
        assert depth is Depth.ALL
        self.calls.append((start, end))
        return Future()


def test_an_answer_is_the_same_after_its_journey(store: Path) -> None:
    with open_reader(store) as reader:
        made = certify(reader, 0, SIZE, Forms(), with_terms=True)

    assert made is not None
    assert sum(part.count for part in made.said) == SIZE
    assert workers._Packed.of(made).unpack() == made
    assert made.intervals == {2: 600}
    assert len(made.times) == SIZE


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE leaves SET leaf_hash = zeroblob(32) WHERE idx = 5", "another hash"),
        ("UPDATE leaves SET namespace = 'other' WHERE idx = 5", "another column"),
        ("UPDATE leaves SET allowed = NULL WHERE idx = 5", "a column that is nothing"),
        ("DELETE FROM leaves WHERE idx = 5", "a leaf that is missing"),
        ("UPDATE blobs SET content = x'00' WHERE idx = 5", "another attachment"),
        ("UPDATE blobs SET sha256 = zeroblob(32) WHERE idx = 5", "another digest beside it"),
        ("UPDATE blobs SET name = 'content' WHERE idx = 5", "another name"),
        ("INSERT INTO blobs SELECT idx, 'other', sha256, content FROM blobs WHERE idx = 5", "an attachment too many"),
        ("INSERT INTO blobs SELECT -1, name, sha256, content FROM blobs WHERE idx = 5", "one before the first leaf"),
        ("UPDATE leaves SET leaf = x'00' WHERE idx = 5", "a leaf that is none"),
    ],
)
def test_nothing_with_a_fault_in_it_is_certified(store: Path, statement: str, why: str) -> None:
    with surgery(store) as database:
        database.execute(statement)

    with open_reader(store) as reader:
        assert certify(reader, 0, SIZE, Forms(0)) is None, why
    assert not verify_file(store, KEYS).verified


def test_an_attachment_beside_no_number_is_certified_for_nobody() -> None:
    blob = (None, "input", b"", b"")
    assert not _Beside(iter([blob])).agrees(0, 8, {"input": [None] * 8})


def test_what_was_erased_is_counted(store: Path) -> None:
    with surgery(store) as database:
        database.execute("DELETE FROM blobs WHERE idx IN (5, 7)")

    with open_reader(store) as reader:
        made = certify(reader, 0, SIZE, Forms())

    assert made is not None
    assert made.erased == 2


def test_a_leaf_before_the_first_is_seen_by_the_first_stretch(store: Path) -> None:
    with surgery(store) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        names = "leaf_hash, leaf_type, time, cluster, environment, namespace, kind, object_name, requester, model, "
        names += "projection, violations, leaf"
        database.execute(f"INSERT INTO leaves (idx, {names}) SELECT -1, {names} FROM leaves WHERE idx = 5")  # noqa: S608

    with open_reader(store) as reader:
        assert certify(reader, 0, SIZE, Forms()) is None
    assert "inserted" in verify_file(store, KEYS).kinds


def test_text_of_any_bytes_is_compared_and_not_refused(store: Path) -> None:
    with surgery(store) as database:
        database.execute("UPDATE leaves SET namespace = CAST(x'ff' AS TEXT) WHERE idx = 5")
        database.execute("UPDATE blobs SET name = CAST(x'fe' AS TEXT) WHERE idx = 7")
        database.execute("UPDATE checkpoints SET note = CAST(x'fd' AS TEXT) WHERE size = 12")

    found = verify_file(store, KEYS)

    assert {(one.kind, one.index) for one in found.findings} == {
        ("column_changed", 5),
        ("attachment_changed", 7),
        ("checkpoint_invalid", None),
    }
