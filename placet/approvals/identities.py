"""What a keyring says: identities, their keys, what they may approve and what they may attest. Values, no trust yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.approvals.closed import DNS_LABEL, ClosedObject
from placet.approvals.keys import SCHEMES, PublicKey, read_public_key
from placet.approvals.rejections import Refusal, RejectionCode
from placet.approvals.statement import APPROVAL_ID
from placet.approvals.times import describe_span
from placet.errors import FormatError, SigningKeyError
from placet.model import GRANTED_ROLES, LEVELS, ROLES

KEYRING_SCHEMA: Final = "placet.dev/keyring/v1"
ANY: Final = "*"
FACTS: Final = ("parameters", "data_classification", "coverage", "rollback", "strategy")
"""What the risk score knows of evidence; a kind of evidence may be named beside these."""
_FACT: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_IDENTITY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._:+/=-]{0,252}", re.ASCII)
_NAMESPACE: Final = re.compile(rf"\*|{DNS_LABEL.pattern}", re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_IDENTITIES: Final = 1000
_MAX_ENTRIES: Final = 64
_MAX_REVOKED: Final = 10_000
_MAX_THRESHOLD: Final = 8


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """A key and the time in which it speaks for its identity.

    Attributes:
        public_key: the key.
        valid_from: first moment.
        valid_until: first moment after.
        revoked_at: None while it is in use.
        revocation: "" | ``superseded`` | ``compromised``.
    """

    public_key: PublicKey
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None = None
    revocation: str = ""

    def refuse_at(self, *, issued: datetime, now: datetime) -> Refusal | None:
        """Why the key does not speak for a statement issued then and read now; None when it does."""
        short = self.public_key.fingerprint[:12]
        # Whoever holds a compromised key writes any date they like: the date in the statement proves nothing.
        if self.revocation == "compromised":
            return Refusal(RejectionCode.KEY_COMPROMISED, f"key {short} is revoked as compromised")
        if self.revoked_at is not None and issued >= self.revoked_at:
            return Refusal(RejectionCode.KEY_SUPERSEDED, f"key {short} had been superseded when it signed")
        if issued < self.valid_from or now < self.valid_from:
            return Refusal(RejectionCode.KEY_NOT_YET_VALID, f"key {short} was not valid yet when it signed")
        if now >= self.valid_until or issued >= self.valid_until:
            return Refusal(
                RejectionCode.KEY_EXPIRED, f"key {short} expired {describe_span(now - self.valid_until)} ago"
            )
        return None


@dataclass(frozen=True, slots=True)
class Grant:
    """What an identity may approve. ``*`` in models or namespaces stands for any; environments are always named.

    Attributes:
        role: one of ``GRANTED_ROLES``.
        environments: non-empty.
        max_risk: the highest level that may be written in an approval; of ``exempt`` ADR 35.
        models: model names, or ``*``.
        namespaces: namespaces, or ``*``.
    """

    role: str
    environments: tuple[str, ...]
    max_risk: str
    models: tuple[str, ...]
    namespaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attestation:
    """What an identity may attest.

    Attributes:
        facts: some of ``FACTS``, and kinds of evidence. Which kinds there are is for the policy data to say: a name
            that it does not have grants nothing.
        models: model names, or ``*``.
        environments: None stands for any.
    """

    facts: tuple[str, ...]
    models: tuple[str, ...]
    environments: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, or a machine, that signs.

    Attributes:
        id: unique in the keyring.
        person: who that is; two identities of one person count once.
        usernames: names under which the API server knows this person as a requester, beside ``id`` and ``person``.
        keys: non-empty.
        grants: may be empty.
        attests: may be empty.
    """

    id: str
    person: str
    usernames: tuple[str, ...]
    keys: tuple[IdentityKey, ...]
    grants: tuple[Grant, ...]
    attests: tuple[Attestation, ...]


@dataclass(frozen=True, slots=True)
class KeyringPayload:
    """The content of a keyring, well-formed and not trusted yet.

    Attributes:
        version: 1 or more, grows with each change.
        issued: first moment that it holds.
        expires: first moment that it no longer holds.
        identities: non-empty; no key stands under two of them.
        thresholds: role -> distinct persons wanted, 1 or more, for every role.
        revoked_approvals: approval ids that no longer hold.
    """

    version: int
    issued: datetime
    expires: datetime
    identities: tuple[Identity, ...]
    thresholds: Mapping[str, int]
    revoked_approvals: frozenset[str]


