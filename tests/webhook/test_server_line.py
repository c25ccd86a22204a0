"""Whose request is next, who is told to come again, and what one caller can take from another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from webhook.server_line import FairLine


@dataclass(eq=False)
class Asked:
    """A request that waits."""

    lane: str
    submitted: float = 0.0
    heavy: bool = False
    claim: list[None] = field(default_factory=lambda: [None])

    @property
    def taken(self) -> bool:
        return not self.claim

    def take(self) -> bool:
        if self.claim:
            self.claim.pop()
            return True
        return False


def line_of(*lanes: str, longest: int = 100, threads: int = 4) -> FairLine[Asked]:
    line: FairLine[Asked] = FairLine(longest=longest, threads=threads)
    for lane in lanes:
        assert line.put(Asked(lane)) is None
    return line


def lanes_begun(line: FairLine[Asked]) -> str:
    """In which order threads that are done at once begin them."""
    found = []
    while (one := line.take()) is not None:
        found.append(one.lane)
        line.done(one)
    return "".join(found)


def test_callers_have_their_turns_whatever_others_have_sent_before() -> None:
    assert lanes_begun(line_of(*"aaaaaabbc")) == "abcabaaaa"


def test_one_caller_does_not_hold_all_threads_while_another_is_about() -> None:
    line = line_of(*"aaaaaaaa", "b")
    begun = [line.take() for _ in range(5)]
    assert [one.lane if one else "" for one in begun] == ["a", "b", "a", "a", ""]
    first = begun[0]
    assert first is not None
    line.done(first)
    again = line.take()
    assert again is not None
    assert again.lane == "a"


def test_a_caller_alone_has_all_threads() -> None:
    line = line_of(*"aaaaaaaa")
    assert [line.take() is not None for _ in range(8)] == [True] * 4 + [False] * 4


def test_heavy_requests_of_one_caller_are_worked_one_at_a_time_while_another_is_about() -> None:
    line: FairLine[Asked] = FairLine(longest=10, threads=4)
    for one in (Asked("a", heavy=True), Asked("a", heavy=True), Asked("a"), Asked("b", heavy=True), Asked("b")):
        line.put(one)
    begun = [line.take() for _ in range(4)]
    assert [(one.lane, one.heavy) if one else None for one in begun] == [("a", True), ("b", True), ("b", False), None]
    first = begun[0]
    assert first is not None
    line.done(first)
    again = line.take()
    assert again is not None
    assert (again.lane, again.heavy) == ("a", True)


def test_a_single_thread_serves_all() -> None:
    assert lanes_begun(line_of(*"aab", threads=1)) == "aba"


def test_a_full_line_turns_away_the_last_of_whoever_has_the_most() -> None:
    line: FairLine[Asked] = FairLine(longest=4, threads=1)
    flood = [Asked("a") for _ in range(4)]
    assert [line.put(one) for one in flood] == [None] * 4
    one_more = Asked("a")
    assert line.put(one_more) is one_more
    assert one_more.taken
    assert line.put(Asked("b")) is flood[3]
    assert flood[3].taken
    assert line.put(Asked("c")) is flood[2]
    assert line.put(late := Asked("d")) is flood[1]
    assert not late.taken
    assert line.put(last := Asked("e")) is last  # nobody has more than one: no newcomer is better than who waits
    assert lanes_begun(line) == "abcd"


def test_who_waits_for_nobody_takes_no_place() -> None:
    line: FairLine[Asked] = FairLine(longest=2, threads=1)
    gone = Asked("a")
    line.put(gone)
    line.put(Asked("b"))
    gone.take()
    assert line.put(Asked("c")) is None
    assert line.sweep() == 2
    assert lanes_begun(line) == "bc"


def test_those_who_waited_too_long_are_given_up_in_every_lane() -> None:
    line: FairLine[Asked] = FairLine(longest=10, threads=1)
    for lane, submitted in (("a", 1.0), ("a", 3.0), ("b", 2.0), ("c", 5.0)):
        line.put(Asked(lane, submitted))
    late = line.give_up(3.0)
    assert [(one.lane, one.submitted, one.taken) for one in late] == [("a", 1.0, True), ("b", 2.0, True)]
    assert lanes_begun(line) == "ac"


def test_callers_who_have_gone_are_forgotten() -> None:
    moment = 0.0
    line: FairLine[Asked] = FairLine(longest=10, threads=2, clock=lambda: moment)
    for lane in "abc":
        line.put(Asked(lane))
    lanes_begun(line)
    line.put(Asked("a"))
    line.put(Asked("a"))
    assert line.take() is not None
    assert line.take() is None  # others were about a moment ago
    moment = 11.0
    assert line.sweep() == 1
    assert line.take() is not None  # alone again


@given(
    asked=st.lists(st.one_of(st.sampled_from("abcd"), st.just("take"), st.just("done")), max_size=200),
    threads=st.integers(1, 4),
    longest=st.integers(1, 12),
)
def test_no_request_is_lost_or_given_to_two_and_the_bounds_hold(asked: list[str], threads: int, longest: int) -> None:
    line: FairLine[Asked] = FairLine(longest=longest, threads=threads)
    waiting: list[Asked] = []
    working: list[Asked] = []
    for step in asked:
        if step == "take":
            if len(working) == threads:
                continue
            lanes = Counter(one.lane for one in working)
            found = line.take()
            if found is None:
                # Whoever waits is somebody whose lane holds all but one of the threads already.
                assert all(lanes[one.lane] >= max(1, threads - 1) for one in waiting)
                continue
            waiting.remove(found)
            working.append(found)
        elif step == "done":
            if working:
                line.done(working.pop(0))
        else:
            one = Asked(step)
            turned_away = line.put(one)
            waiting.append(one)
            if turned_away is not None:
                assert len(waiting) == longest + 1
                waiting.remove(turned_away)
                most = Counter(each.lane for each in waiting)[turned_away.lane]
                assert all(count <= most + 1 for count in Counter(each.lane for each in waiting).values())
        assert line.sweep() == len(waiting) <= longest
    for one in working:
        line.done(one)
    assert len(lanes_begun(line)) == len(waiting)
