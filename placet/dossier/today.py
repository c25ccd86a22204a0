"""What of a case no longer holds, by a newer keyring: another question than whether it held then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from placet.approvals.envelope import parse_envelope
from placet.approvals.identities import read_keyring_payload
from placet.approvals.keyring import MAX_KEYRING_BYTES, VerifiedKeyring, verify_keyring
from placet.approvals.times import describe_span
from placet.approvals.verify import VerifiedApproval
from placet.canonical import parse_json
from placet.dossier.judge import Roots
from placet.errors import FormatError, KeyringError


def read_newer_keyring(raw: bytes, roots: Roots) -> VerifiedKeyring:
    """A keyring whose signatures are verified, also where it has expired since.

    It is asked what it says, not whether it is in force.

    Args:
        raw: the signed envelope.
        roots: pinned by whoever verifies.

    Raises:
        KeyringError: it can't be trusted.
    """
    try:
        payload = parse_envelope(raw, max_bytes=MAX_KEYRING_BYTES).payload
        issued = read_keyring_payload(parse_json(payload, max_bytes=MAX_KEYRING_BYTES, max_depth=8)).issued
    except FormatError as exc:
        raise KeyringError(f"the keyring can't be read: {exc}", code="keyring_malformed") from exc
    return verify_keyring(raw, roots=roots.keys, threshold=roots.threshold, now=issued)


def compare_today(approvals: Iterable[VerifiedApproval], keyring: VerifiedKeyring, now: datetime) -> Iterator[str]:
    """A sentence for each thing that no longer holds.

    Args:
        approvals: that held when the decision fell.
        keyring: a newer one.
        now: aware UTC.
    """
    if now >= keyring.expires:
        yield f"the newer keyring, version {keyring.version}, expired {describe_span(now - keyring.expires)} ago"
    for one in approvals:
        name = f"approval {one.approval_id} of {one.person} ({one.role})"
        if one.approval_id in keyring.revoked_approvals:
            yield f"{name} has been revoked by keyring version {keyring.version}"
        held = keyring.find_key(one.key)
        if held is None:
            yield f"{name}: key {one.key[:12]} is not in keyring version {keyring.version}"
        elif (refusal := held[1].refuse_at(issued=one.issued_at, now=now)) is not None:
            yield f"{name}: {refusal.sentence}"
        if now >= one.expires:
            yield f"{name} expired {describe_span(now - one.expires)} ago"
