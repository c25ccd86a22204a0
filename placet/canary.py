"""The canary: an object that nobody approved, sent by the gate itself to see that it is asked, and refuses.

Every gate of one record derives the same key from the key of the log, so that any replica may answer and nobody else
can. The object carries a nonce with a seal of that key; the refusal carries a seal over the nonce and the verdict. What
has no such seal was refused by somebody else, or not at all (ADR 38).
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from placet.apiserver import ClusterUnavailable
from placet.audit.note import LogKey
from placet.model import DOMAIN
from placet.review import AdmissionRequest
from placet.text import clip, safe

NAME: Final = "placet-canary"
ANNOTATION: Final = f"{DOMAIN}/canary"
CAUSE: Final = "placet.canary"
IMAGE: Final = "registry.invalid/placet-canary:unapproved"  # RFC 2606: no such registry can be
REFUSED_BY_US: Final = "refused_by_us"
ADMITTED: Final = "admitted"
REFUSED_BY_OTHER: Final = "refused_by_other"
UNREACHABLE: Final = "unreachable"
OUTCOMES: Final = (REFUSED_BY_US, ADMITTED, REFUSED_BY_OTHER, UNREACHABLE)
# Verdicts of the policies, which the seal of the refusal covers.
VERDICTS: Final = ("refused", "not_enforced", "admitted")
TIMEOUT_S: Final = 35.0  # longer than the API server may wait for a webhook
_KEY_BYTES: Final = 32
_PURPOSE: Final = b"placet.dev/canary/v1"
_TOKEN: Final = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class CanaryKey:
    """What the gates of one record share, and nobody else has.

    Attributes:
        secret: 32 bytes; never shown, logged or recorded.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def derive(cls, key: LogKey) -> CanaryKey:
        """From the key of the log: one-way, so that a canary can never say anything of that key (RFC 5869)."""
        raw = key.private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return cls(HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_PURPOSE).derive(raw))

    def token(self, namespace: str, nonce: str) -> str:
        """What a canary carries."""
        return f"{nonce}.{self._seal('ask', namespace, nonce)}"

    def find_nonce(self, request: AdmissionRequest) -> str:
        """The nonce of a canary that a gate of this key sent; "" for every other request.

        Only a dry run counts, since nothing else may be left out of what is counted and recorded.
        """
        metadata = (request.object or {}).get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
        text = annotations.get(ANNOTATION) if isinstance(annotations, Mapping) else None
        match = _TOKEN.fullmatch(text) if isinstance(text, str) else None
        asked = (request.operation, request.subresource, request.kind.group, request.kind.kind, request.name)
        if match is None or not request.dry_run or asked != ("CREATE", "", "apps", "Deployment", NAME):
            return ""
        return match[1] if hmac.compare_digest(match[2], self._seal("ask", request.namespace, match[1])) else ""

    def cause(self, *, environment: str, namespace: str, nonce: str, verdict: str) -> dict[str, str]:
        """The entry of the refusal's ``details.causes`` that proves whose refusal it is."""
        seal = self._seal("answer", environment, namespace, nonce, verdict)
        return {"reason": CAUSE, "field": environment, "message": f"{verdict}.{seal}"}

    def verdict(self, cause: Mapping[str, Any], *, namespace: str, nonce: str) -> str:
        """The verdict that a cause proves; "" where it proves nothing."""
        environment, message = cause.get("field"), cause.get("message")
        if cause.get("reason") != CAUSE or not isinstance(environment, str) or not isinstance(message, str):
            return ""
        verdict = message.partition(".")[0]
        if verdict not in VERDICTS:
            return ""
        made = self.cause(environment=environment, namespace=namespace, nonce=nonce, verdict=verdict)["message"]
        return verdict if hmac.compare_digest(made.encode(), message.encode()) else ""

    def _seal(self, *parts: str) -> str:
        # JSON, so that no two lists of parts are the same bytes.
        return hmac.new(self.secret, json.dumps(parts).encode(), sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Sighting:
    """What became of one canary.

    Attributes:
        namespace: where it was sent.
        environment: by whose policies it has to be judged.
        outcome: one of ``OUTCOMES``.
        detail: what was answered, for a person; harmless text.
    """

    namespace: str
    environment: str
    outcome: str
    detail: str


class Sender(Protocol):
    """What canaries are sent through: ``placet.apiserver.ApiServer``."""

    def create_dry_run(self, path: str, body: Mapping[str, Any], *, timeout_s: float, hint: str) -> tuple[int, bytes]:
        """Status and body of the answer to a create that changes nothing.

        Raises:
            ClusterUnavailable: there was no answer.
        """


def render_canary(namespace: str, token: str) -> dict[str, Any]:
    """The object: a model by its label, from an image without a digest, approved by nobody.

    A Deployment, since what else may refuse a Pod (quotas, Pod Security, limit ranges) does not look at Deployments.
    """
    labels = {"app.kubernetes.io/name": NAME}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {f"{DOMAIN}/model": NAME},
            "annotations": {ANNOTATION: token},
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": NAME, "image": IMAGE}]}},
        },
    }


