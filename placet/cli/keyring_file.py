"""The signed keyring's file and the keys that sign it, as the commands of ``placet keyring`` need them."""

from __future__ import annotations

from pathlib import Path

from placet.approvals.envelope import Envelope, parse_envelope
from placet.approvals.identities import KeyringPayload, read_keyring_payload
from placet.approvals.keyring import MAX_KEYRING_BYTES
from placet.approvals.keys import PublicKey, parse_public_pem
from placet.canonical import parse_json
from placet.errors import FormatError, InputError, SigningKeyError


def find_present(out: Path, payload: bytes, content: KeyringPayload) -> Envelope | None:
    """The envelope to add a signature to; None when a new one begins.

    Raises:
        InputError: the file is no keyring, or holds another content of the same version or a later one.
    """
    if not out.exists():
        return None
    try:
        envelope = parse_envelope(out.read_bytes().rstrip(b"\n"), max_bytes=MAX_KEYRING_BYTES)
        before = read_payload(envelope)
    except FormatError as exc:
        raise InputError(f"{out} is not a signed keyring: {exc}", hint="Name another file with --out.") from exc
    if envelope.payload == payload:
        return envelope
    if content.version <= before.version:
        raise InputError(
            f"{out} holds version {before.version} with another content",
            hint="Raise the version first: placet keyring renew.",
        )
    return None


def read_payload(envelope: Envelope) -> KeyringPayload:
    """What an envelope says.

    Raises:
        FormatError: it is no keyring.
    """
    return read_keyring_payload(parse_json(envelope.payload, max_bytes=MAX_KEYRING_BYTES, max_depth=8))


def load_public(file: Path) -> PublicKey:
    """A public key.

    Raises:
        SigningKeyError: the file can't be read, or is none.
    """
    try:
        return parse_public_pem(file.read_bytes())
    except OSError as exc:
        raise SigningKeyError(f"can't read the public key {file}: {exc.strerror or exc}") from exc
