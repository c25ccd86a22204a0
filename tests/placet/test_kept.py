"""What a decision rested on is kept beside it, and equal contents once."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals.envelope import parse_annotation, render_envelope
from placet.audit.record import KEPT_BEFORE, find_attachments
from placet.audit.stores.file import open_readonly
from placet.canonical import Digest
from placet.decision import Decision
from placet.errors import FormatError, StoreUnavailable
from placet.kept import SHARED, KeptContents, parse_signed
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from placet.record import LogRecorder
from tests.simulators.cases import ROLES, CaseDesk, index_of
from tests.simulators.gate import example, review
from tests.simulators.tampering import surgery

JUNK = "bm90IGFuIGVudmVsb3Bl"


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    opened = EmbeddedEngine.default(load_policy_data(None))
    yield opened
    opened.close()


@pytest.fixture
def desk(tmp_path: Path, engine: EmbeddedEngine) -> Iterator[CaseDesk]:
    opened = CaseDesk.start(tmp_path, engine=engine)
    yield opened
    opened.log.close()


def kept(desk: CaseDesk, decision: Decision) -> dict[str, bytes]:
    with open_readonly(desk.store) as reader:
        found = {name: reader.attachment(index_of(decision), name) for name in ("input", *SHARED)}
    return {name: content for name, content in found.items() if content is not None}


def body(decision: Decision) -> Any:
    assert decision.recorded is not None
    return decision.recorded.leaf


def test_the_envelopes_that_counted_are_kept_as_other_tools_read_them_and_junk_is_not(desk: CaseDesk) -> None:
    manifest = desk.approve(example(), *ROLES)
    held = manifest["metadata"]["annotations"]
    held["placet.dev/approval.security"], signed = JUNK, held["placet.dev/approval.security"]
    held["placet.dev/evidence.coverage"] = JUNK
    decision = desk.decide(review(manifest))
    document = json.loads(kept(desk, decision)["signed"])
    assert document["approvals"].keys() == {"technical", "business", "executive"}
    assert document["evidence"] == {}
    technical = parse_annotation(held["placet.dev/approval.technical"])
    assert document["approvals"]["technical"] == json.loads(render_envelope(technical))
    assert signed not in kept(desk, decision)["signed"].decode()
    assert parse_signed(kept(desk, decision)["signed"])[0]["technical"] == held["placet.dev/approval.technical"]


def test_equal_contents_are_kept_once_and_later_leaves_say_where(desk: CaseDesk) -> None:
    manifest = desk.approve(example(), *ROLES)
    first = desk.decide(review(manifest))
    touched = copy.deepcopy(manifest)
    touched["metadata"]["labels"]["team"] = "serving"
    second = desk.decide(review(touched, old=manifest))
    assert kept(desk, first).keys() == {"input", "content", "signed"}
    assert kept(desk, second).keys() == {"input"}
    place = {"index": index_of(first)}
    assert body(second)[KEPT_BEFORE] == {
        name: {**place, "digest": str(Digest.of(kept(desk, first)[name]))} for name in ("content", "signed")
    }
    assert find_attachments(body(second), index_of(second))["signed"][0] == index_of(first)


def test_another_process_finds_in_the_record_what_is_kept_already(desk: CaseDesk) -> None:
    manifest = desk.approve(example(), *ROLES)
    first = desk.decide(review(manifest))
    desk.gate._recorder = LogRecorder(desk.log, cluster=desk.desk.cluster)
    again = desk.decide(review(manifest))
    assert kept(desk, again).keys() == {"input"}
    assert body(again)[KEPT_BEFORE]["signed"]["index"] == index_of(first)


def test_what_was_erased_is_kept_again_by_the_next_process(desk: CaseDesk) -> None:
    manifest = desk.approve(example(), *ROLES)
    first = desk.decide(review(manifest))
    with surgery(desk.store) as database:
        database.execute("DELETE FROM blobs WHERE idx = ? AND name = 'signed'", (index_of(first),))
    desk.gate._recorder = LogRecorder(desk.log, cluster=desk.desk.cluster)
    again = desk.decide(review(manifest))
    assert kept(desk, again).keys() == {"input", "signed"}


def test_a_record_that_can_not_be_asked_costs_a_second_copy_and_no_decision() -> None:
    def away() -> dict[str, int]:
        raise StoreUnavailable("away")

    contents = KeptContents()
    assert contents.part({"signed": b"x", "input": b"y"}, away) == ({"signed": b"x", "input": b"y"}, {})
    contents.learn(3, {"signed_digest": str(Digest.of(b"x"))})
    left, before = contents.part({"signed": b"x", "input": b"y"}, away)
    assert (left, before["kept_before"]["signed"]["index"]) == ({"input": b"y"}, 3)


def test_what_a_process_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("placet.kept._MAX_KNOWN", 3)
    contents = KeptContents()
    for number in range(10):
        contents.learn(number, {"signed_digest": str(Digest.of(bytes([number])))})
        assert len(contents._places) <= 3


@pytest.mark.parametrize(
    "before",
    [
        None,
        [],
        {"signed": None},
        {"signed": {"index": True, "digest": "x"}},
        {"signed": {"index": 7, "digest": "x"}},
        {"signed": {"index": 8, "digest": "x"}},
        {"signed": {"index": -1, "digest": "x"}},
        {"signed": {"index": 1, "digest": 5}},
    ],
)
def test_only_an_earlier_leaf_can_have_kept_anything(before: Any) -> None:
    assert find_attachments({KEPT_BEFORE: before}, 7) == {}


@given(raw=st.binary(max_size=100))
def test_envelopes_that_are_kept_in_no_known_form_are_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        parse_signed(raw)
