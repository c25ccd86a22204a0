"""The quick way through JSON gives what the strict way gives, or gives up."""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from placet.canonical import MAX_DEPTH, MAX_SAFE_INTEGER, parse_json, parse_strictly, render_canonical, render_strictly
from placet.errors import CanonicalError, FormatError
from placet.plainjson import NOT_PLAIN, parse_canonical, parse_plain, render_plain

REVIEWS = Path(__file__).parents[1] / "data" / "reviews"
MAX_BYTES = 1_000_000


class Word(str):
    __slots__ = ()


class Number(int):
    pass


class Colour(enum.Enum):
    RED = "red"


class Named(enum.StrEnum):
    ONE = "one"


def outcome(act: Callable[[], Any]) -> tuple[str, ...]:
    """What came of it, with the types of all values: to ``==``, 1 is true and 1.0."""
    try:
        return ("value", repr(act()))
    except (CanonicalError, FormatError) as error:
        return (type(error).__name__, error.code, str(error))


# -- rendering

# Around the places where orders of code points and UTF-16 units part, and what serialisers escape in many ways.
ODD = st.sampled_from(
    "\x00\x07\x08\t\n\x0b\x0c\r\x1f\"\\/<>&'\x7f\x80\u00e9\u2028\u2029\ud7ff\ud800\udbff\udc00\udfff\ue000\ufeff\uffff\U00010000"
    "\U0001f600\U0010ffff"
)
TEXT = st.text(ODD | st.characters(), max_size=6)
SCALARS = (
    st.none()
    | st.booleans()
    | TEXT
    | st.integers()
    | st.sampled_from([2**53, -(2**53), MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER, 2**63, 2**64, -1, 0, -0])
    | st.floats()
    | st.sampled_from([Word("a"), Number(1), Colour.RED, Named.ONE, uuid.UUID(int=1), b"a", 1j, object])
    | st.just(datetime(2026, 11, 22, tzinfo=UTC))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXT | st.integers() | st.none() | st.just(Named.ONE), inner, max_size=4)
    ),
    max_leaves=12,
)
PLAIN_TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('\x00\x1f"\\\x7f\u2028\ue000\U0001f600')
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | PLAIN_TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(PLAIN_TEXT, inner, max_size=5),
    max_leaves=30,
)


@given(VALUES)
@example({"\ue000": 1, "\U0001f600": 2})
@example({"\ud83d": 1})
@example({"a": -0.0})
@example(value=True)
@example([True, 1, 1.0])
def test_whatever_is_rendered_is_what_the_reference_renders(value: Any) -> None:
    assert outcome(lambda: render_canonical(value)) == outcome(lambda: render_strictly(value))


@given(PLAIN)
def test_plain_values_are_rendered_as_rfc8785_does(value: Any) -> None:
    expected = rfc8785.dumps(value)
    assert render_canonical(value) == expected
    quick = render_plain(value, max_depth=MAX_DEPTH)
    assert quick == expected or (quick is None and any(byte >= 0xF0 for byte in expected))


@pytest.mark.parametrize(
    "character", [chr(code) for code in [*range(0x21), 0x7F, 0x80, 0x2028, 0x2029, 0xFEFF, 0xFFFF]]
)
def test_each_character_that_may_be_escaped_is_written_as_the_reference_writes_it(character: str) -> None:
    value = {character: character}
    assert render_plain(value, max_depth=MAX_DEPTH) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        2**53,
        -(2**53),
        {1: 2},
        "\ud800",
        {"\udfff": 1},
        Word("a"),
        Number(1),
        Colour.RED,
        Named.ONE,
        uuid.UUID(int=1),
    ],
)
def test_what_is_not_plain_is_left_to_the_reference(value: Any) -> None:
    for wrapped in (value, [value], {"a": {"b": (value,)}}):
        assert render_plain(wrapped, max_depth=MAX_DEPTH) is None


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: (value,), lambda value: {"a": value}])
def test_depth_is_bounded_as_by_the_reference(wrap: Callable[[Any], Any]) -> None:
    value: Any = 0
    for depth in range(1, MAX_DEPTH + 3):
        value = wrap(value)
        quick = render_plain(value, max_depth=MAX_DEPTH)
        assert (quick is None) == (depth > MAX_DEPTH)
        same = partial(render_canonical, value), partial(render_strictly, value)
        assert outcome(same[0]) == outcome(same[1])


