"""What each rule costs: fuel of the embedded engine, which is the same on every machine and at every load."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.canonical import render_canonical
from placet.errors import EngineError, EngineTimeout
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.tree import Tree
from placet.policy.authoring.wasm_tests import Answers, build_wasm, entry_point
from placet.policy.data import PolicyData
from placet.policy.matrix import Domain

_DECISION: Final = "data.admission.main.decision"
LARGE: Final = 16
"""Images, approvals and rejected approvals of the large request."""
_PARTS: Final = ("passes", "report")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one entry point costs on one request.

    Attributes:
        rule: id; ``decision`` for all together.
        fuel: units of work; about one a Wasm instruction.
        time_s: median of several runs of the CPU; 0 where only one was made.
        fault: why it has no end: it used up its fuel, or gave up.
    """

    rule: str
    fuel: int
    time_s: float = 0.0
    fault: str = ""


class Meter:
    """The rules of a tree, each askable alone, compiled once.

    A rule's cost is that of its proof and of its report, with what they share with other rules: alone, nothing that
    another rule has computed already is there for it. So the costs add up to more than that of the decision.
    """

    def __init__(
        self, opa: Opa, tree: Tree, folder: Path, data: PolicyData, rules: Mapping[str, Sequence[str]]
    ) -> None:
        """Compile.

        Args:
            opa: compiles.
            tree: what was laid out.
            folder: where.
            data: the policy data.
            rules: id -> what it defines.

        Raises:
            SyntaxFault: it does not compile.
            EngineError: the module can't be run.
        """
        parts = [(rule, part) for rule in sorted(rules) for part in _PARTS if part in rules[rule]]
        asked = [_DECISION, *(f"data.admission.rules.{rule}.{part}" for rule, part in parts)]
        wasm, _ = build_wasm(opa, tree, folder, asked)
        self._entries: dict[str, list[str]] = {rule: [] for rule in sorted(rules)}
        for at, (rule, _part) in enumerate(parts, start=1):
            self._entries[rule].append(entry_point(at))
        placet = data.stamped(expected_rules=len(rules))
        self._answers = Answers(wasm, render_canonical({"placet": placet}))

    @property
    def rules(self) -> tuple[str, ...]:
        """Ids, sorted."""
        return tuple(self._entries)

    def decision(self, document: Mapping[str, Any], *, fuel: int, runs: int = 1) -> Cost:
        """Cost of the whole decision."""
        return self._measure("decision", [entry_point(0)], document, fuel=fuel, runs=runs)

    def rule(self, rule: str, document: Mapping[str, Any], *, fuel: int, runs: int = 1) -> Cost:
        """Cost of one rule alone."""
        return self._measure(rule, self._entries[rule], document, fuel=fuel, runs=runs)

    def value(self, document: Mapping[str, Any], *, fuel: int) -> Any:
        """The decision itself; None where there is none."""
        return self._answers.ask(entry_point(0), render_canonical(document), fuel=fuel)

    def _measure(self, name: str, entries: Sequence[str], document: Mapping[str, Any], *, fuel: int, runs: int) -> Cost:
        raw = render_canonical(document)
        times = []
        used = 0
        for _ in range(runs):
            used, began = 0, time.process_time()
            for entry in entries:
                try:
                    self._answers.ask(entry, raw, fuel=fuel)
                except EngineTimeout:
                    return Cost(name, fuel, fault="it used up its fuel")
                except EngineError as error:
                    return Cost(name, used + self._answers.fuel_used, fault=str(error))
                used += self._answers.fuel_used
            times.append(time.process_time() - began)
        return Cost(name, used, statistics.median(times) if runs > 1 else 0.0)


def ordinary_request(data: PolicyData) -> dict[str, Any]:
    """A workload of high risk for the environment that asks for most, approved in every role."""
    domain = Domain.of(data)
    strictest = max(domain.environments, key=lambda name: (len(domain.data["environments"][name]["approvals"]), name))
    level = domain.levels[-2] if len(domain.levels) > 1 else domain.levels[-1]
    return domain.question(strictest, level, frozenset(domain.roles))


def large_request(data: PolicyData) -> dict[str, Any]:
    """The same with many of everything that a request may have many of."""
    request = ordinary_request(data)
    for key in ("images", "approvals"):
        request[key] = [copy.deepcopy(request[key][at % len(request[key])]) for at in range(LARGE)]
    for at, approval in enumerate(request["approvals"]):
        approval |= {"approval_id": f"a-{at}", "person": f"p-{at}"}
    request["rejected"] = [
        {"role": request["approvals"][at]["role"], "code": "expired", "approval_id": f"r-{at}"} for at in range(LARGE)
    ]
    return request
