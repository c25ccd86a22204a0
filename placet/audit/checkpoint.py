"""Checkpoints: what the log commits to at one size (https://c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from placet.audit.merkle import HASH_BYTES, MAX_SIZE
from placet.audit.note import LogKey, VerifierKey, verify_note
from placet.errors import FormatError, TamperError

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One state of a log.

    Attributes:
        origin: which log.
        size: number of leaves.
        root: 32 bytes, the root of the tree of these leaves.
    """

    origin: str
    size: int
    root: bytes

    def render(self) -> str:
        """The text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint(Checkpoint):
    """A checkpoint whose signature has been checked; built by ``verify_checkpoint`` and ``sign_checkpoint`` alone.

    Attributes:
        note: the signed note, as it was read.
    """

    note: str


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note. Nothing is verified. Extension lines are passed over.

    Raises:
        FormatError: not origin, size and root, each on its line.
    """
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < _LINES or not all(lines):
        raise FormatError("a checkpoint is an origin, a size and a root, each on its line", code="checkpoint_malformed")
    if not _SIZE.fullmatch(lines[1]) or int(lines[1]) > MAX_SIZE:
        raise FormatError("the size of a checkpoint is not a plain decimal number", code="checkpoint_malformed")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError) as exc:
        raise FormatError("the root of a checkpoint is not base64", code="checkpoint_malformed") from exc
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != lines[2]:
        raise FormatError("the root of a checkpoint is not the base64 of 32 bytes", code="checkpoint_malformed")
    return Checkpoint(lines[0], int(lines[1]), root)


def verify_checkpoint(raw: bytes, keys: Sequence[VerifierKey]) -> VerifiedCheckpoint:
    """A checkpoint that a trusted key has signed in the name of its own log.

    Args:
        raw: the note, unverified.
        keys: verifier keys of this log: one, or several after a change of keys.

    Raises:
        FormatError: not a signed note, or its text is no checkpoint.
        TamperError: no trusted key has signed it, a signature is wrong, or it is of another log.
    """
    text = verify_note(raw, keys)
    read = parse_checkpoint(text)
    if all(key.name != read.origin for key in keys):
        raise TamperError(f"the checkpoint is of another log: {read.origin}", code="checkpoint_invalid")
    return VerifiedCheckpoint(read.origin, read.size, read.root, raw.decode())


def sign_checkpoint(key: LogKey, *, size: int, root: bytes) -> VerifiedCheckpoint:
    """Sign one state. Ed25519 is deterministic: the same state gives the same bytes."""
    unsigned = Checkpoint(key.name, size, root)
    return VerifiedCheckpoint(unsigned.origin, size, root, key.sign(unsigned.render()))
