"""What is proved of an approval matrix, over its whole domain, and a question for each thing that does not hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from placet.policy.data import PolicyData
from placet.policy.decision import PolicyDecision, Violation
from placet.policy.engine import PolicyEngine
from placet.policy.matrix import DEADLINE_S, ENFORCE, MODES, Answer, Domain, Row, ask, with_mode
from placet.policy.probes import find_unreachable

_UNKNOWN: Final = "no-such-environment"
_Cells = Mapping[frozenset[str], Answer]
_Table = dict[tuple[str, str, str], _Cells]


class Fault(StrEnum):
    """What does not hold. Stable and machine-readable."""

    UNDECIDED = "undecided"
    ADMITS_WITHOUT = "admits_without"
    REFUSES_COMPLETE = "refuses_complete"
    NEEDS_EVIDENCE = "needs_evidence"
    ADMITS_ABOVE = "admits_above"
    OPEN_BY_DEFAULT = "open_by_default"
    ONE_PERSON = "one_person"
    MORE_ROLES_REFUSED = "more_roles_refused"
    HIGHER_LEVEL_EASIER = "higher_level_easier"
    STRICTER_ENVIRONMENT_EASIER = "stricter_environment_easier"
    LENIENT_DIFFERS = "lenient_differs"
    RULE_UNREACHABLE = "rule_unreachable"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold.

    Attributes:
        fault: what.
        sentence: for a person.
        request: a policy input that shows it; None where none can.
        mode: of the environments when it was asked.
    """

    fault: Fault
    sentence: str
    request: Mapping[str, Any] | None = None
    mode: str = ENFORCE


@dataclass(frozen=True, slots=True)
class Proof:
    """The whole matrix, and what was found.

    Attributes:
        rows: by environment, level and mode, in this order.
        findings: what does not hold; empty where all does.
        notes: what holds, and is worth a look: entries of the data that change nothing.
        asked: questions that were put to the policies.
    """

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    asked: int


def prove(
    data: PolicyData,
    open_engine: Callable[[PolicyData], PolicyEngine],
    rules: Iterable[str],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    *,
    optional: Collection[str] = (),
) -> Proof:
    """Ask everything that can be asked of a matrix.

    Args:
        data: policy data, checked.
        open_engine: makes an engine that judges by data; closed after use.
        rules: ids of all rules, ``approvals.required``.
        progress: is told what is done, and what there is.
        optional: those of the rules that judge only where an environment requires them.

    Raises:
        EngineError: an engine can't be made.
    """
    required = {rule for environment in data.value["environments"].values() for rule in environment["requires"]}
    idle = sorted(set(optional) - required)
    proof = _Prover(data, open_engine, progress).run(sorted(set(rules) - set(idle)))
    return replace(proof, notes=(*proof.notes, *_note_unrequired(idle, len(optional))))


def _note_unrequired(idle: Sequence[str], optional: int) -> Iterator[str]:
    """A rule that no environment requires refuses nothing, as it is meant to."""
    if idle and len(idle) == optional:
        yield f"no environment requires any of the {optional} rules that `requires` can name"
    elif idle:
        yield f"no environment requires {', '.join(idle)}"


class _Prover:
    def __init__(
        self,
        data: PolicyData,
        open_engine: Callable[[PolicyData], PolicyEngine],
        progress: Callable[[int, int], None],
    ) -> None:
        self._data = data
        self._domain = Domain.of(data)
        self._open_engine = open_engine
        self._progress = progress
        self._asked = 0
        self._all = len(self._domain.environments) * len(self._domain.levels) * 2 ** len(self._domain.roles) * 3

    def run(self, rules: Sequence[str]) -> Proof:
        table: _Table = {}
        findings: list[Finding] = []
        for mode in MODES:
            engine = self._open_engine(with_mode(self._data, mode))
            try:
                table |= self._ask_all(engine, mode)
                if mode == ENFORCE:
                    findings += self._find_open(engine)
                    findings += self._find_unreachable(engine, rules)
            finally:
                engine.close()
        for key, cells in table.items():
            findings += _check_cells(self._domain, key, cells)
            findings += _check_alike(self._domain, key, cells, table[*key[:2], ENFORCE])
        findings += _check_levels(self._domain, table)
        findings += _check_environments(self._domain, table)
        rows = tuple(_row(self._domain, key, cells) for key, cells in sorted(table.items(), key=self._order))
        findings = list(_once(findings))
        ordered = sorted(findings, key=lambda one: tuple(Fault).index(one.fault))
        return Proof(rows, tuple(ordered), tuple(_find_idle(self._domain)), self._asked)

    def _ask(self, engine: PolicyEngine, document: Mapping[str, Any]) -> Answer:
        self._asked += 1
        self._progress(min(self._asked, self._all), self._all)
        return ask(lambda given: engine.decide(given, deadline_s=DEADLINE_S), document)

    def _ask_all(self, engine: PolicyEngine, mode: str) -> _Table:
        domain = self._domain
        return {
            (environment, level, mode): {
                roles: self._ask(engine, domain.question(environment, level, roles)) for roles in domain.subsets()
            }
            for environment in domain.environments
            for level in domain.levels
        }

    def _find_open(self, engine: PolicyEngine) -> Iterator[Finding]:
        """What nobody provided for must be refused, and one person is never several."""
        domain, everybody = self._domain, frozenset(self._domain.roles)
        for level in domain.levels:
            unknown = self._ask(engine, domain.question(_UNKNOWN, level, everybody))
            if unknown.allowed:
                said = f"an environment that the data do not name admits {level} risk"
                yield Finding(Fault.OPEN_BY_DEFAULT, said, unknown.document)
        for environment in domain.environments:
            for level in domain.levels:
                alone = self._ask(engine, domain.question(environment, level, everybody, one_person=True))
                if alone.allowed and len(domain.wanted(environment, level)) > 1:
                    said = f"{environment} at {level} risk is satisfied by one person in every role"
                    yield Finding(Fault.ONE_PERSON, said, alone.document)

    def _find_unreachable(self, engine: PolicyEngine, rules: Sequence[str]) -> Iterator[Finding]:
        lasting = [rule for rule in rules if self._data.value["rules"].get(rule, {}).get("mode", ENFORCE) == ENFORCE]
        for rule in find_unreachable(self._domain, lasting, lambda document: self._ask(engine, document)):
            yield Finding(Fault.RULE_UNREACHABLE, f"no request was found that {rule} refuses in any environment")

    def _order(self, item: tuple[tuple[str, str, str], _Cells]) -> tuple[str, int, int]:
        (environment, level, mode), _ = item
        return environment, self._domain.levels.index(level), MODES.index(mode)


