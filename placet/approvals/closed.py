"""Reading JSON objects whose every member is known: what is not expected is refused, not skipped."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from placet.approvals.times import parse_time
from placet.canonical import Digest
from placet.errors import FormatError

DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
MAX_TEXT_CHARS: Final = 256
_ABSENT: Final = object()


def decode_base64(text: object, *, what: str) -> bytes:
    """Read standard base64 (RFC 4648 section 4) with padding; one spelling for each value.

    Raises:
        FormatError: another alphabet, white space, missing padding, or unused bits that are not zero (the same
            bytes would then have several spellings).
    """
    if not isinstance(text, str):
        raise FormatError(f"{what} is not text")
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as exc:
        raise FormatError(f"{what} is not standard base64") from exc
    if base64.b64encode(decoded).decode("ascii") != text:
        raise FormatError(f"{what} is not standard base64 in its one spelling")
    return decoded


class ClosedObject:
    """One JSON object, read member by member and then closed.

    >>> record = ClosedObject({"role": "security"}, "predicate")
    >>> record.choice("role", ("technical", "security"))
    'security'
    >>> record.close()

    Every method raises FormatError with a message that names the member by its path, never by its value: messages
    reach people's terminals and records, and values may be hostile or secret.
    """

    __slots__ = ("_members", "_read", "path")

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise FormatError(f"{path} is not an object")
        self._members: dict[str, Any] = value
        self._read: set[str] = set()
        self.path = path

    def has(self, name: str) -> bool:
        """Whether the member is there."""
        return name in self._members

    def take(self, name: str) -> Any:
        """The member's raw value."""
        value = self._members.get(name, _ABSENT)
        if value is _ABSENT:
            raise FormatError(f"{self.path}.{name} is missing")
        self._read.add(name)
        return value

    def close(self) -> None:
        """Refuse members that nobody asked for."""
        for name in self._members:
            if name not in self._read:
                raise FormatError(f"{self.path} has an unknown field {name[:40]!a}")

    def text(
        self,
        name: str,
        *,
        pattern: re.Pattern[str] | None = None,
        max_chars: int = MAX_TEXT_CHARS,
        empty: bool = False,
    ) -> str:
        """Printable text of bounded length, of the pattern where there is one."""
        return self._as_text(self.take(name), f"{self.path}.{name}", pattern=pattern, max_chars=max_chars, empty=empty)

    def choice(self, name: str, allowed: Collection[str]) -> str:
        """Text that is one of a few."""
        value = self.take(name)
        if not isinstance(value, str) or value not in allowed:
            raise FormatError(f"{self.path}.{name} is none of {', '.join(allowed)}")
        return value

    def integer(self, name: str, *, minimum: int, maximum: int) -> int:
        """An integer within bounds; true and false are not integers."""
        value = self.take(name)
        if type(value) is not int or not minimum <= value <= maximum:
            raise FormatError(f"{self.path}.{name} is not an integer from {minimum} to {maximum}")
        return value

    def time(self, name: str) -> datetime:
        """A moment in the strict form of ``times.parse_time``."""
        try:
            return parse_time(self.take(name))
        except FormatError as exc:
            raise FormatError(f"{self.path}.{name} is {exc}") from exc

    def digest(self, name: str) -> Digest:
        """A digest in its printed form."""
        try:
            return Digest.parse(self.take(name))
        except FormatError as exc:
            raise FormatError(f"{self.path}.{name} is {exc}") from exc

    def base64(self, name: str) -> bytes:
        """Bytes written in strict base64."""
        return decode_base64(self.take(name), what=f"{self.path}.{name}")

    def child(self, name: str) -> ClosedObject:
        """A member that is an object."""
        return ClosedObject(self.take(name), f"{self.path}.{name}")

    def items(self, name: str, *, maximum: int, empty: bool = False) -> list[Any]:
        """A list with at least one entry unless ``empty``."""
        value = self.take(name)
        if not isinstance(value, list):
            raise FormatError(f"{self.path}.{name} is not a list")
        if not value and not empty:
            raise FormatError(f"{self.path}.{name} is empty")
        if len(value) > maximum:
            raise FormatError(f"{self.path}.{name} has {len(value)} entries, more than the {maximum} allowed")
        return value

    def children(self, name: str, *, maximum: int, empty: bool = False) -> list[ClosedObject]:
        """A list of objects."""
        return [
            ClosedObject(value, f"{self.path}.{name}[{index}]")
            for index, value in enumerate(self.items(name, maximum=maximum, empty=empty))
        ]

    def texts(
        self,
        name: str,
        *,
        maximum: int,
        pattern: re.Pattern[str] | None = None,
        allowed: Collection[str] | None = None,
        empty: bool = False,
    ) -> tuple[str, ...]:
        """A list of distinct texts."""
        found: list[str] = []
        for index, value in enumerate(self.items(name, maximum=maximum, empty=empty)):
            path = f"{self.path}.{name}[{index}]"
            text = self._as_text(value, path, pattern=pattern, max_chars=MAX_TEXT_CHARS, empty=False)
            if allowed is not None and text not in allowed:
                raise FormatError(f"{path} is none of {', '.join(allowed)}")
            if text in found:
                raise FormatError(f"{path} is given twice")
            found.append(text)
        return tuple(found)

    @staticmethod
    def _as_text(value: Any, path: str, *, pattern: re.Pattern[str] | None, max_chars: int, empty: bool) -> str:
        if not isinstance(value, str):
            raise FormatError(f"{path} is not text")
        if not value and not empty:
            raise FormatError(f"{path} is empty")
        if len(value) > max_chars:
            raise FormatError(f"{path} has {len(value)} characters, more than the {max_chars} allowed")
        # What prints nothing, or turns the line around, must not reach a terminal through a signed text.
        if not value.isprintable():
            raise FormatError(f"{path} has characters that do not print")
        if pattern is not None and value and pattern.fullmatch(value) is None:
            raise FormatError(f"{path} is not of the form {pattern.pattern}")
        return value
