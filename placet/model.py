"""The values that travel through a decision: workload, model, image, projection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from placet.canonical import Digest

DOMAIN: Final = "placet.dev"
ROLES: Final = ("technical", "security", "business", "executive")
EXEMPT: Final = "exempt"
"""What the keyring grants to those who may say that a workload needs no approval; no role of an approval."""
LEVELS: Final = ("low", "medium", "high", "critical")
BINDINGS: Final = ("projection", "images", "model")
# Grants that approve nothing: to let one workload in without its approvals, and to look into that afterwards.
BREAK_GLASS: Final = "break-glass"
BREAK_GLASS_REVIEW: Final = "break-glass-review"
GRANTED_ROLES: Final = (*ROLES, EXEMPT, BREAK_GLASS, BREAK_GLASS_REVIEW)


@dataclass(frozen=True, slots=True)
class Image:
    """One container image of a workload.

    Attributes:
        container: where it stands, ``spec.template.spec.containers[server]`` (the name in brackets).
        reference: as written in the object.
        name: registry and repository, normalised (``docker.io/library/nginx``), without tag and digest.
        tag: "" when there is none.
        digest: None when the reference is not pinned.
    """

    container: str
    reference: str
    name: str
    tag: str
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a custom resource says that a model comes from. What it leads to is not looked at.

    Attributes:
        place: ``spec.predictor.model.storageUri``.
        text: as written in the object, such as ``s3://models/llama``.
    """

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model a workload says that it serves. Empty text and None mean "not said".

    Attributes:
        name: label ``placet.dev/model``.
        version: annotation ``placet.dev/model-version``.
        digest: annotation ``placet.dev/model-digest``.
    """

    name: str = ""
    version: str = ""
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Projection:
    """The governed fields of a workload.

    Attributes:
        canonical: RFC 8785 bytes of the projection. They hold env values: never log, record or show them;
            show ``placet.projection.redact`` of them.
        digest: SHA-256 of ``canonical``; what an approval signs.
    """

    canonical: bytes = field(repr=False)
    digest: Digest


@dataclass(frozen=True, slots=True)
class Workload:
    """A Kubernetes object read as a workload.

    Attributes:
        group: API group, "" for core.
        version: API version, ``v1``.
        kind: ``Deployment`` and so on.
        namespace: never empty.
        name: ``metadata.name``, or ``generateName`` followed by ``*`` where ``generated``.
        generated: whether the API server will choose the name.
        uid: ``metadata.uid``, "" before creation.
        model: the model identity that the object declares.
        images: every image of every container of every pod template, and image volumes; empty only for custom resources
            whose images are chosen elsewhere.
        projection: the governed fields.
        replicas: the ceiling that the object itself shows; None when it can't be known from the object (DaemonSet).
        strategy: ``rolling`` | ``recreate`` | "" as the object proves it.
        approvals: role -> raw base64 of an envelope, from object and pod template metadata. Unverified.
        evidence: name -> raw base64 of an envelope. Unverified.
        declared: annotation name without the domain -> text, unsigned facts (``parameters``, ...). Unverified.
        change_ticket: annotation ``placet.dev/change-ticket``, "" when absent.
        references: where a custom resource says that its models come from.
        break_glass: raw base64 of a break-glass token, "" when absent. Unverified.
        break_glass_review: raw base64 of the review of one, "" when absent. Unverified.
        templates: contents of the pod templates of a custom resource whose children of earlier templates run on.
    """

    group: str
    version: str
    kind: str
    namespace: str
    name: str
    generated: bool
    uid: str
    model: ModelIdentity
    images: tuple[Image, ...]
    projection: Projection
    replicas: int | None
    strategy: str
    approvals: Mapping[str, str]
    evidence: Mapping[str, str]
    declared: Mapping[str, str]
    change_ticket: str = ""
    references: tuple[Reference, ...] = ()
    break_glass: str = ""
    break_glass_review: str = ""
    templates: tuple[Digest, ...] = ()

    @property
    def resource(self) -> str:
        """``Deployment/llama``: kind and name, as audiences and messages write it."""
        return f"{self.kind}/{self.name}"
