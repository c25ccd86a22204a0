"""Approvals and evidence that were given for something else, or by somebody who must not count."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.approvals.statement import ApprovalStatement, Audience
from placet.cluster import ManifestCluster
from placet.decision import Decision
from placet.workload import read_workload
from tests.simulators.gate import GateDesk, example, review

ALL_ROLES = ("technical", "security", "business", "executive")


def rejections(decision: Decision) -> set[str]:
    assert decision.findings is not None
    return {item.code for item in decision.findings.approvals.rejected}


def with_statement(desk: GateDesk, change: Callable[[ApprovalStatement], ApprovalStatement]) -> dict[str, Any]:
    """Every approval is right but that of security, which says something else."""
    manifest = desk.approve(example(), *(role for role in ALL_ROLES if role != "security"))
    statement = change(desk.desk.statement(read_workload(example()), role="security"))
    signed = desk.desk.sign(statement, by="bob")
    manifest["metadata"]["annotations"]["placet.dev/approval.security"] = signed
    return manifest


def audience(**changes: Any) -> Callable[[ApprovalStatement], ApprovalStatement]:
    def change(statement: ApprovalStatement) -> ApprovalStatement:
        here = statement.audience
        fields = {"clusters": here.clusters, "namespaces": here.namespaces, "workload": here.workload}
        return replace(statement, audience=Audience(**(fields | changes)))

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (audience(namespaces=("ml-serving-2",)), "wrong_namespace"),
        (audience(clusters=("prod-eu-2",)), "wrong_cluster"),
        (audience(workload="Deployment/llama-*"), "wrong_workload"),
        (audience(workload="StatefulSet/llama"), "wrong_workload"),
        (lambda one: replace(one, environment="staging"), "wrong_environment"),
        (lambda one: replace(one, model_name=one.model_name + "-2"), "model_differs"),
        (lambda one: replace(one, model_version=one.model_version + ".0"), "model_differs"),
        (lambda one: replace(one, max_risk="high"), "risk_above"),
        (lambda one: replace(one, role="technical"), "role_mismatch"),
    ],
)
def test_an_approval_for_something_else_does_not_count(
    desk: GateDesk, change: Callable[[ApprovalStatement], ApprovalStatement], code: str
) -> None:
    decision = desk.decide(review(with_statement(desk, change)))
    assert not decision.allowed
    assert code in rejections(decision)


@pytest.mark.parametrize("kept", ["projection", "image:", "model:"])
def test_an_approval_that_leaves_one_binding_open_does_not_count_in_production(desk: GateDesk, kept: str) -> None:
    manifest = with_statement(
        desk,
        lambda one: replace(one, subjects=tuple(each for each in one.subjects if not each.name.startswith(kept))),
    )
    assert not desk.decide(review(manifest)).allowed


def test_a_name_that_only_looks_made_is_not_the_name_that_was_approved(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    renamed = copy.deepcopy(manifest)
    renamed["metadata"]["generateName"] = renamed["metadata"]["name"]
    # The API server would have made another name: this one was given.
    assert desk.decide(review(renamed)).allowed
    del renamed["metadata"]["name"]
    assert not desk.decide(review(renamed)).allowed


def test_one_person_counts_once_however_the_keyring_spells_them(desk: GateDesk) -> None:
    desk.desk.add("zoe", roles=["technical"], person="p-zoe")
    desk.desk.add("zoe-admin", roles=["security"], person="P-Zoe")
    manifest = desk.approve(example(), "business", "executive")
    manifest = desk.approve(manifest, "technical", by="zoe")
    manifest = desk.approve(manifest, "security", by="zoe-admin")
    decision = desk.decide(review(manifest))
    assert "persons_too_few" in {item.code for item in decision.violations}


def test_two_identities_of_one_person_do_not_make_a_threshold_of_two(desk: GateDesk) -> None:
    desk.desk.document["thresholds"]["security"] = 2
    desk.desk.add("bob-admin", roles=["security"], person="P-Bob")
    manifest = desk.approve(example(), "technical", "business", "executive")
    manifest = desk.approve(manifest, "security", by=["bob", "bob-admin"])
    decision = desk.decide(review(manifest))
    assert not decision.allowed
    assert "duplicate" in rejections(decision)


@pytest.mark.parametrize("name", ["BOB@example.org", "p-bob", "P-BOB", "svc:bob", "bob-admin@example.org"])
def test_no_other_name_of_the_requester_lets_them_approve_themselves(desk: GateDesk, name: str) -> None:
    desk.desk.identity("bob")["usernames"] = ["svc:bob"]
    desk.desk.add("bob-admin", person="P-Bob")
    decision = desk.decide(review(desk.approve(example(), *ALL_ROLES), username=name))
    assert not decision.allowed
    assert "self_approval" in rejections(decision)


def test_an_autoscaler_counts_for_a_workload_that_says_its_name_was_made(tmp_path: Path) -> None:
    manifest = example()
    manifest["metadata"]["name"] = "llama-bcdfg"
    autoscaler = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"namespace": manifest["metadata"]["namespace"]},
        "spec": {"maxReplicas": 50, "scaleTargetRef": {"kind": "Deployment", "name": "llama-bcdfg"}},
    }
    desk = GateDesk.open(tmp_path, cluster_facts=ManifestCluster([autoscaler]))
    scores = []
    for prefix in (None, "llama-"):
        manifest["metadata"]["generateName"] = prefix
        found = desk.decide(review(manifest)).findings
        assert found is not None
        scores.append(found.document["risk"]["score"])
    assert scores[0] == scores[1]
    desk.log.close()


def test_evidence_for_another_image_model_or_content_lowers_nothing(desk: GateDesk) -> None:
    workload = read_workload(example())
    other = example()
    container = other["spec"]["template"]["spec"]["containers"][0]
    container["image"] = container["image"].partition("@")[0] + "@sha256:" + "7" * 64
    other["metadata"]["annotations"]["placet.dev/model-digest"] = "sha256:" + "8" * 64
    other["metadata"]["annotations"] |= {
        f"placet.dev/evidence.{name}": text for name, text in desk.desk.evidence(workload).items()
    }
    bare, dressed = desk.decide(review(example())).findings, desk.decide(review(other)).findings
    assert bare is not None
    assert dressed is not None
    assert {item.code for item in dressed.evidence.rejected} == {"subject_differs"}
    assert dressed.assessment.score == bare.assessment.score


def test_declared_facts_lower_nothing_where_they_are_not_accepted(desk: GateDesk) -> None:
    manifest = example()
    for part in (manifest, manifest["spec"]["template"]):
        for name in [one for one in part["metadata"].get("annotations", {}) if one.startswith("placet.dev/")]:
            if "model" not in name:
                del part["metadata"]["annotations"][name]
    boasting = copy.deepcopy(manifest)
    boasting["metadata"]["annotations"] |= {
        "placet.dev/parameters": "1",
        "placet.dev/data-classification": "public",
        "placet.dev/test-coverage": "1",
        "placet.dev/rollback-minutes": "1",
        "placet.dev/deployment-strategy": "canary",
    }
    scores = []
    for each in (manifest, boasting):
        found = desk.decide(review(each)).findings
        assert found is not None
        scores.append(found.assessment.score)
    assert scores[1] >= scores[0]


def test_an_allow_is_given_again_for_the_very_same_bytes_on_the_same_path_alone(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    asked = review(manifest, uid="once")
    assert desk.decide(asked).allowed
    for change in ({"dryRun": None}, {"operation": "UPDATE"}, {"namespace": "other"}, {"object": example()}):
        again = json.loads(json.dumps(asked))
        again["request"].update(change)
        assert not desk.decide(again).allowed
    assert not desk.decide(asked, environment="development").allowed


def test_an_expired_approval_does_not_admit_what_is_created_anew(desk: GateDesk) -> None:
    manifest = desk.approve(example(), *ALL_ROLES)
    desk.desk.now += timedelta(days=30)
    assert not desk.decide(review(manifest)).allowed
