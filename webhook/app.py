"""The Flask application: routes and HTTP, nothing that decides."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from flask import Flask, Request, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from placet.decide import Deadline, Gate
from placet.errors import ReviewError
from webhook.admission import review
from webhook.settings import HttpSettings

_DURATION: Final = re.compile(r"(?:(\d{1,4})m)?(?:(\d{1,6}(?:\.\d{1,9})?)s)?", re.ASCII)
_MILLISECONDS: Final = re.compile(r"(\d{1,8})ms", re.ASCII)


def create_app(gate: Gate, *, ready: Callable[[], dict[str, str]], settings: HttpSettings | None = None) -> Flask:
    """Build the application.

    Args:
        gate: decides.
        ready: what is not ready and why, empty when all is; must not block.
        settings: limits; the defaults when None.
    """
    limits = settings or HttpSettings()
    app = Flask(__name__)

    @app.post("/v1/admit/<environment>")
    def admit(environment: str) -> Response:
        try:
            raw = read_body(request, max_bytes=limits.max_body_bytes)
            deadline = Deadline(budget_s(request.args.get("timeout"), limits))
            return jsonify(review(gate, raw, environment=environment, deadline=deadline))
        except ReviewError as error:
            answer = jsonify({"error": str(error), "code": error.code, "hint": error.hint})
            answer.status_code = error.status
            return answer

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    def readyz() -> Response:
        problems = ready()
        text = "ok\n" if not problems else "".join(f"{part}: {why}\n" for part, why in sorted(problems.items()))
        return Response(text, status=503 if problems else 200, mimetype="text/plain")

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        status = error.code or 500
        return jsonify({"error": error.name, "code": f"http_{status}"}), status

    return app


def read_body(incoming: Request, *, max_bytes: int) -> bytes:
    """The whole body, or a 4xx: a body of unknown or false length is never judged.

    Raises:
        ReviewError: 411, 413, 415 or 400.
    """
    if incoming.mimetype != "application/json":
        raise ReviewError("the content type is not application/json", status=415, code="review_content_type")
    length = incoming.content_length
    if length is None or "chunked" in incoming.headers.get("Transfer-Encoding", "").lower():
        raise ReviewError("the request has no Content-Length", status=411, code="review_length_required")
    if length > max_bytes:
        raise ReviewError(f"{length} bytes, more than the {max_bytes} allowed", status=413, code="review_too_large")
    raw = incoming.stream.read(length)
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
