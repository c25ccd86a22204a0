"""The objects of one kind as a watch tells of them, and the moment up to which that is known to be all there was.

Hearing something is no proof of hearing everything: a slow watch goes on telling of what happened long ago. So the
newest version is asked for now and then, with an answer that no copy gives, and once the watch has come that far, the
memory is known to be as new as that question. Versions are compared as numbers, as Kubernetes documents for its own
kinds (KEP-5504); one that is none is lost track of.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from typing import Any, Final

from placet.informer.events import GONE, Event, LostTrack

MOST_BYTES: Final = 32 * 1024 * 1024  # of one kind
LARGEST_OBJECT: Final = 256 * 1024
_VERSION: Final = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)
_OURS: Final = "placet.dev/"


class Entries:
    """Objects by place, as the bytes of their JSON, no more of them than there is room for.

    Only an object whose name is its own is kept: one that a controller or a generator of names made, or that is being
    deleted, is asked for each time (ADR 36).
    """

    def __init__(self, api_version: str, kind: str, *, most_bytes: int = MOST_BYTES) -> None:
        """Start empty.

        Args:
            api_version: with ``kind``, what each object is; a list does not say it of its items.
            kind: see there.
            most_bytes: the most that all of them may take.
        """
        self._api_version = api_version
        self._kind = kind
        self._most_bytes = most_bytes
        self._kept: dict[tuple[str, str], bytes] = {}
        self._bytes = 0
        self._full = 0

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    @property
    def taken(self) -> int:
        """How many bytes they take."""
        return self._bytes

    @property
    def left_out(self) -> int:
        """How often an object had no room."""
        return self._full

    def get(self, namespace: str, name: str) -> bytes | None:
        """An object, None where it is not kept."""
        return self._kept.get((namespace, name))

    def put(self, obj: Mapping[str, Any]) -> None:
        """Keep an object as it is now, if it is one to keep and there is room.

        Raises:
            LostTrack: it has no name, namespace or uid.
        """
        place = self.drop(obj)
        raw = self._render(obj)
        if raw is None:
            return
        if len(raw) > LARGEST_OBJECT or self._bytes + len(raw) > self._most_bytes:
            self._full += 1
            return
        self._kept[place] = raw
        self._bytes += len(raw)

    def drop(self, obj: Mapping[str, Any]) -> tuple[str, str]:
        """Forget an object; its place.

        Raises:
            LostTrack: it has no name, namespace or uid.
        """
        metadata = _metadata(obj)
        place = metadata.get("namespace"), metadata.get("name")
        if not all(isinstance(one, str) and one for one in (*place, metadata.get("uid"))):
            raise LostTrack("an object has no name, namespace or uid")
        known = str(place[0]), str(place[1])
        self._bytes -= len(self._kept.pop(known, b""))
        return known

    def _render(self, obj: Mapping[str, Any]) -> bytes | None:
        metadata = _metadata(obj)
        owners = metadata.get("ownerReferences") or ()
        if metadata.get("generateName") or metadata.get("deletionTimestamp") or not isinstance(owners, (list, tuple)):
            return None
        if any(not isinstance(one, dict) or one.get("controller") for one in owners):
            return None
        kept = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in metadata}
        for field in ("labels", "annotations"):
            marks = metadata.get(field)
            if isinstance(marks, dict):
                kept[field] = {key: value for key, value in marks.items() if key.startswith(_OURS)}
        known = {"apiVersion": self._api_version, "kind": self._kind, "metadata": kept, "spec": obj.get("spec")}
        return json.dumps(known, separators=(",", ":")).encode()


class Memory:
    """Entries with their age. One thread tells it what the API server says; any may look things up.

    Example::

        memory = Memory("apps/v1", "Deployment")
        memory.replace(entries, "1000", asked_s=12.0)  # a list that was asked for at 12.0
        memory.expect("1007", asked_s=15.0)  # asked for the newest version at 15.0
        memory.apply(event)  # of version 1009: all up to 1007 has been heard
        memory.age_s(16.0)  # 1.0
    """

    def __init__(self, api_version: str, kind: str, *, most_bytes: int = MOST_BYTES) -> None:
        """Know nothing yet. Arguments: see :class:`Entries`."""
        self.api_version = api_version
        self.kind = kind
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._entries = self.new_entries()
        self._reached = 0
        self._awaited: tuple[int, float] | None = None
        self._proven_s: float | None = None
        self._listed = False

    def new_entries(self) -> Entries:
        """Room for a list of this kind."""
        return Entries(self.api_version, self.kind, most_bytes=self._most_bytes)

    @property
    def listed(self) -> bool:
        """Whether a complete list was ever read."""
        return self._listed

    @property
    def version(self) -> str:
        """The version up to which everything was heard; "" where it has to be listed."""
        return "" if self._proven_s is None else str(self._reached)

    def replace(self, entries: Entries, version: object, *, asked_s: float) -> None:
        """A complete list was read.

        Args:
            entries: all of it.
            version: of the list, as the API server wrote it.
            asked_s: when it was asked for, before the question was sent, on the monotonic clock.

        Raises:
            LostTrack: the version is no number.
        """
        reached = _number(version)
        with self._lock:
            self._entries, self._reached = entries, reached
            self._proven_s, self._awaited, self._listed = asked_s, None, True

    def expect(self, version: object, *, asked_s: float) -> None:
        """The newest version there is, as an answer that no copy gives says it.

        Args:
            version: as the API server wrote it.
            asked_s: when it was asked for, before the question was sent.

        Raises:
            LostTrack: the version is no number, or an older one than was heard of before: what is stored was put back.
        """
        newest = _number(version)
        with self._lock:
            if newest < self._reached:
                raise LostTrack("what the API server stores is older than what it told of", code=GONE)
            self._awaited = newest, asked_s
            self._conclude()

    def apply(self, event: Event) -> None:
        """The watch has told of something.

        Raises:
            LostTrack: it can't follow what was told before.
        """
        version = _number(_metadata(event.object).get("resourceVersion"))
        mark = event.type == "BOOKMARK"
        with self._lock:
            if version < self._reached or (version == self._reached and not mark):
                raise LostTrack("the watch tells of something older than it told of before")
            if event.type == "DELETED":
                self._entries.drop(event.object)
            elif not mark:
                self._entries.put(event.object)
            self._reached = version
            self._conclude()

    def doubt(self) -> None:
        """Nothing is certain until the next complete list."""
        with self._lock:
            self._proven_s, self._awaited = None, None

    def age_s(self, now_s: float) -> float:
        """Seconds since the moment up to which everything is known to have been heard; infinite where none is."""
        with self._lock:
            return self._age_s(now_s)

    def find(self, namespace: str, name: str, *, now_s: float, max_age_s: float) -> bytes | None:
        """An object as it was at a moment that is at most so long ago; None where it is not kept, or may be older."""
        with self._lock:
            return self._entries.get(namespace, name) if self._age_s(now_s) <= max_age_s else None

    def size(self) -> tuple[int, int, int]:
        """Objects, their bytes, and how often one had no room since the last list."""
        with self._lock:
            return len(self._entries), self._entries.taken, self._entries.left_out

    def _age_s(self, now_s: float) -> float:
        return float("inf") if self._proven_s is None else now_s - self._proven_s

    def _conclude(self) -> None:
        if self._awaited is not None and self._proven_s is not None and self._reached >= self._awaited[0]:
            self._proven_s, self._awaited = self._awaited[1], None


def _metadata(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise LostTrack("an object has no metadata")
    return metadata


def _number(version: object) -> int:
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise LostTrack("a resource version is no number")
    return int(version)
