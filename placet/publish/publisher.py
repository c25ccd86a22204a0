"""Publishes what the record has, from the record itself: what was recorded while nobody could publish is made up for.

The queue is the log, and how far it is published stands in the Lease. A round reads some leaves, gives them to each
sink, and moves on when all of them are done; a round that fails is done again, and shows nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from placet.audit.log import AuditLog
from placet.audit.query import read_found
from placet.publish.api import OF_ONE_OBJECT, Unpublished
from placet.publish.entry import Entry, read_entry
from placet.publish.events import LEFT_OUT, Count
from placet.publish.lease import PublisherLease

BATCH: Final = 500
MOST_TARGETS: Final = 50  # of one round, so that the Lease outlives it
BACKLOG: Final = 10_000
_PATIENCE: Final = 8


class Sink(Protocol):
    """Where entries are shown."""

    def publish(self, entries: Sequence[Entry]) -> None:
        """Show them; again: nothing.

        Raises:
            ClusterUnavailable: not all is shown; it may be later.
        """


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has done.

    Attributes:
        leads: whether this process publishes.
        read: leaves that were looked at.
        behind: leaves that are not published yet; 0 where another process publishes.
    """

    leads: bool
    read: int = 0
    behind: int = 0


class Publisher:
    """One thread calls ``run_once``, again and again."""

    def __init__(
        self,
        log: AuditLog,
        lease: PublisherLease,
        sinks: Sequence[Sink],
        *,
        cluster: str,
        count: Count,
        said: Callable[[str, int], None] = lambda _what, _number: None,
    ) -> None:
        """Put the parts together.

        Args:
            log: what is published.
            lease: says who publishes, and from where on.
            sinks: where entries are shown, in this order.
            cluster: whose decisions.
            count: is told kind, outcome and number of what was published.
            said: is told in a few words what was not published, and how many.
        """
        self._log = log
        self._lease = lease
        self._sinks = sinks
        self._cluster = cluster
        self._count = count
        self._said = said
        self._failed: Counter[tuple[int, int]] = Counter()

    def run_once(self) -> Round:
        """Publish some of what is not published.

        Raises:
            ClusterUnavailable: the API server does not answer; it is tried again with the next round.
            LeaseUnwritable: this account may not publish.
            LostLease: another process has begun to.
            AuditError: the record can't be read.
        """
        if not self._lease.hold():
            return Round(leads=False)
        size = self._log.size()
        start = self._start(size)
        if start == size:
            if self._lease.size != size:
                self._lease.advance(size)
            return Round(leads=True)
        entries, end = self._read(start, min(start + BATCH, size))
        for place, sink in enumerate(self._sinks):
            self._lease.keep()
            self._give(sink, entries, failed=(start, place))
        self._lease.advance(end)
        self._failed.clear()
        return Round(leads=True, read=end - start, behind=size - end)

    def _read(self, start: int, end: int) -> tuple[list[Entry], int]:
        """What is shown of these leaves, and where the next round begins."""
        entries: list[Entry] = []
        targets = set()
        with self._log.reading() as reader:
            for stored in reader.leaves(start, end):
                entry = read_entry(read_found(stored), self._cluster)
                if entry is None:
                    continue
                targets.add(entry.target.key)
                if len(targets) > MOST_TARGETS:
                    return entries, stored.index
                entries.append(entry)
        return entries, end

    def _start(self, size: int) -> int:
        """The first leaf that is not published; not so early that making up for it would never end."""
        published = self._lease.size
        if published is not None and published > size:
            self._said("the record has fewer leaves than were published", published - size)
            return size
        oldest = max(0, size - BACKLOG)
        if published is None:
            return oldest
        if published < oldest:
            self._count("leaf", LEFT_OUT, oldest - published)
            self._said("too much was waiting to be published; the oldest is left out", oldest - published)
        return max(published, oldest)

    def _give(self, sink: Sink, entries: Sequence[Entry], *, failed: tuple[int, int]) -> None:
        """Hand over; an object that the API server fails on again and again does not hold up all that follow."""
        if self._failed[failed] >= _PATIENCE:
            return
        try:
            sink.publish(entries)
        except Unpublished as exc:
            self._failed[failed] += exc.status in OF_ONE_OBJECT
            if self._failed[failed] >= _PATIENCE:
                self._count("leaf", "failed", len(entries))
                self._said(f"some of these can't be published ({exc})", len(entries))
            raise
