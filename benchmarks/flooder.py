"""One caller of a webhook, in a process of its own: an honest one that keeps time, or one of several floods.

    python benchmarks/flooder.py SPEC

SPEC is a :class:`Caller` in JSON. It writes ``standing`` once its connections are open and something was sent on each,
goes on for ``seconds`` or until SIGTERM, and then writes what became of its requests, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import signal
import ssl
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop

UID_PLACE: Final = b"00000000-0000-0000-0000-000000000000"
_PATIENCE_S: Final = 30.0
_BREATH_S: Final = 0.05
_HELLO: Final = bytes.fromhex("1603010200010001fc0303")  # a handshake that goes no further


@dataclass(frozen=True, slots=True)
class Caller:
    """What to do.

    Attributes:
        kind: ``honest``, ``stalled``, ``slow``, ``reviews``, ``handshakes``.
        port: of the webhook, at 127.0.0.1.
        ca_file: who signed its certificate.
        path: of the reviews, with the token if there is one.
        source: the address to come from.
        reviews: file with one review a line.
        connections: at once.
        rate: of an honest caller, reviews a second of all connections together; 0 for as many as are answered.
        seconds: how long; 0 for until SIGTERM.
        deadline_s: what the webhook is told, and what an answer is held against.
        expect: ``allowed``, ``refused``, or "" for any answer.
    """

    kind: str
    port: int
    ca_file: str
    path: str
    source: str = "127.0.0.1"
    reviews: str = ""
    connections: int = 1
    rate: float = 0.0
    seconds: float = 0.0
    deadline_s: float = 10.0
    expect: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of the requests.

    Attributes:
        sent: requests, or connections where nothing is ever sent.
        by_status: HTTP status -> answers; 0 for none.
        wrong: answers with another verdict or uid than they must have.
        late: answers after their deadline, and none at all.
        latencies_ms: of honest reviews, from the moment that each was due.
        seconds: that it took.
    """

    sent: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    late: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def at(self, share: float) -> float:
        """The latency that this share of the answers did not exceed, ms."""
        ordered = sorted(self.latencies_ms) or [float("inf")]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return sum(count for status, count in self.by_status.items() if status != "200")