def read_keyring_payload(value: Any) -> KeyringPayload:
    """Read the JSON value of a keyring.

    Raises:
        FormatError: anything but the one form.
    """
    members = ClosedObject(value, "keyring")
    if members.take("schema") != KEYRING_SCHEMA:
        raise FormatError(f"keyring.schema is not {KEYRING_SCHEMA}")
    thresholds = members.child("thresholds")
    payload = KeyringPayload(
        version=members.integer("version", minimum=1, maximum=2**31 - 1),
        issued=members.time("issued"),
        expires=members.time("expires"),
        identities=tuple(_read_identity(entry) for entry in members.children("identities", maximum=_MAX_IDENTITIES)),
        thresholds={
            role: thresholds.integer(role, minimum=1, maximum=_MAX_THRESHOLD) if thresholds.has(role) else 1
            for role in ROLES
        },
        revoked_approvals=frozenset(
            members.texts("revokedApprovals", maximum=_MAX_REVOKED, pattern=APPROVAL_ID, empty=True)
        ),
    )
    thresholds.close()
    members.close()
    if payload.expires <= payload.issued:
        raise FormatError("keyring.expires is not after issued")
    _require_distinct(payload.identities)
    return payload


def _require_distinct(identities: tuple[Identity, ...]) -> None:
    names: set[str] = set()
    owners: dict[str, str] = {}
    for identity in identities:
        if identity.id in names:
            raise FormatError(f"keyring.identities has {identity.id} twice")
        names.add(identity.id)
        for key in identity.keys:
            owner = owners.setdefault(key.public_key.fingerprint, identity.id)
            if owner != identity.id:
                raise FormatError(f"keyring.identities has one key under both {owner} and {identity.id}")


def _read_identity(entry: ClosedObject) -> Identity:
    identity = Identity(
        id=entry.text("id", pattern=_IDENTITY),
        person=entry.text("person", pattern=_IDENTITY),
        usernames=entry.texts("usernames", maximum=_MAX_ENTRIES, empty=True) if entry.has("usernames") else (),
        keys=tuple(_read_key(key) for key in entry.children("keys", maximum=_MAX_ENTRIES)),
        grants=tuple(_read_grant(grant) for grant in entry.children("grants", maximum=_MAX_ENTRIES, empty=True)),
        attests=tuple(_read_attestation(one) for one in entry.children("attests", maximum=_MAX_ENTRIES, empty=True))
        if entry.has("attests")
        else (),
    )
    entry.close()
    if len({key.public_key.fingerprint for key in identity.keys}) != len(identity.keys):
        raise FormatError(f"{entry.path}.keys has one key twice")
    return identity


def _read_key(entry: ClosedObject) -> IdentityKey:
    fingerprint = entry.text("fingerprint", pattern=_FINGERPRINT)
    scheme = entry.choice("scheme", SCHEMES)
    try:
        public_key = read_public_key(entry.base64("publicKey"))
    except SigningKeyError as exc:
        raise FormatError(f"{entry.path}.publicKey is {exc}") from exc
    if public_key.fingerprint != fingerprint:
        raise FormatError(f"{entry.path}.fingerprint is not that of publicKey")
    if public_key.scheme != scheme:
        raise FormatError(f"{entry.path}.scheme is {scheme}, and the key is for {public_key.scheme}")
    revoked = entry.has("revokedAt") or entry.has("revocation")
    key = IdentityKey(
        public_key=public_key,
        valid_from=entry.time("validFrom"),
        valid_until=entry.time("validUntil"),
        revoked_at=entry.time("revokedAt") if revoked else None,
        revocation=entry.choice("revocation", ("superseded", "compromised")) if revoked else "",
    )
    entry.close()
    if key.valid_until <= key.valid_from:
        raise FormatError(f"{entry.path}.validUntil is not after validFrom")
    return key


def _read_grant(entry: ClosedObject) -> Grant:
    grant = Grant(
        role=entry.choice("role", GRANTED_ROLES),
        environments=entry.texts("environments", maximum=_MAX_ENTRIES, pattern=DNS_LABEL),
        max_risk=entry.choice("maxRisk", LEVELS),
        models=entry.texts("models", maximum=_MAX_ENTRIES),
        namespaces=entry.texts("namespaces", maximum=_MAX_ENTRIES, pattern=_NAMESPACE),
    )
    entry.close()
    return grant


def _read_attestation(entry: ClosedObject) -> Attestation:
    attestation = Attestation(
        facts=entry.texts("facts", maximum=_MAX_ENTRIES, pattern=_FACT),
        models=entry.texts("models", maximum=_MAX_ENTRIES),
        environments=entry.texts("environments", maximum=_MAX_ENTRIES, pattern=DNS_LABEL)
        if entry.has("environments")
        else None,
    )
    entry.close()
    return attestation
