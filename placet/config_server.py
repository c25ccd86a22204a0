"""How the webhook listens and who may ask, in the configuration file: the keys below ``server``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.config_parts import place
from placet.settings_file import Settings

DEFAULT_PORT: Final = 8443
_PATH: Final = {"type": "string", "minLength": 1}
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
_SAN: Final = "^(DNS:[!-~]+|URI:[!-~]+|IP:[0-9a-f:.]+)$"

SERVER_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "host": {
            "type": "string",
            "minLength": 1,
            "default": "127.0.0.1",
            "description": "Address to listen on.",
        },
        "port": {**_PORT, "default": DEFAULT_PORT, "description": "TCP port of the webhook, TLS."},
        "tls_cert": {**_PATH, "description": "Serving certificate (PEM, with its chain)."},
        "tls_key": {**_PATH, "description": "Its private key (PEM)."},
        "tls_minimum": {
            "enum": ["1.2", "1.3"],
            "default": "1.3",
            "description": "The oldest TLS that is spoken.",
        },
        "client_ca": {
            **_PATH,
            "description": "Authorities (PEM) of the API server's client certificate; reviews without one are refused.",
        },
        "client_names": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 1},
            "description": "Common names or DNS names of client certificates that may ask.",
        },
        "client_sans": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "pattern": _SAN},
            "description": "Alternative names (DNS:name, URI:uri, IP:address) of which such a certificate has to "
            "have one, beside a name of client_names where there are any.",
        },
        "status_port": {
            **_PORT,
            "description": "Plain HTTP port for /healthz, /readyz and /metrics; on the TLS port without it.",
        },
        "threads": {
            "type": "integer",
            "minimum": 1,
            "maximum": 64,
            "default": 4,
            "description": "Reviews judged at once.",
        },
        "drain_seconds": {
            "type": "number",
            "minimum": 0,
            "maximum": 300,
            "default": 15.0,
            "description": "How long to go on serving after SIGTERM, so that callers find another replica.",
        },
        "max_connections": {
            "type": "integer",
            "minimum": 16,
            "maximum": 65536,
            "default": 1024,
            "description": "Open connections; whoever proved who it is makes room for nobody else.",
        },
        "max_connections_per_address": {
            "type": "integer",
            "minimum": 8,
            "maximum": 65536,
            "default": 256,
            "description": "Open connections from one address that have not proved who they are.",
        },
        "max_waiting_reviews": {
            "type": "integer",
            "minimum": 1,
            "maximum": 65536,
            "default": 256,
            "description": "Reviews that wait for a thread; beyond, whoever has the most of them is told to come "
            "again.",
        },
        "max_body_mebibytes": {
            "type": "integer",
            "minimum": 16,
            "maximum": 65536,
            "default": 64,
            "description": "Memory for the bodies of all reviews at once; beyond, whoever holds the most is told "
            "to come again.",
        },
    },
}


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the webhook listens.

    Attributes:
        host: address to listen on.
        port: TCP port, TLS.
        tls_cert: serving certificate, or None when nothing is served.
        tls_key: its key.
        tls_minimum: ``1.2`` or ``1.3``.
        client_ca: authorities of callers' certificates; None when callers need none.
        client_names: names that may ask; empty without ``client_ca``.
        client_sans: alternative names with their kind, of which a caller has to have one; empty for any.
        status_port: plain HTTP port of health and metrics, or None.
        threads: reviews judged at once.
        drain_s: how long to go on serving after SIGTERM, seconds.
        max_connections: open ones.
        max_per_address: open ones of one address that have not proved who they are.
        max_waiting: reviews that wait for a thread.
        max_body_mib: memory for the bodies of all reviews at once, MiB.
    """

    host: str
    port: int
    tls_cert: Path | None
    tls_key: Path | None
    tls_minimum: str
    client_ca: Path | None
    client_names: tuple[str, ...]
    status_port: int | None
    threads: int
    drain_s: float
    client_sans: tuple[str, ...] = ()
    max_connections: int = 1024
    max_per_address: int = 256
    max_waiting: int = 256
    max_body_mib: int = 64


def build_server(server: dict[str, Any], folder: Path) -> ServerConfig:
    """The section ``server``.

    Args:
        server: the section, with its defaults.
        folder: that paths are relative to.
    """
    return ServerConfig(
        host=server["host"],
        port=server["port"],
        tls_cert=place(folder, server.get("tls_cert")),
        tls_key=place(folder, server.get("tls_key")),
        tls_minimum=server["tls_minimum"],
        client_ca=place(folder, server.get("client_ca")),
        client_names=tuple(server.get("client_names", ())),
        status_port=server.get("status_port"),
        threads=server["threads"],
        drain_s=float(server["drain_seconds"]),
        client_sans=tuple(server.get("client_sans", ())),
        max_connections=server["max_connections"],
        max_per_address=server["max_connections_per_address"],
        max_waiting=server["max_waiting_reviews"],
        max_body_mib=server["max_body_mebibytes"],
    )


def require_consistent_server(settings: Settings, server: dict[str, Any]) -> None:
    """Keys that only go together.

    Args:
        settings: the whole file, for its lines.
        server: the section, with its defaults.

    Raises:
        ConfigError: they do not, with file and line.
    """
    if ("tls_cert" in server) != ("tls_key" in server):
        raise settings.error(
            ("server", "tls_cert" if "tls_cert" in server else "tls_key"), "tls_cert goes with tls_key"
        )
    named = next((name for name in ("client_names", "client_sans") if name in server), "")
    if ("client_ca" in server) != bool(named):
        raise settings.error(
            ("server", named or "client_ca"),
            "client_ca goes with client_names or client_sans",
            hint="An authority signs for many; name the certificates of the API server.",
        )
    for number, san in enumerate(server.get("client_sans", ())):
        kind, _, address = san.partition(":")
        if kind == "IP" and not _is_plain_address(address):
            raise settings.error(
                ("server", "client_sans", number),
                f"{address} is not an IP address in its one short form",
                hint="IPv6 in lower case with its zeros shortened (RFC 5952).",
            )


def _is_plain_address(text: str) -> bool:
    try:
        return str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False
