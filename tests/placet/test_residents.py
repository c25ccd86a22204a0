"""Counting what runs in a namespace: each workload once, and never none where it is not certain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from placet.apiserver import ClusterUnavailable
from placet.residents import LISTED, Count, KubernetesResidents
from tests.simulators.answers import Server, found, reply


def listed(*owners: dict[str, Any] | None, more: str = "") -> dict[str, Any]:
    """What the API server answers: an object for each owner, None for one without."""
    items = [{"metadata": {"name": "x", **({} if one is None else {"ownerReferences": [one]})}} for one in owners]
    metadata = {"resourceVersion": "216", **({"continue": more} if more else {})}
    return {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items}


EMPTY = {**listed(), "items": None}  # as a real API server writes it


def owner(api_version: str, kind: str, *, controller: bool = True) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "name": "x", "uid": "u", "controller": controller}


@pytest.fixture
def residents(kubeconfig: str) -> KubernetesResidents:
    return KubernetesResidents(kubeconfig)


def count(residents: KubernetesResidents, *, seconds: float = 5.0) -> Count:
    return residents.count("ml", time_left_s=lambda: seconds)


def test_an_empty_namespace_has_none_and_every_kind_was_asked_for(
    server: Server,
    residents: KubernetesResidents,
) -> None:
    server.answers = [found(EMPTY)]
    assert count(residents).none
    assert [path.rpartition("/")[2] for path in server.asked] == [f"{name}?limit=500" for name in LISTED.values()]
    assert all("/namespaces/ml/" in path for path in server.asked)


def test_what_a_listed_controller_made_is_counted_with_it_and_the_rest_by_itself(
    server: Server,
    residents: KubernetesResidents,
) -> None:
    made = owner("apps/v1", "ReplicaSet")
    foreign, mere = owner("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"), owner("v1", "Pod", controller=False)
    server.answers = [found(EMPTY), found(listed(None, made, made)), found(listed(foreign, mere)), found(EMPTY)]
    assert count(residents) == Count(3)


def test_a_list_that_goes_on_makes_it_at_least(server: Server, residents: KubernetesResidents) -> None:
    server.answers = [found(listed(owner("apps/v1", "ReplicaSet"), more="token")), found(EMPTY)]
    counted = count(residents)
    assert (counted, counted.none, counted.shown) == (Count(0, more=True), False, "at least 0 workloads")


@pytest.mark.parametrize(
    "answer",
    [
        reply(403, b"{}"),
        reply(404, b"{}"),
        reply(200, b"["),
        found({"kind": "PodList", "items": []}),
        found({**EMPTY, "items": {"a": 1}}),
        found({**EMPTY, "items": ["x"]}),
    ],
)
def test_what_is_no_list_is_never_an_empty_namespace(
    server: Server,
    residents: KubernetesResidents,
    answer: Any,
) -> None:
    server.answers = [found(EMPTY), answer]
    with pytest.raises(ClusterUnavailable):
        count(residents)


def test_without_time_nobody_is_asked(server: Server, residents: KubernetesResidents) -> None:
    with pytest.raises(ClusterUnavailable):
        count(residents, seconds=0)
    assert server.asked == []


def test_no_name_reaches_another_path(server: Server, residents: KubernetesResidents) -> None:
    server.answers = [found(EMPTY)]
    residents.count("../../x?y", time_left_s=lambda: 5.0)
    assert all(path.count("/namespaces/..%2F..%2Fx%3Fy/") == 1 for path in server.asked)
    assert json.dumps(server.asked).count("?y") == 0
    assert Path(server.asked[0]).parts[1] == "api"
