"""What controllers of custom resources make passes by the templates in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from placet.messages import render_message
from placet.parents import Parents
from tests.attack.customs import ROLES, Json, admit, ask, codes, leaf, load, other_uid, passes
from tests.simulators.cluster import ObjectStore, owned, pod, replica_set
from tests.simulators.controllers import group_pod, job_of, leaders_of, replica_set_of, workers_of
from tests.simulators.gate import GateDesk, example
from tests.simulators.kinds import OTHER_IMAGE, changed


@pytest.fixture
def parents(store: ObjectStore) -> Parents:
    return store


def test_the_replica_set_of_a_rollout_and_its_pod_pass(desk: GateDesk, store: ObjectStore) -> None:
    rollout = admit(desk, store, load("rollout"))
    made = replica_set_of(rollout)
    first = ask(desk, made)
    assert passes(first)
    assert [parent["kind"] for parent in leaf(first)["parents"]] == ["Rollout"]
    second = ask(desk, pod(store.put(made)))
    assert passes(second)
    assert [parent["kind"] for parent in leaf(second)["parents"]] == ["ReplicaSet", "Rollout"]
    assert (leaf(second)["approved"], leaf(second)["model"]["name"]) == (False, "llama")


def test_jobs_of_a_job_set_and_their_pods_pass_by_the_template_of_their_own_part(
    desk: GateDesk, store: ObjectStore
) -> None:
    manifest = load("jobset")
    first = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    first["containers"][0]["volumeMounts"] = [{"name": "weights", "mountPath": "/weights"}]
    first["containers"][0]["env"].append(
        {
            "name": "RESTARTS",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['jobset.sigs.k8s.io/restart-attempt']"}},
        }
    )
    claim = {"metadata": {"name": "weights"}, "spec": {"accessModes": ["ReadWriteMany"]}}
    manifest["spec"]["volumeClaimPolicies"] = [{"templates": [claim]}]
    jobset = admit(desk, store, manifest)
    for part, index in ((0, 0), (0, 1), (1, 0)):
        job = job_of(jobset, part=part, index=index)
        assert passes(ask(desk, job))
        made = pod(store.put(job))
        made["spec"]["hostname"] = f"{job['metadata']['name']}-0"
        reference = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}}
        made["spec"]["containers"][0]["env"].append({"name": "JOB_COMPLETION_INDEX", "valueFrom": reference})
        assert passes(ask(desk, made))


def test_a_leader_worker_set_gets_its_leaders_and_their_workers(desk: GateDesk, store: ObjectStore) -> None:
    lws = admit(desk, store, load("leaderworkerset"))
    leaders = leaders_of(lws)
    assert passes(ask(desk, leaders))
    leaders = store.put(leaders)
    leader = group_pod(lws, leaders, ordinal=1)
    assert passes(ask(desk, leader))
    leader = store.put(leader)
    workers = workers_of(lws, leader)
    assert passes(ask(desk, workers))
    worker = group_pod(lws, store.put(workers), ordinal=1)
    last = ask(desk, worker)
    assert passes(last)
    assert [parent["kind"] for parent in leaf(last)["parents"]] == [
        "StatefulSet",
        "Pod",
        "StatefulSet",
        "LeaderWorkerSet",
    ]


def test_a_child_passes_long_after_approvals_expired_and_not_after_one_was_revoked(
    desk: GateDesk, store: ObjectStore
) -> None:
    signed = desk.approve(load("rollout"), *ROLES)
    decision = ask(desk, signed, username="dora@example.org")
    made = replica_set_of(store.put(signed))
    desk.desk.now = desk.desk.now.replace(year=2027, month=6)
    assert passes(ask(desk, made))
    desk.desk.document["revokedApprovals"] += [leaf(decision)["approvals"][0]["approval_id"]]
    desk.desk.document["version"] += 1
    refused = ask(desk, made)
    assert (refused.allowed, codes(refused)) == (False, {"precedent_withdrawn"})


def test_both_revisions_of_a_rollout_under_way_have_children(desk: GateDesk, store: ObjectStore) -> None:
    former = admit(desk, store, load("rollout"))
    stable = store.put(replica_set_of(former, revision="6c4f"))
    canary = changed(former, ("spec.template.spec.containers[0].image", OTHER_IMAGE))
    latter = admit(desk, store, canary, old=former)
    fresh = store.put(replica_set_of(latter, revision="7d5a"))
    for each in (stable, fresh):
        assert passes(ask(desk, pod(each)))
        fewer = {**each, "spec": {**each["spec"], "replicas": 0}}
        assert passes(ask(desk, each, old=fewer))
    never = changed(fresh, ("spec.template.spec.containers[0].args", ["--trust-remote-code"]))
    assert codes(ask(desk, never)) == {"parent_unapproved"}
    more = {**stable, "spec": {**stable["spec"], "replicas": 4}}
    assert codes(ask(desk, more, old=stable)) == {"parent_exceeded"}


def test_a_template_that_another_rollout_had_is_not_this_ones(desk: GateDesk, store: ObjectStore) -> None:
    other = load("rollout")
    other["metadata"]["name"] = "other"
    other["spec"]["template"]["spec"]["containers"][0]["args"] = ["--other"]
    stolen = replica_set_of(admit(desk, store, other))
    rollout = admit(desk, store, load("rollout"))
    assert codes(ask(desk, owned(stolen, rollout))) == {"parent_unapproved"}


def test_what_was_never_approved_has_no_children(desk: GateDesk, store: ObjectStore) -> None:
    refused = ask(desk, replica_set_of(store.put(load("rollout"))))
    assert (refused.allowed, codes(refused)) == (False, {"parent_unapproved"})
    assert "Rollout/llama" in render_message(refused)


def test_a_custom_resource_that_was_changed_under_its_children_has_none(desk: GateDesk, store: ObjectStore) -> None:
    jobset = admit(desk, store, load("jobset"))
    forged = changed(jobset, ("spec.replicatedJobs[0].template.spec.template.spec.containers[0].image", OTHER_IMAGE))
    store.put(forged)  # as if the gate had been away
    assert codes(ask(desk, job_of(forged))) == {"parent_unapproved"}
    assert codes(ask(desk, job_of(jobset))) == {"content_differs"}


@pytest.mark.parametrize(
    ("replicas", "strategy", "allowed"),
    [
        (3, {"canary": {"steps": []}}, True),
        (4, {"canary": {"steps": []}}, False),
        (5, {"canary": {"maxSurge": 3}}, True),
        (6, {"canary": {"maxSurge": 3}}, False),
        (4, {"canary": {"maxSurge": "100%"}}, True),
        (5, {"canary": {"maxSurge": "100%"}}, False),
        (9, {"canary": {"maxSurge": 0, "steps": [{"setCanaryScale": {"replicas": 9}}]}}, True),
        (2, {"blueGreen": {"activeService": "llama"}}, True),
        (3, {"blueGreen": {"activeService": "llama"}}, False),
        (2, {"canary": {"maxSurge": "much"}}, False),
    ],
)
def test_a_replica_set_gets_no_more_than_its_rollout_may_have(
    desk: GateDesk, store: ObjectStore, replicas: int, strategy: Json, allowed: bool
) -> None:
    rollout = admit(desk, store, changed(load("rollout"), ("spec.strategy", strategy)))
    made = replica_set_of(rollout, replicas=replicas)
    small = replica_set_of(rollout, replicas=1)
    for decision in (ask(desk, made), ask(desk, made, old=small)):
        assert decision.allowed == allowed, decision.violations
        assert allowed or codes(decision) <= {"parent_exceeded", "parent_unreadable"}


def test_jobs_and_sets_get_no_more_than_their_part_may_have(desk: GateDesk, store: ObjectStore) -> None:
    jobset = admit(desk, store, load("jobset"))
    for part, most in ((0, 2), (1, 1)):
        job = job_of(jobset, part=part)
        job["spec"] |= {"parallelism": most, "completions": 9}
        assert passes(ask(desk, job))
        job["spec"]["parallelism"] = most + 1
        assert codes(ask(desk, job)) == {"parent_exceeded"}
    lws = admit(desk, store, load("leaderworkerset"))
    assert codes(ask(desk, leaders_of(lws, replicas=3))) == {"parent_exceeded"}
    leader = store.put(group_pod(lws, store.put(leaders_of(lws)), ordinal=0))
    workers = workers_of(lws, leader)
    workers["spec"]["replicas"] = 2
    assert codes(ask(desk, workers)) == {"parent_exceeded"}


def test_an_annotation_that_a_container_reads_is_one_word_or_counts(desk: GateDesk, store: ObjectStore) -> None:
    manifest = load("jobset")
    key = "jobset.sigs.k8s.io/job-index"
    template = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    template["spec"]["containers"][0]["env"].append(
        {"name": "INDEX", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{key}']"}}}
    )
    job = job_of(admit(desk, store, manifest))
    assert passes(ask(desk, job))
    job["spec"]["template"]["metadata"]["annotations"][key] = "0; curl evil"
    assert codes(ask(desk, job)) == {"content_differs"}
    job["spec"]["template"]["metadata"]["annotations"] |= {key: "0", "other": "counts for nothing"}
    assert passes(ask(desk, job))


def test_a_claim_of_another_name_counts(desk: GateDesk, store: ObjectStore) -> None:
    manifest = load("jobset")
    claim = {"metadata": {"name": "weights"}, "spec": {"accessModes": ["ReadWriteMany"]}}
    manifest["spec"]["volumeClaimPolicies"] = [{"templates": [claim]}]
    job = job_of(admit(desk, store, manifest))
    assert passes(ask(desk, job))
    job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = "weights-of-another"
    assert codes(ask(desk, job)) == {"content_differs"}


def test_claims_of_a_leader_worker_set_are_those_of_its_stateful_sets(desk: GateDesk, store: ObjectStore) -> None:
    manifest = load("leaderworkerset")
    claim = {"metadata": {"name": "weights"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast"}}
    manifest["spec"]["leaderWorkerTemplate"]["volumeClaimTemplates"] = [claim]
    lws = admit(desk, store, manifest)
    leaders = leaders_of(lws)
    leaders["spec"]["volumeClaimTemplates"] = [copy.deepcopy(claim)]
    assert passes(ask(desk, leaders))
    leader = group_pod(lws, store.put(leaders), ordinal=0)
    leader["spec"]["volumes"] = [{"name": "weights", "persistentVolumeClaim": {"claimName": "weights-llama-0"}}]
    desk.ledger.permit(leader, "a claim of an approved custom resource")
    assert passes(ask(desk, leader))
    leaders["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] = "theirs"
    assert codes(ask(desk, leaders)) == {"parent_unapproved"}


def test_the_parts_of_a_custom_resource_are_no_children_of_each_other(desk: GateDesk, store: ObjectStore) -> None:
    """A Rollout makes no Pod, and a Pod makes nothing unless the registry says so."""
    rollout = admit(desk, store, load("rollout"))
    made = store.put(replica_set_of(rollout))
    direct = owned(pod(made), rollout)
    assert codes(ask(desk, direct)) == {"parent_kind_unknown"}
    job = {**job_of(admit(desk, store, load("jobset")))}
    assert codes(ask(desk, owned(job, rollout))) == {"parent_kind_unknown"}
    leader = store.put(pod(made))
    lws = admit(desk, store, load("leaderworkerset"))
    leaders = leaders_of(lws)
    assert codes(ask(desk, owned(leaders, leader))) == {"parent_kind_unknown"}


def test_a_stateful_set_of_an_approved_pod_is_not_approved_with_it(desk: GateDesk, store: ObjectStore) -> None:
    """Else one approved StatefulSet would let in any number of replicas by way of its Pods."""
    lws = load("leaderworkerset")
    alone = leaders_of(lws | {"metadata": {**lws["metadata"], "uid": "gone"}})
    del alone["metadata"]["ownerReferences"]
    alone["metadata"] |= {"labels": lws["metadata"]["labels"], "annotations": lws["metadata"]["annotations"]}
    alone = admit(desk, store, alone)
    bare = pod(alone, suffix="0")
    assert passes(ask(desk, bare))
    copied = owned({**alone, "metadata": {"name": "more", "namespace": "ml-serving"}}, store.put(bare))
    copied["spec"] = {**copied["spec"], "replicas": 400}
    refused = ask(desk, copied)
    assert (refused.allowed, codes(refused)) == (False, {"parent_kind_unknown"})
    below = ask(desk, pod(store.put(copied), suffix="0"))
    assert (below.allowed, codes(below)) == (False, {"parent_unapproved"})


def test_a_circle_of_owners_ends(desk: GateDesk, store: ObjectStore) -> None:
    lws = load("leaderworkerset")
    first = store.put(leaders_of(lws | {"metadata": {**lws["metadata"], "uid": "u"}}))
    second = store.put(pod(first, suffix="0"))
    first = store.put(owned(first, second))
    refused = ask(desk, {**pod(first, suffix="1")})
    assert (refused.allowed, codes(refused)) == (False, {"parent_unapproved"})
    assert len(store.looked_up) <= 6


def test_what_an_operator_composes_is_refused_and_says_why(desk: GateDesk, store: ObjectStore) -> None:
    service = admit(desk, store, load("inferenceservice"))
    deployment = example()
    for role in ROLES:
        deployment["metadata"]["annotations"].pop(f"placet.dev/approval.{role}", None)
    refused = ask(desk, owned(deployment, service))
    assert (refused.allowed, codes(refused)) == (False, {"content_underivable"})
    message = render_message(refused)
    assert "InferenceService/" in message
    assert "docs/lookups.md" in message
    signed = desk.approve(owned(deployment, service), *ROLES)
    admitted = ask(desk, signed)
    assert (admitted.allowed, admitted.change) == (True, "new")
    assert passes(ask(desk, replica_set(store.put(signed))))


def test_a_rollout_without_a_template_of_its_own_has_no_children(desk: GateDesk, store: ObjectStore) -> None:
    whole = load("rollout")
    made_of = copy.deepcopy(whole)
    del made_of["spec"]["template"]
    made_of["spec"]["workloadRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
    rollout = admit(desk, store, made_of)
    child = replica_set_of({**rollout, "spec": {**rollout["spec"], "template": whole["spec"]["template"]}})
    refused = ask(desk, child)
    assert (refused.allowed, codes(refused)) == (False, {"content_underivable"})


def cluster_of(parent: Json, part: str) -> Json:
    """The RayCluster of a RayService or a RayJob, as KubeRay writes it."""
    metadata = parent["metadata"]
    made = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {
            "name": f"{metadata['name']}-x7k2p",
            "namespace": metadata["namespace"],
            "labels": {
                **metadata.get("labels", {}),
                "ray.io/originated-from-cr-name": metadata["name"],
                "ray.io/originated-from-crd": parent["kind"],
            },
            "annotations": dict(metadata.get("annotations", {})),
        },
        "spec": copy.deepcopy(parent["spec"][part]),
    }
    if parent["kind"] == "RayService":
        made["metadata"]["annotations"] |= {"ray.io/num-worker-groups": "2", "ray.io/kuberay-version": "v1.5.0"}
    return owned(made, parent)


RAY = (("rayservice", "rayClusterConfig"), ("rayjob", "rayClusterSpec"))
RAY_FORGED: dict[str, tuple[str, Any]] = {
    "image": ("spec.headGroupSpec.template.spec.containers[0].image", OTHER_IMAGE),
    "start parameters": ("spec.headGroupSpec.rayStartParams.dashboard-host", "127.0.0.1"),
    "a member that nobody knows": ("spec.somethingElse", {"image": OTHER_IMAGE}),
    "a group less": ("spec.workerGroupSpecs", []),
}


@pytest.mark.parametrize(("name", "part"), RAY)
def test_the_cluster_of_a_ray_service_or_job_passes_as_the_part_of_it(
    desk: GateDesk, store: ObjectStore, name: str, part: str
) -> None:
    parent = admit(desk, store, load(name))
    made = cluster_of(parent, part)
    desk.ledger.permit(made, "a part of an approved custom resource")
    passed = ask(desk, made)
    assert passes(passed)
    assert [one["kind"] for one in leaf(passed)["parents"]] == [parent["kind"]]
    for path, value in RAY_FORGED.values():
        refused = ask(desk, changed(made, (path, value)))
        assert (refused.allowed, codes(refused)) == (False, {"content_differs"}), path
    obeyed = copy.deepcopy(made)
    obeyed["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] = "true"
    assert codes(ask(desk, obeyed)) == {"content_differs"}
    many = changed(made, ("spec.workerGroupSpecs[1].maxReplicas", 400))
    assert codes(ask(desk, many)) == {"parent_exceeded"}
    forged = copy.deepcopy(made)
    other_uid(forged)
    assert codes(ask(desk, forged)) == {"parent_replaced"}
    never = store.put(changed(parent, (f"spec.{part}.rayVersion", "9.9.9")))
    assert codes(ask(desk, cluster_of(never, part))) == {"parent_unapproved"}


def test_pods_of_a_ray_cluster_are_judged_by_themselves(desk: GateDesk, store: ObjectStore) -> None:
    service = admit(desk, store, load("rayservice"))
    made = store.put(cluster_of(service, "rayClusterConfig"))
    template = made["spec"]["headGroupSpec"]["template"]
    head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "head", "namespace": "ml-serving"}, **template}
    head["metadata"] = {"name": "head", "namespace": "ml-serving"}
    assert codes(ask(desk, owned(head, made))) == {"content_underivable"}
    submitter = job_of(admit(desk, store, load("jobset")))
    ray_job = admit(desk, store, load("rayjob"))
    assert codes(ask(desk, owned(submitter, ray_job))) == {"content_underivable"}
