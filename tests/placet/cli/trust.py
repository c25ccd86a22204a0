"""A manifest to sign for, and what a command has to be told to trust a desk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from placet.canonical import Digest
from placet.model import Workload
from placet.workload import read_workload
from tests.simulators.desk import ApprovalDesk

MANIFEST = f"""\
# the model server
apiVersion: apps/v1
kind: Deployment
metadata:
  name: llama
  namespace: ml
  labels:
    placet.dev/model: llama-3.1-70b
  annotations:
    placet.dev/model-version: "1.0.0"
    placet.dev/model-digest: {Digest.of(b"weights")}
spec:
  replicas: 4
  selector:
    matchLabels: {{app: llama}}
  template:
    metadata:
      labels: {{app: llama}}
    spec:
      containers:
        - name: server
          image: registry.example/llama@{Digest.of(b"image")}
"""


def manifest(folder: Path, workload_text: str = MANIFEST) -> Path:
    file = folder / "deploy.yaml"
    file.write_text(workload_text)
    return file


def workload() -> Workload:
    return read_workload(yaml.safe_load(MANIFEST))


def trusted(paths: Any) -> list[str | Path]:
    return ["--keyring", paths["keyring"], "--root", paths["roots"], "--threshold", "2", "--cluster", "prod-eu-1"]


def approved(desk: ApprovalDesk, folder: Path, **roles: str) -> Path:
    lines = "".join(f"    placet.dev/approval.{role}: {value}\n" for role, value in roles.items())
    return manifest(folder, MANIFEST.replace("  annotations:\n", f"  annotations:\n{lines}"))
