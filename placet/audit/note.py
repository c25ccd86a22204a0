"""C2SP signed notes with Ed25519 keys (https://c2sp.org/signed-note), and the log's own key.

A verifier key is written ``name+hash+base64``, as golang.org/x/mod/sumdb/note writes it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from placet.errors import FormatError, SigningKeyError, TamperError

MAX_NOTE_BYTES: Final = 64 * 1024
MAX_SIGNATURES: Final = 100  # as golang.org/x/mod/sumdb/note
_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_DASH: Final = "\u2014 "
_HEX_ID: Final = re.compile(r"[0-9a-f]{8}", re.ASCII)
_MAX_KEY_FILE_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a log's key.

    Attributes:
        name: key name; for a log, its origin.
        public: 32 bytes, RFC 8032.
    """

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart: no fingerprint to trust."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"


def parse_vkey(text: str) -> VerifierKey:
    """Read a verifier key.

    Raises:
        FormatError: not ``name+hash+base64`` of an Ed25519 key, or the hash is not that of name and key.
    """
    name, key_hash, raw = split_vkey(text)
    if len(raw) != 1 + _KEY_BYTES or raw[:1] != _ED25519:
        raise FormatError("not an Ed25519 verifier key", code="vkey_invalid")
    key = VerifierKey(name, raw[1:])
    if key.key_id.hex() != key_hash:
        raise FormatError("the verifier key's hash is not that of its name and key", code="vkey_invalid")
    return key


def split_vkey(text: str) -> tuple[str, str, bytes]:
    """Name, hash in hexadecimal, and type and key of a verifier key; whether they go together is not looked at.

    Raises:
        FormatError: not ``name+hash+base64``.
    """
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not is_key_name(parts[0]) or not _HEX_ID.fullmatch(parts[1]):  # noqa: PLR2004 - name+hash+key
        raise FormatError("not a verifier key of the form name+hash+base64", code="vkey_invalid")
    return parts[0], parts[1], _decode(parts[2])


def is_key_name(name: str) -> bool:
    """Whether a note can be signed in this name: not empty, no space, no plus, no control character."""
    return bool(name) and "+" not in name and name.isprintable() and not any(char.isspace() for char in name)


@dataclass(frozen=True, slots=True)
class LogKey:
    """The private half: signs checkpoints.

    Attributes:
        name: key name; the log's origin.
        private: never shown, logged or recorded.
        successor: the key that takes over, while keys are changed: it signs each checkpoint as well.
    """

    name: str
    private: Ed25519PrivateKey = field(repr=False)
    successor: LogKey | None = None

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]:
        """The public halves of this key and of its successor."""
        return (self.verifier, *(self.successor.verifiers if self.successor is not None else ()))

    def sign(self, text: str) -> str:
        """The note of this text with the signature of this key, and then that of its successor.

        Raises:
            FormatError: the text does not end in a new line, or holds another control character.
        """
        _require_text(text)
        return f"{text}\n{self.signature_line(text)}"

    def signature_line(self, text: str) -> str:
        """The line of this key in a note of this text, and that of its successor."""
        line = render_signature(self.name, self.verifier.key_id + self.private.sign(text.encode()))
        return line + (self.successor.signature_line(text) if self.successor is not None else "")


def generate_log_key(path: Path, *, name: str, passphrase: bytes | None = None) -> LogKey:
    """Make a key and write it as PKCS#8 PEM, readable by its owner alone.

    Raises:
        SigningKeyError: the file exists or can't be written, or the name can't be one of a key.
    """
    key = LogKey(_require_name(name), Ed25519PrivateKey.generate())
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as exc:
        raise SigningKeyError(
            f"{path} exists already", code="key_exists", hint="Choose another file; a key is never overwritten."
        ) from exc
    except OSError as exc:
        raise SigningKeyError(f"{path} can't be written: {exc.strerror}", code="key_unreadable") from exc
    return key


