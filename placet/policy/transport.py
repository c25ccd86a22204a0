"""HTTP to the policy engine: one deadline for the whole exchange, a bounded body, no redirects, canonical bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter

from placet.canonical import render_canonical
from placet.errors import EngineAnswerError, EngineTimeout

MAX_BODY_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 16


class Deadline:
    """A point on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + (seconds if math.isfinite(seconds) else 0.0)

    def remaining_s(self) -> float:
        """Seconds that are left, more than 0.

        Raises:
            EngineTimeout: none are.
        """
        if (left := self._end - time.monotonic()) <= 0:
            raise EngineTimeout("no time was left for the policy engine")
        return left


class DeadlineSession(requests.Session):
    """A session for one thread whose every request keeps to the deadline of the moment."""

    def __init__(self, deadline: Callable[[], Deadline]) -> None:
        super().__init__()
        self._deadline = deadline
        # No proxy, no .netrc: what is asked here is decided by our configuration alone.
        self.trust_env = False
        # What is not compressed can't grow while it is unpacked.
        self.headers["Accept-Encoding"] = "identity"
        self.mount("http://", HTTPAdapter(max_retries=0))
        self.mount("https://", HTTPAdapter(max_retries=0))

    def request(self, method: str | bytes, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send, and read the whole body; JSON is sent as canonical bytes.

        A connection that the server closed while it was idle is replaced once: a query changes nothing, and pushing
        the data twice is pushing it once.

        Raises:
            EngineTimeout: the deadline passed.
            EngineAnswerError: the body is too large.
            requests.RequestException: anything else that went wrong.
        """
        if (value := options.pop("json", None)) is not None:
            options["data"] = _render_body(value)
            options["headers"] = {"Content-Type": "application/json", **(options.get("headers") or {})}
        options |= {"stream": True, "allow_redirects": False}
        try:
            response = self._send(method, url, options)
        except requests.Timeout:
            raise
        except requests.ConnectionError:
            response = self._send(method, url, options)
        if response.is_redirect:
            raise EngineAnswerError("the policy engine answered with a redirect")
        return response

    def _send(self, method: str | bytes, url: str | bytes, options: dict[str, Any]) -> requests.Response:
        options["timeout"] = self._deadline().remaining_s()
        response = super().request(method, url, **options)
        try:
            # Where requests itself keeps a body that it has read.
            response._content, response._content_consumed = self._read(response), True  # type: ignore[attr-defined]  # noqa: SLF001
        except urllib3.exceptions.TimeoutError as exc:
            raise EngineTimeout("the policy engine did not finish its answer in time") from exc
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise requests.ConnectionError(exc) from exc
        finally:
            # Also gives the connection back when the body was read to its end.
            response.close()
        return response

    def _read(self, response: requests.Response) -> bytes:
        body = bytearray()
        # read1 returns after each piece that arrives: a body that drips in does not reset the clock.
        while piece := response.raw.read1(_CHUNK_BYTES, decode_content=False):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise EngineAnswerError(f"the policy engine's answer is larger than {MAX_BODY_BYTES} bytes")
            left = self._deadline().remaining_s()
            if (connection := response.raw.connection) is not None and connection.sock is not None:
                connection.sock.settimeout(left)
        return bytes(body)


def _render_body(value: dict[str, Any]) -> bytes:
    """Canonical bytes; a policy input comes rendered already, and is put in place as it is."""
    document = value.get("input")
    return b'{"input":' + document + b"}" if isinstance(document, bytes) else render_canonical(value)
