from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import render_canonical
from placet.errors import EngineError
from placet.policy.document import INPUT_SCHEMA, check_document, render_document
from tests.policies.documents import Json, passing_request, unchanged_request

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("document", [passing_request(), unchanged_request()])
def test_accepts_the_documents_of_the_tests_and_renders_them_canonically(document: Json) -> None:
    check_document(document)
    assert render_document(document) == render_canonical(document)
    assert document["schema"] == INPUT_SCHEMA


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps: Any = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = [path] if path else []
    return found + [each for step in steps for each in _paths(value[step], (*path, step))]


@pytest.mark.parametrize("path", _paths(passing_request()), ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize(
    "other", [None, 1.5, -1, "\ud800", {"unknown": {}}], ids=["null", "float", "negative", "surrogate", "object"]
)
def test_refuses_a_value_that_the_field_can_not_have(path: tuple[Any, ...], other: Any) -> None:
    document = passing_request()
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = other
    with pytest.raises(EngineError) as caught:
        check_document(document)
    assert caught.value.code == "input_invalid"


@pytest.mark.parametrize("path", [path for path in _paths(passing_request()) if isinstance(path[-1], str)], ids=str)
def test_refuses_a_document_without_one_of_its_keys(path: tuple[Any, ...]) -> None:
    document = passing_request()
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    if path[0] == "thresholds" and len(path) > 1:
        check_document(document)  # the keyring may have no threshold for a role: the policies deny then
        return
    with pytest.raises(EngineError, match="fails required"):
        check_document(document)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("operation", "DELETE"),
        ("uid", ""),
        ("projection", "sha256:" + "A" * 64),
        ("projection", "sha256:" + "a" * 64 + "\n"),
        ("projection", ""),
        ("time_s", True),
        ("time_s", 2**53),
        ("schema", "placet.dev/policy-input/v1"),
        ("extra", 1),
        ("images", "nginx"),
    ],
)
def test_refuses_what_only_looks_right(key: str, value: Any) -> None:
    with pytest.raises(EngineError) as caught:
        check_document(passing_request() | {key: value})
    assert caught.value.code == "input_invalid"


def test_the_message_names_the_place_and_never_the_value() -> None:
    document = passing_request()
    document["risk"]["factors"]["testing_coverage"] = "a secret"
    with pytest.raises(EngineError, match=r"^the policy input fails type at risk\.factors\.testing_coverage$"):
        check_document(document)


@given(JSON_VALUES)
def test_no_other_error_escapes(value: Any) -> None:
    with pytest.raises(EngineError) as caught:
        check_document(value)
    assert caught.value.code == "input_invalid"


@given(st.sampled_from(_paths(passing_request())), JSON_VALUES)
def test_what_is_rendered_can_be_read_again(path: tuple[Any, ...], value: Any) -> None:
    document = copy.deepcopy(passing_request())
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    try:
        raw = render_document(document)
    except EngineError:
        return
    assert json.loads(raw) == document
