"""HTTP to the policy engine: one deadline for the whole exchange, a bounded body, no redirects, canonical bytes."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter

from placet.canonical import parse_json, render_canonical
from placet.errors import EngineError, FormatError
from placet.policy.failures import failure
from placet.policy.sockets import POOLS, Deadline, begin_exchange

MAX_BODY_BYTES: Final = 1 << 20
"""Of an answer; a decision has a few kilobytes."""
MAX_CONTENTS_BYTES: Final = 1 << 24
"""Of the list of all policies, which OPA gives with their syntax trees."""
_CHUNK_BYTES: Final = 1 << 16
_SUCCESS: Final = frozenset({HTTPStatus.OK, HTTPStatus.NO_CONTENT})
_BY_STATUS: Final = {
    **dict.fromkeys((401, 403), "engine_forbidden"),
    **dict.fromkeys((429, 503), "engine_overloaded"),
    **dict.fromkeys((404, 502, 504), "engine_unavailable"),
    **dict.fromkeys(range(300, 400), "engine_redirected"),
}


class StrictResponse(requests.Response):
    """A response whose JSON is read strictly."""

    def json(self, **_options: Any) -> Any:
        """The body as JSON values.

        Raises:
            EngineAnswerError: ``engine_answer_not_json``.
        """
        try:
            return parse_json(self.content, max_bytes=MAX_BODY_BYTES)
        except FormatError as exc:
            message = f"the policy engine's answer is not plain JSON: {exc.code}"
            raise failure("engine_answer_not_json", message) from exc

    def loose_json(self) -> Any:
        """The same for a large body that nothing is decided by, without the cost of a strict reader.

        Raises:
            EngineAnswerError: ``engine_answer_not_json``.
        """
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as exc:
            raise failure("engine_answer_not_json", "what the policy engine says it holds is not JSON") from exc


class _Adapter(HTTPAdapter):
    def __init__(self) -> None:
        super().__init__(max_retries=0)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def build_response(self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse) -> requests.Response:
        response: requests.Response = super().build_response(req, resp)
        response.__class__ = StrictResponse
        return response


class DeadlineSession(requests.Session):
    """A session for one thread whose every request keeps to the deadline of the moment."""

    def __init__(self, deadline: Callable[[], Deadline]) -> None:
        super().__init__()
        self._deadline = deadline
        # No proxy, no .netrc, no cookies: what is asked here is decided by our configuration alone.
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        # What is not compressed can't grow while it is unpacked.
        self.headers["Accept-Encoding"] = "identity"
        self.mount("http://", _Adapter())
        self.mount("https://", _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: requests would otherwise read a redirect's body, of any size, to follow it."""

    def request(self, method: str | bytes, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send, and read the whole body; JSON is sent as canonical bytes.

        Args:
            method: of HTTP.
            url: the whole address.
            options: as of requests, and ``max_bytes`` of the body, and ``accept``, further statuses that are no fault.

        Raises:
            EngineError: with one of the codes of ``FAILURES``; nothing else.
        """
        max_bytes, accept = options.pop("max_bytes", MAX_BODY_BYTES), options.pop("accept", ())
        if (value := options.pop("json", None)) is not None:
            options["data"] = _render_body(value)
            options["headers"] = {"Content-Type": "application/json", **(options.get("headers") or {})}
        begin_exchange(self._deadline())
        options |= {"stream": True, "allow_redirects": False, "timeout": self._deadline().remaining_s()}
        try:
            response = super().request(method, url, **options)
            try:
                _require_success(response, accept)
                # Where requests itself keeps a body that it has read.
                response._content, response._content_consumed = _read(response, max_bytes), True  # type: ignore[attr-defined]  # noqa: SLF001
            finally:
                # Also gives the connection back when the body was read to its end.
                response.close()
        except EngineError:
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            raise _name(exc) from exc
        return response


def _require_success(response: requests.Response, accept: Any) -> None:
    status = response.status_code
    if status not in _SUCCESS and status not in accept:
        raise failure(_BY_STATUS.get(status, "engine_http_error"), f"the policy engine answered HTTP {status}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise failure("engine_answer_compressed", "the policy engine's answer is compressed")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if status == HTTPStatus.OK and kind != "application/json":
        raise failure("engine_answer_type", "the policy engine's answer is not of the type application/json")


def _read(response: requests.Response, max_bytes: int) -> bytes:
    body = bytearray()
    while piece := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        body += piece
        if len(body) > max_bytes:
            raise failure("engine_answer_too_large", f"the policy engine's answer is larger than {max_bytes} bytes")
    return bytes(body)


def _render_body(value: dict[str, Any]) -> bytes:
    """Canonical bytes; a policy input comes rendered already, and is put in place as it is."""
    document = value.get("input")
    return b'{"input":' + document + b"}" if isinstance(document, bytes) else render_canonical(value)


def _name(exc: BaseException) -> EngineError:
    """The failure behind what requests, urllib3 and http.client raised, each wrapped in the next."""
    causes = list(_causes(exc))
    if any(isinstance(cause, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError) for cause in causes):
        return failure("engine_timeout", "the policy engine did not answer in time")
    if any(isinstance(cause, http.client.IncompleteRead | urllib3.exceptions.IncompleteRead) for cause in causes):
        return failure("engine_cut_short", "the policy engine's answer was cut short")
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return failure("engine_tls", f"the policy engine's TLS can't be trusted: {type(causes[-1]).__name__}")
    if any(
        isinstance(cause, http.client.HTTPException) and not isinstance(cause, ConnectionError) for cause in causes
    ) or not any(isinstance(cause, OSError) for cause in causes[1:] or causes):
        return failure("engine_not_http", "the policy engine's answer is not HTTP")
    return failure("engine_unavailable", f"the policy engine can't be reached: {type(causes[-1]).__name__}")


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was made from, outermost first."""
    yield exc
    inner = next((part for part in (*exc.args, getattr(exc, "reason", None)) if isinstance(part, BaseException)), None)
    if (inner := inner or exc.__cause__) is not None:
        yield from _causes(inner)
