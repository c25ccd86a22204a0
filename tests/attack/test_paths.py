"""The environment is the one segment of the path, however the path is written; nothing else chooses it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from placet.decide import Gate
from tests.simulators.gate import GateDesk, example, review
from webhook.app import create_app
from webhook.readiness import Report
from webhook.server_state import ServerState
from webhook.server_work import Answer, Exchange, call_app, common_environ

# Allowed in development, where only what names a model is governed, and refused in production.
DEVELOPMENT: Final = "development"
PRODUCTION: Final = "production"


class OneGate:
    """Always the same."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    @contextmanager
    def holding(self) -> Iterator[Gate]:
        yield self._gate


class Nobody:
    """The answer is taken where it is made."""

    def answered(self, exchange: Exchange, answer: Answer) -> None:
        """See :class:`webhook.server_work.Caller`."""


def ask(desk: GateDesk, target: str, *, method: str = "POST", **headers: str) -> tuple[int, Any]:
    """The answer of the real application to a request as the real server hands it over."""
    manifest = example()
    for part in (manifest, manifest["spec"]["template"]):
        part["metadata"]["labels"].pop("placet.dev/model", None)
    body = json.dumps(review(manifest)).encode()
    sent = {"host": "gate", "content-type": "application/json", "content-length": str(len(body)), **headers}
    exchange = Exchange(
        Nobody(),
        method=method,
        target=target.encode("latin-1"),
        headers=[(name.replace("__", "-").encode(), value.encode()) for name, value in sent.items()],
        environ=common_environ(
            scheme="https", server=("gate", 443), remote="127.0.0.1", state=ServerState(), caller_names=()
        ),
        received=time.monotonic(),
        keep_alive=True,
    )
    exchange.body = body
    answer = call_app(create_app(OneGate(desk.gate), ready=lambda _state: Report()), exchange)
    status = int(answer.head.split()[1])
    return status, json.loads(answer.body) if answer.body.startswith(b"{") else None


@pytest.mark.parametrize(
    ("target", "environment"),
    [
        ("/v1/admit/production", PRODUCTION),
        ("/v1/admit/development", DEVELOPMENT),
        ("/v1/admit/%70roduction", PRODUCTION),
        ("/v1/admit/production?environment=development", PRODUCTION),
        ("/v1/admit/production?timeout=5s&/../development", PRODUCTION),
        ("/v1/admit/production%3Fx=development", "production?x=development"),
        ("/v1/admit/production%00", "production\0"),
        ("/v1/admit/production%0d%0aX:%20y", "production\r\nX: y"),
        ("/v1/admit/Development", "Development"),
        ("/v1/admit/development%20", "development "),
        ("/v1/admit/d%C3%A9velopment", "d\u00e9velopment"),
        ("/v1/admit/%ff", "\ufffd"),
        ("/v1/admit/developmen%EF%BD%94", "developmen\uff54"),
        ("/v1/admit/%2564evelopment", "%64evelopment"),
        ("/v1/admit/production;development", "production;development"),
        ("/v1/admit/../development", None),
        ("/v1/admit/production/../development", None),
        ("/v1/admit/production/..%2fdevelopment", None),
        ("/v1/admit/production%2f..%2fdevelopment", None),
        ("/v1/admit/production/development", None),
        ("/v1/admit/production/", None),
        ("/v1/admit//development", None),
        ("//v1/admit/development", None),
        ("/v1//admit/development", None),
        ("/v1/admit/", None),
        ("/v1/admit", None),
        ("/V1/admit/development", None),
        ("/x/../v1/admit/development", None),
        ("/v1/admit\\development", None),
    ],
)
def test_only_the_exact_segment_names_the_environment(desk: GateDesk, target: str, environment: str | None) -> None:
    status, answered = ask(desk, target)
    if environment is None:
        assert status == 404
        return
    assert status == 200
    assert answered["response"]["allowed"] == (environment == DEVELOPMENT)
    if environment not in {PRODUCTION, DEVELOPMENT}:
        causes = {cause["reason"] for cause in answered["response"]["status"]["details"]["causes"]}
        assert causes == {"gate.environment/environment_unknown"}


@pytest.mark.parametrize(
    "headers",
    [
        {"x__original__url": "/v1/admit/development"},
        {"x__rewrite__url": "/v1/admit/development"},
        {"x__forwarded__prefix": "/v1/admit/development"},
        {"x__http__method__override": "DELETE"},
        {"path_info": "/v1/admit/development"},
        {"script_name": "/v1/admit/development"},
    ],
)
def test_no_header_moves_a_request_elsewhere(desk: GateDesk, headers: dict[str, str]) -> None:
    status, answered = ask(desk, "/v1/admit/production", **headers)
    assert (status, answered["response"]["allowed"]) == (200, False)


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "TRACE", "post"])
def test_only_a_post_asks_for_a_review(desk: GateDesk, method: str) -> None:
    status, _ = ask(desk, "/v1/admit/development", method=method)
    assert status == 405
