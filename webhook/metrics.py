"""What the gate counts. No text that a user chose is ever a label: each label's values are listed or capped."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
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
from webhook.server_state import OVERLOADS, ServerState

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
EXPIRING_WITHIN: Final = timedelta(days=7)
_MAX_APPROVALS: Final = 10_000
_MAX_CODES: Final = 128
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_REVIEW_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_POLICY_S: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5)
_APPEND_S: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
_REJECTIONS: Final = frozenset(RejectionCode)
_MODES: Final = frozenset({"enforce", "warn", "audit"})


# A second series for each, of the time that the process began.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, as it is registered and as docs/operations-metrics.md lists it.

    Attributes:
        kind: ``Counter``, ``Gauge`` or ``Histogram`` of prometheus_client.
        name: without ``_total``, which the library adds to counters.
        labels: names of its labels.
        meaning: a sentence.
        buckets: of a histogram, upper bounds in seconds.
    """

    kind: Any
    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def exposed_name(self) -> str:
        """As a scrape shows it."""
        return f"{self.name}_total" if self.kind is Counter else self.name


REQUESTS: Final = Metric(
    Counter, "placet_admission_requests", "Reviews that were answered with a decision. `environment` is `unknown` "
    "where the policy data has no such one, `guard/namespaces` for Namespaces; `risk` is `none` where nothing was "
    "scored.",
    ("decision", "mode", "environment", "risk", "dry_run"),
)  # fmt: skip
DURATION: Final = Metric(
    Histogram, "placet_admission_duration_seconds", "From the body of a review, read, to its answer.", (), _REVIEW_S
)
POLICY: Final = Metric(
    Histogram, "placet_policy_evaluation_duration_seconds", "One judgement of the policy engine.", (), _POLICY_S
)
DRIFTS: Final = Metric(
    Counter, "placet_engine_drifts", "Times that OPA held other policies or data than the gate had given it, and was "
    "given the gate's again: somebody else writes to it. Policies beside the gate's are not taken away; they make "
    "`placet_ready` of `engine` 0.",
)  # fmt: skip
SIGNATURES: Final = Metric(
    Counter, "placet_signature_verifications", "Approvals that were checked: `verified`, or the code of the rejection.",
    ("role", "result"),
)  # fmt: skip
EXPIRING: Final = Metric(
    Gauge, "placet_approvals_expiring", "Approvals of admitted workloads that stop counting within seven days: those "
    "of the last 1,000 admissions at start, and all since.",
)  # fmt: skip
DENIALS: Final = Metric(
    Counter,
    "placet_gate_denials",
    "Refusals for a reason of the gate's own (`gate.<step>/<code>`), by code; not what is wrong with a break-glass "
    "token, or a review that is overdue.",
    ("code",),
)
UNRECORDED: Final = Metric(
    Counter, "placet_unrecorded_denials", "Refusals that could not be kept in the record; each is logged as an error."
)
EXEMPTED: Final = Metric(
    Counter, "placet_exemptions_used", "Workloads, and what was made of them, that a signed exemption let in, dry runs "
    "left out.", ("environment",),
)  # fmt: skip
EXEMPTIONS: Final = Metric(
    Gauge, "placet_exemptions", "Signed exemptions by how they stand: `in_force`, `ends_soon` (within 14 days), "
    "`ended`, `not_counting` (signers, keys, limits or cluster), `unreadable` files.", ("state",),
)  # fmt: skip
REFUSALS: Final = Metric(
    Counter, "placet_http_refusals", "Calls that were answered with 4xx and no decision, by code.", ("code",)
)
RECORDS: Final = Metric(Counter, "placet_audit_records", "Records that this process made durable.")
APPEND: Final = Metric(
    Histogram, "placet_audit_append_duration_seconds", "One append to the record, until it is durable or has failed.",
    (), _APPEND_S,
)  # fmt: skip
WRITE_FAILURES: Final = Metric(
    Counter, "placet_audit_write_failures", "Appends that failed, by code; each refuses what it was for.", ("code",)
)
CHECKPOINT_AGE: Final = Metric(
    Gauge, "placet_audit_checkpoint_age_seconds", "Since this process last signed a checkpoint; at most about 660 in a "
    "quiet log, where a heartbeat comes every ten minutes. NaN before the first.",
)  # fmt: skip
RELOADS: Final = Metric(
    Counter, "placet_policy_reload", "Changes of configuration, policy data, roots or keyring that were noticed: "
    "`applied`, `unchanged`, or `refused_<part>`, where what was in force before stays in force.",
    ("result",),
)  # fmt: skip
POLICY_INFO: Final = Metric(
    Gauge, "placet_policy_info", "1 for the policies (`revision`) and the policy data (`data`) in force.",
    ("revision", "data"),
)  # fmt: skip
KEYRING_EXPIRY: Final = Metric(
    Gauge, "placet_keyring_expiry_timestamp_seconds", "When the keyring in force expires; 0 when there is none."
)
CERTIFICATE_EXPIRY: Final = Metric(
    Gauge, "placet_certificate_expiry_timestamp_seconds", "When a certificate in use expires.", ("kind",)
)
READY: Final = Metric(
    Gauge, "placet_ready", "Whether a part lets this gate decide rightly; any 0 makes /readyz answer 503.", ("part",)
)
STALE: Final = Metric(
    Gauge, "placet_stale", "1 where /readyz warns of a part: a newer file was refused and the older one stays in "
    "force, a revocation that stays in force has no file any more, or the record is late.", ("part",)
)  # fmt: skip
CANARY_RUNS: Final = Metric(
    Counter, "placet_canary_runs", "Canaries that were sent, by what became of them: `refused_by_us`, `admitted`, "
    "`refused_by_other`, `unreachable`. `canary` is the namespace that the configuration names.",
    ("canary", "environment", "outcome"),
)  # fmt: skip
CANARY_ADMITTED: Final = Metric(
    Gauge, "placet_canary_admitted", "1 where the last canary whose fate is known was admitted: what nobody approved "
    "gets in. 0 where this gate refused it.", ("canary", "environment"),
)  # fmt: skip
CANARY_UNDECIDED: Final = Metric(
    Gauge, "placet_canary_undecided_seconds", "Since the last canary whose fate is known (refused by this gate, or "
    "admitted), or since this process began to send them.", ("canary", "environment"),
)  # fmt: skip
CONNECTIONS: Final = Metric(Gauge, "placet_connections_open", "Connections of the TLS port, handshakes included.")
WAITING: Final = Metric(Gauge, "placet_reviews_waiting", "Reviews that wait for a thread.")
SERVER_EVENTS: Final = Metric(
    Counter, "placet_server_events", "What the server did by itself: `overloaded` (503), `evicted`, "
    "`handshake_failed`, `timed_out`, `refused` (4xx), `crashed` (500), `certificate_reloaded`, "
    "`certificate_reload_failed`.",
    ("event",),
)  # fmt: skip
LOOKUP_AGE: Final = Metric(
    Gauge, "placet_lookup_cache_age_seconds", "How old what is remembered of a kind may be: since the moment up to "
    "which all changes are known to have been heard. +Inf where none is known. Shown with `lookups.cache: informer`.",
    ("resource",),
)  # fmt: skip
LOOKUP_OBJECTS: Final = Metric(Gauge, "placet_lookup_cache_objects", "Objects that are remembered.", ("resource",))
LOOKUP_BYTES: Final = Metric(Gauge, "placet_lookup_cache_bytes", "Bytes that they take, as JSON.", ("resource",))
LOOKUP_LEFT_OUT: Final = Metric(
    Gauge, "placet_lookup_cache_left_out", "Times since the last list that an object had no room, and is looked up.",
    ("resource",),
)  # fmt: skip
LOOKUP_ANSWERS: Final = Metric(
    Counter, "placet_lookup_cache_answers", "Parents of parents that were asked for: `remembered`, or "
    "`not_remembered`, where the API server is asked.", ("answer",),
)  # fmt: skip
OVERLOAD: Final = Metric(
    Counter, "placet_overload", "Times that there was too much, by reason: the `line` of waiting reviews was full, a "
    "review waited too long (`late`), `bodies` took too much memory, each answered 503 with `Retry-After`; "
    "`connections` or `handshakes` ended one that was missed least.",
    ("reason",),
)  # fmt: skip
BREAK_GLASS: Final = Metric(
    Counter, "placet_break_glass", "Workloads that a break-glass token let in; dry runs and what controllers make of "
    "them are not counted.", ("environment",),
)  # fmt: skip
BREAK_GLASS_WAITING: Final = Metric(
    Gauge, "placet_break_glass_reviews_waiting", "What break-glass let in and nobody has reviewed yet, by the record: "
    "`due`, or `overdue`, when no more of the workload is deployed.", ("state",),
)  # fmt: skip
WOULD_DENY: Final = Metric(
    Counter, "placet_would_deny", "Reviews that were allowed only because a mode warns or audits where `enforce` would "
    "have refused. `mode` is the weaker of those that let it in.", ("environment", "mode", "dry_run"),
)  # fmt: skip
METRICS: Final = (
    REQUESTS, DURATION, POLICY, DRIFTS, SIGNATURES, EXPIRING, DENIALS, UNRECORDED, REFUSALS, RECORDS, APPEND,
    EXEMPTED, EXEMPTIONS, WRITE_FAILURES, CHECKPOINT_AGE, RELOADS, POLICY_INFO, KEYRING_EXPIRY, CERTIFICATE_EXPIRY,
    READY, STALE, CANARY_RUNS, CANARY_ADMITTED, CANARY_UNDECIDED, CONNECTIONS, WAITING, SERVER_EVENTS, OVERLOAD,
    LOOKUP_AGE, LOOKUP_OBJECTS, LOOKUP_BYTES, LOOKUP_LEFT_OUT, LOOKUP_ANSWERS,
    BREAK_GLASS, BREAK_GLASS_WAITING, WOULD_DENY,
)  # fmt: skip


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
        self._server_counts: dict[tuple[str, str], int] = {}
        for reason in OVERLOADS:  # an increase from nothing is none to Prometheus
            self._child(OVERLOAD, reason)

    def render(self) -> bytes:
        """The text of a scrape, of ``CONTENT_TYPE``."""
        self._ask_server()
        self._ask_informer()
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
        if decision.recorded is None and not decision.request.dry_run:
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


def render_table() -> str:
    """Every metric, for docs/operations-metrics.md."""
    rows = "\n".join(
        f"| `{one.exposed_name}` | {one.kind.__name__.lower()} | {', '.join(f'`{label}`' for label in one.labels)} "
        f"| {one.meaning} |"
        for one in METRICS
    )
    return f"| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}\n"
