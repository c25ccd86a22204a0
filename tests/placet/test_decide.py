"""The numbered way of a request: what allows, and that everything else denies with its own code."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.revocations import Revocations
from placet.cluster import Ceiling, ClusterUnavailable
from placet.decide import Deadline
from placet.decision import Decision, Receipt
from placet.errors import (
    AuditError,
    EngineAnswerError,
    EngineTimeout,
    EngineUnavailable,
    KeyringError,
    PlacetError,
    StoreUnavailable,
)
from placet.messages import render_message, render_warnings
from placet.policy.data import load_policy_data
from placet.policy.decision import PolicyDecision
from placet.policy.wasm import EmbeddedEngine
from placet.review import parse_review
from tests.simulators.gate import GateDesk, example, review

ALL_ROLES = ("technical", "security", "business", "executive")  # without evidence the example scores critical


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path)
    yield opened
    opened.log.close()


def codes(decision: Decision) -> set[str]:
    return {f"{item.rule}/{item.code}" for item in decision.violations}


def leaf(decision: Decision) -> Mapping[str, Any]:
    assert decision.recorded is not None
    return decision.recorded.leaf


def test_a_workload_without_approvals_is_refused_role_by_role(desk: GateDesk) -> None:
    decision = desk.decide(review(example()))
    assert not decision.allowed
    message = render_message(decision)
    for role in ALL_ROLES:
        assert f"no valid {role} approval" in message
        command = f"placet approve -f MANIFEST --namespace ml-serving --environment production --role {role} --key KEY"
        assert command in message
    assert message.endswith(f"placet audit show {decision.decision_id}")


@pytest.mark.parametrize(
    ("namespace", "said"), [("team-b", " --namespace team-b "), ("", " "), ("a;id", " --namespace 'a;id' ")]
)
def test_the_next_command_names_the_namespace_that_was_asked_about(desk: GateDesk, namespace: str, said: str) -> None:
    # Signed without it, a manifest that names no namespace is approved for another one, and refused again.
    decision = desk.decide(review(example()))
    message = render_message(replace(decision, request=replace(decision.request, namespace=namespace)))
    assert f"placet approve -f MANIFEST{said}--environment production --role security" in message


def test_a_workload_with_every_approval_is_admitted_and_recorded_first(desk: GateDesk) -> None:
    decision = desk.decide(review(desk.approve(example(), *ALL_ROLES)))
    assert decision.allowed, render_message(decision)
    assert leaf(decision)["allowed"] is True
    assert {item["role"] for item in leaf(decision)["approvals"]} == set(ALL_ROLES)
    assert desk.log.size() == 1


@pytest.mark.parametrize("missing", ALL_ROLES)
def test_one_missing_role_refuses(desk: GateDesk, missing: str) -> None:
    decision = desk.decide(review(desk.approve(example(), *(role for role in ALL_ROLES if role != missing))))
    assert not decision.allowed
    assert f"no valid {missing} approval" in render_message(decision)


def test_one_person_does_not_count_for_two_roles(desk: GateDesk) -> None:
    manifest = desk.approve(example(), "business", "executive")
    manifest = desk.approve(manifest, "technical", by="erin")
    manifest = desk.approve(manifest, "security", by="erin")
    decision = desk.decide(review(manifest))
    assert "approvals.separation/persons_too_few" in codes(decision)
    assert "one person counts for one role" in render_message(decision)


def test_the_requester_is_never_their_own_approver(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    decision = desk.decide(review(manifest, username="bob@example.org"))
    assert not decision.allowed
    assert "self_approval" in render_message(decision)


def test_a_governed_change_after_the_approvals_refuses(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    changed = copy.deepcopy(manifest)
    changed["spec"]["template"]["spec"]["containers"][0]["args"].append("--trust-remote-code")
    decision = desk.decide(review(changed, old=manifest))
    assert not decision.allowed
    assert "projection_differs" in render_message(decision)


def test_an_ungoverned_change_is_carried_forward_even_when_the_approvals_have_expired(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    changed = copy.deepcopy(manifest)
    changed["metadata"]["labels"]["team"] = "serving"
    desk.desk.now += timedelta(days=40)
    decision = desk.decide(review(changed, old=manifest))
    assert decision.allowed, render_message(decision)
    assert decision.change == "unchanged"
    assert any("no longer holds" in warning for warning in render_warnings(decision))


def test_scaling_up_is_judged_anew_and_scaling_down_is_not(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    desk.desk.now += timedelta(days=40)
    up, down = copy.deepcopy(manifest), copy.deepcopy(manifest)
    up["spec"]["replicas"], down["spec"]["replicas"] = 11, 3
    assert not desk.decide(review(up, old=manifest)).allowed
    assert desk.decide(review(down, old=manifest)).allowed


def revoked(desk: GateDesk, role: str, manifest: Mapping[str, Any]) -> None:
    """Take back the approval of a role through the keyring."""
    decision = desk.decide(review(dict(manifest)))
    approval = next(item for item in leaf(decision)["approvals"] if item["role"] == role)
    desk.desk.document["revokedApprovals"].append(approval["approval_id"])
    desk.desk.document["version"] += 1


@pytest.mark.parametrize("days", [0, 40])
def test_a_revoked_approval_refuses_even_what_is_unchanged_and_even_once_expired(desk: GateDesk, days: int) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    revoked(desk, "security", manifest)
    desk.desk.now += timedelta(days=days)
    touched = copy.deepcopy(manifest)
    touched["metadata"]["labels"]["team"] = "serving"
    decision = desk.decide(review(touched, old=manifest))
    assert "approvals.revoked/revoked" in codes(decision)


def test_taking_a_revoked_approval_off_the_object_hides_nothing(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    revoked(desk, "security", manifest)
    bare = copy.deepcopy(manifest)
    del bare["metadata"]["annotations"]["placet.dev/approval.security"]
    assert "approvals.revoked/revoked" in codes(desk.decide(review(bare, old=manifest)))


def test_a_compromised_key_refuses_what_is_unchanged(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    desk.desk.revoke_key("bob", at=desk.desk.now - timedelta(days=1), how="compromised")
    touched = copy.deepcopy(manifest)
    touched["metadata"]["labels"]["team"] = "serving"
    decision = desk.decide(review(touched, old=manifest))
    assert not decision.allowed


def test_deletion_is_allowed_and_recorded(desk: GateDesk) -> None:
    asked = review(example(), operation="DELETE")
    asked["request"]["oldObject"], asked["request"]["object"] = asked["request"]["object"], None
    decision = desk.decide(asked)
    assert decision.allowed
    assert leaf(decision)["operation"] == "DELETE"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"operation": "CONNECT"}, "gate.environment/operation_unsupported"),
        ({"subResource": "scale"}, "gate.environment/subresource_unsupported"),
        ({"object": None}, "gate.workload/object_missing"),
        ({"name": "other"}, "gate.workload/name_differs"),
        ({"namespace": "other"}, "gate.workload/namespace_mismatch"),
        ({"namespace": ""}, "gate.workload/namespace_missing"),
        ({"kind": {"group": "apps", "version": "v1", "kind": "StatefulSet"}}, "gate.workload/kind_differs"),
    ],
)
def test_what_can_not_be_judged_is_refused_with_its_code(desk: GateDesk, change: dict[str, Any], code: str) -> None:
    asked = review(desk.approve(example(), *ALL_ROLES))
    asked["request"].update(change)
    decision = desk.decide(asked)
    assert not decision.allowed
    assert codes(decision) == {code}
    assert decision.recorded is not None


def test_an_environment_that_nobody_knows_is_refused(desk: GateDesk) -> None:
    decision = desk.decide(review(example()), environment="prod\u202euction")
    assert codes(decision) == {"gate.environment/environment_unknown"}
    assert "\u202e" not in render_message(decision)


def test_a_dry_run_is_answered_the_same_and_leaves_nothing(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    assert desk.decide(review(manifest, dry_run=True)).allowed
    assert not desk.decide(review(example(), dry_run=True)).allowed
    assert desk.log.size() == 0


def test_a_resent_request_gets_the_stored_answer_and_adds_nothing(desk: GateDesk) -> None:
    asked = review(example())
    first = desk.decide(asked)
    desk.desk.now += timedelta(minutes=1)
    second = desk.decide(asked)
    assert desk.log.size() == 1
    assert render_message(first) == render_message(second)
    assert second.recorded is not None
    assert second.recorded.replayed


def test_a_uid_that_comes_with_another_request_is_refused(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    assert desk.decide(review(manifest, uid="same")).allowed
    other = copy.deepcopy(manifest)
    other["spec"]["replicas"] = 3
    decision = desk.decide(review(other, uid="same"))
    assert not decision.allowed
    assert "uid_reused" in render_message(decision)


def test_a_uid_that_comes_by_another_path_is_refused(desk: GateDesk) -> None:
    asked = review(desk.approve(example(), *ALL_ROLES))
    assert desk.decide(asked).allowed
    assert not desk.decide(asked, environment="staging").allowed


class FailingEngine:
    """An engine that can't answer."""

    name, version, revision = "failing", "0", "sha256:" + "0" * 64

    def __init__(self, error: PlacetError) -> None:
        self._error = error

    def prepare(self) -> None: ...

    def decide(self, document: Mapping[str, Any], *, deadline_s: float) -> PolicyDecision:
        raise self._error

    def problem(self) -> str:
        return ""

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "error",
    [
        EngineUnavailable("down"),
        EngineTimeout("slow"),
        EngineAnswerError("odd"),
        PlacetError("broken", code="bundle_invalid"),
    ],
)
def test_an_engine_that_can_not_answer_refuses_with_its_code(tmp_path: Path, error: PlacetError) -> None:
    desk = GateDesk.open(tmp_path, engine=FailingEngine(error))
    decision = desk.decide(review(desk.approve(example(), *ALL_ROLES)))
    assert codes(decision) == {f"gate.policy/{error.code}"}
    assert leaf(decision)["allowed"] is False
    desk.log.close()


