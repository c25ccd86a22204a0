"""The bytes that are hashed and signed, and the strict reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import MAX_DEPTH, MAX_SAFE_INTEGER, Digest, parse_json, render_canonical
from placet.errors import CanonicalError, FormatError

PLAIN_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | PLAIN_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_is_rendered_reads_back_as_the_same_value(value: Any) -> None:
    raw = render_canonical(value)
    assert parse_json(raw, max_bytes=len(raw)) == value
    assert render_canonical(parse_json(raw, max_bytes=len(raw))) == raw


def test_keys_are_sorted_by_utf16_code_units_as_rfc_8785_says() -> None:
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    order = list(json.loads(render_canonical(value)))
    assert order == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        {"a": 0.5},
        {1: "a"},
        MAX_SAFE_INTEGER + 1,
        "\ud800",
        {"\udfff": 1},
        b"bytes",
        {1, 2},
        [object()],
    ],
)
def test_values_without_a_canonical_form_are_refused(value: Any) -> None:
    with pytest.raises(CanonicalError):
        render_canonical(value)


def test_a_value_that_nests_too_deep_is_refused_not_recursed() -> None:
    value: Any = 0
    for _ in range(MAX_DEPTH + 2):
        value = [value]
    with pytest.raises(CanonicalError):
        render_canonical(value)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a":{"b":1,"b":1}}', "duplicate_key"),
        (b"\xef\xbb\xbf{}", "byte_order_mark"),
        (b"\xff", "not_utf8"),
        (b"NaN", "not_json"),
        (b"[Infinity]", "not_json"),
        (b"1.0", "float_refused"),
        (b"1e3", "float_refused"),
        (b"-0.0", "float_refused"),
        (b"{} {}", "not_json"),
        (b"", "not_json"),
        (b"[1,]", "not_json"),
        (b'"\\ud800"', "not_utf8"),
        (b'{"\\udc00":1}', "not_utf8"),
        (b"1" * 21, "integer_too_long"),
        (b"[" * 65 + b"]" * 65, "too_deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "too_deep"),
    ],
)
def test_hostile_json_is_refused_with_its_code(raw: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_json(raw, max_bytes=10_000)
    assert caught.value.code == code


def test_brackets_inside_strings_are_not_depth() -> None:
    raw = json.dumps(["[" * 500 + '\\"' + "{" * 500]).encode()
    assert parse_json(raw, max_bytes=5000) == ["[" * 500 + '\\"' + "{" * 500]


def test_more_bytes_than_allowed_are_refused_before_they_are_read() -> None:
    with pytest.raises(FormatError) as caught:
        parse_json(b"[" + b" " * 100 + b"]", max_bytes=100)
    assert caught.value.code == "too_large"


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_format_error(raw: bytes) -> None:
    try:
        value = parse_json(raw, max_bytes=200)
    except FormatError as error:
        assert error.code
    else:
        render_canonical(value)


@given(st.text(max_size=80))
def test_only_the_exact_form_is_a_digest(text: str) -> None:
    with pytest.raises(FormatError):
        Digest.parse(text)


@pytest.mark.parametrize(
    "text", ["sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 64 + "\n", "sha512:" + "a" * 64]
)
def test_near_digests_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Digest.parse(text)


def test_a_digest_prints_as_it_is_read() -> None:
    text = str(Digest.of(b"placet"))
    assert str(Digest.parse(text)) == text
