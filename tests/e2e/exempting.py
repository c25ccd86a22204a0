"""A platform team that exempts workloads: its key in the keyring, and what it signs into the gate's folder."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from placet.approvals.envelope import render_envelope
from placet.approvals.signing import load_signer, sign_payload
from placet.exemptions.statement import PAYLOAD_TYPE, ExemptionStatement, render_exemption
from placet.workload import read_workload
from tests.e2e.gateprocess import CLUSTER, Team

Json = dict[str, Any]
IMAGE = f"registry.example/nginx@sha256:{'ab' * 32}"


def proxy(name: str, *, namespace: str, image: str = IMAGE, replicas: int = 1) -> Json:
    """A Deployment that serves no model."""
    labels = {"app.kubernetes.io/name": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "nginx", "image": image, "args": ["-g", "daemon off;"]}]},
            },
        },
    }


def add_exempter(team: Team) -> None:
    """fay@example.com may exempt in production; the roots sign the keyring again."""
    team.run("keys", "generate", "--out", "keys/fay.key", "--no-passphrase")
    team.run("keyring", "add", "fay@example.com", "--person", "fay", "--key", "keys/fay.pub")
    team.run("keyring", "grant", "fay@example.com", "--role", "exempt", "--environment", "production",
             "--max-risk", "low")  # fmt: skip
    team.run("keyring", "renew")
    for number in (1, 2):
        team.run("keyring", "sign", "--key", f"keys/root-{number}.key")


def exempt(team: Team, manifest: Json) -> Path:
    """``placet exempt``; gives the file that it wrote."""
    file = team.folder / "exempted.json"
    file.write_text(json.dumps(manifest), encoding="utf-8")
    before = set((team.folder / "exemptions").iterdir())
    team.run(
        "exempt", "-f", file.name, "-e", "production", "--reason", "static pages", "--key", "keys/fay.key", "--yes"
    )
    (made,) = set((team.folder / "exemptions").iterdir()) - before
    return made


def exempt_for(team: Team, manifest: Json, lifetime: timedelta) -> Path:
    """An exemption that ends sooner than the command line gives one."""
    workload, now = read_workload(manifest), datetime.now(UTC).replace(microsecond=0)
    said = ExemptionStatement(
        exemption_id=str(uuid.uuid4()),
        clusters=(CLUSTER,),
        environment="production",
        namespace=workload.namespace,
        workload=workload.resource,
        projections=(workload.projection.digest,),
        detection="no",
        images="pinned",
        issued_at=now,
        not_before=now,
        expires=now + lifetime,
        ticket="",
        reason="for a moment",
    )
    signer = load_signer(str(team.folder / "keys" / "fay.key"))
    made = team.folder / "exemptions" / f"{said.exemption_id}.dsse.json"
    made.write_bytes(render_envelope(sign_payload(signer, render_exemption(said), PAYLOAD_TYPE)))
    return made