class FailingRecorder:
    """A recorder whose store fails at the named step."""

    def __init__(self, error: AuditError, *, at: str) -> None:
        self._error = error
        self._at = at

    def find(self, request: Any, environment: str) -> Receipt | None:
        if self._at == "find":
            raise self._error
        return None

    def keep(self, decision: Decision, **_: Any) -> Receipt:
        raise self._error

    def put_aside(self, decision: Decision, **_: Any) -> None:
        return None


@pytest.mark.parametrize("at", ["find", "keep"])
@pytest.mark.parametrize("code", ["store_full", "store_locked", "store_readonly"])
def test_no_allow_without_a_durable_record(tmp_path: Path, at: str, code: str) -> None:
    desk = GateDesk.open(tmp_path, recorder=FailingRecorder(StoreUnavailable("no", code=code), at=at))
    decision = desk.decide(review(desk.approve(example(), *ALL_ROLES)))
    assert not decision.allowed
    assert decision.recorded is None
    assert f"gate.record/{code}" in codes(decision) or f"gate.request/{code}" in codes(decision)
    assert "not in the record" in render_message(decision)
    desk.log.close()


def test_what_is_too_large_to_be_kept_is_refused_and_the_refusal_is_kept(desk: GateDesk) -> None:
    manifest = example()
    manifest["spec"]["template"]["spec"]["containers"][0]["args"] += ["x" * 1000] * 1200
    decision = desk.decide(review(desk.approve(manifest, *ALL_ROLES)))
    assert "gate.record/record_too_large" in codes(decision)
    assert leaf(decision)["allowed"] is False


