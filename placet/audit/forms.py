r"""Forms of leaves: a pattern that says of a decision's bytes what its JSON would say, in half of the time.

Most leaves of a log differ in their texts and numbers alone. From a leaf that was read strictly a pattern is made::

    decision\n{"allowed":(true|false),...,"kind":"([^"]*)",...}

Bytes of ASCII or UTF-8 that it matches as a whole, with no backslash and no control character but that line feed, are a
leaf of the same members in the same order: its keys are sorted and stand once each, since those of the first leaf are;
every text is between two quotes without an escape, which is its one canonical form; every number is an integer of at
most 15 digits, written without a needless 0; nothing is nested deeper. So the leaf is canonical, and what it is
searched by are the texts in their places. Whatever matches no form takes the strict way: a form never refuses a leaf.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final, NamedTuple

from placet.audit.record import (
    ATTACHMENT_FIELD,
    DECISION,
    MAX_LEAF_BYTES,
    SCHEMA,
    SEALED_SCHEMA,
    TEXT_MEMBERS,
    violations_column,
)

MAX_FORMS: Final = 16
PATIENCE: Final = 64  # leaves without a form before one is made: making one takes as long as reading 200
_MAX_PATIENCE: Final = 4096
_MAX_DEPTH: Final = 8
_MAX_PATTERN: Final = 16 * 1024
_MAX_KINDS: Final = 2  # of items in one list
_REMEMBERED_CHARS: Final = 2048
_KEY: Final = re.compile(r"[A-Za-z0-9_./:-]{1,128}")
# What no leaf of a form has, but for the line feed after its type: where a text would have another form, or none.
_NEVER: Final = bytes(range(0x20)) + b"\\"
_TEXT: Final = '"[^"]*+"'
_INTEGER: Final = "(?:0|-?+[1-9][0-9]{0,14}+)"
_TRUTH: Final = "(?:true|false)"
# Members that must be what the strict way asks of them; the others that are looked at only have to be text.
_REQUIRED: Final = {
    "schema": f'"{re.escape(SCHEMA)}"',
    "type": f'"{DECISION}"',
    "time": r'"([0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{6}Z)"',
    "uid": '"([^"]++)"',
    "decision_id": '"([^"]++)"',
    "request_digest": '"(sha256:[0-9a-f]{64})"',
    "allowed": "(true|false)",
}
_MODEL_NAME: Final = "model name"  # as no member can be called: it is not one of the body
_ORDER: Final = ("time", "uid", "decision_id", "request_digest", *TEXT_MEMBERS, _MODEL_NAME, "projection")
_AS_INTEGER: Final = {"true": 1, "false": 0}


Brief = tuple[str, str, int | None, bool]
"""Type, time, column ``allowed``, and whether it was decided while the store was away."""


class Said(NamedTuple):
    """What a leaf says, as far as a verifier asks.

    Attributes:
        values: as ``placet.audit.record.search_values`` gives them.
        digests: as ``placet.audit.record.attachment_digests`` gives them.
        spooled: whether it was decided while the store was away.
    """

    values: tuple[Any, ...]
    digests: Mapping[str, str]
    spooled: bool


class NotAForm(Exception):
    """The leaf has something of which no form can be made."""


class Form:
    """One pattern.

    Args:
        body: of a decision that was read strictly.

    Raises:
        NotAForm: no pattern can be made of it.
    """

    __slots__ = ("_allowed", "_approved", "_digests", "_names", "_pick", "_time", "_violations", "match", "spooled")

    def __init__(self, body: Mapping[str, Any]) -> None:
        groups: dict[str, int] = {}
        pattern = rf"{DECISION}\n{_members(body, groups)}"
        if not _REQUIRED.keys() <= body.keys() or len(pattern) > _MAX_PATTERN:
            raise NotAForm
        self.match: Callable[[str], re.Match[str] | None] = re.compile(pattern).fullmatch
        place = {name: number + 1 for name, number in groups.items()}  # the first of what is picked from is nothing
        self._pick = itemgetter(*(place.get(name, 0) for name in _ORDER))
        self._time = groups["time"]
        self._allowed = groups["allowed"]
        self._approved = groups.get("approved")
        self._violations = groups.get("violations")
        found = {name: number for name, number in groups.items() if name.endswith(ATTACHMENT_FIELD)}
        self._names = tuple(name.removesuffix(ATTACHMENT_FIELD) for name in found)
        first, *others = found.values()  # at least one: the digest of the request
        # of one place ``itemgetter`` gives the item itself and no tuple of it, so that one is named twice
        self._digests = itemgetter(first, *(others or [first]))
        self.spooled = "spooled" in body

    def say(self, match: re.Match[str]) -> Said:
        """What a leaf says that is of this form."""
        groups = match.groups()
        values = (
            DECISION,
            *self._pick(("", *groups)),
            _AS_INTEGER[groups[self._allowed]],
            0 if self._approved is None else _AS_INTEGER[groups[self._approved]],
            "" if self._violations is None else _violations(groups[self._violations]),
        )
        return Said(values, dict(zip(self._names, self._digests(groups), strict=False)), self.spooled)

    def say_briefly(self, match: re.Match[str]) -> Brief:
        """The little of it that a verifier of tiles asks."""
        time, allowed = match.group(self._time + 1, self._allowed + 1)
        return DECISION, time, _AS_INTEGER[allowed], self.spooled


class Forms:
    """The forms that one verification has met; the one that fitted last is tried first.

    Args:
        patience: leaves without a form before the first is made; twice as many before each further one.
    """

    def __init__(self, patience: int | None = None) -> None:
        self._forms: list[Form] = []
        self._patience = PATIENCE if patience is None else patience
        self._missed = 0

    def read(self, raw: bytes) -> Said | None:
        """What a leaf says, where a form fits it; None where it must be read strictly."""
        found = self._find(raw)
        return None if found is None else found[0].say(found[1])

    def read_briefly(self, raw: bytes) -> Brief | None:
        """The same for who asks less."""
        found = self._find(raw)
        return None if found is None else found[0].say_briefly(found[1])

    def _find(self, raw: bytes) -> tuple[Form, re.Match[str]] | None:
        if not self._forms or len(raw) - len(raw.translate(None, _NEVER)) != 1 or len(raw) > MAX_LEAF_BYTES:
            return None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None
        for place, form in enumerate(self._forms):
            match = form.match(text)
            if match is not None:
                if place:
                    self._forms.insert(0, self._forms.pop(place))
                return form, match
        return None

    def learn(self, body: Mapping[str, Any]) -> None:
        """Note a leaf that had no form, and make one of it now and then.

        Args:
            body: of a leaf that was read strictly, and of which ``search_values`` has an answer.
        """
        self._missed += 1
        if self._missed <= self._patience or body["type"] != DECISION:
            return
        self._missed, self._patience = 0, min(2 * self._patience, _MAX_PATIENCE)
        try:
            self._forms.insert(0, Form(body))
        except NotAForm:
            return
        del self._forms[MAX_FORMS:]


def _members(body: Mapping[str, Any], groups: dict[str, int]) -> str:
    """The pattern of a body; in ``groups``, which number the group of a member has."""
    made = []
    for key, value in body.items():
        if not _KEY.fullmatch(key):
            raise NotAForm
        if key == "model" and isinstance(value, dict):
            made.append(f'"{key}":{_model(value, groups)}')
        else:
            made.append(f'"{re.escape(key)}":{_member(key, value, groups)}')
    return rf"\{{{','.join(made)}\}}"


def _member(key: str, value: Any, groups: dict[str, int]) -> str:
    wanted = _REQUIRED.get(key)
    if key == "schema" and value == SEALED_SCHEMA:
        wanted = f'"{re.escape(SEALED_SCHEMA)}"'  # names in it are text like others
    if wanted is not None:
        if "(" in wanted:
            groups[key] = len(groups)
        return wanted
    if isinstance(value, str) and (key in _ORDER or key.endswith(ATTACHMENT_FIELD)):
        groups[key] = len(groups)
        return '"([^"]*+)"'
    if (key == "approved" and isinstance(value, bool)) or (key == "violations" and isinstance(value, list)):
        groups[key] = len(groups)
        return f"({_TRUTH if key == 'approved' else _pattern(value, 1)})"
    return _pattern(value, 1)


def _model(value: Mapping[str, Any], groups: dict[str, int]) -> str:
    made = []
    for key, child in value.items():
        if not _KEY.fullmatch(key):
            raise NotAForm
        if key == "name" and isinstance(child, str):
            groups[_MODEL_NAME] = len(groups)
            made.append('"name":"([^"]*+)"')
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


def _violations(text: str) -> str:
    if text == "[]":
        return ""
    return _remembered(text) if len(text) < _REMEMBERED_CHARS else violations_column(json.loads(text))


@functools.lru_cache(maxsize=512)  # the same rules refuse again and again
def _remembered(text: str) -> str:
    return violations_column(json.loads(text))
