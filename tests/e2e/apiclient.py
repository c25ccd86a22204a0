"""The API server over plain HTTP, for what kubectl is too slow for: readiness, metrics, probes."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.e2e.authority import CertificateFiles

TIMEOUT_S: Final = 35.0  # more than the longest time-out of a webhook

# Stable since Kubernetes 1.24; one line per operation and outcome. Counted for every call, answered or not.
_WEBHOOK_CALLS: Final = re.compile(
    r"^apiserver_admission_webhook_admission_duration_seconds_count\{(?P<labels>[^}]*)\} (?P<count>\d+)", re.MULTILINE
)


class ControlPlaneError(Exception):
    """The control plane did not do what was asked; the message says what it answered."""


class ApiClient:
    """Requests to one API server with one client certificate, a connection each."""

    def __init__(self, port: int, ca_path: Path, files: CertificateFiles) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=ca_path)
        self._context.load_cert_chain(files.certificate, files.key)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        """Send a request and return status and body.

        Raises:
            OSError: nobody listens, or the connection broke.
        """
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=TIMEOUT_S, context=self._context)
        try:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path.

        Raises:
            ControlPlaneError: the answer is not 200.
        """
        status, body = self.request("GET", path)
        self._expect(status == HTTPStatus.OK, "GET", path, status, body)
        found: dict[str, Any] = json.loads(body)
        return found

    def find(self, path: str) -> dict[str, Any] | None:
        """The JSON object at a path; None when there is none.

        Raises:
            ControlPlaneError: the answer is neither 200 nor 404.
        """
        status, body = self.request("GET", path)
        self._expect(status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}, "GET", path, status, body)
        found: dict[str, Any] = json.loads(body)
        return found if status == HTTPStatus.OK else None

    def create(self, path: str, body: Mapping[str, Any], *, may_exist: bool = False) -> dict[str, Any]:
        """Create an object and return the answer.

        Raises:
            ControlPlaneError: it was not created.
        """
        status, answer = self.request("POST", path, body)
        done = status == HTTPStatus.CREATED or (may_exist and status == HTTPStatus.CONFLICT)
        self._expect(done, "POST", path, status, answer)
        created: dict[str, Any] = json.loads(answer)
        return created

    def replace(self, path: str, body: Mapping[str, Any]) -> None:
        """Put another version of an object in its place.

        Raises:
            ControlPlaneError: it was not replaced.
        """
        status, answer = self.request("PUT", path, body)
        self._expect(status == HTTPStatus.OK, "PUT", path, status, answer)

    def delete(self, path: str) -> None:
        """Delete an object.

        Raises:
            ControlPlaneError: it was not deleted.
        """
        status, answer = self.request("DELETE", path)
        self._expect(status == HTTPStatus.OK, "DELETE", path, status, answer)

    def exists(self, path: str) -> bool:
        """Whether there is an object at a path."""
        return self.request("GET", path)[0] == HTTPStatus.OK

    def is_ready(self) -> bool:
        """Whether the API server says that it is ready; a server that does not listen yet is not."""
        try:
            return self.request("GET", "/readyz")[0] == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def webhook_calls(self, webhook: str) -> int:
        """How often the API server has called a validating or mutating webhook of this name since it started."""
        _, body = self.request("GET", "/metrics")
        lines = _WEBHOOK_CALLS.finditer(body.decode())
        return sum(int(line["count"]) for line in lines if f'name="{webhook}"' in line["labels"].split(","))

    @staticmethod
    def _expect(good: bool, method: str, path: str, status: int, body: bytes) -> None:
        if not good:
            message = f"{method} {path} answered {status}: {body.decode(errors='replace')}"
            raise ControlPlaneError(message)
