"""One decision, from a well-formed request to a durable record: the numbered way of a request.

The webhook and ``placet plan`` both call :meth:`Gate.decide`; they differ only in whether there is a record to write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.revocations import Revocations
from placet.canonical import render_canonical
from placet.cluster import Ceiling, ClusterFacts
from placet.coverage import find_coverage, warn_of
from placet.deadline import Deadline, DeadlineExceeded
from placet.decision import Decision, Receipt, gate_violation, remark
from placet.detection import read_rules
from placet.errors import AuditError, PlacetError, WorkloadError
from placet.history import History, NoHistory
from placet.judge import Findings, Situation, adopted, classify_change, examine, examine_child
from placet.lineage import Stray, names_controller, trace
from placet.model import Workload
from placet.namespaces import GUARD, NamespaceGuard
from placet.origin import Past, follow, recall, tell
from placet.parents import SETTING, NoParents, Parents
from placet.policy.data import PolicyData
from placet.policy.decision import PolicyDecision, Violation
from placet.policy.engine import PolicyEngine
from placet.precedent import Precedent
from placet.projection import redact
from placet.record import Recorder
from placet.residents import NoResidents, Residents
from placet.review import AdmissionRequest
from placet.scaling import find_scaled, is_scale
from placet.workload import read_workload

__all__ = ["Deadline", "DeadlineExceeded", "Gate", "History", "NoHistory", "Refused", "Trust"]

_T = TypeVar("_T")
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
        """
        self._cluster = cluster
        self._policy_data = policy_data
        self._detection = read_rules(policy_data.value["detection"])
        self._engine = engine
        self._trust = trust
        self._history = history
        self._cluster_facts = cluster_facts
        self._recorder = recorder
        self._clock = clock
        self._parents = parents or NoParents()
        self._namespaces = NamespaceGuard(policy_data, residents or NoResidents())

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
        except PlacetError as error:
            decision = replace(decision, allowed=False, violations=(gate_violation(step, error),))
        # 9. Record
        return self._record(decision, deadline, latency_us=(time.perf_counter_ns() - started) // 1000)

    @property
    def _steps(self) -> tuple[tuple[str, Callable[[Decision, Deadline], Decision]], ...]:
        return (
            ("environment", self._place),  # 2
            ("workload", self._read),  # 3, 4
            ("origin", self._trace),  # 4
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

    def _read(self, decision: Decision, deadline: Deadline) -> Decision:
        # 3. Model and 4. Project
        if is_scale(decision.request):
            kinds, share_s = self._policy_data.kinds, deadline.share_s()
            scaled = find_scaled(decision.request, parents=self._parents, timeout_s=share_s, kinds=kinds)
            decision = replace(decision, request=scaled)
        request = decision.request
        if request.object is None:
            raise WorkloadError("the request carries no object", code="object_missing")
        if not request.namespace:  # else the object's own would stand in for the place that nobody vouches for
            raise WorkloadError("the request names no namespace, and every workload has one", code="namespace_missing")
        workload = read_workload(request.object, namespace=request.namespace, kinds=self._policy_data.kinds)
        asked = request.kind
        if (workload.group, workload.version, workload.kind) != (asked.group, asked.version, asked.kind):
            raise WorkloadError(f"the object is not the {asked} that the request names", code="kind_differs")
        own = request.object["metadata"].get("name")
        if request.name and own and own != request.name:
            raise WorkloadError("the object's name is not the one that the request names", code="name_differs")
        old = self._old(decision)
        decision = replace(decision, workload=workload, old=old)
        if old is not None and _is_going(request.old_object) and classify_change(workload, old)[0] == "unchanged":
            # Nothing starts any more from what is being deleted; refusing its last updates would keep it for ever.
            return replace(decision, allowed=True, change="unchanged")
        coverage = find_coverage(
            request,
            workload,
            self.settings(decision.environment),
            self._detection,
            kinds=self._policy_data.kinds,
        )
        decision = replace(decision, coverage=coverage)
        if coverage.governed:
            return decision
        return replace(decision, allowed=True, warnings=warn_of(coverage, mode=decision.mode))

    def _old(self, decision: Decision) -> Workload | None:
        """The old object; one that can't be read counts as none, so that nothing is carried forward from it."""
        request = decision.request
        if request.operation != "UPDATE" or request.old_object is None:
            return None
        try:
            return read_workload(request.old_object, namespace=request.namespace, kinds=self._policy_data.kinds)
        except WorkloadError:
            return None

    def _trace(self, decision: Decision, deadline: Deadline) -> Decision:
        # 4. Project: what a controller made is compared with what it was made from.
        workload, request = _known(decision.workload), decision.request
        content, old = _known(request.object), decision.old
        if not names_controller(content, self._policy_data.kinds) or (old is not None and _same(workload, old)):
            return decision
        if not self._parents.asked:
            stray = Stray(
                "parents_not_looked_up", "its controller is not looked up, so it is judged by itself", SETTING
            )
            return _with_note(decision, stray)
        more = (
            old is None
            or old.replicas is None
            or (workload.replicas or 0) > old.replicas
            or workload.projection.digest != old.projection.digest  # more of this content, as many as there were
        )
        found = trace(
            content,
            workload,
            asks_more=more,
            parents=self._parents,
            time_left_s=deadline.share_s,
            kinds=self._policy_data.kinds,
        )
        return _with_note(decision, found) if isinstance(found, Stray) else replace(decision, lineage=found)

    def _examine(self, decision: Decision, _deadline: Deadline) -> Decision:
        workload, old = _known(decision.workload), decision.old
        settings = self.settings(decision.environment)
        keyring, revocations = self._trust.load(decision.time)
        decision = replace(decision, keyring_version=keyring.version)
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
        )
        if decision.lineage is not None:
            found = follow(decision.lineage, workload, self._history, situation)
            if isinstance(found, Precedent):
                return self._inherit(decision, found, situation)
            decision = _with_note(replace(decision, lineage=None), found)
        situation = replace(
            situation,
            ceiling=self._ceiling(decision, workload),
            model_seen=self._history.model_seen(environment=decision.environment, model=workload.model.name),
        )
        past = Past()
        if old is not None:
            past = recall(workload, (workload.name, decision.request.name), self._history, situation)
            situation = replace(situation, precedent=past.precedent, withdrawn=past.withdrawn, recorded=past.asked)
        findings = examine(workload, old, situation)
        if (told := tell(findings, past)) is not None:
            decision = _with_note(decision, told)
        return replace(decision, findings=findings, change=findings.change)

    def _inherit(self, decision: Decision, precedent: Precedent, situation: Situation) -> Decision:
        """What a controller made of approved content is let through by what was approved."""
        workload = _known(decision.workload)
        child = replace(workload, model=precedent.model)
        findings = examine_child(child, precedent, situation, scale=classify_change(workload, decision.old)[1])
        return replace(decision, workload=child, findings=findings, change=findings.change)

    def _ceiling(self, decision: Decision, workload: Workload) -> Ceiling:
        if workload.kind in {"Pod", "Job", "CronJob", "DaemonSet"}:  # nothing scales these
            return Ceiling(known=True)
        # Autoscalers know an object by its own name, also where approvals know it by the prefix it was made from.
        metadata = _known(decision.request.object)["metadata"]
        name = metadata.get("name") or decision.request.name or workload.name
        return self._cluster_facts.autoscaler_ceiling(namespace=workload.namespace, kind=workload.kind, name=name)

    def _judge(self, decision: Decision, deadline: Deadline) -> Decision:
        # 8. Judge
        findings = _known(decision.findings)
        if findings.adoptable and (anew := self._adopt(decision, findings, deadline)) is not None:
            return anew
        return self._judged(decision, self._engine.decide(findings.document, deadline_s=deadline.remaining_s()))

    def _adopt(self, decision: Decision, findings: Findings, deadline: Deadline) -> Decision | None:
        """What runs without an approval in the record, and is approved now: only if it passes like something new.

        None where it does not: what it brings changes nothing then.
        """
        anew = adopted(findings)
        policy = self._engine.decide(anew.document, deadline_s=deadline.remaining_s())
        if not policy.allowed or policy.mode != "enforce" or set(policy.required_roles) - set(policy.granted_roles):
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
            notes=(*policy.notes, *(() if told else decision.notes)),
        )

    def _record(self, decision: Decision, deadline: Deadline, *, latency_us: int) -> Decision:
        if self._recorder is None or decision.request.dry_run:
            return decision
        try:
            return self._keep(self._recorder, decision, _attachments(decision), deadline, latency_us=latency_us)
        except (AuditError, DeadlineExceeded) as error:
            refused = self._unrecorded(decision, error)
            if error.code != "record_too_large":
                return refused
        try:  # what is too large to be kept beside the record is refused, and the refusal is kept
            return self._keep(self._recorder, refused, {}, deadline, latency_us=latency_us)
        except (AuditError, DeadlineExceeded) as error:
            return self._unrecorded(refused, error)

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
        recorded = recorder.keep(
            decision,
            cluster=self._cluster,
            engine=self._engine,
            data_digest=self._policy_data.digest,
            attachments=attachments,
            latency_us=latency_us,
            deadline_s=deadline.remaining_s(),
        )
        if recorded.replayed:  # the same request was decided at the same time, and that decision came first
            return self._replayed(decision, recorded)
        return replace(decision, recorded=recorded)

    def _unrecorded(self, decision: Decision, error: PlacetError) -> Decision:
        """An allow that can't be recorded is a deny; a denial is answered all the same, and says so."""
        told = {item.code for item in decision.violations}
        problems = () if error.code in told else (gate_violation("record", error),)
        return replace(decision, allowed=False, violations=(*decision.violations, *problems), recorded=None)

    def _replayed(self, decision: Decision, stored: Receipt) -> Decision:
        """A request that was decided before gets the answer that the record holds."""
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
            recorded=stored,
        )


def _is_going(old: Mapping[str, Any] | None) -> bool:
    """Whether the object is being deleted, by the API server's own mark, which no request can set or take away."""
    return bool(((old or {}).get("metadata") or {}).get("deletionTimestamp"))


def _same(workload: Workload, old: Workload) -> bool:
    """Whether an update leaves all that could call for its parents as it was."""
    return classify_change(workload, old)[0] == "unchanged" and workload.approvals == old.approvals


def _with_note(decision: Decision, stray: Stray) -> Decision:
    return replace(decision, notes=(*decision.notes, remark(stray.code, stray.sentence, stray.hint)))


def _attachments(decision: Decision) -> dict[str, bytes]:
    """What is kept beside the record, erasable: what was judged, and the content, without env values."""
    if decision.findings is None:
        return {}
    if decision.lineage is not None:  # its content is that of its parent, which is kept once
        return {"input": render_canonical(decision.findings.document)}
    return {
        "input": render_canonical(decision.findings.document),
        "content": render_canonical(redact(decision.findings.workload.projection.canonical)),
    }


def _known(value: _T | None) -> _T:
    if value is None:
        raise PlacetError("a step ran before the one that it needs", code="internal_error")
    return value
