"""Text that other people chose, made harmless for terminals, logs, warnings and messages."""

from __future__ import annotations

import unicodedata
from typing import Final

_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def safe(text: object) -> str:
    r"""The text on one line, without control, format, private or surrogate characters: those become ``\uXXXX``."""
    plain = str(text)
    if plain.isprintable():  # no character of those categories is, and nearly every text is
        return plain
    return "".join(
        char if unicodedata.category(char) not in _UNSAFE_CATEGORIES else f"\\u{ord(char):04x}" for char in plain
    )


def clip(text: str, length: int) -> str:
    """The text, cut to a length in characters, the cut shown."""
    return text if len(text) <= length else f"{text[: length - 1]}\u2026"


def clip_bytes(text: str, length: int) -> str:
    """The text, cut to a length in bytes of UTF-8 at a whole character, the cut shown."""
    raw = text.encode("utf-8")
    return text if len(raw) <= length else raw[: length - 3].decode("utf-8", errors="ignore") + "\u2026"
