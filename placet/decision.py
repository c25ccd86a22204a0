"""The answer to one request, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.breakglass.record import GlassEvent
from placet.breakglass.state import Passage
from placet.canonical import Digest
from placet.coverage import Coverage
from placet.errors import PlacetError
from placet.exemptions.verify import Exemption
from placet.judge import Findings, Situation
from placet.lineage import Lineage
from placet.model import Workload
from placet.policy.decision import PolicyDecision, Violation
from placet.review import AdmissionRequest

# Where a workload's environment stands, for writes to Namespaces: in records, logs and request digests. No environment
# has a slash in its name.
GUARD: Final = "guard/namespaces"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a decision stands in the record.

    Attributes:
        index: of the leaf.
        leaf_hash: RFC 6962 leaf hash.
        leaf: the body as stored.
        checkpoint: the newest signed note, "" before the first.
        replayed: whether it was there before.
    """

    index: int
    leaf_hash: Digest
    leaf: Mapping[str, Any]
    checkpoint: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class Spooled:
    """That a denial waits on the gate's disk until the record's store is back.

    Attributes:
        leaf: the body that will be recorded.
        replayed: whether it was there before.
    """

    leaf: Mapping[str, Any]
    replayed: bool


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What a write does to the label of a Namespace that names its environment.

    Attributes:
        before: its value before, "" included; None without the label.
        after: its value afterwards.
    """

    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        """``unchanged`` | ``label_set`` | ``label_changed`` | ``label_removed``."""
        if self.before == self.after:
            return "unchanged"
        if self.before is None:
            return "label_set"
        return "label_removed" if self.after is None else "label_changed"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the Namespace of a request belonged when it was decided.

    Attributes:
        environment: that its label names, or the default.
        label: as it was stored; None without the label.
        uid: of the Namespace; "" where the request has none.
    """

    environment: str
    label: str | None = None
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one request.

    Attributes:
        request: what was asked.
        environment: from the path; ``guard/namespaces`` for the write of a Namespace.
        time: when, aware UTC.
        allowed: the answer.
        mode: ``enforce`` | ``warn`` | ``audit``; what the environment is set to.
        change: ``new`` | ``changed`` | ``unchanged`` | ``adopted`` | ``scaled`` | ``rollback`` | ``child``, or "" when
            nothing was read; of a Namespace the kind of its label's change.
        violations: why not, in order; empty when allowed.
        warnings: for the deployer, though allowed.
        notes: for the record alone.
        workload: None when the object could not be read.
        old: what the workload was before an update; None for a create, and where it could not be read.
        coverage: whether the workload is governed, and why; None when the decision fell before that was asked.
        findings: None when the decision fell before step 8.
        policy: None when the decision fell before step 8.
        keyring_version: 0 when the decision fell before the keyring was read.
        caller_authenticated: whether the caller proved to be the API server.
        lineage: where an object comes from that a controller made, and that holds what it was made from.
        exemption: what lets a workload in that would be governed; None where nothing does.
        label: of a Namespace; None for everything else, and where it could not be read.
        place: where its Namespace belongs; None where that was not looked up.
        tolerated: those of the warnings and notes that would have refused it, had their mode been ``enforce``; of what
            was allowed.
        situation: what the judgement depended on beside the objects; None when the decision fell before that.
        passage: that it was let in by break-glass; None for everything else.
        events: of break-glass, to be kept before the decision is.
        recorded: where it stands in the record; None for a dry run, a plan, or a denial that could not be kept.
        spooled: that it is a denial which waits to be recorded.
    """

    request: AdmissionRequest
    environment: str
    time: datetime
    allowed: bool
    mode: str = "enforce"
    change: str = ""
    violations: tuple[Violation, ...] = ()
    warnings: tuple[Violation, ...] = ()
    notes: tuple[Violation, ...] = ()
    workload: Workload | None = None
    old: Workload | None = None
    coverage: Coverage | None = None
    findings: Findings | None = None
    policy: PolicyDecision | None = None
    keyring_version: int = 0
    caller_authenticated: bool = False
    lineage: Lineage | None = None
    exemption: Exemption | None = None
    label: LabelChange | None = None
    place: Place | None = None
    tolerated: tuple[Violation, ...] = ()
    situation: Situation | None = None
    passage: Passage | None = None
    events: tuple[GlassEvent, ...] = ()
    recorded: Receipt | None = None
    spooled: Spooled | None = None

    @property
    def told_before(self) -> Mapping[str, Any] | None:
        """What was kept of it when the same request was decided before; None where it is decided now."""
        kept = self.recorded or self.spooled
        return kept.leaf if kept is not None and kept.replayed else None

    @property
    def decision_id(self) -> str:
        """The request's uid names the decision too."""
        return self.request.uid


def remark(code: str, sentence: str, hint: str = "") -> Violation:
    """What the gate found out about an object's past; it refuses nothing by itself."""
    return Violation(
        rule="gate.origin", code=code, mode="audit", severity="info", details={"sentence": sentence, "hint": hint}
    )


def gate_violation(step: str, error: PlacetError) -> Violation:
    """What went wrong in the gate itself, as a violation of the rule ``gate.<step>``."""
    return Violation(
        rule=f"gate.{step}",
        code=error.code,
        mode="enforce",
        severity="critical",
        details={"sentence": error.shown, "hint": error.hint},
    )
