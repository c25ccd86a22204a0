"""Every question that the approval matrix can be asked, put to the real policies.

The domain is finite: environments, risk levels, modes, and which roles have approved. Whoever reads the answer for each
reads what the policies do, not what their author meant.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from placet.canonical import Digest, render_canonical
from placet.errors import EngineError
from placet.policy.complete import Subjects, complete_facts
from placet.policy.data import PolicyData
from placet.policy.decision import PolicyDecision, Violation
from placet.policy.document import INPUT_SCHEMA

ENFORCE: Final = "enforce"
MODES: Final = (ENFORCE, "warn", "audit")
DEADLINE_S: Final = 5.0
_BINDINGS: Final = ("images", "model", "projection")
_NOW_S: Final = 1_790_000_000
_Roles = frozenset[str]

Decide = Callable[[Mapping[str, Any]], PolicyDecision]


@dataclass(frozen=True, slots=True)
class Row:
    """One environment at one risk level, in one mode.

    Attributes:
        environment: its name.
        level: of the risk.
        mode: that all rules have which name none of their own.
        required: roles that the policies say are needed, in the order of the data.
        admitted: the smallest sets of roles that are let in, each in that order; empty where nothing is.
        refusals: ``rule/code`` of what speaks against a workload that every role has approved, sorted.
        in_force: whether the data give the environment this mode.
    """

    environment: str
    level: str
    mode: str
    required: tuple[str, ...]
    admitted: tuple[tuple[str, ...], ...]
    refusals: tuple[str, ...]
    in_force: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What the policies said to one question.

    Attributes:
        document: the question, of ``policies/schemas/input.json``.
        decision: None where they gave none.
        fault: why they gave none.
    """

    document: Mapping[str, Any]
    decision: PolicyDecision | None
    fault: str = ""

    @property
    def allowed(self) -> bool:
        """Whether it was let in."""
        return self.decision is not None and self.decision.allowed

    @property
    def reasons(self) -> tuple[tuple[str, str], ...]:
        """Rule and code of every finding, whatever its mode; sorted."""
        if self.decision is None:
            return ()
        parts: Sequence[Violation] = (*self.decision.violations, *self.decision.warnings, *self.decision.notes)
        return tuple(sorted({(one.rule, one.code) for one in parts}))


@dataclass(frozen=True, slots=True)
class Domain:
    """What can be asked of some policy data.

    Attributes:
        data: the policy data.
        risks: level -> the ``risk`` of a document that has it; a level that no factors lead to is missing.
    """

    data: Mapping[str, Any]
    risks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: PolicyData) -> Domain:
        """Find factors that lead to each level."""
        return cls(data.value, _find_risks(data.value["risk"], data.value["levels"]))

    @property
    def environments(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(sorted(self.data["environments"]))

    @property
    def levels(self) -> tuple[str, ...]:
        """Those that factors lead to, in rising order."""
        return tuple(level for level in self.data["levels"] if level in self.risks)

    @property
    def roles(self) -> tuple[str, ...]:
        """All that there are, in order."""
        return tuple(self.data["roles"])

    def subsets(self) -> Iterator[_Roles]:
        """Every set of roles, the smaller first."""
        for size in range(len(self.roles) + 1):
            yield from map(frozenset, itertools.combinations(self.roles, size))

    def ordered(self, roles: _Roles) -> tuple[str, ...]:
        """The roles in the order of the data."""
        return tuple(role for role in self.roles if role in roles)

    def wanted(self, environment: str, level: str) -> _Roles:
        """What the two tables ask for together: computed here, to be compared with what the policies do."""
        return frozenset(self.data["environments"][environment]["approvals"]) | frozenset(
            self.data["risk_approvals"][level]
        )

    def enters(self, environment: str, level: str) -> bool:
        """Whether the environment takes this level at all."""
        levels: list[str] = self.data["levels"]
        return levels.index(level) <= levels.index(self.data["environments"][environment]["max_level"])

    def question(
        self, environment: str, level: str, roles: _Roles, *, one_person: bool = False, **change: Any
    ) -> dict[str, Any]:
        """A workload in which all is well, approved in these roles.

        Args:
            environment: it is deployed to.
            level: of its risk.
            roles: that have approved, each by a person of its own.
            one_person: whether it is the same person in all of them.
            change: members of the document instead of these.
        """
        risk = self.risks.get(level) or {**next(iter(self.risks.values())), "level": level}
        document: dict[str, Any] = {
            "schema": INPUT_SCHEMA,
            "uid": "matrix",
            "time_s": _NOW_S,
            "environment": environment,
            "operation": "CREATE",
            "dry_run": False,
            "requester": "deployer",
            "workload": {
                "group": "apps",
                "version": "v1",
                "kind": "Deployment",
                "namespace": "models",
                "name": "model",
            },
            "model": {"name": "model", "version": "1", "digest": _digest("model")},
            "change": {"kind": "new", "model_seen": False, "scale": "unknown"},
            "precedent": {"decision_id": "", "time_s": 0, "level": ""},
            "projection": _digest("projection"),
            "images": [_image()],
            "risk": risk,
            "thresholds": dict.fromkeys(self.roles, 1),
            "approvals": [_approval(role, "p" if one_person else f"p-{role}") for role in self.ordered(roles)],
            "rejected": [],
            "requester_groups": [],
            "evidence_rejected": [],
        }
        subjects = Subjects(
            document["model"]["digest"], document["projection"], tuple(map(_digest_of, document["images"]))
        )
        return copy.deepcopy(document | complete_facts(self.data, environment, subjects, _NOW_S) | change)


def _approval(role: str, person: str) -> dict[str, Any]:
    return {
        "approval_id": f"a-{role}",
        "role": role,
        "person": person,
        "bindings": list(_BINDINGS),
        "max_risk": "critical",
        "risk_inputs_match": True,
        "expires_s": _NOW_S + 86_400,
        "statement": _digest(role),
    }


def _image() -> dict[str, str]:
    name, digest = "registry.example.org/server", _digest("image")
    return {"container": "server", "reference": f"{name}@{digest}", "name": name, "digest": digest}


def _digest_of(image: Mapping[str, str]) -> str:
    return image["digest"]


def _digest(text: str) -> str:
    return str(Digest.of(text.encode()))


def _find_risks(table: Mapping[str, Any], levels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each level the lowest score that has it, with factors that lead there."""
    weights, scores, ceilings = table["weights"], table["scores"], table["ceilings"]
    factors = sorted(weights)
    found: dict[str, dict[str, Any]] = {}
    for combination in itertools.product(*(scores[factor] for factor in factors)):
        given = dict(zip(factors, combination, strict=True))
        score = sum(given[factor] * weights[factor] for factor in factors)
        level = next((one for one in levels if one in ceilings and score <= ceilings[one]), levels[-1])
        if level not in found or score < found[level]["score"]:
            inputs = str(Digest.of(render_canonical(given)))
            found[level] = {"score": score, "level": level, "factors": given, "inputs_digest": inputs}
    return found


def with_mode(data: PolicyData, mode: str) -> PolicyData:
    """The same data with this mode in every environment; rules keep modes of their own."""
    value = copy.deepcopy(dict(data.value))
    for environment in value["environments"].values():
        environment["mode"] = mode
    return replace(data, value=value, digest=Digest.of(render_canonical(value)))


def ask(decide: Decide, document: Mapping[str, Any]) -> Answer:
    """Put one question; an engine that gives no decision is an answer too."""
    try:
        return Answer(document, decide(document))
    except EngineError as exc:
        return Answer(document, None, f"{exc} ({exc.code})")
