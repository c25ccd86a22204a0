"""Approvals are verified by a program that is not ours: cosign."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from placet.approvals.bundle import render_bundle
from placet.approvals.envelope import render_envelope
from placet.approvals.signing import KeySigner
from placet.approvals.statement import PREDICATE_TYPE
from placet.workload import read_workload
from tests.simulators.desk import ApprovalDesk, sample_workload, signer_of, stored_signer

ROOT = Path(__file__).resolve().parents[2]
BUILD_S = 600
VERIFY_S = 60
DOCUMENT = next(name for name in ("formats-approvals.md", "formats.md") if (ROOT / "docs" / name).exists())


@pytest.fixture(scope="module")
def cosign() -> str:
    build = [sys.executable, str(ROOT / "tools/build.py")]
    subprocess.run([*build, "cosign"], check=True, capture_output=True, timeout=BUILD_S)
    found = subprocess.run(
        [*build, "--print-path", "cosign"], check=True, capture_output=True, text=True, timeout=VERIFY_S
    )
    return found.stdout.strip()


@pytest.fixture(params=["ed25519", "ecdsa-p256"])
def approval(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with an approval in both forms, its key, and the canonical projection that it is about."""
    scheme: str = request.param
    signer: KeySigner = signer_of("frank") if scheme == "ed25519" else stored_signer(scheme)
    desk, workload = ApprovalDesk.standard(), sample_workload()
    desk.add("frank", roles=["technical"], signer=signer)
    envelope = desk.envelope(desk.statement(workload, role="technical"), by="frank")
    (tmp_path / "frank.pub").write_text(signer.public_key.pem)
    (tmp_path / "approval.dsse.json").write_bytes(render_envelope(envelope))
    (tmp_path / "approval.bundle.json").write_bytes(render_bundle(envelope, signer.public_key))
    (tmp_path / "projection.json").write_bytes(workload.projection.canonical)
    return tmp_path


def verify(cosign: str, folder: Path, *form: str) -> subprocess.CompletedProcess[str]:
    command = [cosign, "verify-blob-attestation", "--key", "frank.pub", "--type", PREDICATE_TYPE]
    command += ["--insecure-ignore-tlog=true", *form, "projection.json"]
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=VERIFY_S, check=False
    )


FORMS = pytest.mark.parametrize(
    "form", [("--signature", "approval.dsse.json"), ("--bundle", "approval.bundle.json")], ids=["envelope", "bundle"]
)


@FORMS
def test_cosign_verifies_an_approval(cosign: str, approval: Path, form: tuple[str, str]) -> None:
    ran = verify(cosign, approval, *form)
    assert "Verified OK" in ran.stdout + ran.stderr
    assert ran.returncode == 0


@FORMS
def test_cosign_refuses_another_projection(cosign: str, approval: Path, form: tuple[str, str]) -> None:
    (approval / "projection.json").write_bytes(b'{"containers":[]}')
    assert verify(cosign, approval, *form).returncode != 0


@FORMS
def test_cosign_refuses_another_key(cosign: str, approval: Path, form: tuple[str, str]) -> None:
    (approval / "frank.pub").write_text(signer_of("mallory").public_key.pem)
    assert verify(cosign, approval, *form).returncode != 0


def test_the_commands_of_the_documentation_verify_an_approval(cosign: str, tmp_path: Path) -> None:
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "llama",
            "namespace": "ml",
            "labels": {"placet.dev/model": "llama"},
            "annotations": {"placet.dev/model-version": "1"},
        },
        "spec": {
            "selector": {"matchLabels": {"app": "llama"}},
            "template": {
                "metadata": {"labels": {"app": "llama"}},
                "spec": {
                    "containers": [
                        {"name": "server", "image": "r.example/llama:1", "env": [{"name": "A", "value": "ü\n"}]}
                    ]
                },
            },
        },
    }
    desk = ApprovalDesk.standard()
    annotation = desk.approve(read_workload(manifest), role="security", by="bob")
    (tmp_path / "deploy.yaml").write_text(json.dumps(manifest))
    (tmp_path / "bob.pub").write_text(desk.signers["bob"].public_key.pem)
    document = (ROOT / "docs" / DOCUMENT).read_text(encoding="utf-8")
    block = document[document.index("      | base64 -d > approval.dsse.json") :].partition("\n\n")[0]
    # kubectl's part is the annotation's text; everything behind the first pipe runs as it is written
    script = f"set -euo pipefail\nprintf %s '{annotation}' \\\n" + block
    path = f"{Path(sys.executable).parent}:{Path(cosign).parent}:/usr/bin:/bin"
    environment = {"HOME": str(tmp_path), "PATH": path}
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=VERIFY_S,
        check=False,
    )
    assert "Verified OK" in ran.stdout + ran.stderr
    assert ran.returncode == 0
