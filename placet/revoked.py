"""Revocations as records: what was once revoked here stays revoked, whatever becomes of its file (ADR 26).

A leaf of type ``revocation``: docs/formats-audit.md. It has all that is needed to revoke; the signed envelope is kept
beside it, erasable, so that others can verify it years later.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from placet.approvals.revocations import KeptRevocations, Revocation
from placet.audit.location import StoreLocation, open_reader
from placet.audit.log import Appended, AuditLog, leaf_malformed, read_stored, render_time
from placet.audit.record import REVOCATION, SCHEMA
from placet.canonical import Digest
from placet.errors import FormatError

ENVELOPE: Final = "envelope"
AT_ONCE_S: Final = 2.0
DEADLINE_S: Final = 1.0
ON_ITS_WAY: Final = timedelta(minutes=3)  # a ConfigMap reaches each Pod by itself, within a minute or two


def render_revocation(revocation: Revocation, *, cluster: str, moment: datetime) -> dict[str, Any]:
    """The body of its leaf.

    Args:
        revocation: with its envelope.
        cluster: of the gate.
        moment: when it is recorded; aware UTC.
    """
    return {
        "schema": SCHEMA,
        "type": REVOCATION,
        "time": render_time(moment),
        "cluster": cluster,
        "approval_id": revocation.approval_id,
        "role": revocation.role,
        "environment": revocation.environment,
        "person": revocation.person,
        "statement": str(revocation.statement),
        f"{ENVELOPE}_digest": str(Digest.of(revocation.envelope)),
    }


def parse_revocation(body: Mapping[str, Any]) -> Revocation:
    """Read the body of a leaf; members that are not known are passed over.

    Raises:
        FormatError: it does not say what is revoked, or by whom.
    """
    return Revocation(
        approval_id=_text(body, "approval_id"),
        role=_text(body, "role"),
        environment=_text(body, "environment"),
        person=_text(body, "person"),
        statement=Digest.parse(_text(body, "statement")),
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise FormatError(f"the record of a revocation has no text {name!r}", code="leaf_malformed")
    return value


def load_recorded(store: StoreLocation, *, cluster: str) -> tuple[Revocation, ...]:
    """What a record, live or a copy, says was revoked in a cluster; to look at, never to write.

    Raises:
        InputError: there is no such file.
        AuditError: it is not a record of this version, or can't be read; TamperError: a leaf is not what was hashed, or
            does not say what it revokes.
    """
    with open_reader(store) as reader:
        found = [(stored.index, read_stored(stored).body) for stored in reader.of_type(REVOCATION, start=0)]
    return _of_cluster(found, cluster)


def _of_cluster(leaves: Iterable[tuple[int, Mapping[str, Any]]], cluster: str) -> tuple[Revocation, ...]:
    found = []
    for index, body in leaves:
        if body.get("cluster") != cluster:
            continue
        try:
            found.append(parse_revocation(body))
        except FormatError as exc:
            raise leaf_malformed(index) from exc
    return tuple(found)


class RevocationRecord:
    """Takes revocations from a log, and puts there those that it has not.

    For one thread at a time; two at once may record one twice, which changes nothing.
    """

    def __init__(self, log: AuditLog, kept: KeptRevocations, *, cluster: str) -> None:
        self._log = log
        self._kept = kept
        self._cluster = cluster
        self._next = 0
        self._learned: dict[tuple[str, str, str], datetime] | None = None

    @property
    def waiting(self) -> int:
        """How many revocations count and are not in the record yet."""
        return len(self._kept.unrecorded())

    def learn(self, now: datetime) -> None:
        """Let those count that the log has and that were not read before: of the past, and of other replicas.

        One question to an index, however many decisions there are.

        Args:
            now: aware UTC.

        Raises:
            StoreUnavailable: the log can't be read.
            TamperError: a leaf is not what was hashed, or does not say what it revokes; nothing new is learned.
        """
        leaves = self._log.since(REVOCATION, self._next)
        found = _of_cluster(leaves, self._cluster)
        if self._learned is None:
            self._learned = {}
        else:
            known = {one.key for one in self._kept.now} if found else set[tuple[str, str, str]]()
            self._learned |= {one.key: now for one in found if one.key not in known}
        self._kept.add(found, recorded=True)
        if leaves:
            self._next = leaves[-1][0] + 1

    def may_be_on_its_way(self, revocation: Revocation, now: datetime) -> bool:
        """Whether another replica recorded it so lately that its file may not have come here yet."""
        learned = (self._learned or {}).get(revocation.key)
        return learned is not None and now - learned < ON_ITS_WAY

    def append_new(self, moment: datetime) -> Iterator[tuple[Revocation, Appended]]:
        """Record those that are not yet, for about two seconds; the rest is for the next time.

        Call :meth:`learn` before: another replica may have been first. Where both are at the same moment, the log has
        one twice, which changes nothing.

        Raises:
            AuditError: one could not be recorded. It counts all the same, and is tried again the next time.
        """
        until_s = time.monotonic() + AT_ONCE_S
        for one in self._kept.unrecorded():
            body = render_revocation(one, cluster=self._cluster, moment=moment)
            appended = self._log.append(body, attachments={ENVELOPE: one.envelope}, deadline_s=DEADLINE_S)
            self._kept.add((one,), recorded=True)
            yield one, appended
            if time.monotonic() >= until_s:
                return
