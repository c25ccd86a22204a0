"""What gives tokens to users of a registry: it knows one user, and signs what the registry trusts."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.e2e.authority import CertificateFiles
from tests.simulators.registry import PASSWORD, USER

SERVICE: Final = "placet-tests"
ISSUER: Final = "placet-tests-issuer"
_WORD: Final = 32


@dataclass
class TokenServer:
    """Where it is, and whom it answered.

    Attributes:
        realm: its address.
        asked: Authorization of each request, "" where there was none.
    """

    realm: str = ""
    asked: list[str] = field(default_factory=list)

    def settings(self, certificate: CertificateFiles) -> dict[str, Any]:
        """``auth`` of a registry that trusts it."""
        bundle = str(certificate.certificate)
        return {"token": {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}}


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _sign(files: CertificateFiles, scope: str) -> str:
    """A token for what was asked, valid for a minute (JWT, ES256, certificate in the head)."""
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": USER,
        "aud": SERVICE,
        "exp": now + 60,
        "nbf": now - 60,
        "iat": now,
        "jti": "1",
        "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
    }
    head = {"typ": "JWT", "alg": "ES256", "x5c": chain}
    signed = ".".join(_text(json.dumps(part).encode()) for part in (head, claims))
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(type(key))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_text(r.to_bytes(_WORD, 'big') + s.to_bytes(_WORD, 'big'))}"


@contextlib.contextmanager
def serving_tokens(files: CertificateFiles) -> Iterator[TokenServer]:
    """Serve until the block ends, over TLS; tokens are signed with the key of the same certificate."""
    kept = TokenServer()
    known = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            kept.asked.append(given)
            scope = parse_qs(urlsplit(self.path).query).get("scope", [""])[0]
            body = json.dumps({"token": _sign(files, scope)}).encode() if given == known else b"{}"
            self.send_response(200 if given == known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    kept.realm = f"https://127.0.0.1:{server.server_address[1]}/token"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
