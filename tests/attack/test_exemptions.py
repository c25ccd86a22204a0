"""An exemption lets in the content that was signed for, under the name that was signed for, and nothing beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.decision import Decision
from placet.messages import render_message, render_warnings
from placet.policy.wasm import EmbeddedEngine
from placet.workload import read_workload
from tests.simulators.cluster import ObjectStore, pod, replica_set, review_of, scale_review
from tests.simulators.exemptions import ExemptionShelf, add_exempters, exemption_of, sign_exemption
from tests.simulators.gate import GateDesk, example

Json = dict[str, Any]
DAY = timedelta(days=1)
GROUND = "exempted content"
NGINX = f"registry.example/nginx@sha256:{'ab' * 32}"


@pytest.fixture
def store() -> ObjectStore:
    return ObjectStore()


@pytest.fixture
def shelf() -> ExemptionShelf:
    return ExemptionShelf()


@pytest.fixture
def desk(tmp_path: Path, engine: EmbeddedEngine, store: ObjectStore, shelf: ExemptionShelf) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path, engine=engine, parents=store, exemptions=shelf)
    add_exempters(opened.desk)
    yield opened
    opened.log.close()


def proxy(**changes: Any) -> Json:
    """A Deployment that serves no model, and says nothing of one."""
    labels = {"app": "proxy"}
    container = {"name": "nginx", "image": NGINX, "args": ["-g", "daemon off;"]} | changes
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "proxy", "namespace": "ml-serving", "labels": dict(labels)},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def sign(
    desk: GateDesk,
    shelf: ExemptionShelf,
    manifest: Json | None = None,
    *,
    by: Any = "fay",
    name: str = "a",
    **terms: Any,
) -> Json:
    """Sign an exemption of a manifest, and put it where the gate looks."""
    manifest = manifest or proxy()
    said = exemption_of(desk.desk, read_workload(manifest), **terms)
    shelf.files[name] = sign_exemption(desk.desk, said, by=by)
    return manifest


def let_in(desk: GateDesk, decision: Decision) -> bool:
    """Whether it came in by an exemption; a decision that rests on one is no approval of anything."""
    assert decision.recorded is not None
    leaf = decision.recorded.leaf
    if decision.exemption is None:
        assert "exemption" not in leaf
        return False
    assert decision.allowed
    assert leaf["exemption"]["statement"] == str(decision.exemption.statement)
    assert leaf["coverage"]["cause"] == "exempted"
    assert (leaf["approved"], leaf["change"]["kind"]) == (False, "")
    return True


def refused_for(desk: GateDesk, asked: Json, *codes: str) -> Decision:
    decision = desk.decide(asked)
    assert not decision.allowed
    assert decision.exemption is None
    told = {item.code for item in decision.violations if item.rule == "gate.origin"}
    assert told == set(codes), told
    return decision


def test_the_content_that_was_signed_for_comes_in_and_nothing_else_does(desk: GateDesk, shelf: ExemptionShelf) -> None:
    refused_for(desk, review_of(proxy()))
    manifest = sign(desk, shelf)
    desk.ledger.permit(manifest, GROUND)
    decision = desk.decide(review_of(manifest))
    assert let_in(desk, decision)
    assert decision.recorded is not None
    told = decision.recorded.leaf["exemption"]
    assert (told["persons"], told["expires"]) == (["p-fay"], "2026-12-22T12:00:00Z")
    assert told["exemption_id"] == exemption_of(desk.desk, read_workload(manifest)).exemption_id


def cases() -> Iterator[tuple[str, Json]]:
    yield "another image", proxy(image=f"registry.example/vllm@sha256:{'cd' * 32}")
    yield "another command", proxy(command=["python3", "-m", "http.server"])
    yield "another argument", proxy(args=["-g", "daemon off; load_module m.so;"])
    yield "a variable", proxy(env=[{"name": "LD_PRELOAD", "value": "/m.so"}])
    second = proxy()
    second["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": NGINX})
    yield "a second container", second
    volume = proxy()
    volume["spec"]["template"]["spec"]["volumes"] = [{"name": "w", "hostPath": {"path": "/models"}}]
    yield "a volume", volume
    first = proxy()
    first["spec"]["template"]["spec"]["initContainers"] = [{"name": "fetch", "image": NGINX}]
    yield "an init container", first
    account = proxy()
    account["spec"]["template"]["spec"]["serviceAccountName"] = "admin"
    yield "a service account", account


@pytest.mark.parametrize("manifest", [pytest.param(found, id=name) for name, found in cases()])
@pytest.mark.parametrize("update", [False, True])
def test_other_content_behind_an_exempted_name_is_judged(
    desk: GateDesk, shelf: ExemptionShelf, manifest: Json, update: bool
) -> None:
    good = sign(desk, shelf)
    asked = review_of(manifest, old=good if update else None, username="tina@example.org")
    decision = refused_for(desk, asked, "exemption_content_differs")
    assert "exemption" in render_message(decision)
    assert "placet exempt" in render_message(decision)


def test_nothing_of_another_name_kind_namespace_or_environment_comes_in(desk: GateDesk, shelf: ExemptionShelf) -> None:
    good = sign(desk, shelf)
    for place, value in (("name", "proxy2"), ("namespace", "other")):
        other = copy.deepcopy(good)
        other["metadata"][place] = value
        refused_for(desk, review_of(other))
    refused_for(desk, review_of({**copy.deepcopy(good), "kind": "ReplicaSet"}))
    assert not desk.decide(
        review_of({**good, "metadata": {**good["metadata"], "labels": {"placet.dev/model": "x"}}}),
        environment="staging",
    ).allowed


@pytest.mark.parametrize("where", ["metadata", "template"])
def test_what_names_a_model_is_not_let_in_by_one_signature(desk: GateDesk, shelf: ExemptionShelf, where: str) -> None:
    manifest = sign(desk, shelf)
    holder = manifest if where == "metadata" else manifest["spec"]["template"]
    holder["metadata"]["labels"] = {**holder["metadata"]["labels"], "placet.dev/model": "llama-3.1-70b"}
    refused_for(desk, review_of(manifest), "exemption_model")


def test_a_model_server_needs_a_statement_that_says_so_and_two_persons(desk: GateDesk, shelf: ExemptionShelf) -> None:
    server = proxy(image=f"docker.io/vllm/vllm-openai@sha256:{'cd' * 32}", command=["vllm", "serve", "/models/llama"])
    sign(desk, shelf, server)
    refused_for(desk, review_of(server), "exemption_model")
    sign(desk, shelf, server, detection="serves_model")
    refused_for(desk, review_of(server), "exemption_persons_missing")
    sign(desk, shelf, server, detection="serves_model", by=("fay", "hal"))
    refused_for(desk, review_of(server), "exemption_persons_missing")
    sign(desk, shelf, server, detection="serves_model", by=("fay", "gus"))
    desk.ledger.permit(server, GROUND)
    assert let_in(desk, desk.decide(review_of(server)))


def test_an_accelerator_that_was_added_since_is_asked_about(desk: GateDesk, shelf: ExemptionShelf) -> None:
    sign(desk, shelf)
    gpu = proxy(resources={"limits": {"nvidia.com/gpu": "1"}})
    refused_for(desk, review_of(gpu), "exemption_model")


def test_it_ends_when_it_says_and_when_its_file_goes(desk: GateDesk, shelf: ExemptionShelf) -> None:
    manifest = sign(desk, shelf)
    desk.ledger.permit(manifest, GROUND)
    assert let_in(desk, desk.decide(review_of(manifest)))
    kept = shelf.files.pop("a")
    refused_for(desk, review_of(manifest))
    shelf.files["a"] = kept
    assert let_in(desk, desk.decide(review_of(manifest)))
    desk.desk.now += 30 * DAY
    refused_for(desk, review_of(manifest), "exemption_expired")


def test_whoever_deploys_is_told_when_it_ends_soon(desk: GateDesk, shelf: ExemptionShelf) -> None:
    manifest = sign(desk, shelf)
    desk.ledger.permit(manifest, GROUND)
    assert desk.decide(review_of(manifest)).warnings == ()
    desk.desk.now += 20 * DAY
    (told,) = render_warnings(desk.decide(review_of(manifest)))
    assert told.endswith("ends in 10 days")


def test_it_ends_when_the_keyring_takes_it_back(desk: GateDesk, shelf: ExemptionShelf) -> None:
    manifest = sign(desk, shelf)
    desk.desk.document["revokedApprovals"] += [exemption_of(desk.desk, read_workload(manifest)).exemption_id]
    refused_for(desk, review_of(manifest), "exemption_withdrawn")


def test_an_approver_exempts_nothing(desk: GateDesk, shelf: ExemptionShelf) -> None:
    refused_for(desk, review_of(sign(desk, shelf, by="erin")), "exemption_not_granted")


@pytest.mark.parametrize("username", ["fay@example.org", "P-FAY"])
def test_nobody_exempts_what_they_deploy(desk: GateDesk, shelf: ExemptionShelf, username: str) -> None:
    manifest = sign(desk, shelf)
    refused_for(desk, review_of(manifest, username=username), "exemption_persons_missing")


def test_a_tag_may_be_moved_so_it_is_no_content(desk: GateDesk, shelf: ExemptionShelf) -> None:
    loose = sign(desk, shelf, proxy(image="registry.example/nginx:1.27"))
    refused_for(desk, review_of(loose), "exemption_image_unpinned")
    sign(desk, shelf, loose, images="as_named")
    desk.ledger.permit(loose, GROUND)
    assert let_in(desk, desk.decide(review_of(loose)))


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"payload":"","payloadType":"x","signatures":[]}', b"\xff" * 100_000])
def test_a_file_that_cannot_be_read_opens_nothing_and_closes_nothing(
    desk: GateDesk, shelf: ExemptionShelf, raw: bytes
) -> None:
    shelf.files["bad"] = raw
    refused_for(desk, review_of(proxy()))
    manifest = sign(desk, shelf)
    desk.ledger.permit(manifest, GROUND)
    assert let_in(desk, desk.decide(review_of(manifest)))


def test_it_is_no_precedent_and_no_model_that_was_seen(desk: GateDesk, shelf: ExemptionShelf) -> None:
    server = example()
    sign(desk, shelf, server, detection="serves_model", by=("fay", "gus"), images="as_named")
    desk.ledger.permit(server, GROUND)
    assert let_in(desk, desk.decide(review_of(server)))
    workload = read_workload(server)
    assert not desk.history.model_seen(environment="production", model=workload.model.name)
    assert not desk.history.admitted(
        environment="production",
        namespace=workload.namespace,
        kind=workload.kind,
        name=workload.name,
        projection=workload.projection.digest,
    )
    # Coming back to it, once it is gone, is no rollback to what was approved.
    shelf.files.clear()
    old = copy.deepcopy(server)
    old["spec"]["template"]["spec"]["containers"][0]["args"] = ["--other"]
    assert not desk.decide(review_of(server, old=old)).allowed


# -- what is made of it


def admit(desk: GateDesk, shelf: ExemptionShelf, store: ObjectStore) -> tuple[Json, Json]:
    """An exempted Deployment that is there, and its ReplicaSet."""
    manifest = sign(desk, shelf)
    desk.ledger.permit(manifest, GROUND)
    assert let_in(desk, desk.decide(review_of(manifest)))
    stored = store.put(manifest)
    made = replica_set(stored, name="proxy-7d9f")
    assert let_in(desk, desk.decide(review_of(made)))
    return stored, store.put(made)


def test_its_children_come_in_by_content_whoever_makes_them(
    desk: GateDesk, shelf: ExemptionShelf, store: ObjectStore
) -> None:
    _, made = admit(desk, shelf, store)
    for username in ("system:serviceaccount:kube-system:replicaset-controller", "tina@example.org"):
        decision = desk.decide(review_of(pod(made), username=username))
        assert let_in(desk, decision)
        assert decision.recorded is not None
        assert [one["kind"] for one in decision.recorded.leaf["parents"]] == ["ReplicaSet", "Deployment"]


def test_its_pods_are_made_again_after_its_end_and_not_after_it_was_withdrawn(
    desk: GateDesk, shelf: ExemptionShelf, store: ObjectStore
) -> None:
    _, made = admit(desk, shelf, store)
    desk.desk.now += 200 * DAY
    assert let_in(desk, desk.decide(review_of(pod(made))))
    shelf.files.clear()
    refused_for(desk, review_of(pod(made)), "parent_unapproved")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda made: made["spec"]["containers"][0].update(image="registry.example/vllm:latest"),
        lambda made: made["spec"]["containers"][0].update(command=["vllm", "serve", "llama"]),
        lambda made: made["spec"].update(
            ephemeralContainers=[{"name": "debug", "image": "busybox", "targetContainerName": "nginx"}]
        ),
    ],
)
def test_a_child_of_other_content_does_not(
    desk: GateDesk, shelf: ExemptionShelf, store: ObjectStore, spoil: Callable[[Json], None]
) -> None:
    _, made = admit(desk, shelf, store)
    child = pod(made)
    spoil(child)
    refused_for(desk, review_of(child), "content_differs")


def test_a_child_that_names_a_model_does_not(desk: GateDesk, shelf: ExemptionShelf, store: ObjectStore) -> None:
    _, made = admit(desk, shelf, store)
    child = pod(made)
    child["metadata"]["labels"] = {**child["metadata"]["labels"], "placet.dev/model": "llama"}
    assert not desk.decide(review_of(child)).allowed


def test_a_forged_parent_helps_nobody(desk: GateDesk, shelf: ExemptionShelf, store: ObjectStore) -> None:
    _, made = admit(desk, shelf, store)
    child = pod(made)
    child["metadata"]["ownerReferences"][0]["uid"] = "00000000-0000-0000-0000-000000000000"
    refused_for(desk, review_of(child), "parent_replaced")
    del child["metadata"]["ownerReferences"]
    refused_for(desk, review_of(child))


def test_scaling_it_comes_in_while_it_holds(desk: GateDesk, shelf: ExemptionShelf, store: ObjectStore) -> None:
    stored, _ = admit(desk, shelf, store)
    assert let_in(desk, desk.decide(scale_review(stored, 9)))
    desk.desk.now += 30 * DAY
    assert not desk.decide(scale_review(stored, 9)).allowed
    assert desk.decide(scale_review(stored, 1)).allowed, "fewer of what runs is always fine"


def test_what_runs_gets_an_accelerator_for_the_same_code_and_no_model(
    desk: GateDesk, shelf: ExemptionShelf, store: ObjectStore
) -> None:
    stored, _ = admit(desk, shelf, store)
    gpu = copy.deepcopy(stored)
    gpu["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    decision = desk.decide(review_of(gpu, old=stored))
    assert (decision.allowed, decision.change, decision.exemption) == (True, "unchanged", None)
    named = copy.deepcopy(stored)
    named["metadata"]["labels"]["placet.dev/model"] = "llama"
    refused_for(desk, review_of(named, old=stored), "exemption_model")


def test_what_runs_may_be_labelled_after_its_end(desk: GateDesk, shelf: ExemptionShelf, store: ObjectStore) -> None:
    stored, _ = admit(desk, shelf, store)
    desk.desk.now += 30 * DAY
    labelled = copy.deepcopy(stored)
    labelled["metadata"]["labels"]["team"] = "web"
    decision = desk.decide(review_of(labelled, old=stored))
    assert (decision.allowed, decision.change) == (True, "unchanged")


def test_no_exemption_stands_in_for_an_overdue_review(desk: GateDesk, shelf: ExemptionShelf) -> None:
    desk.desk.glass_keepers()
    carried, _ = desk.let_in(example())
    desk.ledger.permit(carried, "break-glass")
    assert desk.decide(review_of(carried)).allowed
    desk.desk.now += DAY
    changed = copy.deepcopy(carried)
    changed["spec"]["template"]["spec"]["containers"][0]["args"].append("--seed=2")
    for content in (carried, changed):
        sign(desk, shelf, content, detection="serves_model", by=("fay", "gus"), name=f"{len(shelf.files)}")
    desk.ledger.permit(changed, GROUND)
    for asked in (review_of(changed, old=carried), review_of(changed), review_of(carried)):
        refused = desk.decide(asked)
        assert {item.code for item in refused.violations} == {"review_overdue"}
    assert desk.decide(review_of(carried, old=carried)).allowed  # what runs already may be touched
