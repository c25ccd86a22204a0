"""The generic reader: a predicate that holds the claims of its kind, when it was issued and until when, and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from placet.approvals.closed import ClosedObject
from placet.approvals.times import render_time
from placet.canonical import Digest, render_canonical
from placet.errors import FormatError
from placet.evidence.kinds import Claim, EvidenceKind, EvidenceKinds

MAX_LIFETIME: Final = timedelta(days=365)
MAX_LISTED: Final = 64
"""Entries of a list at most."""
MAX_CLAIMS_BYTES: Final = 8 * 1024
"""Of all claims of a statement, as canonical JSON: they are in each policy input, and beside each record."""

ClaimValue = int | str | bool | tuple[str, ...]


def read_claims(kind: EvidenceKind, predicate: ClosedObject) -> Mapping[str, ClaimValue]:
    """The claims of a kind without a reader of its own. Leaves ``predicate`` open.

    Raises:
        FormatError: a claim is missing or not of its type, or there is too much of them.
    """
    found = {
        name: _READ[claim.type](claim, predicate, name)
        for name, claim in kind.claims.items()
        if not claim.optional or predicate.has(name)
    }
    return bounded_claims(found)


def bounded_claims(claims: Mapping[str, ClaimValue]) -> Mapping[str, ClaimValue]:
    """The same claims.

    Raises:
        FormatError: they are more than a policy input takes.
    """
    size = len(render_canonical(plain_claims(claims)))
    if size > MAX_CLAIMS_BYTES:
        raise FormatError(f"the claims are {size} bytes, more than the {MAX_CLAIMS_BYTES} allowed")
    return MappingProxyType(dict(claims))


def check_examples(kinds: EvidenceKinds) -> None:
    """Hold the example of each kind against its own claims.

    Raises:
        FormatError: one is no such statement, or says anything more; the message starts with where it stands.
    """
    for name, kind in kinds.by_name.items():
        if not kind.example:
            continue
        where = f"evidence.{name}.example"
        if kind.reader:
            raise FormatError(f"{where}: the kind has a reader, and no claims that it could be an example of")
        example = ClosedObject(dict(kind.example), "example")
        try:
            read_claims(kind, example)
            example.close()
        except FormatError as exc:
            raise FormatError(f"{where}: {exc}") from exc


def plain_claims(claims: Mapping[str, ClaimValue]) -> dict[str, Any]:
    """The claims as JSON values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in claims.items()}


def read_times(predicate: ClosedObject) -> tuple[datetime, datetime]:
    """``issuedAt`` and ``expires`` of a predicate of our own.

    Raises:
        FormatError: one is missing or no time, or the one is not before the other by at most a year.
    """
    issued_at, expires = predicate.time("issuedAt"), predicate.time("expires")
    if not timedelta(0) < expires - issued_at <= MAX_LIFETIME:
        raise FormatError(f"predicate.expires is not after issuedAt by at most {MAX_LIFETIME.days} days")
    return issued_at, expires


def render_times(issued_at: datetime, lifetime: timedelta) -> dict[str, str]:
    """The two members of a predicate of our own."""
    return {"issuedAt": render_time(issued_at), "expires": render_time(issued_at + lifetime)}


def _read_integer(claim: Claim, predicate: ClosedObject, name: str) -> int:
    return predicate.integer(name, minimum=claim.minimum, maximum=claim.maximum)


def _read_boolean(_claim: Claim, predicate: ClosedObject, name: str) -> bool:
    value = predicate.take(name)
    if not isinstance(value, bool):
        raise FormatError(f"{predicate.path}.{name} is neither true nor false")
    return value


def _read_string(claim: Claim, predicate: ClosedObject, name: str) -> str:
    text = predicate.text(name, empty=claim.empty)
    if claim.values and not (claim.empty and not text) and text not in claim.values:
        raise FormatError(f"{predicate.path}.{name} is none of {', '.join(claim.values)}")
    return text


def _read_digest(claim: Claim, predicate: ClosedObject, name: str) -> str:
    if claim.empty and predicate.take(name) == "":
        return ""
    return str(predicate.digest(name))


def _read_strings(claim: Claim, predicate: ClosedObject, name: str) -> tuple[str, ...]:
    return predicate.texts(name, maximum=MAX_LISTED, allowed=claim.values or None, empty=claim.empty)


def _read_digests(claim: Claim, predicate: ClosedObject, name: str) -> tuple[str, ...]:
    found = predicate.texts(name, maximum=MAX_LISTED, empty=claim.empty)
    for index, text in enumerate(found):
        try:
            Digest.parse(text)
        except FormatError as exc:
            raise FormatError(f"{predicate.path}.{name}[{index}] is {exc}") from exc
    return found


_READ: Final[Mapping[str, Callable[[Claim, ClosedObject, str], ClaimValue]]] = MappingProxyType(
    {
        "integer": _read_integer,
        "string": _read_string,
        "boolean": _read_boolean,
        "strings": _read_strings,
        "digest": _read_digest,
        "digests": _read_digests,
    }
)
