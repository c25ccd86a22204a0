"""The Flask application: paths and HTTP, nothing that decides.

Reviews are answered before Flask routes: its request and response objects cost as much as a signature check, and a
review needs neither (ADR 21). Every other path is Flask's.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from placet.canary import CanaryKey
from placet.decide import Deadline, Gate
from placet.decision import GUARD
from placet.errors import ReviewError
from webhook.admission import LogOnly, Observer, review
from webhook.readiness import Report
from webhook.server_state import CALLER_KEY, RECEIVED_KEY, SANS_KEY, STATE_KEY, ServerState
from webhook.settings import Access, HttpSettings

ADMIT: Final = "/v1/admit/"
GUARD_PATH: Final = f"/v1/{GUARD}"
_DURATION: Final = re.compile(r"(?:(\d{1,4})m)?(?:(\d{1,6}(?:\.\d{1,9})?)s)?", re.ASCII)
_MILLISECONDS: Final = re.compile(r"(\d{1,8})ms", re.ASCII)
_LENGTH: Final = re.compile(r"\d{1,18}", re.ASCII)
_MAX_PARAMETERS: Final = 16
_STATUS: Final = {
    200: "200 OK",
    400: "400 Bad Request",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    411: "411 Length Required",
    413: "413 Content Too Large",
    415: "415 Unsupported Media Type",
}


class GateSource(Protocol):
    """Where the gate of now comes from."""

    def holding(self) -> AbstractContextManager[Gate]:
        """The gate, which stays usable until the block is left."""


class HttpObserver(Observer, Protocol):
    """Hears of refusals too."""

    def refused(self, code: str) -> None:
        """A call was answered with 4xx."""


class Uncounted(LogOnly):
    """Counts nothing."""

    def refused(self, code: str) -> None:
        """See :class:`HttpObserver`."""


class Admission:
    """Answers ``POST`` to ``/v1/admit/<environment>`` and ``/v1/guard/namespaces``, with the token after it if any."""

    def __init__(
        self,
        gates: GateSource,
        *,
        access: Access,
        limits: HttpSettings,
        observer: HttpObserver,
        canary: CanaryKey | None = None,
    ) -> None:
        self._gates = gates
        self._access = access
        self._limits = limits
        self._observer = observer
        self._canary = canary

    def answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A WSGI application for the paths below ``ADMIT`` and ``GUARD_PATH``."""
        try:
            status, value = 200, self._review(environ)
        except ReviewError as error:
            self._observer.refused(error.code)
            status, value = error.status, {"error": str(error), "code": error.code, "hint": error.hint}
        body = json.dumps(value).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        if status == 405:  # noqa: PLR2004 - RFC 9110, section 15.5.6
            headers.append(("Allow", "POST"))
        start_response(_STATUS[status], headers)
        return [body]

    def _review(self, environ: WSGIEnvironment) -> dict[str, Any]:
        environment, slash, rest = split_path(_path(environ))
        if not environment or not self._access.opens(rest if slash else None):
            raise ReviewError("Not Found", status=404, code="http_404")  # in Flask's words: nothing is given away
        if environ["REQUEST_METHOD"] != "POST":
            raise ReviewError("Method Not Allowed", status=405, code="http_405")
        callers, sans = environ.get(CALLER_KEY, ()), environ.get(SANS_KEY, ())
        if not self._access.admits(callers, sans):
            raise ReviewError(
                "only the API server may ask, by its client certificate",
                status=403,
                code="caller_unknown",
                hint="Give the API server a client certificate for this webhook whose names are in server.client_names "
                "and server.client_sans.",
            )
        budget = budget_s(_timeout(environ), self._limits)
        raw = read_body(environ, max_bytes=self._limits.max_body_bytes)
        if (received := environ.get(RECEIVED_KEY)) is not None:  # what was spent waiting for this thread is gone
            budget -= max(0.0, time.monotonic() - received)
        with self._gates.holding() as gate:
            return review(
                gate,
                raw,
                environment=environment,
                deadline=Deadline(budget),
                caller_authenticated=self._access.authenticates(callers, sans),
                observer=self._observer,
                canary=self._canary,
            )


