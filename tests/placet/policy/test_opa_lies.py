"""Servers that are slow, broken or lie: each is refused, with a code of its own and a word on what to do."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from placet.errors import EngineAnswerError, EngineError, EngineTimeout, EngineUnavailable
from placet.policy.bundle import shipped_bundle
from placet.policy.contents import Contents
from placet.policy.data import load_policy_data
from placet.policy.failures import FAILURES, render_failures
from placet.policy.opa import OpaEngine
from placet.policy.transport import MAX_BODY_BYTES
from tests.golden.decisions.build import FOLDER
from tests.policies.documents import Json, passing_request
from tests.policies.lying import Answer, Reply, answering, holding

DATA = load_policy_data(None)
PULLED = Contents(shipped_bundle(), DATA, push=False)
PUSHED = Contents(shipped_bundle(), DATA, push=True)
ALLOW: Json = json.loads((FOLDER / "allowed-in-production" / "decision.json").read_text("utf-8"))
OURS: Json = {"version": "1.22.2", "bundles": {"bundle.tar.gz": {"revision": shipped_bundle().revision}}}
MODULES = [
    {"id": name, "raw": raw, "ast": {"package": {"path": [{"value": "data"}, {"value": "admission"}]}}}
    for name, raw in PULLED._modules.items()
]


def honest(result: Any = ALLOW, **changed: Any) -> Reply:
    return Reply(200, json.dumps({"result": result, "provenance": OURS | changed}).encode())


def liar(lie: Reply | Callable[[], Reply]) -> Answer:
    """Holds all it must and answers the gate's own look; lies about requests."""

    def query(_method: str, _path: str, body: bytes) -> Reply:
        if b'"prepare"' in body:
            return honest()
        return lie() if callable(lie) else lie

    return holding(PULLED, query)


def refusal(answer: Answer, *, deadline_s: float = 30, **options: Any) -> EngineError:
    options = {"timeout_s": 30.0} | options
    with answering(answer) as address, closing(OpaEngine(address, DATA, **options)) as engine:
        with pytest.raises(EngineError) as caught:
            engine.decide(passing_request(), deadline_s=deadline_s)
        assert caught.value.code in FAILURES
        assert caught.value.hint == FAILURES[caught.value.code].remedy
        return caught.value


def test_the_simulated_server_is_believed_when_it_does_not_lie() -> None:
    with answering(liar(honest())) as address, closing(OpaEngine(address, DATA, timeout_s=30)) as engine:
        assert engine.decide(passing_request(), deadline_s=10).allowed


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (ALLOW | {"uid": "another"}, "engine_other_request"),
        (ALLOW | {"data_digest": "sha256:" + "0" * 64}, "engine_other_data"),
        (ALLOW | {"rules_judged": 7, "rules_passed": 7}, "engine_answer_invalid"),
        (ALLOW | {"allowed": 1}, "engine_answer_invalid"),
        (ALLOW | {"allowed": "true"}, "engine_answer_invalid"),
        (ALLOW | {"surplus": 1}, "engine_answer_invalid"),
        ({"allowed": True}, "engine_other_data"),
        (True, "engine_answer_invalid"),
        (None, "engine_answer_invalid"),
        ([ALLOW], "engine_answer_invalid"),
        ("allowed", "engine_answer_invalid"),
    ],
)
def test_an_answer_that_is_no_decision_about_this_request_is_refused(result: Any, code: str) -> None:
    assert refusal(liar(honest(result))).code == code


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ({"version": "1.22.1"}, "engine_version_differs"),
        ({"version": None}, "engine_version_differs"),
        ({"version": "<script>"}, "engine_version_differs"),
        ({"bundles": {}}, "bundle_missing"),
        ({"bundles": None}, "bundle_missing"),
        ({"bundles": {"a": {"revision": "sha256:" + "0" * 64}}}, "bundle_mismatch"),
        ({"bundles": {"a": {"revision": shipped_bundle().revision}, "b": {"revision": "other"}}}, "bundle_mismatch"),
        ({"bundles": {"a": "text"}}, "bundle_mismatch"),
        ({"bundles": [1]}, "bundle_mismatch"),
    ],
)
def test_another_version_or_bundle_in_the_very_answer_is_refused(origin: Json, code: str) -> None:
    error = refusal(liar(honest(ALLOW, **origin)))
    assert error.code == code
    assert "<" not in str(error)


