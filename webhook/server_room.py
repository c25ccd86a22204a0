"""Who makes room when there are too many connections, or when the bodies of all take too much memory.

Nobody who has proved to be known ever makes room for somebody who has not. Among the others the address with the most
connections does, as long as it has more than a few, and of its connections one that was never served, the oldest first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from webhook.server_callers import Lane
from webhook.server_state import ServerLimits, ServerState

_FEW: Final = 32  # an API server keeps 25 idle connections: so many are no sign of a flood
_KNOWN_SHARE: Final = 7 / 8
RESERVE: Final = 1 / 8  # of the memory for bodies, beside it: for callers that hold no more than that


@dataclass(slots=True, eq=False)
class Guest:
    """One accepted connection, from before its handshake.

    Attributes:
        address: where it comes from.
        plain: of the port without TLS.
        since: ``time.monotonic()`` of its last answer, or of its beginning.
        end: ends it at once.
        greeting: its handshake is not done.
        known: it has proved who it is.
        served: answers so far.
        busy: an answer is owed to it.
        left: it is counted no more.
    """

    address: str
    plain: bool
    since: float
    end: Callable[[], object] = lambda: None
    greeting: bool = True
    known: bool = False
    served: int = 0
    busy: bool = False
    left: bool = False


class Room:
    """Counts connections by what they have proved, by address and by port, and ends some at the caps."""

    def __init__(self, state: ServerState, limits: ServerLimits, *, most: int) -> None:
        """Begin empty.

        Args:
            state: gets the counts.
            limits: connections of an address, of the plain port, and handshakes at once.
            most: connections of the TLS port.
        """
        self._state = state
        self._limits = limits
        self._most = most
        self._guests: set[Guest] = set()
        self._plain = 0
        self._greeting = 0
        self._known = 0
        self._by_address: Counter[tuple[bool, str]] = Counter()

    def welcome(self, address: str, *, plain: bool, since: float) -> Guest | None:
        """Count one more, another makes room for it where there are too many; None when nobody can."""
        limits = self._limits
        total, most = (self._plain, limits.max_plain) if plain else (len(self._guests) - self._plain, self._most)
        if total >= most and not self._end_one("connections", lambda one: one.plain is plain):
            return None
        if self._by_address[plain, address] >= limits.max_per_address and not self._end_one(
            "connections", lambda one: one.plain is plain and one.address == address
        ):
            return None
        if self._greeting >= limits.max_handshakes and not plain:
            self._end_one("handshakes", lambda one: one.greeting and not one.plain)
        guest = Guest(address, plain=plain, since=since, greeting=not plain)
        self._guests.add(guest)
        self._plain += plain
        self._greeting += guest.greeting
        self._by_address[plain, address] += 1
        return guest

    def met(self, guest: Guest) -> None:
        """The handshake is done."""
        self._greeting -= guest.greeting and not guest.left
        guest.greeting = False

    def proved(self, guest: Guest) -> None:
        """It is known from now on. Where nearly all places are held by known ones, the longest idle of them goes."""
        if guest.known or guest.left:
            return
        guest.known = True
        self._known += 1
        self._uncount(guest)
        if self._known > self._most * _KNOWN_SHARE:
            idle = [one for one in self._guests if one.known and not one.busy and one is not guest]
            if idle:
                self._end("connections", min(idle, key=lambda one: one.since))

    def leave(self, guest: Guest) -> None:
        """It is gone, or about to go."""
        if guest.left:
            return
        self.met(guest)
        guest.left = True
        self._guests.discard(guest)
        self._plain -= guest.plain
        if guest.known:
            self._known -= 1
        else:
            self._uncount(guest)

    def make_room(self) -> bool:
        """End one connection, for the process has no room for another; whether there was one."""
        return self._end_one("connections", lambda _: True)

    def _uncount(self, guest: Guest) -> None:
        key = (guest.plain, guest.address)
        self._by_address[key] -= 1
        if not self._by_address[key]:
            del self._by_address[key]

    def _end_one(self, reason: str, concerns: Callable[[Guest], bool]) -> bool:
        candidates = [one for one in self._guests if not one.known and not one.busy and concerns(one)]
        if not candidates:
            return False
        self._end(reason, min(candidates, key=self._missed))
        return True

    def _missed(self, guest: Guest) -> tuple[int, bool, float]:
        """The less, the sooner it makes room."""
        return -max(self._by_address[guest.plain, guest.address], _FEW), guest.served > 0, guest.since

    def _end(self, reason: str, guest: Guest) -> None:
        self._state.events["evicted"] += 1
        self._state.overloads[reason] += 1
        self.leave(guest)
        guest.end()


class Holder(Protocol):
    """A connection as far as the memory of bodies is concerned."""

    @property
    def lane(self) -> Lane:
        """Whose it is."""
        ...

    @property
    def known(self) -> bool:
        """Whether it has proved who it is."""
        ...

    @property
    def held(self) -> int:
        """Bytes of bodies that it holds."""
        ...

    @property
    def unfinished(self) -> int:
        """Bytes of the body that is being read."""
        ...

    @property
    def waits(self) -> bool:
        """Whether its request waits in the line, so that it can be taken back."""
        ...

    def give_way(self) -> None:
        """Refuse the body that is being read, or take back the one that waits."""
        ...


def find_heaviest(connections: Iterable[Holder]) -> Holder | None:
    """Whose body makes room: of callers who proved nothing, then of the caller that holds the most, its largest one.

    What is being judged can't make room; None when there is nothing else.
    """
    holding = [one for one in connections if one.held]
    by_lane: Counter[tuple[bool, Lane]] = Counter()
    for one in holding:
        by_lane[one.known, one.lane] += one.held
    candidates = [one for one in holding if one.unfinished or one.waits]
    return max(
        candidates,
        key=lambda one: (not one.known, by_lane[one.known, one.lane], one.unfinished > 0, one.unfinished or one.held),
        default=None,
    )


def weigh(connections: Iterable[Holder], holder: Holder) -> int:
    """Bytes of bodies that a caller holds, on all its connections."""
    return sum(one.held for one in connections if (one.known, one.lane) == (holder.known, holder.lane))
