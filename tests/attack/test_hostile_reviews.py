"""Hostile bytes and values: there is always an answer, soon, and it is never an allow for what was not approved."""

from __future__ import annotations

import base64
import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet.canonical import parse_json
from placet.decide import Deadline, Gate
from placet.errors import FormatError, ReviewError
from placet.workload import read_workload
from tests.simulators.gate import GateDesk, example, review
from webhook.admission import INTERNAL_MESSAGE
from webhook.admission import review as answer_to

ALL_ROLES = ("technical", "security", "business", "executive")
SOON_S = 5.0


def answer(gate: Gate, asked: dict[str, Any]) -> dict[str, Any]:
    raw = json.dumps(asked).encode()
    response: dict[str, Any] = answer_to(gate, raw, environment="production", deadline=Deadline(30))["response"]
    return response


@pytest.mark.parametrize(
    "raw",
    [
        b'"' + b'\\"' * 4_000_000,
        b'"' + b'\\"' * 4_000_000 + b"\\",
        b'"' * 8_000_000,
        b'["' + b'a",[' * 1_600_000,
        b'{"a":' + b"1" * 8_000_000 + b".5",
        b'{"a":1e' + b"9" * 8_000_000,
        b"[" * 8_000_000,
    ],
    ids=["quotes-in-text-without-end", "and-a-backslash", "quotes", "half-a-list", "digits", "exponent", "brackets"],
)
def test_eight_megabytes_of_anything_are_read_or_refused_soon(raw: bytes) -> None:
    started = time.process_time()
    with pytest.raises(FormatError):
        parse_json(raw, max_bytes=8 * 1024 * 1024, allow_floats=True)
    assert time.process_time() - started < SOON_S


def test_envelopes_that_never_end_hold_nobody_up(desk: GateDesk) -> None:
    hostile = base64.b64encode(b'"' + b'\\"' * 32_000).decode()
    manifest = example()
    manifest["metadata"]["annotations"] |= {f"placet.dev/evidence.{name}": hostile for name in ("a", "b")}
    inner = manifest["spec"]["template"]["metadata"].setdefault("annotations", {})
    inner |= {f"placet.dev/approval.{role}": hostile for role in ("technical", "security")}
    started = time.process_time()
    assert not answer(desk.gate, review(manifest))["allowed"]
    assert time.process_time() - started < SOON_S


def crowd(what: str) -> dict[str, Any]:
    manifest = example()
    spec = manifest["spec"]["template"]["spec"]
    server = spec["containers"][0]
    match what:
        case "annotations":
            manifest["metadata"]["annotations"] |= {f"key-{number}": "v" for number in range(100_000)}
        case "containers":
            spec["containers"] = [{"name": f"c{number}", "image": server["image"]} for number in range(1000)]
        case "variables":
            many = [{"name": f"E{number}", "value": "v"} for number in range(400)]
            spec["containers"] = [{"name": f"c{n}", "image": server["image"], "env": many} for n in range(100)]
        case "image-volumes":
            images = [f"x/{'a' * 200}{number}@sha256:{'a' * 64}" for number in range(2000)]
            spec["volumes"] = [{"name": f"v{n}", "image": {"reference": one}} for n, one in enumerate(images)]
        case "one-argument":
            server["args"] = ["\u2028" * 1_000_000]
        case "nul":
            server["env"] = [{"name": "A", "value": "\0" * 600_000}]
        case "managed-fields":
            manifest["metadata"]["managedFields"] = [{"fieldsV1": {"f:x": [[]] * 100}} for _ in range(5000)]
    return manifest


@pytest.mark.parametrize(
    "what", ["annotations", "containers", "variables", "image-volumes", "one-argument", "nul", "managed-fields"]
)
def test_a_crowd_of_anything_gets_an_answer_soon_and_no_allow(desk: GateDesk, what: str) -> None:
    asked = review(crowd(what))
    started = time.process_time()
    answered = answer(desk.gate, asked)
    assert time.process_time() - started < SOON_S
    assert not answered["allowed"]
    assert answered["status"]["message"] != INTERNAL_MESSAGE


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from paths_of(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from paths_of(child, (*path, index))


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2**63,
        1.5,
        1e308,
        "",
        "\0",
        "\u202e",
        "x" * 70_000,
        [],
        {},
        [None],
        [[]],
        {"": ""},
        {"name": "x", "value": {"a": 1}},
        [{"name": "x"}] * 3,
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=ODD, update=st.booleans())
def test_no_odd_value_anywhere_crashes_the_gate_or_admits_other_content(
    desk: GateDesk, data: st.DataObject, value: Any, update: bool
) -> None:
    approved = desk.approve(example(), *ALL_ROLES)
    digest = read_workload(approved).projection.digest
    asked = review(approved, old=copy.deepcopy(approved) if update else None)
    path = data.draw(st.sampled_from(sorted(paths_of(asked["request"]), key=str)))
    place: Any = asked["request"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    try:
        answered = answer(desk.planner(), asked)
    except ReviewError:
        return
    if answered["allowed"]:
        request = asked["request"]
        assert request["operation"] == "DELETE" or read_workload(request["object"]).projection.digest == digest
    else:
        assert answered["status"]["message"] != INTERNAL_MESSAGE
