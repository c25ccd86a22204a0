"""The keyring: who may approve and attest what, signed by k of n root keys that configuration pins.

The numbers stand at the statements of ``verify_keyring``:

 1. caps  2. strict envelope  3. payloadType  4. k distinct pinned roots signed the exact bytes
 5. strict payload, closed schema  6. no root key is an identity's key  7. never an older version  8. time
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from placet.approvals.envelope import Envelope, pae, parse_envelope
from placet.approvals.identities import Identity, IdentityKey, KeyringPayload, read_keyring_payload
from placet.approvals.keys import PublicKey, check_signature, parse_public_pem
from placet.approvals.times import describe_span
from placet.canonical import Digest, parse_json
from placet.errors import FormatError, KeyringError, SigningKeyError

KEYRING_PAYLOAD_TYPE: Final = "application/vnd.placet.keyring.v1+json"
MAX_KEYRING_BYTES: Final = 4 * 1024 * 1024
_MAX_ROOTS: Final = 16
_NEW_ONE: Final = "The security team issues a new one: `placet keyring renew` and `placet keyring sign`."


@dataclass(frozen=True, slots=True)
class VerifiedKeyring:
    """A keyring whose signatures, form, version and time were checked. Built by ``verify_keyring`` alone.

    Attributes:
        version: grows with each change.
        issued: first moment that it holds.
        expires: first moment that it no longer holds.
        identities: id -> identity.
        thresholds: role -> distinct persons wanted, for every role.
        revoked_approvals: approval ids that no longer hold.
        digest: of the signed bytes; a cache of what was verified under this keyring keys on it.
        envelope: the signed envelope, as its file had it.
    """

    version: int
    issued: datetime
    expires: datetime
    identities: Mapping[str, Identity]
    thresholds: Mapping[str, int]
    revoked_approvals: frozenset[str]
    digest: Digest
    envelope: bytes = field(repr=False)
    _keys: Mapping[str, tuple[Identity, IdentityKey]] = field(repr=False)
    _persons: Mapping[str, frozenset[str]] = field(repr=False)

    def find_key(self, fingerprint: str) -> tuple[Identity, IdentityKey] | None:
        """The key of that fingerprint and whose it is."""
        return self._keys.get(fingerprint)

    def all_keys(self) -> Sequence[tuple[Identity, IdentityKey]]:
        """Every key with its identity, in the order of the document."""
        return tuple(self._keys.values())

    @property
    def names(self) -> Iterator[str]:
        """Everything that persons are called in it, some of them twice."""
        for identity in self.identities.values():
            yield from (identity.id, identity.person, *identity.usernames)

    def persons_of(self, name: str) -> frozenset[str]:
        """Persons that an API server's user name may stand for, in lower case, the name itself among them.

        Letter case is folded: names that come from e-mail addresses differ in case and mean one person, and an
        approval refused for that is asked for again, while one counted would be self-approval.
        """
        folded = name.casefold()
        return self._persons.get(folded, frozenset()) | {folded}


def verify_keyring(
    raw: bytes, *, roots: Sequence[PublicKey], threshold: int, now: datetime, minimum_version: int = 0
) -> VerifiedKeyring:
    """Check a keyring and give it as something to trust.

    Args:
        raw: DSSE envelope in JSON, unverified.
        roots: the pinned root keys; one that is listed twice counts once.
        threshold: how many distinct roots must have signed, 1 or more.
        now: aware UTC.
        minimum_version: the newest version seen before.

    Raises:
        KeyringError: with code ``keyring_roots``, ``keyring_malformed``, ``keyring_signatures``, ``keyring_rollback``,
            ``keyring_not_yet_valid`` or ``keyring_expired``.
    """
    pinned = {root.fingerprint: root for root in roots}
    if not 1 <= threshold <= len(pinned) <= _MAX_ROOTS:
        raise KeyringError(
            f"{threshold} of {len(pinned)} root keys can't verify a keyring",
            code="keyring_roots",
            hint=f"Pin 1 to {_MAX_ROOTS} distinct root keys and a threshold from 1 to their number.",
        )
    try:
        envelope = parse_envelope(raw, max_bytes=MAX_KEYRING_BYTES)  # 1, 2
        _require_roots(envelope, pinned, threshold)  # 3, 4
        payload = read_keyring_payload(parse_json(envelope.payload, max_bytes=MAX_KEYRING_BYTES, max_depth=8))  # 5
    except FormatError as exc:
        raise KeyringError(f"the keyring can't be read: {exc}", code="keyring_malformed") from exc
    _require_no_root(payload, pinned)  # 6
    if payload.version < minimum_version:  # 7
        raise KeyringError(
            f"the keyring has version {payload.version}, and version {minimum_version} was seen before",
            code="keyring_rollback",
            hint="Put the newest keyring back; what was revoked since would count again under an older one.",
        )
    _require_time(payload, now)  # 8
    return _build(payload, Digest.of(envelope.payload), raw)


def _require_roots(envelope: Envelope, pinned: Mapping[str, PublicKey], threshold: int) -> None:
    if envelope.payload_type != KEYRING_PAYLOAD_TYPE:
        raise FormatError(f"the payloadType is not {KEYRING_PAYLOAD_TYPE}")
    message = pae(envelope.payload_type, envelope.payload)
    signed = {
        root.fingerprint
        for root in pinned.values()
        if any(check_signature(root, message, signature.sig) for signature in envelope.signatures)
    }
    if len(signed) < threshold:
        raise KeyringError(
            f"{len(signed)} of the {threshold} root signatures that are wanted verify",
            code="keyring_signatures",
            hint="Each root signs with `placet keyring sign`; compare the pinned roots with `placet keyring show`.",
        )


def _require_no_root(payload: KeyringPayload, pinned: Mapping[str, PublicKey]) -> None:
    for identity in payload.identities:
        for key in identity.keys:
            if key.public_key.fingerprint in pinned:
                raise KeyringError(
                    f"the keyring gives the root key {key.public_key.fingerprint[:12]} to {identity.id}",
                    code="keyring_malformed",
                    hint="A key that says who may approve must not approve as well.",
                )


def _require_time(payload: KeyringPayload, now: datetime) -> None:
    if now < payload.issued:
        raise KeyringError(
            f"the keyring holds in {describe_span(payload.issued - now)}",
            code="keyring_not_yet_valid",
            hint="Compare this machine's clock with the keyring's time of issue.",
        )
    if now >= payload.expires:
        raise KeyringError(
            f"the keyring expired {describe_span(now - payload.expires)} ago", code="keyring_expired", hint=_NEW_ONE
        )


def _build(payload: KeyringPayload, digest: Digest, raw: bytes) -> VerifiedKeyring:
    persons: dict[str, frozenset[str]] = {}
    for identity in payload.identities:
        for name in (identity.id, identity.person, *identity.usernames):
            folded = name.casefold()
            persons[folded] = persons.get(folded, frozenset()) | {identity.person.casefold()}
    return VerifiedKeyring(
        version=payload.version,
        issued=payload.issued,
        expires=payload.expires,
        identities=MappingProxyType({identity.id: identity for identity in payload.identities}),
        thresholds=MappingProxyType(dict(payload.thresholds)),
        revoked_approvals=payload.revoked_approvals,
        digest=digest,
        envelope=raw,
        _keys=MappingProxyType(
            {key.public_key.fingerprint: (identity, key) for identity in payload.identities for key in identity.keys}
        ),
        _persons=MappingProxyType(persons),
    )


def load_keyring(path: Path) -> bytes:
    """The bytes of a keyring file, unverified.

    Raises:
        KeyringError: with code ``keyring_missing``.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEYRING_BYTES + 1)
    except OSError as exc:
        raise KeyringError(
            f"can't read the keyring {path}: {exc.strerror or exc}",
            code="keyring_missing",
            hint="Name it with --keyring, or make one with `placet keyring init`.",
        ) from exc


def load_roots(paths: Sequence[Path]) -> tuple[PublicKey, ...]:
    """Root keys from PEM files, or from every ``*.pub`` and ``*.pem`` file of a folder.

    Raises:
        KeyringError: with code ``keyring_roots``: none was found, or one can't be read or is not allowed.
    """
    files: list[Path] = []
    for path in paths:
        files.extend(sorted([*path.glob("*.pub"), *path.glob("*.pem")]) if path.is_dir() else [path])
    if not files:
        raise KeyringError(
            "no root key was found", code="keyring_roots", hint="Name PEM files of public keys with --root."
        )
    roots = []
    for file in files:
        try:
            roots.append(parse_public_pem(file.read_bytes()))
        except OSError as exc:
            raise KeyringError(f"can't read the root key {file}: {exc.strerror}", code="keyring_roots") from exc
        except SigningKeyError as exc:
            raise KeyringError(f"the root key {file} is {exc}", code="keyring_roots", hint=exc.hint) from exc
    return tuple(roots)
