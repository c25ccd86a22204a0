"""Requests that differ from a good one in one place: a rule that none of them makes refuse is of no use."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from placet.errors import EngineError
from placet.policy.document import check_document
from placet.policy.matrix import Answer, Domain

_Step = str | int
# In place of a value, of its kind or another; what is not of the input's schema is not asked.
_VALUES: Final[tuple[Any, ...]] = (
    "", "x", 0, 1, 1000, False, True, [], {}, "low", "critical", "changed", "unchanged", "UPDATE",
    "expired", "revoked", "key_compromised",
)  # fmt: skip
_REJECTED: Final = tuple(
    {"role": "technical", "code": code, "approval_id": "a-0"} for code in ("expired", "revoked", "key_compromised")
)


def find_unreachable(
    domain: Domain, rules: Sequence[str], put: Callable[[Mapping[str, Any]], Answer]
) -> tuple[str, ...]:
    """Rules that refused none of the probes, in any environment.

    Args:
        domain: what can be asked.
        rules: ids.
        put: asks the policies.
    """
    left = set(rules)
    everybody = frozenset(domain.roles)
    questions = [
        (domain.question(environment, level, everybody), domain.question(environment, level, frozenset()))
        for environment in domain.environments
        for level in domain.levels
    ]
    # What refuses most comes first: a rule that one environment alone requires is not looked for in the others.
    bare = (document for good, lacking in questions for document in (lacking, *_barren(good)))
    varied = (document for good, _ in questions for document in _vary(good))
    for document in itertools.chain(bare, varied):
        if not left:
            return ()
        left -= _refusing(put(document))
    return tuple(sorted(left))


def _barren(good: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The good request without evidence, history, window or ceiling, and one whose evidence says the worst."""
    yield {
        **good,
        "evidence": [],
        "history": {"known": True, "admitted": []},
        "calendar": {"windows": [], "freezes": []},
        "replicas": {"known": False, "ceiling": 0},
    }
    yield {**good, "evidence": [{**one, "claims": {}} for one in good["evidence"]]}


def _refusing(answer: Answer) -> set[str]:
    return set() if answer.decision is None else {one.rule for one in answer.decision.violations}


def _vary(good: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The good request with one value replaced or one rejected approval added, where that is of the schema."""
    one_person = copy.deepcopy(dict(good))
    for approval in one_person["approvals"]:
        approval["person"] = "p"
    yield one_person
    for rejected in _REJECTED:
        yield {**good, "rejected": [rejected]}
    # Of the evidence, what is lacking was asked before, and there is more of it than of all else.
    for path in _paths({name: value for name, value in good.items() if name != "evidence"}):
        for value in _VALUES:
            document = _replaced(good, path, value)
            try:
                check_document(document)
            except EngineError:
                continue
            yield document


def _paths(value: Any, path: tuple[_Step, ...] = ()) -> Iterator[tuple[_Step, ...]]:
    if path:
        yield path
    children: Sequence[tuple[_Step, Any]] = ()
    if isinstance(value, Mapping):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    for step, child in children:
        yield from _paths(child, (*path, step))


def _replaced(good: Mapping[str, Any], path: tuple[_Step, ...], value: Any) -> Mapping[str, Any]:
    document: Any = copy.deepcopy(dict(good))
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = copy.deepcopy(value)
    found: Mapping[str, Any] = document
    return found
