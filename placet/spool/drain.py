"""Takes what waits into the record once its store is back: in order, nothing lost, nothing twice.

A file goes away after its leaf is durable. A process that dies in between finds the file again, and the log answers
with the leaf that has the uid: one leaf. When a lane is empty, a leaf of type ``outage`` says what became of its
denials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from placet.audit.log import AuditLog, render_time
from placet.audit.record import OUTAGE, SCHEMA
from placet.errors import AuditError, FormatError, StoreUnavailable, TamperError
from placet.spool.denial import Denial
from placet.spool.lane import Lane
from placet.spool.spool import Spool
from placet.spool.tally import COUNTS
from placet.spool.waiting import Waiting, describe

APPEND_DEADLINE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 0.05
# What the record will never take, whenever it is tried.
_REFUSED: Final = frozenset({"uid_reused", "record_invalid", "record_too_large", "record_refused"})


@dataclass(slots=True)
class Drained:
    """What one round has done.

    Attributes:
        recorded: how many denials are in the record now.
        set_aside: name and cause of each file that could not be.
        outages: bodies of the leaves that ended an outage, with the index of each.
        failed: why the round ended early; "" where it did not.
    """

    recorded: int = 0
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    outages: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    failed: str = ""


class Drainer:
    """Drains one spool into one log; one thread calls it."""

    def __init__(
        self,
        spool: Spool,
        log: AuditLog,
        *,
        cluster: str,
        clock: Callable[[], datetime],
        pause: Callable[[float], bool] = lambda _seconds: False,
    ) -> None:
        """Put the parts together.

        Args:
            spool: what is drained.
            log: where to.
            cluster: this cluster's name.
            clock: aware UTC.
            pause: waits so many seconds, and says whether to stop.
        """
        self._spool = spool
        self._log = log
        self._cluster = cluster
        self._clock = clock
        self._pause = pause

    def run_once(self) -> Drained:
        """Drain what waits, unless the store is away. Never raises for the sake of store or disk."""
        done = Drained()
        self._spool.tend()
        lanes = [lane for lane in self._spool.lanes() if self._spool.first(lane) or not lane.tally.is_told]
        if not lanes:
            return done
        health = self._log.health()
        if not health.writable:
            done.failed = health.code
            return done
        try:
            for lane in lanes:
                if not self._drain(lane, done):
                    break
        except AuditError as exc:
            done.failed = exc.code
        except OSError as exc:
            done.failed = describe(exc)
        return done

    def _drain(self, lane: Lane, done: Drained) -> bool:
        """Whether to go on with the next lane."""
        while (waiting := self._spool.first(lane)) is not None:
            began_s = time.monotonic()
            self._take(waiting, done)
            # The writer of the store is free at least half of the time: answers do not queue behind the past.
            if self._pause(min(time.monotonic() - began_s, _LONGEST_PAUSE_S)):
                return False
        if self._spool.is_idle(lane) and not lane.tally.is_told:
            self._tell(lane, done)
        return True

    def _take(self, waiting: Waiting, done: Drained) -> None:
        try:
            denial = self._spool.load(waiting)
        except (OSError, FormatError) as exc:
            why = describe(exc) if isinstance(exc, OSError) else str(exc)
            done.set_aside.append((self._spool.set_aside(waiting), why))
            return
        try:
            otherwise = self._append(denial)
        except (StoreUnavailable, TamperError):
            raise
        except AuditError as exc:
            if exc.code not in _REFUSED:
                raise
            done.set_aside.append((self._spool.set_aside(waiting), exc.code))
            return
        self._spool.recorded(waiting, otherwise=otherwise)
        done.recorded += 1

    def _append(self, denial: Denial) -> int | None:
        """Index of the leaf that has the uid, where it says that the request was allowed.

        That happens: an append whose commit was not known to be durable was answered as a denial, and was durable; or
        another replica was asked again when this one had not answered in time, and its store was back.
        """
        appended = self._log.append(
            denial.leaf,
            uid=denial.uid,
            request_digest=denial.request_digest,
            attachments=denial.attachments,
            deadline_s=APPEND_DEADLINE_S,
        )
        return appended.index if appended.replayed and appended.leaf.get("allowed") is not False else None

    def _tell(self, lane: Lane, done: Drained) -> None:
        """One leaf for each outage, also after a crash between its append and the new count."""
        tally = lane.tally
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "type": OUTAGE,
            "time": render_time(self._clock()),
            "cluster": self._cluster,
            "outage_id": tally.outage,
            "since": tally.since,
            "otherwise": [dict(one) for one in tally.otherwise],
            "complete": tally.complete,
            **{name: getattr(tally, name) for name in COUNTS},
        }
        former = [leaf for _, leaf in self._log.since(OUTAGE, 0) if leaf.get("outage_id") == tally.outage]
        if former:
            body = dict(former[0])
        else:
            appended = self._log.append(body, deadline_s=APPEND_DEADLINE_S)
            done.outages.append((appended.index, body))
        self._spool.told(lane, {name: int(body[name]) for name in COUNTS})
