"""Exemptions as records: which lay in the folder of a gate, from when until when.

A leaf of type ``exemption``: docs/formats-audit.md. Nothing is decided by these leaves; a decision that rests on an
exemption keeps it beside itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.approvals.times import render_time as render_seconds
from placet.audit.log import Appended, AuditLog, render_time
from placet.audit.person_keys import PersonKeys
from placet.audit.record import EXEMPTION, SCHEMA
from placet.audit.sealer import seal_event
from placet.canonical import Digest
from placet.errors import FormatError
from placet.exemptions.folder import SignedExemption, SignedExemptions
from placet.revoked import AT_ONCE_S, DEADLINE_S, ENVELOPE, ON_ITS_WAY

FOUND: Final = "found"
GONE: Final = "gone"


def render_found(signed: SignedExemption, *, cluster: str, moment: datetime) -> dict[str, Any]:
    """The body of the leaf that says that an exemption is there.

    Args:
        signed: with its envelope.
        cluster: of the gate.
        moment: when it is recorded; aware UTC.
    """
    said = signed.statement
    return {
        **_head(FOUND, said.exemption_id, signed.digest, cluster=cluster, moment=moment),
        "clusters": list(said.clusters),
        "environment": said.environment,
        "namespace": said.namespace,
        "workload": said.workload,
        "projections": [str(one) for one in said.projections],
        "detection": said.detection,
        "images": said.images,
        "issued": render_seconds(said.issued_at),
        "not_before": render_seconds(said.not_before),
        "expires": render_seconds(said.expires),
        "ticket": said.ticket,
        "reason": said.reason,
        "signers": [
            {"person": one.identity.person, "key": str(one.key.public_key.fingerprint)} for one in signed.signings
        ],
        f"{ENVELOPE}_digest": str(Digest.of(signed.envelope)),
    }


def _names_of(signed: SignedExemption) -> Iterator[str]:
    """Whom its sentences may name."""
    for one in signed.signings:
        yield from (one.identity.id, one.identity.person, *one.identity.usernames)


def _head(event: str, exemption_id: str, statement: Digest, *, cluster: str, moment: datetime) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "type": EXEMPTION,
        "time": render_time(moment),
        "cluster": cluster,
        "event": event,
        "exemption_id": exemption_id,
        "statement": str(statement),
    }


@dataclass(frozen=True, slots=True)
class _Known:
    """What the record said last of a statement; when, if another process may have recorded it."""

    event: str
    exemption_id: str
    elsewhere: datetime | None

    def is_on_its_way(self, now: datetime) -> bool:
        return self.elsewhere is not None and abs(now - self.elsewhere) < ON_ITS_WAY


class ExemptionRecord:
    """Puts on record which exemptions came and went, where the record does not say so yet. For one thread at a time.

    Two replicas may record one at the same moment, which says the same twice.
    """

    def __init__(self, log: AuditLog, *, cluster: str, persons: PersonKeys | None = None) -> None:
        """Put them on record in this log.

        Args:
            log: open.
            cluster: of the gate.
            persons: what names of persons are sealed with; None to keep names as they are.
        """
        self._log = log
        self._cluster = cluster
        self._persons = persons
        self._next = 0
        self._known: dict[Digest, _Known] = {}

    def append_changes(
        self, held: SignedExemptions, now: datetime, *, named: Sequence[str] = ()
    ) -> Iterator[tuple[str, str, Appended]]:
        """Record what differs from the record, for about two seconds; the rest is for the next time.

        What another replica recorded within three minutes is left alone: its files may not have come here yet.

        Args:
            held: what the folder holds now. Where it could not be read, nothing is said to be gone.
            now: aware UTC.
            named: whom the sentences of an exemption may name besides its signers.

        Yields:
            Event, id of the exemption, and the leaf.

        Raises:
            AuditError: the record can't be read or written; what is missing is tried again the next time.
        """
        self._learn()
        until_s = time.monotonic() + AT_ONCE_S
        present = {one.digest: one for one in held.all}
        for digest, one in present.items():
            if self._may_say(FOUND, digest, now):
                found = render_found(one, cluster=self._cluster, moment=now)
                body = seal_event(found, self._persons, (*_names_of(one), *named))
                yield self._append(body, {ENVELOPE: one.envelope})
                if time.monotonic() >= until_s:
                    return
        if held.faults and not present:
            return
        for digest in [one for one in self._known if one not in present and self._may_say(GONE, one, now)]:
            body = _head(GONE, self._known[digest].exemption_id, digest, cluster=self._cluster, moment=now)
            yield self._append(body, {})
            if time.monotonic() >= until_s:
                return

    def _may_say(self, event: str, statement: Digest, now: datetime) -> bool:
        known = self._known.get(statement)
        return known is None or (known.event != event and not known.is_on_its_way(now))

    def _append(self, body: Mapping[str, Any], attachments: Mapping[str, bytes]) -> tuple[str, str, Appended]:
        appended = self._log.append(body, attachments=attachments, deadline_s=DEADLINE_S)
        self._take(body)
        return str(body["event"]), str(body["exemption_id"]), appended

    def _learn(self) -> None:
        leaves = self._log.since(EXEMPTION, self._next)
        for _, body in leaves:
            if body.get("cluster") == self._cluster:
                self._take(body, elsewhere=datetime.fromisoformat(str(body["time"])))
        if leaves:
            self._next = leaves[-1][0] + 1

    def _take(self, body: Mapping[str, Any], *, elsewhere: datetime | None = None) -> None:
        """What a leaf says; one that says no such thing is passed over, since nothing hangs on it."""
        event, exemption_id, statement = (body.get(name) for name in ("event", "exemption_id", "statement"))
        if event not in (FOUND, GONE) or not isinstance(exemption_id, str):
            return
        try:
            digest = Digest.parse(str(statement))
        except FormatError:
            return
        known = self._known.get(digest)
        if known is None or known.event != event:
            self._known[digest] = _Known(str(event), exemption_id, elsewhere)
