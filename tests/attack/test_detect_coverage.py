"""Ways around ``coverage: detect``: signs that are taken off, servers under other names, and what stays in sight."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from placet.coverage import describe_coverage
from placet.decision import Decision
from placet.messages import render_warnings
from placet.policy.data import PolicyData, load_policy_data
from tests.simulators.cluster import ObjectStore, pod, replica_set, review_of
from tests.simulators.gate import GateDesk, example, review

Json = dict[str, Any]
ROLES = ("technical", "security", "business", "executive")
LABEL = "placet.dev/model"
CART = f"registry.example.org/shop/cart@sha256:{'1' * 64}"
SERVER = f"registry.example.org/mirror/vllm-openai@sha256:{'2' * 64}"


def settings(tmp_path: Path, extra: str = "") -> PolicyData:
    operator = tmp_path / "data.yaml"
    operator.write_text(f"environments: {{production: {{coverage: detect{extra}}}}}\n", encoding="utf-8")
    return load_policy_data(operator)


@pytest.fixture
def store() -> ObjectStore:
    return ObjectStore()


@pytest.fixture
def desk(tmp_path: Path, store: ObjectStore) -> Iterator[GateDesk]:
    desk = GateDesk.open(tmp_path, data=settings(tmp_path), parents=store)
    yield desk
    desk.log.close()


def plain(image: str = CART, **fields: Any) -> Json:
    """A Deployment without a label, a command, an accelerator or a mount."""
    manifest = example()
    for part in (manifest, manifest["spec"]["template"]):
        part["metadata"].get("labels", {}).pop(LABEL, None)
        part["metadata"].pop("annotations", None)
    manifest["metadata"]["name"] = "cart"
    spec = manifest["spec"]["template"]["spec"]
    for key in ("initContainers", "volumes"):
        spec.pop(key, None)
    (first, *_) = spec["containers"]
    for key in ("command", "args", "env", "resources", "volumeMounts", "livenessProbe", "readinessProbe"):
        first.pop(key, None)
    spec["containers"] = [{**first, "name": "cart", "image": image, **fields}]
    return manifest


def cause(decision: Decision) -> tuple[bool, str]:
    assert decision.coverage is not None
    return decision.allowed, decision.coverage.cause


def coverage(decision: Decision) -> Json:
    assert decision.recorded is not None
    found: Json = dict(decision.recorded.leaf["coverage"])
    return found


def test_what_serves_no_model_is_let_in_and_the_record_says_why(desk: GateDesk) -> None:
    decision = desk.decide(review(plain()))
    assert cause(decision) == (True, "not_detected")
    assert coverage(decision) == {"governed": False, "cause": "not_detected", "object": "new", "reasons": []}
    assert not decision.warnings


def test_a_model_server_without_approvals_is_refused_and_the_record_says_what_was_found(desk: GateDesk) -> None:
    decision = desk.decide(review(plain(SERVER)))
    assert cause(decision) == (False, "detected")
    assert "role_missing" in {item.code for item in decision.violations}
    reasons = [{"table": "images", "key": "vllm-openai", "container": "cart"}]
    assert coverage(decision) == {"governed": True, "cause": "detected", "object": "new", "reasons": reasons}


def to_other_image(manifest: Json) -> None:
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = CART


def to_a_companion(manifest: Json) -> None:
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = SERVER.replace("vllm-openai", "vllm-router")


def to_waiting(manifest: Json) -> None:
    manifest["spec"]["template"]["spec"]["containers"][0]["command"] = ["sleep", "infinity"]


@pytest.mark.parametrize("hide", [to_other_image, to_a_companion, to_waiting])
def test_taking_the_signs_off_in_an_update_is_no_way_out(desk: GateDesk, hide: Callable[[Json], None]) -> None:
    old = plain(SERVER)
    new = copy.deepcopy(old)
    hide(new)
    assert cause(desk.decide(review(new))) == (True, "not_detected")
    decision = desk.decide(review(new, old=old))
    assert cause(decision) == (False, "detected")
    assert coverage(decision)["object"] == "old"


@pytest.mark.parametrize("image", ["$IMAGE", "YOUR_PROJECT/cart:1", "REGION_NAME-docker.pkg.dev/cart", "f" * 64])
def test_an_image_that_nobody_can_fetch_is_nothing_to_us_unless_it_is_to_serve_a_model(
    desk: GateDesk, image: str
) -> None:
    assert cause(desk.decide(review(plain(image)))) == (True, "not_detected")
    labelled = plain(image)
    labelled["metadata"]["labels"][LABEL] = "llama"
    serving = plain(image, command=["vllm", "serve", "/m"])
    for refused in (review(labelled), review(serving), review(plain(image), old=serving)):
        decision = desk.decide(refused)
        assert (decision.allowed, [item.code for item in decision.violations]) == (False, ["image_invalid"])


@pytest.mark.parametrize(
    "image",
    [
        "reg.example/Vllm/vllm-openai:1",
        "reg.example/vllm-openai@sha256:AB",
        f"vllm-openai:{'x' * 600}",
        "a b/vllm-openai",
    ],
)
def test_an_image_is_not_hidden_by_spelling_it_so_that_it_can_not_be_read(desk: GateDesk, image: str) -> None:
    decision = desk.decide(review(plain(image)))
    assert (decision.allowed, [item.code for item in decision.violations]) == (False, ["image_invalid"])


def test_an_image_excuses_no_odd_request(desk: GateDesk) -> None:
    for where, value in (
        ("name", "other"),
        ("namespace", "other"),
        ("kind", {"group": "", "version": "v1", "kind": "Pod"}),
    ):
        asked = review(plain("$IMAGE"))
        asked["request"][where] = value
        assert not desk.decide(asked).allowed


@pytest.mark.parametrize(
    "fields",
    [
        {"command": ["sh", "-c", "cd /srv && exec vllm serve /m"]},
        {"command": ["/bin/bash", "-lc"], "args": ["python3 -m vllm.entrypoints.openai.api_server --port 80"]},
        {"command": ["sh", "-c", "$RUN"], "env": [{"name": "RUN", "value": "vllm serve /m"}]},
        {"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "vllm serve /m &"]}}}},
        {"livenessProbe": {"exec": {"command": ["sh", "-c", "pgrep x || vllm serve /m"]}}},
    ],
)
def test_a_server_in_a_renamed_image_is_known_by_what_it_starts(desk: GateDesk, fields: Json) -> None:
    assert cause(desk.decide(review(plain(**fields)))) == (False, "detected")


def test_a_server_in_a_renamed_image_with_an_accelerator_is_known_by_its_model(desk: GateDesk) -> None:
    gpu = {"limits": {"nvidia.com/gpu": "1"}}
    named = plain(resources=gpu, args=["--model", "/m"])
    assert cause(desk.decide(review(named))) == (False, "detected")


def test_a_server_that_is_hidden_behind_other_names_passes_detection_and_not_strict(tmp_path: Path) -> None:
    hidden = plain(command=["/srv/start"], args=["--port", "80"])
    for data, allowed in ((settings(tmp_path), True), (load_policy_data(None), False)):
        folder = tmp_path / str(allowed)
        folder.mkdir()
        desk = GateDesk.open(folder, data=data)
        assert desk.decide(review(hidden)).allowed == allowed
        desk.log.close()


def test_the_label_opts_in_and_never_out(desk: GateDesk) -> None:
    labelled = plain()
    labelled["metadata"]["labels"][LABEL] = "llama"
    assert cause(desk.decide(review(labelled))) == (False, "label")
    assert cause(desk.decide(review(plain(), old=labelled))) == (False, "label")
    emptied = plain(SERVER)
    emptied["metadata"]["labels"][LABEL] = ""
    assert cause(desk.decide(review(emptied))) == (False, "detected")


@pytest.mark.parametrize(
    ("extra", "allowed"), [("", True), (", suspected: warn", True), (", suspected: govern", False)]
)
def test_an_accelerator_alone_is_told_of_or_governed(tmp_path: Path, extra: str, allowed: bool) -> None:
    desk = GateDesk.open(tmp_path, data=settings(tmp_path, extra))
    decision = desk.decide(review(plain(resources={"limits": {"nvidia.com/gpu": "1"}})))
    assert cause(decision) == (allowed, "suspected")
    assert bool(render_warnings(decision)) == allowed
    assert coverage(decision)["reasons"] == [{"table": "resources", "key": "nvidia.com/gpu", "container": "cart"}]
    if allowed:
        (warning,) = render_warnings(decision)
        assert "may serve a model" in warning
        assert len(warning) <= 120
        assert decision.recorded is not None
        assert decision.recorded.leaf["warnings"] == [{"rule": "gate.coverage", "code": "model_suspected"}]
    desk.log.close()


def test_in_mode_audit_nobody_is_told_and_the_record_has_it(tmp_path: Path) -> None:
    desk = GateDesk.open(tmp_path, data=settings(tmp_path, ", mode: audit"))
    decision = desk.decide(review(plain(resources={"limits": {"nvidia.com/gpu": "1"}})))
    assert (cause(decision), render_warnings(decision)) == ((True, "suspected"), ())
    assert coverage(decision)["cause"] == "suspected"
    desk.log.close()


def test_the_pods_of_an_approved_server_pass_and_those_of_another_do_not(desk: GateDesk, store: ObjectStore) -> None:
    manifest = example()
    manifest["metadata"]["labels"].pop("none", None)
    signed = desk.approve(manifest, *ROLES)
    assert desk.decide(review(signed)).allowed
    child = pod(store.put(replica_set(store.put(signed))))
    assert desk.decide(review_of(child)).change == "child"
    forged = copy.deepcopy(child)
    forged["spec"]["containers"][0]["image"] = SERVER
    assert not desk.decide(review_of(forged)).allowed


def test_the_pods_of_what_is_no_model_pass_as_it_did(desk: GateDesk, store: ObjectStore) -> None:
    child = pod(store.put(replica_set(store.put(plain()))))
    assert cause(desk.decide(review_of(child))) == (True, "not_detected")


def test_neither_the_record_nor_the_sentence_holds_what_the_workload_says(desk: GateDesk) -> None:
    secret = "hunter2-hunter2"
    manifest = plain(SERVER, args=["--api-key", secret], env=[{"name": "HF_TOKEN", "value": secret}])
    decision = desk.decide(review(manifest))
    assert decision.coverage is not None
    assert secret not in json.dumps(coverage(decision))
    assert describe_coverage(decision.coverage) == (
        "governed: it serves a model (images 'vllm-openai' in container cart)"
    )
