"""Exemptions as files: a folder of signed envelopes, read again when anything in it has changed.

What can't be read or verified exempts nothing, and is no reason to refuse anybody else: unlike a revocation, an
exemption that is missed closes the gate. It is kept as a fault, so that somebody is told.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from placet.approvals.envelope import MAX_ENVELOPE_BYTES, parse_envelope
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal
from placet.approvals.signed import Effort, Signing, check_envelope
from placet.canonical import Digest
from placet.errors import FormatError
from placet.exemptions.statement import PAYLOAD_TYPE, ExemptionStatement, parse_exemption

SUFFIX: Final = ".dsse.json"
MAX_FILES: Final = 10_000
MAX_FAULTS: Final = 100


@dataclass(frozen=True, slots=True)
class SignedExemption:
    """An exemption that keys of the keyring signed. Whether those keys may say so is asked at each decision.

    Attributes:
        statement: what was signed.
        digest: of the signed bytes.
        signings: who signed, distinct by key, non-empty.
        file: name of its file.
        envelope: the signed envelope as its file has it; empty where it is not at hand.
    """

    statement: ExemptionStatement
    digest: Digest
    signings: tuple[Signing, ...]
    file: str
    envelope: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """A file, or the folder, that exempts nothing.

    Attributes:
        file: its name.
        why: for a person; text of a file is not in it.
    """

    file: str
    why: str


@dataclass(frozen=True, slots=True)
class SignedExemptions:
    """What a folder held at one moment.

    Attributes:
        faults: files that do not count, the first few.
    """

    faults: tuple[Fault, ...] = ()
    _places: Mapping[tuple[str, str, str], tuple[SignedExemption, ...]] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )

    @classmethod
    def of(cls, found: tuple[SignedExemption, ...], faults: tuple[Fault, ...] = ()) -> SignedExemptions:
        """Put them where they are looked for; one that two files hold counts once."""
        places: dict[tuple[str, str, str], dict[Digest, SignedExemption]] = {}
        for one in found:
            said = one.statement
            places.setdefault((said.environment, said.namespace, said.workload), {}).setdefault(one.digest, one)
        return cls(faults, MappingProxyType({place: tuple(held.values()) for place, held in places.items()}))

    def find(self, *, environment: str, namespace: str, workload: str) -> tuple[SignedExemption, ...]:
        """Those that name this workload, letter by letter."""
        return self._places.get((environment, namespace, workload), ())

    @property
    def all(self) -> tuple[SignedExemption, ...]:
        """Each one."""
        return tuple(one for held in self._places.values() for one in held)


class Exemptions(Protocol):
    """Where exemptions come from."""

    def load(self, keyring: VerifiedKeyring) -> SignedExemptions:
        """Those of now; what can't be read is among their faults."""


@dataclass(frozen=True, slots=True)
class NoExemptions:
    """No folder of exemptions is in use."""

    def load(self, keyring: VerifiedKeyring) -> SignedExemptions:  # noqa: ARG002 - the Protocol's names
        """None."""
        return SignedExemptions()


class FolderExemptions:
    """The exemptions of a folder. Thread-safe; reads a file again only when something in the folder has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: tuple[tuple[Any, ...], SignedExemptions] | None = None

    def load(self, keyring: VerifiedKeyring) -> SignedExemptions:
        """See :class:`Exemptions`."""
        state = (str(keyring.digest), *_list_state(self._folder))
        with self._lock:
            if self._kept is not None and self._kept[0] == state:
                return self._kept[1]
        found = load_exemptions(self._folder, keyring=keyring)
        with self._lock:
            self._kept = (state, found)
        return found


def load_exemptions(folder: Path, *, keyring: VerifiedKeyring) -> SignedExemptions:
    """Read every ``*.dsse.json`` file of a folder; what can't be used is among the faults."""
    found: list[SignedExemption] = []
    faults: list[Fault] = []
    try:
        files = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    except OSError as exc:
        return SignedExemptions.of((), (Fault(folder.name, f"the folder can't be read: {exc.strerror or exc}"),))
    if len(files) > MAX_FILES:
        why = f"it holds {len(files)} files, more than the {MAX_FILES} that are read"
        return SignedExemptions.of((), (Fault(folder.name, why),))
    for path in files:
        read = _load(path, keyring)
        if isinstance(read, Fault):
            faults.append(read)
        else:
            found.append(read)
    return SignedExemptions.of(tuple(found), tuple(faults[:MAX_FAULTS]))


def _load(path: Path, keyring: VerifiedKeyring) -> SignedExemption | Fault:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_ENVELOPE_BYTES + 1)
    except OSError as exc:
        return Fault(path.name, f"it can't be read: {exc.strerror or exc}")
    read = check_signed(raw, keyring=keyring)
    if isinstance(read, str):
        return Fault(path.name, read)
    statement, digest, signings = read
    return SignedExemption(statement, digest, signings, path.name, raw)


def check_signed(
    raw: bytes, *, keyring: VerifiedKeyring
) -> tuple[ExemptionStatement, Digest, tuple[Signing, ...]] | str:
    """Steps 1 to 7 (placet/exemptions/verify.py) for the bytes of a file; a sentence where one fails."""
    try:
        envelope = parse_envelope(raw)  # 1, 2
        signed = check_envelope(envelope, keyring=keyring, effort=Effort(), payload_type=PAYLOAD_TYPE)  # 3-5
        if isinstance(signed, Refusal):
            return signed.sentence
        return parse_exemption(signed.payload), signed.digest, signed.signings  # 6, 7
    except FormatError as exc:
        return str(exc)


def _list_state(folder: Path) -> tuple[Any, ...]:
    """What changes when a file of the folder does, read before the files are."""
    try:
        with os.scandir(folder) as entries:
            return tuple(
                sorted(
                    (entry.name, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
                    for entry in entries
                    for state in (entry.stat(),)
                )
            )
    except OSError:
        return (object(),)  # equal to nothing: the loader says what is wrong
