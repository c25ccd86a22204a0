"""What counts as admitted elsewhere, for a promotion: by the record, and not by what was let in otherwise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.canonical import Digest
from placet.decision import Decision
from placet.policy.data import merge_policy_data
from placet.stored_history import StoredHistory
from tests.simulators.gate import GateDesk, example, review

Json = dict[str, Any]
ROLES = ("technical", "security", "business", "executive")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path)
    yield opened
    opened.log.close()


def history(decision: Decision) -> Json:
    assert decision.findings is not None
    found: Json = decision.findings.document["history"]
    return found


def admit(desk: GateDesk, environment: str, manifest: Json | None = None, **terms: Any) -> Decision:
    place(desk, environment)
    signed = desk.approve(manifest or example(), *ROLES, environment=environment, **terms)
    decision = desk.decide(review(signed), environment=environment)
    assert decision.allowed, decision.violations
    return decision


def ask(desk: GateDesk, environment: str, manifest: Json | None = None) -> Json:
    """What a deployment without approvals would be judged by."""
    place(desk, environment)
    return history(desk.decide(review(manifest or example(), dry_run=True), environment=environment))


def place(desk: GateDesk, environment: str) -> None:
    """Namespaces belong to one environment; here the test moves it."""
    desk.spaces.put("ml-serving", environment)


def test_content_that_staging_admitted_is_told_in_production_with_the_time(desk: GateDesk) -> None:
    assert ask(desk, "production") == {"known": True, "admitted": []}
    first = admit(desk, "staging")
    at = int(desk.desk.now.timestamp())
    desk.desk.now += timedelta(hours=30)
    admit(desk, "staging")
    entry = {"environment": "staging", "since_s": at, "decision_id": first.decision_id}
    assert ask(desk, "production") == {"known": True, "admitted": [entry]}
    assert ask(desk, "staging") == {"known": True, "admitted": []}
    admit(desk, "development")
    assert [one["environment"] for one in ask(desk, "production")["admitted"]] == ["development", "staging"]


def test_the_same_content_has_another_name_and_another_number_of_replicas(desk: GateDesk) -> None:
    admit(desk, "staging")
    other = example()
    other["metadata"]["name"] = "llama-eu"
    other["spec"]["replicas"] = 9
    assert [one["environment"] for one in ask(desk, "production", other)["admitted"]] == ["staging"]


@pytest.mark.parametrize("part", ["image", "env", "version", "artifact", "model"])
def test_other_content_is_not_the_same(desk: GateDesk, part: str) -> None:
    admit(desk, "staging")
    other = example()
    container = other["spec"]["template"]["spec"]["containers"][0]
    if part == "image":
        container["image"] = container["image"].partition("@")[0] + "@sha256:" + "7" * 64
    elif part == "env":
        container["env"] = [*container.get("env", ()), {"name": "MORE", "value": "1"}]
    elif part == "model":
        other["metadata"]["labels"]["placet.dev/model"] = "other"
    else:
        key = "placet.dev/model-version" if part == "version" else "placet.dev/model-digest"
        other["metadata"]["annotations"][key] = "9.9.9" if part == "version" else "sha256:" + "7" * 64
    assert ask(desk, "production", other)["admitted"] == []


def test_an_approval_that_was_taken_back_since_is_no_admission(desk: GateDesk) -> None:
    first = admit(desk, "staging")
    desk.desk.now += timedelta(hours=1)
    second = admit(desk, "staging")
    assert first.recorded is not None
    desk.desk.document["revokedApprovals"] = [first.recorded.leaf["approvals"][0]["approval_id"]]
    assert [one["decision_id"] for one in ask(desk, "production")["admitted"]] == [second.decision_id]
    desk.desk.revoke_key("alice", at=desk.desk.now, how="compromised")
    assert ask(desk, "production")["admitted"] == []


def test_a_denial_a_dry_run_and_what_changed_nothing_are_no_admission(desk: GateDesk) -> None:
    place(desk, "staging")
    assert not desk.decide(review(example()), environment="staging").allowed
    signed = desk.approve(example(), *ROLES, environment="staging")
    assert desk.decide(review(signed, dry_run=True), environment="staging").allowed
    assert desk.decide(review(signed, old=copy.deepcopy(example())), environment="staging").change
    admitted = ask(desk, "production")["admitted"]
    assert len(admitted) <= 1  # an adoption is one: it was approved anew
    place(desk, "staging")
    assert desk.decide(review(signed, old=signed), environment="staging").change == "unchanged"
    assert ask(desk, "production")["admitted"] == admitted


@pytest.mark.parametrize(
    "lenient",
    [
        b"environments: {staging: {mode: warn}}\n",
        b"environments: {staging: {mode: audit}}\n",
        b"rules: {approvals.required: {mode: warn}, approvals.separation: {mode: warn}}\n",
    ],
)
def test_what_was_only_tolerated_is_no_admission(tmp_path: Path, lenient: bytes) -> None:
    desk = GateDesk.open(tmp_path, data=merge_policy_data(lenient, name="operator.yaml"))
    place(desk, "staging")
    signed = desk.approve(example(), "technical", environment="staging")
    assert desk.decide(review(signed), environment="staging").allowed
    assert ask(desk, "production")["admitted"] == []
    desk.log.close()


def test_a_broken_glass_is_no_admission(desk: GateDesk) -> None:
    desk.desk.glass_keepers()
    place(desk, "staging")
    carried, _ = desk.let_in(example(), environment="staging")
    desk.ledger.permit(carried, "a break-glass token")
    assert desk.decide(review(carried), environment="staging").allowed
    assert ask(desk, "production")["admitted"] == []


def test_the_command_line_knows_what_the_gate_knows_and_nothing_without_a_record(
    desk: GateDesk, tmp_path: Path
) -> None:
    admitted = admit(desk, "staging")
    assert admitted.workload is not None
    asked: Any = {"environment": "production", "projection": admitted.workload.projection.digest}
    stored = StoredHistory(tmp_path / "record.sqlite", cluster="another")
    found = stored.admitted_elsewhere(**asked)
    assert found == desk.history.admitted_elsewhere(**asked)
    assert found is not None
    assert [one.environment for one in found] == ["staging"]
    assert stored.admitted_elsewhere(environment="staging", projection=asked["projection"]) == []
    place(desk, "production")
    planned = desk.planner()
    import json  # noqa: PLC0415

    from placet.deadline import Deadline  # noqa: PLC0415
    from placet.review import parse_review  # noqa: PLC0415

    request = parse_review(json.dumps(review(example())).encode())
    told = planned.decide(request, environment="production", deadline=Deadline(60))
    assert history(told) == {"known": False, "admitted": []}


def test_it_is_found_by_the_index_of_contents(desk: GateDesk) -> None:
    with desk.log._store.reading() as reader:
        told: list[str] = []
        connection = reader._connection  # type: ignore[attr-defined]
        connection.set_trace_callback(told.append)
        assert reader.approved_elsewhere(environment="x", projection=str(Digest.of(b"")), limit=1) == []
        connection.set_trace_callback(None)
        plan = connection.execute(f"EXPLAIN QUERY PLAN {told[0]}").fetchall()
    assert "USING INDEX leaves_by_content (projection=?)" in plan[0][-1]
