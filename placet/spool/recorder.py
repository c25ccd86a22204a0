"""The recorder of a gate that has a spool: what the log can't take of denials waits on the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from placet.audit.log import AuditLog
from placet.audit.person_keys import PersonKeys
from placet.deadline import DeadlineExceeded
from placet.decision import Decision, Receipt, Spooled
from placet.errors import AuditError, PlacetError, StoreUnavailable, TamperError
from placet.record import LogRecorder, render_record, render_time, request_digest
from placet.review import AdmissionRequest
from placet.spool.denial import Denial
from placet.spool.spool import Spool
from placet.spool.waiting import Kept

LONGEST_WAIT_S: Final = 1.0
_RESERVE_S: Final = 0.5
# The record may take it later. What else it refuses (another request's uid) it refuses for good.
_PASSING: Final = (StoreUnavailable, TamperError, DeadlineExceeded)


class SpoolingRecorder(LogRecorder):
    """Keeps decisions in the log, and denials in the spool while the log can't have them. Allows never wait."""

    def __init__(
        self,
        log: AuditLog,
        *,
        cluster: str,
        spool: Spool,
        clock: Callable[[], datetime],
        persons: PersonKeys | None = None,
    ) -> None:
        super().__init__(log, cluster=cluster, persons=persons)
        self._spool = spool
        self._clock = clock

    def find(self, request: AdmissionRequest, environment: str) -> Receipt | Spooled | None:
        """See :class:`Recorder`. The spool comes first: what is drained is in the log before it leaves the spool."""
        return self._waiting(request, environment) or super().find(request, environment)

    def keep(self, decision: Decision, *, deadline_s: float, **terms: Any) -> Receipt | Spooled:
        """See :class:`Recorder`. Some of the time is left for the disk, should the store not answer."""
        # Asked again: while this one was judged, the same request may have been answered by what waits.
        waiting = self._waiting(decision.request, decision.environment)
        return waiting or super().keep(decision, deadline_s=deadline_s - min(_RESERVE_S, deadline_s / 4), **terms)

    def _waiting(self, request: AdmissionRequest, environment: str) -> Spooled | None:
        waiting = self._spool.find(request.uid)
        if waiting is None:
            return None
        if waiting.request_digest != request_digest(request, environment):
            raise AuditError(
                "the request's uid is that of another request that was decided before",
                code="uid_reused",
                hint="An API server never uses a uid twice; send the request through the API server.",
            )
        return Spooled(self._opened(waiting.leaf), replayed=True)

    def put_aside(
        self,
        decision: Decision,
        *,
        cause: PlacetError,
        attachments: Mapping[str, bytes],
        deadline_s: float,
        **terms: Any,
    ) -> Spooled | None:
        """See :class:`Recorder`."""
        if not isinstance(cause, _PASSING):
            return None
        sealing = self._sealing(decision)
        try:
            if sealing is not None:
                attachments = sealing.attachments(attachments)
            body = render_record(decision, attachments=attachments, **terms)
            if sealing is not None:
                body = sealing.body(body)
        except AuditError:  # a name that can't be sealed is written nowhere, and the denial logged without a record
            return None
        body["spooled"] = {"at": render_time(self._clock()), "cause": cause.code}
        given = Denial(body, attachments)
        try:
            kept, answer = self._spool.add(given, deadline_s=min(deadline_s, LONGEST_WAIT_S))
        except AuditError:  # the record would never take it: it is logged as every denial without a record
            return None
        # What may not be on the disk yet is answered as not recorded, and logged in full.
        if kept is not Kept.DURABLE:
            return None
        return Spooled(self._opened(answer.leaf) if answer is not given else answer.leaf, replayed=answer is not given)
