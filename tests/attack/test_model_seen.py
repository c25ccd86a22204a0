"""What makes a model count as having run before, and what only looks like it: a model that is seen scores less."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from tests.simulators.gate import GateDesk, example, review

ALL_ROLES = ("technical", "security", "business", "executive")
LABEL = "placet.dev/model"
MARK = {"deletionTimestamp": "2026-11-22T12:00:00Z"}


@contextmanager
def desk_with(folder: Path, operator_data: str) -> Iterator[GateDesk]:
    """A desk whose policy data has the operator's changes; the record in the folder stays from one to the next."""
    file = folder / "data.yaml"
    file.write_text(operator_data, encoding="utf-8")
    data = load_policy_data(file)
    engine = EmbeddedEngine.default(data)
    desk = GateDesk.open(folder, data=data, engine=engine)
    yield desk
    desk.log.close()
    engine.close()


def score(desk: GateDesk, manifest: dict[str, Any]) -> int:
    """What a new workload with the same model would score now."""
    decision = desk.decide(review(manifest, dry_run=True))
    assert decision.findings is not None
    return decision.findings.assessment.score


def recorded(desk: GateDesk, asked: dict[str, Any]) -> bool:
    """Send a review that is allowed; what its record says about approval."""
    decision = desk.decide(asked)
    assert decision.allowed
    assert decision.recorded is not None
    approved = decision.recorded.leaf["approved"]
    assert isinstance(approved, bool)
    return approved


def unlabelled() -> dict[str, Any]:
    manifest = example()
    for part in (manifest, manifest["spec"]["template"]):
        part["metadata"].get("labels", {}).pop(LABEL, None)
    return manifest


def marked(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest | {"metadata": manifest["metadata"] | MARK}


def test_an_approved_create_makes_its_model_seen(desk: GateDesk) -> None:
    before = score(desk, example())
    assert recorded(desk, review(desk.approve(example(), *ALL_ROLES)))
    assert score(desk, example()) <= before - 60


def test_an_approved_change_makes_its_model_seen(desk: GateDesk) -> None:
    before = score(desk, example())
    changed = example()
    changed["spec"]["template"]["spec"]["containers"][0]["args"].append("--seed=1")
    assert recorded(desk, review(desk.approve(changed, *ALL_ROLES), old=example()))
    assert score(desk, example()) < before


def test_an_approved_create_makes_no_other_model_seen(desk: GateDesk) -> None:
    other = example()
    other["metadata"]["labels"][LABEL] = "another-model"
    other["spec"]["template"]["metadata"]["labels"].pop(LABEL, None)
    before = score(desk, other)
    assert recorded(desk, review(desk.approve(example(), *ALL_ROLES)))
    assert score(desk, other) == before


def touched(manifest: dict[str, Any]) -> None:
    manifest["metadata"]["labels"]["team"] = "serving"


def scaled_down(manifest: dict[str, Any]) -> None:
    manifest["spec"]["replicas"] = 1


@pytest.mark.parametrize("change", [touched, scaled_down])
@pytest.mark.parametrize("roles", [(), ALL_ROLES[1:]], ids=["bare", "half-approved"])
def test_an_update_that_needed_no_approval_makes_no_model_seen(
    desk: GateDesk, change: Callable[[dict[str, Any]], None], roles: tuple[str, ...]
) -> None:
    before = score(desk, example())
    # The gate never saw the old object come in: whoever can send a review can make one up.
    old = desk.approve(example(), *roles)
    new = copy.deepcopy(old)
    change(new)
    assert not recorded(desk, review(new, old=old))
    assert score(desk, example()) == before


@pytest.mark.parametrize("change", [touched, scaled_down])
def test_what_runs_and_is_approved_while_it_runs_makes_its_model_seen(
    desk: GateDesk, change: Callable[[dict[str, Any]], None]
) -> None:
    # Every approval was verified now, as for a create: whatever the old object was, people agreed to this.
    new = desk.approve(example(), *ALL_ROLES)
    change(new)
    before = score(desk, example())
    assert recorded(desk, review(new, old=example()))
    assert score(desk, example()) < before


def test_the_last_update_of_what_is_deleted_makes_no_model_seen(desk: GateDesk) -> None:
    before = score(desk, example())
    assert not recorded(desk, review(marked(example()), old=marked(example())))
    assert score(desk, example()) == before


def test_a_deletion_makes_no_model_seen(desk: GateDesk) -> None:
    before = score(desk, example())
    asked = review(example(), operation="DELETE")
    asked["request"]["oldObject"], asked["request"]["object"] = asked["request"]["object"], None
    assert not recorded(desk, asked)
    assert score(desk, example()) == before


def test_a_dry_run_makes_no_model_seen(desk: GateDesk) -> None:
    before = score(desk, example())
    assert desk.decide(review(desk.approve(example(), *ALL_ROLES), dry_run=True)).allowed
    assert score(desk, example()) == before


def test_a_denial_makes_no_model_seen(desk: GateDesk) -> None:
    before = score(desk, example())
    decision = desk.decide(review(desk.approve(example(), *ALL_ROLES[1:])))
    assert not decision.allowed
    assert decision.recorded is not None
    assert decision.recorded.leaf["approved"] is False
    assert score(desk, example()) == before


@pytest.mark.parametrize("mode", ["warn", "audit"])
@pytest.mark.parametrize("roles", [(), ALL_ROLES], ids=["bare", "approved"])
def test_an_allow_where_nothing_is_enforced_makes_no_model_seen(
    tmp_path: Path, desk: GateDesk, mode: str, roles: tuple[str, ...]
) -> None:
    before = score(desk, example())
    with desk_with(tmp_path, f"environments: {{production: {{mode: {mode}}}}}\n") as lenient:
        assert not recorded(lenient, review(lenient.approve(example(), *roles)))
        assert score(lenient, example()) == before
    # ... nor once it is enforced again: the record is the same.
    assert desk.log.size() == 1
    assert score(desk, example()) == before


def test_rules_that_only_warn_of_missing_approvals_make_no_model_seen(tmp_path: Path) -> None:
    rules = ", ".join(
        f"{name}: {{mode: warn}}" for name in ("approvals.required", "approvals.separation", "risk.ceiling")
    )
    with desk_with(tmp_path, f"rules: {{{rules}}}\n") as desk:
        before = score(desk, example())
        assert not recorded(desk, review(example()))
        assert score(desk, example()) == before


def test_what_labelled_coverage_does_not_govern_makes_no_model_seen(tmp_path: Path, desk: GateDesk) -> None:
    before = score(desk, example()), score(desk, unlabelled())
    with desk_with(tmp_path, "environments: {production: {coverage: labelled}}\n") as labelled:
        assert not recorded(labelled, review(unlabelled()))
    assert desk.log.size() == 1
    assert (score(desk, example()), score(desk, unlabelled())) == before
