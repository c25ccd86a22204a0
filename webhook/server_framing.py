"""Where a body ends and what is asked for, or a refusal where there could be two opinions (RFC 9112)."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_ABSOLUTE: Final = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class Refusal(Exception):
    """An answer of the server's own, after which the connection ends."""

    def __init__(self, status: HTTPStatus, code: str, *, retry: bool = False) -> None:
        super().__init__(code)
        self.status, self.code, self.retry = status, code, retry


def read_framing(headers: list[tuple[bytes, bytes]], *, method: str, version: str) -> tuple[int, bool]:
    """Where the body ends: its bytes, and whether the caller waits for a 100.

    Raises:
        Refusal: two readers could find different ends, or there is none.
    """
    hosts, length, coded, expected = 0, None, False, b""
    for name, value in headers:
        if name == b"content-length":
            if length is not None or _DIGITS.fullmatch(value) is None:
                raise Refusal(HTTPStatus.BAD_REQUEST, "content_length_invalid")
            length = int(value)
        elif name == b"transfer-encoding":
            coded = True
        elif name == b"host":
            hosts += 1
        elif name == b"expect":
            expected = value.lower()
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise Refusal(HTTPStatus.BAD_REQUEST, "host_invalid")
    if coded and length is not None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "length_ambiguous")
    if coded or (length is None and method in _WITH_BODY):
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, "review_length_required")
    if expected not in {b"", b"100-continue"}:
        raise Refusal(HTTPStatus.EXPECTATION_FAILED, "expectation_unknown")
    return length or 0, bool(expected and length)


def origin_form(target: bytes) -> bytes:
    """The target as path and query; RFC 9112, section 3.2.2 wants the absolute form understood too.

    Raises:
        Refusal: it is neither.
    """
    if target[:1] != b"/":
        authority = _ABSOLUTE.match(target)
        if authority is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "target_invalid")
        target = target[authority.end() :]
        target = target if target[:1] == b"/" else b"/" + target
    if b"#" in target or not target.isascii():
        raise Refusal(HTTPStatus.BAD_REQUEST, "target_invalid")
    return target
