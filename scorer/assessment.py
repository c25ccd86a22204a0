"""The values that an assessment is made of."""

from __future__ import annotations

from dataclasses import dataclass

from scorer.factors import Provenance
from scorer.weights import show


@dataclass(frozen=True, slots=True)
class Contribution:
    """One factor's part of the score.

    Attributes:
        factor: its name.
        score: one of its scale.
        weight: in hundredths.
        points: score times weight, its part of S.
        provenance: how the fact that scores is known.
        reason: one sentence for a person; it never repeats text from outside.
        source: where the fact was found, as the fact says it: text from outside.
    """

    factor: str
    score: int
    weight: int
    points: int
    provenance: Provenance
    reason: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What would lower the score.

    Attributes:
        factor: the factor that it lowers.
        text: one sentence for a person.
        score_if_done: S if it alone were done.
        level_if_done: the level of that.
    """

    factor: str
    text: str
    score_if_done: int
    level_if_done: str


@dataclass(frozen=True, slots=True)
class SmallestDrop:
    """The change of one factor that drops a level and takes the fewest points.

    Attributes:
        factor: the factor that changes.
        from_score: its score now.
        to_score: its score then.
        score: S then.
        level: the level then.
    """

    factor: str
    from_score: int
    to_score: int
    score: int
    level: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """The score of a deployment and all that explains it.

    Attributes:
        score: S, 220 to 855.
        level: ``low``, ``medium``, ``high`` or ``critical``.
        contributions: one a factor, in the order of ``FACTORS``.
        recommendations: in the order of ``FACTORS``.
        smallest_drop: None when no single change within reach drops a level.
        required_roles: what the level asks for; an environment may ask for more.
    """

    score: int
    level: str
    contributions: tuple[Contribution, ...]
    recommendations: tuple[Recommendation, ...]
    smallest_drop: SmallestDrop | None
    required_roles: tuple[str, ...]

    @property
    def shown(self) -> str:
        """S as people read it, ``6.65``."""
        return show(self.score)

    @property
    def factors(self) -> dict[str, int]:
        """Factor -> score."""
        return {part.factor: part.score for part in self.contributions}
