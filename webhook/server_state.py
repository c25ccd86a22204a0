"""What the HTTP server allows, and what it knows of itself: limits, counts, certificates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from placet.config_server import ServerConfig

STATE_KEY: Final = "placet.server"
CALLER_KEY: Final = "placet.caller_names"
SANS_KEY: Final = "placet.caller_sans"
RECEIVED_KEY: Final = "placet.received"
# Why a caller was told to come again, or a connection ended for another.
OVERLOADS: Final = ("line", "late", "bodies", "connections", "handshakes")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How much, and for how long. All bytes are those after TLS.

    Attributes:
        max_body_bytes: the largest body; a longer Content-Length is answered 413 at once.
        max_head_bytes: request line and headers together (431).
        max_headers: how many headers (431).
        max_pipelined: requests of one connection that were sent ahead of their turn; callers that matter send none.
        max_connections: open connections of the TLS port, handshakes included; a further one takes another's place.
        max_per_address: those of one address that have not proved who they are.
        max_plain: open connections of the plain port.
        max_handshakes: that are under way at once; a further one takes the place of another.
        max_waiting: reviews that wait for a thread; beyond, the caller with the most of them is answered 503.
        max_buffered_bytes: bodies of all connections together; beyond, the caller that holds the most is answered 503.
            An eighth more is for callers that hold little while nobody else can make room.
        handshake_timeout_s: from accepting a connection to the end of its TLS handshake.
        head_timeout_s: from the first byte of a request to the end of its headers (408).
        body_timeout_s: from the end of the headers to the end of the body (408).
        keep_alive_s: of a connection without a request; above the 90 s of the API server, so that the caller is the one
            who closes and no call meets a connection that is going away.
        waiting_s: the longest that a review waits for a thread (503): its caller has little time left by then.
        write_timeout_s: for a caller to take its answer.
        linger_s: how long a refused caller may go on sending, unread, so that the answer is not lost to a reset.
        finish_s: for reviews that are being judged when draining is over; the API server waits 30 s at most.
        poll_s: between two looks at the certificate files.
    """

    max_body_bytes: int = 8 * 1024 * 1024
    max_head_bytes: int = 32 * 1024
    max_headers: int = 100
    max_pipelined: int = 8
    max_connections: int = 1024
    max_per_address: int = 256
    max_plain: int = 64
    max_handshakes: int = 256
    max_waiting: int = 256
    max_buffered_bytes: int = 64 * 1024 * 1024
    handshake_timeout_s: float = 10.0
    head_timeout_s: float = 10.0
    body_timeout_s: float = 10.0
    keep_alive_s: float = 120.0
    waiting_s: float = 5.0
    write_timeout_s: float = 10.0
    linger_s: float = 2.0
    finish_s: float = 31.0
    poll_s: float = 1.0


def limits_of(settings: ServerConfig) -> ServerLimits:
    """The limits that a configuration sets, and the others as they are."""
    return ServerLimits(
        max_connections=settings.max_connections,
        max_per_address=settings.max_per_address,
        max_waiting=settings.max_waiting,
        max_buffered_bytes=settings.max_body_mib * 1024 * 1024,
    )


class CertificateView(Protocol):
    """What the server says of its certificates."""

    @property
    def last_problem(self) -> str:
        """Why newer files are not in force, "" when there are none."""
        ...

    def find_problems(self, moment: datetime) -> dict[str, str]:
        """Part -> code and reason; empty while all are valid."""
        ...

    def expiries(self) -> dict[str, datetime]:
        """Kind -> the end of its validity."""
        ...


@dataclass(slots=True)
class ServerState:
    """What only the server knows; the application finds it in ``environ["placet.server"]``.

    Attributes:
        certificates: of the TLS port; None when there is none.
        draining: every answer closes its connection, and the process is going to end.
        connections: open now, handshakes included.
        waiting: reviews that wait for a thread now.
        events: how often what happened, by a fixed set of names: ``overloaded`` (503), ``evicted`` (connections that
            made room), ``handshake_failed``, ``timed_out`` (408 or closed while sending), ``refused`` (4xx of the
            server itself), ``crashed`` (500), ``certificate_reloaded``, ``certificate_reload_failed``.
        overloads: how often there was too much, by ``OVERLOADS``: the ``line`` of waiting reviews was full, one waited
            too long (``late``), ``bodies`` took too much memory (503 each); ``connections``, ``handshakes`` made room.
        refusals: 4xx that the server itself answered, by code.
    """

    certificates: CertificateView | None = None
    draining: bool = False
    connections: int = 0
    waiting: int = 0
    events: Counter[str] = field(default_factory=Counter)
    overloads: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    def find_problems(self, moment: datetime) -> dict[str, str]:
        """What of the server keeps the gate from being ready: part -> code and reason."""
        problems = {} if self.certificates is None else self.certificates.find_problems(moment)
        if self.draining:
            problems["draining"] = "draining: the process is about to end"
        return problems

    def count_refusal(self, code: str, *, overload: str = "") -> None:
        """Count an answer of the server's own: a 503 for an ``overload``, or else a 4xx with its code."""
        if overload:
            self.events["overloaded"] += 1
            self.overloads[overload] += 1
        else:
            self.events["refused"] += 1
            self.refusals[code] += 1

    def certificate_expiries(self) -> dict[str, datetime]:
        """Kind (``serving``, ``client_ca``) -> the end of its validity, aware UTC."""
        return {} if self.certificates is None else self.certificates.expiries()