@pytest.mark.parametrize("code", ["keyring_missing", "keyring_expired", "keyring_not_yet_valid", "keyring_rollback"])
def test_a_keyring_that_can_not_be_trusted_refuses(desk: GateDesk, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_now: datetime) -> tuple[VerifiedKeyring, Revocations]:
        raise KeyringError("no", code=code)

    manifest = desk.approve(example(), *ALL_ROLES)
    monkeypatch.setattr(desk.trust, "load", load)
    assert codes(desk.decide(review(manifest))) == {f"gate.evidence/{code}"}


def test_autoscalers_that_can_not_be_looked_up_refuse(tmp_path: Path) -> None:
    class Away:
        def autoscaler_ceiling(self, *, namespace: str, kind: str, name: str) -> Ceiling:
            raise ClusterUnavailable("no")

    desk = GateDesk.open(tmp_path, cluster_facts=Away())
    decision = desk.decide(review(desk.approve(example(), *ALL_ROLES)))
    assert codes(decision) == {"gate.evidence/cluster_unavailable"}
    desk.log.close()


def test_time_used_up_at_any_step_refuses(desk: GateDesk) -> None:
    asked = review(desk.approve(example(), *ALL_ROLES))
    for steps in range(8):
        asked["request"]["uid"] = f"late-{steps}"
        ticks = iter([0.0] * (steps + 1) + [100.0] * 50)
        deadline = Deadline(10, monotonic=lambda ticks=ticks: next(ticks))  # type: ignore[misc]
        decision = desk.gate.decide(
            parse_review(json.dumps(asked).encode()), environment="production", deadline=deadline
        )
        if decision.allowed:
            assert decision.recorded is not None
        else:
            assert any(item.code in {"deadline_exceeded", "engine_timeout"} for item in decision.violations)


