"""What makes the kind registry govern less, and what ends a canary, is a downgrade; what makes it stricter is none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placet.policy.data import load_policy_data
from tests.e2e.gateprocess import Team
from tests.webhook.gaterun import opened
from webhook import downgrades
from webhook.loosened import find_looser_kinds, find_lost_canaries

NAME = "inferenceservices.serving.kserve.io"
PLACE = "placet-canary-production"


def looser(change: Callable[[dict[str, Any]], object], *, backwards: bool = False) -> list[str]:
    """Keys of one entry that let more through after a change; or if it were taken back."""
    before = load_policy_data(None).value["kinds"]
    after = copy.deepcopy(dict(before))
    change(after[NAME])
    assert after != before
    found = find_looser_kinds(after, before) if backwards else find_looser_kinds(before, after)
    return [one.key.removeprefix(f"kinds.{NAME}.") for one in found]


@pytest.mark.parametrize(
    ("change", "keys", "stricter_again"),
    [
        (lambda kind: kind["ungoverned"].append("spec.predictor.logger"), ["ungoverned"], []),
        (lambda kind: kind["defaults"].append({"path": "spec.x", "value": 1}), ["defaults"], []),
        (lambda kind: kind["defaults"][0].update(value="/other"), ["defaults"], ["defaults"]),
        (lambda kind: kind.update(resources=["spec.sizes"]), ["resources"], []),
        (lambda kind: kind["metadata"].clear(), ["metadata"], []),
        (lambda kind: kind.pop("metadata"), ["metadata"], []),
        (lambda kind: kind.update(whole=["spec.predictor.containers"]), [], ["whole"]),
        (lambda kind: kind.update(images=["spec.image"]), [], ["images"]),
        (lambda kind: kind["pod_specs"].remove("spec.explainer"), ["pod_specs"], ["pod_specs"]),
        (lambda kind: kind["containers"].append("spec.sidecar"), ["containers"], ["containers"]),
        (lambda kind: kind["replicas"][0].update(count=["minReplicas"]), ["replicas"], ["replicas"]),
        (lambda kind: kind.pop("replicas"), ["replicas"], ["replicas"]),
        (lambda kind: kind.update(images_elsewhere=False), [], ["images_elsewhere"]),
        (lambda kind: kind["models"].clear(), [], []),
        (lambda kind: kind["versions"].append("v1"), [], []),
    ],
)
def test_an_entry_that_governs_less_is_a_downgrade(
    change: Callable[[dict[str, Any]], object], keys: list[str], stricter_again: list[str]
) -> None:
    assert looser(change) == keys
    assert looser(change, backwards=True) == stricter_again


def test_a_kind_that_is_new_or_gone_is_none_and_neither_is_a_record_without_kinds() -> None:
    kinds = load_policy_data(None).value["kinds"]
    fewer = {name: entry for name, entry in kinds.items() if name != NAME}
    assert list(find_looser_kinds(kinds, fewer)) == []
    assert list(find_looser_kinds(fewer, kinds)) == []
    assert list(find_looser_kinds(None, kinds)) == []


def test_a_long_change_is_cut() -> None:
    before: dict[str, Any] = {NAME: {"ungoverned": []}}
    after = {NAME: {"ungoverned": [f"spec.field{number}" for number in range(100)]}}
    (found,) = find_looser_kinds(before, after)
    assert found.before == ""
    assert len(found.after) == 80


def test_the_operators_data_are_compared_as_they_are_merged(tmp_path: Path) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(f"kinds: {{{NAME}: {{ungoverned: [spec.anything], images_elsewhere: true}}}}\n", encoding="utf-8")
    found = downgrades.find_downgrades(load_policy_data(None).value, load_policy_data(file).value)
    assert [one.key for one in found] == [f"kinds.{NAME}.ungoverned"]


def test_a_canary_that_is_sent_no_more_is_a_downgrade() -> None:
    key = f"canary.namespaces.{PLACE}"
    for after in ({}, {key: "development"}):
        (found,) = find_lost_canaries({key: "production", "autoscalers": "none"}, after)
        assert (found.key, found.before, found.after) == (key, "production", after.get(key, ""))
    assert list(find_lost_canaries({}, {key: "production"})) == []
    assert list(find_lost_canaries({key: "production"}, {key: "production"})) == []


def test_losing_a_canary_and_asking_seldom_are_recorded(own_team: Team) -> None:
    own_team.configure({"canary": {"namespaces": {PLACE: "production"}, "interval_seconds": 60}})
    with opened(own_team) as gate:
        own_team.configure({"canary": {"interval_seconds": 3600, "namespaces": {}}})
        gate.round()
        newest = gate.records("configuration")[-1]
        assert [one["key"] for one in newest["downgrades"]] == [
            "canary.interval_seconds",
            f"canary.namespaces.{PLACE}",
        ]
        own_team.configure({"canary": {"interval_seconds": 60, "namespaces": {PLACE: "production"}}})
        gate.round()
        assert gate.records("configuration")[-1]["downgrades"] == []
