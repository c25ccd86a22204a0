"""The memory of what is above the nearest parent, behind the protocol of look-ups: ADR 36.

What is remembered only ever confirms. Where it does not (another uid, nothing, too old), the API server is asked.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.apiserver import ApiServer
from placet.informer.memory import Memory
from placet.informer.reflector import Reflector
from placet.informer.source import KubernetesSource, Source
from placet.parents import RESOURCES

# What a ReplicaSet or a Job belongs to, and with it the Pods that these make.
FOLLOWED: Final = (("apps/v1", "Deployment"), ("batch/v1", "CronJob"))
SHORTEST_WINDOW_S: Final = 3
WINDOWS_PER_AGE: Final = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """How one kind stands.

    Attributes:
        resource: its plural; one of a few words of our own.
        listed: whether a complete list was ever read.
        age_s: seconds since the moment up to which everything was heard; infinite where none is known.
        objects: how many are remembered.
        bytes: what they take.
        left_out: how often there was no room since the last list.
        problem: why the last round failed, "" where it did not.
    """

    resource: str
    listed: bool
    age_s: float
    objects: int
    bytes: int
    left_out: int
    problem: str


class Informer:
    """Remembers, one for a process. Thread-safe.

    Example::

        informer = Informer(None, max_age_s=15.0)
        informer.start()
        informer.find(api_version="apps/v1", kind="Deployment", namespace="ml", name="llama", timeout_s=1)
        informer.stop()
    """

    def __init__(
        self,
        kubeconfig: str | None,
        *,
        max_age_s: float,
        clock_s: Callable[[], float] = time.monotonic,
        source: Callable[[str, str], Source] | None = None,
    ) -> None:
        """Nothing is read before :meth:`start`.

        Args:
            kubeconfig: a file; None for the service account inside a Pod, and the default file elsewhere.
            max_age_s: the oldest that an answer may be, 10 or more.
            clock_s: monotonic.
            source: makes the source of an API version and resource; a real API server's by default.
        """
        self.kubeconfig = kubeconfig
        self.max_age_s = max_age_s
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._confirmed = self._unconfirmed = 0
        if source is None:
            api = ApiServer(kubeconfig)

            def source(api_version: str, resource: str) -> Source:
                return KubernetesSource(api, api_version, resource)

        self._memories = {key: Memory(*key) for key in FOLLOWED}
        self._reflectors = {
            key: Reflector(memory, source(key[0], RESOURCES[key]), window_s=window_s(max_age_s), clock_s=clock_s)
            for key, memory in self._memories.items()
        }

    @property
    def asked(self) -> bool:
        """Yes."""
        return True

    def find(
        self,
        *,
        api_version: str,
        kind: str,
        namespace: str,
        name: str,
        timeout_s: float,  # noqa: ARG002 - the Protocol's; nobody is waited for
        resource: str = "",  # noqa: ARG002 - the same; what is remembered is found by its kind
    ) -> Mapping[str, Any] | None:
        """The object as it was at a moment that is no older than ``max_age_s``.

        None says nothing: it may be there, not remembered, or remembered too long ago. Of what is found only the uid
        that belongs to the name never changes.
        """
        memory = self._memories.get((api_version, kind))
        if memory is None:
            return None
        raw = memory.find(namespace, name, now_s=self._clock_s(), max_age_s=self.max_age_s)
        with self._lock:
            if raw is None:
                self._unconfirmed += 1
            else:
                self._confirmed += 1
        if raw is None:
            return None
        found: Mapping[str, Any] = json.loads(raw)
        return found

    def start(self) -> None:
        """Begin to read, in threads of its own."""
        for reflector in self._reflectors.values():
            reflector.start()

    def stop(self) -> None:
        """End what was started; nothing is found afterwards."""
        for reflector in self._reflectors.values():
            reflector.stop()

    def standings(self) -> tuple[Standing, ...]:
        """How each kind stands now."""
        now_s = self._clock_s()
        found = []
        for key, memory in self._memories.items():
            objects, taken, left_out = memory.size()
            age_s, problem = memory.age_s(now_s), self._reflectors[key].problem
            found.append(Standing(RESOURCES[key], memory.listed, age_s, objects, taken, left_out, problem))
        return tuple(found)

    def answers(self) -> tuple[int, int]:
        """How often something was found, and how often the API server had to be asked."""
        with self._lock:
            return self._confirmed, self._unconfirmed


def window_s(max_age_s: float) -> int:
    """Seconds of one watch: a proof comes within about two windows, and has to come before the last one is too old."""
    return max(SHORTEST_WINDOW_S, int(max_age_s // WINDOWS_PER_AGE))
