"""How break-glass stands with a workload, as ``placet plan`` shows it."""

from __future__ import annotations

from collections.abc import Iterator

from placet.breakglass.state import Use
from placet.cli.output import safe
from placet.cli.session import Session
from placet.decision import Decision


def waiting_of(session: Session, decision: Decision) -> tuple[Use, ...]:
    """What was let in of the workload and has not been reviewed, by the record where there is one.

    Raises:
        AuditError: the record can't be read.
    """
    workload = decision.workload
    if workload is None:
        return ()
    names = {workload.name, decision.request.name}
    return session.glass.state().open_of(namespace=workload.namespace, kind=workload.kind, names=names)


def describe_glass(session: Session, decision: Decision) -> Iterator[str]:
    """A line for each thing to know; none where break-glass has nothing to do with it."""
    if decision.passage is not None:
        yield f"let in by token {decision.passage.token_id}; review due by {decision.passage.due:%Y-%m-%d %H:%M} UTC"
    for use in waiting_of(session, decision):
        overdue = " (overdue: nothing more of it is deployed)" if use.due <= decision.time else ""
        yield (
            f"token {use.token_id} let it in on {use.time:%Y-%m-%d %H:%M} UTC; "
            f"review due by {use.due:%Y-%m-%d %H:%M} UTC{overdue}"
        )
        yield f"  because {safe(use.reason)}"
