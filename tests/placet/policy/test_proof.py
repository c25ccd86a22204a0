"""The proof over the matrix: silent about what ships, and about policies that lie it names each lie with a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from placet.canonical import Digest, render_canonical
from placet.errors import EngineAnswerError
from placet.policy.bundle import SHIPPED, shipped_bundle
from placet.policy.data import PolicyData, load_policy_data, merge_policy_data
from placet.policy.decision import PolicyDecision, Violation
from placet.policy.matrix import MODES, Domain
from placet.policy.proof import Fault, Proof, prove
from placet.policy.wasm import EmbeddedEngine

RULES = [rule.id for rule in shipped_bundle().rules]
OPTIONAL = [rule.id for rule in shipped_bundle().rules if rule.optional]
GOVERNANCE = (SHIPPED / "profiles" / "governance.yaml").read_text("utf-8")
REFUSED = Violation("approvals.required", "role_missing", "enforce", "high", {})
Lie = Callable[[Mapping[str, Any], PolicyDecision], PolicyDecision]


_TRUTH: dict[tuple[Digest, bytes], PolicyDecision] = {}


@dataclass
class Lying:
    """The policies, with another answer to some questions. Each is put to them once."""

    engine: EmbeddedEngine
    data: Digest
    lie: Lie
    name: str = "lying"
    version: str = ""
    revision: str = ""

    def prepare(self) -> None:
        self.engine.prepare()

    def problem(self) -> str:
        return ""

    def decide(self, document: Mapping[str, Any], *, deadline_s: float) -> PolicyDecision:
        key = (self.data, render_canonical(document))
        if key not in _TRUTH:
            _TRUTH[key] = self.engine.decide(document, deadline_s=deadline_s)
        return self.lie(document, _TRUTH[key])

    def close(self) -> None:
        self.engine.close()


def proved(text: str = "", *, lie: Lie | None = None) -> Proof:
    def open_engine(data: PolicyData) -> EmbeddedEngine | Lying:
        engine = EmbeddedEngine.default(data)
        return engine if lie is None else Lying(engine, data.digest, lie)

    return prove(merge_policy_data(text.encode(), name="test"), open_engine, RULES, optional=OPTIONAL)


def roles(document: Mapping[str, Any]) -> set[str]:
    return {one["role"] for one in document["approvals"]}


def at(document: Mapping[str, Any], environment: str, level: str) -> bool:
    return (document["environment"], document["risk"]["level"]) == (environment, level)


def admitted(decision: PolicyDecision) -> PolicyDecision:
    return replace(decision, allowed=True, violations=())


def refused(decision: PolicyDecision) -> PolicyDecision:
    return replace(decision, allowed=False, violations=(REFUSED,))


@pytest.fixture(scope="module")
def shipped() -> Proof:
    return proved()


def test_what_ships_holds_in_every_row(shipped: Proof) -> None:
    assert shipped.findings == ()
    assert len(shipped.rows) == 3 * 4 * len(MODES)
    assert shipped.asked >= len(shipped.rows) * 2**4
    domain = Domain.of(load_policy_data(None))
    for row in shipped.rows:
        wanted = domain.ordered(domain.wanted(row.environment, row.level))
        assert row.required == wanted
        assert row.admitted == ((wanted,) if row.mode == "enforce" else ((),))
        assert row.in_force == (row.mode == "enforce")
        assert row.refusals == ()
    assert shipped.notes == (
        "technical: every environment and every level asks for it; one of the two tables would do",
        f"no environment requires any of the {len(OPTIONAL)} rules that `requires` can name",
    )


def test_the_profile_holds_and_every_rule_that_it_requires_can_refuse() -> None:
    proof = proved(GOVERNANCE)
    assert proof.findings == ()
    assert not any("requires" in note for note in proof.notes)


def test_what_no_environment_requires_is_noted_and_no_fault() -> None:
    proof = proved("environments: {staging: {requires: [slo.declared]}}")
    assert proof.findings == ()
    assert proof.notes[-1] == f"no environment requires {', '.join(one for one in OPTIONAL if one != 'slo.declared')}"


def test_a_required_rule_that_refuses_nothing_is_a_fault() -> None:
    def mute(_: Mapping[str, Any], decision: PolicyDecision) -> PolicyDecision:
        left = tuple(one for one in decision.violations if one.rule != "slo.declared")
        return replace(decision, violations=left or (() if decision.allowed else (REFUSED,)))

    found = [one for one in proved(GOVERNANCE, lie=mute).findings if one.fault is Fault.RULE_UNREACHABLE]
    assert [one.sentence.partition("that ")[2].split()[0] for one in found] == ["slo.declared"]


def lacking(kind: str) -> Lie:
    """A rule of somebody's own that wants evidence in staging."""
    wanted = Violation("team.approved", "evidence_missing", "enforce", "high", {"kind": kind})

    def lie(document: Mapping[str, Any], decision: PolicyDecision) -> PolicyDecision:
        if document["environment"] != "staging":
            return decision
        return replace(decision, allowed=False, violations=(*decision.violations, wanted))

    return lie


OWN_KIND = (
    "evidence: {team_word: {predicate_type: https://team.example/word/v1, about: model, max_age_days: 9, "
    "claims: {word: {type: string}}}}"
)


def test_a_rule_that_wants_evidence_of_its_own_is_said_to_once_for_its_environment() -> None:
    found = proved(OWN_KIND, lie=lacking("team_word")).findings
    needed = [one for one in found if one.fault is Fault.NEEDS_EVIDENCE]
    assert [one.sentence.partition(",")[0] for one in needed] == [
        "nothing is proved of staging: team.approved needs evidence of the kind team_word"
    ]
    assert needed[0].request is not None
    assert Fault.REFUSES_COMPLETE not in {one.fault for one in found}


