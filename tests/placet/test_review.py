"""AdmissionReview v1 as real API servers write it, and as nobody should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.errors import ReviewError
from placet.review import parse_review

REVIEWS = Path(__file__).parents[1] / "data" / "reviews"


def captured(name: str) -> dict[str, Any]:
    review: dict[str, Any] = json.loads((REVIEWS / name).read_bytes())
    return review


def test_a_real_create_is_read() -> None:
    request = parse_review((REVIEWS / "deployment-llama-create.json").read_bytes())
    assert (request.operation, request.namespace, request.name) == ("CREATE", "ml-serving", "llama")
    assert str(request.kind) == "apps/v1 Deployment"
    assert request.object is not None
    assert request.old_object is None
    assert request.dry_run is False


def test_a_real_update_carries_both_objects() -> None:
    request = parse_review((REVIEWS / "deployment-llama-update.json").read_bytes())
    assert request.operation == "UPDATE"
    assert request.object is not None
    assert request.old_object is not None


def _set(path: str, value: Any) -> dict[str, Any]:
    review = captured("deployment-llama-create.json")
    *parents, last = path.split(".")
    target = review
    for parent in parents:
        target = target[parent]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return review


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("apiVersion", "admission.k8s.io/v1beta1", "review_version"),
        ("kind", "Review", "review_version"),
        ("request", ..., "review_request"),
        ("request", [], "review_request"),
        ("request.uid", ..., "review_uid"),
        ("request.uid", "", "review_uid"),
        ("request.uid", 7, "review_uid"),
        ("request.uid", "x" * 129, "review_uid"),
        ("request.uid", "a\nb", "review_uid"),
        ("request.operation", "PATCH", "review_operation"),
        ("request.operation", ..., "review_operation"),
        ("request.kind", "Deployment", "review_kind"),
        ("request.kind.version", ..., "review_version"),
        ("request.userInfo", ..., "review_userinfo"),
        ("request.userInfo.username", ..., "review_username"),
        ("request.userInfo.groups", "admins", "review_groups"),
        ("request.object", "text", "review_object"),
        ("request.dryRun", "yes", "review_dryrun"),
        ("request.namespace", 3, "review_namespace"),
    ],
)
def test_a_malformed_review_is_refused_with_its_code(path: str, value: Any, code: str) -> None:
    with pytest.raises(ReviewError) as caught:
        parse_review(json.dumps(_set(path, value)).encode())
    assert caught.value.code == code
    assert 400 <= caught.value.status < 500


def test_a_body_over_the_cap_is_413() -> None:
    with pytest.raises(ReviewError) as caught:
        parse_review(b"{" + b" " * 200 + b"}", max_bytes=100)
    assert caught.value.status == 413


def test_a_key_given_twice_is_refused() -> None:
    raw = (REVIEWS / "deployment-llama-create.json").read_bytes()
    doubled = raw.replace(b'"operation":"CREATE"', b'"operation":"DELETE","operation":"CREATE"')
    assert doubled != raw
    with pytest.raises(ReviewError) as caught:
        parse_review(doubled)
    assert caught.value.code == "review_duplicate_key"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(
        [
            "apiVersion",
            "request",
            "request.uid",
            "request.kind",
            "request.userInfo",
            "request.object",
            "request.oldObject",
        ]
    ),
    JSON,
)
def test_no_value_anywhere_raises_anything_but_review_error(path: str, value: Any) -> None:
    try:
        request = parse_review(json.dumps(_set(path, value)).encode())
    except ReviewError as error:
        assert error.status < 500
    else:
        assert request.uid