# -- reading

KEY = st.sampled_from(['"a"', '"b"', '"\\u0061"', '""', '"\u00e9"', '"\U0001f600"', '"\\ud83d\\ude00"', '"\\ud800"'])
STRING = (
    KEY
    | st.sampled_from(
        ['"<"', '"\\u003c"', '"\\/"', '"\\b"', '"\\u0008"', '"\\n"', '"\\u2028"', '"\u2028"', '"\x7f"', '"\n"']
    )
    | PLAIN_TEXT.map(json.dumps)
    | PLAIN_TEXT.map(lambda text: json.dumps(text, ensure_ascii=False))
)
NUMBER = st.sampled_from(
    [
        "0",
        "-0",
        "1",
        "-1",
        "01",
        "1.0",
        "-0.0",
        "1e3",
        "1E5",
        "1e400",
        "0.1",
        "5e-324",
        "9007199254740993",
        "1.0000000000000002",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "999999999999999999999",
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        ".5",
        "1.",
    ]
) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
SPACE = st.sampled_from(["", "", "", "", " ", "\n", "\t", "\ufeff"])


def joined(opening: str, closing: str) -> Callable[[tuple[list[str], str]], str]:
    return lambda parts: f"{opening}{parts[1]}{','.join(parts[0])}{closing}"


DOCUMENTS = st.recursive(
    STRING | NUMBER | st.sampled_from(["null", "true", "false", "nul", ""]),
    lambda inner: (
        st.tuples(st.lists(inner, max_size=4), SPACE).map(joined("[", "]"))
        | st.tuples(st.lists(st.tuples(KEY | STRING, inner).map(":".join), max_size=4), SPACE).map(joined("{", "}"))
    ),
    max_leaves=10,
)


@given(
    parts=st.tuples(SPACE, DOCUMENTS, st.sampled_from(["", "", "\n", "\n\n", " ", "x"])),
    allow_floats=st.booleans(),
    max_depth=st.integers(1, 4),
)
@example(parts=("", '{"a":1,"a":1}', ""), allow_floats=False, max_depth=4)
@example(parts=("", '{"a":1,"\\u0061":1}', "\n"), allow_floats=False, max_depth=4)
@example(parts=("", '{"<":1,"\\u003c":1}', ""), allow_floats=False, max_depth=4)
@example(parts=("", '["<","\\u003e"]', "\n"), allow_floats=False, max_depth=4)
@example(parts=("", '["\\u003c"]', "\n"), allow_floats=False, max_depth=4)
@example(parts=("", "[-0]", ""), allow_floats=False, max_depth=4)
@example(parts=("", "[1.0]", ""), allow_floats=False, max_depth=4)
@example(parts=("", "[18446744073709551616]", ""), allow_floats=True, max_depth=4)
def test_whatever_is_read_is_what_the_strict_reader_reads(
    *, parts: tuple[str, str, str], allow_floats: bool, max_depth: int
) -> None:
    raw = "".join(parts).encode("utf-8", "surrogatepass")
    assert outcome(
        lambda: parse_json(raw, max_bytes=MAX_BYTES, max_depth=max_depth, allow_floats=allow_floats)
    ) == outcome(lambda: parse_strictly(raw, max_depth=max_depth, allow_floats=allow_floats))


@given(PLAIN, st.data())
def test_changed_bytes_are_read_as_the_strict_reader_reads_them(value: Any, data: st.DataObject) -> None:
    raw = bytearray(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b",", b'"a":1,'])
        )
    assert outcome(lambda: parse_json(bytes(raw), max_bytes=MAX_BYTES)) == outcome(
        lambda: parse_strictly(bytes(raw), max_depth=MAX_DEPTH, allow_floats=False)
    )


