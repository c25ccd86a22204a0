"""The DSSE envelope (https://github.com/secure-systems-lab/dsse, v1.0.2), read strictly, and its annotation form.

Stricter than the DSSE text in three places, so that one envelope has one reading: unknown members are refused, base64
has one spelling and no URL-safe alphabet, and there are caps before any work is done.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from placet.approvals.closed import ClosedObject, decode_base64
from placet.canonical import parse_json, render_canonical
from placet.errors import FormatError

MAX_ENVELOPE_BYTES: Final = 64 * 1024
MAX_SIGNATURES: Final = 8
IN_TOTO_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_MAX_DEPTH: Final = 4
_MAX_KEYID_CHARS: Final = 512
_MAX_SIGNATURE_BYTES: Final = 1024
_MAX_PAYLOAD_TYPE_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of an envelope.

    Attributes:
        keyid: a hint and nothing more, "" when absent; it is not signed.
        sig: raw signature bytes.
    """

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type, and signatures over both. Nothing in it has been verified.

    Attributes:
        payload: the exact bytes that are signed.
        payload_type: what the bytes are.
        signatures: 1 to ``MAX_SIGNATURES``.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: the bytes that are signed. Lengths count bytes, not characters."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def parse_envelope(raw: bytes, *, max_bytes: int = MAX_ENVELOPE_BYTES) -> Envelope:
    """Read the JSON form of an envelope.

    Args:
        raw: JSON text, unverified.
        max_bytes: the most that is read.

    Raises:
        FormatError: with code ``too_large`` or ``envelope_malformed``.
    """
    if len(raw) > max_bytes:
        raise FormatError(f"the envelope has {len(raw)} bytes, more than the {max_bytes} allowed", code="too_large")
    try:
        return _read_envelope(parse_json(raw, max_bytes=max_bytes, max_depth=_MAX_DEPTH))
    except FormatError as exc:
        raise FormatError(f"the envelope can't be read: {exc}", code="envelope_malformed") from exc


def _read_envelope(value: object) -> Envelope:
    members = ClosedObject(value, "envelope")
    payload = members.base64("payload")
    payload_type = members.text("payloadType", max_chars=_MAX_PAYLOAD_TYPE_CHARS)
    signatures = []
    for entry in members.children("signatures", maximum=MAX_SIGNATURES):
        keyid = entry.text("keyid", max_chars=_MAX_KEYID_CHARS, empty=True) if entry.has("keyid") else ""
        sig = entry.base64("sig")
        if not 0 < len(sig) <= _MAX_SIGNATURE_BYTES:
            raise FormatError(f"{entry.path}.sig has {len(sig)} bytes, not 1 to {_MAX_SIGNATURE_BYTES}")
        entry.close()
        signatures.append(Signature(keyid, sig))
    members.close()
    return Envelope(payload, payload_type, tuple(signatures))


def render_envelope(envelope: Envelope) -> bytes:
    """The JSON form, canonical, with no line break at the end."""
    return render_canonical(
        {
            "payload": base64.b64encode(envelope.payload).decode("ascii"),
            "payloadType": envelope.payload_type,
            "signatures": [
                {"keyid": signature.keyid, "sig": base64.b64encode(signature.sig).decode("ascii")}
                for signature in envelope.signatures
            ],
        }
    )


def parse_annotation(text: str) -> Envelope:
    """Read the form that stands in an annotation: base64 of the envelope's JSON.

    Raises:
        FormatError: with code ``too_large`` or ``envelope_malformed``.
    """
    # Refused by its length before a byte of it is decoded.
    if len(text) > (MAX_ENVELOPE_BYTES + 2) // 3 * 4:
        raise FormatError(f"the annotation holds more than {MAX_ENVELOPE_BYTES} bytes", code="too_large")
    try:
        raw = decode_base64(text, what="the annotation")
    except FormatError as exc:
        raise FormatError(str(exc), code="envelope_malformed") from exc
    return parse_envelope(raw)


def render_annotation(envelope: Envelope) -> str:
    """The envelope as the value of an annotation."""
    return base64.b64encode(render_envelope(envelope)).decode("ascii")
