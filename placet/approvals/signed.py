"""The first half of the order of verification, common to approvals, revocations and evidence.

The numbers are those of docs/formats.md, "Order of verification":

 1. caps  2. strict envelope  3. payloadType  4. candidate keys  5. signature over the PAE of the exact bytes
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from placet.approvals.envelope import IN_TOTO_PAYLOAD_TYPE, Envelope, Signature, pae, parse_annotation
from placet.approvals.identities import Identity, IdentityKey
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.rejections import Refusal, RejectionCode
from placet.approvals.remembered import MAX_READ_BYTES, Remembered, check_signature_once
from placet.canonical import Digest
from placet.errors import FormatError

MAX_ENVELOPES: Final = 16
MAX_CHECKS: Final = 512


class Effort:
    """How many signature checks one decision may still make.

    A keyid is a hint that anybody can leave out, so that every key must be tried: many envelopes times many signatures
    times a large keyring would be a way to stop the gate.
    """

    __slots__ = ("left",)

    def __init__(self, checks: int = MAX_CHECKS) -> None:
        self.left = checks

    def spend(self) -> bool:
        """Take one check; False when none is left."""
        self.left -= 1
        return self.left >= 0


@dataclass(frozen=True, slots=True)
class Signing:
    """A key of the keyring that made a signature of the envelope."""

    identity: Identity
    key: IdentityKey


@dataclass(frozen=True, slots=True)
class SignedPayload:
    """Bytes that keys of the keyring signed. What they say, and whether those keys may say it, is not known yet.

    Attributes:
        payload: the exact signed bytes.
        digest: their SHA-256: the name of the statement in records.
        signings: who signed, distinct by key, non-empty.
        refused: one refusal for each other signature.
    """

    payload: bytes
    digest: Digest
    signings: tuple[Signing, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Opened:
    """An envelope with what follows from it: the bytes that are signed, and the digest of the payload."""

    envelope: Envelope
    message: bytes
    digest: Digest

    @classmethod
    def of(cls, envelope: Envelope) -> _Opened:
        return cls(envelope, pae(envelope.payload_type, envelope.payload), Digest.of(envelope.payload))


# Text of an annotation -> its envelope, where a key of a keyring has signed it: others are anybody's to make.
_OPENED: Final[Remembered[_Opened]] = Remembered()


def check_annotation(
    text: str, *, keyring: VerifiedKeyring, effort: Effort, payload_type: str = IN_TOTO_PAYLOAD_TYPE
) -> SignedPayload | Refusal:
    """Steps 1 to 5 for an envelope in an annotation."""
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() if len(text) <= MAX_READ_BYTES else b""
    known = _OPENED.find(key)
    try:
        opened = known or _Opened.of(parse_annotation(text))  # 1, 2
    except FormatError as exc:
        return Refusal(RejectionCode(exc.code), str(exc))
    found = _check_opened(opened, keyring, effort, payload_type)
    if known is None and key and isinstance(found, SignedPayload):
        _OPENED.keep(key, opened)
    return found


def check_envelope(
    envelope: Envelope, *, keyring: VerifiedKeyring, effort: Effort, payload_type: str = IN_TOTO_PAYLOAD_TYPE
) -> SignedPayload | Refusal:
    """Steps 3 to 5 for an envelope that was read."""
    return _check_opened(_Opened.of(envelope), keyring, effort, payload_type)


def _check_opened(
    opened: _Opened, keyring: VerifiedKeyring, effort: Effort, payload_type: str = IN_TOTO_PAYLOAD_TYPE
) -> SignedPayload | Refusal:
    envelope = opened.envelope
    if envelope.payload_type != payload_type:  # 3
        return Refusal(RejectionCode.PAYLOAD_TYPE, f"the envelope does not hold {payload_type}")
    signings: dict[str, Signing] = {}
    refused: list[Refusal] = []
    for signature in envelope.signatures:
        found = _find_signing(signature, opened.message, keyring, effort)
        if isinstance(found, Refusal):
            refused.append(found)
        else:
            signings.setdefault(found.key.public_key.fingerprint, found)
    if not signings:
        return refused[0]
    return SignedPayload(envelope.payload, opened.digest, tuple(signings.values()), tuple(refused))


def _find_signing(signature: Signature, message: bytes, keyring: VerifiedKeyring, effort: Effort) -> Signing | Refusal:
    for identity, key in _candidates(signature, keyring):  # 4
        if not effort.spend():
            return Refusal(RejectionCode.TOO_MUCH_WORK, f"more than {MAX_CHECKS} signature checks would be needed")
        if check_signature_once(key.public_key, message, signature.sig):  # 5
            return Signing(identity, key)
    if keyring.find_key(signature.keyid) is not None:
        short = signature.keyid[:12]
        return Refusal(RejectionCode.SIGNATURE_INVALID, f"the signature is not one of key {short} over this statement")
    return Refusal(RejectionCode.SIGNER_UNKNOWN, "no key of the keyring made the signature")


def _candidates(signature: Signature, keyring: VerifiedKeyring) -> Iterator[tuple[Identity, IdentityKey]]:
    hinted = keyring.find_key(signature.keyid)
    if hinted is not None:
        yield hinted
    for identity, key in keyring.all_keys():
        if (hinted is None or key is not hinted[1]) and key.public_key.may_have_made(signature.sig):
            yield identity, key
