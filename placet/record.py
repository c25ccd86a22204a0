"""Step 9: a decision as a record, and the recorder that keeps it before anyone is told.

The body of a decision leaf is specified in docs/formats.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from placet.audit.log import AuditLog
from placet.audit.person_keys import PersonKeys
from placet.audit.persons import find_nonce
from placet.audit.record import SCHEMA
from placet.canonical import Digest
from placet.decision import Decision, Receipt, Spooled
from placet.errors import AuditError, PlacetError
from placet.kept import KeptContents, find_kept
from placet.messages import render_refusal, render_warnings
from placet.model import Workload
from placet.policy.decision import Violation
from placet.policy.engine import PolicyEngine
from placet.precedent import MAX_LISTED_APPROVALS, Precedent, read_precedents
from placet.promotion import AdmittedElsewhere, read_elsewhere
from placet.review import AdmissionRequest
from placet.sealing import Sealing
from placet.stored_history import with_template
from placet.text import clip_bytes

RECORD_SCHEMA: Final = SCHEMA
_MAX_LISTED: Final = 32
_MAX_SEEN: Final = 10_000
_MAX_MESSAGE_BYTES: Final = 6 * 1024  # a leaf holds 32 KiB
_MAX_IMAGES_BYTES: Final = 6 * 1024


class Recorder(Protocol):
    """Keeps decisions."""

    def find(self, request: AdmissionRequest, environment: str) -> Receipt | Spooled | None:
        """The stored decision of a request that was decided before.

        Raises:
            AuditError: the store can't be read, or the uid was used for another request.
        """

    def keep(
        self,
        decision: Decision,
        *,
        cluster: str,
        engine: PolicyEngine,
        data_digest: Digest,
        attachments: Mapping[str, bytes],
        latency_us: int,
        deadline_s: float,
    ) -> Receipt | Spooled:
        """Append durably, or raise.

        Raises:
            AuditError: the decision is not in the record.
        """

    def put_aside(
        self,
        decision: Decision,
        *,
        cause: PlacetError,
        cluster: str,
        engine: PolicyEngine,
        data_digest: Digest,
        attachments: Mapping[str, bytes],
        latency_us: int,
        deadline_s: float,
    ) -> Spooled | None:
        """Keep a denial that ``keep`` could not, to be recorded later; None where it is kept nowhere. Never raises."""


class LogRecorder:
    """Keeps decisions in an audit log, and answers what the log knows of the past."""

    def __init__(self, log: AuditLog, *, cluster: str, persons: PersonKeys | None = None) -> None:
        """Keep them in this log.

        Args:
            log: open.
            cluster: of the gate.
            persons: where the keys are that names of persons are sealed with; None to keep names as they are.
        """
        self._log = log
        self._cluster = cluster
        self._persons = persons
        self._seen: set[tuple[str, str]] = set()
        self._contents = KeptContents()

    def find(self, request: AdmissionRequest, environment: str) -> Receipt | Spooled | None:
        """See :class:`Recorder`."""
        stored = self._log.find_uid(request.uid)
        if stored is None:
            return None
        if stored.request_digest != request_digest(request, environment):
            raise AuditError(
                "the request's uid is that of another request that was decided before",
                code="uid_reused",
                hint="An API server never uses a uid twice; send the request through the API server.",
            )
        checkpoint = self._log.latest_checkpoint() or ""
        return Receipt(stored.index, stored.leaf_hash, self._opened(stored.leaf), checkpoint, replayed=True)

    def model_seen(self, *, environment: str, model: str) -> bool | None:
        """Whether the record shows that this model was approved and admitted in this environment."""
        asked = (environment, model)
        if asked in self._seen:
            return True
        seen = self._log.model_seen(self._cluster, environment, model)
        if seen:  # nothing is ever taken out of the record; a record that was put back is refused by the append
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen.add(asked)
        return seen

    def admitted(
        self, *, environment: str, namespace: str, kind: str, name: str, projection: Digest
    ) -> Sequence[Precedent] | None:
        """Decisions that admitted this content of the workload with every approval, the newest first, a few."""
        return read_precedents(
            self._log.admitted(
                cluster=self._cluster,
                environment=environment,
                namespace=namespace,
                kind=kind,
                name=name,
                projection=projection,
            )
        )

    def admitted_with(
        self, *, environment: str, namespace: str, group: str, kind: str, name: str, template: Digest
    ) -> Sequence[Precedent] | None:
        """Decisions that admitted a custom resource with this pod template in it, newest first, a few."""
        found = self._log.approved(
            cluster=self._cluster, environment=environment, namespace=namespace, kind=kind, name=name
        )
        return with_template(found, group, template)

    def admitted_elsewhere(self, *, environment: str, projection: Digest) -> Sequence[AdmittedElsewhere] | None:
        """Decisions that admitted this content in other environments with every approval, the earliest first."""
        return read_elsewhere(self._log.approved_elsewhere(environment=environment, projection=projection))

    def keep(
        self,
        decision: Decision,
        *,
        cluster: str,
        engine: PolicyEngine,
        data_digest: Digest,
        attachments: Mapping[str, bytes],
        latency_us: int,
        deadline_s: float,
    ) -> Receipt | Spooled:
        """See :class:`Recorder`."""
        sealing = self._sealing(decision)
        if sealing is not None:
            attachments = sealing.attachments(attachments)
        left, before = self._contents.part(attachments, lambda: self._kept_with(decision))
        body = render_record(
            decision,
            cluster=cluster,
            engine=engine,
            data_digest=data_digest,
            attachments=left,
            latency_us=latency_us,
        )
        if sealing is not None:
            body = sealing.body(body)
        appended = self._log.append(
            body | before,
            uid=decision.request.uid,
            request_digest=request_digest(decision.request, decision.environment),
            attachments=left,
            deadline_s=deadline_s,
        )
        self._contents.learn(appended.index, appended.leaf)
        told = self._opened(appended.leaf) if appended.replayed else appended.leaf
        return Receipt(appended.index, appended.leaf_hash, told, appended.checkpoint, replayed=appended.replayed)

    def _sealing(self, decision: Decision) -> Sealing | None:
        return None if self._persons is None else Sealing(self._persons, decision)

    def _opened(self, leaf: Mapping[str, Any]) -> Mapping[str, Any]:
        """A leaf as whoever asks again is told it: with its names, as far as there are keys for them.

        Raises:
            AuditError: a key can't be read.
        """
        if self._persons is None or find_nonce(leaf) is None:
            return leaf
        return self._persons.opener().open(leaf)

    def _kept_with(self, decision: Decision) -> Mapping[str, int]:
        """What is kept beside earlier decisions that admitted this content of the object: digest -> index."""
        workload = decision.workload
        if workload is None:
            return {}
        with self._log.reading() as reader:
            return find_kept(
                reader,
                cluster=self._cluster,
                environment=decision.environment,
                namespace=workload.namespace,
                kind=workload.kind,
                name=decision.request.name or workload.name,
                projection=workload.projection.digest,
            )

    def put_aside(
        self,
        decision: Decision,  # noqa: ARG002 - the Protocol's names
        *,
        cause: PlacetError,  # noqa: ARG002
        attachments: Mapping[str, bytes],  # noqa: ARG002
        deadline_s: float,  # noqa: ARG002
        **_terms: Any,
    ) -> Spooled | None:
        """See :class:`Recorder`: there is nowhere to put it."""
        return None


def request_digest(request: AdmissionRequest, environment: str) -> Digest:
    """What makes a resent request the same: its bytes, and the path that it came by."""
    return Digest.of(f"{environment}\n{request.digest}".encode())


def render_time(moment: datetime) -> str:
    """RFC 3339 in UTC with six digits of a second, always the same length."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def render_record(
    decision: Decision,
    *,
    cluster: str,
    engine: PolicyEngine,
    data_digest: Digest,
    attachments: Mapping[str, bytes],
    latency_us: int,
) -> dict[str, Any]:
    """The body of a decision leaf: plain JSON without floats, free of env values."""
    request, workload, findings, policy = decision.request, decision.workload, decision.findings, decision.policy
    model = None if workload is None else workload.model
    return {
        "schema": RECORD_SCHEMA,
        "type": "decision",
        "decision_id": decision.decision_id,
        "uid": request.uid,
        "time": render_time(decision.time),
        "cluster": cluster,
        "environment": decision.environment[:128],
        "operation": request.operation,
        "dry_run": request.dry_run,
        "group": request.kind.group,
        "version": request.kind.version,
        "kind": request.kind.kind,
        "subresource": request.subresource,
        "namespace": request.namespace,
        "name": request.name or ("" if workload is None else workload.name),
        "generated": workload is not None and workload.generated,
        "object_uid": "" if workload is None else workload.uid,
        "user": request.username,
        "allowed": decision.allowed,
        "approved": _is_approved(decision),
        "mode": decision.mode,
        "violations": _codes(decision.violations),
        "warnings": _codes(decision.warnings),
        "notes": _codes(decision.notes),
        **({"would_deny": _codes(decision.tolerated)} if decision.tolerated else {}),
        "message": clip_bytes(render_refusal(decision), _MAX_MESSAGE_BYTES),
        "advice": list(render_warnings(decision)),
        "change": {"kind": decision.change, "scale": "" if findings is None else findings.scale},
        "coverage": None if decision.coverage is None else decision.coverage.to_json(),
        **({} if decision.label is None else {"label": dataclasses.asdict(decision.label)}),
        **({} if decision.exemption is None else {"exemption": decision.exemption.to_json()}),
        **({} if decision.place is None else {"place": dataclasses.asdict(decision.place)}),
        **({} if decision.passage is None else {"break_glass": decision.passage.to_json()}),
        "model": {
            "name": "" if model is None else model.name,
            "version": "" if model is None else model.version,
            "digest": "" if model is None else str(model.digest or ""),
        },
        "projection": "" if workload is None else str(workload.projection.digest),
        **_templates(workload),
        "images": _images(workload),
        **_origin(decision),
        **_findings(decision),
        "required_roles": [] if policy is None else list(policy.required_roles),
        "granted_roles": [] if policy is None else list(policy.granted_roles),
        "policy": {
            "revision": engine.revision,
            "data_digest": str(data_digest),
            "engine": engine.name,
            "engine_version": engine.version,
        },
        "keyring_version": decision.keyring_version,
        **({} if decision.situation is None else {"keyring": str(decision.situation.keyring.digest)}),
        "caller_authenticated": decision.caller_authenticated,
        "request_digest": str(request_digest(request, decision.environment)),
        **{f"{name}_digest": str(Digest.of(content)) for name, content in attachments.items()},
        "latency_us": latency_us,
    }


