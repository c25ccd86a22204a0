"""YAML and JSON as kubectl reads them.

kubectl splits a file into documents by lines that start with ``---``, reads each with a YAML 1.1 library of its own
(go.yaml.in/yaml/v2) and turns the result into JSON. Other readers give other values for ``y``, ``12:30:45`` or
``1e3``, and a digest over another reading is a digest of another object. So PyYAML does the scanning here and
nothing more: what a scalar means, what a key is, how ``<<`` merges follows kubectl. Where kubectl would take one of
two things silently (a key given twice, whatever stands after ``...``), the file is refused instead.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, cast

import yaml

from placet.yamlscalars import LONGEST_NUMBER, MISMATCH, json_number, key_text, resolve_scalar, resolve_tagged

MAX_DEPTH: Final = 60
# Values in one document, aliases followed; enough for the largest lists, far too few for a "billion laughs".
MAX_VALUES: Final = 500_000

_TAG: Final = "tag:yaml.org,2002:"
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_BLANKS_IN_LINE: Final = re.compile(r"[ \t]*")
_LINE_ENDS: Final = "\0\r\n\x85\u2028\u2029"
_SEPARATOR: Final = "---"
# A file holds values that nobody else may see: no message quotes text of it but keys.
_NO_TAG: Final = "this tag is not supported"
# Where PyYAML's messages do; what it calls its own tokens may stay.
_QUOTATION: Final = re.compile(
    r", but found (?!'(?:<[a-z ]+>|[-?:,{}\[\]])'$).*"
    r"|(?<=unknown escape character) .*|(?<=tag handle) .*|'utf-8' codec .*",
    re.DOTALL,
)


class UnreadableError(Exception):
    """Why a file can't be read, and the 1-based line in it."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    Attributes:
        value: as JSON: dict with text keys, list, str, int, float, bool, None.
        line: 1-based line of its first value.
        lines: path in ``value`` -> 1-based line, as far as it is known.
    """

    value: Any
    line: int
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict, repr=False)


def parse_documents(raw: bytes) -> list[Document]:
    """Read a file's documents; those that hold nothing are left out.

    Raises:
        UnreadableError: kubectl would not take it, or would take one of two readings silently; also for documents
            that are too deep or too large.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise UnreadableError("not UTF-8", 1 + raw[: exc.start].count(b"\n")) from exc
    # Behind a byte order mark kubectl takes JSON for YAML.
    is_json = text.lstrip().startswith("{")
    text = text.removeprefix("\ufeff")
    if "\ufeff" in text:
        raise UnreadableError("a byte order mark inside the file", 1 + text[: text.index("\ufeff")].count("\n"))
    if is_json:
        documents = _parse_json_stream(text)
        if documents is not None:
            return [document for document in documents if document.value is not None]
    return [
        document
        for start, chunk in _split(text)
        if (document := _Reader(chunk, start).read()) is not None and document.value is not None
    ]


# --- JSON ------------------------------------------------------------------------------------------------------


def _parse_json_stream(text: str) -> list[Document] | None:
    """Objects one after another, or None where it is no JSON: then it is YAML that starts with a brace."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique_object,
        parse_int=lambda digits: json_number(int(digits) if len(digits) <= LONGEST_NUMBER else float(digits)),
        parse_float=lambda digits: json_number(float(digits)),
        parse_constant=_no_constant,
    )
    documents: list[Document] = []
    position = _after_blanks(text, 0)
    while position < len(text):
        line = 1 + text.count("\n", 0, position)
        try:
            value, position = decoder.raw_decode(text, position)
        except (json.JSONDecodeError, _NoJsonError):
            return None
        except RecursionError as exc:
            raise UnreadableError(f"nested deeper than {MAX_DEPTH}", line) from exc
        except _RefusedError as exc:
            raise UnreadableError(str(exc), line) from exc
        _require_depth(value, line)
        documents.append(Document(value, line))
        position = _after_blanks(text, position)
    return documents


def _after_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    return match.end() if match else position


class _NoJsonError(Exception):
    """Not JSON, perhaps YAML."""


class _RefusedError(Exception):
    """Readable, and refused."""


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _RefusedError("an object gives a key twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise _NoJsonError(name)


def _require_depth(value: Any, line: int, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise UnreadableError(f"nested deeper than {MAX_DEPTH}", line)
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _require_depth(child, line, depth + 1)


# --- YAML ------------------------------------------------------------------------------------------------------


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Documents as kubectl splits them: 0-based first line and text. A separator holds nothing but a comment."""
    lines: list[str] = []
    start = 0
    for number, line in enumerate(text.replace("\r\n", "\n").removesuffix("\n").split("\n")):
        if line.startswith(_SEPARATOR):
            rest = line.removeprefix(_SEPARATOR).strip()
            if rest and not rest.startswith("#"):
                raise UnreadableError("text has to stand on the line after '---' for kubectl", number + 1)
            if lines:
                yield start, "".join(lines)
                # As kubectl does: a separator belongs to a document only where nothing stands before it.
                lines, start = [], number + 1
                continue
        lines.append(f"{line}\n")
    yield start, "".join(lines)


