"""Differential fuzz of the two engines: the same mutated inputs and data, and their raw answers compared.

    python -m tests.policies.fuzz --count 100000 --seed 7

Inputs are spoilt on purpose (keys gone, types swapped) and also changed within their schema, over several policy data.
An OPA server answers in its default mode, one connection for all.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import http.client
import json
import random
import sys
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from placet.canonical import render_canonical
from placet.errors import EngineError
from placet.policy.guest import Guest
from tests.policies.documents import (
    Json,
    approval,
    digest,
    governed_data,
    governed_request,
    image,
    passing_request,
    policy_data,
    unchanged_request,
)
from tests.policies.programs import PLENTY, running_opa, shipped_guest

ENTRY_POINT: Final = "admission/main/decision"
INPUTS_PER_DATA: Final = 100
ERROR: Final = "error"
_TELL: Final = 5000
_REMOVED: Final = object()
_ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    -1,
    7,
    2**53 - 1,
    "",
    "text",
    "\u00e9\u4f60\U0001f600",
    [],
    {},
    [[]],
    {"a": 1},
)
_WORDS: Final[dict[str, tuple[Any, ...]]] = {
    "environment": ("development", "staging", "production", "moon", ""),
    "operation": ("CREATE", "UPDATE"),
    "kind": ("new", "changed", "unchanged", "adopted", "scaled", "rollback", "child"),
    "scale": ("same", "down", "up", "unknown"),
    "decision_id": ("", "earlier"),
    "level": ("low", "medium", "high", "critical"),
    "max_risk": ("low", "medium", "high", "critical"),
    "max_level": ("low", "medium", "high", "critical"),
    "role": ("technical", "security", "business", "executive", "astrologer"),
    "person": ("p-1", "p-2", "p-3", "p-4"),
    "code": ("expired", "revoked", "key_compromised", "audience"),
    "mode": ("enforce", "warn", "audit"),
    "score": (220, 300, 301, 500, 501, 665, 700, 701, 855),
    "expires_s": (1789999999, 1790000000, 1790000001),
    "digest": ("", digest("a"), digest("c"), "sha256:abc"),
    "reference": (f"registry.example.org/server@{digest('c')}", "registry.example.org/server:1"),
    "issued_s": (1789999399, 1789999400, 1789999401, 1789900000, 1780000000),
    "since_s": (1789913599, 1789913600, 1789999999),
    "attester": ("ci", "other"),
    "scanner": ("https://scanner.example/a", "https://scanner.example/b"),
    "known": (True, False),
    "result": ("passed", "failed"),
    "state": ("approved", "draft", "rejected"),
    "classification": ("public", "internal", "confidential", "restricted", "secret"),
    "risk_inputs_match": (True, False),
    "pin_images": (True, False),
    "bindings": ([], ["images"], ["projection"], ["images", "model"], ["images", "model", "projection"]),
    "approvals": ([], ["technical"], ["technical", "security"]),
}
_NUMBERS: Final = (0, 1, 2, 3, 4, 6, 7, 8, 9)


def inputs(random_: random.Random) -> Iterator[Json]:
    """Mutated requests without end; about a third stay within the schema."""
    while True:
        request = _base(random_)
        for _ in range(random_.choice((0, 1, 1, 2, 3))):
            _change_within(request, random_)
        if random_.random() < 2 / 3:
            for _ in range(random_.choice((1, 1, 2))):
                _spoil(request, random_)
        yield request


def data_sets(random_: random.Random) -> Iterator[Json]:
    """The shipped policy data, then mutations of it without end."""
    yield policy_data()
    yield governed_data()
    while True:
        data = governed_data() if random_.random() < 1 / 2 else policy_data()
        for _ in range(random_.choice((1, 2, 3))):
            _change_within(data, random_)
        if random_.random() < 1 / 3:
            _spoil(data, random_)
        if random_.random() < 1 / 2:
            rule = random_.choice(
                (
                    "approvals.required",
                    "approvals.separation",
                    "risk.ceiling",
                    "images.pinned",
                    "quality.vulnerabilities",
                )
            )
            data["rules"] = {rule: {"mode": random_.choice(_WORDS["mode"])}}
        yield data


def _base(random_: random.Random) -> Json:
    if random_.random() < 1 / 5:
        return unchanged_request()
    if random_.random() < 1 / 5:
        kind = random_.choice(("scaled", "rollback", "child"))
        precedent = {"decision_id": "earlier", "time_s": 1, "level": random_.choice(_WORDS["level"])}
        base = governed_request() if random_.random() < 1 / 2 else passing_request()
        return (
            base
            | unchanged_request()
            | {"change": passing_request()["change"] | {"kind": kind}, "precedent": precedent}
        )
    request = governed_request() if random_.random() < 2 / 3 else passing_request()
    for _ in range(random_.choice((0, 0, 1, 2))):
        role = random_.choice(_WORDS["role"])
        request["approvals"].append(approval(role, random_.choice(_WORDS["person"])))
    if request["evidence"] and random_.random() < 1 / 3:
        request["evidence"].append(_another(random_.choice(request["evidence"]), random_))
    if random_.random() < 1 / 4:
        request["images"].append(image("sidecar", random_.choice("abc")))
    random_.shuffle(request["approvals"])
    return request


def _another(statement: Json, random_: random.Random) -> Json:
    """One more statement of a kind: earlier or later, by the same or another, of other claims or none of a type."""
    other = copy.deepcopy(statement)
    other["issued_s"] += random_.choice((-60, 0, 60))
    other["attester"] = random_.choice(("ci", "other"))
    claim = random_.choice(sorted(other["claims"]))
    other["claims"][claim] = random_.choice((0, 1, 7, "", "text", True, False, [], ["text"], digest("a")))
    return other


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    steps = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in steps:
        yield from _paths(value[step], (*path, step))


def _parent(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path[:-1]:
        value = value[step]
    return value


def _change_within(document: Json, random_: random.Random) -> None:
    """Another value of the same kind at a random place."""
    path = random_.choice([path for path in _paths(document) if path[-1] not in {"schema", "uid"}])
    parent, key = _parent(document, path), path[-1]
    old = parent[key]
    listed = isinstance(old, list) and key in {"bindings", "approvals"} and len(path) > 1
    if key in _WORDS and (listed or isinstance(old, str | bool | int)):
        parent[key] = random_.choice(_WORDS[key])
    elif isinstance(old, int) and not isinstance(old, bool) and key != "expected_rules":
        parent[key] = random_.choice(_NUMBERS)
    elif isinstance(old, list) and old:
        old.append(copy.deepcopy(random_.choice(old)))


def _spoil(document: Json, random_: random.Random) -> None:
    """A key gone, or a value of any other kind in its place."""
    path = random_.choice(list(_paths(document)))
    parent, key = _parent(document, path), path[-1]
    value = random_.choice((_REMOVED, *_ODD))
    if value is _REMOVED:
        del parent[key]
    else:
        parent[key] = copy.deepcopy(value)


class OpaQuestions:
    """One keep-alive connection to an OPA server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=30)

    def put_data(self, data: Json) -> None:
        status, _ = self._exchange("PUT", "/v1/data/placet", render_canonical(data))
        assert status == http.client.NO_CONTENT

    def ask(self, document: bytes) -> Any:
        """The raw answer, or ``ERROR`` where OPA gives none."""
        status, body = self._exchange("POST", f"/v1/data/{ENTRY_POINT}", b'{"input":' + document + b"}")
        return json.loads(body).get("result", ERROR) if status == http.client.OK else ERROR

    def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


