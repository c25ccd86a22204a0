"""The pattern of a leaf: an expression for those that differ from it in texts, numbers and lengths of lists.

Every one is taken from a body that was read strictly, and leaves nothing open but what may stand in a text or a number;
``placet.audit.forms`` says what a match means. Quantifiers give nothing back, so that matching takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from placet.audit.members import MEMBERS
from placet.audit.record import ATTACHMENT_FIELD, DECISION, SCHEMA, SEALED_SCHEMA, TEXT_MEMBERS

_MAX_DEPTH: Final = 8
_MAX_PATTERN: Final = 16 * 1024
_MAX_KINDS: Final = 2  # of items in one list
_KEY: Final = re.compile(r"[A-Za-z0-9_./:-]{1,128}")
_WITHIN: Final = '[^"]*+'
_TEXT: Final = f'"{_WITHIN}"'
_INTEGER: Final = "(?:0|-?+[1-9][0-9]{0,14}+)"
_TRUTH: Final = "(?:true|false)"
# Members that must be what the strict way asks of them; the others that are looked at only have to be text.
# Each with its quotes and what may stand between them.
_REQUIRED: Final = {
    "time": ('"', r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{6}Z"),
    "uid": ('"', '[^"]++'),
    "decision_id": ('"', '[^"]++'),
    "request_digest": ('"', "sha256:[0-9a-f]{64}"),
    "allowed": ("", _TRUTH),
}
MODEL_NAME: Final = "model name"  # as no member can be called: it is not one of the body
ORDER: Final = ("time", "uid", "decision_id", "request_digest", *TEXT_MEMBERS, MODEL_NAME, "projection")

Asked = Callable[[str], bool]
"""Whether a member of a leaf is told apart."""


def ask_all(_member: str) -> bool:
    """Its columns, its digests and its terms."""
    return True


def ask_columns(member: str) -> bool:
    """All but terms, as of a record that has none."""
    return member not in MEMBERS


def ask_little(member: str) -> bool:
    """Its time and its answer."""
    return member in {"time", "allowed"}


class _Groups:
    """The groups of a pattern.

    Attributes:
        numbers: of each that there is so far, by the name of its member.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.numbers: dict[str, int] = {}

    def add(self, name: str, pattern: str) -> str:
        """A pattern, in a group if it is asked for."""
        if not self._asked(name):
            return f"(?:{pattern})"
        self.numbers[name] = len(self.numbers)
        return f"({pattern})"


class NotAForm(Exception):
    """The leaf has something of which no form can be made."""


class Pattern:
    """One pattern.

    Args:
        body: of a decision that was read strictly.
        asked: members that are told apart from the rest.

    Attributes:
        match: matches a text, or a part of one, as a whole.
        groups: name of a member that is told apart -> the number of its group, from 0.

    Raises:
        NotAForm: no pattern can be made of it.
    """

    __slots__ = ("groups", "match")

    def __init__(self, body: Mapping[str, Any], asked: Asked) -> None:
        groups = _Groups(asked)
        pattern = rf"{DECISION}\n{_members(body, groups)}"
        if not {"schema", "type", *_REQUIRED} <= body.keys() or len(pattern) > _MAX_PATTERN:
            raise NotAForm
        self.match: Callable[..., re.Match[str] | None] = re.compile(pattern).fullmatch
        self.groups = groups.numbers


def _members(body: Mapping[str, Any], groups: _Groups) -> str:
    """The pattern of a body."""
    made = []
    for key, value in body.items():
        if not _KEY.fullmatch(key):
            raise NotAForm
        if key == "model" and isinstance(value, dict):
            made.append(f'"{key}":{_model(value, groups)}')
        else:
            made.append(f'"{re.escape(key)}":{_member(key, value, groups)}')
    return rf"\{{{','.join(made)}\}}"


def _member(key: str, value: Any, groups: _Groups) -> str:
    if key == "type":
        return f'"{DECISION}"'
    if key == "schema":  # names that are sealed are texts like others
        return f'"{re.escape(SEALED_SCHEMA if value == SEALED_SCHEMA else SCHEMA)}"'
    wanted = _REQUIRED.get(key)
    if wanted is not None:
        quote, inner = wanted
        return quote + groups.add(key, inner) + quote
    if key in MEMBERS:
        return groups.add(key, _pattern(value, 1))
    if isinstance(value, str) and (key in ORDER or key.endswith(ATTACHMENT_FIELD)):
        return f'"{groups.add(key, _WITHIN)}"'
    if (key == "approved" and isinstance(value, bool)) or (key == "violations" and isinstance(value, list)):
        return groups.add(key, _pattern(value, 1))
    return _pattern(value, 1)


def _model(value: Mapping[str, Any], groups: _Groups) -> str:
    made = []
    for key, child in value.items():
        if not _KEY.fullmatch(key):
            raise NotAForm
        if key == "name" and isinstance(child, str):
            made.append(f'"name":"{groups.add(MODEL_NAME, _WITHIN)}"')
        else:
            made.append(f'"{re.escape(key)}":{_pattern(child, 2)}')
    return rf"\{{{','.join(made)}\}}"


def _pattern(value: Any, depth: int) -> str:
    """The pattern of a value that is not looked into; quantifiers give nothing back, so matching takes linear time."""
    if depth > _MAX_DEPTH:
        raise NotAForm
    if isinstance(value, str):
        return _TEXT
    if isinstance(value, bool):
        return _TRUTH
    if value is None:
        return "null"
    if isinstance(value, int):
        return _INTEGER
    if isinstance(value, list):
        kinds = list(dict.fromkeys(_pattern(item, depth + 1) for item in value))
        if len(kinds) > _MAX_KINDS:
            raise NotAForm
        # each item once in the pattern: written twice, for the first and for the others, lists in lists would double it
        return rf"\[(?:(?:{'|'.join(kinds)})(?:,(?!\])|(?=\])))*+\]" if kinds else r"\[\]"
    if isinstance(value, dict):
        if not all(map(_KEY.fullmatch, value)):
            raise NotAForm
        made = (f'"{re.escape(key)}":{_pattern(child, depth + 1)}' for key, child in value.items())
        return rf"\{{{','.join(made)}\}}"
    raise NotAForm
