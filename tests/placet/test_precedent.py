"""What of the record can stand as a precedent, and until when."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from placet.audit.log import AuditLog
from placet.audit.stored import MAX_ADMITTED
from placet.canonical import Digest
from placet.precedent import MAX_LISTED_APPROVALS, Precedent, read_precedents
from placet.record import LogRecorder
from placet.stored_history import StoredHistory
from tests.simulators.gate import ORIGIN, GateDesk, example, review
from tests.simulators.tampering import decision

Json = dict[str, Any]
ROLES = ("technical", "security", "business", "executive")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path)
    yield opened
    opened.log.close()


def body(desk: GateDesk) -> Json:
    admitted = desk.decide(review(desk.approve(example(), *ROLES)))
    assert admitted.recorded is not None
    return copy.deepcopy(dict(admitted.recorded.leaf))


def test_an_approved_decision_is_read_as_it_was(desk: GateDesk) -> None:
    leaf = body(desk)
    (found,) = read_precedents([leaf])
    assert (found.decision_id, found.level) == (leaf["decision_id"], leaf["risk"]["level"])
    assert [one.approval_id for one in found.approvals] == [one["approval_id"] for one in leaf["approvals"]]
    assert found.factors == leaf["risk"]["factors"]
    assert (found.time, str(found.projection)) == (desk.desk.now, leaf["projection"])


def no_risk(leaf: Json) -> None:
    leaf["risk"] = None


def other_level(leaf: Json) -> None:
    leaf["risk"]["level"] = "low"


def odd_factor(leaf: Json) -> None:
    leaf["risk"]["factors"]["data_sensitivity"] = 3


def not_approved(leaf: Json) -> None:
    leaf["approved"] = False


def approved_in_words(leaf: Json) -> None:
    leaf["approved"] = "true"


def not_allowed(leaf: Json) -> None:
    leaf["allowed"] = False


def no_approvals(leaf: Json) -> None:
    leaf["approvals"] = []


def too_many_approvals(leaf: Json) -> None:
    leaf["approvals"] = leaf["approvals"][:1] * MAX_LISTED_APPROVALS


def nameless_approval(leaf: Json) -> None:
    leaf["approvals"][0]["approval_id"] = ""


def keyless_approval(leaf: Json) -> None:
    del leaf["approvals"][0]["key"]


def no_projection(leaf: Json) -> None:
    leaf["projection"] = ""


def no_model(leaf: Json) -> None:
    leaf["model"] = None


def odd_time(leaf: Json) -> None:
    leaf["time"] = "yesterday"


@pytest.mark.parametrize(
    "spoil",
    [
        no_risk,
        other_level,
        odd_factor,
        not_approved,
        approved_in_words,
        not_allowed,
        no_approvals,
        too_many_approvals,
        nameless_approval,
        keyless_approval,
        no_projection,
        no_model,
        odd_time,
    ],
)
def test_what_is_not_whole_is_no_precedent(desk: GateDesk, spoil: Callable[[Json], None]) -> None:
    leaf = body(desk)
    spoil(leaf)
    assert read_precedents([leaf]) == ()


@pytest.mark.parametrize("level", ["", "extreme", "HIGH"])
def test_no_precedent_covers_a_level_that_is_none(desk: GateDesk, level: str) -> None:
    (found,) = read_precedents([body(desk)])
    assert not found.covers(level)
    assert [replace(found, level="high").covers(one) for one in ("low", "medium", "high", "critical")] == [
        True,
        True,
        True,
        False,
    ]


def test_the_command_line_finds_the_same_precedents_as_the_gate(desk: GateDesk, tmp_path: Path) -> None:
    leaf = body(desk)
    asked: Any = {
        "environment": "production",
        "namespace": "ml-serving",
        "kind": "Deployment",
        "name": "llama",
        "projection": Digest.parse(leaf["projection"]),
    }
    stored = StoredHistory(tmp_path / "record.sqlite", cluster=desk.desk.cluster)
    found = desk.history.admitted(**asked)
    assert found
    assert list(stored.admitted(**asked) or ()) == list(found)
    for field, value in (
        ("environment", "staging"),
        ("namespace", "x"),
        ("kind", "StatefulSet"),
        ("name", "x"),
        ("projection", Digest.of(b"other")),
    ):
        assert not desk.history.admitted(**{**asked, field: value})
    assert not StoredHistory(tmp_path / "record.sqlite", cluster="another").admitted(**asked)


def test_the_newest_few_are_found_by_an_index_however_long_the_record(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "log.sqlite", origin=ORIGIN)
    for number in range(1, 20):
        log.append(decision(number, approved=True, allowed=True, name="llama", input_digest=""), uid=f"uid-{number}")
    asked: Any = {
        "environment": "production",
        "namespace": "ml",
        "kind": "Deployment",
        "name": "llama",
        "projection": Digest("2" * 64),
    }
    found = log.admitted(cluster="prod-eu-1", **asked)
    assert [one["uid"] for one in found] == [f"uid-{number}" for number in range(19, 19 - MAX_ADMITTED, -1)]
    assert LogRecorder(log, cluster="prod-eu-1").admitted(**asked) == ()  # no approval is listed in these
    with log._store.reading() as reader:
        told: list[str] = []
        connection = reader._connection  # type: ignore[attr-defined]
        connection.set_trace_callback(told.append)
        log_query = reader.approvals_of(cluster="c", **{**asked, "projection": "x"}, limit=1)
        connection.set_trace_callback(None)
        assert log_query == []
        (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {told[0]}").fetchall()
    assert "USING INDEX leaves_by_content (projection=? AND object_name=? AND" in plan[-1]
    assert "idx" not in plan[-1].partition("cluster=?")[2]
    log.close()


def test_a_precedent_holds_no_content(desk: GateDesk) -> None:
    (found,) = read_precedents([body(desk)])
    assert isinstance(found, Precedent)
    assert "VLLM_LOGGING_LEVEL" not in repr(found)
