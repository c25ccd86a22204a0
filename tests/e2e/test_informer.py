"""The memory of parents on a real API server: rights, a restart, compacted versions, and the gate behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from placet.apiserver import ApiServer
from placet.informer.events import GONE, LostTrack
from placet.informer.informer import Informer
from placet.informer.source import KubernetesSource
from placet.parents import KubernetesParents
from tests.e2e.controlplane import START_TIMEOUT_S, ControlPlane
from tests.e2e.processes import poll_until

NAMESPACE = "ml-serving"
WATCHER, STRANGER = "placet-gate", "placet-without-rights"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
PATIENCE_S = 60.0
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "placet-informer"},
    "rules": [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["list", "watch"]},
    ],
}


def deployment(name: str) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "example.com/c"}]},
    }
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as opened:
        opened.create_namespace(NAMESPACE)
        for user in (WATCHER, STRANGER):
            opened.kubeconfig_for(user)
        opened.kubectl("apply", "-f", "-", stdin=json.dumps(ROLE))
        opened.kubectl("create", "clusterrolebinding", WATCHER, "--clusterrole=placet-informer", f"--user={WATCHER}")
        yield opened


@pytest.fixture
def informer(plane: ControlPlane) -> Iterator[Informer]:
    opened = Informer(str(plane.kubeconfig_path(WATCHER)), max_age_s=15.0)
    opened.start()
    yield opened
    opened.stop()


def find(informer: Informer, name: str) -> Any:
    found = informer.find(api_version="apps/v1", kind="Deployment", namespace=NAMESPACE, name=name, timeout_s=1.0)
    return None if found is None else found["metadata"]["uid"]


def wait_for(what: str, holds: Callable[[], bool], informer: Informer) -> None:
    assert poll_until(holds, PATIENCE_S), f"{what}: {informer.standings()}"


def is_fresh(informer: Informer) -> bool:
    return all(one.age_s <= informer.max_age_s for one in informer.standings())


def test_what_is_remembered_follows_what_is_stored(plane: ControlPlane, informer: Informer) -> None:
    wait_for("a first list", lambda: is_fresh(informer), informer)
    first = plane.api.create(DEPLOYMENTS, deployment("followed"))["metadata"]["uid"]
    wait_for("a new one", lambda: find(informer, "followed") == first, informer)
    plane.kubectl("delete", "deployment", "followed", "-n", NAMESPACE)
    wait_for("none", lambda: find(informer, "followed") is None and is_fresh(informer), informer)
    second = plane.api.create(DEPLOYMENTS, deployment("followed"))["metadata"]["uid"]
    wait_for("another of that name", lambda: find(informer, "followed") == second, informer)
    assert second != first


def test_a_quiet_kind_grows_younger_by_bookmarks_alone(informer: Informer) -> None:
    wait_for("a first list", lambda: is_fresh(informer), informer)

    def proven() -> list[float]:
        return [informer._clock_s() - one.age_s for one in informer.standings()]

    before = proven()
    listed = [one.bytes for one in informer.standings()]
    wait_for("a proof of each", lambda: all(now > then for now, then in zip(proven(), before, strict=True)), informer)
    assert [one.bytes for one in informer.standings()] == listed
    assert [one.problem for one in informer.standings()] == ["", ""]


def test_without_the_right_nothing_is_remembered_and_the_right_is_named(plane: ControlPlane) -> None:
    informer = Informer(str(plane.kubeconfig_path(STRANGER)), max_age_s=15.0)
    informer.start()
    try:
        wait_for("a refusal", lambda: all("403" in one.problem for one in informer.standings()), informer)
        assert [one.listed for one in informer.standings()] == [False, False]
    finally:
        informer.stop()


def test_a_window_of_a_quiet_kind_ends_with_a_bookmark(plane: ControlPlane) -> None:
    """The memory's age in a quiet cluster rests on this."""
    source = KubernetesSource(ApiServer(str(plane.kubeconfig_path(WATCHER))), "batch/v1", "cronjobs")
    start = str(source.newest())
    plane.create_namespace("of-another-kind")
    newest = str(source.newest())
    assert int(newest) > int(start)
    *_, mark = source.watch(start, window_s=5)
    assert mark.type == "BOOKMARK"
    assert int(mark.object["metadata"]["resourceVersion"]) >= int(newest)


def test_a_list_of_many_is_read_in_pages_of_one_version(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("placet.informer.source.PAGE", 2)
    for number in range(5):
        plane.api.create(DEPLOYMENTS, deployment(f"paged-{number}"))
    source = KubernetesSource(ApiServer(str(plane.kubeconfig_path(WATCHER))), "apps/v1", "deployments")
    taken: list[Any] = []
    version = source.list_all(taken.append)
    assert int(str(version)) > 0
    names = [item["metadata"]["name"] for item in taken]
    assert {f"paged-{number}" for number in range(5)} <= set(names)
    assert len(names) == len(set(names))


def test_a_restart_of_the_api_server_is_noticed_survived_and_nothing_counts_meanwhile(
    plane: ControlPlane, informer: Informer
) -> None:
    uid = plane.api.create(DEPLOYMENTS, deployment("survivor"))["metadata"]["uid"]
    wait_for("a new one", lambda: find(informer, "survivor") == uid, informer)
    old = str(KubernetesSource(ApiServer(str(plane.kubeconfig_path(WATCHER))), "apps/v1", "deployments").newest())
    plane.api.create(DEPLOYMENTS, deployment("later"))
    plane.stop_apiserver()
    wait_for("doubt", lambda: all(one.problem for one in informer.standings()), informer)
    assert find(informer, "survivor") is None
    plane.start_apiserver(START_TIMEOUT_S)
    plane.kubectl("delete", "deployment", "survivor", "-n", NAMESPACE)
    again = plane.api.create(DEPLOYMENTS, deployment("survivor"))["metadata"]["uid"]
    wait_for("the one of now", lambda: find(informer, "survivor") == again, informer)
    asked = KubernetesParents(str(plane.kubeconfig_path(WATCHER))).find(
        api_version="apps/v1", kind="Deployment", namespace=NAMESPACE, name="survivor", timeout_s=5.0
    )
    assert asked is not None
    assert asked["metadata"]["uid"] == again
    # The new process has forgotten what was before it: a watch from there is told that it can't be, with 410.
    source = KubernetesSource(ApiServer(str(plane.kubeconfig_path(WATCHER))), "apps/v1", "deployments")
    with pytest.raises(LostTrack) as caught:
        list(source.watch(old, window_s=3))
    assert caught.value.code == GONE
