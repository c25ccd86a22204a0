"""What a live object may be called: built-in kinds as kubectl calls them, and kinds of the registry."""

from __future__ import annotations

import pytest

from placet.cli.live import parse_target
from placet.errors import InputError
from placet.projection import Kinds, parse_kinds

KINDS = parse_kinds(
    {
        f"{resource}.{group}": {"group": group, "kind": kind, "resource": resource, "versions": ["v1", "v1beta1"]}
        for resource, group, kind in (
            ("rollouts", "argoproj.io", "Rollout"),
            ("models", "mlops.example.com", "Model"),
            ("models", "serving.example.com", "Model"),
            ("jobs", "batch.example.com", "Job"),
        )
    }
)


def never() -> Kinds:
    raise AssertionError


@pytest.mark.parametrize("text", ["deployment/a", "Deploy/a", "deployments.apps/a", "deployments.v1.apps/a"])
def test_a_built_in_kind_needs_no_registry(text: str) -> None:
    found = parse_target(text, never)
    assert (found.resource, found.custom) == ("Deployment/a", ())


@pytest.mark.parametrize("text", ["rollout/a", "Rollouts/a", "rollouts.argoproj.io/a", "rollout.argoproj.io/a"])
def test_a_kind_of_the_registry_is_named_in_the_same_ways(text: str) -> None:
    found = parse_target(text, lambda: KINDS)
    assert found.resource == "Rollout/a"
    assert [(one.group, one.versions) for one in found.custom] == [("argoproj.io", ("v1", "v1beta1"))]


def test_the_group_tells_a_kind_from_a_built_in_one_of_the_same_name() -> None:
    assert parse_target("job/a", lambda: KINDS).custom == ()
    (found,) = parse_target("jobs.batch.example.com/a", lambda: KINDS).custom
    assert found.group == "batch.example.com"
    with pytest.raises(InputError, match="no kind of workload"):
        parse_target("deployments.example.com/a", lambda: KINDS)


def test_a_name_of_several_kinds_is_asked_in_full() -> None:
    with pytest.raises(InputError, match="several kinds") as caught:
        parse_target("model/a", lambda: KINDS)
    assert "models.mlops.example.com, models.serving.example.com" in caught.value.hint
    (found,) = parse_target("models.serving.example.com/a", lambda: KINDS).custom
    assert found.group == "serving.example.com"


def test_a_kind_with_an_entry_for_each_of_its_forms_is_one_kind() -> None:
    entry = {"group": "kubeflow.org", "kind": "MPIJob", "resource": "mpijobs"}
    kinds = parse_kinds({"a": {**entry, "versions": ["v1"]}, "b": {**entry, "versions": ["v2beta1"]}})
    found = parse_target("mpijob/a", lambda: kinds)
    assert [one.versions for one in found.custom] == [("v1",), ("v2beta1",)]


@pytest.mark.parametrize("text", ["rollout", "rollout/", "a/b/c", "service/a", "/a"])
def test_anything_else_is_one_error_that_lists_the_kinds(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_target(text, lambda: KINDS)
    assert caught.value.hint.startswith(("Files are", "Kinds are cronjob, "))
