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
from placet.audit.log import Appended, AuditLog, render_time
from placet.audit.person_keys import PersonKeys
from placet.audit.persons import find_nonce, find_sealed
from placet.audit.record import ERASURE, REVOCATION, SCHEMA
from placet.audit.sealer import seal_event
from placet.audit.stored import leaf_malformed, read_stored
from placet.canonical import Digest
from placet.errors import FormatError

ENVELOPE: Final = "envelope"
SOMEBODY: Final = "somebody whose name is sealed"
"""The person of a revocation whose name has no key, or none here: it revokes all the same."""
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
    nonce, person = find_nonce(body), _text(body, "person")
    sealed = nonce is not None and any(find_sealed(person, nonce))
    return Revocation(
        approval_id=_text(body, "approval_id"),
        role=_text(body, "role"),
        environment=_text(body, "environment"),
        person=SOMEBODY if sealed else person,
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

    def __init__(
        self, log: AuditLog, kept: KeptRevocations, *, cluster: str, persons: PersonKeys | None = None
    ) -> None:
        """Take them from this log.

        Args:
            log: open.
            kept: where they count.
            cluster: of the gate.
            persons: what names of persons are sealed with; None to keep names as they are.
        """
        self._log = log
        self._kept = kept
        self._cluster = cluster
        self._persons = persons
        self._sealed: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self._erasures = 0
        self._stale = False
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
            AuditError: names can't be opened. All of them count by then, taken back by somebody.
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
        self._tell_persons(leaves)

    def _tell_persons(self, leaves: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Say by whom, where the record has it sealed; and no longer once that was erased.

        A name that is kept here would be recorded again, under a new key, by the next sentence that has it.
        """
        if self._persons is None:
            return
        new = [body for _, body in leaves if body.get("cluster") == self._cluster and find_nonce(body) is not None]
        erased = self._log.since(ERASURE, self._erasures)
        self._sealed |= {parse_revocation(body).key: body for body in new}
        self._stale |= bool(new or erased)
        if erased:
            self._erasures = erased[-1][0] + 1
        if self._stale and self._sealed:
            opener = self._persons.opener()
            opened = {key: parse_revocation(opener.open(body)).person for key, body in self._sealed.items()}
            self._kept.tell(opened)
        self._stale = False

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
            body = seal_event(render_revocation(one, cluster=self._cluster, moment=moment), self._persons)
            appended = self._log.append(body, attachments={ENVELOPE: one.envelope}, deadline_s=DEADLINE_S)
            self._kept.add((one,), recorded=True)
            yield one, appended
            if time.monotonic() >= until_s:
                return
