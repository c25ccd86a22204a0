"""What the record says of the content of a request: approved before for the same workload, or for what makes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from placet.history import History
from placet.judge import Findings, Situation
from placet.lineage import Lineage, Stray
from placet.model import ModelIdentity, Workload
from placet.precedent import Precedent, Withdrawn, find_withdrawn, serves

_ANEW: Final = "Have it approved again with `placet approve`, and apply it with the new approvals."


@dataclass(frozen=True, slots=True)
class Past:
    """What the record says of an update's new content.

    Attributes:
        asked: whether there is a record.
        precedent: the newest decision that approved it and still stands.
        withdrawn: the approval behind the newest decision that was taken back since.
        from_decision: the decision that ``withdrawn`` or ``as_another`` is about, "" where there is none.
        as_another: the model that the content was approved for, where that is another.
    """

    asked: bool = False
    precedent: Precedent | None = None
    withdrawn: Withdrawn | None = None
    from_decision: str = ""
    as_another: ModelIdentity | None = None


def recall(workload: Workload, names: Sequence[str], history: History, situation: Situation) -> Past:
    """Ask the record about the content of a workload.

    Args:
        workload: the new object.
        names: what it may be called in the record.
        history: the record.
        situation: of the request.

    Raises:
        AuditError: the record can't be read.
    """
    another: Precedent | None = None
    asked = False
    for name in dict.fromkeys(names):
        found = history.admitted(
            environment=situation.environment,
            namespace=workload.namespace,
            kind=workload.kind,
            name=name,
            projection=workload.projection.digest,
        )
        asked = asked or found is not None
        for precedent in found or ():
            if not serves(precedent, workload.model, exactly=True):
                another = another or precedent
                continue
            withdrawn = _withdrawn(precedent, situation)
            if withdrawn is None:
                return Past(asked, precedent)
            return Past(asked, withdrawn=withdrawn, from_decision=precedent.decision_id)
    if another is not None:
        return Past(asked, from_decision=another.decision_id, as_another=another.model)
    return Past(asked)


def tell(findings: Findings, past: Past) -> Stray | None:
    """Why content that the record knows is judged anew all the same."""
    if findings.change != "changed":
        return None
    if past.precedent is not None and not past.precedent.covers(findings.assessment.level):
        then, now = past.precedent, findings.assessment.level
        sentence = f"the same content was admitted at risk {then.level} by decision {then.decision_id}; now it is {now}"
        return Stray("above_precedent", sentence, _ANEW)
    if past.withdrawn is not None:
        return _taken_back(past.withdrawn, past.from_decision)
    if past.as_another is not None:
        model = f"{past.as_another.name} {past.as_another.version}"
        sentence = f"the same content was admitted by decision {past.from_decision}, but as model {model}"
        return Stray("precedent_of_another_model", sentence, "Name that model and version again, or have it approved.")
    return None


def follow(lineage: Lineage, workload: Workload, history: History, situation: Situation) -> Precedent | Stray:
    """The decision that approved what a controller made something of.

    Raises:
        AuditError: the record can't be read.
    """
    for precedent in _candidates(lineage, workload, history, situation):
        if serves(precedent, lineage.model, exactly=False):
            withdrawn = _withdrawn(precedent, situation)
            return precedent if withdrawn is None else _taken_back(withdrawn, precedent.decision_id)
    return Stray(
        "parent_unapproved",
        f"it is made of {lineage.root.shown}, which was not approved here with this content",
        f"Have {lineage.root.shown} approved with `placet approve`, and apply it with the approvals.",
    )


def _candidates(lineage: Lineage, workload: Workload, history: History, situation: Situation) -> Iterator[Precedent]:
    where = {"environment": situation.environment, "namespace": workload.namespace}
    for ancestor in lineage.ancestors:
        for name in ancestor.names:
            if ancestor.content is not None:
                found = history.admitted(**where, kind=ancestor.kind, name=name, projection=ancestor.content)
                yield from found or ()
            if ancestor.template is not None:
                who = {"group": ancestor.group, "kind": ancestor.kind, "name": name}
                yield from history.admitted_with(**where, **who, template=ancestor.template) or ()


def _withdrawn(precedent: Precedent, situation: Situation) -> Withdrawn | None:
    return find_withdrawn(
        precedent,
        environment=situation.environment,
        keyring=situation.keyring,
        revocations=situation.revocations,
    )


def _taken_back(withdrawn: Withdrawn, decision_id: str) -> Stray:
    sentence = (
        f"its content was admitted by decision {decision_id}, "
        f"whose {withdrawn.role} approval {withdrawn.approval_id} was taken back since"
    )
    return Stray("precedent_withdrawn", sentence, f"Find out why it was taken back. {_ANEW}")
