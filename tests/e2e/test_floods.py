"""A flood of one caller costs another none of its reviews: all answered, rightly, before their own deadline.

``make flood`` measures the same on more reviews, and prints how much longer each takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from benchmarks.floods import SCENES, SLOW_LOOKUP_S, SLOW_SCENES, Found, Scene, Stage, resident_mib

RATE: Final = 5.0
SECONDS: Final = 2.5
DEADLINE_S: Final = 10.0
# 64 MiB of bodies, and what the interpreter makes of those that are judged: docs/operations.md says how much.
MOST_MIB: Final = 700.0
TEN: Final = 10


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("floods")).running() as stage:
        yield stage


@pytest.fixture(scope="module")
def capacity(stage: Stage) -> float:
    """Reviews a second, measured on this machine as it is now."""
    return stage.measure_capacity(2.0)


def play(stage: Stage, scene: Scene, capacity: float) -> Found:
    found = stage.play(scene, capacity=capacity, rate=RATE, seconds=SECONDS, deadline_s=DEADLINE_S)
    honest = found.honest
    assert (honest.failed, honest.wrong, honest.late) == (0, 0, 0), found
    assert honest.by_status["200"] > 0
    assert found.peak_mib < MOST_MIB
    return found


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_honest_reviews_are_answered_in_time_during_a_flood(stage: Stage, capacity: float, scene: Scene) -> None:
    found = play(stage, scene, capacity)
    answers = set(found.flood.by_status) - {"0"}
    if scene.stranger:
        assert answers == {"404"}  # none of them was let in, nor read
    elif scene.reviews == "larger":
        assert answers == {"413"}
    assert found.flood.sent >= scene.connections
    assert resident_mib(stage.pid) > 0  # it lives


def test_ten_times_the_capacity_costs_an_honest_review_nothing(tmp_path: Path) -> None:
    (scene,) = SLOW_SCENES
    with Stage(tmp_path / "slow", lookup_s=SLOW_LOOKUP_S).running() as stage:
        capacity = stage.measure_capacity(2.0)
        found = play(stage, scene, capacity)
    assert found.times(capacity) > TEN
    assert found.flood.by_status["503"] > found.flood.by_status["200"] > 0
