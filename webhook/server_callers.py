"""Who asks, as far as it is known before a body is read: strangers are turned away at the door, unread.

Where the configuration lets callers prove who they are, by a certificate or by the path that nobody guesses, a caller
who does not is answered from the head of the request: no thread, no memory and no place in the line is spent on it.
Where nothing tells callers apart, all are alike, and only their addresses keep them from each other.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from webhook.app import ADMIT, GUARD_PATH, split_path
from webhook.server_framing import Refusal
from webhook.settings import Access

STRANGER_BODY_BYTES: Final = 1024


class Standing(enum.Enum):
    """What the caller of one request has proved."""

    KNOWN = "it is the API server, or somebody with what only the API server should have"
    OPEN = "nothing, and nothing could be proved here"
    STRANGER = "nothing, where others prove something"


class Lane(NamedTuple):
    """Whose work is kept apart from that of others.

    Attributes:
        name: first of the verified names that may ask, "" without one.
        address: where the connection comes from: each API server of a cluster has one, and may share it with its node.
    """

    name: str
    address: str


class Door:
    """Judges the heads of requests. Thread-safe, as nothing in it changes."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def certifies(self, names: Sequence[str], sans: Sequence[str]) -> bool:
        """Whether a verified certificate with these names is one that may ask."""
        return self._access.authenticates(names, sans)

    def judge(self, method: str, target: bytes, *, certified: bool) -> Standing:
        """What the caller has proved.

        Args:
            method: upper case.
            target: path and query, as sent.
            certified: what ``certifies`` said of the connection.

        Raises:
            Refusal: it asks for a review and may not: what the application would answer, before the body is read.
        """
        access = self._access
        if not access.tells_apart:
            return Standing.OPEN
        path = target.partition(b"?")[0]
        text = (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace")
        if method != "POST" or not text.startswith((ADMIT, GUARD_PATH)):
            return Standing.STRANGER
        environment, slash, rest = split_path(text)
        if not environment or not access.opens(rest if slash else None):
            raise Refusal(HTTPStatus.NOT_FOUND, "http_404")
        if access.wants_certificate and not certified:
            raise Refusal(HTTPStatus.FORBIDDEN, "caller_unknown")
        return Standing.KNOWN
