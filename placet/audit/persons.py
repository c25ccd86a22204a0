r"""Names of persons as a record has them when they are sealed: commitments that open under a key, and only under it.

    sealed:<nonce>:<commitment>

    salt       = HMAC-SHA-256(the person's key, "placet.dev/person-salt/v1" 0x0A || nonce)
    commitment = SHA-256("placet.dev/person/v1" 0x0A || salt || name)

The nonce is 16 random bytes, one for each record, which names it: one name is one text within a record, so that persons
can be told apart and compared there, and another text in every other record. A text of this form with another nonce is
somebody's words, and is never opened. Nothing else of the name is in the record. Whoever has
the key finds the name and can show the salt, which proves it; once the key is destroyed the salt is as good as random,
and nobody can tell a right name from a wrong one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from placet.audit.record import SEALED_SCHEMAS

NONCE_BYTES: Final = 16
SALT_BYTES: Final = 32
SEALED: Final = re.compile(r"sealed:([0-9a-f]{32}):([0-9a-f]{64})", re.ASCII)
NONCE: Final = "person_nonce"
"""Member of a sealed record."""
SEALED_WORD: Final = "(sealed)"
ERASED_WORD: Final = "(erased)"
_HEX_NONCE: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_RAW_NONCE: Final = re.compile(rb'"person_nonce":"([0-9a-f]{32})"')  # no quote stands within a JSON text unescaped
_SALT_DOMAIN: Final = b"placet.dev/person-salt/v1\n"
_DOMAIN: Final = b"placet.dev/person/v1\n"
_NOT_PERSONS: Final = "system:"  # Kubernetes keeps these names for its own parts

_V = TypeVar("_V")


def is_person(name: str) -> bool:
    """Whether a name may be a person's; the cluster's own accounts, and no name at all, are none."""
    return bool(name) and not name.startswith(_NOT_PERSONS)


def find_nonce(body: Mapping[str, Any]) -> bytes | None:
    """The nonce of a record whose names are sealed; None of any other."""
    nonce = body.get(NONCE)
    if body.get("schema") not in SEALED_SCHEMAS or not isinstance(nonce, str) or not _HEX_NONCE.fullmatch(nonce):
        return None
    return bytes.fromhex(nonce)


def find_raw_nonce(raw_leaf: bytes) -> bytes | None:
    """The same of a leaf that was not read."""
    found = _RAW_NONCE.search(raw_leaf)
    return None if found is None else bytes.fromhex(found[1].decode())


def derive_salt(key: bytes, nonce: bytes) -> bytes:
    """The salt of a person in a record.

    Args:
        key: the person's, 32 bytes.
        nonce: the record's, 16 bytes.
    """
    return hmac.digest(key, _SALT_DOMAIN + nonce, "sha256")


def render_sealed(salt: bytes, nonce: bytes, name: str) -> str:
    """The text that stands for a name in a record, from the salt that opens it."""
    digest = hashlib.sha256(_DOMAIN + salt + name.encode("utf-8", "surrogatepass"))
    return f"sealed:{nonce.hex()}:{digest.hexdigest()}"


def seal(key: bytes, nonce: bytes, name: str) -> str:
    """The text that stands for a name in a record."""
    return render_sealed(derive_salt(key, nonce), nonce, name)


def find_sealed(value: Any, nonce: bytes) -> Iterator[str]:
    """Every name in a JSON value that was sealed with this nonce, also within texts, as often as it stands there."""
    if isinstance(value, str):
        yield from (found[0] for found in SEALED.finditer(value) if found[1] == nonce.hex())
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from find_sealed(part, nonce)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from find_sealed(part, nonce)


def replace_texts(value: _V, change: Callable[[str], str]) -> _V:
    """The same JSON value with every text in it changed; keys stay."""
    made: Any = value
    if isinstance(value, str):
        made = change(value)
    elif isinstance(value, Mapping):
        made = {name: replace_texts(part, change) for name, part in value.items()}
    elif isinstance(value, list | tuple):
        made = [replace_texts(part, change) for part in value]
    return made  # type: ignore[no-any-return]


def open_with(value: _V, names: Mapping[str, str]) -> _V:
    """The same JSON value with each sealed name replaced that is among ``names``: sealed text -> name."""
    return replace_texts(value, lambda text: SEALED.sub(lambda found: names.get(found[0], found[0]), text))


def mask(body: _V, word: str) -> _V:
    """The body of a leaf for people: a word instead of each name that is sealed in it."""
    nonce = find_nonce(body) if isinstance(body, Mapping) else None
    return body if nonce is None else open_with(body, dict.fromkeys(find_sealed(body, nonce), word))
