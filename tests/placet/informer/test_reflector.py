"""The reader of a memory: what follows what, what a failure leaves, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from placet.apiserver import ClusterUnavailable
from placet.informer.events import Event, LostTrack
from placet.informer.informer import FOLLOWED, Informer, window_s
from placet.informer.memory import Memory
from placet.informer.reflector import FIRST_PAUSE_S, LONGEST_PAUSE_S, Backoff, Reflector
from placet.parents import RESOURCES
from tests.simulators.watched import WatchedServer, WatchedSource


def deployment(name: str = "llama", uid: str = "u") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ml-serving", "uid": uid}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {}}


def find(informer: Informer, name: str = "llama") -> Any:
    return informer.find(api_version="apps/v1", kind="Deployment", namespace="ml-serving", name=name, timeout_s=0)


@pytest.fixture
def server() -> WatchedServer:
    opened = WatchedServer()
    opened.put(deployment())
    return opened


@pytest.fixture
def informer(server: WatchedServer) -> Informer:
    return server.informer()


def test_a_round_lists_once_and_asks_before_it_watches(server: WatchedServer, informer: Informer) -> None:
    assert find(informer) is None
    assert server.round(informer)
    assert [call for call in server.calls if call.endswith("Deployment")] == [
        "list Deployment", "newest Deployment", "watch Deployment",
    ]  # fmt: skip
    assert find(informer)["metadata"]["uid"] == "u"
    server.calls.clear()
    server.now_s += 5
    assert server.round(informer)
    assert "list Deployment" not in server.calls
    assert [one.age_s for one in informer.standings()] == [0.0, 0.0]


def test_a_kind_that_is_not_followed_is_not_known(server: WatchedServer, informer: Informer) -> None:
    server.round(informer)
    found = informer.find(
        api_version="apps/v1", kind="StatefulSet", namespace="ml-serving", name="llama", timeout_s=1.0
    )
    assert found is None
    assert informer.answers() == (0, 0)


@pytest.mark.parametrize("error", [ClusterUnavailable("away"), LostTrack("lost"), RuntimeError("a fault of ours")])
def test_after_any_failure_nothing_counts_until_all_was_listed_again(server: WatchedServer, error: Exception) -> None:
    class Breaking(WatchedSource):
        def watch(self, version: str, *, window_s: int) -> Iterator[Event]:
            yield from super().watch(version, window_s=window_s)
            if broken:
                raise error

    broken = False
    informer = Informer(
        None, max_age_s=15, clock_s=lambda: server.now_s, source=lambda *_: Breaking(server, "Deployment")
    )
    assert server.round(informer)
    broken = True
    assert not server.round(informer)
    assert find(informer) is None
    assert {one.problem for one in informer.standings()} >= {
        str(error) if not isinstance(error, RuntimeError) else f"RuntimeError: {error}"
    }
    assert all(one.listed and one.age_s == float("inf") for one in informer.standings())
    broken = False
    server.calls.clear()
    assert server.round(informer)
    assert server.calls[0] == "list Deployment"
    assert find(informer) is not None


def test_a_store_that_was_put_back_is_listed_again(server: WatchedServer, informer: Informer) -> None:
    server.round(informer)
    server.revision -= 1
    server.objects.clear()
    server.log.clear()
    assert not server.round(informer)
    assert find(informer) is None
    assert server.round(informer)
    assert find(informer) is None


def test_a_pause_grows_with_each_failure_and_differs_between_replicas() -> None:
    short, long = Backoff(jitter=lambda: 0.0), Backoff(jitter=lambda: 1.0)
    least, most = [short.next_s() for _ in range(12)], [long.next_s() for _ in range(12)]
    assert least[:3] == [FIRST_PAUSE_S / 2, FIRST_PAUSE_S, 2 * FIRST_PAUSE_S]
    assert (least[-1], most[-1]) == (LONGEST_PAUSE_S / 2, LONGEST_PAUSE_S)
    assert most == [2 * one for one in least]
    long.reset()
    assert long.next_s() == FIRST_PAUSE_S
    drawn = {Backoff().next_s() for _ in range(20)}
    assert len(drawn) > 1
    assert all(FIRST_PAUSE_S / 2 <= one <= FIRST_PAUSE_S for one in drawn)


def run(server: WatchedServer, *, rounds: int, lasting_s: float) -> list[float]:
    """The pauses that a reflector makes; each watch lasts so long."""
    pauses: list[float] = []
    seen = 0

    class Lasting(WatchedSource):
        def watch(self, version: str, *, window_s: int) -> Iterator[Event]:
            nonlocal seen
            seen += 1
            server.now_s += lasting_s
            if seen == rounds:
                reflector.stop()
            yield from super().watch(version, window_s=window_s)

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) >= rounds

    memory = Memory("apps/v1", "Deployment")
    reflector = Reflector(
        memory, Lasting(server, "Deployment"), window_s=5, clock_s=lambda: server.now_s, wait=wait,
        backoff=Backoff(jitter=lambda: 1.0),
    )  # fmt: skip
    reflector.run()
    return pauses


def test_windows_follow_one_another_and_what_ends_at_once_is_not_asked_at_once(server: WatchedServer) -> None:
    assert run(server, rounds=4, lasting_s=5.0) == []
    assert run(WatchedServer(), rounds=3, lasting_s=0.0)[:2] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S]
    away = WatchedServer(away=True)
    assert run(away, rounds=4, lasting_s=0.0) == [
        FIRST_PAUSE_S,
        2 * FIRST_PAUSE_S,
        4 * FIRST_PAUSE_S,
        8 * FIRST_PAUSE_S,
    ]


def test_threads_end_when_they_are_told_and_nothing_is_found_afterwards(server: WatchedServer) -> None:
    informer = server.informer()
    informer.start()
    informer.stop()
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {f"placet-informer-{kind}" for _, kind in FOLLOWED}
    assert find(informer) is None
    assert {call for call in server.calls if call.startswith("cut")} == {"cut Deployment", "cut CronJob"}


@pytest.mark.parametrize("age", [10.0, 15.0, 60.0])
def test_a_proof_comes_before_the_last_one_is_too_old(age: float) -> None:
    """The bookmark comes two seconds before the end of a window, at least one after its begin."""
    assert window_s(age) >= 3
    assert window_s(age) + window_s(age) - 2 < age


def test_only_kinds_are_followed_that_are_looked_up() -> None:
    assert set(FOLLOWED) <= set(RESOURCES)