def create_app(
    gates: GateSource,
    *,
    ready: Callable[[ServerState | None], Report],
    settings: HttpSettings | None = None,
    access: Access | None = None,
    observer: HttpObserver | None = None,
    metrics: Callable[[ServerState | None], tuple[bytes, str]] | None = None,
    canary: CanaryKey | None = None,
) -> Flask:
    """Build the application.

    Args:
        gates: gives the gate that decides.
        ready: how all stands, given what the server knows; must not block.
        settings: limits; the defaults when None.
        access: who may ask; anybody when None.
        observer: hears of decisions and refusals.
        metrics: text of a scrape and its content type.
        canary: knows the canaries of this record's gates; None where nobody sends any.
    """
    app = Flask(__name__)
    admission = Admission(
        gates,
        access=access or Access(),
        limits=settings or HttpSettings(),
        observer=observer or Uncounted(),
        canary=canary,
    )

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    def readyz() -> Response:
        report = ready(request.environ.get(STATE_KEY))
        return Response(report.lines(), status=503 if report.problems else 200, mimetype="text/plain")

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        status = error.code or 500
        return jsonify({"error": error.name, "code": f"http_{status}", "hint": ""}), status

    if metrics is not None:

        @app.get("/metrics")
        def scrape() -> Response:
            text, content_type = metrics(request.environ.get(STATE_KEY))
            return Response(text, content_type=content_type)

    app.wsgi_app = _dispatch(admission, app.wsgi_app)  # type: ignore[method-assign, assignment]
    return app


def _dispatch(admission: Admission, others: WSGIApplication) -> WSGIApplication:
    def dispatch(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith((ADMIT, GUARD_PATH)):
            return admission.answer(environ, start_response)
        return others(environ, start_response)

    return dispatch


def split_path(path: str) -> tuple[str, str, str]:
    """The environment that a path names, ``GUARD`` for the path of Namespaces, "" for none; a slash; the token."""
    if path.startswith(GUARD_PATH):
        before, slash, rest = path[len(GUARD_PATH) :].partition("/")
        return ("" if before else GUARD), slash, rest
    return path[len(ADMIT) :].partition("/")


def read_body(environ: WSGIEnvironment, *, max_bytes: int) -> bytes:
    """The whole body, or a 4xx: a body of unknown or false length is never judged.

    Raises:
        ReviewError: 411, 413, 415 or 400.
    """
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise ReviewError("the content type is not application/json", status=415, code="review_content_type")
    text = environ.get("CONTENT_LENGTH") or ""
    if not _LENGTH.fullmatch(text) or "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        raise ReviewError("the request has no Content-Length", status=411, code="review_length_required")
    length = int(text)
    if length > max_bytes:
        raise ReviewError(f"{length} bytes, more than the {max_bytes} allowed", status=413, code="review_too_large")
    raw: bytes = environ["wsgi.input"].read(length)
    if len(raw) != length:
        raise ReviewError("the body is shorter than its Content-Length", code="review_truncated")
    return raw


def budget_s(text: str | None, limits: HttpSettings) -> float:
    """Seconds for this review: the caller's Go duration less the margin, never below half of it.

    Raises:
        ReviewError: the parameter is not a duration.
    """
    seconds = limits.default_timeout_s
    if text is not None:
        match, short = _DURATION.fullmatch(text), _MILLISECONDS.fullmatch(text)
        if short is not None:
            seconds = int(short[1]) / 1000
        elif match is not None and text:
            seconds = int(match[1] or 0) * 60 + float(match[2] or 0)
        else:
            raise ReviewError("the timeout parameter is not a duration such as 10s", code="review_timeout")
    seconds = min(seconds, limits.longest_timeout_s)
    return max(seconds - limits.margin_s, seconds / 2)


def _path(environ: WSGIEnvironment) -> str:
    """The path; PEP 3333 hands over its bytes as Latin-1."""
    path: str = environ["PATH_INFO"]
    return path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace")


def _timeout(environ: WSGIEnvironment) -> str | None:
    query = environ.get("QUERY_STRING", "")
    if "timeout" not in query:
        return None
    try:
        values = parse_qs(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise ReviewError("the query has too many parameters", code="review_timeout") from error
    return next(iter(values.get("timeout", ())), None)
