"""Decisions of a few values, differently combined, and what is found among them by going through all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from placet.audit.log import render_time
from placet.audit.query import Query
from placet.audit.record import search_values
from tests.simulators.tampering import START, Body, decision

_SPREAD_S: Final = 900  # replicas' clocks, and leaves that waited: times are not in the order of the leaves
VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "kind": ("Deployment", "StatefulSet"),
    "name": tuple(f"llama-{number}" for number in range(7)),
    "namespace": ("ml", "other", "rare-1000"),
    "environment": ("production", "staging"),
    "model": ("mistral", "llama"),
    "user": ("alice@example.org", "bob@example.org", "rare-700"),
    "allowed": (True, False),
    "violation": ("approvals.required", "expired", "approvals.required:expired", "nothing"),
    "role": ("security", "legal", "rare-500"),
    "person": ("sam", "fay", "rare-900"),
    "approval": ("a-7", "a-4000"),
    "projection": (f"sha256:{3:064d}", f"sha256:{150:064d}"),
    "image": ("vllm", "serving/vllm", "serving/tgi"),
    "text": ("valid approval", "blue green", "renew rare-600", "zebra"),
}


def findable(number: int) -> tuple[Body, dict[str, bytes]]:
    """A decision and what is kept beside it: nothing."""
    mixed = number * 2654435761 % 2**32

    def pick(values: Sequence[Any], shift: int) -> Any:
        return values[(mixed >> shift) % len(values)]

    def rare(every: int) -> bool:
        return number % every == every - 1

    role = "rare-500" if rare(500) else pick(("security", "legal"), 17)
    person = "rare-900" if rare(900) else pick(("sam", "fay"), 19)
    denied = mixed % 12 == 0
    changes: Body = {
        "time": render_time(START + timedelta(seconds=60 * number + mixed % _SPREAD_S)),
        "kind": pick(VALUES["kind"], 5),
        "name": f"llama-{mixed % 7}",
        "namespace": "rare-1000" if rare(1000) else pick(("ml", "other"), 3),
        "environment": pick(VALUES["environment"], 7),
        "model": {"name": pick(VALUES["model"], 9)},
        "user": "rare-700" if rare(700) else pick(("alice@example.org", "bob@example.org"), 11),
        "allowed": not denied,
        "approved": not denied,
        "violations": [{"rule": "approvals.required", "code": pick(("expired", "x"), 13)}] if denied else [],
        "approvals": [{"approval_id": f"a-{number // 4}", "role": role, "person": person}],
        "images": [pick(("a/serving/vllm:1", "b/vllm/serving", "c/serving/tgi@sha256:77"), 21)],
        "projection": f"sha256:{number // 100:064d}",
        "message": f"{pick(('blue', 'green'), 15)}: {'no valid approval' if denied else 'may run'}",
        "advice": ["renew rare-600"] if rare(600) else [],
    }
    return decision(number) | changes, {}


class Findable:
    """What is found by going through all of some bodies; what one condition finds is gone through once."""

    def __init__(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        self._bodies = bodies
        self._columns = [search_values(body) for body in bodies]
        self._times = [str(body["time"]) for body in bodies]
        self._alone: dict[tuple[str, Any], frozenset[int]] = {}

    def __repr__(self) -> str:
        return "..."  # Hypothesis shows what it has found

    def expected(self, query: Query, before: int | None = None) -> list[int]:
        """Indexes of all that the query must find, newest first."""
        since, until = (None if one is None else render_time(one) for one in (query.since, query.until))
        left = {
            index
            for index, time in enumerate(self._times)
            if (since is None or time >= since) and (until is None or time < until)
        }
        for name in ("type", *VALUES):
            if getattr(query, name) not in ("", None):
                left &= self._found(name, getattr(query, name))
        return sorted((index for index in left if before is None or index < before), reverse=True)

    def _found(self, name: str, value: Any) -> frozenset[int]:
        if (name, value) not in self._alone:
            alone = replace(Query(type=""), **{name: value})
            self._alone[name, value] = frozenset(
                index
                for index, (columns, body) in enumerate(zip(self._columns, self._bodies, strict=True))
                if alone.matches(columns, body)
            )
        return self._alone[name, value]


def moment(number: int) -> datetime:
    """About when the decision of that number was made."""
    return START + timedelta(seconds=60 * number)