class _Scanner(yaml.SafeLoader):
    """PyYAML's scanner, with tabs between tokens where kubectl's takes them."""

    def scan_to_next_token(self) -> None:
        """Skip blanks and comments up to the next token."""
        while True:
            while self.peek() == " " or (self.peek() == "\t" and (self.flow_level or not self.allow_simple_key)):
                self.forward()
            if self.peek() == "#":
                while self.peek() not in _LINE_ENDS:
                    self.forward()
            if not self.scan_line_break():  # type: ignore[no-untyped-call]  # PyYAML's own
                return
            if not self.flow_level:
                self.allow_simple_key = True


class _Reader:
    """One document: events of PyYAML in, a JSON value with lines out."""

    def __init__(self, text: str, first_line: int) -> None:
        self._text = text
        self._first_line = first_line
        self._lines: dict[tuple[str | int, ...], int] = {}
        # None while the anchor's own value is being read.
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._values = 0

    def read(self) -> Document | None:
        """The document, or None where there is none."""
        try:
            return self._read()
        except yaml.MarkedYAMLError as exc:
            mark = exc.problem_mark or exc.context_mark
            raise UnreadableError(_sentence(exc), 1 + self._first_line + (mark.line if mark else 0)) from exc
        except yaml.reader.ReaderError as exc:
            line = 1 + self._first_line + self._text.count("\n", 0, exc.position)
            raise UnreadableError("a control character that YAML does not allow", line) from exc

    def _read(self) -> Document | None:
        self._events = yaml.parse(self._text, Loader=_Scanner)
        self._next = next(self._events)
        self._advance()
        if isinstance(self._next, yaml.StreamEndEvent):
            return None
        self._advance()
        line = self._line(self._next)
        value = self._value((), 0)
        self._advance()
        if not isinstance(self._next, yaml.StreamEndEvent):
            self._refuse("kubectl does not read what stands after '...'; separate documents by '---'")
        return Document(value, line, self._lines)

    def _advance(self) -> yaml.Event:
        event, self._next = self._next, next(self._events, self._next)
        return event

    def _line(self, event: yaml.Event) -> int:
        return 1 + self._first_line + (event.start_mark.line if event.start_mark else 0)

    def _refuse(self, why: str, event: yaml.Event | None = None) -> NoReturn:
        raise UnreadableError(why, self._line(event or self._next))

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            self._refuse(f"the document holds more than {MAX_VALUES} values, aliases followed")

    def _value(self, path: tuple[str | int, ...], depth: int) -> Any:
        if depth > MAX_DEPTH:
            self._refuse(f"nested deeper than {MAX_DEPTH}")
        before = self._values
        self._count(1)
        event = self._advance()
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        anchor = event.anchor if isinstance(event, yaml.NodeEvent) else None
        if anchor:
            self._anchors[anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            self._require_tag(event, "map")
            value: Any = self._mapping(path, depth, in_block=not event.flow_style)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._require_tag(event, "seq")
            value = self._sequence(path, depth)
        else:
            value = self._scalar(cast("yaml.ScalarEvent", event))
        if anchor:
            self._anchors[anchor] = (value, self._values - before)
        return value

    def _alias(self, event: yaml.AliasEvent) -> Any:
        name = event.anchor or ""
        if name not in self._anchors:
            self._refuse("there is no anchor of this name before the alias", event)
        anchored = self._anchors[name]
        if anchored is None:
            self._refuse("the anchor of this alias contains itself", event)
        value, values = anchored
        self._count(values)
        return copy.deepcopy(value)

    def _require_tag(self, event: yaml.CollectionStartEvent, expected: str) -> None:
        if event.tag not in {None, f"{_TAG}{expected}"}:
            self._refuse(_NO_TAG, event)

    def _sequence(self, path: tuple[str | int, ...], depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(self._next, yaml.SequenceEndEvent):
            step = (*path, len(items))
            self._lines[step] = self._line(self._next)
            items.append(self._value(step, depth + 1))
        self._advance()
        return items

    def _mapping(self, path: tuple[str | int, ...], depth: int, *, in_block: bool) -> dict[str, Any]:
        result: dict[str, Any] = {}
        own: set[str] = set()
        while not isinstance(self._next, yaml.MappingEndEvent):
            event = self._next
            if _is_merge(event):
                self._advance()
                # In the order of the file, as kubectl's reader does: a merge replaces what stands before it.
                result.update(self._merged(path, depth))
                continue
            key = self._key(depth)
            self._require_space_after(event)
            if key in own:
                # In flow style, and behind an alias, what was meant as a value may have become a key.
                named = in_block and isinstance(event, yaml.ScalarEvent)
                self._refuse(f"the key {key[:64]!r} is given twice" if named else "a key is given twice", event)
            own.add(key)
            step = (*path, key)
            self._lines[step] = self._line(event)
            result[key] = self._value(step, depth + 1)
        self._advance()
        return result

    def _require_space_after(self, key: yaml.Event) -> None:
        """Refuse ``{key:,`` and its like: a key without a value to one reader, text with a colon to another."""
        end = key.end_mark
        if not isinstance(key, yaml.ScalarEvent) or key.style is not None or end is None or end.index is None:
            return
        blanks = _BLANKS_IN_LINE.match(self._text, end.index)
        colon = blanks.end() if blanks else end.index
        if "\t" in self._text[end.index : colon]:
            self._refuse("a tab stands before ':'", key)
        if self._text[colon : colon + 1] == ":" and self._text[colon + 1 : colon + 2] in set(",[]{}"):
            self._refuse("a space is missing after ':'", key)

    def _merged(self, path: tuple[str | int, ...], depth: int) -> dict[str, Any]:
        event = self._next
        is_list = isinstance(event, yaml.SequenceStartEvent)
        value = self._value((*path, "<<"), depth + 1)
        # An alias of a list of mappings is no list of mappings to kubectl.
        maps = value if is_list else [value]
        if not all(isinstance(each, dict) for each in maps):
            self._refuse("'<<' merges a mapping or a list of mappings", event)
        merged: dict[str, Any] = {}
        for each in reversed(maps):
            merged.update(each)
        return merged

    def _key(self, depth: int) -> str:
        event = self._next
        if isinstance(event, yaml.ScalarEvent):
            self._advance()
            value = self._resolved(event)
            if event.anchor:
                self._anchors[event.anchor] = (value, 1)
        else:
            value = self._value(("?",), depth + 1)
        name = key_text(value)
        if name is None:
            self._refuse("a key has to be text, a boolean or a number of common size", event)
        return name

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        value = self._resolved(event)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        if not math.isfinite(value):
            self._refuse("a number that JSON does not have", event)
        return json_number(value)

    def _resolved(self, event: yaml.ScalarEvent) -> Any:
        if event.tag is not None:
            return self._tagged(event.tag.removeprefix(_TAG) if event.tag.startswith(_TAG) else "", event)
        return resolve_scalar(event.value) if event.implicit[0] else event.value

    def _tagged(self, tag: str, event: yaml.ScalarEvent) -> Any:
        if tag == "str":
            return event.value
        if tag not in {"int", "float", "bool", "null"}:
            self._refuse(_NO_TAG, event)
        value = resolve_tagged(tag, event.value)
        if value is MISMATCH:
            self._refuse(f"the value is no !!{tag}", event)
        return value


def _is_merge(event: yaml.Event) -> bool:
    return (
        isinstance(event, yaml.ScalarEvent)
        and event.value == "<<"
        and (event.tag == f"{_TAG}merge" or (event.tag is None and event.implicit[0]))
    )


def _sentence(exc: yaml.MarkedYAMLError) -> str:
    parts = (exc.context, _QUOTATION.sub("", exc.problem or ""))
    return " ".join(part for part in parts if part) or "not YAML"
