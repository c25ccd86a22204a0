"""An approved workload in a request that is not quite its own: nothing of it may pass."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from placet.decide import Deadline
from placet.errors import ReviewError
from tests.simulators.cluster import pod, replica_set, review_of
from tests.simulators.gate import GateDesk, example, review
from webhook.admission import INTERNAL_MESSAGE
from webhook.admission import review as answer_to

Json = dict[str, Any]
ROLES: Final = ("technical", "security", "business", "executive")
SPEC: Final = ("object", "spec", "template", "spec")
SERVER: Final = (*SPEC, "containers", 0)
METADATA: Final = ("object", "metadata")
DIGEST: Final = "8c1f0d7a5b3e4c2d9f6a7b8c1d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6"
IMAGE: Final = "registry.example.com/serving/vllm-openai"


def put(*steps: Any, to: Any) -> Callable[[Json], None]:
    def change(request: Json) -> None:
        place: Any = request
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = to

    return change


def renamed(*steps: Any, to: str) -> Callable[[Json], None]:
    def change(request: Json) -> None:
        place: Any = request
        for step in steps[:-1]:
            place = place[step]
        place[to] = place.pop(steps[-1])

    return change


def both(*changes: Callable[[Json], None]) -> Callable[[Json], None]:
    def change(request: Json) -> None:
        for one in changes:
            one(request)

    return change


def of_kind(group: str, version: str, kind: str) -> Callable[[Json], None]:
    """The request and its object, both of this kind."""
    api_version = f"{group}/{version}" if group else version
    return both(
        put("kind", to={"group": group, "version": version, "kind": kind}),
        put("object", "apiVersion", to=api_version),
        put("object", "kind", to=kind),
    )


def listed(request: Json) -> None:
    """The object inside a list of its kind."""
    request["kind"] = {"group": "", "version": "v1", "kind": "List"}
    request["object"] = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [request["object"]]}


def moved_approval(key: str) -> Callable[[Json], None]:
    def change(request: Json) -> None:
        annotations = request["object"]["metadata"]["annotations"]
        annotations[key] = annotations.pop("placet.dev/approval.security")

    return change


def as_label(request: Json) -> None:
    metadata = request["object"]["metadata"]
    metadata["labels"]["placet.dev/approval.security"] = metadata["annotations"].pop("placet.dev/approval.security")


ODD: dict[str, Callable[[Json], None]] = {
    # kinds and versions
    "apps/v1beta1": of_kind("apps", "v1beta1", "Deployment"),
    "apps/v1beta2": of_kind("apps", "v1beta2", "Deployment"),
    "extensions/v1beta1": of_kind("extensions", "v1beta1", "Deployment"),
    "apps/V1": of_kind("apps", "V1", "Deployment"),
    "another group": of_kind("apps.openshift.io", "v1", "Deployment"),
    "core Deployment": of_kind("", "v1", "Deployment"),
    "DeploymentList": of_kind("apps", "v1", "DeploymentList"),
    "List": listed,
    "deployment": of_kind("apps", "v1", "deployment"),
    "a StatefulSet of the same content": of_kind("apps", "v1", "StatefulSet"),
    "kind of the object alone": put("object", "kind", to="StatefulSet"),
    "kind of the request alone": put("kind", "kind", to="StatefulSet"),
    "group of the request alone": put("kind", "group", to="extensions"),
    "version of the object alone": put("object", "apiVersion", to="apps/v1beta1"),
    # subresources and operations
    **{
        f"subresource {name}": put("subResource", to=name)
        for name in ("status", "binding", "scale", "eviction", "exec")
    },
    **{
        f"subresource {name!r}": put("subResource", to=name)
        for name in ("Resize", "resize/", " ", "ephemeralContainers")
    },
    "CONNECT": put("operation", to="CONNECT"),
    # nothing where something belongs
    "no object": put("object", to=None),
    "no metadata": put(*METADATA, to=None),
    "no spec": put("object", "spec", to=None),
    "no template": put("object", "spec", "template", to=None),
    "no containers": put(*SPEC, "containers", to=[]),
    "a null container": put(*SPEC, "containers", to=[None]),
    "metadata is a list": put(*METADATA, to=[]),
    "spec is text": put("object", "spec", to="x"),
    # names and places
    "another name": put(*METADATA, "name", to="llama-2"),
    "another name in the request": put("name", to="llama-2"),
    "a longer name": both(put(*METADATA, "name", to="llama "), put("name", to="llama ")),
    "another namespace": both(put(*METADATA, "namespace", to="other"), put("namespace", to="other")),
    "another namespace in the request": put("namespace", to="other"),
    "no namespace in the request": put("namespace", to=""),
    "a generated name": both(
        put(*METADATA, "name", to=""), put("name", to=""), put(*METADATA, "generateName", to="llama")
    ),
    "a made name": both(
        put(*METADATA, "name", to="llama-x7k2p"), put("name", to=""), put(*METADATA, "generateName", to="llama-")
    ),
    # spellings of keys and values
    "Containers": renamed(*SPEC, "containers", to="Containers"),
    "a long s": renamed("object", "spec", to="\u017fpec"),
    "a command": put(*SERVER, "command", to=["/bin/sh"]),
    "a word joiner in the image": put(*SERVER, "image", to=f"{IMAGE}\u2060@sha256:{DIGEST}"),
    "unconfined in another case": put(*SPEC, "securityContext", "seccompProfile", "type", to="runtimeDefault"),
    "dns policy in another case": put(*SPEC, "dnsPolicy", to="clusterFirst"),
    # numbers
    "a user beyond 2**53": put(*SERVER, "securityContext", "runAsUser", to=2**53),
    "a user with a fraction": put(*SERVER, "securityContext", "runAsUser", to=0.5),
    "a user as text": put(*SERVER, "securityContext", "runAsUser", to="0"),
    "replicas beyond 2**31": put("object", "spec", "replicas", to=2**31),
    "replicas with an exponent": put("object", "spec", "replicas", to=4e0),
    "replicas of true": put("object", "spec", "replicas", to=True),
    # images
    **{
        f"image {image}": put(*SERVER, "image", to=image)
        for image in (
            f"{IMAGE}:latest",
            f"{IMAGE}:v1@sha256:{DIGEST}",
            f"{IMAGE}@sha256:{DIGEST.upper()}",
            f"{IMAGE}@SHA256:{DIGEST}",
            f"{IMAGE}@sha512:{DIGEST * 2}",
            f"{IMAGE}@sha256:{DIGEST}@sha256:{DIGEST}",
            f"{IMAGE}@sha256:{DIGEST[:-1]}",
            f"{IMAGE.upper()}@sha256:{DIGEST}",
            f"registry.example.com./serving/vllm-openai@sha256:{DIGEST}",
            f"registry.example.com:443/serving/vllm-openai@sha256:{DIGEST}",
            f"docker.io/{IMAGE}@sha256:{DIGEST}",
            f"registry.example.com//serving/vllm-openai@sha256:{DIGEST}",
            f"https://{IMAGE}@sha256:{DIGEST}",
            f" {IMAGE}@sha256:{DIGEST}",
            DIGEST,
        )
    },
    # approvals in odd places
    **{
        f"approval under {key!r}": moved_approval(key)
        for key in (
            "placet.dev/approval.Security",
            "placet.dev/approval.security ",
            "placet.dev/approval.",
            "placet.dev/approval",
            "placet.dev/approvals.security",
            "PLACET.DEV/approval.security",
            "placet.dev//approval.security",
            "x.placet.dev/approval.security",
            "placet.dev/approval.s\u0435curity",
            "placet.dev/approval.executive",
        )
    },
    "approval as a label": as_label,
    # more pods than content
    "an ephemeral container": put(*SPEC, "ephemeralContainers", to=[{"name": "debugger", "image": "busybox:1"}]),
    "a second template": put("object", "spec", "volumeClaimTemplates", to=[{"metadata": {"name": "x"}}]),
}


def approved(desk: GateDesk) -> Json:
    """A request that passes as it is."""
    asked = review(desk.approve(example(), *ROLES))
    assert desk.decide({**asked, "request": {**asked["request"], "dryRun": True}}).allowed
    return json.loads(json.dumps(asked))  # type: ignore[no-any-return]


# Said in a place that means nothing for this kind: the content is the approved one.
HARMLESS: Final = frozenset({"a second template"})


@pytest.mark.parametrize("name", [name for name in ODD if name not in HARMLESS])
def test_an_approved_workload_in_an_odd_request_is_refused_with_a_code(desk: GateDesk, name: str) -> None:
    asked = approved(desk)
    ODD[name](asked["request"])
    decision = desk.decide(asked)
    assert not decision.allowed
    assert all(item.code for item in decision.violations)
    assert decision.violations


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_what_means_nothing_for_the_kind_changes_nothing(desk: GateDesk, name: str) -> None:
    asked = approved(desk)
    ODD[name](asked["request"])
    assert desk.decide(asked).allowed


@pytest.mark.parametrize("name", ["no object", "no metadata", "no spec", "List", "metadata is a list"])
@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
def test_what_is_not_there_crashes_no_update_and_no_delete(desk: GateDesk, name: str, operation: str) -> None:
    asked = approved(desk)
    asked["request"] |= {"operation": operation, "oldObject": copy.deepcopy(asked["request"]["object"])}
    for part in (asked["request"], {"object": asked["request"]["oldObject"], "kind": {}}):
        ODD[name](part)
    asked["request"]["oldObject"] = part["object"]
    decision = desk.decide(asked)
    assert decision.allowed == (operation == "DELETE")


TWICE: Final = [
    (b'"operation": "CREATE"', b'"operation": "DELETE", '),
    (b'"namespace": "ml-serving", "operation"', b'"namespace": "other", '),
    (b'"image": "', b'"image": "busybox", '),
    (b'"args": [', b'"args": ["--never"], '),
    (b'"username": ', b'"username": "dora", '),
    (b'"placet.dev/model": ', b'"placet.dev/model": "x", '),
]


def answer(desk: GateDesk, raw: bytes) -> Json | None:
    """What the webhook answers; None where it is an HTTP 4xx."""
    try:
        response: Json = answer_to(desk.gate, raw, environment="production", deadline=Deadline(30))["response"]
    except ReviewError as error:
        assert 400 <= error.status < 500
        return None
    assert response.get("status", {}).get("message") != INTERNAL_MESSAGE
    return response


@pytest.mark.parametrize(("found", "before"), TWICE)
def test_a_key_that_is_given_twice_at_any_depth_is_not_read(desk: GateDesk, found: bytes, before: bytes) -> None:
    raw = json.dumps(approved(desk)).encode()
    assert raw.count(found) >= 1
    assert answer(desk, raw.replace(found, before + found, 1)) is None
    assert answer(desk, raw) is not None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.decode().encode("utf-16"),
        lambda raw: raw.decode().encode("utf-16-be"),
        lambda raw: raw.decode().encode("utf-32"),
        lambda raw: raw + b"{}",
        lambda raw: raw + b"\0",
        lambda raw: raw + raw,
        lambda raw: b"[" + raw + b"]",
        lambda raw: raw[:-1],
        lambda raw: raw.replace(b'"dryRun": false', b'"dryRun": NaN'),
        lambda raw: raw.replace(b'"dryRun": false', b'"dryRun": false,'),
        lambda raw: raw.replace(b'"dryRun": false', b'"dryRun": "false"'),
        lambda raw: raw.replace(b'"dryRun": false', b'"dryRun": false, // x\n"x": 1'),
        lambda raw: raw.replace(b'"dryRun": false', b'"x": "\\ud800"'),
        lambda raw: raw.replace(b'"dryRun": false', b'"x": "\xc3\x28"'),
        lambda raw: raw.replace(b'"dryRun": false', b'"x": ' + b"[" * 200 + b"]" * 200),
        lambda raw: raw.replace(b'"dryRun": false', b'"x": ' + b"9" * 5000),
        lambda raw: raw.replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"),
        lambda raw: raw.replace(b'"AdmissionReview"', b'"admissionreview"'),
    ],
)
def test_bytes_that_two_readers_could_read_in_two_ways_are_not_read(
    desk: GateDesk, spoil: Callable[[bytes], bytes]
) -> None:
    raw = json.dumps(approved(desk)).encode()
    assert spoil(raw) != raw
    assert answer(desk, spoil(raw)) is None


@pytest.mark.parametrize("subresource", ["ephemeralcontainers", "resize", ""])
def test_debugging_a_pod_of_an_approved_workload_is_a_change_of_it(desk: GateDesk, subresource: str) -> None:
    made = replica_set({**desk.approve(example(), *ROLES)})
    made["metadata"]["uid"] = "1"
    running = pod(made)
    debugged = copy.deepcopy(running)
    debugged["spec"]["ephemeralContainers"] = [
        {"name": "debugger", "image": "busybox", "targetContainerName": "server"}
    ]
    refused = desk.decide(review_of(debugged, old=running, subresource=subresource))
    assert (refused.allowed, refused.change) == (False, "changed")
    resized = copy.deepcopy(running)
    resized["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    assert desk.decide(review_of(resized, old=running, subresource=subresource)).change == "unchanged"
