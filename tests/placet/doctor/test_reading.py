"""What may not be read is a value that says so, never an empty list."""

from __future__ import annotations

from typing import Any

import pytest

from placet.doctor.reading import Reader, Resource
from placet.doctor.served import load_served
from tests.placet.doctor.samples import FakeApi

PODS = Resource("/api/v1", "pods", "it is not known")


def test_every_page_is_read() -> None:
    api = FakeApi(
        {
            "/api/v1/pods?limit=500": {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "x/="}},
            "/api/v1/pods?limit=500&continue=x%2F%3D": {"items": [{"metadata": {"name": "b"}}], "metadata": {}},
        }
    )
    listing = Reader(api).load_all(PODS)
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert list(listing.unread()) == []


def test_a_page_that_is_refused_leaves_nothing_of_the_ones_before() -> None:
    api = FakeApi(
        {
            "/api/v1/pods?limit=500": {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "x"}},
            "/api/v1/pods?limit=500&continue=x": None,
        }
    )
    listing = Reader(api).load_all(PODS)
    assert listing.items == ()
    (finding,) = listing.unread()
    assert finding.severity == "unknown"
    assert "it needs the verb list on pods" in finding.sentence


@pytest.mark.parametrize("answer", [{}, {"items": None}, {"items": "x"}, {"items": [1]}])
def test_an_answer_that_is_no_list_is_not_an_empty_one(answer: Any) -> None:
    assert Reader(FakeApi({"/api/v1/pods?limit=500": answer})).load_all(PODS).fault


def test_a_list_without_an_end_is_given_up() -> None:
    page = {"items": [], "metadata": {"continue": "x"}}
    api = FakeApi({"/api/v1/pods?limit=500": page, "/api/v1/pods?limit=500&continue=x": page})
    assert "no end" in Reader(api).load_all(PODS).fault


def test_an_api_that_is_not_served_has_no_objects() -> None:
    assert Reader(FakeApi({})).load_all(PODS).fault == ""


PLAIN = ("statefulsets.apps", "daemonsets.apps", "replicasets.apps", "cronjobs.batch", "replicationcontrollers")
RC = {"name": "replicationcontrollers", "kind": "ReplicationController"}


def discovery(**more: Any) -> FakeApi:
    apps = [
        {"name": "deployments", "kind": "Deployment"},
        *({"name": f"{kind.lower()}s", "kind": kind} for kind in ("StatefulSet", "DaemonSet", "ReplicaSet")),
        {"name": "deployments/scale", "kind": "Scale"},
        {"name": "deployments/status", "kind": "Deployment"},
        {"name": "controllerrevisions", "kind": "ControllerRevision"},
    ]
    pods = [
        {"name": name, "kind": "Pod"} for name in ("pods", "pods/ephemeralcontainers", "pods/resize", "pods/status")
    ]
    return FakeApi(
        {
            "/api": {"versions": ["v1"]},
            "/api/v1": {"resources": [*pods, RC, {"name": "pods/exec", "kind": "PodExecOptions"}]},
            "/apis/apps": {"versions": [{"version": "v1"}, {"version": "v2"}]},
            "/apis/apps/v1": {"resources": apps},
            "/apis/apps/v2": {"resources": apps[:1]},
            "/apis/batch": {"versions": [{"version": "v1"}]},
            "/apis/batch/v1": {"resources": [{"name": "jobs", "kind": "Job"}, {"name": "cronjobs", "kind": "CronJob"}]},
            **more,
        }
    )


def test_what_is_asked_is_what_the_gate_judges_of_what_the_cluster_serves() -> None:
    served = load_served(Reader(discovery()))
    assert served.unread == []
    shown = {one.shown: list(versions) for one, versions in served.asked.items()}
    plain = {f"{verb} {name}" for verb in ("CREATE", "UPDATE") for name in PLAIN}
    assert {name: versions for name, versions in shown.items() if name not in plain} == {
        "CREATE pods": ["v1"],
        "UPDATE pods": ["v1"],
        "UPDATE pods/ephemeralcontainers": ["v1"],
        "UPDATE pods/resize": ["v1"],
        "CREATE deployments.apps": ["v1", "v2"],
        "UPDATE deployments.apps": ["v1", "v2"],
        "UPDATE deployments/scale.apps": ["v1"],
        "CREATE jobs.batch": ["v1"],
        "UPDATE jobs.batch": ["v1"],
    }
    assert all(shown[name] == ["v1"] for name in plain)
    assert served.plurals["apps", "Deployment"] == "deployments"


def test_a_group_that_can_not_be_asked_leaves_everything_unknown() -> None:
    for path, answer in (("/apis/apps", None), ("/apis/apps", {}), ("/apis/apps/v1", None), ("/apis/batch/v1", {})):
        served = load_served(Reader(discovery(**{path: answer})))
        assert served.asked == {}
        assert [one.severity for one in served.unread] == ["unknown"]
