from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import Digest, render_canonical
from placet.errors import FormatError
from placet.exemptions.statement import ExemptionStatement, parse_exemption, render_exemption
from tests.golden.exemption.build import FOLDER, build
from tests.simulators.desk import NOON, ApprovalDesk, sample_workload
from tests.simulators.exemptions import exemption_of

Json = dict[str, Any]


def statement() -> ExemptionStatement:
    return exemption_of(ApprovalDesk.standard(), sample_workload())


def value() -> Json:
    read: Json = json.loads(render_exemption(statement()))
    return read


def refusal(payload: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        parse_exemption(payload)
    assert caught.value.code == "exemption_malformed"
    return str(caught.value)


def test_what_is_rendered_is_read_back() -> None:
    assert parse_exemption(render_exemption(statement())) == statement()


def test_the_bytes_are_those_of_the_golden_files() -> None:
    made = build()
    assert set(made) == {file.name for file in FOLDER.glob("*.json")}
    for name, content in made.items():
        assert content == (FOLDER / name).read_bytes(), name


@pytest.mark.parametrize("member", sorted(value()))
def test_no_member_may_be_missing(member: str) -> None:
    less = value()
    del less[member]
    assert f"{member} is missing" in refusal(render_canonical(less))


@pytest.mark.parametrize("member", sorted(value()))
@pytest.mark.parametrize("odd", [None, 7, True, {}, [], [""], "", "\u202e", "*"])
def test_no_member_may_be_of_another_form(member: str, odd: Any) -> None:
    if (member, odd) == ("ticket", "") or (member in {"ticket", "reason"} and odd == "*"):
        return
    refusal(render_canonical(value() | {member: odd}))


def test_an_unknown_member_is_refused() -> None:
    assert "unknown field" in refusal(render_canonical(value() | {"approvalId": "x"}))


def test_a_member_twice_is_refused() -> None:
    refusal(render_exemption(statement()).replace(b'"images":"pinned"', b'"images":"pinned","images":"as_named"'))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"not_before": NOON - timedelta(seconds=1)}, "notBefore is before issuedAt"),
        ({"expires": NOON}, "expires is not after notBefore"),
        ({"expires": NOON + timedelta(days=366)}, "more than 365 days"),
        ({"projections": ()}, "projections is empty"),
        ({"projections": (Digest.of(b"1"), Digest.of(b"1"))}, "given twice"),
        ({"projections": tuple(Digest.of(b"%d" % one) for one in range(17))}, "more than the 16"),
        ({"workload": "Deployment/*"}, "not of the form"),
        ({"namespace": "*"}, "not of the form"),
        ({"clusters": ("*",)}, "not of the form"),
        ({"reason": ""}, "reason is empty"),
    ],
)
def test_nothing_that_would_not_be_read_is_rendered(changes: Json, why: str) -> None:
    with pytest.raises(FormatError, match="can't be read") as caught:
        render_exemption(replace(statement(), **changes))
    assert why in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    refusal(raw)


@given(st.data())
def test_every_change_of_a_byte_is_refused_or_says_something_else(data: st.DataObject) -> None:
    good = render_exemption(statement())
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[place]))
    changed = good[:place] + bytes([other]) + good[place + 1 :]
    try:
        read = parse_exemption(changed)
    except FormatError as exc:
        assert exc.code == "exemption_malformed"
    else:
        assert read != statement()