def send_canary(sender: Sender, key: CanaryKey, *, namespace: str, environment: str) -> Sighting:
    """Send one, and say what became of it; no fault of the cluster is an exception here.

    Args:
        sender: to the API server.
        key: of the gates of the record.
        namespace: a governed one.
        environment: which its entry of the webhook configuration names.
    """
    nonce = secrets.token_hex(16)
    try:
        status, raw = sender.create_dry_run(
            f"/apis/apps/v1/namespaces/{quote(namespace, safe='')}/deployments",
            render_canary(namespace, key.token(namespace, nonce)),
            timeout_s=TIMEOUT_S,
            hint="Check the kubeconfig or the service account, and the network to the API server.",
        )
    except ClusterUnavailable as exc:
        return Sighting(namespace, environment, UNREACHABLE, _harmless(exc))
    outcome, detail = judge_answer(status, raw, key=key, namespace=namespace, environment=environment, nonce=nonce)
    return Sighting(namespace, environment, outcome, detail)


def judge_answer(
    status: int, raw: bytes, *, key: CanaryKey, namespace: str, environment: str, nonce: str
) -> tuple[str, str]:
    """Outcome and detail of one answer of the API server.

    Args:
        status: of HTTP.
        raw: the body, from anybody: other webhooks write into it.
        key: of the gates of the record.
        namespace: where the canary was sent.
        environment: by whose policies it has to be judged.
        nonce: of this canary.
    """
    if status in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
        return ADMITTED, "the API server admits a model workload that nobody approved"
    message, causes = _read_status(raw)
    for cause in causes:
        verdict = key.verdict(cause, namespace=namespace, nonce=nonce)
        if not verdict:
            continue
        if cause["field"] != environment:
            return REFUSED_BY_OTHER, f"judged as {_harmless(cause['field'])}, and it has to be judged as {environment}"
        if verdict == "admitted":
            return ADMITTED, f"the policies of {environment} admit a model workload that nobody approved"
        return REFUSED_BY_US, "" if verdict == "refused" else f"{environment} does not enforce"
    outcome = UNREACHABLE if _is_no_answer(status) else REFUSED_BY_OTHER
    return outcome, f"HTTP {status}: {_harmless(message)}"


def _is_no_answer(status: int) -> bool:
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS


def _read_status(raw: bytes) -> tuple[str, list[Mapping[str, Any]]]:
    """Message and causes of a ``Status``; nothing where it is none."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return "an answer that is no JSON", []
    if not isinstance(value, dict):
        return "an answer that is no object", []
    details = value.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    listed: list[Mapping[str, Any]] = (
        [one for one in causes if isinstance(one, dict)] if isinstance(causes, list) else []
    )
    return str(value.get("message", "")), listed


def _harmless(text: object) -> str:
    return safe(clip(str(text), _LONGEST))
