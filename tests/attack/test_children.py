"""What controllers make passes by content, and nothing that only says that a controller made it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placet.decision import Decision
from placet.parents import NoParents, Parents
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from tests.simulators.cluster import ObjectStore, owned, pod, replica_set, review_of
from tests.simulators.gate import GateDesk, example, review

ROLES = ("technical", "security", "business", "executive")
Json = dict[str, Any]


@pytest.fixture
def parents(store: ObjectStore) -> Parents:
    return store


def admit(desk: GateDesk, store: ObjectStore, manifest: Json | None = None) -> Json:
    """A Deployment that was approved and is there."""
    signed = desk.approve(manifest or example(), *ROLES)
    assert desk.decide(review(signed)).allowed
    return store.put(signed)


def codes(decision: Decision) -> set[str]:
    return {item.code for item in (*decision.violations, *decision.notes) if item.rule == "gate.origin"}


def leaf(decision: Decision) -> Json:
    assert decision.recorded is not None
    return dict(decision.recorded.leaf)


def test_a_replica_set_and_its_pod_pass_by_what_was_approved(desk: GateDesk, store: ObjectStore) -> None:
    deployment = admit(desk, store)
    made = replica_set(deployment)
    first = desk.decide(review_of(made))
    assert (first.allowed, first.change) == (True, "child")
    stored = store.put(made)
    second = desk.decide(review_of(pod(stored)))
    assert (second.allowed, second.change) == (True, "child")
    told = leaf(second)
    assert [parent["kind"] for parent in told["parents"]] == ["ReplicaSet", "Deployment"]
    assert [parent["uid"] for parent in told["parents"]] == [stored["metadata"]["uid"], deployment["metadata"]["uid"]]
    assert first.workload is not None
    (approved,) = (
        desk.history.admitted(
            environment="production",
            namespace="ml-serving",
            kind="Deployment",
            name="llama",
            projection=first.workload.projection.digest,
        )
        or ()
    )
    assert told["precedent"]["decision_id"] == approved.decision_id
    assert (told["approved"], told["model"]["name"], told["risk"]["level"]) == (False, "llama-3.1-70b", approved.level)
    assert told["warnings"] == []
    assert "content_digest" not in told


def test_a_child_passes_long_after_its_approvals_have_expired(desk: GateDesk, store: ObjectStore) -> None:
    made = store.put(replica_set(admit(desk, store)))
    desk.desk.now = desk.desk.now.replace(year=2027, month=6)
    assert desk.decide(review_of(pod(made))).change == "child"


def test_whoever_asks_for_a_child_makes_no_difference(desk: GateDesk, store: ObjectStore) -> None:
    made = store.put(replica_set(admit(desk, store)))
    for username in ("mallory@example.org", "system:serviceaccount:kube-system:replicaset-controller", "alice"):
        assert desk.decide(review_of(pod(made), username=username)).allowed
    bare = copy.deepcopy(pod(made))
    del bare["metadata"]["ownerReferences"]
    assert not desk.decide(review_of(bare, username="system:serviceaccount:kube-system:replicaset-controller")).allowed


def test_nothing_is_made_of_what_was_revoked(desk: GateDesk, store: ObjectStore) -> None:
    signed = desk.approve(example(), *ROLES)
    decision = desk.decide(review(signed))
    made = store.put(replica_set(store.put(signed)))
    assert desk.decide(review_of(pod(made))).allowed
    desk.desk.document["revokedApprovals"] += [leaf(decision)["approvals"][0]["approval_id"]]
    desk.desk.document["version"] += 1
    refused = desk.decide(review_of(pod(made)))
    assert not refused.allowed
    assert codes(refused) == {"precedent_withdrawn"}


def test_nothing_is_made_of_what_a_compromised_key_approved(desk: GateDesk, store: ObjectStore) -> None:
    made = store.put(replica_set(admit(desk, store)))
    key = desk.desk.identity("bob")["keys"][0]
    key |= {"revokedAt": "2026-11-22T18:00:00Z", "revocation": "compromised"}
    desk.desk.document["version"] += 1
    refused = desk.decide(review_of(pod(made)))
    assert (refused.allowed, codes(refused)) == (False, {"precedent_withdrawn"})


def test_what_was_never_approved_has_no_children(desk: GateDesk, store: ObjectStore) -> None:
    made = store.put(replica_set(store.put(example())))
    refused = desk.decide(review_of(pod(made)))
    assert (refused.allowed, codes(refused)) == (False, {"parent_unapproved"})
    assert "Deployment/llama" in next(v.details["sentence"] for v in refused.violations if v.rule == "gate.origin")


def test_what_ran_before_the_gate_has_children_once_it_is_approved(desk: GateDesk, store: ObjectStore) -> None:
    running = store.put(example())
    made = store.put(replica_set(running))
    signed = desk.approve(running, *ROLES)
    assert desk.decide(review(signed, old=running)).change == "adopted"
    assert desk.decide(review_of(pod(made))).change == "child"


def other_uid(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["uid"] = "00000000-0000-0000-0000-000000000000"


def other_name(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["name"] = "nobody"


def odd_name(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["name"] = "../../pods"


def other_kind(child: Json) -> None:
    child["metadata"]["ownerReferences"][0] |= {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}


def other_group(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["apiVersion"] = "apps/v1beta1"


def two_controllers(child: Json) -> None:
    child["metadata"]["ownerReferences"] *= 2


def no_uid(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["uid"] = ""


def other_content(child: Json) -> None:
    child["spec"]["containers"][0]["args"] = ["--trust-remote-code"]


def other_image(child: Json) -> None:
    child["spec"]["containers"][0]["image"] = "evil.example.org/x@sha256:" + "0" * 64


def added_container(child: Json) -> None:
    child["spec"]["containers"].append({"name": "beside", "image": "busybox@sha256:" + "1" * 64})


def other_model(child: Json) -> None:
    child["metadata"].setdefault("labels", {})["placet.dev/model"] = "another-model"


def other_account(child: Json) -> None:
    child["spec"]["serviceAccountName"] = "cluster-admin"


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (other_uid, "parent_replaced"),
        (other_name, "parent_not_found"),
        (odd_name, "parent_not_found"),
        (other_kind, "parent_kind_unknown"),
        (other_group, "parent_kind_unknown"),
        (two_controllers, "controllers_ambiguous"),
        (no_uid, "controller_malformed"),
        (other_content, "content_differs"),
        (other_image, "content_differs"),
        (added_container, "content_differs"),
        (other_account, "content_differs"),
        (other_model, "parent_unapproved"),
    ],
)
def test_a_stolen_owner_reference_gets_nothing_in(
    desk: GateDesk, store: ObjectStore, forge: Callable[[Json], None], code: str
) -> None:
    child = copy.deepcopy(pod(store.put(replica_set(admit(desk, store)))))
    assert desk.decide(review_of(child)).allowed
    forge(child)
    refused = desk.decide(review_of(child))
    assert (refused.allowed, codes(refused)) == (False, {code})
    assert refused.change == "new"
    assert any(item["code"] == code for item in leaf(refused)["violations"])


def test_a_parent_in_another_namespace_is_none(desk: GateDesk, store: ObjectStore) -> None:
    made = store.put(replica_set(admit(desk, store)))
    child = copy.deepcopy(pod(made))
    child["metadata"]["namespace"] = "elsewhere"
    assert codes(desk.decide(review_of(child))) == {"parent_not_found"}


def test_a_template_that_was_changed_under_its_pods_makes_none(desk: GateDesk, store: ObjectStore) -> None:
    deployment = admit(desk, store)
    forged = replica_set(deployment)
    forged["spec"]["template"]["spec"]["containers"][0]["args"] = ["--trust-remote-code"]
    assert codes(desk.decide(review_of(forged))) == {"parent_unapproved"}
    made = store.put(forged)  # as if the gate had been away
    assert codes(desk.decide(review_of(pod(made)))) == {"parent_unapproved"}


def test_both_revisions_of_a_rollout_under_way_have_children(desk: GateDesk, store: ObjectStore) -> None:
    deployment = admit(desk, store)
    former = store.put(replica_set(deployment))
    changed = copy.deepcopy(deployment)
    changed["spec"]["template"]["spec"]["containers"][0]["args"].append("--seed=1")
    signed = desk.approve(changed, *ROLES)
    assert desk.decide(review(signed, old=deployment)).change == "changed"
    latter = store.put(replica_set(store.put(signed), name="llama-5c8b"))
    assert desk.decide(review_of(pod(former))).change == "child"
    assert desk.decide(review_of(pod(latter))).change == "child"
    more = copy.deepcopy(former)
    former["spec"]["replicas"] = 1
    assert desk.decide(review_of(more, old=former)).change == "child"


@pytest.mark.parametrize(
    ("replicas", "strategy", "allowed"),
    [
        (5, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}, True),
        (6, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}, False),
        (6, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "26%", "maxUnavailable": 0}}, True),
        (7, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 0}}, True),
        (8, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 0}}, False),
        (4, {"type": "Recreate"}, True),
        (5, {"type": "Recreate"}, False),
        (5, {}, True),
        (6, {}, False),
        (4, {"rollingUpdate": {"maxSurge": "much"}}, False),
    ],
)
def test_a_replica_set_gets_no_more_than_its_deployment_may_have(
    desk: GateDesk, store: ObjectStore, replicas: int, strategy: Json, allowed: bool
) -> None:
    manifest = example()
    manifest["spec"]["strategy"] = strategy
    deployment = admit(desk, store, manifest)
    made = replica_set(deployment, replicas=replicas)
    decision = desk.decide(review_of(made))
    assert decision.allowed == allowed, decision.violations
    small = replica_set(deployment, replicas=1)
    grown = desk.decide(review_of(made, old=small))
    assert (grown.allowed, grown.change == "child") == (allowed, allowed)
    if not allowed:
        assert codes(grown) <= {"parent_exceeded", "parent_unreadable"}


def test_a_replica_set_that_has_too_many_may_still_get_fewer_or_be_touched(desk: GateDesk, store: ObjectStore) -> None:
    deployment = admit(desk, store)
    big = replica_set(deployment, replicas=40)
    for change in ({"replicas": 9}, {}):
        new = copy.deepcopy(big)
        new["spec"] |= change
        new["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] = "4"
        # The Deployment controller copies renewed approvals onto its ReplicaSet.
        new["metadata"]["annotations"]["placet.dev/approval.security"] = "renewed"
        assert desk.decide(review_of(new, old=big)).allowed


def test_a_look_up_that_is_not_answered_refuses(desk: GateDesk, store: ObjectStore) -> None:
    made = store.put(replica_set(admit(desk, store)))
    store.answering = False
    refused = desk.decide(review_of(pod(made)))
    assert [(item.rule, item.code) for item in refused.violations] == [("gate.origin", "parent_unavailable")]


@pytest.mark.parametrize("gone", ["parent", "grandparent"])
def test_an_orphan_is_judged_by_itself(desk: GateDesk, store: ObjectStore, gone: str) -> None:
    deployment = admit(desk, store)
    made = store.put(replica_set(deployment))
    store.remove(made if gone == "parent" else deployment)
    assert codes(desk.decide(review_of(pod(made)))) == {"parent_not_found"}


def test_without_look_ups_every_object_is_judged_by_itself_and_says_so(tmp_path: Path, engine: EmbeddedEngine) -> None:
    desk = GateDesk.open(tmp_path, engine=engine, parents=NoParents())
    store = ObjectStore()
    made = store.put(replica_set(admit(desk, store)))
    refused = desk.decide(review_of(pod(made)))
    assert codes(refused) == {"parents_not_looked_up"}
    hint = next(item.details["hint"] for item in refused.violations if item.rule == "gate.origin")
    assert "parents: lookup" in hint
    desk.log.close()


def test_an_update_that_changes_nothing_looks_nothing_up(desk: GateDesk, store: ObjectStore) -> None:
    child = pod(store.put(replica_set(admit(desk, store))))
    touched = copy.deepcopy(child)
    touched["metadata"]["labels"]["touched"] = "yes"
    assert desk.decide(review_of(touched, old=child)).change == "unchanged"
    assert store.looked_up == []


def test_an_ephemeral_container_is_no_part_of_what_was_approved(desk: GateDesk, store: ObjectStore) -> None:
    child = pod(store.put(replica_set(admit(desk, store))))
    debugged = copy.deepcopy(child)
    debugged["spec"]["ephemeralContainers"] = [{"name": "debugger", "image": "busybox@sha256:" + "1" * 64}]
    refused = desk.decide(review_of(debugged, old=child, subresource="ephemeralcontainers"))
    assert (refused.allowed, codes(refused)) == (False, {"content_differs"})


def cron_job() -> Json:
    source = example()
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": source["metadata"] | {"name": "evaluate"},
        "spec": {
            "schedule": "0 3 * * *",
            "jobTemplate": {"spec": {"parallelism": 2, "template": source["spec"]["template"]}},
        },
    }


def job_of(parent: Json, *, parallelism: int = 2) -> Json:
    made = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "evaluate-29391", "namespace": "ml-serving"},
        "spec": {**copy.deepcopy(parent["spec"]["jobTemplate"]["spec"]), "parallelism": parallelism},
    }
    return owned(made, parent)


def test_a_job_of_a_cron_job_and_its_pod_pass(desk: GateDesk, store: ObjectStore) -> None:
    signed = desk.approve(cron_job(), *ROLES)
    assert desk.decide(review_of(signed, username="dora")).allowed
    stored = store.put(signed)
    job = store.put(job_of(stored))
    assert desk.decide(review_of(job_of(stored))).change == "child"
    assert desk.decide(review_of(pod(job))).change == "child"
    assert codes(desk.decide(review_of(job_of(stored, parallelism=3)))) == {"parent_exceeded"}


def test_a_job_approved_by_its_prefix_has_pods(desk: GateDesk, store: ObjectStore) -> None:
    job = job_of(cron_job() | {"metadata": {"name": "x", "uid": "y"}})
    job["metadata"] = example()["metadata"] | {"generateName": "evaluate-"}
    del job["metadata"]["name"]
    signed = desk.approve(job, *ROLES)
    assert desk.decide(review_of(signed, username="dora")).allowed
    signed["metadata"]["name"] = "evaluate-x7k2p"
    assert desk.decide(review_of(pod(store.put(signed)))).change == "child"


def stateful_set() -> Json:
    source = example()
    spec = {"replicas": 2, "serviceName": "llama", "template": source["spec"]["template"]}
    claim = {"metadata": {"name": "cache"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": source["metadata"],
        "spec": {**spec, "volumeClaimTemplates": [claim]},
    }


def claimed(parent: Json, number: int) -> Json:
    made = pod(parent, suffix=str(number))
    del made["metadata"]["generateName"]
    name = made["metadata"]["name"]
    made["spec"]["volumes"].append({"name": "cache", "persistentVolumeClaim": {"claimName": f"cache-{name}"}})
    return made


def test_pods_of_two_revisions_of_a_stateful_set_pass(desk: GateDesk, store: ObjectStore) -> None:
    signed = desk.approve(stateful_set(), *ROLES)
    assert desk.decide(review_of(signed, username="dora")).allowed
    former = store.put(signed)
    changed = copy.deepcopy(former)
    changed["spec"]["template"]["spec"]["containers"][0]["args"].append("--seed=1")
    renewed = desk.approve(changed, *ROLES)
    assert desk.decide(review_of(renewed, old=former, username="dora")).allowed
    store.put(renewed)
    for revision in (former, renewed):
        assert desk.decide(review_of(claimed(revision, 1))).change == "child"
    never = copy.deepcopy(renewed)
    never["spec"]["template"]["spec"]["containers"][0]["args"].append("--seed=2")
    assert codes(desk.decide(review_of(claimed(never, 1)))) == {"parent_unapproved"}


def test_a_replica_set_of_its_own_has_pods_though_something_unknown_made_it(desk: GateDesk, store: ObjectStore) -> None:
    unknown = {"apiVersion": "example.org/v1", "kind": "Canary", "metadata": {"name": "llama", "uid": "r-1"}}
    made = owned(replica_set(example()), unknown)
    for role in ROLES:
        made["metadata"]["annotations"].pop(f"placet.dev/approval.{role}", None)
    made["metadata"]["labels"]["placet.dev/model"] = "llama-3.1-70b"
    signed = desk.approve(made, *ROLES)
    admitted = desk.decide(review_of(signed))
    assert (admitted.allowed, codes(admitted)) == (True, {"parent_kind_unknown"})
    assert desk.decide(review_of(pod(store.put(signed)))).change == "child"


@pytest.mark.parametrize("on_template", [True, False])
def test_labelled_coverage_governs_children_by_their_own_label(tmp_path: Path, on_template: bool) -> None:
    operator = tmp_path / "data.yaml"
    operator.write_text("environments: {production: {coverage: labelled}}\n", encoding="utf-8")
    store = ObjectStore()
    desk = GateDesk.open(tmp_path, data=load_policy_data(operator), parents=store)
    manifest = example()
    if on_template:
        manifest["spec"]["template"]["metadata"]["labels"]["placet.dev/model"] = "llama-3.1-70b"
    made = store.put(replica_set(admit(desk, store, manifest)))
    child = pod(made)
    assert desk.decide(review_of(child)).change == ("child" if on_template else "")
    forged = copy.deepcopy(child)
    other_content(forged)
    assert desk.decide(review_of(forged)).allowed == (not on_template)
    desk.log.close()