@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_the_strict_reader_reads_them(raw: bytes) -> None:
    assert outcome(lambda: parse_json(raw, max_bytes=MAX_BYTES, allow_floats=True)) == outcome(
        lambda: parse_strictly(raw, max_depth=MAX_DEPTH, allow_floats=True)
    )


@pytest.mark.parametrize("name", sorted(path.name for path in REVIEWS.glob("*.json")))
def test_what_an_api_server_sends_takes_the_quick_way(name: str) -> None:
    document = json.loads((REVIEWS / name).read_bytes())
    document["request"]["object"]["metadata"]["annotations"]["note"] = (
        'a && b < c > d \u2028 \u00e9 \U0001f600 \\ " \n\t'
    )
    raw = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    # As Go's encoder writes to a stream: these escaped, and a line feed at the end.
    for character in "<>&\u2028\u2029":
        raw = raw.replace(character, f"\\u{ord(character):04x}")
    assert parse_plain(f"{raw}\n".encode(), max_depth=128, allow_floats=True) == document


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"c":2,"b":1}}',
        b'{"a":1,"\\u0061":1}',
        b'{"a":1 }',
        b"-0",
        b"1.0",
        b"[1e400]",
        b"18446744073709551616",
        b"\xef\xbb\xbf1",
        b"NaN",
        b'"\\ud800"',
        b'"\\/"',
        b"[" * 65 + b"]" * 65,
    ],
)
def test_what_needs_a_closer_look_is_left_to_the_strict_reader(raw: bytes) -> None:
    assert parse_plain(raw, max_depth=MAX_DEPTH, allow_floats=False) is NOT_PLAIN


def test_depth_of_what_is_read_is_bounded_exactly() -> None:
    for depth in range(1, 8):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            raw = opening * depth + b"1" + closing * depth
            quick = parse_plain(raw, max_depth=4, allow_floats=False)
            assert (quick is NOT_PLAIN) == (depth > 4)


# -- reading what must be canonical


def strictly_canonical(raw: bytes) -> Any:
    """The value where it is canonical by the reference, else ``NOT_PLAIN``."""
    try:
        value = parse_strictly(raw, max_depth=MAX_DEPTH, allow_floats=False)
        return value if render_strictly(value) == raw else NOT_PLAIN
    except (FormatError, CanonicalError):
        return NOT_PLAIN


def hold_canonical(raw: bytes) -> None:
    found = parse_canonical(raw, max_depth=MAX_DEPTH)
    if found is not NOT_PLAIN:
        assert repr(found) == repr(strictly_canonical(raw))


@given(DOCUMENTS)
@example('{"b":1,"a":2}')
@example('{"a":1,"a":1}')
@example('{"a":1.5}')
@example('{"a":[[1e20]]}')
@example('{"a":9007199254740993}')
@example('{"a":-0}')
@example('{"a": 1}')
@example('{"\U0001f600":1,"\uffff":2}')
def test_what_is_read_as_canonical_is_so_by_the_reference(text: str) -> None:
    hold_canonical(text.encode("utf-8", errors="surrogatepass"))


@given(PLAIN, st.data())
def test_changed_bytes_of_canonical_json_are_canonical_by_the_reference_or_left_to_it(
    value: Any, data: st.DataObject
) -> None:
    raw = bytearray(render_strictly(value))
    if max(raw.decode()) < "\ud800":  # what else there is may be left to the reference
        assert repr(parse_canonical(bytes(raw), max_depth=MAX_DEPTH)) == repr(json.loads(raw))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    hold_canonical(bytes(raw))


@pytest.mark.parametrize("inner", [b"", b"1", b"{}", b"[]"])
def test_depth_of_canonical_json_is_never_more_than_may_be(inner: bytes) -> None:
    for depth in range(MAX_DEPTH - 3, MAX_DEPTH + 3):
        raw = b"[" * depth + inner + b"]" * depth
        found = parse_canonical(raw, max_depth=MAX_DEPTH)
        assert found is NOT_PLAIN or strictly_canonical(raw) is not NOT_PLAIN, depth
