from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals.statement import ApprovalStatement, RevocationStatement, parse_statement, render_statement
from placet.approvals.times import describe_span, parse_time, render_time
from placet.canonical import Digest
from placet.errors import FormatError
from tests.simulators.desk import NOON, ApprovalDesk, sample_workload

GOOD = ApprovalDesk.standard().statement(sample_workload(), role="security")
REVOCATION = RevocationStatement(GOOD.approval_id, "security", "production", NOON, "CHG-2", "leaked")


def changed(change: Callable[[dict[str, Any]], object], statement: Any = GOOD) -> bytes:
    value = json.loads(render_statement(statement))
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize("statement", [GOOD, replace(GOOD, policy=Digest.of(b"policy")), REVOCATION])
def test_reads_what_it_writes(statement: ApprovalStatement | RevocationStatement) -> None:
    assert parse_statement(render_statement(statement)) == statement


def predicate(**members: Any) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["predicate"].update(members)


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["predicate"].pop(name)


def audience(**members: Any) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["predicate"]["audience"].update(members)


@pytest.mark.parametrize(
    "change",
    [
        predicate(approvalId="1"),
        predicate(approvalId=GOOD.approval_id.upper()),
        predicate(approvalId="8ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        predicate(decision="approved"),
        predicate(decision=True),
        predicate(role="cfo"),
        predicate(role=["security"]),
        predicate(model={"name": "m"}),
        predicate(model={"name": "m", "version": ""}),
        predicate(model={"name": "m", "version": "1", "digest": "x"}),
        predicate(environment=""),
        predicate(environment="*"),
        predicate(environment="Production"),
        predicate(environment="production\n"),
        predicate(maxRisk="extreme"),
        predicate(maxRisk=3),
        predicate(riskInputsDigest="sha256:1"),
        predicate(riskInputsDigest=None),
        predicate(policyDigest=None),
        predicate(issuedAt="2026-11-22T12:00:00+00:00"),
        predicate(issuedAt="2026-11-22T12:00:00.0Z"),
        predicate(issuedAt="2026-11-22t12:00:00Z"),
        predicate(issuedAt=1795348800),
        predicate(issuedAt="2026-11-22T12:00:01Z"),
        predicate(notBefore="2026-12-22T12:00:00Z"),
        predicate(expires="2026-11-22T12:00:00Z"),
        predicate(expires="2027-02-20T12:00:01Z"),
        predicate(ticket=None),
        predicate(ticket="a\u202eb"),
        predicate(reason="x" * 1025),
        predicate(verified=True),
        audience(clusters=[]),
        audience(clusters="prod-eu-1"),
        audience(clusters=["*"]),
        audience(clusters=["a", "a"]),
        audience(namespaces=[]),
        audience(namespaces=["ML"]),
        audience(namespaces=[1]),
        audience(workload="llama"),
        audience(workload="Deployment/*"),
        audience(workload="Deployment/llama\n"),
        audience(users=["me"]),
        lambda value: value.pop("subject"),
        lambda value: value.update(subject=[]),
        lambda value: value.update(subject=value["subject"] * 2),
        lambda value: value["subject"][0].update(uri="x"),
        lambda value: value["subject"][0]["digest"].update(sha512="00"),
        lambda value: value["subject"][0]["digest"].update(sha256="AB" * 32),
        lambda value: value["subject"][0].pop("name"),
        lambda value: value.update(extra=1),
        lambda value: value.update(predicate=None),
        *[without(name) for name in json.loads(render_statement(GOOD))["predicate"]],
    ],
)
def test_refuses_what_is_not_of_the_one_form(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(FormatError) as caught:
        parse_statement(changed(change))
    assert caught.value.code == "statement_malformed"


def test_accepts_ninety_days_and_not_a_second_more() -> None:
    longest = replace(GOOD, expires=GOOD.issued_at + timedelta(days=90))
    assert parse_statement(render_statement(longest)) == longest
    with pytest.raises(FormatError, match="more than 90 days"):
        render_statement(replace(longest, expires=longest.expires + timedelta(seconds=1)))


@pytest.mark.parametrize(
    "identifier", ["01JD3Z8Q6W2Y4K7M9N0P1R2S3T", "5f0cbb0e-9d0c-4dd8-9d0a-6a2b7c6f1d11"], ids=["ulid", "uuid"]
)
def test_approval_ids_are_uuids_or_ulids(identifier: str) -> None:
    assert parse_statement(render_statement(replace(GOOD, approval_id=identifier))).approval_id == identifier


def test_a_workload_whose_name_is_still_to_come_is_named_with_a_star() -> None:
    waiting = replace(GOOD, audience=replace(GOOD.audience, workload="Job/train-*"))
    assert parse_statement(render_statement(waiting)) == waiting


@pytest.mark.parametrize(
    "change",
    [
        predicate(expires="2026-12-22T12:00:00Z"),
        predicate(decision="approve"),
        lambda value: value["subject"][0]["digest"].update(sha256="00" * 32),
        lambda value: value["subject"][0].update(name="projection"),
    ],
)
def test_a_revocation_is_closed_as_well(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(FormatError) as caught:
        parse_statement(changed(change, REVOCATION))
    assert caught.value.code == "statement_malformed"


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[1]", b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"_type":1e2}', b'{"a":"\\ud800"}', b"[" * 100 + b"]" * 100],
)
def test_refuses_what_is_not_strict_json(payload: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_statement(payload)
    assert caught.value.code == "statement_malformed"


def test_never_signs_what_it_would_not_read() -> None:
    with pytest.raises(FormatError):
        render_statement(replace(GOOD, environment="*"))


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-22", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T23:59:60Z",
     "1969-12-31T23:59:59Z", "2026-11-22 12:00:00Z", "\uff12026-11-22T12:00:00Z", "2026-11-22T12:00:00Z\n", None, 3],
)  # fmt: skip
def test_a_time_has_one_form(text: object) -> None:
    with pytest.raises(FormatError):
        parse_time(text)


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - Hypothesis adds the zone
def test_times_are_read_as_they_were_written(moment: datetime) -> None:
    assert parse_time(render_time(moment)) == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    ("span", "says"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=47, minutes=59), "47 h"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=-2), "2 days"),
    ],
)
def test_spans_are_said_in_one_unit(span: timedelta, says: str) -> None:
    assert describe_span(span) == says


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_nothing_but_format_error_escapes(payload: bytes) -> None:
    with pytest.raises(FormatError):
        parse_statement(payload)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.data())
def test_nothing_but_format_error_escapes_from_json_of_another_shape(data: st.DataObject) -> None:
    def change(value: dict[str, Any]) -> None:
        target = data.draw(
            st.sampled_from([value, value["predicate"], value["subject"][0], value["predicate"]["model"]])
        )
        target[data.draw(st.sampled_from(sorted(target)))] = data.draw(_JSON)

    try:
        parse_statement(changed(change))
    except FormatError:
        return
