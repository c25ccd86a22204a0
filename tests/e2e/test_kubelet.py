"""The kubelet of the tests does what a kubelet does where tests rest on it: it does not give up, and keeps modes."""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.apiclient import ControlPlaneError
from tests.e2e.controlplane import ControlPlane
from tests.e2e.kubelet import Kubelet
from tests.e2e.podfiles import MountError, PodFiles
from tests.e2e.processes import poll_until

NAMESPACE = "placet-system"
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
REFUSALS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
NOBODY = "nobody.placet.dev"
WAIT_S = 30


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        plane.create_namespace(NAMESPACE)
        plane.api.create(f"/api/v1/namespaces/{NAMESPACE}/secrets", {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
            "data": {name: base64.b64encode(name.encode()).decode() for name in ("log.key", "log.pub")},
        })  # fmt: skip
        plane.api.create(f"/api/v1/namespaces/{NAMESPACE}/configmaps", {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
            "data": {"placet.yaml": "a: 1\n"},
        })  # fmt: skip
        yield plane


@pytest.fixture
def claim(plane: ControlPlane) -> str:
    """A claim that the kubelet wants to make a volume for; gives the volume's path."""
    made = plane.api.create(CLAIMS, {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"generateName": "record-"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    })  # fmt: skip
    return f"{VOLUMES}/{made['metadata']['uid']}"


@pytest.fixture
def refusing(plane: ControlPlane) -> Iterator[ControlPlane]:
    """An API server that answers 500 to whoever makes a volume, as long as the configuration is there."""
    webhook: dict[str, Any] = {
        "name": NOBODY, "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Fail", "timeoutSeconds": 1,
        "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                   "resources": ["persistentvolumes"]}],
    }  # fmt: skip
    plane.api.create(REFUSALS, {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "nobody"}, "webhooks": [webhook],
    })  # fmt: skip
    assert poll_until(lambda: makes_a_volume(plane) == 500, WAIT_S)
    yield plane
    plane.api.request("DELETE", f"{REFUSALS}/nobody")


def makes_a_volume(plane: ControlPlane) -> int:
    """The status of a create that only tries."""
    volume = {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "tried"},
        "spec": {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/tried"}},  # noqa: S108
    }  # fmt: skip
    return plane.api.request("POST", f"{VOLUMES}?dryRun=All", volume)[0]


def test_it_goes_on_when_calls_that_failed_for_a_while_succeed_again(refusing: ControlPlane, claim: str) -> None:
    with Kubelet(refusing, NAMESPACE, images={}) as kubelet:
        before = refusing.api.webhook_calls(NOBODY)
        assert poll_until(lambda: refusing.api.webhook_calls(NOBODY) >= before + 3, WAIT_S)
        assert kubelet.failure is None
        refusing.api.delete(f"{REFUSALS}/nobody")
        assert poll_until(lambda: refusing.api.exists(claim), WAIT_S)
        assert kubelet.failure is None


def test_it_gives_up_and_says_why_when_calls_go_on_failing(refusing: ControlPlane, claim: str) -> None:
    with (
        pytest.raises(ControlPlaneError, match="persistentvolumes answered 500"),
        Kubelet(refusing, NAMESPACE, images={}, patience_s=0.5) as kubelet,
    ):
        assert poll_until(lambda: kubelet.failure is not None, WAIT_S)
    assert not refusing.api.exists(claim)


def files_of(plane: ControlPlane, folder: Path, volume: dict[str, Any], *, group: int | None = None) -> PodFiles:
    """The files of a Pod with one volume at /mounted."""
    pod = {
        "metadata": {"name": "pod", "namespace": NAMESPACE, "uid": "1"},
        "spec": {
            "containers": [{"name": "only", "volumeMounts": [{"name": "only", "mountPath": "/mounted"}]}],
            "volumes": [{"name": "only", **volume}],
            "securityContext": {} if group is None else {"fsGroup": group},
        },
    }
    return PodFiles(plane.api, pod, folder / "root", folder / "claims", {})


SECRET = {"secretName": "keys"}
PROJECTED = {"sources": [{"secret": {"name": "keys"}}, {"configMap": {"name": "settings"}}]}
ONE_ITEM = [{"key": "log.key", "path": "log.key", "mode": 0o400}, {"key": "log.pub", "path": "log.pub"}]


@pytest.mark.parametrize(
    ("volume", "group", "modes"),
    [
        ({"secret": SECRET}, None, {"log.key": 0o644, "log.pub": 0o644}),
        ({"secret": {**SECRET, "defaultMode": 0o400}}, None, {"log.key": 0o400, "log.pub": 0o400}),
        ({"secret": {**SECRET, "defaultMode": 0o400}}, 65532, {"log.key": 0o440, "log.pub": 0o440}),
        ({"secret": {**SECRET, "items": ONE_ITEM}}, None, {"log.key": 0o400, "log.pub": 0o644}),
        ({"configMap": {"name": "settings", "defaultMode": 0o440}}, None, {"placet.yaml": 0o440}),
        ({"projected": PROJECTED}, None, {"log.key": 0o644, "placet.yaml": 0o644}),
        ({"projected": {**PROJECTED, "defaultMode": 0o440}}, 65532, {"log.key": 0o440, "placet.yaml": 0o440}),
    ],
)
def test_files_have_the_mode_that_the_volume_asks_for(
    plane: ControlPlane, tmp_path: Path, volume: dict[str, Any], group: int | None, modes: dict[str, int]
) -> None:
    files = files_of(plane, tmp_path, volume, group=group)
    files.sync()
    for name, mode in modes.items():
        assert stat.S_IMODE((files.path("/mounted") / name).stat().st_mode) == mode, name


def test_a_changed_mode_is_a_changed_file(plane: ControlPlane, tmp_path: Path) -> None:
    volume: dict[str, Any] = {"secret": {**SECRET, "defaultMode": 0o400}}
    files = files_of(plane, tmp_path, volume)
    files.sync()
    before = (files.path("/mounted") / "..data").readlink()
    files.sync()
    assert (files.path("/mounted") / "..data").readlink() == before
    volume["secret"]["defaultMode"] = 0o440
    files.sync()
    assert stat.S_IMODE((files.path("/mounted") / "log.key").stat().st_mode) == 0o440


def test_a_missing_object_is_trouble_and_an_optional_one_is_none(plane: ControlPlane, tmp_path: Path) -> None:
    absent: dict[str, Any] = {"secretName": "absent"}
    with pytest.raises(MountError, match='secret "absent" not found'):
        files_of(plane, tmp_path, {"secret": absent}).sync()
    files = files_of(plane, tmp_path, {"secret": {**absent, "optional": True}})
    files.sync()
    assert [entry.name for entry in files.path("/mounted").iterdir() if not entry.name.startswith("..")] == []
