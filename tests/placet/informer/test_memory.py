"""What is remembered was true a moment ago, however the watch dawdles or breaks; and is all there is in the end."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from placet.informer.events import Event, LostTrack
from placet.informer.memory import LARGEST_OBJECT, Entries, Memory

NAMES = ("llama", "qwen")
MAX_AGE_S = 15.0
Json = dict[str, Any]


def deployment(name: str, uid: str, version: int = 5, **metadata: Any) -> Json:
    known = {"name": name, "namespace": "ml", "uid": uid, "resourceVersion": str(version), **metadata}
    return {"metadata": known, "spec": {"replicas": version}, "status": {"replicas": 9}}


def mark(version: int) -> Event:
    return Event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


class History(RuleBasedStateMachine):
    """An API server's history, and a watch that tells of it late.

    ``states`` has what was stored from each moment on. Writes come between a question and its answer, the watch tells
    of any part of what it has not told yet, breaks off, and the whole store is put back to an earlier state.
    """

    @initialize()
    def start(self) -> None:
        self.now_s, self.revision, self.told = 0.0, 100, 100
        self.objects: dict[str, Json] = {}
        self.log: list[tuple[int, Event]] = []
        self.states: list[tuple[float, dict[str, Json]]] = [(0.0, {})]
        self.backup: tuple[int, dict[str, Json], int] = (100, {}, 0)
        self.question: tuple[float, str] | None = None
        self.uids = 0
        self.memory = Memory("apps/v1", "Deployment")
        self.list_again()

    def written(self) -> None:
        self.states.append((self.now_s, copy.deepcopy(self.objects)))

    @rule(name=st.sampled_from(NAMES))
    def create_or_update(self, name: str) -> None:
        self.revision += 1
        old = self.objects.get(name)
        if old is None:
            self.uids += 1
        uid = f"uid-{self.uids}" if old is None else old["metadata"]["uid"]
        self.objects[name] = deployment(name, uid, self.revision)
        self.log.append((self.revision, Event("ADDED" if old is None else "MODIFIED", self.objects[name])))
        self.written()

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if name in self.objects:
            self.revision += 1
            gone = copy.deepcopy(self.objects.pop(name))
            gone["metadata"]["resourceVersion"] = str(self.revision)
            self.log.append((self.revision, Event("DELETED", gone)))
            self.written()

    @rule()
    def write_something_of_another_kind(self) -> None:
        self.revision += 1

    @rule(seconds=st.sampled_from([0.5, 4.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def ask(self) -> None:
        self.question = self.now_s, str(self.revision)

    @rule(late=st.booleans())
    def answer(self, late: bool) -> None:
        if self.question is not None:
            asked_s, version = self.question
            self.memory_does(lambda: self.memory.expect(str(self.revision) if late else version, asked_s=asked_s))
            self.question = None

    @rule()
    def ask_after_a_while(self) -> None:
        self.now_s += MAX_AGE_S + 5.0
        self.ask()
        self.answer(late=False)

    @rule(most=st.integers(1, 4))
    def hear(self, most: int) -> None:
        for revision, event in [one for one in self.log if one[0] > self.told][:most]:
            self.told = revision
            self.memory_does(lambda event=event: self.memory.apply(event))

    @rule(behind=st.integers(0, 3))
    def hear_a_bookmark(self, behind: int) -> None:
        """All before it was told, and it may say less than there is."""
        version = max(self.told, self.revision - behind)
        self.hear(len([one for one in self.log if self.told < one[0] <= version]))
        if self.told <= version:
            self.told = version
            self.memory_does(lambda: self.memory.apply(mark(version)))

    def memory_does(self, act: Any) -> None:
        """What follows a failure is what the reflector does."""
        try:
            act()
        except LostTrack:
            self.memory.doubt()
            self.list_again()

    @rule()
    def break_off(self) -> None:
        self.memory.doubt()
        self.question = None
        for name in NAMES:
            assert self.memory.find("ml", name, now_s=self.now_s, max_age_s=MAX_AGE_S) is None

    @rule(late=st.sampled_from([0.0, 2.0]))
    def list_again(self, late: float = 0.0) -> None:
        asked_s = self.now_s
        entries = self.memory.new_entries()
        for obj in self.objects.values():
            entries.put(obj)
        version = str(self.revision)
        self.now_s += late
        self.memory.replace(entries, version, asked_s=asked_s)
        self.told, self.question = self.revision, None

    @rule()
    def save(self) -> None:
        self.backup = self.revision, copy.deepcopy(self.objects), len(self.log)

    @rule()
    def put_back(self) -> None:
        """etcd is restored; every connection of the API server ends by it."""
        self.revision, objects, length = self.backup
        self.objects, self.log = copy.deepcopy(objects), self.log[:length]
        self.written()
        self.break_off()

    @invariant()
    def what_is_found_was_true_a_moment_ago(self) -> None:
        if not hasattr(self, "memory"):
            return
        for name in NAMES:
            raw = self.memory.find("ml", name, now_s=self.now_s, max_age_s=MAX_AGE_S)
            if raw is None:
                continue
            found = json.loads(raw)["metadata"]
            ends = [moment for moment, _ in self.states[1:]] + [self.now_s]
            lately = [state for (_, state), end in zip(self.states, ends, strict=True) if end >= self.now_s - MAX_AGE_S]
            told = [state[name]["metadata"] for state in lately if name in state]
            assert found in told, f"{found} was not there in the last {MAX_AGE_S} s"

    def teardown(self) -> None:
        """Once all was told, the memory is what a list would say, and is as new as the last question."""
        if not hasattr(self, "memory"):
            return
        if not self.memory.version:
            self.list_again()
        self.memory_does(lambda: self.memory.expect(str(self.revision), asked_s=self.now_s))
        self.hear(len(self.log))
        self.memory_does(lambda: self.memory.apply(mark(max(self.revision, self.told))))
        listed = {name: obj["metadata"] for name, obj in self.objects.items()}
        found = {
            name: json.loads(raw)["metadata"]
            for name in NAMES
            if (raw := self.memory.find("ml", name, now_s=self.now_s, max_age_s=MAX_AGE_S)) is not None
        }
        assert found == listed
        assert self.memory.size()[0] == len(listed)
        assert self.memory.age_s(self.now_s) == 0


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def listed(*objects: Json, version: str = "10", asked_s: float = 0.0, most_bytes: int = 10_000) -> Memory:
    memory = Memory("apps/v1", "Deployment", most_bytes=most_bytes)
    entries = memory.new_entries()
    for obj in objects:
        entries.put(obj)
    memory.replace(entries, version, asked_s=asked_s)
    return memory


def find(memory: Memory, name: str = "llama", *, now_s: float = 1.0) -> Any:
    raw = memory.find("ml", name, now_s=now_s, max_age_s=MAX_AGE_S)
    return None if raw is None else json.loads(raw)


def test_nothing_is_known_before_the_first_list() -> None:
    memory = Memory("apps/v1", "Deployment")
    assert (memory.listed, memory.version, memory.age_s(5.0)) == (False, "", float("inf"))
    assert find(memory) is None


def test_events_alone_prove_nothing_about_what_was_not_told() -> None:
    memory = listed(deployment("llama", "u"), deployment("qwen", "v"))
    memory.expect("20", asked_s=14.0)
    for version, now_s in ((11, 14.5), (12, 15.0), (19, 15.5)):
        memory.apply(Event("MODIFIED", deployment("qwen", "v", version)))
        assert find(memory, now_s=now_s) is None or now_s <= MAX_AGE_S
    assert find(memory, now_s=15.5) is None
    memory.apply(Event("MODIFIED", deployment("qwen", "v", 20)))
    assert find(memory, now_s=15.5)["metadata"]["uid"] == "u"
    assert memory.age_s(15.5) == 1.5


def test_a_quiet_kind_is_known_to_be_quiet_by_a_bookmark() -> None:
    memory = listed(deployment("llama", "u"))
    memory.expect("30", asked_s=40.0)
    assert find(memory, now_s=41.0) is None
    memory.apply(mark(31))
    assert find(memory, now_s=41.0) is not None


def test_a_store_that_was_put_back_is_found_out_by_its_versions() -> None:
    memory = listed(version="1000")
    with pytest.raises(LostTrack, match="older"):
        memory.expect("999", asked_s=5.0)


@pytest.mark.parametrize(
    "event",
    [
        Event("MODIFIED", deployment("llama", "u", 10)),
        Event("MODIFIED", deployment("llama", "u", 9)),
        mark(9),
        Event("ADDED", {"metadata": {"name": "x", "resourceVersion": "11"}}),
        Event("DELETED", {"metadata": {"namespace": "ml", "uid": "u", "resourceVersion": "11"}}),
        Event("ADDED", {"metadata": None}),
        Event("ADDED", {}),
        *(Event("BOOKMARK", {"metadata": {"resourceVersion": bad}}) for bad in (None, 11, "", "011", "-1", "1e3", "x")),
    ],
)
def test_what_can_not_follow_is_lost_track_of(event: Event) -> None:
    with pytest.raises(LostTrack):
        listed(deployment("llama", "u")).apply(event)


def test_a_bookmark_of_where_we_are_is_fine() -> None:
    memory = listed(version="10")
    memory.expect("10", asked_s=3.0)
    memory.apply(mark(10))
    assert memory.age_s(4.0) == 1.0


def test_doubt_ends_with_a_complete_list_alone() -> None:
    memory = listed(deployment("llama", "u"))
    memory.doubt()
    memory.expect("11", asked_s=2.0)
    memory.apply(mark(12))
    assert (find(memory), memory.version) == (None, "")
    assert memory.listed, "it was complete once, which is what readiness waits for"


def test_no_more_is_kept_than_a_look_up_needs() -> None:
    noisy = deployment(
        "llama", "u", managedFields=[{"manager": "kubectl"}], annotations={"placet.dev/x": "1", "other": "2"},
        labels={"placet.dev/model": "m", "app": "llama"}, ownerReferences=[{"kind": "X", "name": "x", "uid": "u"}],
    )  # fmt: skip
    assert find(listed(noisy)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "llama", "namespace": "ml", "uid": "u", "resourceVersion": "5",
            "labels": {"placet.dev/model": "m"}, "annotations": {"placet.dev/x": "1"},
        },
        "spec": {"replicas": 5},
    }  # fmt: skip


@pytest.mark.parametrize(
    "metadata",
    [
        {"generateName": "lla"},
        {"deletionTimestamp": "2026-11-23T00:00:00Z"},
        {"ownerReferences": [{"kind": "Inference", "name": "i", "uid": "i", "controller": True}]},
        {"ownerReferences": [{"kind": "Inference", "name": "i", "uid": "i", "controller": "yes"}]},
        {"ownerReferences": ["x"]},
        {"ownerReferences": {"controller": False}},
    ],
)
def test_what_is_more_than_its_name_is_asked_for_each_time(metadata: Json) -> None:
    memory = listed(deployment("llama", "u"))
    memory.apply(Event("MODIFIED", deployment("llama", "u", 11, **metadata)))
    assert find(memory) is None
    assert memory.size() == (0, 0, 0)


def test_there_is_no_more_than_there_is_room_for_and_the_rest_is_asked_for() -> None:
    memory = listed(*(deployment(f"d{number}", "u") for number in range(100)), most_bytes=1000)
    objects, taken, left_out = memory.size()
    assert 0 < objects < 100
    assert (taken <= 1000, left_out) == (True, 100 - objects)
    memory.apply(Event("DELETED", deployment("d0", "u", 11)))
    assert find(memory, "d0") is None
    memory.apply(Event("ADDED", deployment("d99", "u", 12)))
    assert find(memory, "d99") is not None
    assert memory.size()[0] == objects


def test_one_that_has_grown_too_large_is_not_remembered_as_it_was() -> None:
    entries = Entries("apps/v1", "Deployment")
    entries.put(deployment("llama", "u"))
    assert len(entries) == 1
    entries.put({**deployment("llama", "u", 6), "spec": {"x": "y" * LARGEST_OBJECT}})
    assert (len(entries), entries.taken, entries.left_out) == (0, 0, 1)
