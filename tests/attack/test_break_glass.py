"""Break-glass lets in one workload, once two persons have signed for it; nothing else comes in by it, or after it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.approvals.envelope import parse_annotation, render_annotation
from placet.approvals.revocations import load_revocations
from placet.breakglass.record import LogGlass
from placet.breakglass.statement import REVIEW_PAYLOAD_TYPE, TOKEN_PAYLOAD_TYPE, render_token
from placet.decision import Decision
from placet.errors import KeyringError
from placet.messages import render_warnings
from placet.policy.wasm import EmbeddedEngine
from placet.workload import read_workload
from tests.simulators.cluster import ObjectStore, pod, replica_set, review_of
from tests.simulators.gate import GateDesk, example, review

ROLES = ("technical", "security", "business", "executive")
TOKEN = "placet.dev/break-glass"
REVIEW = "placet.dev/break-glass-review"
Json = dict[str, Any]


@pytest.fixture
def glass(desk: GateDesk) -> GateDesk:
    desk.desk.glass_keepers()
    return desk


def codes(decision: Decision) -> set[str]:
    return {f"{item.rule}/{item.code}" for item in decision.violations}


def refused_for(decision: Decision, code: str) -> bool:
    return not decision.allowed and f"gate.break_glass/{code}" in codes(decision)


def variant(number: int, base: Json | None = None) -> Json:
    manifest = copy.deepcopy(base or example())
    manifest["spec"]["template"]["spec"]["containers"][0]["args"].append(f"--seed={number}")
    return manifest


def annotated(manifest: Json, **annotations: str) -> Json:
    copied = copy.deepcopy(manifest)
    held = copied["metadata"].setdefault("annotations", {})
    for name, value in annotations.items():
        held[{"token": TOKEN, "review": REVIEW}[name]] = value
    return copied


def let_in(desk: GateDesk, manifest: Json | None = None, **terms: Any) -> tuple[Json, Any]:
    carried, token = desk.let_in(manifest or example(), **terms)
    desk.ledger.permit(carried, "break-glass")
    decision = desk.decide(review(carried))
    assert decision.allowed, decision.violations
    return carried, token


def test_two_persons_let_one_workload_in_and_everything_says_so(glass: GateDesk) -> None:
    carried, token = glass.let_in(example())
    glass.ledger.permit(carried, "break-glass")
    decision = glass.decide(review(carried))
    assert decision.allowed, decision.violations
    assert any(
        "without approvals; a review is due by 2026-11-23 12:00 UTC" in text for text in render_warnings(decision)
    )
    assert decision.recorded is not None
    leaf = decision.recorded.leaf
    assert leaf["break_glass"] == {
        "token_id": token.token_id,
        "by": "token",
        "review_due": "2026-11-23T12:00:00.000000Z",
    }
    assert leaf["approved"] is False
    assert {"rule": "approvals.required", "code": "role_missing"} in leaf["notes"]
    [(index, used)] = glass.log.since("break-glass", 0)
    assert index == decision.recorded.index - 1, "kept before the decision"
    assert (used["event"], used["reason"], used["user"]) == ("used", token.reason, "deployer@example.org")
    assert [one["person"] for one in used["signers"]] == ["p-gina", "p-hugo"]


@pytest.mark.parametrize("by", [["gina"], ["gina", "gina"], ["gina", "bob"], ["gina", "rita"], ["alice", "bob"]])
def test_fewer_than_two_who_may_let_nothing_in(glass: GateDesk, by: list[str]) -> None:
    carried, _ = glass.let_in(example(), by=by)
    assert refused_for(glass.decide(review(carried)), "too_few_persons")


def test_two_identities_of_one_person_are_one(glass: GateDesk) -> None:
    glass.desk.add("gina2", roles=["break-glass"], person="P-Gina")
    carried, _ = glass.let_in(example(), by=["gina", "gina2"])
    assert refused_for(glass.decide(review(carried)), "too_few_persons")


def test_who_deploys_it_does_not_count(glass: GateDesk) -> None:
    carried, _ = glass.let_in(example())
    assert refused_for(glass.decide(review(carried, username="Gina@example.org")), "too_few_persons")


def test_a_key_in_wrong_hands_does_not_count(glass: GateDesk) -> None:
    carried, _ = glass.let_in(example())
    glass.desk.revoke_key("hugo", at=glass.desk.now, how="compromised")
    assert refused_for(glass.decide(review(carried)), "too_few_persons")


@pytest.mark.parametrize(
    ("key", "value"),
    [("environments", ["staging"]), ("namespaces", ["other"]), ("models", ["other"]), ("maxRisk", "low")],
)
def test_a_grant_for_elsewhere_or_less_risk_does_not_count(glass: GateDesk, key: str, value: Any) -> None:
    glass.desk.grant("hugo", "break-glass")[key] = value
    carried, _ = glass.let_in(example())
    assert refused_for(glass.decide(review(carried)), "too_few_persons")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cluster": "other"}, "wrong_cluster"),
        ({"environment": "staging"}, "wrong_environment"),
        ({"namespace": "other"}, "wrong_namespace"),
        ({"workload": "Deployment/other"}, "wrong_workload"),
        ({"workload": "StatefulSet/llama"}, "wrong_workload"),
        ({"model_name": "other"}, "model_differs"),
        ({"model_version": "other"}, "model_differs"),
        ({"replicas": 1}, "more_replicas"),
        ({"replicas": None}, "more_replicas"),
    ],
)
def test_a_token_for_something_else_lets_nothing_in(glass: GateDesk, changes: Json, code: str) -> None:
    carried, token = glass.let_in(example())
    other = glass.desk.break_glass(replace(token, **changes))
    assert refused_for(glass.decide(review(annotated(carried, token=other))), code)


def test_other_content_does_not_come_in_by_the_token(glass: GateDesk) -> None:
    carried, _ = glass.let_in(example())
    assert refused_for(glass.decide(review(variant(2, carried))), "projection_differs")


def test_more_replicas_than_were_signed_do_not_come_in(glass: GateDesk) -> None:
    carried, _ = let_in(glass)
    more = copy.deepcopy(carried)
    more["spec"]["replicas"] += 1
    assert refused_for(glass.decide(review(more, old=carried)), "more_replicas")


def test_a_token_holds_for_its_time_and_no_longer_than_the_policy_gives(glass: GateDesk) -> None:
    carried, _ = glass.let_in(example())
    long, _ = glass.let_in(example(), lifetime=timedelta(hours=4, seconds=1))
    assert refused_for(glass.decide(review(long)), "too_long")
    glass.desk.now -= timedelta(seconds=1)
    assert refused_for(glass.decide(review(carried)), "not_yet_valid")
    glass.desk.now += timedelta(hours=4, seconds=1)
    assert refused_for(glass.decide(review(carried)), "expired")


def test_an_approval_is_no_token_and_a_token_no_approval(glass: GateDesk) -> None:
    approved = glass.approve(example(), *ROLES)
    glass.ledger.signed.clear()
    approval = approved["metadata"]["annotations"]["placet.dev/approval.security"]
    as_token = annotated(example(), token=approval)
    assert refused_for(glass.decide(review(as_token)), "payload_type")
    carried, token = glass.let_in(example())
    swapped = copy.deepcopy(example())
    for role in ROLES:
        swapped["metadata"]["annotations"][f"placet.dev/approval.{role}"] = carried["metadata"]["annotations"][TOKEN]
    decision = glass.decide(review(swapped))
    assert not decision.allowed
    assert decision.findings is not None
    assert {item.code for item in decision.findings.approvals.rejected} == {"payload_type"}
    # The same words under the type of approvals, or of reviews, are other bytes to sign.
    for payload_type in ("application/vnd.in-toto+json", REVIEW_PAYLOAD_TYPE):
        sealed = glass.desk.seal_as(render_token(token), payload_type, by=["gina", "hugo"])
        assert refused_for(glass.decide(review(annotated(example(), token=sealed))), "payload_type")
    told = glass.desk.seal_as(b'{"_type":"x"}', TOKEN_PAYLOAD_TYPE, by=["gina", "hugo"])
    assert refused_for(glass.decide(review(annotated(example(), token=told))), "statement_malformed")


def test_a_token_that_was_taken_back_lets_nothing_in(glass: GateDesk) -> None:
    carried, token = glass.let_in(example())
    glass.desk.document["revokedApprovals"].append(token.token_id)
    assert refused_for(glass.decide(review(carried)), "revoked")


def test_a_signed_revocation_takes_a_token_back(glass: GateDesk, tmp_path: Path) -> None:
    carried, token = glass.let_in(example())
    folder = tmp_path / "revocations"
    folder.mkdir()
    (folder / "one.dsse.json").write_bytes(glass.desk.revoke(token.token_id, role="break-glass", by="hugo"))
    glass.trust.revocations = load_revocations(folder, keyring=glass.desk.keyring)
    assert refused_for(glass.decide(review(carried)), "revoked")


def test_nobody_else_takes_a_token_back(glass: GateDesk, tmp_path: Path) -> None:
    _, token = glass.let_in(example())
    (tmp_path / "one.dsse.json").write_bytes(glass.desk.revoke(token.token_id, role="break-glass", by="alice"))
    with pytest.raises(KeyringError, match="no grant for break-glass"):
        load_revocations(tmp_path, keyring=glass.desk.keyring)


def test_content_whose_approval_was_taken_back_does_not_come_in(glass: GateDesk) -> None:
    signed = glass.approve(example(), *ROLES)
    admitted = glass.decide(review(signed))
    assert admitted.recorded is not None
    glass.ledger.signed.clear()
    glass.desk.document["revokedApprovals"].append(admitted.recorded.leaf["approvals"][1]["approval_id"])
    glass.desk.document["version"] += 1
    carried, _ = glass.let_in(example())
    assert refused_for(glass.decide(review(carried)), "content_taken_back"), "a new object shows no approval"
    both = annotated(signed, token=carried["metadata"]["annotations"][TOKEN])
    assert refused_for(glass.decide(review(both)), "not_overridden")


def test_an_approval_whose_signature_fails_stops_it(glass: GateDesk) -> None:
    carried, _ = glass.let_in(glass.approve(example(), "security"))
    glass.ledger.signed.clear()
    held = carried["metadata"]["annotations"]
    other = glass.approve(variant(3), "security")["metadata"]["annotations"]["placet.dev/approval.security"]
    glass.ledger.signed.clear()
    mine, theirs = parse_annotation(held["placet.dev/approval.security"]), parse_annotation(other)
    held["placet.dev/approval.security"] = render_annotation(replace(mine, signatures=theirs.signatures))
    assert refused_for(glass.decide(review(carried)), "not_overridden")


def test_an_image_that_is_not_pinned_is_not_exactly_what_was_signed(glass: GateDesk) -> None:
    loose = example()
    loose["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/llama:latest"
    carried, _ = glass.let_in(loose)
    assert refused_for(glass.decide(review(carried)), "not_overridden")


def test_an_environment_that_is_not_known_is_refused(glass: GateDesk) -> None:
    carried, _ = glass.let_in(example())
    assert codes(glass.decide(review(carried), environment="prod")) == {"gate.environment/environment_unknown"}


def test_what_came_in_is_no_precedent(glass: GateDesk) -> None:
    first, _ = let_in(glass)
    glass.desk.now += timedelta(hours=5)
    second = glass.approve(variant(2), *ROLES)
    assert glass.decide(review(second, old=first)).allowed
    glass.ledger.permitted.clear()
    back = glass.decide(review(first, old=second))
    assert refused_for(back, "expired")
    workload = read_workload(first)
    assert glass.history.model_seen(environment="production", model=workload.model.name) is True, "by the approved one"


def test_it_makes_no_model_seen(glass: GateDesk) -> None:
    first, _ = let_in(glass)
    assert glass.history.model_seen(environment="production", model=read_workload(first).model.name) is False


def test_what_runs_stays_as_it_is_after_the_token_and_grows_no_more(glass: GateDesk) -> None:
    carried, _ = let_in(glass)
    glass.desk.now += timedelta(days=3)
    glass.ledger.permitted.clear()
    touched = copy.deepcopy(carried)
    touched["metadata"]["labels"]["team"] = "blue"
    del touched["metadata"]["annotations"][TOKEN]
    fewer = copy.deepcopy(touched)
    fewer["spec"]["replicas"] = 1
    assert glass.decide(review(touched, old=carried)).change == "unchanged"
    assert glass.decide(review(fewer, old=touched)).allowed
    assert not glass.decide(review(touched, old=fewer)).allowed


# -- the review


def overdue(desk: GateDesk) -> tuple[Json, Any]:
    carried, token = let_in(desk)
    desk.desk.now += timedelta(hours=24)
    return carried, token


def test_after_the_deadline_nothing_more_is_deployed_of_it_but_a_deletion(glass: GateDesk) -> None:
    carried, _ = overdue(glass)
    approved = glass.approve(variant(2), *ROLES)
    for asked in (review(approved, old=carried), review(approved)):
        decision = glass.decide(asked)
        assert codes(decision) == {"gate.break_glass/review_overdue"}
    again, _ = glass.let_in(example())
    assert codes(glass.decide(review(again))) == {"gate.break_glass/review_overdue"}
    assert len(glass.log.since("break-glass", 0)) == 1, "a token that lets nothing in is not used"
    gone = glass.decide(review(carried, old=carried, operation="DELETE"))
    assert gone.allowed


def test_before_the_deadline_an_approved_change_passes(glass: GateDesk) -> None:
    carried, _ = let_in(glass)
    glass.desk.now += timedelta(hours=24) - timedelta(microseconds=1)
    assert glass.decide(review(glass.approve(variant(2), *ROLES), old=carried)).allowed


def test_the_deadline_is_in_the_record_and_outlives_the_process(glass: GateDesk) -> None:
    carried, _ = overdue(glass)
    glass.gate._glass = LogGlass(glass.log, cluster=glass.desk.cluster)  # as after a restart
    decision = glass.decide(review(glass.approve(variant(2), *ROLES), old=carried))
    assert codes(decision) == {"gate.break_glass/review_overdue"}


def test_a_review_lets_the_workload_be_deployed_again(glass: GateDesk) -> None:
    carried, token = overdue(glass)
    reviewed = annotated(carried, review=glass.desk.glass_review(token))
    assert glass.decide(review(reviewed, old=carried)).allowed
    (_, used), (_, leaf) = glass.log.since("break-glass", 0)
    assert (leaf["event"], leaf["person"]) == ("reviewed", "p-rita")
    assert leaf["tokens"] == [{"token_id": token.token_id, "token": used["token"]}]
    # The record has it now; the annotation may go.
    assert glass.decide(review(glass.approve(variant(2), *ROLES), old=carried)).allowed


def test_a_review_may_come_with_the_next_deploy(glass: GateDesk) -> None:
    carried, token = overdue(glass)
    new = annotated(glass.approve(variant(2), *ROLES), review=glass.desk.glass_review(token))
    assert glass.decide(review(new, old=carried)).allowed


@pytest.mark.parametrize("by", ["gina", "hugo", "alice", "ci"])
def test_a_party_to_it_or_anybody_else_reviews_nothing(glass: GateDesk, by: str) -> None:
    for name in ("gina", "hugo"):
        glass.desk.identity(name)["grants"].append(
            glass.desk.grant(name, "break-glass") | {"role": "break-glass-review"}
        )
    carried, token = overdue(glass)
    new = annotated(glass.approve(variant(2), *ROLES), review=glass.desk.glass_review(token, by=[by]))
    decision = glass.decide(review(new, old=carried))
    assert codes(decision) == {"gate.break_glass/review_overdue"}


def test_who_deployed_it_does_not_review_it(glass: GateDesk) -> None:
    carried, token = glass.let_in(example())
    glass.ledger.permit(carried, "break-glass")
    assert glass.decide(review(carried, username="rita@example.org")).allowed
    glass.desk.now += timedelta(hours=24)
    new = annotated(glass.approve(variant(2), *ROLES), review=glass.desk.glass_review(token))
    assert codes(glass.decide(review(new, old=carried))) == {"gate.break_glass/review_overdue"}


def test_a_review_in_advance_or_of_something_else_counts_for_nothing(glass: GateDesk) -> None:
    carried, token = glass.let_in(example())
    glass.ledger.permit(carried, "break-glass")
    early = glass.desk.glass_review(token)
    glass.desk.now += timedelta(minutes=1)
    assert glass.decide(review(carried)).allowed
    glass.desk.now += timedelta(hours=24)
    other = glass.desk.glass_review(replace(token, reason="another"))
    elsewhere = glass.desk.glass_review(token, cluster="other")
    for attempt in (early, other, elsewhere, carried["metadata"]["annotations"][TOKEN], "x"):
        new = annotated(glass.approve(variant(2), *ROLES), review=attempt)
        assert codes(glass.decide(review(new, old=carried))) == {"gate.break_glass/review_overdue"}


def test_a_use_after_the_review_wants_another_one(glass: GateDesk) -> None:
    carried, token = let_in(glass)
    glass.desk.now += timedelta(hours=1)
    reviewed = annotated(carried, review=glass.desk.glass_review(token))
    assert glass.decide(review(reviewed, old=carried)).allowed
    glass.desk.now += timedelta(hours=1)
    assert glass.decide(review(carried)).allowed, "deleted, and deployed again"
    glass.desk.now += timedelta(hours=24)
    new = annotated(glass.approve(variant(2), *ROLES), review=reviewed["metadata"]["annotations"][REVIEW])
    assert codes(glass.decide(review(new, old=carried))) == {"gate.break_glass/review_overdue"}


def test_a_dry_run_uses_and_reviews_nothing(glass: GateDesk) -> None:
    carried, _ = glass.let_in(example())
    glass.ledger.permit(carried, "break-glass")
    decision = glass.decide(review(carried, dry_run=True))
    assert (decision.allowed, decision.passage is not None) == (True, True)
    assert glass.log.since("break-glass", 0) == []


def test_a_request_that_is_sent_again_uses_it_once(glass: GateDesk) -> None:
    carried, _ = glass.let_in(example())
    glass.ledger.permit(carried, "break-glass")
    asked = review(carried)
    first, second = glass.decide(asked), glass.decide(asked)
    assert first.recorded is not None
    assert second.recorded is not None
    assert (second.allowed, second.recorded.index) == (True, first.recorded.index)
    assert len(glass.log.since("break-glass", 0)) == 1


# -- what controllers make of it


@pytest.fixture
def followed(tmp_path: Path, engine: EmbeddedEngine) -> Iterator[tuple[GateDesk, ObjectStore]]:
    store = ObjectStore()
    opened = GateDesk.open(tmp_path, engine=engine, parents=store)
    opened.desk.glass_keepers()
    yield opened, store
    opened.log.close()


def test_its_controllers_make_and_replace_pods_of_it(followed: tuple[GateDesk, ObjectStore]) -> None:
    desk, store = followed
    carried, token = let_in(desk)
    made = replica_set(store.put(carried))
    desk.ledger.permit(made, "break-glass")
    first = desk.decide(review_of(made))
    assert (first.allowed, first.change) == (True, "child"), first.violations
    desk.desk.now += timedelta(days=9)
    later = desk.decide(review_of(pod(store.put(made))))
    assert (later.allowed, later.change) == (True, "child"), "after the token, and though the review is overdue"
    assert later.recorded is not None
    assert later.recorded.leaf["break_glass"]["token_id"] == token.token_id
    assert later.recorded.leaf["approved"] is False
    assert len(desk.log.since("break-glass", 0)) == 1


def test_a_child_of_other_content_does_not_pass_by_it(followed: tuple[GateDesk, ObjectStore]) -> None:
    desk, store = followed
    carried, _ = let_in(desk)
    other = store.put(variant(2, carried))
    assert not desk.decide(review_of(replica_set(other))).allowed


@pytest.mark.parametrize("how", ["token revoked", "key compromised"])
def test_no_new_child_once_the_token_was_taken_back(followed: tuple[GateDesk, ObjectStore], how: str) -> None:
    desk, store = followed
    carried, token = let_in(desk)
    desk.ledger.permitted.clear()
    if how == "token revoked":
        desk.desk.document["revokedApprovals"].append(token.token_id)
    else:
        desk.desk.revoke_key("hugo", at=desk.desk.now, how="compromised")
    assert not desk.decide(review_of(replica_set(store.put(carried)))).allowed


def test_a_child_asks_for_no_more_than_its_parent(followed: tuple[GateDesk, ObjectStore]) -> None:
    desk, store = followed
    carried, _ = let_in(desk)
    desk.ledger.permitted.clear()
    many = replica_set(store.put(carried))
    many["spec"]["replicas"] = 500
    assert not desk.decide(review_of(many)).allowed
