"""What is counted of policies that are tried on live reviews."""

from __future__ import annotations

from placet.shadow.answer import Difference
from placet.shadow.leaves import Candidate
from webhook.metric_list import (
    SHADOW_CPU,
    SHADOW_DISAGREEMENTS,
    SHADOW_FETCHES,
    SHADOW_INFO,
    SHADOW_LEAVES,
    SHADOW_LOADS,
    SHADOW_REVIEWS,
    SHADOW_SHED,
    SHADOW_WAITING,
)
from webhook.metrics import Metrics


class ShadowCounts:
    """Thread-safe, as the metrics are."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def judged(self, difference: Difference | None, *, cpu_s: float) -> None:
        """A review was put to the candidate."""
        self._metrics.add(SHADOW_REVIEWS, "agreed" if difference is None else difference.direction.value)
        if difference is not None:
            self._metrics.add(SHADOW_DISAGREEMENTS, difference.change.value)
        self._metrics.add(SHADOW_CPU, number=cpu_s)

    def shed(self, reason: str) -> None:
        """One was not."""
        self._metrics.add(SHADOW_SHED, reason)

    def left(self, outcome: str, number: int = 1) -> None:
        """A record was made, or was not."""
        self._metrics.add(SHADOW_LEAVES, outcome, number=number)

    def loaded(self, result: str) -> None:
        """What became of a candidate."""
        self._metrics.add(SHADOW_LOADS, result)

    def fetched(self, result: str) -> None:
        """A look at where candidates come from has ended."""
        self._metrics.add(SHADOW_FETCHES, result)

    def waiting(self, number: int) -> None:
        """So many reviews wait."""
        self._metrics.show(SHADOW_WAITING, number=number)

    def trying(self, candidate: Candidate | None) -> None:
        """This is tried from now on; None for nothing."""
        self._metrics.forget(SHADOW_INFO)
        if candidate is not None:
            self._metrics.show(SHADOW_INFO, candidate.revision, candidate.data_digest, number=1)