def load_log_key(path: Path, *, name: str, passphrase: bytes | None = None) -> LogKey:
    """Read the log's private key from a PKCS#8 PEM file.

    Raises:
        SigningKeyError: the file can't be read, is no Ed25519 key, or needs another passphrase.
    """
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_KEY_FILE_BYTES)
    except OSError as exc:
        raise SigningKeyError(f"{path} can't be read: {exc.strerror}", code="key_unreadable") from exc
    try:
        private = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError) as exc:
        hint = "An encrypted key needs its passphrase, one in clear needs none."
        raise SigningKeyError(f"{path} is no PEM key that can be opened", code="key_invalid", hint=hint) from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise SigningKeyError(f"{path} is not an Ed25519 key", code="key_invalid")
    return LogKey(_require_name(name), private)


def verify_note(raw: bytes, keys: Sequence[VerifierKey]) -> str:
    """The text of a note that at least one of the keys has signed.

    Signatures by other keys are passed over (witnesses may add theirs); one by a known key that does not verify
    condemns the note.

    Args:
        raw: the note, unverified.
        keys: those that are trusted.

    Raises:
        FormatError: not a signed note.
        TamperError: no trusted key has signed it, or a trusted key's signature is wrong.
    """
    text, signatures = parse_note(raw)
    verified = False
    for name, signature in signatures:
        for key in keys:
            if key.name != name or key.key_id != signature[:_ID_BYTES]:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(signature[_ID_BYTES:], text.encode())
            except (InvalidSignature, ValueError) as exc:
                raise TamperError(f"the signature by {name} is wrong", code="checkpoint_invalid") from exc
            verified = True
    if not verified:
        hint = "Give the verifier key of this log; after a change of keys, give the old ones too."
        raise TamperError("no trusted key has signed the checkpoint", code="checkpoint_invalid", hint=hint)
    return text


def parse_note(raw: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Split a note into its text and (key name, key id and signature) pairs. Nothing is verified.

    Raises:
        FormatError: not a signed note.
    """
    if len(raw) > MAX_NOTE_BYTES:
        raise FormatError("a note of more than 64 KiB", code="too_large")
    try:
        whole = raw.decode("utf-8", errors="strict")
    except UnicodeDecodeError as exc:
        raise FormatError("the note is not UTF-8", code="not_utf8") from exc
    text, blank, block = whole.rpartition("\n\n")
    if not blank or not block.endswith("\n"):
        raise FormatError("not a signed note: no signatures after an empty line", code="note_invalid")
    _require_text(text + "\n")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise FormatError(f"a note of more than {MAX_SIGNATURES} signatures", code="note_invalid")
    return text + "\n", [_parse_signature(line) for line in lines]


def render_signature(name: str, signature: bytes) -> str:
    """A signature line of a note: the key's name, its id and what it signed."""
    return f"{_DASH}{name} {base64.b64encode(signature).decode()}\n"


def _parse_signature(line: str) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not is_key_name(name):
        raise FormatError("a signature line of the note is malformed", code="note_invalid")
    signature = _decode(encoded)
    if len(signature) <= _ID_BYTES:
        raise FormatError("a signature of the note is too short", code="note_invalid")
    return name, signature


def _decode(encoded: str) -> bytes:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise FormatError("not base64", code="note_invalid") from exc
    if base64.b64encode(raw).decode() != encoded:  # unused bits set: a second spelling of the same bytes
        raise FormatError("not canonical base64", code="note_invalid")
    return raw


def _require_text(text: str) -> None:
    if not text.endswith("\n") or any(char < " " and char != "\n" for char in text):
        raise FormatError(
            "the text of a note ends in a new line and holds no other control character", code="note_invalid"
        )


def _require_name(name: str) -> str:
    if not is_key_name(name):
        raise SigningKeyError(
            f"{name!r} can't be the name of a key",
            code="key_name_invalid",
            hint="No spaces and no plus sign, as in placet.dev/log/prod-eu-1.",
        )
    return name
