"""``placet audit show``: what a decision of the gate rests on, as a person reads it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from placet.cli import root
from placet.decision import Decision
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from placet.record import render_time
from tests.simulators.cluster import ObjectStore, pod, replica_set, review_of, scale_review
from tests.simulators.gate import GateDesk, example, review

ROLES = ("technical", "security", "business", "executive")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    opened = EmbeddedEngine.default(load_policy_data(None))
    yield opened
    opened.close()


@pytest.fixture
def store() -> ObjectStore:
    return ObjectStore()


@pytest.fixture
def desk(tmp_path: Path, engine: EmbeddedEngine, store: ObjectStore) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path, engine=engine, parents=store)
    yield opened
    opened.log.close()


def admit(desk: GateDesk, manifest: Json, *, old: Json | None = None) -> tuple[Json, Decision]:
    signed = desk.approve(manifest, *ROLES)
    decision = desk.decide(review(signed, old=old))
    assert decision.allowed, decision.violations
    return signed, decision


def shown(decision: Decision, folder: Path, *titles: str) -> list[str]:
    """Lines of ``audit show`` under these titles."""
    result = CliRunner().invoke(
        root, ["audit", "show", decision.decision_id, "--store", str(folder / "record.sqlite")], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return [line for line in result.stdout.splitlines() if line.split(" ")[0] in titles]


ORIGIN = ("change", "parent", "precedent")


def rests_on(decision: Decision) -> str:
    assert decision.findings is not None
    level = decision.findings.assessment.level
    return f"precedent    decision {decision.decision_id} of {render_time(decision.time)}, approved at risk {level}"


def test_what_is_new_rests_on_nothing_before_it(desk: GateDesk, tmp_path: Path) -> None:
    _, decision = admit(desk, example())
    assert shown(decision, tmp_path, *ORIGIN) == ["change       new"]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("staging", 'namespace    belongs to staging, label "staging"'),
        (None, "namespace    belongs to production, label none"),
        ("", 'namespace    belongs to production, label ""'),
    ],
)
def test_a_wrong_path_is_shown_with_where_the_namespace_belongs(
    desk: GateDesk, tmp_path: Path, label: str | None, said: str
) -> None:
    desk.spaces.put(example()["metadata"]["namespace"], label)
    decision = desk.decide(review(example()), environment="development")
    lines = shown(decision, tmp_path, "environment", "namespace", "violation")
    assert lines[0].startswith("environment  development, ")
    assert lines[1:] == [said, "violation    gate.environment: environment_disagrees"]


def test_a_child_has_its_parents_nearest_first_and_its_precedent(
    desk: GateDesk, store: ObjectStore, tmp_path: Path
) -> None:
    signed, admitted = admit(desk, example())
    made = store.put(replica_set(store.put(signed)))
    decision = desk.decide(review_of(pod(made)))
    assert decision.change == "child"
    assert shown(decision, tmp_path, *ORIGIN) == [
        "change       child",
        f"parent       ReplicaSet/{made['metadata']['name']}",
        "parent       Deployment/llama",
        rests_on(admitted),
    ]


def test_a_rollback_has_the_decision_that_it_goes_back_to(desk: GateDesk, tmp_path: Path) -> None:
    first, admitted = admit(desk, example())
    changed = copy.deepcopy(example())
    changed["spec"]["template"]["spec"]["containers"][0]["args"].append("--seed=2")
    second, _ = admit(desk, changed, old=first)
    desk.desk.now = desk.desk.now.replace(year=2027, month=6)  # every approval has expired
    decision = desk.decide(review(first, old=second))
    assert decision.change == "rollback"
    assert shown(decision, tmp_path, *ORIGIN) == ["change       rollback", rests_on(admitted)]


@pytest.mark.parametrize(
    ("replicas", "change"),
    [(9, "scaled, more replicas than before"), (1, "unchanged, fewer replicas than before")],
)
def test_a_scale_says_in_which_direction(
    desk: GateDesk, store: ObjectStore, tmp_path: Path, replicas: int, change: str
) -> None:
    manifest = example()
    manifest["spec"]["replicas"] = 4
    signed, admitted = admit(desk, manifest)
    decision = desk.decide(scale_review(store.put(signed), replicas))
    expected = [f"change       {change}"] + ([rests_on(admitted)] if decision.change == "scaled" else [])
    assert shown(decision, tmp_path, *ORIGIN) == expected


def test_what_was_refused_as_a_child_rests_on_nothing(desk: GateDesk, store: ObjectStore, tmp_path: Path) -> None:
    parent = store.put(replica_set(store.put(example())))
    decision = desk.decide(review_of(pod(parent)))
    assert not decision.allowed
    assert shown(decision, tmp_path, *ORIGIN) == ["change       new"]
