"""What the chart's Jobs run, against a real API server: each answer of it, and what a person reads then."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.controlplane import ControlPlane

NOBODY = "nobody@example.com"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        plane.kubeconfig_for(NOBODY)
        yield plane


def run(kubeconfig: Path, *arguments: str) -> tuple[int, str]:
    """Exit status, and what was printed."""
    done = subprocess.run(
        [sys.executable, "-m", "webhook.release_hooks", *arguments],
        env={**os.environ, "KUBECONFIG": str(kubeconfig)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_the_webhook_is_removed_and_then_it_is_not_there(plane: ControlPlane) -> None:
    certificate = plane.serving_certificate(["127.0.0.1"])
    plane.install_webhook("gate", "https://127.0.0.1:9/", certificate.ca_pem)
    assert plane.kubectl("run", "pod", "--image=x", "--dry-run=server", check=False).returncode == 1
    assert run(plane.kubeconfig_path(), "remove-webhook", "gate") == (
        0, "ValidatingWebhookConfiguration gate removed\n",
    )  # fmt: skip
    # It has waited long enough: nobody calls the webhook any more.
    assert plane.kubectl("run", "pod", "--image=x", "--dry-run=server", check=False).returncode == 0
    assert run(plane.kubeconfig_path(), "remove-webhook", "gate") == (
        0, "ValidatingWebhookConfiguration gate is not there\n",
    )  # fmt: skip


def test_without_the_right_to_remove_it_that_is_an_error(plane: ControlPlane) -> None:
    status, said = run(plane.kubeconfig_path(NOBODY), "remove-webhook", "gate")
    assert status == 2
    assert "the API server answered 403: validatingwebhookconfigurations" in said


def test_a_model_that_would_be_admitted_is_a_failure(plane: ControlPlane) -> None:
    status, said = run(plane.kubeconfig_path(), "expect-refusal", "default")
    assert status == 1
    assert "a model without approvals would be admitted in namespace default" in said


def test_a_refusal_by_somebody_else_is_none_of_placet(plane: ControlPlane) -> None:
    status, said = run(plane.kubeconfig_path(NOBODY), "expect-refusal", "default")
    assert status == 1
    assert "refused, but not by placet's decision: deployments.apps is forbidden" in said


@pytest.mark.parametrize("arguments", [("remove-webhook", "gate"), ("expect-refusal", "default")])
def test_no_api_server_is_an_error(arguments: tuple[str, ...], tmp_path: Path) -> None:
    status, said = run(tmp_path / "none", *arguments)
    assert status == 2
    assert "the API server can't be asked" in said


@pytest.mark.parametrize("arguments", [(), ("remove-webhook",), ("other", "x")])
def test_wrong_usage_is_explained(arguments: tuple[str, ...], tmp_path: Path) -> None:
    status, said = run(tmp_path / "none", *arguments)
    assert status == 2
    assert said.startswith("usage: python -m webhook.release_hooks")
