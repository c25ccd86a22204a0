"""Publishing from the log: once, by one of several, after faults and restarts, and never without bounds."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from placet.apiserver import ClusterUnavailable
from placet.publish import publisher as module
from placet.publish.budget import HOUR_S
from placet.publish.entry import MAX_MESSAGE_BYTES
from placet.publish.events import MORE
from placet.publish.lease import LEASE_S, LeaseUnwritable, LostLease
from tests.placet.publish.conftest import EVENTS, SHOWN, Replicas
from tests.simulators.apiobjects import ObjectServer


def events(server: ObjectServer) -> dict[tuple[str, str], int]:
    """Name of the involved object and reason -> count."""
    return {(one["involvedObject"]["name"], one["reason"]): one["count"] for one in server.of("events")}


def shown(server: ObjectServer) -> dict[str, list[int]]:
    """Name of the workload -> indices, the newest first."""
    found = [json.loads(one["data"]["decisions.json"]) for one in server.of("configmaps")]
    return {one["workload"]["name"]: [each["index"] for each in one["decisions"]] for one in found}


def report(server: ObjectServer, plural: str = "reports") -> dict[str, Any]:
    (found,) = server.of(plural)
    return found


def test_each_refusal_is_told_once_and_the_last_decisions_are_shown(replicas: Replicas, server: ObjectServer) -> None:
    one = replicas.publisher("one")
    replicas.refuse(times=4)
    assert one.run_once().read == 4
    replicas.decide()
    replicas.refuse("other")
    one.run_once()
    assert events(server) == {("llama", "Refused"): 4, ("other", "Refused"): 1}
    assert shown(server) == {"llama": [4, 3, 2], "other": [5]}
    assert one.run_once().read == 0


def test_what_only_goes_on_as_it_was_is_not_shown(replicas: Replicas, server: ObjectServer) -> None:
    replicas.decide(approved=False, change={"kind": "unchanged", "scale": ""})
    replicas.decide(approved=False, change={"kind": "child", "scale": ""})
    replicas.refuse(cluster="another")
    replicas.log.heartbeat(replicas.now())
    assert replicas.publisher("one").run_once().read == 4
    assert [one["kind"] for one in server.objects.values()] == ["Lease"]


def test_one_of_two_publishes_and_the_other_takes_over_when_it_is_silent(
    replicas: Replicas, server: ObjectServer
) -> None:
    one, two = replicas.publisher("one"), replicas.publisher("two")
    replicas.refuse()
    assert (one.run_once().leads, two.run_once().leads) == (True, False)
    replicas.ahead_s += LEASE_S
    assert two.run_once().leads is False
    replicas.refuse()
    replicas.ahead_s += 1
    assert two.run_once().leads is True
    assert events(server) == {("llama", "Refused"): 2}
    assert one.run_once().leads is False


def test_a_replica_that_ends_hands_over_at_once(replicas: Replicas) -> None:
    one, two = replicas.publisher("one"), replicas.publisher("two")
    replicas.refuse()
    assert one.run_once().read == 1
    assert two.run_once().leads is False
    one._lease.release()
    taken = two.run_once()
    assert (taken.leads, taken.read) == (True, 0)


def test_one_that_was_thought_dead_and_goes_on_counts_nothing_twice(replicas: Replicas, server: ObjectServer) -> None:
    """It stalls after its Events were written, another one publishes the same, and then it goes on."""
    one, two = replicas.publisher("one"), replicas.publisher("two")
    replicas.refuse(times=3)
    one.run_once()
    two.run_once()
    replicas.refuse(times=2)
    stalled = one._sinks[1].publish

    def stall(entries: Any) -> None:
        for _ in range(2):
            replicas.ahead_s += LEASE_S + 1
            two.run_once()
        stalled(entries)

    one._sinks[1].publish = stall  # type: ignore[method-assign]
    with pytest.raises(LostLease):
        one.run_once()
    assert events(server) == {("llama", "Refused"): 5}
    assert shown(server) == {"llama": [4, 3, 2]}


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("plural", ["events", "configmaps", "reports"])
def test_what_fails_is_done_again_and_counted_once(
    replicas: Replicas, server: ObjectServer, status: int, plural: str
) -> None:
    one = replicas.publisher("one")
    replicas.refuse(times=3)
    server.fail = lambda method, path: status if method == "POST" and path.endswith(plural) else None
    for _ in range(3):
        with pytest.raises(ClusterUnavailable):
            one.run_once()
    server.fail = lambda _method, _path: None
    assert one.run_once().read == 3
    assert (events(server), shown(server)) == ({("llama", "Refused"): 3}, {"llama": [2, 1, 0]})


def test_a_process_that_is_killed_between_two_writes_leaves_nothing_to_count_twice(
    replicas: Replicas, server: ObjectServer
) -> None:
    replicas.refuse(times=3)
    total = _writes(replicas)
    for last in range(total):
        writes = 0

        def cut(method: str, _path: str, last: int = last) -> int | None:
            nonlocal writes
            writes += method != "GET"
            return 503 if writes > last else None

        server.objects.clear()
        server.fail = cut
        with pytest.raises(ClusterUnavailable):
            replicas.publisher("first").run_once()
        server.fail = lambda _method, _path: None
        replicas.ahead_s += 1
        second = replicas.publisher("second")
        if not second.run_once().leads:
            replicas.ahead_s += LEASE_S + 1
            second.run_once()
        assert events(server) == {("llama", "Refused"): 3}, last
        assert shown(server) == {"llama": [2, 1, 0]}, last


def _writes(replicas: Replicas) -> int:
    """Writes of a whole round."""
    before = replicas.server.calls.total() - sum(n for (m, _), n in replicas.server.calls.items() if m == "GET")
    replicas.publisher("counting").run_once()
    after = replicas.server.calls.total() - sum(n for (m, _), n in replicas.server.calls.items() if m == "GET")
    return after - before


@pytest.mark.parametrize(
    ("status", "outcome"), [(403, "forbidden"), (404, "gone"), (413, "refused"), (422, "refused"), (400, "refused")]
)
def test_what_no_repetition_mends_is_counted_and_holds_up_nothing(
    replicas: Replicas, server: ObjectServer, status: int, outcome: str
) -> None:
    replicas.refuse()
    server.fail = lambda _method, path: status if "/events" in path and status != 404 else None
    if status == HTTPStatus.NOT_FOUND:
        server.fail = lambda method, path: 404 if method == "POST" and path.endswith("/events") else None
    assert replicas.publisher("one").run_once().read == 1
    assert replicas.counted["event", outcome] == 1
    assert shown(server) == {"llama": [0]}


def test_an_object_that_fails_again_and_again_does_not_hold_up_the_rest_for_ever(
    replicas: Replicas, server: ObjectServer
) -> None:
    one = replicas.publisher("one")
    replicas.refuse("poison", namespace="poisoned")
    replicas.refuse("beside")
    server.fail = lambda method, path: 500 if method == "POST" and "/poisoned/events" in path else None
    for _ in range(module._PATIENCE):
        with pytest.raises(ClusterUnavailable):
            one.run_once()
        assert events(server) == {("beside", "Refused"): 1}
    assert one.run_once().read == 2
    assert replicas.counted["leaf", "failed"] == 2
    replicas.refuse("after")
    one.run_once()
    assert events(server) == {("beside", "Refused"): 1, ("after", "Refused"): 1}


def test_an_api_server_that_is_away_is_waited_for_however_long(replicas: Replicas, server: ObjectServer) -> None:
    one = replicas.publisher("one")
    one.run_once()
    replicas.refuse()
    server.fail = lambda _method, _path: 503
    for _ in range(3 * module._PATIENCE):
        with pytest.raises(ClusterUnavailable):
            one.run_once()
    server.fail = lambda _method, _path: None
    one.run_once()
    assert events(server) == {("llama", "Refused"): 1}


def test_without_the_right_to_the_lease_nothing_is_published_and_the_right_is_named(
    replicas: Replicas, server: ObjectServer
) -> None:
    server.fail = lambda _method, path: 403 if "/leases" in path else None
    with pytest.raises(LeaseUnwritable) as caught:
        replicas.publisher("one").run_once()
    assert "leases" in caught.value.hint
    assert server.objects == {}


def test_a_flood_of_one_caller_makes_a_bounded_number_of_events_and_says_how_much_it_left_out(
    replicas: Replicas, server: ObjectServer
) -> None:
    one = replicas.publisher("one")
    replicas.refuse("honest", namespace="quiet")
    for number in range(3 * EVENTS):
        replicas.refuse(f"flood-{number}", namespace="loud")
    one.run_once()
    loud = [event for event in server.of("events") if event["metadata"]["namespace"] == "loud"]
    assert len(loud) == EVENTS + 1
    (more,) = [event for event in loud if event["reason"] == MORE]
    assert (more["count"], more["involvedObject"]["kind"]) == (2 * EVENTS, "Namespace")
    assert "placet audit list --namespace loud --decision deny" in more["message"]
    assert replicas.counted["event", "left_out"] == 2 * EVENTS
    assert events(server)["honest", "Refused"] == 1
    # The same again is no new object, and no write for each refusal.
    writes = server.calls["PUT", "events"]
    for number in range(3 * EVENTS):
        replicas.refuse(f"flood-{number}", namespace="loud")
    one.run_once()
    assert len(server.of("events")) == EVENTS + 2
    assert server.calls["PUT", "events"] - writes == EVENTS + 1
    assert events(server)["loud", MORE] == 4 * EVENTS


def test_a_flood_pushes_out_no_config_map_of_another_namespace(replicas: Replicas, server: ObjectServer) -> None:
    one = replicas.publisher("one", most=5)
    replicas.refuse("honest", namespace="quiet")
    one.run_once()
    for number in range(8):
        replicas.ahead_s += 1
        replicas.refuse(f"flood-{number}", namespace="loud")
    one.run_once()
    assert sorted(shown(server)) == ["flood-4", "flood-5", "flood-6", "flood-7", "honest"]
    assert replicas.counted["decisions", "removed"] == 4


def test_what_somebody_wrote_into_a_config_map_is_not_believed(replicas: Replicas, server: ObjectServer) -> None:
    one = replicas.publisher("one")
    replicas.refuse("another")
    replicas.refuse()
    one.run_once()
    path = next(path for path, each in server.objects.items() if "llama" in path and each["kind"] == "ConfigMap")
    forged = json.loads(server.objects[path]["data"]["decisions.json"])
    forged["decisions"] = [{"index": 0, "verdict": "allowed"}, {"index": 1, "verdict": "allowed"}, {"index": 9**15}]
    server.objects[path]["data"]["decisions.json"] = json.dumps(forged)
    replicas.refuse()
    one.run_once()
    decisions = json.loads(server.objects[path]["data"]["decisions.json"])["decisions"]
    assert [(each["index"], each["verdict"]) for each in decisions] == [(2, "refused"), (1, "refused")]
    assert server.objects[path]["metadata"]["namespace"] == SHOWN


def test_too_much_to_make_up_for_is_left_out_and_counted(
    replicas: Replicas, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG", 5)
    one = replicas.publisher("one")
    one.run_once()
    replicas.refuse(times=9)
    one.run_once()
    assert replicas.counted["leaf", "left_out"] == 4
    assert replicas.said == ["too much was waiting to be published; the oldest is left out"]
    assert events(server) == {("llama", "Refused"): 5}


def test_a_record_that_has_become_smaller_is_said_and_goes_on(replicas: Replicas, server: ObjectServer) -> None:
    one = replicas.publisher("one")
    one.run_once()
    (lease,) = server.of("leases")
    lease["metadata"]["annotations"]["placet.dev/published-size"] = "7"
    replicas.refuse()
    replicas.ahead_s += 6
    one.run_once()
    assert replicas.said == ["the record has fewer leaves than were published"]
    replicas.refuse()
    one.run_once()
    assert events(server) == {("llama", "Refused"): 1}


def test_old_refusals_are_no_events_any_more(replicas: Replicas, server: ObjectServer) -> None:
    replicas.refuse()
    replicas.ahead_s += 2 * HOUR_S
    replicas.publisher("one").run_once()
    assert (events(server), shown(server)) == ({}, {"llama": [0]})


def test_break_glass_is_an_event_of_its_own(replicas: Replicas, server: ObjectServer) -> None:
    passage = {"token_id": "t", "by": "token", "review_due": "2026-11-25T18:00:00.000000Z"}
    replicas.decide(break_glass=passage, approved=False, notes=[{"rule": "approvals.required", "code": "missing"}])
    replicas.decide(break_glass=passage | {"by": "precedent"}, approved=False)
    replicas.publisher("one").run_once()
    assert events(server) == {("llama", "BreakGlass"): 1}
    assert "2026-11-25" in server.of("events")[0]["message"]
    found = {one["rule"]: one["result"] for one in report(server)["results"]}
    assert found["approvals.required"] == "fail"
    (view,) = server.of("configmaps")
    assert view["metadata"]["labels"]["event-type"] == "break-glass"


def test_a_message_is_harmless_and_short(replicas: Replicas, server: ObjectServer) -> None:
    replicas.refuse(message="one\x1b[31m\u202e\r\ntwo " + "\N{SNOWMAN}" * 3000)
    replicas.publisher("one").run_once()
    (event,) = server.of("events")
    assert event["message"].startswith("one\\u001b[31m\\u202e\\u000d\ntwo ")
    assert len(event["message"].encode()) <= MAX_MESSAGE_BYTES
    assert event["message"].endswith("\ndecision decision-1, record 0")


def test_reports_are_asked_for_again_now_and_then(replicas: Replicas, server: ObjectServer) -> None:
    served, server.served = server.served, {}
    one = replicas.publisher("one")
    replicas.decide()
    one.run_once()
    assert (server.of("reports"), server.of("policyreports")) == ([], [])
    server.served = served
    replicas.decide()
    one.run_once()
    assert server.of("reports") == []
    replicas.ahead_s += 301
    replicas.decide()
    one.run_once()
    first, second = report(server), report(server, "policyreports")
    assert (first["source"], "source" in second) == ("placet", False)
    for found in (first, second):
        counted = [one["result"] for one in found["results"]]
        assert found["summary"] == {name: counted.count(name) for name in ("pass", "fail", "warn", "error", "skip")}
        assert found["summary"]["fail"] == 0
        assert found["metadata"]["ownerReferences"] == [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama", "uid": "uid-of-llama"}
        ]


def test_what_was_never_made_has_no_report(replicas: Replicas, server: ObjectServer) -> None:
    replicas.refuse(operation="CREATE")
    replicas.decide(parents=[{"kind": "Deployment", "name": "llama", "uid": "u"}], kind="Pod", allowed=False)
    replicas.publisher("one").run_once()
    assert server.of("reports") == []
    assert events(server) == {("llama", "Refused"): 2}


def test_an_event_that_the_api_server_forgot_has_to_find_room_again(replicas: Replicas, server: ObjectServer) -> None:
    one = replicas.publisher("one")
    for number in range(EVENTS):
        replicas.refuse(f"flood-{number}", namespace="loud")
    one.run_once()
    for path in [path for path, each in server.objects.items() if each["kind"] == "Event"]:
        del server.objects[path]
    replicas.refuse("flood-0", namespace="loud", times=2)
    one.run_once()
    assert events(server) == {("loud", MORE): 2}


def test_a_round_is_cut_short_where_it_is_about_too_many_workloads(
    replicas: Replicas, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_TARGETS", 2)
    one = replicas.publisher("one")
    for name in ("a", "b", "a", "c", "a", "d"):
        replicas.refuse(name)
    rounds = [one.run_once() for _ in range(3)]
    assert [(each.read, each.behind) for each in rounds] == [(3, 3), (2, 1), (1, 0)]
    assert events(server) == {("a", "Refused"): 3, ("b", "Refused"): 1, ("c", "Refused"): 1, ("d", "Refused"): 1}


@pytest.mark.parametrize("plural", ["events", "configmaps", "leases"])
def test_a_write_over_somebody_elses_fails_and_is_made_anew(
    replicas: Replicas, server: ObjectServer, plural: str
) -> None:
    one = replicas.publisher("one")
    replicas.refuse()
    one.run_once()
    between: list[str] = []

    def write_first(method: str, path: str) -> None:
        if method == "PUT" and f"/{plural}/" in path and len(between) < 2:
            between.append(path)
            metadata = server.objects[path]["metadata"]
            metadata["resourceVersion"] = f"9{metadata['resourceVersion']}"

    server.fail = write_first
    replicas.refuse()
    one.run_once()
    assert len(between) == 2
    assert (events(server), shown(server)) == ({("llama", "Refused"): 2}, {"llama": [1, 0]})