class Flood:
    """The connections of one caller."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._context = ssl.create_default_context(cafile=caller.ca_file)
        self._outcome = Outcome()
        self._statuses: Counter[int] = Counter()
        self._bodies = Path(caller.reviews).read_bytes().splitlines() if caller.reviews else []
        self._standing = 0
        self._begun = time.monotonic()
        self._ended = False
        self._due: dict[int, float] = {}  # of an honest caller's connections: when the next review is, after the start

    async def run(self) -> Outcome:
        """Until the time is over; whoever has a request under way is let finish when it is honest."""
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        # The loop complains of connections that were ended while bytes were on their way; floods do nothing else.
        loop.set_exception_handler(lambda *_: None)
        act: dict[str, Callable[[int], Awaitable[None]]] = {
            "honest": self._ask, "reviews": self._ask, "stalled": self._stall, "slow": self._dawdle,
            "handshakes": self._greet,
        }  # fmt: skip
        self._begun = time.monotonic()
        tasks = [
            loop.create_task(self._again(act[self._caller.kind], number)) for number in range(self._caller.connections)
        ]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), self._caller.seconds or None)
        self._outcome.seconds = time.monotonic() - self._begun
        if self._caller.kind == "honest":
            await asyncio.wait(tasks, timeout=_PATIENCE_S)
        self._ended = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._caller.kind == "honest":  # what was due and never sent has failed as well
            missing = math.ceil(self._caller.rate * self._caller.seconds) - sum(self._statuses.values())
            self._statuses[0] += missing
            self._outcome.late += missing
        self._outcome.by_status = {str(status): count for status, count in self._statuses.items()}
        return self._outcome

    async def _again(self, act: Callable[[int], Awaitable[None]], number: int) -> None:
        """One connection after the other."""
        while not self._over() or self._owes(number):
            try:
                await act(number)
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(_BREATH_S)  # the review that was due waits, and its time goes on

    def _owes(self, number: int) -> bool:
        """Whether an honest caller's connection has a review to send that was due before the end."""
        caller = self._caller
        if caller.kind != "honest" or self._ended:
            return False
        return self._due.get(number, number / caller.rate) < caller.seconds

    def _over(self) -> bool:
        return self._ended or 0 < self._caller.seconds <= time.monotonic() - self._begun

    async def _open(self, *, tls: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        kinds: dict[str, Any] = {"ssl": self._context, "server_hostname": "localhost"} if tls else {}
        local = (self._caller.source, 0)
        return await asyncio.open_connection("127.0.0.1", self._caller.port, local_addr=local, **kinds)

    def _stands(self) -> None:
        self._standing += 1
        if self._standing == self._caller.connections:
            sys.stdout.write("standing\n")
            sys.stdout.flush()

    def _head(self, length: int) -> bytes:
        caller = self._caller
        return (
            f"POST {caller.path}?timeout={caller.deadline_s:g}s HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    # -- reviews

    async def _ask(self, number: int) -> None:
        """Reviews, one after the other; an honest caller's each at its time, whatever became of the one before.

        An API server connects when it has something to ask: a review that waits for a handshake waits.
        """
        honest = self._caller.kind == "honest"
        begun = await self._wait_until_due(number) if honest else 0.0
        reader, writer = await self._open()
        self._stands()
        try:
            while self._owes(number) if honest else not self._over():
                if honest:
                    begun = await self._wait_until_due(number)
                    self._due[number] = begun - self._begun + self._caller.connections / self._caller.rate
                else:
                    begun = time.monotonic()
                if not await self._review(reader, writer, begun):
                    return
        finally:
            writer.transport.abort()  # what was not taken of a body would be kept until it is

    async def _wait_until_due(self, number: int) -> float:
        """When the next review of an honest caller's connection is, or was, due."""
        due = self._begun + self._due.get(number, number / self._caller.rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        return due

    async def _review(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begun: float) -> bool:
        """One review; whether the connection goes on."""
        outcome, uid = self._outcome, str(uuid.uuid4())
        body = self._bodies[outcome.sent % len(self._bodies)].replace(UID_PLACE, uid.encode(), 1)
        outcome.sent += 1
        status, answer, stays = 0, b"", False
        try:
            writer.write(self._head(len(body)))
            writer.write(body)
            async with asyncio.timeout(_PATIENCE_S):
                status, answer, stays = await self._read(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # counted below, as an answer that never came
        self._statuses[status] += 1
        if self._caller.kind == "honest":
            took = time.monotonic() - begun
            outcome.latencies_ms.append(took * 1e3)
            outcome.late += status == 0 or took > self._caller.deadline_s
            outcome.wrong += status == 200 and not self._is_right(answer, uid)  # noqa: PLR2004 - HTTP
        return stays

    def _is_right(self, answer: bytes, uid: str) -> bool:
        response = json.loads(answer)["response"]
        return response["uid"] == uid and response["allowed"] is (self._caller.expect == "allowed")

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split(b" ", 2)[1]), await reader.readexactly(length), b"connection: close" not in head

    # -- those who do not ask

    async def _stall(self, number: int) -> None:
        """Nothing, half a greeting, a greeting alone, or half a head."""
        kind = number % 4
        reader, writer = await self._open(tls=kind > 1)
        self._outcome.sent += 1
        if kind % 2:
            writer.write(_HELLO if kind == 1 else self._head(8000)[:40])
        self._stands()
        try:
            await reader.read()
        finally:
            writer.transport.abort()

    async def _dawdle(self, _: int) -> None:
        """A body that comes byte by byte."""
        reader, writer = await self._open()
        self._outcome.sent += 1
        writer.write(self._head(8000) + b"{")
        self._stands()
        with contextlib.closing(writer.transport):
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        status = (await self._read(reader))[0]
                    self._statuses[status] += 1
                    return

    async def _greet(self, _: int) -> None:
        """A handshake, and no more."""
        writer = (await self._open())[1]
        self._outcome.sent += 1
        self._stands()
        writer.transport.abort()


def main() -> None:
    """Call."""
    caller = Caller(**json.loads(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(Flood(caller).run())
    sys.stdout.write(json.dumps(dataclasses.asdict(outcome)) + "\n")


if __name__ == "__main__":
    main()