def _row(domain: Domain, key: tuple[str, str, str], cells: _Cells) -> Row:
    environment, level, mode = key
    whole = cells[frozenset(domain.roles)].decision
    admitted = [roles for roles, answer in cells.items() if answer.allowed]
    smallest = [roles for roles in admitted if not any(other < roles for other in admitted)]
    return Row(
        environment,
        level,
        mode,
        () if whole is None else whole.required_roles,
        tuple(domain.ordered(roles) for roles in smallest),
        () if whole is None else tuple(sorted({f"{one.rule}/{one.code}" for one in _against(whole)})),
        in_force=mode == domain.data["environments"][environment]["mode"],
    )


def _against(decision: PolicyDecision) -> list[Violation]:
    """What speaks against a request, whether it is refused for that or not."""
    tolerated = [one for one in (*decision.warnings, *decision.notes) if one.rule in decision.tolerated]
    return [*decision.violations, *tolerated]


def _check_cells(domain: Domain, key: tuple[str, str, str], cells: _Cells) -> Iterator[Finding]:
    environment, level, mode = key
    where = f"{environment} at {level} risk"
    for roles, answer in cells.items():
        if answer.decision is None:
            said = f"{where}, {mode}, with {_names(domain, roles)}: no decision: {answer.fault}"
            yield Finding(Fault.UNDECIDED, said, answer.document, mode)
        elif mode == ENFORCE:
            yield from _check_enforced(domain, key, roles, answer)
        elif not answer.allowed and not _is_enforced(domain, answer):
            said = f"{where} refuses in mode {mode} with {_names(domain, roles)}"
            yield Finding(Fault.LENIENT_DIFFERS, said, answer.document, mode)
        yield from _check_more(domain, key, cells, roles)


def _check_alike(domain: Domain, key: tuple[str, str, str], cells: _Cells, enforced: _Cells) -> Iterator[Finding]:
    """A mode that only warns or audits finds the same as one that refuses."""
    environment, level, mode = key
    for roles, answer in cells.items():
        if answer.reasons != enforced[roles].reasons and answer.decision is not None:
            said = f"{environment} at {level} risk finds something else in mode {mode} with {_names(domain, roles)}"
            yield Finding(Fault.LENIENT_DIFFERS, said, answer.document, mode)


def _is_enforced(domain: Domain, answer: Answer) -> bool:
    """Whether what refuses comes from rules that the data enforce whatever the environment's mode."""
    own = domain.data["rules"]
    return answer.decision is not None and all(
        own.get(one.rule, {}).get("mode") == ENFORCE for one in answer.decision.violations
    )


def _check_enforced(
    domain: Domain, key: tuple[str, str, str], roles: frozenset[str], answer: Answer
) -> Iterator[Finding]:
    environment, level, _ = key
    wanted, where = domain.wanted(environment, level), f"{environment} at {level} risk"
    lacking = wanted - roles
    if not domain.enters(environment, level):
        if answer.allowed:
            said = f"{where} is above max_level, and is admitted with {_names(domain, roles)}"
            yield Finding(Fault.ADMITS_ABOVE, said, answer.document)
    elif answer.allowed and lacking:
        said = f"{where} is admitted with {_names(domain, roles)}, without {_names(domain, lacking)}"
        yield Finding(Fault.ADMITS_WITHOUT, said, answer.document)
    elif not answer.allowed and not lacking:
        if (wanting := _wanting(domain, answer)) is not None:
            yield from (_need(environment, rule, kind, answer) for rule, kind in wanting)
            return
        why = ", ".join(f"{rule}/{code}" for rule, code in answer.reasons)
        said = f"{where} is refused with {_names(domain, roles)}, which is all that the tables ask for: {why}"
        yield Finding(Fault.REFUSES_COMPLETE, said, answer.document)


