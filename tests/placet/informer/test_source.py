"""Lists, versions and watches of an HTTP server that answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from placet.apiserver import ApiServer, ClusterUnavailable
from placet.informer.events import GONE, Event, LostTrack
from placet.informer.source import PAGE, KubernetesSource
from tests.simulators.answers import Answer, Server, found, hang_up, reply

ITEM = {"metadata": {"name": "llama", "namespace": "ml", "uid": "u", "resourceVersion": "7"}, "spec": {}}
MARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}


@pytest.fixture
def source(kubeconfig: str) -> KubernetesSource:
    return KubernetesSource(ApiServer(kubeconfig), "apps/v1", "deployments")


def page(*items: Any, more: str = "", version: str = "8") -> Any:
    return {"kind": "DeploymentList", "metadata": {"resourceVersion": version, "continue": more}, "items": list(items)}


def streaming(*events: Any, server: Server | None = None, whole: bool = True) -> Answer:
    """Each event as it comes; with a server, the end waits for its ``released``."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for event in events:
            line = json.dumps(event).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            handler.wfile.flush()
        if server is not None:
            server.released.wait(30)
        if whole:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.close_connection = True

    return answer


def query(path: str) -> dict[str, str]:
    return {key: value[0] for key, value in parse_qs(urlsplit(path).query).items()}


def test_a_list_is_read_page_by_page_without_a_version(server: Server, source: KubernetesSource) -> None:
    server.answers = [found(page(ITEM, ITEM, more="a/b+c=")), found(page(ITEM))]
    taken: list[Any] = []
    assert source.list_all(taken.append) == "8"
    assert taken == [ITEM] * 3
    assert [urlsplit(path).path for path in server.asked] == ["/apis/apps/v1/deployments"] * 2
    assert [query(path) for path in server.asked] == [{"limit": str(PAGE)}, {"limit": str(PAGE), "continue": "a/b+c="}]


def test_the_newest_version_is_asked_for_without_one_and_without_content(
    server: Server, source: KubernetesSource
) -> None:
    accepted: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        accepted.append(handler.headers.get("Accept"))
        found({**page(version="41"), "items": None})(handler)

    server.answers = [answer]
    assert source.newest() == "41"
    assert query(server.asked[0]) == {"limit": "1"}
    assert "PartialObjectMetadataList" in str(accepted[0])


def test_events_are_given_while_the_watch_goes_on(server: Server, source: KubernetesSource) -> None:
    server.answers = [streaming({"type": "ADDED", "object": ITEM}, MARK, server=server)]
    events = iter(source.watch("7", window_s=5))
    assert next(events) == Event("ADDED", ITEM)
    assert next(events) == Event("BOOKMARK", MARK["object"])  # type: ignore[arg-type]
    assert not server.released.is_set()
    server.released.set()
    assert list(events) == []
    assert query(server.asked[0]) == {
        "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "7", "timeoutSeconds": "5",
    }  # fmt: skip


def test_a_watch_that_is_cut_ends_and_no_other_is_opened(server: Server, source: KubernetesSource) -> None:
    server.answers = [streaming(MARK, server=server)]
    events = iter(source.watch("7", window_s=60))
    assert next(events).type == "BOOKMARK"
    source.cut()
    with pytest.raises(ClusterUnavailable):
        list(events)
    with pytest.raises(ClusterUnavailable, match="nobody listens"):
        list(source.watch("7", window_s=60))
    with pytest.raises(LostTrack):
        source.list_all(lambda _: None)


@pytest.mark.parametrize("answer", [streaming(MARK, whole=False), hang_up, reply(403, b"{}"), reply(500, b"{}")])
def test_a_watch_that_breaks_off_or_is_refused_is_no_end(
    server: Server, source: KubernetesSource, answer: Answer
) -> None:
    server.answers = [answer]
    with pytest.raises(ClusterUnavailable) as caught:
        list(source.watch("7", window_s=5))
    assert "list and watch deployments" in caught.value.hint
    assert "secret" not in f"{caught.value}{caught.value.hint}"


def test_versions_that_are_gone_are_said_to_be(server: Server, source: KubernetesSource) -> None:
    gone = {"kind": "Status", "code": 410}
    server.answers = [found(gone, 410)]
    acts: list[Callable[[], object]] = [
        lambda: list(source.watch("7", window_s=5)),
        lambda: source.list_all(print),
        source.newest,
    ]
    for act in acts:
        with pytest.raises(LostTrack) as caught:
            act()
        assert caught.value.code == GONE
    server.answers = [streaming({"type": "ERROR", "object": gone})]
    with pytest.raises(LostTrack) as caught:
        list(source.watch("7", window_s=5))
    assert caught.value.code == GONE


@pytest.mark.parametrize(
    "answer",
    [found({}), found({"metadata": {}, "items": {}}), found({"metadata": {}, "items": ["x"]}), reply(404, b"{}"),
     reply(401, b"{}"), reply(200, b"[]"), hang_up],
)  # fmt: skip
def test_what_is_no_list_is_never_an_empty_one(server: Server, source: KubernetesSource, answer: Answer) -> None:
    server.answers = [answer]
    acts: list[Callable[[], object]] = [lambda: source.list_all(print), source.newest]
    for act in acts:
        with pytest.raises((LostTrack, ClusterUnavailable)):
            act()
