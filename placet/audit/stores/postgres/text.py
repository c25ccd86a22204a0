r"""Text in PostgreSQL: it can't hold the character 0, which JSON and so a leaf can.

A backslash is stored as two, and the character 0 as a backslash and a ``0``. Equal texts stay equal, different ones
different, and what a text contains its stored form contains too.
"""

from __future__ import annotations

import re
from typing import Any, Final

_ESCAPED: Final = re.compile(r"\\(.?)", re.DOTALL)


def stored(value: Any) -> Any:
    """A value as the database has it."""
    if not isinstance(value, str) or ("\\" not in value and "\0" not in value):
        return value
    return value.replace("\\", "\\\\").replace("\0", "\\0")


def read_back(value: Any) -> Any:
    """The value that was stored; of a text that ``stored`` never makes, something that no leaf says."""
    if not isinstance(value, str) or "\\" not in value:
        return value
    text = _ESCAPED.sub(lambda found: {"\\": "\\", "0": "\0"}.get(found[1], ""), value)
    return text if stored(text) == value else ("not what was stored", value)
