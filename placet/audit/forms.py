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
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.members import MEMBERS
from placet.audit.patterns import ORDER, Asked, NotAForm, Pattern, ask_all
from placet.audit.record import ATTACHMENT_FIELD, DECISION, MAX_LEAF_BYTES, violations_column

MAX_FORMS: Final = 16
TOGETHER: Final = 32  # leaves to fit at once: more fit into no processor's cache
PATIENCE: Final = 64  # leaves without a form before one is made: making one takes as long as reading 200
_MAX_PATIENCE: Final = 4096
_REMEMBERED_CHARS: Final = 2048
# Changes what no leaf of a form has: where a text would have another form, or none. Where ``bytes.translate`` changes
# nothing it gives the same object, and comparing that takes no time.
_FORBIDDEN: Final = bytes(set(range(0x20)) - {0x0A} | {0x5C})
_AS_IT_IS: Final = bytes.maketrans(_FORBIDDEN, b" " * len(_FORBIDDEN))
_AS_INTEGER: Final = {"true": 1, "false": 0}
_NO_VIOLATIONS: Final = "[]"

Column = tuple[Any, ...]
"""One value of each of some leaves."""


class Form:
    """One pattern.

    Args:
        body: of a decision that was read strictly.
        asked: members that are told apart from the rest.

    Attributes:
        match: matches a text, or a part of one, as a whole.
        digests: name of an attachment -> the group that has its digest.
        terms: those of ``placet.audit.members.MEMBERS`` -> the group that has the JSON of it.
        spooled: whether leaves of this form were decided while the store was away.

    Raises:
        NotAForm: no pattern can be made of it.
    """

    __slots__ = ("_groups", "digests", "match", "spooled", "terms")

    def __init__(self, body: Mapping[str, Any], asked: Asked) -> None:
        pattern = Pattern(body, asked)
        self.match = pattern.match
        self._groups = groups = pattern.groups
        self.digests = tuple(
            (name.removesuffix(ATTACHMENT_FIELD), number)
            for name, number in groups.items()
            if name.endswith(ATTACHMENT_FIELD)
        )
        self.terms = tuple((name, number) for name, number in groups.items() if name in MEMBERS)
        self.spooled = "spooled" in body

    def times(self, groups: Sequence[Column]) -> Column:
        """When leaves of this form were written, as they say.

        Args:
            groups: of their matches: what stands in the first group in each leaf, and so on.
        """
        return groups[self._groups["time"]]

    def answers(self, groups: Sequence[Column]) -> Column:
        """Their column ``allowed``."""
        return tuple(map(_AS_INTEGER.__getitem__, groups[self._groups["allowed"]]))

    def columns(self, groups: Sequence[Column], count: int) -> list[Column]:
        """All their search columns, in the order of ``placet.audit.record.Columns``; of what asks for all of it.

        Args:
            groups: as above.
            count: how many leaves they are.
        """
        numbers, nothing = self._groups, ("",) * count
        texts = (groups[numbers[name]] if name in numbers else nothing for name in ORDER)
        approved: Column = (0,) * count
        if "approved" in numbers:
            approved = tuple(map(_AS_INTEGER.__getitem__, groups[numbers["approved"]]))
        violations = nothing
        if "violations" in numbers:
            said = groups[numbers["violations"]]
            made = {text: _violations(text) for text in set(said)}
            violations = tuple(map(made.__getitem__, said))
        return [(DECISION,) * count, *texts, self.answers(groups), approved, violations]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Leaves of one form among others.

    Attributes:
        places: where they stand among the others, ascending.
        groups: of their matches, one after the other.
    """

    form: Form
    places: list[int]
    groups: list[tuple[str, ...]]

    def by_group(self) -> list[Column]:
        """What stands in the first group in each leaf, and so on."""
        return list(zip(*self.groups, strict=True))


class Forms:
    """The forms that one verification has met; the one that fitted last is tried first.

    Args:
        patience: leaves without a form before the first is made; twice as many before each further one.
        asked: what leaves are asked.
    """

    def __init__(self, patience: int | None = None, *, asked: Asked = ask_all) -> None:
        self._forms: list[Form] = []
        self._asked = asked
        self._patience = PATIENCE if patience is None else patience
        self._missed = 0

    def fit(self, leaves: Sequence[bytes]) -> tuple[list[Fitted], list[int]]:
        """The forms of some leaves: best of ``TOGETHER`` at once.

        Returns:
            Leaves by their form, and the places of those that fit none, ascending.
        """
        texts = _plain_texts(leaves) if self._forms else None
        if texts is None:
            return self._fit_each(leaves)
        fitted: list[Fitted] = []
        left = list(range(len(leaves)))
        for form in self._forms:
            match = form.match
            found = [match(*texts[place]) for place in left] if fitted else [match(*text) for text in texts]
            if any(found):
                places = left if all(found) else [place for place, one in zip(left, found, strict=True) if one]
                fitted.append(Fitted(form, places, [one.groups() for one in found if one]))
                left = [place for place, one in zip(left, found, strict=True) if not one]
            if not left:
                break
        if fitted and self._forms[0] is not fitted[0].form:
            self._forms.remove(fitted[0].form)
            self._forms.insert(0, fitted[0].form)
        return fitted, left

    def _fit_each(self, leaves: Sequence[bytes]) -> tuple[list[Fitted], list[int]]:
        fitted: dict[Form, Fitted] = {}
        left = []
        for place, leaf in enumerate(leaves):
            found = self._find(leaf)
            if found is None:
                left.append(place)
                continue
            form, match = found
            one = fitted.setdefault(form, Fitted(form, [], []))
            one.places.append(place)
            one.groups.append(match.groups())
        return list(fitted.values()), left

    def _find(self, raw: bytes) -> tuple[Form, re.Match[str]] | None:
        if not self._forms or not _is_plain(raw) or len(raw) > MAX_LEAF_BYTES:
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
            self._forms.insert(0, Form(body, self._asked))
        except NotAForm:
            return
        del self._forms[MAX_FORMS:]


def _is_plain(raw: bytes) -> bool:
    """Whether there is one line feed in it, and no other control character nor a backslash."""
    return raw.translate(_AS_IT_IS) == raw and _is_of_two_lines(raw)


def _is_of_two_lines(raw: bytes) -> bool:
    return -1 != raw.find(b"\n") == raw.rfind(b"\n")  # which takes a tenth of the time of counting


def _plain_texts(leaves: Sequence[bytes]) -> list[tuple[str, int, int]] | None:
    """Each leaf as a text, where it begins in it and where it ends; None where one of them is not plain."""
    raw = b"".join(leaves)
    if raw.translate(_AS_IT_IS) != raw or not all(map(_is_of_two_lines, leaves)):
        return None
    if max(map(len, leaves)) > MAX_LEAF_BYTES:
        return None
    try:
        text = raw.decode()
        if len(text) != len(raw):  # places of bytes are not those of characters
            return [(leaf.decode(), 0, MAX_LEAF_BYTES) for leaf in leaves]
    except UnicodeDecodeError:
        return None
    ends = list(itertools.accumulate(map(len, leaves)))
    return list(zip(itertools.repeat(text), [0, *ends[:-1]], ends, strict=False))


def _violations(text: str) -> str:
    if text == _NO_VIOLATIONS:
        return ""
    return _remembered(text) if len(text) < _REMEMBERED_CHARS else violations_column(json.loads(text))


@functools.lru_cache(maxsize=512)  # the same rules refuse again and again
def _remembered(text: str) -> str:
    return violations_column(json.loads(text))
