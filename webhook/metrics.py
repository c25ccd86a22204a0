"""What the gate counts. No text that a user chose is ever a label: each label's values are listed or capped."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    disable_created_metrics,
    generate_latest,
)

from placet.approvals.rejections import RejectionCode
from placet.breakglass.passage import RULE, TEAMS_CODES
from placet.canary import ADMITTED, REFUSED_BY_US
from placet.decision import GUARD, Decision
from placet.exemptions.survey import STATES
from placet.informer.informer import Informer
from placet.model import LEVELS, ROLES
from placet.spool.spool import Spool
from webhook.metric_list import (
    APPEND,
    BREAK_GLASS,
    BREAK_GLASS_WAITING,
    CANARY_ADMITTED,
    CANARY_RUNS,
    CANARY_UNDECIDED,
    CERTIFICATE_EXPIRY,
    CHECKPOINT_AGE,
    CONNECTIONS,
    DENIALS,
    DRIFTS,
    DURATION,
    EXEMPTED,
    EXEMPTIONS,
    EXPIRING,
    EXPORT_CONFLICT,
    EXPORTED_SIZE,
    FETCHES,
    KEYRING_EXPIRY,
    LOOKUP_AGE,
    LOOKUP_ANSWERS,
    LOOKUP_BYTES,
    LOOKUP_LEFT_OUT,
    LOOKUP_OBJECTS,
    METRICS,
    OVERLOAD,
    POLICY,
    POLICY_INFO,
    PUBLISH_BEHIND,
    PUBLISH_FAILING,
    PUBLISHED,
    READY,
    RECORDS,
    REFUSALS,
    RELOADS,
    REQUESTS,
    SERVER_EVENTS,
    SIGNATURES,
    SPOOL_BYTES,
    SPOOL_DENIALS,
    SPOOL_FULL,
    SPOOL_WAITING,
    STALE,
    UNRECORDED,
    WAITING,
    WOULD_DENY,
    WRITE_FAILURES,
    Metric,
)
from webhook.server_state import OVERLOADS, ServerState

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
EXPIRING_WITHIN: Final = timedelta(days=7)
_MAX_APPROVALS: Final = 10_000
_MAX_CODES: Final = 128
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_REJECTIONS: Final = frozenset(RejectionCode)
_MODES: Final = frozenset({"enforce", "warn", "audit"})
_SPOOLED: Final = ("kept", "recorded", "lost", "set_aside")


# A second series for each, of the time that the process began.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """One process's metrics, in a registry of their own. Thread-safe; children of labels are looked up once."""

    def __init__(self, *, clock: Callable[[], datetime]) -> None:
        """Register every metric.

        Args:
            clock: aware UTC.
        """
        self.registry = CollectorRegistry()
        self._clock = clock
        self._lock = threading.Lock()
        self._made = {metric.name: self._make(metric) for metric in METRICS}
        self._children: dict[tuple[str, ...], Any] = {}
        self._codes: set[str] = set()
        self._approvals: dict[str, datetime] = {}
        self._environments: frozenset[str] = frozenset()
        self._observe_review = self._made[DURATION.name].observe
        self._observe_append = self._made[APPEND.name].observe
        self.policy_evaluated: Callable[[float], None] = self._made[POLICY.name].observe
        self._made[EXPIRING.name].set_function(self._expiring)
        self._made[CHECKPOINT_AGE.name].set(float("nan"))
        self._canaries: set[tuple[str, str]] = set()
        self._server: ServerState | None = None
        self._informer: Informer | None = None
        self._lookups = (0, 0)
        self._spool: Spool | None = None
        self._server_counts: dict[tuple[str, str], int] = {}
        for reason in OVERLOADS:  # an increase from nothing is none to Prometheus
            self._child(OVERLOAD, reason)

    def render(self) -> bytes:
        """The text of a scrape, of ``CONTENT_TYPE``."""
        self._ask_server()
        self._ask_informer()
        self._ask_spool()
        return generate_latest(self.registry)

    def decided(self, decision: Decision, *, seconds: float) -> None:
        """A review was answered."""
        known = decision.environment in self._environments or decision.environment == GUARD
        environment = decision.environment if known else "unknown"
        level = "none" if decision.findings is None else decision.findings.assessment.level
        self._child(
            REQUESTS,
            "allow" if decision.allowed else "deny",
            decision.mode if decision.mode in _MODES else "unknown",
            environment,
            level if level in LEVELS else "none",
            "true" if decision.request.dry_run else "false",
        ).inc()
        self._observe_review(seconds)
        for item in decision.violations:
            if item.rule.startswith("gate.") and not (item.rule == RULE and item.code in TEAMS_CODES):
                self._child(DENIALS, self._known(item.code)).inc()
        if decision.tolerated:
            mode = "audit" if any(item.mode == "audit" for item in decision.tolerated) else "warn"
            self._child(WOULD_DENY, environment, mode, "true" if decision.request.dry_run else "false").inc()
        fresh = decision.recorded is not None and not decision.recorded.replayed
        if fresh and decision.passage is not None and decision.passage.by == "token":
            self._child(BREAK_GLASS, environment).inc()
        if decision.recorded is None and decision.spooled is None and not decision.request.dry_run:
            self._made[UNRECORDED.name].inc()
        if decision.findings is not None:
            self._checked(decision)
        if decision.exemption is not None and not decision.request.dry_run:
            self._child(EXEMPTED, environment).inc()

    def _checked(self, decision: Decision) -> None:
        approvals = decision.findings.approvals if decision.findings is not None else None
        for good in approvals.verified if approvals is not None else ():
            self._child(SIGNATURES, good.role, "verified").inc()
            if decision.allowed and not decision.request.dry_run:
                self.approval_counts(good.approval_id, good.expires)
        for bad in approvals.rejected if approvals is not None else ():
            role = bad.role if bad.role in ROLES else "unknown"
            self._child(SIGNATURES, role, bad.code if bad.code in _REJECTIONS else "other").inc()

    def undecided(self, code: str) -> None:
        """A review was refused because of a fault of the gate's own."""
        self._child(DENIALS, self._known(code)).inc()
        self._made[UNRECORDED.name].inc()

    def refused(self, code: str) -> None:
        """A call was answered with 4xx."""
        self._child(REFUSALS, self._known(code)).inc()

    def appended(self, code: str, seconds: float) -> None:
        """An append has ended; its code is "" when the record is durable."""
        self._observe_append(seconds)
        if code:
            self._child(WRITE_FAILURES, self._known(code)).inc()
        else:
            self._made[RECORDS.name].inc()

    def engine_drifted(self) -> None:
        """OPA held something else than it was given."""
        self._made[DRIFTS.name].inc()

    def approval_counts(self, approval_id: str, expires: datetime) -> None:
        """An approval lets a workload run."""
        with self._lock:
            if approval_id in self._approvals or len(self._approvals) < _MAX_APPROVALS:
                self._approvals[approval_id] = expires

    def reloaded(self, result: str) -> None:
        """A change was noticed; ``applied``, ``unchanged`` or ``refused_<part>``."""
        self._child(RELOADS, self._known(result)).inc()

    def policies_fetched(self, result: str) -> None:
        """A look at where policies come from has ended; ``unchanged``, ``fetched`` or ``refused``."""
        self._child(FETCHES, self._known(result)).inc()

    def judging_with(self, *, revision: str, data_digest: str, environments: Iterable[str]) -> None:
        """These policies and data are in force from now on."""
        self._environments = frozenset(environments)
        info = self._made[POLICY_INFO.name]
        info.clear()
        info.labels(revision, data_digest).set(1)

    def reviews_wait(self, *, due: int, overdue: int) -> None:
        """So many uses of break-glass have not been reviewed."""
        self._child(BREAK_GLASS_WAITING, "due").set(due)
        self._child(BREAK_GLASS_WAITING, "overdue").set(overdue)

    def keyring_expires(self, moment: datetime | None) -> None:
        """The keyring in force."""
        self._made[KEYRING_EXPIRY.name].set(0 if moment is None else moment.timestamp())

    def exemptions_stand(self, states: Mapping[str, int]) -> None:
        """How many exemptions there are in each state."""
        for state in (*STATES, "unreadable"):
            self._child(EXEMPTIONS, state).set(states.get(state, 0))

    def checkpoint_signed(self, moment: datetime) -> None:
        """A checkpoint was signed or confirmed."""
        self._made[CHECKPOINT_AGE.name].set_function(lambda: max(0.0, (self._clock() - moment).total_seconds()))

    def canaries(self, namespaces: Mapping[str, str]) -> None:
        """Canaries are sent into these namespaces from now on, namespace -> environment; the others are forgotten."""
        for gone in self._canaries - namespaces.items():
            self._made[CANARY_ADMITTED.name].remove(*gone)
            self._made[CANARY_UNDECIDED.name].remove(*gone)
        for new in namespaces.items() - self._canaries:
            self._made[CANARY_ADMITTED.name].labels(*new).set(0)
            self._undecided_since(new, self._clock())
        self._canaries = set(namespaces.items())

    def canary_seen(self, namespace: str, environment: str, outcome: str) -> None:
        """What became of a canary; ``outcome`` is one of ``placet.canary.OUTCOMES``."""
        canary = (namespace, environment)
        self._made[CANARY_RUNS.name].labels(*canary, outcome).inc()
        if canary in self._canaries and outcome in {ADMITTED, REFUSED_BY_US}:
            self._made[CANARY_ADMITTED.name].labels(*canary).set(int(outcome == ADMITTED))
            self._undecided_since(canary, self._clock())

    def _undecided_since(self, canary: tuple[str, str], moment: datetime) -> None:
        self._made[CANARY_UNDECIDED.name].labels(*canary).set_function(
            lambda: max(0.0, (self._clock() - moment).total_seconds())
        )

    def part(self, part: str, *, ready: bool, stale: bool) -> None:
        """How a part stands; parts are those of webhook/readiness.py."""
        self._child(READY, part).set(int(ready))
        self._child(STALE, part).set(int(stale))

    def follow_server(self, server: ServerState) -> None:
        """Show what only the server knows, from now on."""
        self._server = server

    def follow_informer(self, informer: Informer | None) -> None:
        """Show how its memory stands, from now on."""
        self._informer = informer

    def follow_spool(self, spool: Spool | None) -> None:
        """Show how it stands, from now on."""
        self._spool = spool
        for outcome in () if spool is None else _SPOOLED:  # an increase from nothing is none to Prometheus
            self._child(SPOOL_DENIALS, outcome)

    def published(self, kind: str, outcome: str, number: int) -> None:
        """Something was shown in the cluster, or was not; both words are those of the list of metrics."""
        self._child(PUBLISHED, self._known(kind), self._known(outcome)).inc(number)

    def publishing(self, part: str, *, failing: bool, behind: int | None = None) -> None:
        """How publishing stands; ``part`` is ``publish``, ``export`` or ``notices``."""
        self._child(PUBLISH_FAILING, part).set(int(failing))
        if behind is not None:
            self._made[PUBLISH_BEHIND.name].set(behind)

    def checkpoint_exported(self, size: int, *, conflict: bool) -> None:
        """How the exported checkpoint stands."""
        self._made[EXPORTED_SIZE.name].set(size)
        self._made[EXPORT_CONFLICT.name].set(int(conflict))

    def add(self, metric: Metric, *labels: str, number: float = 1) -> None:
        """Count so many of a metric whose labels are words of our source."""
        (self._child(metric, *labels) if labels else self._made[metric.name]).inc(number)

    def show(self, metric: Metric, *labels: str, number: float) -> None:
        """Set a metric; labels that change are made anew, see :meth:`forget`."""
        (self._made[metric.name].labels(*labels) if labels else self._made[metric.name]).set(number)

    def forget(self, metric: Metric) -> None:
        """Show none of a metric's series any more."""
        self._made[metric.name].clear()

    def _ask_spool(self) -> None:
        if self._spool is None:
            return
        found = self._spool.standing()
        self._made[SPOOL_WAITING.name].set(found.waiting)
        self._made[SPOOL_BYTES.name].set(found.bytes)
        self._made[SPOOL_FULL.name].set(int(found.full))
        with self._lock:  # as above
            for outcome in _SPOOLED:
                self._add(SPOOL_DENIALS, outcome, getattr(found, outcome))

    def _ask_informer(self) -> None:
        if self._informer is None:
            return
        for one in self._informer.standings():
            self._child(LOOKUP_AGE, one.resource).set(one.age_s)
            self._child(LOOKUP_OBJECTS, one.resource).set(one.objects)
            self._child(LOOKUP_BYTES, one.resource).set(one.bytes)
            self._child(LOOKUP_LEFT_OUT, one.resource).set(one.left_out)
        with self._lock:  # as above
            found = self._informer.answers()
            for answer, now, before in zip(("remembered", "not_remembered"), found, self._lookups, strict=True):
                self._child(LOOKUP_ANSWERS, answer).inc(now - before)
            self._lookups = found

    def _ask_server(self) -> None:
        server = self._server
        if server is None:
            return
        self._made[CONNECTIONS.name].set(server.connections)
        self._made[WAITING.name].set(server.waiting)
        for kind, moment in server.certificate_expiries().items():
            self._child(CERTIFICATE_EXPIRY, self._known(kind)).set(moment.timestamp())
        with self._lock:  # two scrapes at once must not count an event twice
            for metric, counts in ((SERVER_EVENTS, server.events), (OVERLOAD, server.overloads)):
                for label, count in list(counts.items()):
                    self._add(metric, label, count)
        for code, count in list(server.refusals.items()):
            label = self._known(code)
            with self._lock:
                self._add(REFUSALS, label, count)

    def _add(self, metric: Metric, label: str, count: int) -> None:
        """Count what the server has counted since the last scrape."""
        known = (metric.name, label)
        self._child(metric, label).inc(count - self._server_counts.get(known, 0))
        self._server_counts[known] = count

    def _make(self, metric: Metric) -> Any:
        options: dict[str, Any] = {"buckets": metric.buckets} if metric.buckets else {}
        return metric.kind(metric.name, metric.meaning, metric.labels, registry=self.registry, **options)

    def _child(self, metric: Metric, *values: str) -> Any:
        key = (metric.name, *values)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._made[metric.name].labels(*values)
        return child

    def _known(self, code: str) -> str:
        """Codes are words of our source; should another word ever come, it and what exceeds the cap are ``other``."""
        if code in self._codes:
            return code
        with self._lock:
            if len(self._codes) >= _MAX_CODES or not _CODE.fullmatch(code):
                return "other"
            self._codes.add(code)
        return code

    def _expiring(self) -> float:
        now = self._clock()
        with self._lock:
            for gone in [one for one, expires in self._approvals.items() if expires <= now]:
                del self._approvals[gone]
            return sum(expires - now <= EXPIRING_WITHIN for expires in self._approvals.values())
