"""Disagreements as leaves: each counted in exactly one, few of them, and the first at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from placet.audit.record import MAX_LEAF_BYTES, render_leaf
from placet.shadow import ledger as ledgers
from placet.shadow.answer import Answer, compare
from placet.shadow.leaves import Candidate, Sighting
from placet.shadow.ledger import Ledger

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DIGEST = "sha256:" + "1" * 64
CANDIDATE = Candidate(DIGEST, DIGEST, DIGEST, version=0, run="0" * 16)
WINDOW_S = 60.0
SUBJECT = {
    "environment": "production",
    "namespace": "ml",
    "group": "apps",
    "kind": "Deployment",
    "name": "llama",
    "projection": DIGEST,
    "model": {"name": "llama", "version": "3.1"},
}


def sight(number: int = 0, *, namespace: str = "ml", after: Answer | None = None) -> Sighting:
    before, after = Answer(allowed=True), after or Answer(allowed=False, violations=("team.strict/no",))
    difference = compare(before, after)
    assert difference is not None
    subject = {**SUBJECT, "namespace": namespace}
    in_force = {"revision": DIGEST, "data_digest": DIGEST}
    time = f"2026-11-23T12:00:00.{number:06}Z"
    return Sighting(subject, in_force, before, after, difference, f"d-{number}", number, time)


def open_ledger() -> Ledger:
    return Ledger(CANDIDATE, cluster="c", window_s=WINDOW_S, clock=lambda: NOON, now_s=0.0)


def sighted(ledger: Ledger, sighting: Sighting, now_s: float) -> list[dict[str, Any]]:
    leaf = ledger.disagree(sighting, now_s=now_s)
    return [] if leaf is None else [leaf]


def told(leaves: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    return [
        (one["count"], one["first"]["decision_id"], one["last"]["decision_id"])
        for one in leaves
        if one["event"] == "disagreement"
    ]


def test_the_first_is_a_leaf_at_once_and_the_others_one_at_the_end_of_the_window() -> None:
    ledger = open_ledger()
    assert told(sighted(ledger, sight(1), 0.0)) == [(1, "d-1", "d-1")]
    for number in (2, 3, 4):
        assert ledger.disagree(sight(number), now_s=1.0) is None
    assert list(ledger.due(now_s=59.9)) == []
    assert told(list(ledger.due(now_s=60.0))) == [(3, "d-2", "d-4")]
    assert ledger.disagree(sight(5), now_s=61.0) is None
    assert told(list(ledger.due(now_s=119.9))) == []
    assert told(list(ledger.due(now_s=120.0))) == [(1, "d-5", "d-5")]


def test_after_a_window_in_which_it_was_not_seen_it_is_new_again() -> None:
    ledger = open_ledger()
    ledger.disagree(sight(1), now_s=0.0)
    assert told(list(ledger.due(now_s=60.0))) == []
    assert told(sighted(ledger, sight(2), 61.0)) == [(1, "d-2", "d-2")]


def test_another_place_and_another_answer_are_other_disagreements() -> None:
    ledger = open_ledger()
    other = Answer(allowed=False, violations=("team.strict/other",))
    seen = [sight(1), sight(2, namespace="other"), sight(3, after=other), sight(4, after=Answer.failed("trapped"))]
    assert all(ledger.disagree(one, now_s=0.0) is not None for one in seen)


def test_too_many_at_once_are_counted_alone(monkeypatch: Any) -> None:
    monkeypatch.setattr(ledgers, "MOST_OPEN", 2)
    ledger = open_ledger()
    for number in range(5):
        ledger.disagree(sight(number, namespace=f"n-{number}"), now_s=0.0)
    (tally,) = ledger.end()
    assert (tally["counts"]["judged"], tally["counts"]["unlisted"]) == (5, 3)
    assert ledger.unlisted == 3


def test_a_tally_is_of_what_came_since_the_last_one() -> None:
    ledger = open_ledger()
    assert list(ledger.due(now_s=60.0)) == []  # nothing was judged: nothing to say
    ledger.agree()
    ledger.count("shed", 3)
    (tally,) = ledger.due(now_s=120.0)
    assert (tally["counts"]["judged"], tally["counts"]["agreed"], tally["counts"]["shed"]) == (1, 1, 3)
    (last,) = ledger.end()
    assert last["ended"] is True
    assert set(last["counts"].values()) == {0}


def test_the_largest_leaf_fits() -> None:
    words = tuple(f"{number:03}{'r' * 200}/{'c' * 64}" for number in range(100))
    before = Answer(allowed=True, tolerated=words)
    after = Answer(allowed=False, violations=words, required_roles=("technical",) * 4, tolerated=words)
    difference = compare(before, after)
    assert difference is not None
    subject = {**SUBJECT, **dict.fromkeys(("namespace", "name", "kind"), "n" * 253), "environment": "e" * 128}
    seen = Sighting(subject, {"revision": DIGEST, "data_digest": DIGEST}, before, after, difference, "d" * 64, 1, "t")
    leaf = open_ledger().disagree(seen, now_s=0.0)
    assert leaf is not None
    assert len(render_leaf(leaf).raw) <= MAX_LEAF_BYTES


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 100)), max_size=60))
def test_every_sighting_is_counted_in_exactly_one_leaf(steps: list[tuple[int, float]]) -> None:
    ledger, now_s = open_ledger(), 0.0
    leaves: list[dict[str, Any]] = []
    for number, (place, later_s) in enumerate(steps):
        now_s += later_s
        leaves += ledger.due(now_s=now_s)
        leaves += sighted(ledger, sight(number, namespace=f"n-{place}"), now_s)
    leaves += ledger.end()
    assert sum(one[0] for one in told(leaves)) == len(steps)
    assert sum(one["counts"]["stricter"] for one in leaves if one["event"] == "tally") == len(steps)
