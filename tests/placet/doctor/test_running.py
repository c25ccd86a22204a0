"""What runs and would be refused, and how long the keyring holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from placet.doctor.reading import Reader
from placet.doctor.running import check_keyring, check_running, load_running
from placet.errors import KeyringError
from tests.placet.doctor.samples import NOW, FakeApi

PLURALS = {("apps", "Deployment"): "deployments", ("", "Pod"): "pods"}


def workload(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ml", "managedFields": [1], **more.pop("metadata", {})}, **more}


def owned(kind: str, api_version: str, *, controller: bool = True) -> dict[str, Any]:
    owner = {"apiVersion": api_version, "kind": kind, "controller": controller}
    return {"ownerReferences": [owner]}


def reader(**more: Any) -> Reader:
    answers: dict[str, Any] = {
        "/apis/apps/v1/deployments?limit=500": {"items": [workload("llama"), workload("mistral")]},
        "/api/v1/pods?limit=500": {
            "items": [
                workload("alone"),
                workload("made", metadata=owned("ReplicaSet", "apps/v1")),
                workload("claimed", metadata=owned("ReplicaSet", "apps/v1", controller=False)),
                workload("foreign", metadata=owned("Rollout", "example.com/v1")),
                workload("done", status={"phase": "Succeeded"}),
            ]
        },
    }
    return Reader(FakeApi(answers | more))


def test_what_is_judged_through_its_parent_or_has_ended_is_left_out() -> None:
    found, unread = load_running(reader(), PLURALS)
    names = [one.shown for one in found]
    assert unread == []
    assert sorted(names) == [
        "Deployment/llama in ml",
        "Deployment/mistral in ml",
        "Pod/alone in ml",
        "Pod/claimed in ml",
        "Pod/foreign in ml",
    ]
    assert all("managedFields" not in one.value["metadata"] for one in found)
    assert {(one.value["apiVersion"], one.value["kind"]) for one in found} == {("apps/v1", "Deployment"), ("v1", "Pod")}


def test_what_may_not_be_read_is_said() -> None:
    found, unread = load_running(reader(**{"/api/v1/pods?limit=500": None}), PLURALS)
    assert len(found) == 2
    assert [one.where for one in unread] == ["pods"]


class Judge:
    """Refuses those of one name."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.asked: list[tuple[str, str]] = []

    def decide(self, request: Any, *, environment: str, deadline: Any) -> Any:
        self.asked.append((request.name, environment))
        violation = SimpleNamespace(rule="approvals.required", code="role_missing")
        allowed = request.name not in self.refused
        return SimpleNamespace(allowed=allowed, violations=() if allowed else (violation, violation))


def examine(judge: Judge, environments: dict[str, str]) -> tuple[list[str], list[tuple[int, int]]]:
    workloads, _ = load_running(reader(), PLURALS)
    steps: list[tuple[int, int]] = []
    found = check_running(workloads, environments, judge, lambda done, total: steps.append((done, total)))
    return [f"{one.where}: {one.sentence}" for one in found], steps


def test_refusals_are_counted_by_environment_and_named() -> None:
    said, steps = examine(Judge("llama"), {"ml": "production"})
    assert said == [
        "environment production: 1 of 5 workloads: Deployment/llama in ml (approvals.required/role_missing)"
    ]
    assert steps == [(number, 5) for number in range(1, 6)]


def test_the_first_few_are_named_and_the_rest_counted() -> None:
    many = {"items": [workload(f"pod-{number}") for number in range(8)]}
    workloads, _ = load_running(reader(**{"/api/v1/pods?limit=500": many}), PLURALS)
    judge = Judge(*(f"pod-{number}" for number in range(8)))
    (found,) = check_running(workloads, {"ml": "production"}, judge, lambda *_: None)
    assert found.sentence.startswith("8 of 10 workloads: ")
    assert found.sentence.endswith("; and 3 more")


def test_nothing_is_said_where_all_would_be_admitted_or_nobody_judges() -> None:
    assert examine(Judge(), {"ml": "production"})[0] == []
    judge = Judge("llama")
    assert examine(judge, {"other": "production"})[0] == []
    assert judge.asked == []


class Keys:
    def __init__(self, expires: datetime | None) -> None:
        self.expires = expires

    def load(self, now: datetime) -> Any:
        if self.expires is None:
            raise KeyringError("the keyring expired 3 days ago", code="keyring_expired")
        return SimpleNamespace(version=3, expires=self.expires), None


def test_the_end_of_the_keyring_is_said_in_time() -> None:
    assert list(check_keyring(Keys(NOW + timedelta(days=90)), NOW)) == []
    (soon,) = check_keyring(Keys(datetime(2026, 12, 1, tzinfo=UTC)), NOW)
    assert (soon.code, soon.sentence) == ("keyring_expires", "it expires on 2026-12-01")
    (unusable,) = check_keyring(Keys(None), NOW)
    assert unusable.code == "keyring_unusable"
