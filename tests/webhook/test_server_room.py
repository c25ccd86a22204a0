"""Who makes room for whom, without a network."""

from __future__ import annotations

from webhook.server_room import Guest, Room
from webhook.server_state import ServerLimits, ServerState


class Counted:
    """A room, and who had to leave it."""

    def __init__(self, *, most: int = 100, **limits: int) -> None:
        self.state = ServerState()
        self.room = Room(self.state, ServerLimits(**limits), most=most)
        self.left: list[Guest] = []
        self.moment = 0.0

    def come(self, address: str, *, plain: bool = False, met: bool = True, served: int = 0) -> Guest:
        self.moment += 1
        guest = self.room.welcome(address, plain=plain, since=self.moment)
        assert guest is not None
        guest.end = lambda: self.left.append(guest)
        guest.served = served
        if met:
            self.room.met(guest)
        return guest


def test_the_address_with_the_most_connections_makes_room() -> None:
    counted = Counted(most=60, max_per_address=100)
    few = [counted.come("a") for _ in range(20)]
    many = [counted.come("b", served=1) for _ in range(40)]
    counted.come("c")
    assert counted.left == [many[0]]
    assert not any(one.left for one in few)


def test_a_few_connections_are_no_flood_so_strangers_go_first() -> None:
    counted = Counted(most=30)
    home = [counted.come("api server", served=5) for _ in range(25)]
    strangers = [counted.come(f"stranger {number}") for number in range(5)]
    counted.come("stranger")
    assert counted.left == strangers[:1]
    assert not any(one.left for one in home)


def test_whoever_is_known_or_is_owed_an_answer_stays() -> None:
    counted = Counted(most=3)
    known, busy, idle = (counted.come("a") for _ in range(3))
    counted.room.proved(known)
    busy.busy = True
    counted.come("b")
    assert counted.left == [idle]
    last = counted.come("c")
    assert counted.left[-1].address == "b"
    last.busy = True
    assert counted.room.welcome("d", plain=False, since=9.0) is None


def test_known_callers_leave_some_places_to_those_who_are_about_to_prove_themselves() -> None:
    counted = Counted(most=16)
    known = [counted.come("a") for _ in range(15)]
    for one in known:
        counted.room.proved(one)
    assert counted.left == known[:1]  # 14 of 16 is seven eighths


def test_the_plain_port_takes_no_places_of_the_other() -> None:
    counted = Counted(most=2, max_plain=3)
    home = [counted.come("a") for _ in range(2)]
    plain = [counted.come("a", plain=True) for _ in range(5)]
    assert counted.left == plain[:2]
    assert not any(one.left for one in home)


def test_an_address_is_counted_again_when_its_connections_are_gone() -> None:
    counted = Counted(max_per_address=2)
    for _ in range(10):
        guest = counted.come("a")
        counted.room.leave(guest)
        counted.room.leave(guest)  # told twice
    counted.come("a")
    counted.come("a")
    assert counted.left == []
    counted.come("a")
    assert len(counted.left) == 1
    assert counted.state.overloads == {"connections": 1}


def test_handshakes_are_counted_until_they_are_done() -> None:
    counted = Counted(max_handshakes=2, max_per_address=50)
    done = [counted.come("a") for _ in range(5)]
    first = counted.come("a", met=False)
    counted.come("a", met=False)
    counted.come("a", met=False)
    assert counted.left == [first]
    assert not any(one.left for one in done)
    assert counted.state.overloads == {"handshakes": 1}
