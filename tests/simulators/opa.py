"""A real OPA as a platform team runs it: with the bundle or empty, with or without authorization and TLS.

with OpaProcess(tmp_path, pull=False, token=TOKEN) as opa:
    OpaEngine(opa.url, data, push=True, token=TOKEN)
    opa.kill(); opa.start()
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from placet.policy.bundle import SHIPPED
from tests.e2e.processes import Process, clean_environment
from tests.simulators.ports import free_port
from tools.bundle import find_opa

AUTHZ: Final = Path(__file__).resolve().parents[2] / "manifests" / "opa" / "authz.rego"
TOKEN: Final = "not-a-secret-0123456789-0123456789-abcdef"
_START_S: Final = 30.0


class OpaProcess:
    """One OPA at one address, through as many lives as a test needs."""

    def __init__(
        self,
        folder: Path,
        *,
        pull: bool,
        token: str = "",
        certificate: tuple[Path, Path, Path] | None = None,
        bundle: Path = SHIPPED / "bundle.tar.gz",
        arguments: Sequence[str] = (),
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: for the log.
            pull: whether OPA has the bundle from a file.
            token: that the authorization policy asks for; no authorization without it.
            certificate: of the server, its key, and the authority that signed it; plain HTTP without them.
            bundle: when pulled.
            arguments: further ones of ``opa run``.
        """
        self._folder = folder
        self._certificate = certificate
        address = f"127.0.0.1:{free_port()}"
        self.url = f"{'https' if certificate else 'http'}://{address}"
        self._token = token
        self._command = [find_opa(), "run", "--server", "--addr", address, "--skip-version-check"]
        self._command += ["--log-level", "error", "--shutdown-grace-period", "1", *arguments]
        if certificate:
            self._command += ["--tls-cert-file", str(certificate[0]), "--tls-private-key-file", str(certificate[1])]
        if pull:
            self._command += ["--set", f"bundles.placet.resource=file://{bundle}"]
        if token:
            self._command += ["--authentication=token", "--authorization=basic", str(AUTHZ)]
        self._process: Process | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> None:
        """Run it; by default until it is healthy, its bundle included."""
        environment = clean_environment(self._folder) | {"PLACET_OPA_TOKEN": self._token}
        self._process = Process("opa", self._command, self._folder / "opa.log", environment)
        if wait:
            self._process.wait_until(lambda: self.call("GET", "/health?bundles", token="")[0] == 200, "up", _START_S)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self._process is not None and self._process.running:
            os.kill(self._process.pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        if self._process is not None:
            self._process.stop()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Alive and silent: SIGSTOP until the end of the block."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)  # a thread of it may still be answering
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def call(self, method: str, path: str, value: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        """Status and body of a call by somebody with the gate's token, another one, or none (""); 0 without OPA."""
        body = value.encode() if isinstance(value, str) else None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=body, method=method)  # noqa: S310 - our loopback
        if token := self._token if token is None else token:
            request.add_header("Authorization", f"Bearer {token}")
        context = ssl.create_default_context(cafile=str(self._certificate[2])) if self._certificate else None
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
                return int(answer.status), json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, None