def _wanting(domain: Domain, answer: Answer) -> list[tuple[str, str]] | None:
    """Rules that lack evidence of a kind that no question has, with the kind; None where anything else refuses too."""
    given = {one["kind"] for one in answer.document["evidence"]}
    found = []
    for one in () if answer.decision is None else answer.decision.violations:
        kind = one.details.get("kind")
        if not isinstance(kind, str) or kind in given or kind not in domain.data["evidence"]:
            return None
        found.append((one.rule, kind))
    return found or None


def _need(environment: str, rule: str, kind: str, answer: Answer) -> Finding:
    said = (
        f"nothing is proved of {environment}: {rule} needs evidence of the kind {kind}, and the questions have none, "
        "so that every workload is refused"
    )
    return Finding(Fault.NEEDS_EVIDENCE, said, answer.document)


def _once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """What is lacking in every question of an environment is said once."""
    seen = set()
    for one in findings:
        if one.fault is not Fault.NEEDS_EVIDENCE or one.sentence not in seen:
            yield one
        seen.add(one.sentence)


def _check_more(domain: Domain, key: tuple[str, str, str], cells: _Cells, roles: frozenset[str]) -> Iterator[Finding]:
    environment, level, mode = key
    if not cells[roles].allowed:
        return
    for role in domain.roles:
        more = cells[roles | {role}]
        if not more.allowed:
            said = (
                f"{environment} at {level} risk is admitted with {_names(domain, roles)}, and not with {role} as well"
            )
            yield Finding(Fault.MORE_ROLES_REFUSED, said, more.document, mode)


def _check_levels(domain: Domain, table: _Table) -> Iterator[Finding]:
    """What suffices at a higher level suffices at a lower one."""
    for environment in domain.environments:
        for lower, higher in zip(domain.levels, domain.levels[1:], strict=False):
            easier, harder = table[environment, lower, ENFORCE], table[environment, higher, ENFORCE]
            for roles, answer in easier.items():
                if harder[roles].allowed and not answer.allowed:
                    said = (
                        f"{environment} admits {higher} risk with {_names(domain, roles)}, "
                        f"and refuses {lower} risk with the same"
                    )
                    yield Finding(Fault.HIGHER_LEVEL_EASIER, said, harder[roles].document)


def _check_environments(domain: Domain, table: _Table) -> Iterator[Finding]:
    """What suffices where more is asked for suffices where less is, if that takes such a risk at all."""
    entries = domain.data["environments"]
    for lesser in domain.environments:
        for greater in domain.environments:
            if not set(entries[lesser]["approvals"]) < set(entries[greater]["approvals"]):
                continue
            for level in domain.levels:
                if not domain.enters(lesser, level):
                    continue
                for roles, answer in table[greater, level, ENFORCE].items():
                    if answer.allowed and not table[lesser, level, ENFORCE][roles].allowed:
                        said = (
                            f"{greater} asks for more roles than {lesser}, yet admits {level} risk with "
                            f"{_names(domain, roles)} where {lesser} does not"
                        )
                        yield Finding(Fault.STRICTER_ENVIRONMENT_EASIER, said, answer.document)


def _find_idle(domain: Domain) -> Iterator[str]:
    """Entries of the data that change nothing, each taken alone. Every row was proved to be the two tables' union."""
    entries, by_level = domain.data["environments"], domain.data["risk_approvals"]
    taking = {level: [name for name in domain.environments if domain.enters(name, level)] for level in domain.levels}
    for level, names in taking.items():
        if not names:
            yield f"risk_approvals.{level}: no environment takes {level} risk"
    for role in domain.roles:
        idle = [
            f"risk_approvals.{level}: every environment that takes {level} risk asks for {role} anyway"
            for level, names in taking.items()
            if names and role in by_level[level] and all(role in entries[name]["approvals"] for name in names)
        ] + [
            f"environments.{name}.approvals: every level that it takes asks for {role} anyway"
            for name in domain.environments
            if role in entries[name]["approvals"]
            and all(role in by_level[level] for level, names in taking.items() if name in names)
        ]
        if len(idle) == len(domain.levels) + len(domain.environments):
            yield f"{role}: every environment and every level asks for it; one of the two tables would do"
        else:
            yield from idle


def _names(domain: Domain, roles: frozenset[str]) -> str:
    return ", ".join(domain.ordered(roles)) or "no approval"
