"""Cosignatures of witnesses, C2SP tlog-cosignature v1 with Ed25519 (https://c2sp.org/tlog-cosignature).

A witness says of a checkpoint: at this time, this was the largest tree of this log that I have seen, and it extends all
that I saw before. Its line in the note is one among the others; verifiers pass over those of keys that they don't know.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from placet.audit.note import parse_note, render_signature, split_vkey
from placet.errors import FormatError, TamperError

_TYPE: Final = b"\x04"
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_MAX_TIME: Final = 253_402_300_799  # the end of the year 9999; the format allows more
_HEADER: Final = "cosignature/v1"


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The public half of a witness's key.

    Attributes:
        name: of the witness, ``witness.example.org/w1``.
        public: 32 bytes, RFC 8032.
    """

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + _TYPE + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_TYPE + self.public).decode()}"


@dataclass(frozen=True, slots=True)
class Cosigner:
    """The private half: cosigns checkpoints.

    Attributes:
        name: of the witness.
        private: never shown, logged or recorded; of this witness alone, as a cosignature does not hold its name.
    """

    name: str
    private: Ed25519PrivateKey = field(repr=False)

    @property
    def verifier(self) -> WitnessKey:
        """The public half."""
        return WitnessKey(self.name, self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def cosign(self, raw_note: bytes, *, moment: datetime) -> bytes:
        """The note with this witness's line at its end; another line by the same key is left out.

        Args:
            raw_note: a signed checkpoint; whether it deserves this is the caller's to know.
            moment: aware UTC; the seconds count.

        Raises:
            FormatError: not a signed note.
        """
        text, _ = parse_note(raw_note)
        seconds = int(moment.timestamp())
        stamped = seconds.to_bytes(_TIME_BYTES, "big") + self.private.sign(_message(text, seconds))
        line = render_signature(self.name, self.verifier.key_id + stamped)
        kept = [one for one in _lines(raw_note) if _key_of(one) != (self.name, self.verifier.key_id)]
        return (f"{text}\n" + "".join([*kept, line])).encode()


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A line of a witness that has been verified; built by ``verify_cosignatures`` alone.

    Attributes:
        witness: whose it is.
        moment: when it was made, as the witness says; aware UTC.
    """

    witness: WitnessKey
    moment: datetime


def parse_witness_vkey(text: str) -> WitnessKey:
    """Read the verifier key of a witness.

    Raises:
        FormatError: not ``name+hash+base64`` of an Ed25519 cosigner's key, or the hash is not that of name and key.
    """
    name, key_hash, raw = split_vkey(text)
    if raw[:1] == b"\x01":
        raise FormatError("that is the verifier key of a log, not that of a witness", code="vkey_invalid")
    if len(raw) != 1 + 32 or raw[:1] != _TYPE:
        raise FormatError("not the verifier key of an Ed25519 witness", code="vkey_invalid")
    key = WitnessKey(name, raw[1:])
    if key.key_id.hex() != key_hash:
        raise FormatError("the verifier key's hash is not that of its name and key", code="vkey_invalid")
    return key


def verify_cosignatures(raw_note: bytes, keys: Sequence[WitnessKey]) -> list[Cosignature]:
    """What the known witnesses have said about a checkpoint, each witness once and in the order of ``keys``.

    Args:
        raw_note: a signed checkpoint; the log's signature is not looked at here.
        keys: those of the witnesses that are trusted.

    Raises:
        FormatError: not a signed note.
        TamperError: a line by a known witness is not a cosignature of this text.
    """
    text, signatures = parse_note(raw_note)
    found: dict[WitnessKey, Cosignature] = {}
    for name, signature in signatures:
        for key in keys:
            if (key.name, key.key_id) == (name, signature[:_ID_BYTES]):
                moment = _verify(text, key, signature[_ID_BYTES:])
                if key not in found or found[key].moment < moment:
                    found[key] = Cosignature(key, moment)
    return [found[key] for key in dict.fromkeys(keys) if key in found]


def count_witnesses(found: Sequence[Cosignature]) -> int:
    """How many there are, by their public keys: one key under two names is one witness."""
    return len({one.witness.public for one in found})


def require_witnesses(raw_note: bytes, keys: Sequence[WitnessKey], threshold: int) -> list[Cosignature]:
    """The cosignatures of a note, at least ``threshold`` of them.

    Raises:
        FormatError: not a signed note.
        TamperError: ``witness_missing`` when there are fewer; ``cosignature_invalid`` when one is wrong.
    """
    found = verify_cosignatures(raw_note, keys)
    if count_witnesses(found) < threshold:
        raise TamperError(
            f"{count_witnesses(found)} of the given witnesses cosigned the checkpoint, and {threshold} have to",
            code="witness_missing",
            hint="Ask for a checkpoint that carries their cosignatures: `placet audit witness` adds them.",
        )
    return found


def _verify(text: str, key: WitnessKey, stamped: bytes) -> datetime:
    problem = TamperError(f"the cosignature by {key.name} is wrong", code="cosignature_invalid")
    seconds = int.from_bytes(stamped[:_TIME_BYTES], "big")
    if len(stamped) != _TIME_BYTES + _SIGNATURE_BYTES or seconds > _MAX_TIME:
        raise problem
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(stamped[_TIME_BYTES:], _message(text, seconds))
    except (InvalidSignature, ValueError) as exc:
        raise problem from exc
    return datetime.fromtimestamp(seconds, UTC)


def _message(text: str, seconds: int) -> bytes:
    return f"{_HEADER}\ntime {seconds}\n{text}".encode()


def _lines(raw_note: bytes) -> list[str]:
    return raw_note.decode().rpartition("\n\n")[2].splitlines(keepends=True)


def _key_of(line: str) -> tuple[str, bytes]:
    _, name, encoded = line.split(" ", 2)
    return name, base64.b64decode(encoded)[:_ID_BYTES]
