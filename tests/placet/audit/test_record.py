"""A leaf has one spelling, and what it can be found by is a function of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.record import Columns, attachment_digests, parse_leaf, render_leaf, search_columns
from placet.canonical import parse_json, render_canonical
from placet.errors import AuditError, FormatError
from tests.simulators.tampering import decision

HEARTBEAT = {
    "schema": "placet.dev/record/v1",
    "type": "heartbeat",
    "time": "2026-11-22T18:00:00.000000Z",
    "interval_s": 600,
}


def test_a_leaf_is_its_type_a_new_line_and_canonical_json() -> None:
    leaf = render_leaf(HEARTBEAT)
    assert leaf.raw == (
        b'heartbeat\n{"interval_s":600,"schema":"placet.dev/record/v1","time":"2026-11-22T18:00:00.000000Z","type":"heartbeat"}'
    )


def test_a_decision_is_read_back_as_it_was_written() -> None:
    body = decision(4, user="Ärger\u2028 \U0001f600")
    leaf = parse_leaf(render_leaf(body).raw)
    assert leaf.body == body
    assert leaf.columns == Columns(
        leaf_type="decision",
        time="2026-11-22T18:00:04.000000Z",
        uid="uid-4",
        decision_id="decision-4",
        request_digest=body["request_digest"],
        cluster="prod-eu-1",
        environment="production",
        namespace="ml",
        kind="Deployment",
        object_name="llama-1",
        requester="Ärger\u2028 \U0001f600",
        model="llama-3.1-70b",
        projection=f"sha256:{'2' * 64}",
        allowed=0,
        approved=0,
        violations="|approvals.required|approvals.required:role_missing|role_missing|",
    )


@pytest.mark.parametrize(("said", "column"), [(True, 1), (False, 0), (None, 0), (1, 0), ("true", 0), ({}, 0)])
def test_only_a_decision_that_says_so_is_found_as_approved(said: object, column: int) -> None:
    assert search_columns(decision(1, approved=said)).approved == column


def test_a_decision_that_does_not_say_whether_it_is_approved_is_not() -> None:
    body = decision(1)
    del body["approved"]
    assert search_columns(body).approved == 0


def test_a_heartbeat_is_found_by_its_type_and_time_alone() -> None:
    assert search_columns(HEARTBEAT) == Columns("heartbeat", "2026-11-22T18:00:00.000000Z")


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "pruned"},
        {"type": None},
        {"schema": "other"},
        {"schema": []},
        {"schema": {}},
        {"time": "2026-11-22T18:00:00Z"},
        {"time": ""},
        {"uid": ""},
        {"uid": 7},
        {"decision_id": ""},
        {"request_digest": "md5:00"},
        {"allowed": "yes"},
        {"allowed": 1},
        {"dry_run": True},
        {"latency_us": 1.5},
        {"latency_us": 2**53},
        {"user": "\ud800"},
        {"user": {1}},
    ],
)
def test_what_can_not_be_recorded_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(AuditError) as caught:
        render_leaf(decision(1) | changes)
    assert caught.value.code == "record_invalid"


def test_a_record_of_more_than_32_kib_is_refused() -> None:
    with pytest.raises(AuditError) as caught:
        render_leaf(decision(1, user="x" * 32_768))
    assert caught.value.code == "record_too_large"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"heartbeat",
        b"heartbeat\n",
        b"heartbeat\n{}",
        b"heartbeat\n[]",
        b"\n{}",
        b"Heartbeat\n{}",
        b"heartbeat\r\n{}",
        b"x" * 33 + b"\n{}",
        b"\xff\n{}",
        b"decision\n" + render_canonical(HEARTBEAT),
        b"heartbeat\n " + render_canonical(HEARTBEAT),
        b"heartbeat\n" + render_canonical(HEARTBEAT) + b"\n",
        b"heartbeat\n" + render_canonical(HEARTBEAT).replace(b"600", b"600.0"),
        b"heartbeat\n" + render_canonical(HEARTBEAT).replace(b"600", b"6e2"),
        b"heartbeat\n" + render_canonical(HEARTBEAT).replace(b"600", b"NaN"),
        b"heartbeat\n" + render_canonical(HEARTBEAT).replace(b"600", b"-0"),
        b"heartbeat\n" + render_canonical(HEARTBEAT).replace(b"600", b"9007199254740993"),
        b"heartbeat\n" + render_canonical(HEARTBEAT).replace(b"600", b'"\\u0041"'),
        b"heartbeat\n" + render_canonical(HEARTBEAT).replace(b"600", b'"\\ud800"'),
        b'heartbeat\n{"interval_s":600,' + render_canonical(HEARTBEAT)[1:],
        b"heartbeat\n" + b"[" * 30_000,
        b"heartbeat\n" + render_canonical(HEARTBEAT | {"pad": "x" * 33_000}),
        b"heartbeat\n" + render_canonical(HEARTBEAT).replace(b"600", b"[" * 500 + b"]" * 500),
    ],
)
def test_any_other_spelling_is_no_leaf(raw: bytes) -> None:
    with pytest.raises(FormatError):
        parse_leaf(raw)


def test_a_type_of_a_newer_placet_is_read() -> None:
    raw = b"break-glass\n" + render_canonical(HEARTBEAT | {"type": "break-glass"})
    assert parse_leaf(raw).type == "break-glass"


def test_what_may_stand_beside_a_leaf_is_named_in_it() -> None:
    assert attachment_digests({"input_digest": "sha256:1", "latency_us": 1, "x_digest": None}) == {"input": "sha256:1"}


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_the_quick_reader_takes_exactly_what_the_canonical_writer_writes(value: Any) -> None:
    body = HEARTBEAT | {"value": value}
    raw = b"heartbeat\n" + render_canonical(body)
    assert parse_leaf(raw).body == body == parse_json(raw[10:], max_bytes=10**6)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_fail(raw: bytes) -> None:
    for prefix in (b"", b"heartbeat\n"):
        with pytest.raises(FormatError):
            parse_leaf(prefix + raw)