def test_nothing_of_an_env_value_reaches_the_record_or_the_message(desk: GateDesk, tmp_path: Path) -> None:
    secret = "hunter2-very-secret"
    manifest = example()
    manifest["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "TOKEN", "value": secret})
    for candidate in (manifest, desk.approve(manifest, *ALL_ROLES)):
        decision = desk.decide(review(candidate))
        assert secret not in render_message(decision)
        assert secret not in json.dumps(dict(leaf(decision)))
        assert secret not in repr(decision)
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_labelled_coverage_governs_what_has_or_had_the_label(tmp_path: Path) -> None:
    operator = tmp_path / "data.yaml"
    operator.write_text("environments: {production: {coverage: labelled}}\n", encoding="utf-8")
    desk = GateDesk.open(tmp_path, data=load_policy_data(operator))
    labelled, bare = example(), example()
    del bare["metadata"]["labels"]["placet.dev/model"]
    assert desk.decide(review(bare)).allowed
    assert not desk.decide(review(labelled)).allowed
    assert not desk.decide(review(bare, old=labelled)).allowed
    desk.log.close()


def test_changed_policy_data_changes_the_answer(tmp_path: Path) -> None:
    operator = tmp_path / "data.yaml"
    operator.write_text("environments: {production: {max_level: high}}\n", encoding="utf-8")
    data = load_policy_data(operator)
    desk = GateDesk.open(tmp_path, data=data, engine=EmbeddedEngine.default(data))
    decision = desk.decide(review(desk.approve(example(), *ALL_ROLES)))
    assert "risk.ceiling/level_above_environment" in codes(decision)
    assert leaf(decision)["policy"]["data_digest"] == str(data.digest)
    desk.log.close()


def test_the_old_object_that_can_not_be_read_carries_nothing_forward(desk: GateDesk) -> None:
    manifest = example()
    broken = copy.deepcopy(manifest)
    broken["spec"]["template"]["spec"]["containers"] = []
    decision = desk.decide(review(manifest, old=broken))
    assert not decision.allowed
    assert decision.change == "new"