def ask_guest(guest: Guest, document: bytes) -> Any:
    """The raw answer of the Wasm policy, or ``ERROR`` where it gives none."""
    try:
        return guest.evaluate(ENTRY_POINT, document, fuel=PLENTY)
    except EngineError:
        return ERROR


def differences(url: str, *, count: int, seed: int) -> tuple[list[tuple[Json, Json, Any, Any]], dict[str, int]]:
    """Every input that the engines answer differently, and how many were allowed, denied and not decided."""
    random_ = random.Random(seed)
    found: list[tuple[Json, Json, Any, Any]] = []
    seen = {"allowed": 0, "denied": 0, ERROR: 0}
    documents, variants = inputs(random_), data_sets(random_)
    with contextlib.closing(OpaQuestions(url)) as opa:
        for at in range(count):
            if at % INPUTS_PER_DATA == 0:
                data = next(variants)
                opa.put_data(data)
                guest = shipped_guest(data)
            request = next(documents)
            raw = json.dumps(request, ensure_ascii=False).encode()
            expected, answer = opa.ask(raw), ask_guest(guest, raw)
            if answer == ERROR:
                guest = shipped_guest(data)
            if expected != answer:
                found.append((request, data, expected, answer))
            outcome = ERROR if expected == ERROR else "allowed" if expected["allowed"] else "denied"
            seen[outcome] += 1
            if (at + 1) % _TELL == 0:
                print(f"{at + 1} inputs, {len(found)} differences", file=sys.stderr, flush=True)  # noqa: T201
    return found, seen


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the engines on mutated inputs.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with running_opa() as url:
        found, seen = differences(url, count=options.count, seed=options.seed)
    for request, data, expected, answer in found[:5]:
        print(json.dumps({"input": request, "data": data, "opa": expected, "wasm": answer}))  # noqa: T201 - a program
    print(f"{options.count} inputs, {len(found)} differences, {seen}", file=sys.stderr)  # noqa: T201 - a program
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
