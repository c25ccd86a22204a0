"""Reviews with real signatures: Deployments that a team has approved, as an API server would send them."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.load import UID_PLACE
from placet.approvals.envelope import parse_annotation, render_annotation
from placet.approvals.key_files import parse_private_key
from placet.approvals.signing import KeySigner
from placet.workload import read_workload
from tests.e2e.gateprocess import CLUSTER
from tests.simulators.desk import ApprovalDesk
from tests.simulators.gate import example, review

NAMESPACE: Final = "ml-serving"
APPROVERS: Final = {"technical": "tara", "security": "sam", "business": "bea"}
ATTESTER: Final = "pipeline"
# What the API server's own bookkeeping adds; Helm sends none of it, and each server reads all of it.
_BOOKKEEPING: Final = ("managedFields", "uid", "generation", "creationTimestamp", "resourceVersion")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


class Approvers:
    """The people that ``placet init`` made, with their keys.

    Args:
        folder: what ``placet init`` made.
    """

    def __init__(self, folder: Path) -> None:
        names = (*APPROVERS.values(), ATTESTER)
        signers = {
            name: KeySigner.of(parse_private_key((folder / "keys" / f"{name}.key").read_bytes(), None))
            for name in names
        }
        # Whole seconds, and not before the keys are valid; a gate takes longer than that to start.
        now = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=1)
        self._desk = ApprovalDesk(
            now=now, environment="production", cluster=CLUSTER, document={}, signers=dict(signers), roots=[]
        )

    def manifest(
        self, number: int, *, name: str = "llama", namespace: str = NAMESPACE, evidence: bool = False
    ) -> dict[str, Any]:
        """An approved Deployment: its image depends on the number, so that its content and its signatures do.

        Args:
            number: of the image.
            name: of the Deployment.
            namespace: where it is for.
            evidence: whether four signed attestations are on it beside the three approvals.
        """
        manifest = copy.deepcopy(example())
        manifest.pop("status", None)
        metadata = manifest["metadata"]
        for key in _BOOKKEEPING:
            metadata.pop(key, None)
        metadata["annotations"].pop(_LAST_APPLIED)
        metadata |= {"name": name, "namespace": namespace}
        image = hashlib.sha256(f"image {number}".encode()).hexdigest()
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        container["image"] = f"registry.example.com/serving/vllm-openai@sha256:{image}"
        workload = read_workload(manifest)
        for role, person in APPROVERS.items():
            signed = self._desk.approve(workload, role=role, by=person)
            metadata["annotations"][f"placet.dev/approval.{role}"] = signed
        if evidence:
            for fact, envelope in self._desk.evidence(workload, by=ATTESTER).items():
                metadata["annotations"][f"placet.dev/evidence.{fact}"] = envelope
        return manifest


def altered(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with one bit of one signature of its security approval turned."""
    changed = copy.deepcopy(manifest)
    annotations = changed["metadata"]["annotations"]
    envelope = parse_annotation(annotations["placet.dev/approval.security"])
    (signature,) = envelope.signatures
    sig = bytes([signature.sig[0] ^ 1, *signature.sig[1:]])
    forged = replace(envelope, signatures=(replace(signature, sig=sig),))
    annotations["placet.dev/approval.security"] = render_annotation(forged)
    return changed


def with_foreign_image(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with an image that no server of the comparison may allow."""
    changed = copy.deepcopy(manifest)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "docker.io/library/busybox:latest"
    return changed


def write_reviews(file: Path, manifests: Iterable[dict[str, Any]]) -> int:
    """Write creations of the manifests for the load generator; gives the bytes of the first."""
    size = 0
    with file.open("wb") as out:
        for manifest in manifests:
            line = json.dumps(review(manifest, uid=UID_PLACE), separators=(",", ":")).encode()
            size = size or len(line)
            out.write(line + b"\n")
    return size
