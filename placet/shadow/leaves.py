"""Leaves of type ``shadow``: that a candidate began, where it disagreed, and how often it did not.

docs/formats-audit.md has the members. No name of a person is among them: who asked and who approved stand in the
decision that a leaf points to, sealed where they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.audit.log import render_time
from placet.audit.record import SCHEMA, SHADOW
from placet.canonical import render_canonical
from placet.shadow.answer import Answer, Difference

BEGUN: Final = "begun"
DISAGREEMENT: Final = "disagreement"
TALLY: Final = "tally"
COUNTS: Final = ("judged", "agreed", "stricter", "looser", "mixed", "error", "shed", "unlisted", "unrecorded")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is tried, by its digests.

    Attributes:
        revision: of the policy sources.
        manifest: digest of the bundle's manifest, which has those of all of its files.
        data_digest: of the merged policy data.
        version: that was signed; 0 where nobody has to sign.
        run: one time that it was tried by one process, of 16 hexadecimal digits.
    """

    revision: str
    manifest: str
    data_digest: str
    version: int
    run: str

    def same_as(self, other: Candidate) -> bool:
        """Whether it is the same, whoever runs it."""
        return self.render() == other.render()

    def render(self) -> dict[str, Any]:
        """JSON value, without the run."""
        return {
            "revision": self.revision,
            "manifest": self.manifest,
            "data_digest": self.data_digest,
            "version": self.version,
        }


@dataclass(frozen=True, slots=True)
class Sighting:
    """One review that two sets of policies answered.

    Attributes:
        subject: which workload, as JSON: of :func:`describe_subject`.
        in_force: ``revision`` and ``data_digest`` of what decided it.
        before: what that answered.
        after: what the candidate did.
        difference: between the two.
        decision_id: of the decision.
        index: of its leaf; None while it waits in a spool.
        time: when it was decided, as its leaf says.
    """

    subject: Mapping[str, Any]
    in_force: Mapping[str, str]
    before: Answer
    after: Answer
    difference: Difference
    decision_id: str
    index: int | None
    time: str

    @property
    def key(self) -> bytes:
        """Equal for what is one disagreement: the same content, in the same place, answered the same way."""
        place = {name: self.subject[name] for name in ("environment", "namespace", "group", "kind", "projection")}
        answers = [self.before.render(), self.after.render(), self.difference.change.value]
        return hashlib.sha256(render_canonical([place, dict(self.in_force), answers])).digest()

    @property
    def pointer(self) -> dict[str, Any]:
        """Which decision, as JSON."""
        return {"decision_id": self.decision_id, "index": self.index, "time": self.time}


def describe_subject(leaf: Mapping[str, Any]) -> dict[str, Any]:
    """Which workload the leaf of a decision is about."""
    model = leaf["model"]
    texts = ("environment", "namespace", "group", "kind", "name", "projection")
    return {
        **{name: str(leaf[name]) for name in texts},
        "model": {"name": str(model["name"]), "version": str(model["version"])},
    }


def render_begun(candidate: Candidate, *, cluster: str, moment: datetime) -> dict[str, Any]:
    """Body of the leaf that says that a candidate is tried from now on."""
    return _head(BEGUN, candidate, cluster, moment)


def render_disagreement(
    candidate: Candidate, first: Sighting, last: Sighting, *, count: int, cluster: str, moment: datetime
) -> dict[str, Any]:
    """Body of a leaf of one disagreement.

    Args:
        candidate: that disagreed.
        first: the earliest that this leaf counts.
        last: the latest.
        count: how many it counts; no other leaf counts them.
        cluster: of the gate.
        moment: aware UTC.
    """
    return {
        **_head(DISAGREEMENT, candidate, cluster, moment),
        **first.subject,
        "change": first.difference.change.value,
        "direction": first.difference.direction.value,
        "count": count,
        "first": first.pointer,
        "last": last.pointer,
        "in_force": {**first.in_force, "answer": first.before.listed()},
        "shadow": first.after.listed(),
    }


def render_tally(
    candidate: Candidate, counts: Mapping[str, int], *, since: datetime, ended: bool, cluster: str, moment: datetime
) -> dict[str, Any]:
    """Body of a leaf that counts what came of all reviews since the last one.

    Args:
        candidate: that judged.
        counts: of ``COUNTS``; those that are missing are 0.
        since: aware UTC.
        ended: whether it judges no more.
        cluster: of the gate.
        moment: aware UTC.
    """
    return {
        **_head(TALLY, candidate, cluster, moment),
        "since": render_time(since),
        "ended": ended,
        "counts": {name: counts.get(name, 0) for name in COUNTS},
    }


def _head(event: str, candidate: Candidate, cluster: str, moment: datetime) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "type": SHADOW,
        "time": render_time(moment),
        "cluster": cluster,
        "event": event,
        "run": candidate.run,
        "candidate": candidate.render(),
    }
