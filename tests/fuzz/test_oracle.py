"""The oracle of the whole decision: it knows the reason of each honest allow, and of no dishonest one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.fuzz.decision import decide
from tests.fuzz.naive import content, governed
from tests.fuzz.oracle import find_reason
from tests.fuzz.target import BrokenPromiseError, WrongAllowError
from tests.fuzz.world import ENVIRONMENT, open_world
from tests.simulators.gate import example

Json = dict[str, Any]
NAMES = tuple(open_world().seeds)


def body(name: str, change: Callable[[Json], object] | None = None) -> bytes:
    asked = copy.deepcopy(open_world().seeds[name][0])
    if change is not None:
        change(asked["request"])
    return json.dumps(asked).encode()


@pytest.mark.parametrize("name", NAMES)
def test_gate_and_oracle_agree_on_every_seed(name: str) -> None:
    world = open_world()
    expected = world.seeds[name][1]
    assert (find_reason(ENVIRONMENT, body(name), world) is not None) == expected
    assert decide(ENVIRONMENT, body(name), world) == expected


def server(request: Json) -> Json:
    obj = request["object"]
    spec = obj["spec"] if obj["kind"] == "Pod" else obj["spec"]["template"]["spec"]
    found: Json = spec["containers"][0]
    return found


def set_in(*steps: Any, to: Any) -> Callable[[Json], None]:
    def change(request: Json) -> None:
        place: Any = request
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = to

    return change


def without(prefix: str) -> Callable[[Json], None]:
    def change(request: Json) -> None:
        del request["object"]["metadata"]["annotations"][prefix]

    return change


def in_server(**fields: Any) -> Callable[[Json], None]:
    return lambda request: server(request).update(fields)


def move_to(name: str) -> Callable[[Json], None]:
    """The whole request in another namespace, by the same path."""

    def change(request: Json) -> None:
        request["namespace"] = name
        for obj in (request["object"], request["oldObject"]):
            if obj is not None:
                obj["metadata"]["namespace"] = name

    return change


def insecure(request: Json) -> None:
    server(request)["securityContext"]["readOnlyRootFilesystem"] = False


OBJECT = ("object", "metadata")
SPEC = ("object", "spec", "template", "spec")
BESIDE = ("object", "spec", "template", "metadata")
SPOILED: dict[str, tuple[str, Callable[[Json], object]]] = {
    "image": ("create", in_server(image="busybox@sha256:" + "0" * 64)),
    "args": ("create", lambda request: server(request)["args"].append("--trust-remote-code")),
    "empty argument": ("create", lambda request: server(request)["args"].append("")),
    "working directory": ("create", in_server(workingDir="/")),
    "probe": ("create", in_server(livenessProbe={"exec": {"command": ["sh"]}})),
    "a false that is no default": ("create", insecure),
    "host network": ("create", set_in(*SPEC, "hostNetwork", to=True)),
    "no host users": ("create", set_in(*SPEC, "hostUsers", to=False)),
    "service account": ("create", set_in(*SPEC, "serviceAccountName", to="admin")),
    "an init container": ("create", set_in(*SPEC, "initContainers", to=[{"name": "x", "image": "busybox"}])),
    "a volume without its source": ("create", set_in(*SPEC, "volumes", 0, "persistentVolumeClaim", to=None)),
    "name": ("create", set_in(*OBJECT, "name", to="other")),
    "namespace": ("create", set_in("namespace", to="elsewhere")),
    "the object's namespace": ("create", set_in(*OBJECT, "namespace", to="elsewhere")),
    "a namespace of staging": ("create", move_to("ml-staging")),
    "a namespace that names no environment": ("create", move_to("ml-plain")),
    "a namespace that is not there": ("touch", move_to("ml-nowhere")),
    "a namespace that can't be asked for": ("touch", move_to("..")),
    "kind": ("create", set_in("object", "kind", to="StatefulSet")),
    "version": ("create", set_in("object", "apiVersion", to="apps/v1beta1")),
    "model": ("create", set_in(*OBJECT, "labels", "placet.dev/model", to="other")),
    "replicas": ("create", set_in("object", "spec", "replicas", to=11)),
    "requester": ("create", set_in("userInfo", "username", to="alice@example.org")),
    "connect": ("create", set_in("operation", to="CONNECT")),
    "subresource": ("create", set_in("subResource", to="status")),
    "a missing approval": ("create", without("placet.dev/approval.security")),
    "missing evidence": ("create", without("placet.dev/evidence.rollback")),
    "a label that is read": ("create-reading", set_in(*BESIDE, "labels", "app.kubernetes.io/name", to="x")),
    "a profile": ("create-reading", set_in(*BESIDE, "annotations", to={})),
    "a dropped approval": ("touch", without("placet.dev/approval.security")),
    "undo to nothing known": ("undo", in_server(args=["--never"])),
    "undo as a create": ("undo", set_in("operation", to="CREATE")),
    "scale of another": ("scale", set_in(*OBJECT, "uid", to="0")),
    "pod of another": ("pod", set_in(*OBJECT, "ownerReferences", 0, "uid", to="0")),
    "pod with a command": ("pod", in_server(command=["sh"])),
    "replica set of many": ("replica-set", set_in("object", "spec", "replicas", to=6)),
}


@pytest.mark.parametrize("name", SPOILED)
def test_neither_knows_a_reason_for_what_nobody_approved(name: str) -> None:
    seed, spoil = SPOILED[name]
    world = open_world()
    assert find_reason(ENVIRONMENT, body(seed), world) is not None
    assert find_reason(ENVIRONMENT, body(seed, spoil), world) is None
    assert not decide(ENVIRONMENT, body(seed, spoil), world)


@pytest.mark.parametrize("name", SPOILED)
def test_a_gate_that_allows_anything_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, spoil = SPOILED[name]

    def lax(_gate: object, raw: bytes, **_options: object) -> Json:
        response = {"uid": json.loads(raw)["request"]["uid"], "allowed": True}
        return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}

    monkeypatch.setattr("tests.fuzz.decision.answer", lax)
    assert decide(ENVIRONMENT, body(seed), open_world())
    with pytest.raises(WrongAllowError):
        decide(ENVIRONMENT, body(seed, spoil), open_world())


@pytest.mark.parametrize("path", ["staging", "development", "production"])
@pytest.mark.parametrize(
    ("name", "home"),
    [("ml-staging", "staging"), ("ml-lab", "development"), ("ml-odd", "production"), ("ml-gone", None)],
)
def test_what_says_of_no_model_comes_in_by_the_path_of_its_namespace_alone(
    path: str, name: str, home: str | None
) -> None:
    def bare(request: Json) -> None:
        move_to(name)(request)
        for part in (request["object"], request["object"]["spec"]["template"]):
            part["metadata"]["labels"].pop("placet.dev/model", None)

    asked = body("create", bare)
    allowed = path == home and path != ENVIRONMENT
    assert (find_reason(path, asked, open_world()) is not None) == allowed
    assert decide(path, asked, open_world()) == allowed


def test_a_key_that_is_given_twice_is_no_reason() -> None:
    twice = body("create").replace(b'"operation": "CREATE"', b'"operation": "DELETE", "operation": "CREATE"')
    assert find_reason(ENVIRONMENT, twice, open_world()) is None
    assert not decide(ENVIRONMENT, twice, open_world())


@pytest.mark.parametrize("message", ["a\x1b[31mb", "a\u202eb", "a\u2028b"])
def test_a_message_that_paints_on_a_terminal_is_found(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def painted(_gate: object, raw: bytes, **_options: object) -> Json:
        status = {"message": message}
        response = {"uid": json.loads(raw)["request"]["uid"], "allowed": False, "status": status}
        return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}

    monkeypatch.setattr("tests.fuzz.decision.answer", painted)
    with pytest.raises(BrokenPromiseError, match="can be shown"):
        decide(ENVIRONMENT, body("create"), open_world())


@pytest.mark.parametrize(
    ("value", "same"),
    [
        ({"containers": [{"name": "a", "env": [{"name": "E", "value": ""}]}]}, True),
        ({"containers": [{"name": "a", "env": [{"name": "E", "valueFrom": {}}]}]}, False),
        ({"containers": [{"name": "a", "env": [{"name": "E"}], "ports": [{"containerPort": 1}], "typo": 1}]}, True),
        ({"containers": [{"name": "a", "env": [{"name": "E"}], "args": [""]}]}, False),
        ({"containers": [{"name": "a", "env": [{"name": "E"}], "stdin": True}], "hostIPC": False}, True),
        ({"containers": [{"name": "a", "env": [{"name": "E"}]}], "hostUsers": False}, False),
        ({"containers": [{"name": "a", "env": [{"name": "E"}]}], "volumes": [{"name": "v"}]}, False),
    ],
)
def test_the_naive_reading_leaves_out_what_the_documents_leave_out_and_no_more(value: Json, same: bool) -> None:
    assert (governed(value) == {"containers": [{"name": "a", "env": [{"name": "E"}]}]}) is same


def test_the_naive_reading_sees_a_sidecar() -> None:
    spec = example()["spec"]["template"]["spec"]
    early = {**spec, "initContainers": [{"name": "i", "image": "x"}]}
    beside = {**spec, "initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always"}]}
    assert content(early, {}) != content(beside, {})
    spec["containers"][0]["restartPolicy"] = "Always"
    assert content(spec, {}) == content(example()["spec"]["template"]["spec"], {})
