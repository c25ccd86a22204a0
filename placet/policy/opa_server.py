"""An OPA server's REST API, through opa-python-client, each failure with its own code."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

from opa_client.errors import RegoParseError
from opa_client.opa import OpaClient

from placet.errors import ConfigError, EngineError, EngineUnavailable
from placet.policy.contents import Module
from placet.policy.failures import failure
from placet.policy.sockets import Deadline
from placet.policy.transport import MAX_CONTENTS_BYTES, DeadlineSession, StrictResponse

_ABSENT: Final = (404,)
_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)
_SECURE_HINT: Final = (
    "Run OPA beside the gate and write http://127.0.0.1:8181, or give OPA a certificate and write https://; what goes "
    "over the network in plain text, anybody there can answer."
)


class OpaServer:
    """The server at one address; each thread keeps a connection of its own, each call keeps to its deadline."""

    def __init__(self, url: str, *, token: str, ca_file: str) -> None:
        """Read the address; nothing is sent yet.

        Raises:
            ConfigError: no such address, plain http to another machine, or a token or authorities that can't be used.
        """
        if token and not _TOKEN.fullmatch(token):
            raise ConfigError("PLACET_OPA_TOKEN holds white space or characters that no token may have")
        self._arguments = {**_parse_url(url, ca_file=ca_file), "token": token or None}
        self._closed = False
        self.start_afresh()

    def query(self, package: str, rule: str, document: bytes, deadline: Deadline) -> Any:
        """The whole answer to canonical bytes, with ``result`` and ``provenance``."""
        with _named():
            return self._client(deadline).query_rule(
                input_data=cast("Any", document),  # the session puts rendered bytes in place as they are
                package_path=package,
                rule_name=rule,
                query_params=cast("Any", {"provenance": "true"}),
            )

    def read_modules(self, deadline: Deadline) -> list[Module]:
        """Every module that the server holds."""
        with _named():
            return [_module(value) for value in self._client(deadline).get_loosely("policies")["result"]]

    def read_data(self, path: str, deadline: Deadline) -> Any:
        """The value at a path, without an input; None when there is none."""
        with _named():
            return self._client(deadline).get_loosely(f"data/{path}").get("result")

    def put_module(self, module_id: str, raw: str, deadline: Deadline) -> None:
        """Add or replace a module.

        Raises:
            EngineError: ``engine_push_refused`` when it does not compile beside the others.
        """
        with _named(write=True):
            self._client(deadline).update_policy_from_string(raw, quote(module_id), rego_compat=False)

    def delete_module(self, module_id: str, deadline: Deadline) -> None:
        """Take a module away, if there is one; raises as ``put_module``."""
        with _named(write=True):
            self._client(deadline).delete(f"policies/{quote(module_id)}")

    def put_data(self, path: str, value: Mapping[str, Any], deadline: Deadline) -> None:
        """Set the value at a path; raises as ``put_module``."""
        with _named(write=True):
            self._client(deadline).update_or_create_data(dict(value), path)

    def delete_data(self, path: str, deadline: Deadline) -> None:
        """Take the value at a path away, if there is one; raises as ``put_module``."""
        with _named(write=True):
            self._client(deadline).delete(f"data/{path}")

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for client in list(self._clients):
            client.close_connection()  # type: ignore[no-untyped-call]

    def start_afresh(self) -> None:
        """Forget every connection, as a forked child must: they are its parent's."""
        self._local = threading.local()
        self._clients: weakref.WeakSet[_Client] = weakref.WeakSet()

    def _client(self, deadline: Deadline) -> _Client:
        if self._closed:
            raise EngineUnavailable("the policy engine is closed")
        client: _Client | None = getattr(self._local, "client", None)
        if client is None or client.pid != os.getpid():
            client = self._local.client = _Client(**self._arguments)  # type: ignore[no-untyped-call]
            client.pid = os.getpid()
            self._clients.add(client)
        client.deadline = deadline
        client.timeout = deadline.remaining_s()
        return client


class _Client(OpaClient):
    """The client with a session that keeps to a deadline, bounds the body and names each failure."""

    deadline: Deadline
    pid: int
    _session: DeadlineSession  # type: ignore[assignment]

    def _init_session(self) -> DeadlineSession:
        session = DeadlineSession(lambda: self.deadline)
        session.headers.update(self.headers or {})
        session.verify = self.ssl
        return session

    def get_loosely(self, path: str) -> Any:
        """A large document; whoever calls compares it with what it must be."""
        response = self._session.request("GET", f"{self.root_url}/{path}", max_bytes=MAX_CONTENTS_BYTES)
        return cast("StrictResponse", response).loose_json()

    def delete(self, path: str) -> None:
        """Delete what may be there."""
        self._session.request("DELETE", f"{self.root_url}/{path}", accept=_ABSENT)


@contextmanager
def _named(*, write: bool = False) -> Iterator[None]:
    """Whatever the client makes of an odd answer is a failure with a code, and what OPA refuses to take is refused."""
    try:
        yield
    except EngineError as error:
        if write and error.code == "engine_http_error":
            raise failure("engine_push_refused", "the policy engine refused the policies or the data") from error
        raise
    except (RegoParseError, AttributeError, LookupError, TypeError, ValueError) as exc:
        raise failure("engine_answer_invalid", f"the policy engine's answer is none: {type(exc).__name__}") from exc


def _module(value: Any) -> Module:
    module_id, raw = value["id"], value["raw"]
    root = value["ast"]["package"]["path"][1]["value"]
    if not all(isinstance(text, str) for text in (module_id, raw, root)):
        raise TypeError("a module without a text")
    return Module(module_id, root, raw)


def _parse_url(url: str, *, ca_file: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 8181)
    except ValueError as exc:
        raise ConfigError(f"{url!r} is not the address of an OPA server") from exc
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.path not in {"", "/"}
        or parts.query
        or parts.username
    ):
        raise ConfigError(f"{url!r} is not the address of an OPA server", hint="Write it as http://127.0.0.1:8181.")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigError(f"policy.opa_url {url!r} is plain http to another machine", hint=_SECURE_HINT)
    if ca_file and parts.scheme == "http":
        raise ConfigError("policy.opa_ca goes with an https:// opa_url", hint=_SECURE_HINT)
    if ca_file:
        _require_authorities(ca_file)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return {"host": host, "port": port, "ssl": (ca_file or True) if parts.scheme == "https" else False, "retries": 0}


def _is_loopback(host: str) -> bool:
    if host == "localhost":  # RFC 6761, 6.3: never anything else
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_authorities(ca_file: str) -> None:
    try:
        ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"policy.opa_ca {Path(ca_file)} can't be used: {type(exc).__name__}",
            hint="It is a file of PEM certificates, those of the authorities that signed OPA's certificate.",
        ) from exc
