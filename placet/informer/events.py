"""What a watch says, line by line (Kubernetes API concepts: efficient detection of changes)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, cast

from placet.errors import PlacetError

GONE: Final = "versions_gone"
LONGEST_LINE: Final = 8 * 1024 * 1024  # an object is at most 3 MiB, and escaping may double what is in it
_TYPES: Final = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class LostTrack(PlacetError):
    """What is stored can't be followed any further from where we were: it has to be listed again."""

    code = "lost_track"


@dataclass(frozen=True, slots=True)
class Event:
    """One change, or a bookmark: nothing but a resource version.

    Attributes:
        type: what happened.
        object: as it is now; as it was last, for ``DELETED``.
    """

    type: EventType
    object: Mapping[str, Any]


def parse_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events in a stream. What stands after the last line end is no event: the stream ended within it.

    Raises:
        LostTrack: an error of the API server, with code ``versions_gone`` where it is 410, or something that is no
            event.
    """
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        *lines, rest = waiting.split(b"\n")
        for line in lines:
            if line.strip():
                yield parse_event(bytes(line))
        if len(rest) > LONGEST_LINE:
            raise LostTrack(f"a line of the watch is longer than {LONGEST_LINE} bytes")
        waiting = rest


def parse_event(line: bytes) -> Event:
    """One event.

    Raises:
        LostTrack: see :func:`parse_events`.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise LostTrack("a line of the watch is no JSON") from exc
    found = value.get("type") if isinstance(value, dict) else None
    about = value.get("object") if isinstance(value, dict) else None
    if not isinstance(about, dict):
        raise LostTrack("a line of the watch has no object")
    if found == "ERROR":
        if about.get("code") == HTTPStatus.GONE:
            raise LostTrack("the versions that were followed are gone", code=GONE)
        raise LostTrack("the API server ended the watch with an error")
    if not isinstance(found, str) or found not in _TYPES:
        raise LostTrack("a line of the watch is of no known type")
    return Event(cast("EventType", found), about)
