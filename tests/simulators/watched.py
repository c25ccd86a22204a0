"""An API server with a history: lists, versions and a watch that can be held back, broken and forgotten.

Example::

    server = WatchedServer()
    server.put(deployment)
    informer = server.informer(max_age_s=15.0)
    server.round(informer)  # lists, asks for the newest version, and watches for a window
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from placet.apiserver import ClusterUnavailable
from placet.informer.events import GONE, Event, EventType, LostTrack
from placet.informer.informer import Informer

Json = dict[str, Any]


@dataclass
class WatchedServer:
    """What is stored, and all that ever happened to it.

    Attributes:
        revision: of all that is stored, of whatever kind.
        now_s: the monotonic clock of whoever reads.
        heard: the version up to which watches tell; None for all.
        bookmarks: whether watches end with one.
        away: whether nobody answers.
        compacted: versions up to this one can't be watched from.
    """

    revision: int = 100
    now_s: float = 1000.0
    heard: int | None = None
    bookmarks: bool = True
    away: bool = False
    compacted: int = 0
    objects: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    log: list[tuple[int, str, EventType, Json]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def put(self, obj: Mapping[str, Any]) -> Json:
        """Create or update; gives what is stored."""
        stored: Json = copy.deepcopy(dict(obj))
        self.revision += 1
        stored["metadata"]["resourceVersion"] = str(self.revision)
        key = (stored["kind"], stored["metadata"]["namespace"], stored["metadata"]["name"])
        kind: EventType = "MODIFIED" if key in self.objects else "ADDED"
        self.objects[key] = stored
        self.log.append((self.revision, stored["kind"], kind, copy.deepcopy(stored)))
        return copy.deepcopy(stored)

    def remove(self, kind: str, name: str, namespace: str = "ml-serving") -> None:
        gone = self.objects.pop((kind, namespace, name))
        self.revision += 1
        gone["metadata"]["resourceVersion"] = str(self.revision)
        self.log.append((self.revision, kind, "DELETED", gone))

    def informer(self, *, max_age_s: float = 15.0) -> Informer:
        kinds = {"deployments": "Deployment", "cronjobs": "CronJob"}
        return Informer(
            None, max_age_s=max_age_s, clock_s=lambda: self.now_s,
            source=lambda _, resource: WatchedSource(self, kinds[resource]),
        )  # fmt: skip

    @staticmethod
    def round(informer: Informer) -> bool:
        """One round of every kind; whether all went well."""
        went = [one.once() for one in informer._reflectors.values()]
        return all(went)


class WatchedSource:
    """One kind of a :class:`WatchedServer`; a :class:`placet.informer.source.Source`."""

    def __init__(self, server: WatchedServer, kind: str) -> None:
        self.server = server
        self.kind = kind

    def _ask(self, what: str) -> None:
        self.server.calls.append(f"{what} {self.kind}")
        if self.server.away:
            raise ClusterUnavailable("nobody answers")

    def list_all(self, take: Callable[[Mapping[str, Any]], None]) -> object:
        self._ask("list")
        for (kind, _, _), obj in self.server.objects.items():
            if kind == self.kind:
                take(copy.deepcopy(obj))
        return str(self.server.revision)

    def newest(self) -> object:
        self._ask("newest")
        return str(self.server.revision)

    def watch(self, version: str, *, window_s: int) -> Iterator[Event]:
        assert window_s >= 3
        self._ask("watch")
        if int(version) < self.server.compacted:
            raise LostTrack("gone", code=GONE)
        until = self.server.revision if self.server.heard is None else self.server.heard
        for revision, kind, event, obj in self.server.log:
            if int(version) < revision <= until and kind == self.kind:
                yield Event(event, copy.deepcopy(obj))
        if self.server.bookmarks:
            yield Event("BOOKMARK", {"metadata": {"resourceVersion": str(max(until, int(version)))}})

    def cut(self) -> None:
        self.server.calls.append(f"cut {self.kind}")
