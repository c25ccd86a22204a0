"""What leaves add up to."""

from __future__ import annotations

from typing import Any

import pytest

from placet.errors import InputError
from placet.shadow.answer import Change
from placet.shadow.summary import find_rules, read_events, summarise

OLD = {"revision": "sha256:aaaa1", "manifest": "sha256:bbbb1", "data_digest": "sha256:cccc1", "version": 7}
NEW = {"revision": "sha256:aaaa2", "manifest": "sha256:bbbb2", "data_digest": "sha256:cccc1", "version": 8}
ANSWER = {"allowed": True, "violations": [], "required_roles": [], "missing_roles": [], "tolerated": [], "fault": ""}


def leaf(event: str, hour: int, candidate: dict[str, Any] = NEW, run: str = "1", **more: Any) -> dict[str, Any]:
    return {"event": event, "time": f"2026-11-23T{hour:02}:00", "candidate": candidate, "run": run, **more}


def disagreement(hour: int, count: int, candidate: dict[str, Any] = NEW, **changes: Any) -> dict[str, Any]:
    pointer = {"decision_id": f"d-{hour}", "index": hour, "time": f"2026-11-23T{hour:02}:00"}
    after = {**ANSWER, "allowed": False, "violations": ["team.strict/no"], "missing_roles": ["business"]}
    body: dict[str, Any] = {
        "change": "newly_refused",
        "direction": "stricter",
        "count": count,
        "environment": "production",
        "namespace": "ml",
        "kind": "Deployment",
        "name": "llama",
        "model": {"name": "llama", "version": "3"},
        "first": pointer,
        "last": {**pointer, "decision_id": f"d-{hour}-last"},
        "in_force": {"answer": ANSWER},
        "shadow": after,
        **changes,
    }
    return leaf("disagreement", hour, candidate, **body)


def tally(hour: int, *, ended: bool, run: str = "1", **counts: int) -> dict[str, Any]:
    return leaf("tally", hour, run=run, ended=ended, counts=counts)


def test_reviews_are_added_up_by_place_and_rule_for_the_newest_candidate() -> None:
    found = summarise(
        [
            leaf("begun", 1, OLD),
            disagreement(2, 9, OLD),
            leaf("begun", 3),
            disagreement(4, 1),
            disagreement(5, 4, name="other"),
            disagreement(6, 2, namespace="web", change="newly_admitted", direction="looser"),
            tally(7, ended=False, judged=20, agreed=13),
            tally(8, ended=True, judged=5, agreed=5, shed=2),
        ]
    )
    assert found.candidate == NEW
    assert found.others == [OLD]
    assert (found.begun, found.counted_until, found.ended) == ("2026-11-23T03:00", "2026-11-23T08:00", True)
    assert (found.counts["judged"], found.counts["agreed"], found.counts["shed"]) == (25, 18, 2)
    assert (found.reviews(Change.NEWLY_REFUSED), found.reviews(Change.NEWLY_ADMITTED)) == (5, 2)
    assert found.directions() == {"stricter": 5, "looser": 2}
    assert found.rules(Change.NEWLY_REFUSED) == {"team.strict/no": 5}
    first = found.groups[0].render()
    assert first["workloads"] == ["Deployment/llama", "Deployment/other"]
    assert (first["first"], first["last"]) == ("2026-11-23T04:00", "2026-11-23T05:00")
    assert first["decisions"] == ["d-4", "d-4-last", "d-5"]
    assert first["missing_roles"] == ["business"]


def test_a_candidate_is_named_by_the_beginning_of_a_digest() -> None:
    bodies = [leaf("begun", 1, OLD), leaf("begun", 2)]
    assert summarise(bodies, named="bbbb1").candidate == OLD
    assert summarise(bodies, named="sha256:aaaa2").candidate == NEW
    for named, words in (("cccc1", "several candidates have"), ("dddd", "no candidate has"), ("b", "no candidate has")):
        with pytest.raises(InputError, match=words) as caught:
            summarise(bodies, named=named)
        assert "sha256:bbbb1" in caught.value.hint
    with pytest.raises(InputError, match="no policies that were tried"):
        summarise([])


def test_it_goes_on_while_one_process_has_not_ended_it() -> None:
    assert summarise([leaf("begun", 1), leaf("begun", 1, run="2"), tally(2, ended=True)]).ended is False


def test_only_what_differs_is_a_reason() -> None:
    body = disagreement(1, 1, in_force={"answer": {**ANSWER, "violations": ["a.rule/x"], "tolerated": ["b.rule"]}})
    assert find_rules(body) == ["a.rule/x", "b.rule", "team.strict/no"]
    assert find_rules(disagreement(1, 1, shadow={**ANSWER, "fault": "engine_timeout"})) == ["engine_timeout"]


def test_events_of_a_time_are_read_and_those_of_newer_releases_passed_over() -> None:
    bodies = [leaf("begun", 1), leaf("dreamt", 2), tally(3, ended=True), tally(4, ended=True)]
    assert read_events(bodies, since="2026-11-23T02:00", until="2026-11-23T04:00") == [bodies[2]]