def test_a_bundle_where_the_policies_are_pushed_is_refused() -> None:
    stamped = ALLOW | {"data_digest": PUSHED.stamp}
    for reply, code in ((honest(stamped, bundles=None), ""), (honest(stamped), "bundle_mismatch")):

        def query(_method: str, _path: str, body: bytes, reply: Reply = reply) -> Reply:
            return honest(stamped, bundles=None) if b'"prepare"' in body else reply

        if code:
            assert refusal(holding(PUSHED, query), push=True).code == code
        else:
            with answering(holding(PUSHED, query)) as address, closing(OpaEngine(address, DATA, push=True)) as engine:
                decision = engine.decide(passing_request(), deadline_s=10)
            assert (decision.allowed, decision.data_digest) == (True, str(DATA.digest))


def test_policies_of_another_release_with_the_same_data_are_seen_by_the_stamp() -> None:
    # What a push by another release leaves behind: the digest of the data alone, or of other policies with it.
    query = holding(PUSHED, lambda *_: honest(ALLOW, bundles=None))
    assert refusal(query, push=True).code == "engine_other_data"


def forever(piece: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        while True:
            yield piece

    return pieces


def then(head: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            yield piece

    return pieces


def parts(*pieces: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter(pieces)


GOOD = honest().body
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
OLD = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
JSON = {"Content-Type": "application/json"}


def body(content: bytes, **headers: str) -> Reply:
    return Reply(200, content, headers=JSON | {name.replace("_", "-"): value for name, value in headers.items()})


JUDGED = b'"rules_judged": %d' % ALLOW["rules_judged"]
LIES: dict[str, tuple[Reply, str]] = {
    "html": (Reply(200, b"<html></html>", headers={"Content-Type": "text/html"}), "engine_answer_type"),
    "json called html": (Reply(200, GOOD, headers={"Content-Type": "text/html"}), "engine_answer_type"),
    "no type": (Reply(200, GOOD, headers={}), "engine_answer_type"),
    "html called json": (body(b"<html></html>"), "engine_answer_not_json"),
    "empty": (body(b""), "engine_answer_not_json"),
    "binary": (body(b"\xff\xfe\x00"), "engine_answer_not_json"),
    "byte order mark": (body(b"\xef\xbb\xbf" + GOOD), "engine_answer_not_json"),
    "half": (body(GOOD[:-5]), "engine_answer_not_json"),
    "two": (body(GOOD + GOOD), "engine_answer_not_json"),
    "key twice": (body(GOOD.replace(b'"allowed"', b'"allowed": false, "allowed"')), "engine_answer_not_json"),
    "nan": (body(GOOD.replace(JUDGED, b'"rules_judged": NaN')), "engine_answer_not_json"),
    "float": (body(GOOD.replace(JUDGED, JUDGED + b".0")), "engine_answer_not_json"),
    "deep": (body(b"[" * 100_000), "engine_answer_not_json"),
    "object": (body(b"{}"), "engine_answer_invalid"),
    "list": (body(b"[]"), "engine_answer_invalid"),
    "null": (body(b"null"), "engine_answer_invalid"),
    "no provenance": (body(b'{"result": {}}'), "engine_answer_invalid"),
    "odd provenance": (body(b'{"provenance": []}'), "engine_answer_invalid"),
    "undefined": (body(json.dumps({"provenance": OURS}).encode()), "engine_answer_invalid"),
    "204": (Reply(204), "engine_answer_not_json"),
    "huge": (body(b'{"result": "' + b"x" * (MAX_BODY_BYTES + 1) + b'"}'), "engine_answer_too_large"),
    "endless": (Reply(200, pieces=forever(b" " * 65536), pause_s=0), "engine_answer_too_large"),
    "endless chunks": (
        Reply(raw=then(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"), pause_s=0),
        "engine_answer_too_large",
    ),
    "gzip": (body(gzip.compress(GOOD), Content_Encoding="gzip"), "engine_answer_compressed"),
    "bomb": (body(gzip.compress(bytes(1 << 26)), Content_Encoding="gzip"), "engine_answer_compressed"),
    "redirect": (Reply(302, b"", headers={"Location": "http://127.0.0.1:1/"}), "engine_redirected"),
    "redirect nowhere": (Reply(307, b"", headers={}), "engine_redirected"),
    "redirect with a bomb": (
        Reply(301, gzip.compress(bytes(1 << 26)), headers={"Location": "/x", "Content-Encoding": "gzip"}),
        "engine_redirected",
    ),
    "redirect without an end": (
        Reply(301, pieces=forever(b" " * 65536), headers={"Location": "//["}, pause_s=0),
        "engine_redirected",
    ),
    "400": (Reply(400, b'{"code": "invalid_parameter"}'), "engine_http_error"),
    "500": (Reply(500, GOOD), "engine_http_error"),
    "201": (Reply(201, GOOD), "engine_http_error"),
    "not http": (Reply(raw=parts(b"SSH-2.0-OpenSSH_9.9\r\n")), "engine_not_http"),
    "many headers": (Reply(raw=parts(HEAD, *[b"X-%d: y\r\n" % n for n in range(200)], b"\r\n"), pause_s=0),
                     "engine_not_http"),
    "long header": (Reply(raw=parts(HEAD, b"X: " + b"y" * 70_000 + b"\r\n\r\n"), pause_s=0), "engine_not_http"),
    "long status": (Reply(raw=parts(b"HTTP/1.1 200 " + b"y" * 70_000 + b"\r\n\r\n"), pause_s=0), "engine_not_http"),
    "length of letters": (Reply(raw=parts(HEAD + b"Content-Length: x\r\n\r\n" + GOOD[:-1])), "engine_answer_not_json"),
    "half, over HTTP/1.0": (Reply(raw=parts(OLD + GOOD[:-5])), "engine_answer_not_json"),
    "cut": (Reply(200, GOOD, cut=10), "engine_cut_short"),
    "cut chunk": (Reply(raw=parts(CHUNKED + b"ff\r\n{")), "engine_cut_short"),
    "closed": (Reply(0), "engine_unavailable"),
    "401": (Reply(401, b"no"), "engine_forbidden"),
    "403": (Reply(403, b"no"), "engine_forbidden"),
    "404": (Reply(404, b"no"), "engine_unavailable"),
    "429": (Reply(429, b"no"), "engine_overloaded"),
    "502": (Reply(502, b"no"), "engine_unavailable"),
    "503": (Reply(503, b"no"), "engine_overloaded"),
    "504": (Reply(504, b"no"), "engine_unavailable"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_an_answer_that_is_none_is_refused_with_its_own_code(name: str) -> None:
    reply, code = LIES[name]
    assert refusal(liar(reply)).code == code


@pytest.mark.parametrize("name", LIES)
def test_a_look_at_such_a_server_makes_the_engine_not_ready(name: str) -> None:
    reply, code = LIES[name]
    with answering(lambda *_: reply) as address, closing(OpaEngine(address, DATA, timeout_s=30)) as engine:
        with pytest.raises(EngineError) as caught:
            engine.prepare()
        assert caught.value.code == code
        assert engine.problem().startswith(f"{code}: ")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(hold=True),
        Reply(200, pieces=forever(b" ")),
        Reply(raw=forever(b"H")),
        Reply(raw=then(HEAD, b"X")),
        Reply(raw=forever(b"HTTP/1.1 100 Continue\r\n\r\n")),
        Reply(raw=then(CHUNKED, b"1\r\n \r\n")),
        Reply(raw=then(CHUNKED + b"0\r\n", b"X: y\r\n")),
    ],
    ids=["silence", "body", "status line", "headers", "interim", "chunks", "trailers"],
)
def test_whatever_drips_in_ends_with_the_deadline(reply: Reply) -> None:
    with answering(liar(reply)) as address, closing(OpaEngine(address, DATA, timeout_s=30)) as engine:
        engine.prepare()
        started = time.monotonic()
        with pytest.raises(EngineTimeout) as caught:
            engine.decide(passing_request(), deadline_s=0.3)
        assert time.monotonic() - started < 5
        assert caught.value.code == "engine_timeout"


def test_the_engines_own_time_out_ends_an_answer_before_a_later_deadline() -> None:
    started = time.monotonic()
    assert refusal(liar(Reply(hold=True)), deadline_s=600, timeout_s=0.2).code == "engine_timeout"
    assert time.monotonic() - started < 20


def test_a_server_that_accepts_and_reads_nothing_ends_with_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with closing(OpaEngine(address, DATA, timeout_s=30)) as engine, pytest.raises(EngineTimeout):
            engine.decide(passing_request(), deadline_s=0.3)
        with closing(OpaEngine(address.replace("http", "https"), DATA)) as engine, pytest.raises(EngineTimeout):
            engine.decide(passing_request(), deadline_s=0.3)


def test_a_name_that_is_looked_up_for_ever_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: over.wait(30))
    with closing(OpaEngine("https://opa.policy.svc", DATA)) as engine, pytest.raises(EngineTimeout):
        engine.decide(passing_request(), deadline_s=0.3)
    over.set()


def test_no_time_left_is_a_timeout_and_nothing_is_sent() -> None:
    asked: list[str] = []
    with answering(lambda method, *_: asked.append(method) or Reply(200)) as address:  # type: ignore[func-returns-value]
        for deadline_s in (0, -1, float("nan"), float("-inf")):
            with closing(OpaEngine(address, DATA, timeout_s=30)) as engine, pytest.raises(EngineTimeout):
                engine.decide(passing_request(), deadline_s=deadline_s)
    assert asked == []


@pytest.mark.parametrize("reply", [Reply(0), Reply(503), Reply(429), Reply(502), Reply(200, GOOD, cut=10)])
def test_what_passes_is_asked_again_within_the_deadline(reply: Reply) -> None:
    replies = iter([reply, reply, honest()])
    with answering(liar(lambda: next(replies))) as address, closing(OpaEngine(address, DATA, timeout_s=30)) as engine:
        assert engine.decide(passing_request(), deadline_s=10).allowed


@pytest.mark.parametrize("reply", [Reply(401), Reply(500), Reply(302), body(b"{}"), honest(ALLOW | {"uid": "another"})])
def test_what_does_not_pass_is_not_asked_again(reply: Reply) -> None:
    replies = iter([reply, honest()])
    with answering(liar(lambda: next(replies))) as address, closing(OpaEngine(address, DATA, timeout_s=30)) as engine:
        with pytest.raises(EngineError):
            engine.decide(passing_request(), deadline_s=10)
        assert engine.decide(passing_request(), deadline_s=10).allowed


def test_a_server_that_is_known_to_be_away_is_not_waited_for() -> None:
    asked: list[str] = []

    def answer(method: str, path: str, body: bytes) -> Reply:
        asked.append(method)
        return Reply(503)

    with answering(answer) as address, closing(OpaEngine(address, DATA, interval_s=600)) as engine:
        with pytest.raises(EngineUnavailable):
            engine.prepare()
        looks = len(asked)
        with pytest.raises(EngineUnavailable):
            engine.decide(passing_request(), deadline_s=10)
        assert len(asked) - looks <= 3


def pools(engine: OpaEngine) -> list[Any]:
    """The connection pools of this thread."""
    session: Any = engine._server._local.client._session
    found = session.get_adapter("http://").poolmanager.pools
    return [found[key] for key in found.keys()]  # noqa: SIM118 - a container of its own kind, not a mapping


def test_an_answer_over_http_1_0_that_ends_with_the_connection_is_one() -> None:
    with answering(liar(Reply(raw=parts(OLD, GOOD)))) as address, closing(OpaEngine(address, DATA)) as engine:
        for _ in range(3):
            assert engine.decide(passing_request(), deadline_s=10).allowed


def test_each_thread_keeps_one_connection() -> None:
    opened: set[int] = set()
    with answering(liar(honest())) as address, closing(OpaEngine(address, DATA, interval_s=600)) as engine:
        for _ in range(20):
            engine.decide(passing_request(), deadline_s=10)
            (pool,) = pools(engine)
            opened.add(pool.num_connections)
    assert opened == {1}


def odd_contents(path: str, reply: Reply) -> Answer:
    good = liar(honest())
    return lambda method, asked, content: reply if (method, asked) == ("GET", path) else good(method, asked, content)


FOREIGN = {"id": "x", "raw": "package other", "ast": {"package": {"path": [{"value": "data"}, {"value": "other"}]}}}
CHANGED = MODULES[0] | {"raw": "package admission.main"}


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("/v1/policies", None, "engine_answer_invalid"),
        ("/v1/policies", [1], "engine_answer_invalid"),
        ("/v1/policies", [{"id": 1, "raw": "x", "ast": {}}], "engine_answer_invalid"),
        ("/v1/policies", [], "engine_drift"),
        ("/v1/policies", MODULES[1:], "engine_drift"),
        ("/v1/policies", [CHANGED, *MODULES[1:]], "engine_drift"),
        ("/v1/policies", [*MODULES, MODULES[0]], "engine_drift"),
        ("/v1/policies", [*MODULES, FOREIGN], "engine_drift"),
        ("/v1/data/placet", PULLED._data | {"rules": {"images.pinned": {"mode": "audit"}}}, "engine_other_data"),
        ("/v1/data/placet", PULLED._data | {"expected_rules": 8.0}, "engine_other_data"),
        ("/v1/data/placet", None, "engine_other_data"),
        ("/v1/data/admission/main/judged", [["a", "b"]], "engine_drift"),
    ],
)
def test_a_server_that_holds_something_else_judges_nothing(path: str, value: Any, code: str) -> None:
    reply = body(json.dumps({"result": value}).encode())
    assert refusal(odd_contents(path, reply)).code == code


@pytest.mark.parametrize("reply", [body(b"<html>"), body(b"[" * 200_000), body(b"[]"), Reply(500), Reply(404)])
def test_a_server_that_does_not_say_what_it_holds_judges_nothing(reply: Reply) -> None:
    for path in ("/v1/policies", "/v1/data/placet"):
        assert refusal(odd_contents(path, reply)).code in FAILURES


@pytest.mark.parametrize("reply", [Reply(400, b'{"code": "x", "message": "y"}'), Reply(500), body(b"[]"), body(b"{}")])
def test_a_push_that_is_not_taken_judges_nothing(reply: Reply) -> None:
    good = odd_contents("/v1/data/placet", body(b"{}"))
    answer: Answer = lambda method, path, content: (  # noqa: E731
        reply if method == "PUT" else good(method, path, content)
    )
    assert refusal(answer).code in {"engine_push_refused", "engine_answer_invalid"}


def test_an_input_that_is_not_of_the_schema_is_never_sent() -> None:
    asked: list[str] = []
    with answering(lambda method, *_: asked.append(method) or Reply(200)) as address:  # type: ignore[func-returns-value]
        with closing(OpaEngine(address, DATA, timeout_s=30)) as engine, pytest.raises(EngineError) as caught:
            engine.decide(passing_request() | {"uid": "\ud800"}, deadline_s=10)
        assert caught.value.code == "input_invalid"
    assert asked == []


def test_what_is_sent_is_canonical_and_asks_for_provenance() -> None:
    seen: list[tuple[str, str, bytes]] = []
    good = liar(honest())

    def answer(method: str, path: str, content: bytes) -> Reply:
        seen.append((method, path, content))
        return good(method, path, content)

    with answering(answer) as address, closing(OpaEngine(address, DATA, timeout_s=30)) as engine:
        engine.decide(passing_request(), deadline_s=10)
    method, path, content = seen[-1]
    assert (method, path) == ("POST", "/v1/data/admission/main/decision?provenance=true")
    assert json.loads(content) == {"input": passing_request()}
    assert b" " not in content.replace(b"admission control", b"")


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with answering(liar(honest())) as address, closing(OpaEngine(address, DATA, timeout_s=30)) as engine:
        assert engine.decide(passing_request(), deadline_s=10).allowed


def test_an_error_of_any_kind_in_a_look_is_kept_and_the_look_goes_on() -> None:
    good = liar(honest())
    with answering(good) as address, closing(OpaEngine(address, DATA, interval_s=0.05)) as engine:
        contents, engine._contents = engine._contents, None  # type: ignore[assignment]
        with pytest.raises(AttributeError):
            engine.prepare()
        assert engine.problem()
        engine._contents = contents
        until = time.monotonic() + 20
        while engine.problem():
            assert time.monotonic() < until, engine.problem()
            time.sleep(0.01)


def test_every_failure_says_what_was_seen_and_what_to_do() -> None:
    for code, each in FAILURES.items():
        assert code in render_failures()
        assert each.remedy.endswith(".")
        assert issubclass(each.kind, EngineError)
    assert FAILURES["engine_answer_invalid"].kind is EngineAnswerError
