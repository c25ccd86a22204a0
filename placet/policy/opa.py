"""The engine that asks an OPA server, through opa-python-client."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn, cast
from urllib.parse import urlsplit

import requests
from opa_client.errors import RegoParseError
from opa_client.opa import OpaClient

from placet.errors import ConfigError, EngineAnswerError, EngineError, EngineTimeout, EngineUnavailable
from placet.policy.bundle import Bundle, shipped_bundle
from placet.policy.data import PolicyData
from placet.policy.decision import PolicyDecision, parse_decision
from placet.policy.document import render_document
from placet.policy.transport import Deadline, DeadlineSession

_PREPARE_S: Final = 5.0
_PROBE: Final = b'{"uid":"prepare"}'
_DATA_PATH: Final = "placet"
_MISMATCH_HINT: Final = (
    "Give OPA the bundle of this release (`placet/_bundle/bundle.tar.gz`), alone, and OPA of the version that built it."
)
_OUT_OF_REACH: Final = frozenset({401, 403, 404, 429, 502, 503, 504})


class OpaEngine:
    """Judges with an OPA server in its default mode, usually a sidecar, that has the bundle and nothing else.

    The policy data is pushed to it: at ``prepare``, and again when an answer shows that the server has lost it, as it
    does when it restarts. Each thread keeps a connection of its own.
    """

    name = "opa"

    def __init__(
        self, url: str, data: PolicyData, *, bundle: Bundle | None = None, token: str = "", ca_file: str = ""
    ) -> None:
        """Read the address; nothing is sent yet.

        Args:
            url: ``http://127.0.0.1:8181`` or https, without a path.
            data: pushed to the server.
            bundle: whose revision and compiler the server must have; by default the one that ships.
            token: bearer token, when the server asks for one.
            ca_file: authorities for https; the system's when empty.

        Raises:
            ConfigError: no such address.
        """
        bundle = bundle or shipped_bundle()
        self.version = bundle.compiler
        self.revision = bundle.revision
        self._package, _, self._rule = bundle.entry_point.rpartition("/")
        self._expected_rules = len(bundle.rules)
        self._data = data.stamped(expected_rules=self._expected_rules)
        self._data_digest = str(data.digest)
        self._arguments = {**_parse_url(url, ca_file=ca_file), "token": token or None}
        self._local = threading.local()
        self._clients: weakref.WeakSet[_Client] = weakref.WeakSet()
        self._closed = False

    def prepare(self) -> None:
        """Push the policy data, and see by an answer that the server has it, our bundle and our version.

        Raises:
            EngineError: the server can't be reached, does not take the data, or is another one.
        """
        deadline = Deadline(_PREPARE_S)
        self._push(deadline)
        answer = self._query(_PROBE, deadline)
        if not isinstance(answer, dict) or answer.get("data_digest") != self._data_digest:
            raise EngineAnswerError("OPA took the policy data, and judges with other data")

    def decide(self, document: Mapping[str, Any], *, deadline_s: float) -> PolicyDecision:
        """Judge a document; see ``PolicyEngine.decide``."""
        deadline = Deadline(deadline_s)
        value = self.evaluate(render_document(document), deadline)
        return parse_decision(
            value, uid=document["uid"], data_digest=self._data_digest, expected_rules=self._expected_rules
        )

    def evaluate(self, document: bytes, deadline: Deadline) -> Any:
        """The raw answer of the policies to canonical bytes; for tests and measurements, ``decide`` reads it."""
        value = self._query(document, deadline)
        if isinstance(value, dict) and value.get("data_digest") != self._data_digest:
            self._push(deadline)
            value = self._query(document, deadline)
        return value

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for client in list(self._clients):
            client.close_connection()  # type: ignore[no-untyped-call]

    def _query(self, document: bytes, deadline: Deadline) -> Any:
        """The value of the entry point, from a server that names our bundle and our version in the same answer."""
        with _failures_named():
            answer = self._client(deadline).query_rule(
                input_data=cast("Any", document),  # the session puts rendered bytes in place as they are
                package_path=self._package,
                rule_name=self._rule,
                query_params=cast("Any", {"provenance": "true"}),
            )
        if not isinstance(answer, dict) or not isinstance(provenance := answer.get("provenance"), dict):
            raise EngineAnswerError("OPA's answer has no provenance")
        self._require_ours(provenance)
        if "result" not in answer:
            raise EngineAnswerError("the policies gave no answer")
        return answer["result"]

    def _require_ours(self, provenance: dict[str, Any]) -> None:
        if (version := provenance.get("version")) != self.version:
            _refuse_mismatch(f"OPA is version {_brief(version)}, and the bundle was built by {self.version}")
        bundles = provenance.get("bundles")
        revisions = (
            [each.get("revision") for each in bundles.values() if isinstance(each, dict)]
            if isinstance(bundles, dict)
            else []
        )
        if revisions != [self.revision]:
            _refuse_mismatch(f"OPA judges by {_brief(revisions)}, and not by revision {self.revision} alone")

    def _push(self, deadline: Deadline) -> None:
        with _failures_named():
            self._client(deadline).update_or_create_data(self._data, _DATA_PATH)

    def _client(self, deadline: Deadline) -> _Client:
        if self._closed:
            raise EngineUnavailable("the policy engine is closed")
        client: _Client | None = getattr(self._local, "client", None)
        # A forked child must not speak on its parent's connection.
        if client is None or client.pid != os.getpid():
            client = self._local.client = _Client(**self._arguments)  # type: ignore[no-untyped-call]
            client.pid = os.getpid()
            self._clients.add(client)
        client.deadline = deadline
        client.timeout = deadline.remaining_s()
        return client


class _Client(OpaClient):
    """The client with a session that keeps to a deadline, bounds the body and sends canonical bytes."""

    deadline: Deadline
    pid: int

    def _init_session(self) -> requests.Session:
        session = DeadlineSession(lambda: self.deadline)
        session.headers.update(self.headers or {})
        session.verify = self.ssl
        return session


@contextmanager
def _failures_named() -> Iterator[None]:
    """Turns what requests and the client raise into our errors, each with its own code."""
    try:
        yield
    except requests.Timeout as exc:
        raise EngineTimeout("OPA did not answer in time") from exc
    except requests.HTTPError as exc:
        status = exc.response.status_code
        kind = EngineUnavailable if status in _OUT_OF_REACH else EngineAnswerError
        raise kind(f"OPA answered HTTP {status}") from exc
    except (requests.JSONDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise EngineAnswerError("OPA's answer is not JSON") from exc
    except (requests.RequestException, OSError) as exc:
        raise EngineUnavailable(f"OPA can't be reached: {type(exc).__name__}") from exc
    except (RegoParseError, AttributeError, LookupError, TypeError, ValueError) as exc:
        # What the client makes of a reply to the push that is not OPA's.
        raise EngineUnavailable(f"OPA did not take the policy data: {type(exc).__name__}") from exc


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
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return {"host": host, "port": port, "ssl": (ca_file or True) if parts.scheme == "https" else False, "retries": 0}


def _refuse_mismatch(message: str) -> NoReturn:
    raise EngineError(message, code="bundle_mismatch", hint=_MISMATCH_HINT)


def _brief(value: object) -> str:
    return repr(value)[:120]
