"""What the server listens on, what each port serves, and how many connections the machine allows."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
from collections.abc import Iterable
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from placet.errors import ConfigError

_LOG: Final = logging.getLogger("placet.webhook.server")
_SPARE_DESCRIPTORS: Final = 128
_BACKLOG: Final = 1024
_STATUS_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})


def open_listener(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: it holds the port, and callers go elsewhere until all is ready.

    Raises:
        ConfigError: nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's
        listener.bind((host, port))
    except (OSError, OverflowError) as exc:
        listener.close()
        raise _unusable(host, port, exc) from exc
    return listener


def begin_listening(listener: socket.socket) -> None:
    """Let callers connect.

    Raises:
        ConfigError: another process was quicker: two may hold a port that nobody listens on yet.
    """
    try:
        listener.listen(_BACKLOG)
    except OSError as exc:
        host, port = listener.getsockname()[:2]
        raise _unusable(host, port, exc) from exc


def _unusable(host: str, port: int, exc: Exception) -> ConfigError:
    return ConfigError(
        f"can't listen on {host} port {port}: {getattr(exc, 'strerror', None) or exc}",
        code="port_unusable",
        hint="Another process may hold it; set server.host and server.port, or --port.",
    )


def fitting_connections(wanted: int) -> int:
    """How many connections the limit of open files allows, some kept for the record and the policy engine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if soft < needed:
            fitting = max(soft - _SPARE_DESCRIPTORS, soft // 2, 1)
            _LOG.warning("only %d open files are allowed: at most %d connections", soft, fitting)
            return fitting
    return wanted


def only_status(app: WSGIApplication) -> WSGIApplication:
    """What the plain listener serves: three paths, to read."""

    def filtered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in _STATUS_PATHS and environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            return app(environ, start_response)
        return _not_found(start_response)

    return filtered


def without_metrics(app: WSGIApplication) -> WSGIApplication:
    """What the TLS listener serves beside a plain one: metrics are for the other, whose callers can be told apart."""

    def filtered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return _not_found(start_response) if environ["PATH_INFO"] == "/metrics" else app(environ, start_response)

    return filtered


def _not_found(start_response: StartResponse) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "application/json")])
    return [b'{"error": "Not Found", "code": "http_404"}\n']
