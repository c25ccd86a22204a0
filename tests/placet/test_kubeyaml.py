"""YAML is read as kubectl reads it; tests/e2e/test_kubectl_reading.py holds the same files against kubectl itself."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from placet.kubeyaml import MAX_DEPTH, UnreadableError, parse_documents


def read(text: str) -> Any:
    (document,) = parse_documents(text.encode())
    return document.value


def read_all(text: str) -> list[Any]:
    return [document.value for document in parse_documents(text.encode())]


def refusal(raw: str | bytes) -> UnreadableError:
    with pytest.raises(UnreadableError) as caught:
        parse_documents(raw if isinstance(raw, bytes) else raw.encode())
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("y", True),
        ("N", False),
        ("on", True),
        ("yEs", "yEs"),
        ("12:30:45", "12:30:45"),
        ("1:20", "1:20"),
        ("2001-01-01", "2001-01-01"),
        ("1e3", 1000),
        ("1.0", 1),
        ("1.5", 1.5),
        ("0o644", 420),
        ("0644", 420),
        ("0x10", 16),
        ("0b11", 3),
        ("1_000", 1000),
        ("08", 8),
        ("-0", 0),
        ("~", None),
        ("", None),
        ("'y'", "y"),
        ('"5"', "5"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("!!float 5", 5),
        ("!!bool 'on'", True),
        ("!!null ''", None),
        ("9223372036854775808", float(2**63)),
        ("1e400", "1e400"),
        ("192.168.1.1", "192.168.1.1"),
    ],
)
def test_scalar_means_what_it_means_to_kubectl(text: str, value: Any) -> None:
    found = read(f"v: {text}\n")["v"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("1", "1"),
        ("y", "true"),
        ("off", "false"),
        ("1.5", "1.5"),
        ("1e6", "1e+06"),
        ("0x10", "16"),
        ("0.00001", "1e-05"),
    ],
)
def test_key_is_the_text_that_kubectl_makes_of_it(text: str, key: str) -> None:
    assert read(f"{text}: v\n") == {key: "v"}


def test_merge_takes_the_place_of_what_stands_before_it() -> None:
    text = "a: &a {p: 1, q: 1}\nb: {<<: *a, p: 2}\nc: {p: 2, <<: *a}\nd: {<<: [*a, {p: 3, r: 3}]}\n"
    assert read(text) == {
        "a": {"p": 1, "q": 1},
        "b": {"p": 2, "q": 1},
        "c": {"p": 1, "q": 1},
        "d": {"p": 1, "q": 1, "r": 3},
    }


def test_quoted_merge_key_is_a_key() -> None:
    assert read("a: {'<<': 1}\n") == {"a": {"<<": 1}}


def test_anchor_may_be_given_again() -> None:
    assert read("a: &x 1\nb: *x\nc: &x 2\nd: *x\n") == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_what_an_alias_gives_is_not_shared() -> None:
    value = read("a: &x {k: 1}\nb: *x\n")
    value["a"]["k"] = 2
    assert value["b"] == {"k": 1}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: 1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("---\na: 1\n---\n---\n# nothing\n---\nb: 2", [{"a": 1}, {"b": 2}]),
        ("--- # first\na: 1\n---   \nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("a: 1\n...\n", [{"a": 1}]),
        ("", []),
        ("\n# only a comment\n", []),
        ("---\n", []),
        ("null\n", []),
        ("\ufeffa: 1\n", [{"a": 1}]),
        ("a: 1\r\nb: |\r\n  x\r\n", [{"a": 1, "b": "x\n"}]),
        ("a: |\n  x", [{"a": "x\n"}]),
        ("a:\t1\t# tab\nb: [1,\t2]\n", [{"a": 1, "b": [1, 2]}]),
        ("a: |\n  ---\n  b\n", [{"a": "---\nb\n"}]),
    ],
)
def test_file_is_split_where_kubectl_splits_it(text: str, values: list[Any]) -> None:
    assert read_all(text) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a": 1}', [{"a": 1}]),
        (' \n{"a": 1}\n{"b": 2}{"c": 3}', [{"a": 1}, {"b": 2}, {"c": 3}]),
        ('{"a": 1.0, "b": 1e3, "c": 1.5, "d": -0, "e": 1E400}', None),
        ('{"a": 1.0, "b": 1e3, "c": 1.5, "d": -0}', [{"a": 1, "b": 1000, "c": 1.5, "d": 0}]),
        ('{"a": "\\ud83d\\ude00"}', [{"a": "\U0001f600"}]),
        ('{"a": 1} null {"b": 2}', [{"a": 1}, {"b": 2}]),
        ('\ufeff{"a": 1}', [{"a": 1}]),
        ("{a: 1, b: y}", [{"a": 1, "b": True}]),
        ("{a: 1}\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
    ],
)
def test_json_is_read_as_json_and_what_only_looks_like_it_as_yaml(text: str, values: list[Any] | None) -> None:
    if values is None:
        with suppress(UnreadableError):
            assert all(isinstance(value, dict) for value in read_all(text))
    else:
        assert read_all(text) == values


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is given twice"),
        ("x:\n  1: a\n  '1': b\n", 3, "'1' is given twice"),
        ('{"a": 1,\n"a": 2}', 1, "a key twice"),
        ("a: {b: 1, b: 2}\n", 1, "a key is given twice"),
        ("a: &x b\nb: 1\n*x : 2\n", 3, "a key is given twice"),
        ("a: 1\n...\nb: 2\n", 3, ""),
        ("a: 1\n--- b: 2\n", 2, "line after '---'"),
        ("a: 1\n----\n", 2, "line after '---'"),
        ("%YAML 1.2\n---\na: 1\n", 2, ""),
        ("a: 1\n\tb: 2\n", 2, "\\t"),
        ("a: [1\nb: 2\n", 2, ""),
        ("a: *x\n", 1, "no anchor of this name"),
        ("a: 1\nb: &x [*x]\n", 2, "contains itself"),
        ("a: &x 1\nb: &x [*x]\n", 2, "contains itself"),
        ("a: 1\nb: .nan\n", 2, "JSON does not have"),
        ("a: .inf\n", 1, "JSON does not have"),
        ("a: 1\n~: 2\n", 2, "a key has to be"),
        ("? [a]\n: 1\n", 1, "a key has to be"),
        ("? {a: 1}\n: 1\n", 1, "a key has to be"),
        (".inf: 1\n", 1, "a key has to be"),
        ("a: !!binary aGk=\n", 1, "tag"),
        ("a: !local x\n", 1, "tag"),
        ("a: ! x\n", 1, "tag"),
        ("a: !!python/object:os.system x\n", 1, "tag"),
        ("a: !!set {b}\n", 1, "tag"),
        ("a: !!int x\n", 1, "!!int"),
        ("a: {<<: 1}\n", 1, "merges"),
        ("l: &l [{a: 1}]\nb:\n  <<: *l\n", 3, "merges"),
        ("a: 1\nk: [g:, h]\n", 2, "space is missing"),
        ("a: {b:}\n", 1, "space is missing"),
        ("a: {b :[]}\n", 1, "space is missing"),
        ("a: [b\t:c]\n", 1, "tab"),
        ('\ufeff{"a": 1}\n{"b": 2}\n', 2, ""),
        ("a: 1\nb: \x07\n", 2, "control character"),
        ("a: 1\nb: \ufeff\n", 2, "byte order mark"),
        ("[" * (MAX_DEPTH + 2), 1, "nested deeper"),
        ('{"a":' * (MAX_DEPTH + 2) + "1" + "}" * (MAX_DEPTH + 2), 1, "nested deeper"),
        ('{"a":' * 100_000, 1, ""),
    ],
)
def test_refuses_what_kubectl_refuses_or_takes_in_one_of_two_ways(text: str, line: int, words: str) -> None:
    error = refusal(text)
    assert error.line == line
    assert words in str(error)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"hunter2": 1, "hunter2": 2}}',
        "value: {hunter2, hunter2}\n",
        "value: &x hunter2\nhunter2: 1\n*x : 2\n",
        "value: *hunter2\n",
        "value: &hunter2 [*hunter2]\n",
        "value: !hunter2\n",
        "value: !hunter2 {a: b}\n",
        "value: !hunter2!x y\n",
        "value: !<hunter2> y\n",
        "%TAG !hunter2! a\n%TAG !hunter2! b\n---\na: 1\n",
        "a: |\n--- hunter2\n",
        "value: !!float 1e999\n",
        "value: !!int hunter2\n",
        'value: "hunter\\2"\n',
        "value: |hunter2\n",
        "value: >2h\n",
        "value: !%68unter2%ff x\n",
        "value: hunter2: x\n",
        "value: [hunter2\n",
        "value: 'hunter2\n",
        "value: %hunter2\n",
        "value: &hunter2! x\n",
        "...\nhunter2\n",
    ],
)
def test_no_message_shows_text_that_may_be_a_value(text: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse_documents(f"ok: 1\n{text}".encode() if text[0] not in "{%." else text.encode())
    message = str(caught.value)
    for piece in ("hunter", "unter", "1e999", "'h'", "'2'", "\xff", "0xff"):
        assert piece not in message, message


def test_refuses_what_is_not_utf_8() -> None:
    assert refusal(b"a: 1\nb: \xff\n").line == 2
    assert refusal("a: 1\n".encode("utf-16")).line == 1


def test_refuses_a_billion_laughs() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    error = refusal("\n".join(lines))
    assert "aliases followed" in str(error)


def test_lines_are_those_of_the_file() -> None:
    text = "# c\na: 1\n---\n\nkind: x\nspec:\n  list:\n  - name: a\n    image: b\n"
    first, second = parse_documents(text.encode())
    assert (first.line, second.line) == (2, 5)
    assert second.lines["spec", "list", 0, "image"] == 9
    assert second.lines["spec", "list", 0] == 8
    assert second.lines["spec",] == 6


json_documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=6), json_documents, max_size=4))
def test_json_comes_back_as_it_was(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    assert [document.value for document in parse_documents(text.encode())] == [value]


@given(st.text(max_size=60) | st.text("abyn: -[]{},&*!|>'\"#%@?\n\t~<0.1e", max_size=40))
def test_nothing_but_our_error_escapes_for_any_text(text: str) -> None:
    with suppress(UnreadableError):
        for document in parse_documents(text.encode("utf-8", "surrogatepass")):
            _assert_json(document.value)


@given(st.binary(max_size=40))
def test_nothing_but_our_error_escapes_for_any_bytes(raw: bytes) -> None:
    with suppress(UnreadableError):
        parse_documents(raw)


@given(json_documents)
def test_quoted_yaml_of_another_writer_is_read_as_it_was_meant(value: Any) -> None:
    text = yaml.safe_dump({"v": value}, default_style='"')
    with suppress(UnreadableError):
        assert read(text) == {"v": value}


def _assert_json(value: Any) -> None:
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        for child in value.values():
            _assert_json(child)
    elif isinstance(value, list):
        for child in value:
            _assert_json(child)
    else:
        assert value is None or isinstance(value, str | bool | int | float)
        assert not isinstance(value, float) or math.isfinite(value)
