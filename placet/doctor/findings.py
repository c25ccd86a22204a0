"""What may be found in a cluster: one table of codes, from which the documentation is made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How bad it is. Only holes and risks make the exit status 1; what could not be looked at is never a pass."""

    HOLE = "hole"
    RISK = "risk"
    UNKNOWN = "unknown"
    NOTE = "note"


class Code(StrEnum):
    """Stable and machine-readable. Never renamed, never given another meaning."""

    NO_CONFIGURATION = "no_configuration"
    NO_ENTRY = "no_entry"
    FAILS_OPEN = "fails_open"
    MATCHES_EXACTLY = "matches_exactly"
    TIMEOUT_ODD = "timeout_odd"
    SIDE_EFFECTS_ODD = "side_effects_odd"
    RULES_MISSING = "rules_missing"
    VERSION_UNMATCHED = "version_unmatched"
    OBJECT_SELECTOR = "object_selector"
    MATCH_CONDITION = "match_condition"
    PATH_UNKNOWN = "path_unknown"
    GUARD_MISSING = "guard_missing"
    GUARD_INCOMPLETE = "guard_incomplete"
    SERVERS_DIFFER = "servers_differ"
    NAMESPACE_UNCOVERED = "namespace_uncovered"
    NAMESPACE_TWICE = "namespace_twice"
    SELECTOR_GAP = "selector_gap"
    SELECTOR_OPT_OUT = "selector_opt_out"
    SELECTOR_OVERLAP = "selector_overlap"
    ENVIRONMENT_DIFFERS = "environment_differs"
    ENVIRONMENT_UNKNOWN = "environment_unknown"
    ENVIRONMENT_WITHOUT_ENTRY = "environment_without_entry"
    ENVIRONMENT_UNCHECKED = "environment_unchecked"
    ENVIRONMENT_BELIEVED = "environment_believed"
    PUBLISHING_FORBIDDEN = "publishing_forbidden"
    CA_MISSING = "ca_missing"
    CA_INVALID = "ca_invalid"
    CA_EXPIRES = "ca_expires"
    CA_MISFIT = "ca_misfit"
    CERTIFICATE_EXPIRES = "certificate_expires"
    CERTIFICATE_NAME = "certificate_name"
    CERTIFICATE_UNSEEN = "certificate_unseen"
    SERVICE_MISSING = "service_missing"
    NO_ENDPOINTS = "no_endpoints"
    DEPLOYMENT_MISSING = "deployment_missing"
    DEPLOYMENT_UNAVAILABLE = "deployment_unavailable"
    SINGLE_REPLICA = "single_replica"
    NO_DISRUPTION_BUDGET = "no_disruption_budget"
    VERSION_SKEW = "version_skew"
    MUTATES_WORKLOADS = "mutates_workloads"
    RBAC_EVERYTHING = "rbac_everything"
    RBAC_WEBHOOKS = "rbac_webhooks"
    RBAC_GATE = "rbac_gate"
    RBAC_NAMESPACES = "rbac_namespaces"
    RBAC_ESCALATION = "rbac_escalation"
    RBAC_NODES = "rbac_nodes"
    RBAC_KINDS = "rbac_kinds"
    RBAC_VOLUMES = "rbac_volumes"
    RBAC_UNGOVERNED = "rbac_ungoverned"
    KIND_UNREGISTERED = "kind_unregistered"
    KIND_OPAQUE = "kind_opaque"
    KIND_VERSION_UNKNOWN = "kind_version_unknown"
    KIND_ABSENT = "kind_absent"
    CANARY_ADMITTED = "canary_admitted"
    CANARY_UNDECIDED = "canary_undecided"
    WOULD_BE_REFUSED = "would_be_refused"
    KEYRING_EXPIRES = "keyring_expires"
    KEYRING_UNUSABLE = "keyring_unusable"
    EXEMPTION_ENDS = "exemption_ends"
    EXEMPTION_UNUSABLE = "exemption_unusable"
    EXEMPTION_UNUSED = "exemption_unused"
    POLICIES_OWN = "policies_own"
    POLICIES_OFFERED = "policies_offered"
    POLICIES_UNSIGNED = "policies_unsigned"
    POLICIES_REFUSED = "policies_refused"
    POLICIES_UNREACHABLE = "policies_unreachable"
    NO_CONFIG = "no_config"
    NOT_READ = "not_read"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code means.

    Attributes:
        severity: of every finding of this code.
        why: why it matters, a sentence.
        remedy: what to do, a sentence.
    """

    severity: Severity
    why: str
    remedy: str


_HOLE, _RISK, _UNKNOWN, _NOTE = Severity.HOLE, Severity.RISK, Severity.UNKNOWN, Severity.NOTE
_SELECTORS: Final = "Set `webhook.environments` and `webhook.namespaceSelector` of the chart, and upgrade."
_CERTIFICATE: Final = "Renew the certificate, or set `tls.caBundle` to the authority that issued it, and upgrade."
_RBAC: Final = "Take the right away, or name who may have it with `--trusted`."

MEANINGS: Final = {
    Code.NO_CONFIGURATION: Meaning(
        _HOLE, "The API server asks placet about nothing.", "Install the chart with `webhook.enabled=true`."
    ),
    Code.NO_ENTRY: Meaning(
        _HOLE, "A configuration of placet has no entry that admits workloads.", "Upgrade the chart's release."
    ),
    Code.FAILS_OPEN: Meaning(
        _HOLE,
        "Whenever the gate does not answer in time, everything is admitted, without a record.",
        "Set `webhook.failurePolicy=Fail`.",
    ),
    Code.MATCHES_EXACTLY: Meaning(
        _RISK,
        "A request in another version of the same API is not asked about.",
        "Set matchPolicy to Equivalent, as the chart does.",
    ),
    Code.TIMEOUT_ODD: Meaning(
        _RISK,
        "Too short, and honest deployments are refused under load; too long, and a stalled gate stalls the API server.",
        "Set `webhook.timeoutSeconds` to 5 to 10.",
    ),
    Code.SIDE_EFFECTS_ODD: Meaning(
        _NOTE,
        "The gate writes a record for what is no dry run, which is a side effect.",
        "Set sideEffects to NoneOnDryRun, as the chart does.",
    ),
    Code.RULES_MISSING: Meaning(
        _HOLE,
        "What no rule names is admitted unseen; `*` names no subresource.",
        "Upgrade the chart's release, which names every resource that the gate judges.",
    ),
    Code.VERSION_UNMATCHED: Meaning(
        _HOLE,
        "The API server serves this version, and a request in it is asked about by no rule.",
        "Set matchPolicy to Equivalent, or name the version in the rules.",
    ),
    Code.OBJECT_SELECTOR: Meaning(
        _HOLE,
        "Whoever writes an object chooses its labels, and with them not to be asked about.",
        "Remove objectSelector; exempt workloads in the policy data.",
    ),
    Code.MATCH_CONDITION: Meaning(
        _RISK,
        "A request that does not meet the condition is admitted unseen. The expression is not evaluated here.",
        "Read the expression, and remove it from `webhook.matchConditions` where it leaves out more than it should.",
    ),
    Code.PATH_UNKNOWN: Meaning(
        _RISK, "The gate answers no such path, so every request of this entry fails.", "Upgrade the chart's release."
    ),
    Code.GUARD_MISSING: Meaning(
        _RISK,
        "Whoever may write a Namespace chooses its environment, and nobody is asked.",
        "Upgrade the chart's release.",
    ),
    Code.GUARD_INCOMPLETE: Meaning(
        _HOLE,
        "The label that chooses the environment can be written by a way that the guard does not see.",
        "Upgrade the chart's release.",
    ),
    Code.SERVERS_DIFFER: Meaning(
        _RISK,
        "Some requests are judged by another server, which may not be this gate.",
        "See who changed the entry, and upgrade the chart's release.",
    ),
    Code.NAMESPACE_UNCOVERED: Meaning(
        _HOLE,
        "No entry selects this namespace: whatever is created there is admitted unseen.",
        f"{_SELECTORS[:-1]}; or say with `--excluded` that it is meant.",
    ),
    Code.NAMESPACE_TWICE: Meaning(
        _RISK, "Several entries select this namespace: each request is judged and recorded for each.", _SELECTORS
    ),
    Code.SELECTOR_GAP: Meaning(
        _HOLE,
        "A namespace with this label or name would be selected by no entry: a typo, or intent, opens the door.",
        _SELECTORS,
    ),
    Code.SELECTOR_OPT_OUT: Meaning(
        _HOLE, "Whoever may label a namespace takes it out of the gate's sight with this label.", _SELECTORS
    ),
    Code.SELECTOR_OVERLAP: Meaning(
        _RISK, "A namespace with these labels would be judged by several entries.", _SELECTORS
    ),
    Code.ENVIRONMENT_DIFFERS: Meaning(
        _HOLE,
        "Namespaces of one environment are judged by the policies of another, or refused where the gate looks.",
        _SELECTORS,
    ),
    Code.ENVIRONMENT_UNKNOWN: Meaning(
        _RISK,
        "The policy data have no such environment, so everything there is refused.",
        "Add it to the policy data, or take it out of `webhook.environments`.",
    ),
    Code.ENVIRONMENT_WITHOUT_ENTRY: Meaning(
        _RISK,
        "Its namespaces are sent to the path of the default environment and refused there, or judged by nobody.",
        "Add it to `webhook.environments`.",
    ),
    Code.ENVIRONMENT_UNCHECKED: Meaning(
        _RISK,
        "The gate believes the path that it is asked by: who edits the webhook configuration chooses the environment.",
        "Set `environments=lookup` of the chart, and let the account get namespaces (docs/lookups.md).",
    ),
    Code.ENVIRONMENT_BELIEVED: Meaning(
        _NOTE,
        "With the configuration that was named a gate believes the path that it is asked by.",
        "If it is the one in the cluster: set `environments: lookup` there (docs/lookups.md).",
    ),
    Code.PUBLISHING_FORBIDDEN: Meaning(
        _RISK,
        "What the configuration wants to be seen in the cluster is not there: its absence says nothing.",
        "Set `record.publish` and `record.export` of the chart as the configuration has them, and upgrade.",
    ),
    Code.CA_MISSING: Meaning(
        _RISK, "Without caBundle the API server trusts the authorities of its own system.", _CERTIFICATE
    ),
    Code.CA_INVALID: Meaning(
        _RISK, "The API server can't verify the gate: every governed request fails.", _CERTIFICATE
    ),
    Code.CA_EXPIRES: Meaning(_RISK, "With its authority expired, every governed request fails.", _CERTIFICATE),
    Code.CA_MISFIT: Meaning(
        _RISK,
        "The serving certificate was not issued by an authority of caBundle: every governed request fails.",
        _CERTIFICATE,
    ),
    Code.CERTIFICATE_EXPIRES: Meaning(
        _RISK, "With its certificate expired, every governed request fails.", _CERTIFICATE
    ),
    Code.CERTIFICATE_NAME: Meaning(
        _RISK, "The API server connects to SERVICE.NAMESPACE.svc, which the certificate does not name.", _CERTIFICATE
    ),
    Code.CERTIFICATE_UNSEEN: Meaning(
        _UNKNOWN,
        "Whether caBundle fits the serving certificate, and until when that holds, is not known.",
        "Let the user `get` the Secret, or look at `placet_certificate_expiry_timestamp_seconds`.",
    ),
    Code.SERVICE_MISSING: Meaning(
        _RISK, "The API server can't reach the gate: every governed request fails.", "Upgrade the chart's release."
    ),
    Code.NO_ENDPOINTS: Meaning(
        _RISK,
        "No Pod is ready to answer: every governed request fails.",
        "Read /readyz and the logs of the Pods: docs/operations.md.",
    ),
    Code.DEPLOYMENT_MISSING: Meaning(
        _UNKNOWN, "Who answers behind the Service is not known.", "Look at the Pods that the Service selects."
    ),
    Code.DEPLOYMENT_UNAVAILABLE: Meaning(
        _RISK, "Fewer Pods answer than were asked for.", "`kubectl describe` the Deployment and its Pods."
    ),
    Code.SINGLE_REPLICA: Meaning(
        _NOTE, "While the one Pod restarts, every governed request fails.", "Set `replicaCount=2`."
    ),
    Code.NO_DISRUPTION_BUDGET: Meaning(
        _NOTE, "An eviction may take every Pod at once.", "Set `podDisruptionBudget.enabled=true`; see its note."
    ),
    Code.VERSION_SKEW: Meaning(
        _NOTE, "This command may know other rules than the gate.", "Use the command of the gate's version."
    ),
    Code.MUTATES_WORKLOADS: Meaning(
        _NOTE,
        "What it changes is governed content that nobody approved, unless the approved object has it already.",
        "Approve what it injects (`kubectl apply --dry-run=server -o yaml` shows it), or keep it off model namespaces.",
    ),
    Code.RBAC_EVERYTHING: Meaning(_RISK, "Whoever may do everything may remove the gate.", _RBAC),
    Code.RBAC_WEBHOOKS: Meaning(
        _RISK,
        "Admission webhooks are not asked about webhook configurations: who edits one switches the gate off.",
        _RBAC,
    ),
    Code.RBAC_GATE: Meaning(
        _RISK, "This changes what the gate runs, trusts or records, and the gate is not asked about it.", _RBAC
    ),
    Code.RBAC_NAMESPACES: Meaning(
        _RISK, "The label of a namespace chooses the environment, and with it which approvals are called for.", _RBAC
    ),
    Code.RBAC_ESCALATION: Meaning(_RISK, "With this right one takes every other.", _RBAC),
    Code.RBAC_NODES: Meaning(
        _RISK, "The kubelet runs commands in any Pod for whoever reaches it, and admission is not asked.", _RBAC
    ),
    Code.RBAC_KINDS: Meaning(
        _RISK, "Who edits definitions of kinds decides which objects there are, and which versions of them.", _RBAC
    ),
    Code.RBAC_VOLUMES: Meaning(
        _RISK, "Who writes PersistentVolumes may bring the disk of the record into a Pod of theirs.", _RBAC
    ),
    Code.RBAC_UNGOVERNED: Meaning(
        _RISK,
        "The gate is not asked about this namespace, so whoever creates workloads there needs no approval.",
        _RBAC,
    ),
    Code.KIND_UNREGISTERED: Meaning(
        _NOTE,
        "It holds Pods, and the policy data have no entry for it: its objects are admitted unseen, and only their Pods "
        "are judged, one by one as they come.",
        "Add it to `kinds` of the policy data and to `webhook.extraRules`; or say with `--accepted` that it is meant.",
    ),
    Code.KIND_OPAQUE: Meaning(
        _NOTE,
        "Its schema keeps fields that it does not describe, so whether it holds Pods is not known.",
        "Read what its controller makes of it, and add it to `kinds` of the policy data where that is Pods.",
    ),
    Code.KIND_VERSION_UNKNOWN: Meaning(
        _RISK,
        "The gate is asked about a kind or version that no entry names: whatever is written in it is refused.",
        "Add the version to the entry of `kinds` where its paths are the same, or stop serving it.",
    ),
    Code.KIND_ABSENT: Meaning(
        _NOTE, "The cluster has no such kinds, so these entries judge nothing yet.", "Nothing has to be done."
    ),
    Code.CANARY_ADMITTED: Meaning(
        _HOLE,
        "A model workload that nobody approved is admitted there.",
        "Look at the other findings; with none, at the policies of the environment.",
    ),
    Code.CANARY_UNDECIDED: Meaning(
        _UNKNOWN,
        "Whether this gate refuses what nobody approved was not seen.",
        "See that you may create Deployments there, and that --config has the gate's own log key.",
    ),
    Code.WOULD_BE_REFUSED: Meaning(
        _RISK,
        "It runs now, and would not be admitted if it were created again: after an eviction it may stay away.",
        "`placet plan KIND/NAME -n NAMESPACE` says what is missing.",
    ),
    Code.KEYRING_EXPIRES: Meaning(
        _RISK, "With the keyring expired, every approval stops counting.", "`placet keyring renew`."
    ),
    Code.KEYRING_UNUSABLE: Meaning(_RISK, "With such a keyring the gate refuses everything.", "`placet config check`."),
    Code.EXEMPTION_ENDS: Meaning(
        _RISK,
        "After its end what the exemption let in can't be changed, scaled up or made anew.",
        "Have it signed again (`placet exempt`), or take its file away.",
    ),
    Code.EXEMPTION_UNUSABLE: Meaning(
        _RISK,
        "Somebody relies on an exemption that lets nothing in.",
        "`placet exempt --list` says why; have it signed again, or take its file away.",
    ),
    Code.EXEMPTION_UNUSED: Meaning(
        _NOTE,
        "It would let in what nobody runs: nobody would look twice when it comes.",
        "Take its file away, unless a rollout is about to need it.",
    ),
    Code.POLICIES_OWN: Meaning(
        _NOTE, "These policies judge, and not those that ship.", "Compare version and digest with what was released."
    ),
    Code.POLICIES_OFFERED: Meaning(
        _NOTE,
        "The source holds other policies, signed as is asked for; a gate takes them once they stand its test.",
        "Wait for the next look, or read the gate's Events and /readyz.",
    ),
    Code.POLICIES_UNSIGNED: Meaning(
        _RISK,
        "Whoever can write to the folder changes the policies, and can let anything in.",
        "Sign them with `placet policy bundle sign`, and name the keys in `policy.bundle_keys`.",
    ),
    Code.POLICIES_REFUSED: Meaning(
        _RISK,
        "Gates refuse these policies; what was in force before stays so, and nothing newer gets in.",
        "The code says why: docs/operations.md, Policies of your own.",
    ),
    Code.POLICIES_UNREACHABLE: Meaning(
        _RISK,
        "Nothing newer gets into force, and a gate with a new record could not start.",
        "Look at the address, the network and the credentials.",
    ),
    Code.NO_CONFIG: Meaning(
        _NOTE,
        "Environments, the keyring and running workloads were not looked at.",
        "Name the configuration: --config.",
    ),
    Code.NOT_READ: Meaning(
        _UNKNOWN, "What could not be read can't be said to be in order.", "Let the user read it (docs/doctor.md)."
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: what it is.
        where: kind and name of the object, such as ``ValidatingWebhookConfiguration/placet production.placet.dev``.
        sentence: what was found there; names from the cluster in it are not yet neutralised.
        grave: worse than its code alone says, so a hole.
    """

    code: Code
    where: str
    sentence: str
    grave: bool = False

    @property
    def severity(self) -> Severity:
        """From the table of codes."""
        return Severity.HOLE if self.grave else MEANINGS[self.code].severity

    @property
    def why(self) -> str:
        """Why it matters."""
        return MEANINGS[self.code].why

    @property
    def remedy(self) -> str:
        """What to do."""
        return MEANINGS[self.code].remedy


def render_doctor() -> str:
    """The table of codes in Markdown."""
    rows = "\n".join(f"| `{code}` | {one.severity} | {one.why} | {one.remedy} |" for code, one in MEANINGS.items())
    return f"| code | severity | why it matters | what to do |\n|---|---|---|---|\n{rows}\n"