@pytest.mark.parametrize("kind", ["slo", "nobody_has_it"])
def test_a_rule_that_refuses_evidence_that_it_was_given_is_a_fault(kind: str) -> None:
    faults = {one.fault for one in proved(lie=lacking(kind)).findings}
    assert Fault.REFUSES_COMPLETE in faults
    assert Fault.NEEDS_EVIDENCE not in faults


def test_evidence_that_is_complete_by_the_limits_of_the_data_is_enough() -> None:
    """The questions of the matrix follow the data, so that a limit of the operator's makes no hole."""
    limits = ", ".join(f"{name}: 7" for name in load_policy_data(None).value["limits"]["default"])
    text = GOVERNANCE.replace("limits:\n", f"limits:\n  default: {{{limits}}}\n").replace(
        "soak_hours: 24", "soak_hours: 9"
    )
    data = merge_policy_data(text.encode(), name="test")
    assert data.value["limits"]["default"]["monitors"] == 7
    domain = Domain.of(data)
    question = domain.question("production", "low", frozenset(domain.roles))
    assert EmbeddedEngine.default(data).decide(question, deadline_s=5).allowed


def opened(level: str) -> Lie:
    return lambda document, decision: admitted(decision) if at(document, "production", level) else decision


LIES: list[tuple[Fault, Lie]] = [
    (Fault.ADMITS_WITHOUT, lambda document, decision: (
        admitted(decision) if at(document, "production", "high") and roles(document) == {"technical"} else decision
    )),
    (Fault.REFUSES_COMPLETE, lambda document, decision: (
        refused(decision) if at(document, "staging", "low") and len(roles(document)) == 2 else decision
    )),
    (Fault.OPEN_BY_DEFAULT, lambda document, decision: (
        admitted(decision) if document["environment"].startswith("no-such") else decision
    )),
    (Fault.ONE_PERSON, lambda document, decision: (
        admitted(decision) if {one["person"] for one in document["approvals"]} == {"p"} else decision
    )),
    (Fault.MORE_ROLES_REFUSED, lambda document, decision: (
        refused(decision) if at(document, "development", "low") and "executive" in roles(document) else decision
    )),
    (Fault.HIGHER_LEVEL_EASIER, lambda document, decision: (
        refused(decision) if at(document, "production", "medium") else decision
    )),
    (Fault.STRICTER_ENVIRONMENT_EASIER, lambda document, decision: (
        refused(decision) if document["environment"] == "development" else decision
    )),
    (Fault.LENIENT_DIFFERS, lambda document, decision: (
        replace(decision, warnings=()) if decision.mode == "warn" and not roles(document) else decision
    )),
    (Fault.RULE_UNREACHABLE, lambda _, decision: replace(
        decision, violations=tuple(one for one in decision.violations if one.rule != "images.pinned") or
        (() if decision.allowed else (REFUSED,)),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "lie"), LIES, ids=[fault.value for fault, _ in LIES])
def test_each_lie_is_named_with_a_request_that_shows_it(fault: Fault, lie: Lie) -> None:
    found = [one for one in proved(lie=lie).findings if one.fault is fault]
    assert found
    for one in found:
        if fault is Fault.RULE_UNREACHABLE:
            assert (one.sentence.partition("that ")[2].split()[0], one.request) == ("images.pinned", None)
        else:
            assert one.request is not None
            environment = str(one.request["environment"])
            assert environment.startswith("no-such") or environment in one.sentence


def test_what_is_above_the_ceiling_of_an_environment_may_not_come_in() -> None:
    text = "environments: {production: {max_level: medium}}"
    assert proved(text).findings == ()
    found = proved(text, lie=opened("high")).findings
    assert {one.fault for one in found} >= {Fault.ADMITS_ABOVE}
    rows = [row for row in proved(text).rows if row.environment == "production" and row.in_force]
    assert [bool(row.admitted) for row in rows] == [True, True, False, False]
    assert rows[2].refusals == ("risk.ceiling/level_above_environment",)


def test_policies_that_give_no_decision_are_a_gap() -> None:
    def silent(document: Mapping[str, Any], decision: PolicyDecision) -> PolicyDecision:
        if at(document, "staging", "critical") and len(roles(document)) == 2:
            raise EngineAnswerError("nothing")
        return decision

    found = [one for one in proved(lie=silent).findings if one.fault is Fault.UNDECIDED]
    assert len(found) == 6 * len(MODES)
    assert all("no decision: nothing" in one.sentence for one in found)


def test_data_that_soften_a_rule_do_not_hold() -> None:
    softened = proved("rules: {approvals.required: {mode: warn}, approvals.separation: {mode: audit}}")
    assert {one.fault for one in softened.findings} == {Fault.ADMITS_WITHOUT, Fault.ONE_PERSON}


def test_a_rule_of_its_own_mode_refuses_in_every_mode() -> None:
    proof = proved("rules: {approvals.required: {mode: enforce}}\nenvironments: {staging: {mode: warn}}")
    assert proof.findings == ()
    (row,) = (row for row in proof.rows if (row.environment, row.level) == ("staging", "high") and row.in_force)
    assert (row.mode, row.admitted) == ("warn", (("technical", "security", "business"),))


def test_entries_that_change_nothing_are_noted() -> None:
    notes = proved("environments: {development: {approvals: [technical, security], max_level: medium}}").notes
    assert "risk_approvals.medium: every environment that takes medium risk asks for security anyway" in notes
    assert not any("business" in note for note in notes)
