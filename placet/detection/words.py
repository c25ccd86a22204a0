"""Text as words, and tables of phrases that are looked for in them.

Nothing here is a regular expression: all that a tenant writes is split once, and each word is looked up. The work grows
with the length of the text and with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Final

_FOLD: Final = {ord(upper): lower for upper, lower in zip(ascii_uppercase, ascii_lowercase, strict=True)}
_KEPT: Final = frozenset("/:")  # words of their own, by which the place of a word in an image reference is told
_SPLIT: Final = {ord(mark): f" {mark} " if mark in _KEPT else " " for mark in "-_.,/:;=+@~!?#%&*|<>()[]{}'\"`$\\\n\r\t"}


def fold(text: str) -> str:
    """The text with ASCII capitals as small letters; no other letter changes, so that no other one becomes ASCII."""
    return text.translate(_FOLD)


def split_words(text: str) -> list[str]:
    """Words between punctuation; ``/`` and ``:`` are words."""
    return fold(text).translate(_SPLIT).split()


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase that was found.

    Attributes:
        key: the phrase as the table has it.
        meaning: what the table says of it.
        start: of its first word.
        end: behind its last word.
    """

    key: str
    meaning: str
    start: int
    end: int


class Phrases:
    """Phrases by their first word, the longest first."""

    def __init__(self, entries: Mapping[str, tuple[Sequence[str], str]]) -> None:
        """Index the phrases.

        Args:
            entries: key -> its words and its meaning. A word that ends in ``*`` stands for all that begin so.
        """
        exact: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
        begun: list[tuple[tuple[str, ...], str, str]] = []
        for key, (words, meaning) in entries.items():
            entry = (tuple(words), key, meaning)
            if not words:
                continue
            if words[0].endswith("*"):
                begun.append(entry)
            else:
                exact.setdefault(words[0], []).append(entry)
        self._exact = {word: sorted(found, key=_longest_first) for word, found in exact.items()}
        self._begun = sorted(begun, key=_longest_first)
        self._beginnings = tuple(words[0][:-1] for words, _, _ in begun)

    def at(self, words: Sequence[str], start: int) -> Found | None:
        """The longest phrase that begins at a word."""
        begun = self._begun if words[start].startswith(self._beginnings) else ()
        for phrase, key, meaning in (*self._exact.get(words[start], ()), *begun):
            end = start + len(phrase)
            if end <= len(words) and all(map(_is_word, phrase, words[start:end])):
                return Found(key, meaning, start, end)
        return None

    def find(self, words: Sequence[str]) -> Iterator[Found]:
        """Phrases from the left; a word belongs to one phrase at most."""
        start = 0
        while start < len(words):
            found = self.at(words, start)
            if found is not None:
                yield found
            start = start + 1 if found is None else found.end


class Names:
    """Names that are looked up whole, by their beginning (``A*``) or by their end (``*A``)."""

    def __init__(self, entries: Mapping[str, str]) -> None:
        """Index the names: name -> meaning."""
        self._exact = {fold(name): (name, meaning) for name, meaning in entries.items() if "*" not in name}
        # A whole name says more than a part of one, and a long part more than a short one.
        self._parts = sorted(
            ((fold(name), name, meaning) for name, meaning in entries.items() if "*" in name),
            key=lambda entry: (-len(entry[0]), entry[0]),
        )
        self._beginnings = tuple(part[:-1] for part, _, _ in self._parts if part.endswith("*"))
        self._endings = tuple(part[1:] for part, _, _ in self._parts if part.startswith("*"))

    def get(self, name: str) -> tuple[str, str] | None:
        """Key and meaning of a name; None where the table does not know it."""
        folded = fold(name)
        if (found := self._exact.get(folded)) is not None:
            return found
        if not (folded.startswith(self._beginnings) or folded.endswith(self._endings)):
            return None
        for pattern, key, meaning in self._parts:
            if pattern.startswith("*") and folded.endswith(pattern[1:]):
                return key, meaning
            if pattern.endswith("*") and folded.startswith(pattern[:-1]):
                return key, meaning
        return None


def _longest_first(entry: tuple[tuple[str, ...], str, str]) -> tuple[int, str]:
    return -len(entry[0]), entry[1]


def _is_word(pattern: str, word: str) -> bool:
    return word.startswith(pattern[:-1]) if pattern.endswith("*") else word == pattern
