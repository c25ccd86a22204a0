"""What other people chose, in names, labels and what stands in a ConfigMap: valid and harmless, whatever it is."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from placet.audit.query import Found
from placet.publish.decisions import _indices, render_decisions
from placet.publish.entry import MAX_MESSAGE_BYTES, Entry, Target, label_value, read_entry
from placet.publish.events import render_event
from placet.publish.reports import APIS, render_report
from placet.text import safe
from tests.simulators.tampering import decision

# As apimachinery's validation has them.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", re.ASCII)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.text(st.characters(), max_size=300)


def entry(**changes: Any) -> Entry:
    found = read_entry(Found(4, bytes(32), decision(4, **changes)), "prod-eu-1")
    assert found is not None
    return found


@given(TEXT)
def test_every_text_makes_a_valid_label(text: str) -> None:
    value = label_value(text)
    assert len(value) <= 63
    assert LABEL.fullmatch(value)


@given(TEXT, TEXT)
def test_every_object_has_a_valid_name_of_its_own(first: str, second: str) -> None:
    names = [Target("apps", "v1", "Deployment", "ml", name).object_name for name in (first, second)]
    assert all(NAME.fullmatch(name) and len(name) <= 63 for name in names)
    assert (names[0] == names[1]) == (first == second)


@given(name=TEXT.filter(bool), message=st.text(st.characters(), max_size=3000))
def test_whatever_a_tenant_chose_is_shown_without_control_characters_and_bounded(name: str, message: str) -> None:
    one = entry(name=name, message=message, operation="UPDATE", object_uid="u")
    event = render_event(None, one.target, "Refused", "placet.x", [one])
    config_map = render_decisions([one], namespace="placet-decisions")
    report = render_report(APIS[0], one, None)
    assert event is not None
    assert len(event["message"].encode()) <= MAX_MESSAGE_BYTES
    assert all(safe(line) == line for line in event["message"].split("\n"))
    assert safe(event["involvedObject"]["name"]) == event["involvedObject"]["name"]
    for made in (event, config_map, report):
        raw = json.dumps(made, ensure_ascii=False).encode()  # no surrogate is left
        assert len(raw) < 32 * 1024


@given(ANYTHING, ANYTHING)
def test_nothing_in_a_config_map_is_more_than_a_few_indices(content: Any, inner: Any) -> None:
    texts = [
        content,
        json.dumps(content),
        json.dumps({"decisions": content}),
        json.dumps({"decisions": [inner, {"index": inner}]}),
    ]
    for text in texts:
        found = _indices({"data": {"decisions.json": text}})
        assert all(type(one) is int and one >= 0 for one in found)
        assert len(found) <= 100


@given(st.dictionaries(st.sampled_from(sorted(decision(4))), ANYTHING, max_size=4))
def test_leaves_of_another_release_break_nothing(changes: dict[str, Any]) -> None:
    body = decision(4) | {name: value for name, value in changes.items() if name not in {"time", "decision_id"}}
    found = read_entry(Found(4, bytes(32), body), "prod-eu-1")
    if found is not None:
        assert render_event(None, found.target, "Refused", "placet.x", [found])
        assert render_decisions([found], namespace="placet-decisions")
        assert found.moment.replace(tzinfo=UTC) > datetime(2020, 1, 1, tzinfo=UTC)


def test_an_event_counts_from_what_it_has_and_nothing_twice() -> None:
    one = entry()
    first = render_event(None, one.target, "Refused", "placet.x", [one])
    assert first is not None
    assert render_event(first, one.target, "Refused", "placet.x", [one]) is None
    forged = {**first, "count": "many", "metadata": {**first["metadata"], "annotations": {"placet.dev/log-index": "x"}}}
    again = render_event(forged, one.target, "Refused", "placet.x", [one])
    assert again is not None
    assert again["count"] == 1
