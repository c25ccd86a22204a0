"""A team's folder made by ``placet init``, and the real webhook process on top of it."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e.controlplane import ServingCertificate
from tests.e2e.processes import poll_until
from tests.simulators.ports import free_port

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 15.0
CLUSTER: Final = "e2e"


class Team:
    """A folder with keys, a keyring, a configuration and a record, driven through the command line.

    Example::

        team = Team.found(tmp_path)
        team.run("plan", "-f", "deploy.yaml", "-e", "production", expect=1)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def found(cls, folder: Path) -> Team:
        """Run ``placet init``."""
        team = cls(folder)
        team.run("init", ".", "--cluster", CLUSTER, "--no-passphrase")
        return team

    def run(self, *arguments: str, expect: int = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a ``placet`` command in the folder and hold its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "placet", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            check=False,
            timeout=60,
        )
        if done.returncode != expect:
            message = f"placet {' '.join(arguments)}: {done.returncode}, not {expect}\n{done.stdout}\n{done.stderr}"
            raise AssertionError(message)
        return done

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Merge keys into ``placet.yaml``."""
        file = self.folder / "placet.yaml"
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        for key, value in changes.items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        file.write_text(yaml.safe_dump(config), encoding="utf-8")

    def attest(self, manifest: str) -> None:
        """The evidence that makes the example score 6.65."""
        common = ("-f", manifest, "--key", "keys/pipeline.key", "--write")
        self.attest_coverage(manifest)
        self.run("evidence", "attest", "--parameters", "70600000000", "--data-classification", "confidential",
                 "--rollback-minutes", "3", *common)  # fmt: skip

    def attest_coverage(self, manifest: str) -> None:
        """Evidence of a test coverage of 85 percent."""
        (self.folder / "coverage.json").write_text(COVERAGE, encoding="utf-8")
        self.run("evidence", "attest", "--fact", "coverage", "--from", "coverage.json",
                 "-f", manifest, "--key", "keys/pipeline.key", "--write")  # fmt: skip

    def approve(self, manifest: str, *roles: str, environment: str = "production") -> None:
        """Sign in each role with the example approver's key."""
        people = {"technical": "tara", "security": "sam", "business": "bea", "executive": "eve"}
        for role in roles:
            self.run("approve", "-f", manifest, "-e", environment, "--role", role,
                     "--key", f"keys/{people[role]}.key", "--yes")  # fmt: skip

    @property
    def certificate(self) -> ServingCertificate:
        """The one that ``placet init`` made."""
        tls = self.folder / "tls"
        return ServingCertificate(tls / "server.crt", tls / "server.key", (tls / "ca.crt").read_bytes())

    @contextlib.contextmanager
    def webhook(
        self, certificate: ServingCertificate | None = None, *, ready: bool = True, port: int = 0
    ) -> Iterator[str]:
        """Run ``placet serve``; gives the address of the production path.

        Args:
            certificate: what it serves with; its own by default.
            ready: whether it must become ready, or only live.
            port: where it listens; a free one by default.
        """
        certificate = certificate or self.certificate
        looked_at = "readyz" if ready else "healthz"
        port = port or free_port()
        self.configure({"server": {"tls_cert": str(certificate.cert_path), "tls_key": str(certificate.key_path)}})
        with (self.folder / "webhook.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "placet", "serve", "--port", str(port)],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self.process = process
        context = ssl.create_default_context(cadata=certificate.ca_pem.decode())
        try:
            poll_until(
                lambda: process.poll() is not None or _answers(f"https://127.0.0.1:{port}/{looked_at}", context),
                START_TIMEOUT_S,
            )
            if not _answers(f"https://127.0.0.1:{port}/{looked_at}", context):
                raise AssertionError((self.folder / "webhook.log").read_text(encoding="utf-8"))
            yield f"https://127.0.0.1:{port}/v1/admit/production"
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM would go on serving for drain_seconds
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(url: str, context: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(url, context=context, timeout=2) as answer:  # noqa: S310 - our own loopback
            return int(answer.status) == 200
    except OSError:  # urllib's HTTPError, for 503, is one too
        return False


COVERAGE: Final = (Path(__file__).parents[2] / "webhook" / "demo_data" / "coverage.json").read_text(encoding="utf-8")
