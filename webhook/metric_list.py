"""Every metric of the gate: its name, type, labels and meaning, as it is registered and documented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

_REVIEW_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_POLICY_S: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5)
_APPEND_S: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)


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
    Counter,
    "placet_unrecorded_denials",
    "Refusals that could be kept neither in the record nor in the spool; each is logged as an error.",
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
FETCHES: Final = Metric(
    Counter, "placet_policy_fetches", "Looks at `policy.bundle_source`: `unchanged`, `fetched`, or `refused`, where "
    "what was in force before stays in force.",
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
SPOOL_WAITING: Final = Metric(
    Gauge, "placet_spool_waiting", "Denials that wait on this process's disk to be recorded. Shown with `record.spool`."
)
SPOOL_BYTES: Final = Metric(Gauge, "placet_spool_bytes", "Bytes that they take.")
SPOOL_FULL: Final = Metric(
    Gauge, "placet_spool_full", "1 where the last denial that the record did not take found no room in the spool."
)
SPOOL_DENIALS: Final = Metric(
    Counter, "placet_spool_denials", "Denials that the record did not take at once, by what became of them: `kept` in "
    "the spool, `recorded` from there, `lost` (no room, or the disk failed; each is logged in full), `set_aside` "
    "(damaged, or the record refuses it for good).", ("outcome",),
)  # fmt: skip
PUBLISHED: Final = Metric(
    Counter, "placet_published", "What this process has shown of the record in the cluster, by `kind` (`event`, "
    "`decisions`, `report`) and what became of it: `created`, `updated`, `unchanged`, `removed`, `left_out` (no room, "
    "or, of a `leaf`, too much to make up for), `gone` (the namespace or the kind), `forbidden`, `refused`, `failed`. "
    "Shown with `record.publish`, and of Events about the gate's own policies.", ("kind", "outcome"),
)  # fmt: skip
PUBLISH_BEHIND: Final = Metric(
    Gauge, "placet_publish_behind", "Leaves of the record that are not published yet; 0 where another replica "
    "publishes.",
)  # fmt: skip
PUBLISH_FAILING: Final = Metric(
    Gauge, "placet_publish_failing", "1 where the last attempt failed: `publish`, `export` of checkpoints, or "
    "`notices`, Events about the gate's own policies. No answer waits for any.", ("part",),
)  # fmt: skip
EXPORTED_SIZE: Final = Metric(
    Gauge, "placet_checkpoint_exported_size", "Leaves under the newest checkpoint that is known to be exported."
)
EXPORT_CONFLICT: Final = Metric(
    Gauge, "placet_checkpoint_export_conflict", "1 where the exported checkpoint is none that the record led to: it "
    "was rolled back, or there are two. Nothing is written over it.",
)  # fmt: skip
SHADOW_INFO: Final = Metric(
    Gauge, "placet_shadow_info", "1 for the policies (`revision`) and the policy data (`data`) that are tried on live "
    "reviews; none where nothing is tried.", ("revision", "data"),
)  # fmt: skip
SHADOW_REVIEWS: Final = Metric(
    Counter, "placet_shadow_reviews", "Reviews that were judged by what `policy.shadow` names, by what came of them: "
    "`agreed`, `stricter`, `looser`, `mixed` (it asks for other things), `error` (it gave no answer).", ("outcome",),
)  # fmt: skip
SHADOW_SHED: Final = Metric(
    Counter, "placet_shadow_shed", "Reviews that were not put to it, by reason: `full` (too many waited), `size` (too "
    "large to wait), `stopped` (it was not its turn yet when the shadow ended).", ("reason",),
)  # fmt: skip
SHADOW_DISAGREEMENTS: Final = Metric(
    Counter, "placet_shadow_disagreements", "Reviews that it answered otherwise, by the gravest thing that differs: "
    "`newly_refused`, `newly_admitted`, `token_needless`, `roles`, `reasons`, `warnings`, `shadow_error`.",
    ("change",),
)  # fmt: skip
SHADOW_LEAVES: Final = Metric(
    Counter, "placet_shadow_leaves", "Records of what was tried: `recorded`; `unlisted` disagreements that are only "
    "counted, since there were too many in one window; `lost` records that the store did not take.", ("outcome",),
)  # fmt: skip
SHADOW_LOADS: Final = Metric(
    Counter, "placet_shadow_loads", "What became of candidates: `begun`, `ended`, `refused`, or `judge_lost`, where "
    "the process that judges ended or did not answer and is started again.", ("result",),
)  # fmt: skip
SHADOW_FETCHES: Final = Metric(
    Counter, "placet_shadow_fetches", "Looks at `policy.shadow.source`: `unchanged`, `fetched`, or `refused`.",
    ("result",),
)  # fmt: skip
SHADOW_WAITING: Final = Metric(Gauge, "placet_shadow_waiting", "Reviews that wait to be put to it.")
SHADOW_CPU: Final = Metric(
    Counter, "placet_shadow_cpu_seconds", "Time of a processor that its judgements took, in a process of their own."
)
METRICS: Final = (
    REQUESTS, DURATION, POLICY, DRIFTS, SIGNATURES, EXPIRING, DENIALS, UNRECORDED, REFUSALS, RECORDS, APPEND,
    EXEMPTED, EXEMPTIONS, WRITE_FAILURES, CHECKPOINT_AGE, RELOADS, FETCHES, POLICY_INFO, KEYRING_EXPIRY,
    CERTIFICATE_EXPIRY, READY, STALE, CANARY_RUNS, CANARY_ADMITTED, CANARY_UNDECIDED, CONNECTIONS, WAITING,
    SERVER_EVENTS, OVERLOAD,
    LOOKUP_AGE, LOOKUP_OBJECTS, LOOKUP_BYTES, LOOKUP_LEFT_OUT, LOOKUP_ANSWERS,
    BREAK_GLASS, BREAK_GLASS_WAITING, WOULD_DENY, SPOOL_WAITING, SPOOL_BYTES, SPOOL_FULL, SPOOL_DENIALS,
    PUBLISHED, PUBLISH_BEHIND, PUBLISH_FAILING, EXPORTED_SIZE, EXPORT_CONFLICT,
    SHADOW_INFO, SHADOW_REVIEWS, SHADOW_SHED, SHADOW_DISAGREEMENTS, SHADOW_LEAVES, SHADOW_LOADS, SHADOW_FETCHES,
    SHADOW_WAITING, SHADOW_CPU,
)  # fmt: skip


def render_table() -> str:
    """Every metric, for docs/operations-metrics.md."""
    rows = "\n".join(
        f"| `{one.exposed_name}` | {one.kind.__name__.lower()} | {', '.join(f'`{label}`' for label in one.labels)} "
        f"| {one.meaning} |"
        for one in METRICS
    )
    return f"| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}\n"
