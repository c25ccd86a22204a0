"""What a watch says is read as it is, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.informer.events import GONE, LONGEST_LINE, Event, LostTrack, parse_event, parse_events

ADDED: dict[str, Any] = {"type": "ADDED", "object": {"metadata": {"name": "llama", "resourceVersion": "7"}}}
MARK: dict[str, Any] = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}


def line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


@given(st.lists(st.sampled_from([ADDED, MARK]), max_size=6), st.data())
def test_events_are_the_same_however_the_network_cuts_them(events: list[Any], data: st.DataObject) -> None:
    raw = b"\n".join([b"", *(line(one) for one in events)])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    chunks = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert list(parse_events(chunks)) == [Event(one["type"], one["object"]) for one in events]


def test_what_was_cut_off_is_no_event() -> None:
    whole = line(ADDED)
    assert list(parse_events([whole, whole[:-1]])) == [Event("ADDED", ADDED["object"])]


@given(st.one_of(st.binary(max_size=64), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["ADDED", "ERROR", "type"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "object", "code"]), inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_what_is_no_event_is_lost_track_of_and_nothing_else(raw: bytes) -> None:
    try:
        event = parse_event(raw)
    except LostTrack:
        return
    assert event.type in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}
    assert isinstance(event.object, dict)


@pytest.mark.parametrize(
    ("status", "code"),
    [({"kind": "Status", "code": 410, "reason": "Expired"}, GONE), ({"kind": "Status", "code": 500}, "lost_track")],
)
def test_an_error_of_the_api_server_ends_the_watch(status: Any, code: str) -> None:
    events = parse_events([line(ADDED), line({"type": "ERROR", "object": status}), line(ADDED)])
    assert next(events).type == "ADDED"
    with pytest.raises(LostTrack) as caught:
        next(events)
    assert caught.value.code == code


def test_a_line_without_an_end_is_not_gathered_for_ever() -> None:
    chunk = b"x" * (1024 * 1024)
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += len(chunk)
            yield chunk

    with pytest.raises(LostTrack, match="longer"):
        list(parse_events(endless()))
    assert taken <= LONGEST_LINE + len(chunk)


def test_deep_nesting_is_no_event() -> None:
    with pytest.raises(LostTrack):
        parse_event(b'{"type":"ADDED","object":' + b"[" * 100_000)
