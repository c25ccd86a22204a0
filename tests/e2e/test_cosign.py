"""Approvals are verified by a program that is not ours: cosign."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from placet.approvals.bundle import render_bundle
from placet.approvals.envelope import render_envelope
from placet.approvals.signing import KeySigner
from placet.approvals.statement import PREDICATE_TYPE
from tests.simulators.desk import ApprovalDesk, sample_workload, signer_of, stored_signer

ROOT = Path(__file__).resolve().parents[2]
BUILD_S = 600
VERIFY_S = 60


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
