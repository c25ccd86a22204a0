"""An API server's audit log is read strictly, a line at a time."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit import apiserver
from placet.audit.apiserver import Mark, from_microseconds, load_lines, parse_event
from placet.errors import FormatError, InputError
from tests.simulators.apiserverlog import WEBHOOK, event_of
from tests.simulators.tampering import decision

EVENT = event_of(decision(21), index=21, leaf_hash=bytes(32), checkpoint="note")


def rendered(event: object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(EVENT), **changes}


def marked(**annotations: str) -> tuple[Mark, ...]:
    told = {f"{WEBHOOK}/{key.replace('_', '-')}": value for key, value in annotations.items()}
    request = parse_event(rendered(changed(annotations=told)))
    assert request is not None
    return request.marks


def test_reads_what_an_admission_is_told_by() -> None:
    request = parse_event(rendered(EVENT))
    assert request is not None
    assert (request.user, request.group, request.resource) == ("alice@example.org", "apps", "deployments")
    assert (request.namespace, request.name, request.subresource) == ("ml", "llama-0", "")
    assert (request.code, request.dry_run) == (200, False)
    assert request.ended_us - request.received_us == 10_000
    assert from_microseconds(request.received_us) == EVENT["requestReceivedTimestamp"]
    assert request.marks == (Mark(WEBHOOK, "decision-21", 21, bytes(32), "note"),)


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "RequestReceived"},
        {"stage": "ResponseStarted"},
        {"verb": "get"},
        {"verb": "delete"},
        {"objectRef": None},
        {"objectRef": {}},
    ],
)
def test_what_is_no_finished_write_is_passed_over(changes: dict[str, Any]) -> None:
    assert parse_event(rendered(changed(**changes))) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{",
        b'{"kind":"Event","kind":"Event","apiVersion":"audit.k8s.io/v1"}',
        rendered(changed(kind="EventList")),
        rendered(changed(apiVersion="audit.k8s.io/v2")),
        rendered(changed(user={})),
        rendered(changed(responseStatus={"code": "200"})),
        rendered(changed(responseStatus={"code": True})),
        rendered(changed(responseStatus={"code": 2**63})),
        rendered(changed(responseStatus={"code": -1})),
        rendered(changed(requestReceivedTimestamp="yesterday")),
        rendered(changed(stageTimestamp="2026-02-31T00:00:00Z")),
        rendered(changed(stageTimestamp=None)),
        b"\xff" + rendered(EVENT),
        b"\xef\xbb\xbf" + rendered(EVENT),
    ],
)
def test_refuses_what_is_no_event(raw: bytes) -> None:
    with pytest.raises(FormatError):
        parse_event(raw)


@pytest.mark.parametrize(
    ("query", "dry"),
    [
        ("", False),
        ("?dryRun=All", True),
        ("?fieldManager=x&dryRun=All", True),
        ("?dry%52un=All", True),
        ("?dryRun=", False),
        ("?dryRun=all", False),
        ("?dryRun=All&dryRun=None", False),
        ("?x;dryRun=All", False),
        ("?dryRun=All;x", False),
        ("?xdryRun=All", False),
        ("dryRun=All", False),
    ],
)
def test_a_dry_run_is_what_the_api_server_takes_for_one(query: str, dry: bool) -> None:
    request = parse_event(rendered(changed(requestURI=f"/apis/apps/v1/namespaces/ml/deployments{query}")))
    assert request is not None
    assert request.dry_run is dry


def test_who_is_impersonated_asks() -> None:
    request = parse_event(rendered(changed(impersonatedUser={"username": "bob"})))
    assert request is not None
    assert request.user == "bob"


def test_annotations_of_others_are_no_marks_and_ours_are_read_strictly() -> None:
    good = {"decision_id": "d", "log_index": "7", "leaf_hash": f"sha256:{'0' * 64}"}
    assert marked(log_index="7") == ()
    assert marked(decision_id="d") == (Mark(WEBHOOK, "d"),)
    assert marked(**good) == (Mark(WEBHOOK, "d", 7, bytes(32)),)
    for index in ("", "07", "-1", "7 ", "9" * 19, "9" * 40, "\u0667"):
        assert marked(**{**good, "log_index": index})[0].fault == "log-index is no index", index
    for leaf_hash in ("", "0" * 64, f"sha256:{'0' * 63}", f"sha256:{'A' * 64}"):
        assert marked(**{**good, "leaf_hash": leaf_hash})[0].fault == "leaf-hash is no digest", leaf_hash


def test_events_are_told_apart_by_what_they_say_and_not_by_an_id_that_clients_choose() -> None:
    first, again = parse_event(rendered(EVENT)), parse_event(json.dumps(EVENT, indent=1).encode())
    other = parse_event(rendered(changed(stageTimestamp="2026-11-22T18:00:22.000000Z")))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_lines_are_numbered_and_one_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apiserver, "MAX_LINE_BYTES", 4096)
    path = tmp_path / "audit.log"
    path.write_bytes(rendered(EVENT) + b"x" * 100_000 + b"\n" + b"{}\n" + rendered(EVENT) + b'{"ki')
    lines = list(load_lines(path))
    assert [(line.number, line.request is not None, line.torn) for line in lines] == [
        (1, True, False),
        (2, False, False),
        (3, False, False),
        (4, True, False),
        (5, False, True),
    ]
    assert lines[1].fault == "longer than 4096 bytes"


def test_a_packed_file_is_known_by_its_content_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(gzip.compress(rendered(EVENT) * 2))
    assert [line.number for line in load_lines(path)] == [1, 2]
    path.write_bytes(gzip.compress(rendered(EVENT) * 2)[:-9])
    with pytest.raises(InputError):
        list(load_lines(path))
    with pytest.raises(InputError):
        list(load_lines(tmp_path / "none.log"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.binary() | st.sampled_from(sorted(EVENT)).flatmap(lambda key: JSON.map(lambda v: rendered(changed(**{key: v}))))
)
def test_nothing_but_a_format_error_escapes(raw: bytes) -> None:
    try:
        request = parse_event(raw)
    except FormatError:
        return
    assert request is None or isinstance(request.code, int)


@given(st.dictionaries(st.sampled_from([f"{WEBHOOK}/{key}" for key in apiserver._KEYS]), JSON))
def test_annotations_of_any_form_are_marks_or_none(annotations: dict[str, Any]) -> None:
    try:
        request = parse_event(rendered(changed(annotations=annotations)))
    except FormatError:
        return
    assert request is not None
    assert all(mark.index is None or len(mark.leaf_hash) == 32 for mark in request.marks)
