"""Events about the gate itself: one for each reason and subject on its Pod, counted up, bounded, never waited for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from placet.apiserver import ClusterUnavailable
from placet.publish.budget import Budget
from placet.publish.notices import REFUSED, TAKEN, Notice, Notices, OwnPod
from tests.simulators.apiobjects import ObjectServer

POD = OwnPod("placet-system", "placet-0", "1c8e3f5e-0000-4000-8000-000000000001")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Desk:
    """Notices on an API server, and what was counted."""

    def __init__(self, server: ObjectServer, budget: Budget | None = None) -> None:
        self.counted: list[tuple[str, str]] = []
        self.left_out = 0
        self.notices = Notices(
            POD,
            server.connect(),
            count=lambda kind, outcome, _number: self.counted.append((kind, outcome)),
            left_out=self.leave_out,
            budget=budget,
        )

    def leave_out(self) -> None:
        self.left_out += 1

    def tell(self, reason: str = REFUSED, subject: str = "a", message: str = "m", minutes: int = 0) -> None:
        self.notices.tell(Notice(reason, subject, message, NOON + timedelta(minutes=minutes)))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ObjectServer]:
    with ObjectServer(tmp_path) as opened:
        yield opened


def test_an_event_is_on_the_pod_with_its_uid_and_counts_what_comes_again(server: ObjectServer) -> None:
    desk = Desk(server)
    desk.tell(message="policies refused (bundle_rollback): older")
    desk.tell(message="policies refused (bundle_rollback): older still", minutes=3)
    desk.tell(TAKEN, subject="b", message="policies in force: version 4")
    desk.notices.publish()
    first, second = sorted(server.of("events"), key=lambda one: str(one["type"]), reverse=True)
    assert first["involvedObject"] == {
        "apiVersion": "v1", "kind": "Pod", "namespace": POD.namespace, "name": POD.name, "uid": POD.uid,
    }  # fmt: skip
    assert (first["type"], first["reason"], first["count"]) == ("Warning", "PoliciesRefused", 2)
    assert (first["firstTimestamp"], first["lastTimestamp"]) == ("2026-11-23T12:00:00Z", "2026-11-23T12:03:00Z")
    assert first["message"].endswith("older still")
    assert (second["type"], second["reason"], second["count"]) == ("Normal", "PoliciesInForce", 1)
    assert desk.counted == [("event", "created"), ("event", "updated"), ("event", "created")]


def test_what_could_not_be_written_is_written_later_and_only_once(server: ObjectServer) -> None:
    desk = Desk(server)
    desk.tell()
    server.fail = lambda _method, _path: 503
    with pytest.raises(ClusterUnavailable):
        desk.notices.publish()
    server.fail = lambda _method, _path: None
    desk.notices.publish()
    desk.notices.publish()
    assert [one["count"] for one in server.of("events")] == [1]


def test_a_missing_right_is_counted_and_holds_nothing_up(server: ObjectServer) -> None:
    desk = Desk(server)
    desk.tell()
    desk.tell(subject="b")
    server.fail = lambda _method, _path: 403
    desk.notices.publish()
    assert desk.counted == [("event", "forbidden")] * 2
    assert server.of("events") == []


def test_whoever_replaces_the_policies_without_end_fills_neither_memory_nor_cluster(server: ObjectServer) -> None:
    desk = Desk(server, Budget(each=3, together=3))
    for number in range(50):
        desk.tell(subject=str(number))
    assert desk.left_out == 42
    desk.notices.publish()
    assert (len(server.of("events")), desk.left_out) == (3, 47)


def test_a_message_of_others_is_harmless_and_short(server: ObjectServer) -> None:
    desk = Desk(server)
    desk.tell(message="\x1b[31m" + "x" * 5000)
    desk.notices.publish()
    (event,) = server.of("events")
    assert "\x1b" not in event["message"]
    assert len(event["message"].encode()) <= 1000


def test_a_process_that_was_not_told_its_pod_has_none() -> None:
    told = {"PLACET_POD_NAMESPACE": "n", "PLACET_POD_NAME": "p", "PLACET_POD_UID": "u"}
    assert OwnPod.of(told) == OwnPod("n", "p", "u")
    for name in told:
        assert OwnPod.of({**told, name: ""}) is None
