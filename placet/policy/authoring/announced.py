"""The day that a rule is announced for, in seconds in the source that is compiled: policies can't read dates."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final

from placet.errors import InputError

# The day as a rule's METADATA have it, and how the rule gives it to admission.main.
EFFECTIVE_ON: Final = re.compile(r"""^(?P<indent>#\s+)effective_on:\s*["']?(?P<day>[^"'#]*?)["']?\s*$""", re.MULTILINE)
EFFECTIVE_S: Final = "effective_s := rego.metadata.chain()[1].annotations.custom.effective_s"


def write_seconds(name: str, content: bytes) -> bytes:
    """A source whose METADATA has the day that its rule is announced for in seconds too.

    Args:
        name: what a person calls the file, for messages.
        content: of it.

    Raises:
        InputError: ``effective_on_invalid``: it is no day, or the rule does not give admission.main what the METADATA
            say; the message has file and line.
    """
    text = content.decode()
    announced = EFFECTIVE_ON.search(text)
    given = [(at, line) for at, line in enumerate(text.splitlines(), 1) if re.match(r"(#\s+)?effective_s\b", line)]
    if [line for _, line in given] != ([EFFECTIVE_S] if announced else []):
        at = text.count("\n", 0, announced.start()) + 1 if announced else given[0][0]
        raise _invalid(f"{name}:{at}: with effective_on, and only then, a rule has this line: {EFFECTIVE_S}")
    if announced is None:
        return content
    line = text.count("\n", 0, announced.start()) + 1
    seconds = _read_day(announced["day"], f"{name}:{line}")
    written = f"{announced[0]}\n{announced['indent']}effective_s: {seconds}"
    return f"{text[: announced.start()]}{written}{text[announced.end() :]}".encode()


def _read_day(day: str, where: str) -> int:
    """Seconds since 1970 UTC of a date or a date and time of RFC 3339; a date begins at midnight UTC."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", day, re.ASCII):
            return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp())
        if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", day, re.ASCII):
            return int(datetime.fromisoformat(day).timestamp())
    except ValueError:
        pass
    raise _invalid(f"{where}: effective_on: {day!r} is neither 2027-01-31 nor 2027-01-31T09:00:00Z")


def _invalid(message: str) -> InputError:
    return InputError(message, code="effective_on_invalid")