def _is_approved(decision: Decision) -> bool:
    """Whether people approved this, now: allowed is also what is carried forward, not governed, or let through."""
    policy = decision.policy
    return (
        decision.allowed
        and decision.passage is None
        and not decision.tolerated  # what only a rule's own mode let in was not approved either
        and decision.mode == "enforce"
        and policy is not None
        and decision.change in {"new", "changed", "adopted"}
        and bool(policy.required_roles)
        and set(policy.required_roles) <= set(policy.granted_roles)
    )


def _templates(workload: Workload | None) -> dict[str, Any]:
    """The pod templates of a custom resource whose earlier children run on: all of them, or none."""
    if workload is None or not 0 < len(workload.templates) <= _MAX_LISTED:
        return {}
    return {"templates": [str(one) for one in workload.templates]}


def _images(workload: Workload | None) -> list[str]:
    """References, in order, as long as they leave room for the rest of the record; the projection binds them all."""
    listed: list[str] = []
    room = _MAX_IMAGES_BYTES
    for image in () if workload is None else workload.images:
        room -= len(image.reference)
        if room < 0:
            listed.append("...")
            break
        listed.append(image.reference)
    return listed


def _codes(violations: tuple[Violation, ...]) -> list[dict[str, str]]:
    return [{"rule": item.rule, "code": item.code} for item in violations[:_MAX_LISTED]]


