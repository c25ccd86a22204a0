"""Approvals that were taken back: a folder of signed revocations beside the keyring's own list.

A revocation that can't be read or verified is an error, never skipped: an approval that it names would count again. And
one that has counted goes on counting when its file is gone (ADR 26).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from placet.approvals.envelope import MAX_ENVELOPE_BYTES, parse_envelope
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal
from placet.approvals.signed import Effort, SignedPayload, check_envelope
from placet.approvals.statement import RevocationStatement, parse_statement
from placet.canonical import Digest
from placet.errors import FormatError, KeyringError

SUFFIX: Final = ".dsse.json"
MAX_FILES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Revocation:
    """One approval that was taken back, by somebody who may.

    Attributes:
        approval_id: the approval.
        role: the approval's role.
        environment: the approval's environment.
        person: who took it back.
        statement: digest of the signed bytes.
        envelope: the signed envelope as its file has it; empty where it is not at hand.
    """

    approval_id: str
    role: str
    environment: str
    person: str
    statement: Digest
    envelope: bytes = field(default=b"", repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What is taken back: approval, role and environment."""
        return self.approval_id, self.role, self.environment


@dataclass(frozen=True, slots=True)
class Revocations:
    """What was taken back by signed revocations. Built by ``load_revocations``, ``KeptRevocations`` and ``none``."""

    _found: Mapping[tuple[str, str, str], Revocation] = field(repr=False)

    @classmethod
    def none(cls) -> Revocations:
        """No folder of revocations is in use."""
        return cls(MappingProxyType({}))

    def find(self, approval_id: str, *, role: str, environment: str) -> Revocation | None:
        """The revocation of that approval.

        Role and environment are part of the name: who may revoke in development must not reach production by naming
        an approval of production.
        """
        return self._found.get((approval_id, role, environment))

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Revocation]:
        return iter(self._found.values())


class KeptRevocations:
    """Every revocation that has ever counted, here or by the record. It only grows. Thread-safe.

    Attributes:
        now: all of them. Another value each time that there are more, so that whoever decides merges nothing.
    """

    def __init__(self, known: Iterable[Revocation] = ()) -> None:
        """Start with those that the record has, or that others see to."""
        self._lock = threading.Lock()
        self._unrecorded: dict[tuple[str, str, str], Revocation] = {}
        self.now = Revocations.none()
        self.add(known, recorded=True)

    def add(self, found: Iterable[Revocation], *, recorded: bool = False) -> None:
        """Let these count from now on; of two for one approval, role and environment the first stays.

        Args:
            found: verified, or read from the record.
            recorded: whether they are in the record. Those that are not wait in ``unrecorded`` until they are.
        """
        with self._lock:
            kept = self.now
            new: dict[tuple[str, str, str], Revocation] = {}
            for one in found:
                known = one.key in new or kept.find(one.approval_id, role=one.role, environment=one.environment)
                if recorded:
                    self._unrecorded.pop(one.key, None)
                elif not known:
                    self._unrecorded[one.key] = one
                if not known:
                    new[one.key] = replace(one, envelope=b"")
            if new:
                self.now = Revocations(MappingProxyType({one.key: one for one in kept} | new))

    def tell(self, persons: Mapping[tuple[str, str, str], str]) -> None:
        """Name who took approvals back, by ``Revocation.key``; of those that count, and nothing else changes."""
        with self._lock:
            changed = {
                one.key: replace(one, person=name)
                for one in self.now
                if (name := persons.get(one.key, one.person)) != one.person
            }
            if changed:
                self.now = Revocations(MappingProxyType({one.key: one for one in self.now} | changed))

    def unrecorded(self) -> tuple[Revocation, ...]:
        """Those that count and that nobody has recorded yet, with their envelopes."""
        with self._lock:
            return tuple(self._unrecorded.values())

    def apart(self) -> KeptRevocations:
        """The same for a trust that is not in office: what it finds counts for it alone until it is."""
        return KeptRevocations(self.now)


def load_revocations(folder: Path, *, keyring: VerifiedKeyring) -> Revocations:
    """Read every ``*.dsse.json`` file of a folder.

    Raises:
        KeyringError: with code ``revocations_unreadable``: the folder or a file can't be read, or a file is not a
            revocation by somebody whom the keyring lets approve, and so revoke, in that role and environment.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
        if len(files) > MAX_FILES:
            raise _unreadable(folder, f"it holds {len(files)} files, more than the {MAX_FILES} that are read")
        contents = [(path, _read(path)) for path in files]
    except OSError as exc:
        raise _unreadable(folder, str(exc.strerror or exc)) from exc
    found: dict[tuple[str, str, str], Revocation] = {}
    for path, raw in contents:
        revocation = _verify(path, raw, keyring)
        found.setdefault(revocation.key, revocation)
    return Revocations(MappingProxyType(found))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_ENVELOPE_BYTES + 1)


def _unreadable(path: Path, why: str) -> KeyringError:
    return KeyringError(
        f"the revocation {path} can't be used: {why}",
        code="revocations_unreadable",
        hint="Repair it, or add its approval id to the keyring's revokedApprovals and remove the file.",
    )


def _verify(path: Path, raw: bytes, keyring: VerifiedKeyring) -> Revocation:
    try:
        signed = check_envelope(parse_envelope(raw), keyring=keyring, effort=Effort())
        if isinstance(signed, Refusal):
            raise _unreadable(path, signed.sentence)
        statement = parse_statement(signed.payload)
    except FormatError as exc:
        raise _unreadable(path, str(exc)) from exc
    if not isinstance(statement, RevocationStatement):
        raise _unreadable(path, "it is an approval, not a revocation")
    return Revocation(
        approval_id=statement.approval_id,
        role=statement.role,
        environment=statement.environment,
        person=_entitled_person(path, statement, signed),
        statement=signed.digest,
        envelope=raw,
    )


def _entitled_person(path: Path, statement: RevocationStatement, signed: SignedPayload) -> str:
    """Who of the signers may revoke. The time of the key does not matter.

    A key that has expired or was replaced since does not bring an approval back, and to deny on the word of a
    compromised key is the safe side. Whoever gave an approval that still counts holds the grant that is asked for here.
    """
    for signing in signed.signings:
        for grant in signing.identity.grants:
            if grant.role == statement.role and statement.environment in grant.environments:
                return signing.identity.person
    raise _unreadable(path, f"its signer has no grant for {statement.role} in {statement.environment}")
