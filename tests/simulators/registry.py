"""A real OCI registry on loopback: the CNCF's distribution, over a folder."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import requests

from tests.e2e.authority import CertificateFiles
from tests.e2e.processes import Process, clean_environment, program_path
from tests.simulators.ports import free_port

USER: Final = "releaser"
PASSWORD: Final = "releaser-password"
# bcrypt of the password, as `htpasswd -B` writes it: the only form that the server reads.
_HTPASSWD: Final = "releaser:$2b$04$OOSgM4yYrVr8iK3G3nbg2.yUIeKbuxMgYdg63A5DaKLls3d5cv2Du"
_MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_START_S: Final = 30.0


class Registry:
    """One server.

    Attributes:
        port: on 127.0.0.1.
    """

    def __init__(self, folder: Path, port: int, certificate: CertificateFiles | None, auth: Mapping[str, Any]) -> None:
        self.port = port
        self._api = f"http://127.0.0.1:{port}/v2"
        self._data = folder / "data"
        self._scheme = "oci" if certificate else "oci+http"
        lines: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(self._data)}, "cache": {}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        if certificate:
            lines["http"]["tls"] = {"certificate": str(certificate.certificate), "key": str(certificate.key)}
        if auth:
            lines["auth"] = auth
        (folder / "config.json").write_text(json.dumps(lines), "utf-8")
        self.process = Process(
            "registry",
            [program_path("registry"), "serve", folder / "config.json"],
            folder / "registry.log",
            clean_environment(folder) | {"OTEL_TRACES_EXPORTER": "none"},
        )

    def ready(self) -> bool:
        """Whether it listens."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def reference(self, name: str, tag: str) -> str:
        """Where a tag is, as placet is told."""
        return f"{self._scheme}://127.0.0.1:{self.port}/{name}:{tag}"

    def log_in(self, config: Path, user: str, password: str) -> None:
        """What `docker login` leaves behind."""
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        config.write_text(json.dumps({"auths": {f"127.0.0.1:{self.port}": {"auth": secret}}}), "utf-8")

    def put_manifest(self, name: str, tag: str, manifest: Mapping[str, Any]) -> None:
        """Push a manifest of somebody else's."""
        config = b"{}"
        digest = "sha256:" + hashlib.sha256(config).hexdigest()
        begun = self._ask("POST", f"{self._api}/{name}/blobs/uploads/")
        self._ask("PUT", begun.headers["Location"] + f"&digest={digest}", config, "application/octet-stream")
        whole = {"config": {"mediaType": "application/json", "size": len(config), "digest": digest}, **manifest}
        self._ask("PUT", f"{self._api}/{name}/manifests/{tag}", json.dumps(whole).encode(), _MANIFEST_TYPE)

    def get_manifest(self, name: str, tag: str) -> Any:
        """A manifest as JSON values."""
        return self._ask("GET", f"{self._api}/{name}/manifests/{tag}").json()

    def corrupt(self, content: bytes) -> None:
        """Change the blob with this content in the store behind the server."""
        self._blob(content).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def restore(self, content: bytes) -> None:
        """Put it back."""
        self._blob(content).write_bytes(content)

    def _blob(self, content: bytes) -> Path:
        digest = hashlib.sha256(content).hexdigest()
        return self._data / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"

    @staticmethod
    def _ask(method: str, url: str, body: bytes = b"", media_type: str = "") -> requests.Response:
        headers = {"Accept": _MANIFEST_TYPE, "Content-Type": media_type}
        with requests.Session() as session:
            answer = session.request(method, url, data=body, headers=headers, timeout=10)
        answer.raise_for_status()
        return answer


def basic_auth(folder: Path) -> dict[str, Any]:
    """One user with a password, asked for as web servers do."""
    (folder / "htpasswd").write_text(_HTPASSWD + "\n", "utf-8")
    return {"htpasswd": {"realm": "placet", "path": str(folder / "htpasswd")}}


@contextlib.contextmanager
def running_registry(
    folder: Path, *, certificate: CertificateFiles | None = None, auth: Mapping[str, Any] | None = None
) -> Iterator[Registry]:
    """A registry until the block ends; over TLS with a certificate, for users alone with ``auth`` of its settings."""
    server = Registry(folder, free_port(), certificate, auth or {})
    try:
        server.process.wait_until(server.ready, "listening", _START_S)
        yield server
    finally:
        server.process.stop()
