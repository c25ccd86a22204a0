"""One decision, from a well-formed request to a durable record: the numbered way of a request.

The webhook and ``placet plan`` both call :meth:`Gate.decide`; they differ only in whether there is a record to write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.revocations import Revocations
from placet.breakglass.passage import conclude, find_child_passage
from placet.breakglass.record import Glass, NoGlass
from placet.cluster import Ceiling, ClusterFacts
from placet.deadline import Deadline, DeadlineExceeded
from placet.decision import Decision, Receipt, Spooled, gate_violation
from placet.detection import read_rules
from placet.environments import EnvironmentCheck, Namespaces, NoNamespaces
from placet.errors import AuditError, PlacetError
from placet.exemptions.folder import Exemptions, NoExemptions
from placet.exemptions.step import ExemptionStep
from placet.history import History, NoHistory
from placet.judge import Findings, Situation, adopted, classify_change, examine, examine_child
from placet.kept import collect_attachments
from placet.lineage import names_controller
from placet.model import Workload
from placet.namespaces import GUARD, NamespaceGuard
from placet.origin import Past, follow, recall, tell
from placet.parents import NoParents, Parents
from placet.policy.data import PolicyData
from placet.policy.decision import PolicyDecision, Violation
from placet.policy.engine import PolicyEngine
from placet.precedent import Precedent
from placet.promotion import Promotions, find_promotions
from placet.record import Recorder
from placet.residents import NoResidents, Residents
from placet.review import AdmissionRequest
from placet.scaling import is_scale
from placet.subject import SubjectStep, known, with_note

__all__ = ["Deadline", "DeadlineExceeded", "Gate", "History", "NoHistory", "Refused", "Trust"]

JUDGED_OPERATIONS: Final = frozenset({"CREATE", "UPDATE"})
# Each carries the whole Pod, whose sizes are not governed: a resize is an update that changes nothing.
JUDGED_SUBRESOURCES: Final = frozenset({"", "ephemeralcontainers", "resize"})


class Refused(PlacetError):
    """A request that no policy needs to see to be refused."""

    code = "refused"


class Trust(Protocol):
    """Where the keyring and the revocations come from."""

    def load(self, now: datetime) -> tuple[VerifiedKeyring, Revocations]:
        """The newest that verify.

        Raises:
            KeyringError: none that can be trusted now.
        """


class Gate:
    """Decides requests. Thread-safe as far as its parts are."""

    def __init__(
        self,
        *,
        cluster: str,
        policy_data: PolicyData,
        engine: PolicyEngine,
        trust: Trust,
        history: History,
        cluster_facts: ClusterFacts,
        recorder: Recorder | None,
        clock: Callable[[], datetime],
        parents: Parents | None = None,
        residents: Residents | None = None,
        exemptions: Exemptions | None = None,
        namespaces: Namespaces | None = None,
        remembered: Parents | None = None,
        glass: Glass | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            cluster: this cluster's name.
            policy_data: defaults and the operator's, merged and checked.
            engine: judges the policy input.
            trust: keyring and revocations.
            history: what the record knows.
            cluster_facts: what the cluster knows.
            recorder: keeps decisions; None only for ``placet plan``.
            clock: aware UTC.
            parents: where the objects are looked up that others belong to; None to judge each by itself.
            residents: who counts what runs in a namespace that is moved; None for nobody.
            exemptions: what needs no approval by somebody's word; None for nothing.
            namespaces: where the Namespace of a request is looked up; None to believe the path.
            remembered: a memory of what parents belong to, asked before ``parents`` is; None for none.
            glass: what the record knows of break-glass; None to let nothing in by it.
        """
        self._cluster = cluster
        self._policy_data = policy_data
        detection = read_rules(policy_data.value["detection"])
        self._engine = engine
        self._trust = trust
        self._history = history
        self._cluster_facts = cluster_facts
        self._recorder = recorder
        self._clock = clock
        self._subject = SubjectStep(
            settings=self.settings,
            kinds=policy_data.kinds,
            detection=detection,
            parents=parents or NoParents(),
            remembered=remembered,
        )
        source = exemptions or NoExemptions()
        self._exemptions = ExemptionStep(source, cluster=cluster, data=policy_data.value, rules=detection)
        self._glass = glass or NoGlass()
        self._namespaces = NamespaceGuard(policy_data, residents or NoResidents())
        self._environments = EnvironmentCheck(policy_data, namespaces or NoNamespaces())

    @property
    def engine(self) -> PolicyEngine:
        """The engine that judges."""
        return self._engine

    def decide(
        self, request: AdmissionRequest, *, environment: str, deadline: Deadline, caller_authenticated: bool = False
    ) -> Decision:
        """Steps 2 to 9. A refusal is a value; so is everything that kept the gate from deciding.

        Args:
            request: well-formed (step 1 is the webhook's).
            environment: from the URL path, unverified text; ``GUARD`` for the path of Namespaces.
            deadline: when the answer must be there.
            caller_authenticated: whether the caller proved to be the API server.
        """
        # 2. Place: the clock is read once, here.
        now = self._clock()
        started = time.perf_counter_ns()
        decision = Decision(
            request=request,
            environment=environment,
            time=now,
            allowed=False,
            caller_authenticated=caller_authenticated,
        )
        step = "request"
        try:
            if self._recorder is not None and not request.dry_run:
                stored = self._recorder.find(request, environment)
                if stored is not None:
                    return self._replayed(decision, stored)
            for step, act in self._namespaces.steps if environment == GUARD else self._steps:
                deadline.check(step)
                decision = act(decision, deadline)
                if decision.allowed:
                    break
            step = "break_glass"
            decision = conclude(decision, glass=self._glass, history=self._history, data=self._policy_data.value)
        except PlacetError as error:
            decision = replace(decision, allowed=False, violations=(gate_violation(step, error),))
        # 9. Record
        return self._record(decision, deadline, latency_us=(time.perf_counter_ns() - started) // 1000)

    @property
    def _steps(self) -> tuple[tuple[str, Callable[[Decision, Deadline], Decision]], ...]:
        return (
            ("environment", self._place),  # 2
            *self._environments.steps,
            ("workload", self._subject.read),  # 3, 4
            ("origin", self._subject.trace),  # 4
            ("evidence", self._examine),  # 5, 6, 7
            ("policy", self._judge),  # 8
        )

    def settings(self, environment: str) -> Mapping[str, Any]:
        """The environment's settings in the policy data.

        Raises:
            Refused: there is no such environment.
        """
        known = self._policy_data.value["environments"]
        found = known.get(environment)
        if not isinstance(found, Mapping):
            names = ", ".join(sorted(known))
            raise Refused(
                "the path names an environment that the policy data does not know",
                code="environment_unknown",
                hint=f"Known: {names}. The webhook configuration's path is /v1/admit/<environment>.",
            )
        return found

    def _place(self, decision: Decision, _deadline: Deadline) -> Decision:
        decision = replace(decision, mode=str(self.settings(decision.environment)["mode"]))
        request = decision.request
        if request.operation == "DELETE":
            return replace(decision, allowed=True)
        if request.operation not in JUDGED_OPERATIONS:
            raise Refused(f"{request.operation} is not an operation that can be approved", code="operation_unsupported")
        if request.subresource not in JUDGED_SUBRESOURCES and not is_scale(request):
            raise Refused("this subresource can't be judged", code="subresource_unsupported")
        return decision

    def _examine(self, decision: Decision, _deadline: Deadline) -> Decision:
        workload, old = known(decision.workload), decision.old
        settings = self.settings(decision.environment)
        keyring, revocations = self._trust.load(decision.time)
        situation = Situation(
            uid=decision.request.uid,
            operation=decision.request.operation,
            environment=decision.environment,
            cluster=self._cluster,
            requester=decision.request.username,
            now=decision.time,
            dry_run=decision.request.dry_run,
            bindings=frozenset(settings["bindings"]),
            accept_declared=bool(settings["accept_declared"]),
            policy=self._policy_data.digest,
            keyring=keyring,
            revocations=revocations,
            ceiling=Ceiling(known=False),
            model_seen=None,
            evidence=self._policy_data.evidence,
            calendar=self._policy_data.calendar,
            groups=decision.request.groups,
        )
        decision = replace(decision, keyring_version=keyring.version, situation=situation)
        decision = self._exemptions.apply(decision, keyring)
        if decision.allowed:
            return decision
        if decision.lineage is not None:
            found = follow(decision.lineage, workload, self._history, situation)
            if isinstance(found, Precedent):
                return self._inherit(decision, found, situation)
            if (let := find_child_passage(decision.lineage, found, workload, self._glass, situation)) is not None:
                return replace(decision, allowed=True, change="child", passage=let)
            decision = with_note(replace(decision, lineage=None), found)
        situation = replace(
            situation,
            ceiling=self._ceiling(decision, workload),
            model_seen=self._history.model_seen(environment=decision.environment, model=workload.model.name),
            promotions=self._promotions(workload, situation),
        )
        past = Past()
        if old is not None:
            past = recall(workload, (workload.name, decision.request.name), self._history, situation)
            situation = replace(situation, precedent=past.precedent, withdrawn=past.withdrawn, recorded=past.asked)
        findings = examine(workload, old, situation)
        if (told := tell(findings, past)) is not None:
            decision = with_note(decision, told)
        return replace(decision, findings=findings, change=findings.change)

    def _promotions(self, workload: Workload, situation: Situation) -> Promotions:
        found = self._history.admitted_elsewhere(
            environment=situation.environment, projection=workload.projection.digest
        )
        return find_promotions(workload, found, keyring=situation.keyring, revocations=situation.revocations)

    def _inherit(self, decision: Decision, precedent: Precedent, situation: Situation) -> Decision:
        """What a controller made of approved content is let through by what was approved."""
        workload = known(decision.workload)
        child = replace(workload, model=precedent.model)
        findings = examine_child(child, precedent, situation, scale=classify_change(workload, decision.old)[1])
        return replace(decision, workload=child, findings=findings, change=findings.change)

    def _ceiling(self, decision: Decision, workload: Workload) -> Ceiling:
        if workload.kind in {"Pod", "Job", "CronJob", "DaemonSet"}:  # nothing scales these
            return Ceiling(known=True)
        # Autoscalers know an object by its own name, also where approvals know it by the prefix it was made from.
        metadata = known(decision.request.object)["metadata"]
        name = metadata.get("name") or decision.request.name or workload.name
        return self._cluster_facts.autoscaler_ceiling(namespace=workload.namespace, kind=workload.kind, name=name)

    def _judge(self, decision: Decision, deadline: Deadline) -> Decision:
        # 8. Judge
        findings = known(decision.findings)
        if findings.adoptable and (anew := self._adopt(decision, findings, deadline)) is not None:
            return anew
        return self._judged(decision, self._engine.decide(findings.document, deadline_s=deadline.remaining_s()))

    def _adopt(self, decision: Decision, findings: Findings, deadline: Deadline) -> Decision | None:
        """What runs without an approval in the record, and is approved now: only if it passes like something new.

        None where it does not: what it brings changes nothing then.
        """
        anew = adopted(findings, known(decision.situation))
        policy = self._engine.decide(anew.document, deadline_s=deadline.remaining_s())
        missing = set(policy.required_roles) - set(policy.granted_roles)
        if not policy.allowed or policy.mode != "enforce" or policy.tolerated or missing:
            return None
        return self._judged(replace(decision, findings=anew, change=anew.change), policy)

    def _judged(self, decision: Decision, policy: PolicyDecision) -> Decision:
        # Why an object was judged by itself is told to whoever is refused, and kept in any case.
        told = () if policy.allowed else decision.notes
        # Copies of its parent's approvals, which are for the parent, say nothing about what a controller made.
        made = decision.lineage is not None or names_controller(decision.request.object or {})
        warnings = tuple(item for item in policy.warnings if not (made and item.code == "approvals_expired"))
        return replace(
            decision,
            policy=policy,
            allowed=policy.allowed,
            mode=policy.mode,
            violations=(*policy.violations, *told),
            warnings=warnings,
            tolerated=tuple(item for item in (*policy.warnings, *policy.notes) if item.rule in policy.tolerated),
            notes=(*policy.notes, *(() if told else decision.notes)),
        )

    def _record(self, decision: Decision, deadline: Deadline, *, latency_us: int) -> Decision:
        if self._recorder is None or decision.request.dry_run:
            return decision
        try:
            return self._keep(self._recorder, decision, collect_attachments(decision), deadline, latency_us=latency_us)
        except (AuditError, DeadlineExceeded) as error:
            refused = self._unrecorded(decision, error)
            if error.code != "record_too_large":
                return self._put_aside(refused, error, collect_attachments(decision), deadline, latency_us=latency_us)
        try:  # what is too large to be kept beside the record is refused, and the refusal is kept
            return self._keep(self._recorder, refused, {}, deadline, latency_us=latency_us)
        except (AuditError, DeadlineExceeded) as error:
            return self._put_aside(self._unrecorded(refused, error), error, {}, deadline, latency_us=latency_us)

    def _put_aside(
        self,
        refused: Decision,
        cause: PlacetError,
        attachments: Mapping[str, bytes],
        deadline: Deadline,
        *,
        latency_us: int,
    ) -> Decision:
        """What was refused and could not be recorded waits for the store, where there is a place for that."""
        if self._recorder is None:
            return refused
        kept = self._recorder.put_aside(
            refused,
            cause=cause,
            cluster=self._cluster,
            engine=self._engine,
            data_digest=self._policy_data.digest,
            attachments=attachments,
            latency_us=latency_us,
            deadline_s=deadline.remaining_s(),
        )
        if kept is None:
            return refused
        return self._replayed(refused, kept) if kept.replayed else replace(refused, spooled=kept)

    def _keep(
        self,
        recorder: Recorder,
        decision: Decision,
        attachments: Mapping[str, bytes],
        deadline: Deadline,
        *,
        latency_us: int,
    ) -> Decision:
        deadline.check("record")
        self._glass.append(decision.events, deadline_s=deadline.remaining_s())
        recorded = recorder.keep(
            decision,
            cluster=self._cluster,
            engine=self._engine,
            data_digest=self._policy_data.digest,
            attachments=attachments,
            latency_us=latency_us,
            deadline_s=deadline.remaining_s(),
        )
        # the same request was decided at the same time, and that decision came first
        if isinstance(recorded, Spooled) or recorded.replayed:
            return self._replayed(decision, recorded)
        return replace(decision, recorded=recorded)

    def _unrecorded(self, decision: Decision, error: PlacetError) -> Decision:
        """An allow that can't be recorded is a deny; a denial is answered all the same, and says so."""
        told = {item.code for item in decision.violations}
        problems = () if error.code in told else (gate_violation("record", error),)
        return replace(
            decision,
            allowed=False,
            violations=(*decision.violations, *problems),
            passage=None,
            events=(),
            recorded=None,
        )

    def _replayed(self, decision: Decision, stored: Receipt | Spooled) -> Decision:
        """A request that was decided before gets the answer that the record holds, or will hold."""
        leaf = stored.leaf
        return replace(
            decision,
            allowed=bool(leaf["allowed"]),
            mode=str(leaf["mode"]),
            environment=str(leaf["environment"]),
            violations=tuple(
                Violation(rule=item["rule"], code=item["code"], mode="enforce", severity="", details={})
                for item in leaf["violations"]
            ),
            recorded=stored if isinstance(stored, Receipt) else None,
            spooled=stored if isinstance(stored, Spooled) else None,
        )