def _origin(decision: Decision) -> dict[str, Any]:
    """What an object was made of, and the decision that it rests on."""
    precedent = None if decision.findings is None else decision.findings.precedent
    return {
        "parents": [
            {
                "kind": item.kind,
                "name": item.name,
                "uid": item.uid,
                "projection": str(item.projection),
                **({"remembered": True} if item.remembered else {}),
            }
            for item in (() if decision.lineage is None else decision.lineage.ancestors)
        ],
        "precedent": None
        if precedent is None
        else {"decision_id": precedent.decision_id, "time": render_time(precedent.time), "level": precedent.level},
    }


def _findings(decision: Decision) -> dict[str, Any]:
    found = decision.findings
    if found is None:
        return {"risk": None, "evidence": [], "approvals": [], "rejected": []}
    return {
        "risk": {
            "score": found.assessment.score,
            "level": found.assessment.level,
            "factors": {item.factor: item.score for item in found.assessment.contributions},
            "inputs_digest": str(found.risk_inputs),
        },
        "evidence": [
            {"fact": fact, "statement": str(statement)}
            for fact, statement in sorted(found.evidence.facts.sources.items())
        ],
        "approvals": [
            {
                "approval_id": item.approval_id,
                "role": item.role,
                "key": item.key,
                "person": item.person,
                "statement": str(item.statement),
                "expires": render_time(item.expires),
            }
            for item in found.approvals.verified[:MAX_LISTED_APPROVALS]
        ],
        "rejected": [
            {"role": item.role, "code": item.code, "approval_id": item.approval_id}
            for item in found.approvals.rejected[:_MAX_LISTED]
        ],
    }
