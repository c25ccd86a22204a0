"""The keys of persons, one file each, that open their names in a record; to destroy one erases the person there.

A folder beside the record, not in it: what only grows can't forget. A file's name is a keyed hash of the person's name,
its content the name and a random key, encrypted under the key of the folder. docs/formats-audit.md has the bytes.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from placet.audit.persons import (
    SEALED,
    derive_salt,
    find_nonce,
    find_raw_nonce,
    render_sealed,
    replace_texts,
    seal,
)
from placet.audit.stores.file import sync_folder
from placet.canonical import parse_json, render_canonical
from placet.errors import AuditError, FormatError, InputError, PlacetError, StoreUnavailable

KEY_BYTES: Final = 32
MAX_NAME_BYTES: Final = 16 * 1024
SUFFIX: Final = ".person"
_MAGIC: Final = b"placet.dev/person-key/v1\n"
_MAX_FILE_BYTES: Final = 4 * MAX_NAME_BYTES
_MAX_KEY_FILE_BYTES: Final = 1024
_NONCE_BYTES: Final = 12
_MAX_CACHED: Final = 10_000
_NAMES: Final = b"placet.dev/person-names/v1\n"
_WRAP: Final = b"placet.dev/person-wrap/v1\n"
_KEY_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HINT: Final = "Look at the folder of record.persons and the key that it is read with."

_B = TypeVar("_B", bound=Mapping[str, Any])
_Identity = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Person:
    """One person whose name can be opened.

    Attributes:
        key_id: 16 random bytes in hexadecimal; says nothing about the person, and is never used again.
        name: exactly as it was sealed.
        key: 32 bytes.
        path: of the file.
    """

    key_id: str
    name: str
    key: bytes
    path: Path


class PersonKeys:
    """The keys of one folder. Threads and replicas share it."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self.folder = folder
        self._naming = hmac.digest(secret, _NAMES, "sha256")
        self._wrapping = AESGCM(hmac.digest(secret, _WRAP, "sha256"))
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Person, _Identity]] = {}

    @classmethod
    def open(cls, folder: Path, key_file: Path, *, writable: bool = False) -> PersonKeys:
        """Open a folder that is there, and see that the key fits what is in it.

        Args:
            folder: of the keys.
            key_file: has the folder's own key: base64 of 32 random bytes.
            writable: whether new persons are to be kept in it.

        Raises:
            InputError: ``persons_key_invalid``: the key file can't be read or holds no key.
            StoreUnavailable: ``persons_unavailable``: the folder can't be read, or not written.
            AuditError: ``persons_key_differs``: what is in the folder is under another key, or damaged.
        """
        keys = cls(folder, read_secret(key_file))
        for path in keys._paths():
            keys._read(path)
            break
        if writable:
            keys._probe()
        return keys

    def key_of(self, name: str) -> bytes:
        """The key of a person, made durable before it is given where there is none yet.

        Raises:
            AuditError: it can't be read or made.
        """
        path = self._path(name)
        known = self._known.get(name)
        if known is not None and known[1] == _identity(path):
            return known[0].key
        return self._remember(self._load(path) or self._make(path, name)).key

    def find(self, name: str) -> Person | None:
        """The person of exactly this name; None where there is no key of it.

        Raises:
            AuditError: the file can't be read.
        """
        return self._load(self._path(name))

    def all(self) -> list[Person]:
        """Every person, in no particular order.

        Raises:
            AuditError: a file can't be read.
        """
        return [found for path in self._paths() if (found := self._load(path)) is not None]

    def destroy(self, person: Person) -> None:
        """Make a key unusable: written over, made durable, removed. Another replica notices before it uses it again.

        Raises:
            StoreUnavailable: it is not known to be gone.
        """
        try:
            with person.path.open("r+b") as file:
                file.write(secrets.token_bytes(os.fstat(file.fileno()).st_size))
                file.flush()
                os.fsync(file.fileno())
            person.path.unlink()
            sync_folder(person.path)
        except OSError as exc:
            raise _unavailable(f"{person.path} can't be destroyed: {exc.strerror}") from exc
        with self._lock:
            self._known.pop(person.name, None)

    def require_usable(self) -> None:
        """That the folder is there, and seems to take new persons; quick, and writes nothing.

        Raises:
            StoreUnavailable: it is not, or does not.
        """
        if not os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
            raise _unavailable(f"{self.folder} is not there, or can't be written")

    def opener(self) -> Opener:
        """What opens names with the keys that there are now.

        Raises:
            AuditError: a file can't be read.
        """
        return Opener(self.all())

    def _path(self, name: str) -> Path:
        raw = name.encode("utf-8", "surrogatepass")
        return self.folder / f"{hmac.digest(self._naming, raw, 'sha256').hex()}{SUFFIX}"

    def _paths(self) -> Iterator[Path]:
        try:
            names = sorted(entry.name for entry in os.scandir(self.folder) if entry.name.endswith(SUFFIX))
        except OSError as exc:
            raise _unavailable(f"{self.folder} can't be read: {exc.strerror}") from exc
        return (self.folder / name for name in names if not name.startswith("."))

    def _load(self, path: Path) -> Person | None:
        try:
            return self._read(path)
        except FileNotFoundError:
            return None

    def _read(self, path: Path) -> Person:
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise _unavailable(f"{path} can't be read: {exc.strerror}") from exc
        try:
            return parse_person(raw, self._wrapping, path)
        except FormatError as exc:
            raise AuditError(f"{path}: {exc}", code=exc.code, hint=_HINT) from exc

    def _make(self, path: Path, name: str) -> Person:
        """Make a key; where another replica was faster, theirs."""
        if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
            raise AuditError(f"a name of more than {MAX_NAME_BYTES} bytes", code="record_too_large")
        person = Person(secrets.token_hex(16), name, secrets.token_bytes(KEY_BYTES), path)
        part = self.folder / f".{secrets.token_hex(8)}.part"
        try:
            try:
                _write(part, render_person(person, self._wrapping))
                os.link(part, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    part.unlink()
            sync_folder(path)
        except FileExistsError:
            return self._read(path)
        except OSError as exc:
            raise _unavailable(f"{self.folder} takes no new person: {exc.strerror}") from exc
        return person

    def _remember(self, person: Person) -> Person:
        with self._lock:
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
            self._known[person.name] = (person, _identity(person.path) or (0, 0, 0))
        return person

    def _probe(self) -> None:
        part = self.folder / f".{secrets.token_hex(8)}.part"
        try:
            _write(part, b"")
            part.unlink()
        except OSError as exc:
            raise _unavailable(f"{self.folder} can't be written: {exc.strerror}") from exc


class Opener:
    """Opens names with the keys that there were when it was made; those that were asked for last are tried first."""

    def __init__(self, persons: list[Person]) -> None:
        self._persons = list(persons)

    def open(self, body: _B) -> _B:
        """The body of a leaf with every name that there is a key for; the others stay sealed."""
        nonce = find_nonce(body)
        return body if nonce is None else replace_texts(body, lambda text: self._open_text(text, nonce))

    @property
    def persons(self) -> tuple[Person, ...]:
        """Whose names it opens."""
        return tuple(self._persons)

    def find_person(self, sealed: str, nonce: bytes) -> Person | None:
        """Whose name was sealed with this nonce; None where there is no key for it."""
        return None if self.salt(sealed, nonce) is None else self._persons[0]

    def salt(self, sealed: str, nonce: bytes) -> tuple[bytes, str] | None:
        """Salt and name of a name that was sealed with this nonce; None where there is no key for it."""
        for place, one in enumerate(self._persons):
            salt = derive_salt(one.key, nonce)
            if render_sealed(salt, nonce, one.name) == sealed:
                self._persons.insert(0, self._persons.pop(place))
                return salt, one.name
        return None

    def may_name(self, raw_leaf: bytes, names: frozenset[str]) -> bool:
        """Whether a leaf may have one of these names, sealed or plain; quick, to pass over the many that don't."""
        if any(_is_escaped(name) or name.encode() in raw_leaf for name in names):
            return True
        nonce = find_raw_nonce(raw_leaf)
        return nonce is not None and any(
            seal(one.key, nonce, one.name).encode() in raw_leaf for one in self._persons if one.name in names
        )

    def _open_text(self, text: str, nonce: bytes) -> str:
        if "sealed:" not in text:
            return text

        def opened(found: re.Match[str]) -> str:
            opening = self.salt(found[0], nonce) if found[1] == nonce.hex() else None
            return found[0] if opening is None else opening[1]

        return SEALED.sub(opened, text)


def _is_escaped(name: str) -> bool:
    """Whether JSON may write a name in other characters; a record whose names are sealed has plain ones beside them."""
    return '"' in name or "\\" in name or not name.isprintable()


def read_secret(key_file: Path) -> bytes:
    """The key of a folder of persons.

    Raises:
        InputError: the file can't be read, or does not hold base64 of 32 bytes.
    """
    hint = "Make one with: openssl rand -base64 32"
    try:
        with key_file.open("rb") as file:
            raw = file.read(_MAX_KEY_FILE_BYTES)
    except OSError as exc:
        raise InputError(f"{key_file} can't be read: {exc.strerror}", code="persons_key_invalid", hint=hint) from exc
    try:
        secret = base64.b64decode(raw.strip(), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InputError(f"{key_file} is not base64", code="persons_key_invalid", hint=hint) from exc
    if len(secret) != KEY_BYTES:
        raise InputError(
            f"{key_file} holds {len(secret)} bytes, not {KEY_BYTES}", code="persons_key_invalid", hint=hint
        )
    return secret


def render_person(person: Person, wrapping: AESGCM) -> bytes:
    """The bytes of a person's file, bound to its name."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    content = render_canonical({"id": person.key_id, "key": person.key.hex(), "name": _encode(person.name)})
    return _MAGIC + nonce + wrapping.encrypt(nonce, content, _MAGIC + person.path.name.encode())


def parse_person(raw: bytes, wrapping: AESGCM, path: Path) -> Person:
    """Read a person's file.

    Raises:
        FormatError: ``persons_key_differs``: not such a file, damaged, another person's, or under another key.
    """
    head = len(_MAGIC) + _NONCE_BYTES
    if not raw.startswith(_MAGIC) or not head < len(raw) <= _MAX_FILE_BYTES:
        raise FormatError("not the key of a person", code="persons_key_differs")
    try:
        content = wrapping.decrypt(raw[len(_MAGIC) : head], raw[head:], _MAGIC + path.name.encode())
        value: Any = parse_json(content, max_bytes=_MAX_FILE_BYTES)
        person = _read_content(value, path)
    except InvalidTag as exc:
        raise FormatError("the key of a person is damaged, or under another key", code="persons_key_differs") from exc
    except (PlacetError, KeyError, TypeError, ValueError) as exc:
        raise FormatError("the key of a person can't be read", code="persons_key_differs") from exc
    return person


def _read_content(value: Any, path: Path) -> Person:
    """What was encrypted; a key that is not whole would seal names that anybody guesses."""
    person = Person(value["id"], _decode(value["name"]), bytes.fromhex(value["key"]), path)
    if len(person.key) != KEY_BYTES or not _KEY_ID.fullmatch(person.key_id):
        raise ValueError
    return person


def _encode(name: str) -> str:
    return base64.b64encode(name.encode("utf-8", "surrogatepass")).decode()


def _decode(text: str) -> str:
    return base64.b64decode(text, validate=True).decode("utf-8", "surrogatepass")


def _write(path: Path, raw: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unavailable(f"{path} can't be read: {exc.strerror}") from exc
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _unavailable(sentence: str) -> StoreUnavailable:
    return StoreUnavailable(f"names of persons can't be sealed: {sentence}", code="persons_unavailable", hint=_HINT)
