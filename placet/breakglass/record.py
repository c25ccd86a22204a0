"""Where the events of break-glass are kept, and where each decision learns of those of other replicas."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from placet.approvals.envelope import parse_annotation, render_envelope
from placet.audit.location import StoreLocation, open_reader
from placet.audit.log import AuditLog
from placet.audit.person_keys import PersonKeys
from placet.audit.record import BREAK_GLASS, parse_leaf
from placet.audit.sealer import seal_event
from placet.audit.stored import leaf_malformed
from placet.breakglass.state import GlassState, Reviewed, Use, parse_event
from placet.errors import AuditError, FormatError

ENVELOPE: Final = "envelope"


@dataclass(frozen=True, slots=True)
class GlassEvent:
    """Something to be kept before the decision that rests on it.

    Attributes:
        body: of its leaf.
        envelope: what was signed.
        named: persons whom its sentences may name, besides those that it has in their places.
    """

    body: Mapping[str, Any]
    envelope: bytes
    named: tuple[str, ...] = ()


class Glass(Protocol):
    """What the record knows of break-glass, and what keeps more."""

    def state(self) -> GlassState:
        """Everything up to now, also what other replicas have recorded.

        Raises:
            AuditError: the record can't be read.
        """

    def opened(self, uses: Sequence[Use]) -> tuple[Use, ...]:
        """The same with the names that there are keys for now; what was erased stays sealed.

        Raises:
            AuditError: a key can't be read.
        """

    def append(self, events: Iterable[GlassEvent], *, deadline_s: float) -> None:
        """Make them durable, or raise.

        Raises:
            AuditError: one is not in the record; nothing may be allowed on it.
        """


class NoGlass:
    """There is no record to ask: what was let in is not known, and nothing can be let in."""

    def state(self) -> GlassState:
        """Nothing."""
        return GlassState()

    def opened(self, uses: Sequence[Use]) -> tuple[Use, ...]:
        """See :class:`Glass`. There are no keys."""
        return tuple(uses)

    def append(self, events: Iterable[GlassEvent], *, deadline_s: float) -> None:  # noqa: ARG002 - the Protocol's names
        """See :class:`Glass`."""
        if any(True for _ in events):
            raise AuditError("there is no record that could keep a break-glass", code="break_glass_unrecorded")


class StoredGlass(NoGlass):
    """What a record knows, opened to read alone; for the command line."""

    def __init__(self, store: StoreLocation, *, cluster: str, persons: PersonKeys | None = None) -> None:
        self._store = store
        self._cluster = cluster
        self._persons = persons

    def state(self) -> GlassState:
        """See :class:`Glass`."""
        with open_reader(self._store) as reader:
            bodies = [(one.index, parse_leaf(one.raw_leaf).body) for one in reader.of_type(BREAK_GLASS, start=0)]
        return _extend(GlassState(), bodies, self._cluster)

    def opened(self, uses: Sequence[Use]) -> tuple[Use, ...]:
        """See :class:`Glass`."""
        return _opened(uses, self._persons)


class LogGlass:
    """The events of a log. Thread-safe."""

    def __init__(self, log: AuditLog, *, cluster: str, persons: PersonKeys | None = None) -> None:
        """Keep them in this log.

        Args:
            log: open.
            cluster: of the gate.
            persons: what names of persons are sealed with; None to keep names as they are.
        """
        self._log = log
        self._cluster = cluster
        self._persons = persons
        self._lock = threading.Lock()
        self._next = 0
        self._known = GlassState()

    def state(self) -> GlassState:
        """See :class:`Glass`. One question to an index each time, for what is new."""
        with self._lock:
            leaves = self._log.since(BREAK_GLASS, self._next)
            if leaves:
                self._known = _extend(self._known, leaves, self._cluster)
                self._next = leaves[-1][0] + 1
            return self._known

    def opened(self, uses: Sequence[Use]) -> tuple[Use, ...]:
        """See :class:`Glass`."""
        return _opened(uses, self._persons)

    def append(self, events: Iterable[GlassEvent], *, deadline_s: float) -> None:
        """See :class:`Glass`."""
        for event in events:
            body = seal_event(event.body, self._persons, event.named)
            self._log.append(body, attachments={ENVELOPE: event.envelope}, deadline_s=deadline_s)


def read_envelope(text: str) -> bytes:
    """The JSON of an envelope that stands in an annotation and was verified, in one spelling.

    Raises:
        FormatError: it was not verified.
    """
    return render_envelope(parse_annotation(text))


def _opened(uses: Sequence[Use], persons: PersonKeys | None) -> tuple[Use, ...]:
    if persons is None or all(use.body is None for use in uses):
        return tuple(uses)
    opener = persons.opener()
    return tuple(use.opened(opener) for use in uses)


def _extend(known: GlassState, leaves: Iterable[tuple[int, Mapping[str, Any]]], cluster: str) -> GlassState:
    uses, reviews = list(known.uses), list(known.reviews)
    for index, body in leaves:
        if body.get("cluster") != cluster:
            continue
        try:
            event = parse_event(body)
        except FormatError as exc:
            raise leaf_malformed(index) from exc
        if isinstance(event, Use):
            uses.append(event)
        elif isinstance(event, Reviewed):
            reviews.append(event)
    return GlassState(tuple(uses), tuple(reviews))
