"""AdmissionReview v1, read strictly (Kubernetes API: admission.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from placet.canonical import Digest, parse_json
from placet.errors import FormatError, ReviewError

MAX_REVIEW_BYTES: Final = 8 * 1024 * 1024
MAX_UID_LENGTH: Final = 128
_MAX_NAME_LENGTH: Final = 1024
OPERATIONS: Final = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})


@dataclass(frozen=True, slots=True)
class GroupVersionKind:
    """What kind of object, fully named; ``group`` is "" for the core group."""

    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version} {self.kind}" if self.group else f"{self.version} {self.kind}"


@dataclass(frozen=True, slots=True)
class GroupVersionResource:
    """What the request is about, as the API server's paths name it; all empty where that is not known."""

    group: str = ""
    version: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """One request of the API server (or of ``placet plan``), well-formed but not yet judged.

    Attributes:
        uid: non-empty, at most 128 printable ASCII characters.
        kind: of the object as sent.
        subresource: "" for the object itself.
        operation: CREATE | UPDATE | DELETE | CONNECT.
        name: "" when the API server generates it.
        namespace: "" for cluster-scoped objects.
        username: ``userInfo.username``; "" only from ``placet plan``, which can't know it.
        groups: ``userInfo.groups``.
        object: the new object; None on DELETE. Secret: may hold env values.
        old_object: the old object; None on CREATE.
        dry_run: nothing of this request is kept.
        digest: SHA-256 of the bytes that the request was read from.
        resource: of the object or, for a subresource, of the object that it belongs to.
    """

    uid: str
    kind: GroupVersionKind
    subresource: str
    operation: str
    name: str
    namespace: str
    username: str
    groups: tuple[str, ...]
    object: Mapping[str, Any] | None = field(repr=False)
    old_object: Mapping[str, Any] | None = field(repr=False)
    dry_run: bool
    digest: Digest
    resource: GroupVersionResource = GroupVersionResource()


def parse_review(raw: bytes, *, max_bytes: int = MAX_REVIEW_BYTES) -> AdmissionRequest:
    """Read the body of an admission call.

    Args:
        raw: the body, unverified.
        max_bytes: the most that is read.

    Raises:
        ReviewError: the body can't be answered as an AdmissionReview; ``status`` says with which HTTP status.
    """
    try:
        document = parse_json(raw, max_bytes=max_bytes, max_depth=128, allow_floats=True)
    except FormatError as exc:
        status = 413 if exc.code == "too_large" else 400
        raise ReviewError(f"the body is not readable: {exc}", status=status, code=f"review_{exc.code}") from exc
    if not isinstance(document, dict):
        raise ReviewError("the body is not an AdmissionReview object")
    if document.get("kind") != "AdmissionReview" or document.get("apiVersion") != "admission.k8s.io/v1":
        raise ReviewError(
            "not an AdmissionReview of apiVersion admission.k8s.io/v1",
            code="review_version",
            hint="Set admissionReviewVersions: [v1] in the webhook configuration.",
        )
    request = _mapping(document, "request")
    uid = _text(request, "uid", required=True)
    if len(uid) > MAX_UID_LENGTH or not uid.isascii() or not uid.isprintable():
        raise ReviewError("request.uid is not short printable ASCII", code="review_uid")
    operation = _text(request, "operation", required=True)
    if operation not in OPERATIONS:
        raise ReviewError("request.operation is none of CREATE, UPDATE, DELETE, CONNECT", code="review_operation")
    return AdmissionRequest(
        uid=uid,
        kind=_kind(_mapping(request, "kind")),
        subresource=_text(request, "subResource"),
        operation=operation,
        name=_text(request, "name"),
        namespace=_text(request, "namespace"),
        username=_text(_mapping(request, "userInfo"), "username", required=True),
        groups=_texts(_mapping(request, "userInfo"), "groups"),
        object=_object(request, "object"),
        old_object=_object(request, "oldObject"),
        dry_run=_flag(request, "dryRun"),
        digest=Digest.of(raw),
        resource=_resource(request),
    )


def _kind(value: Mapping[str, Any]) -> GroupVersionKind:
    version, kind = _text(value, "version", required=True), _text(value, "kind", required=True)
    return GroupVersionKind(_text(value, "group"), version, kind)


def _resource(request: Mapping[str, Any]) -> GroupVersionResource:
    if request.get("resource") is None:
        return GroupVersionResource()
    value = _mapping(request, "resource")
    return GroupVersionResource(_text(value, "group"), _text(value, "version"), _text(value, "resource"))


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise ReviewError(f"{key} is missing or not an object", code=f"review_{key.lower()}")
    return value


def _object(parent: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    return None if parent.get(key) is None else _mapping(parent, key)


def _text(parent: Mapping[str, Any], key: str, *, required: bool = False) -> str:
    value = parent.get(key, "")
    if not isinstance(value, str) or len(value) > _MAX_NAME_LENGTH or (required and not value):
        raise ReviewError(f"{key} is missing, too long or not text", code=f"review_{key.lower()}")
    return value


def _texts(parent: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = parent.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ReviewError(f"{key} is not a list of text", code=f"review_{key.lower()}")
    return tuple(value)


def _flag(parent: Mapping[str, Any], key: str) -> bool:
    value = parent.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ReviewError(f"{key} is not true or false", code=f"review_{key.lower()}")
    return value
