"""A short pass of every target in each test run: seeds, what was once found, and a few thousand changed inputs.

Without coverage and with fixed choices: the same inputs in every run. ``make fuzz`` looks further.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.mutate import mutate
from tests.fuzz.target import BrokenPromiseError, Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.work import TooMuchWorkError, counted, limited

REGRESSIONS: Final = Path(__file__).parent / "regressions"
# Inputs for each target: as many as take about two seconds on one core.
TRIED: Final = {"decision": 120, "review": 250, "yaml": 150, "config": 100, "policydata": 40, "keyring": 150}
TRIED_ELSE: Final = 300
KEPT: Final = sorted(file.relative_to(REGRESSIONS) for file in REGRESSIONS.glob("*/*") if file.is_file())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_seed_and_no_changed_seed_breaks_a_promise(target: Target) -> None:
    run, rng = counted(target.run), random.Random(target.name)
    seeds = list(target.seeds())
    for seed in seeds:
        run(seed)
    for _ in range(TRIED.get(target.name, TRIED_ELSE)):
        run(mutate(rng.choice(seeds), rng, max_bytes=target.max_bytes, head_line=target.head_line))


@pytest.mark.parametrize("file", KEPT, ids=str)
def test_what_was_once_found_is_mended(file: Path) -> None:
    counted(TARGETS[file.parts[0]].run)((REGRESSIONS / file).read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_target_takes_any_bytes(target: Target) -> None:
    for raw in (b"", b"\0", b"\xff\xfe", b"{", b"{}", b"[]", b"null", b'"', b"\n", b"production\n{}", b"[" * 9000):
        counted(target.run)(raw)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_the_same_in_every_run_and_fit(name: str) -> None:
    target = TARGETS[name]
    seeds = list(target.seeds())
    assert seeds == list(target.seeds())
    assert all(len(seed) <= target.max_bytes for seed in seeds)


def test_changes_are_the_same_for_the_same_choices_and_differ_for_others() -> None:
    seed = next(iter(TARGETS["review"].seeds()))
    changed = [mutate(seed, random.Random(number), max_bytes=8192) for number in (1, 1, 2, 3)]
    assert changed[0] == changed[1]
    assert len(set(changed)) == 3
    assert all(len(one) <= 8192 for one in changed)


def test_too_much_work_for_an_input_is_found() -> None:
    def grows_with_the_square(raw: bytes) -> None:
        for left in raw:
            for right in raw:
                max(left, right)

    counted(grows_with_the_square)(b"x" * 100)
    with pytest.raises(TooMuchWorkError, match="more than 2000000 calls for 2000 bytes"):
        counted(grows_with_the_square)(b"x" * 2000)


def test_too_much_work_is_found_where_its_exception_is_swallowed() -> None:
    def swallows(raw: bytes) -> None:
        with contextlib.suppress(AssertionError):
            for one in raw:
                abs(one)

    with pytest.raises(TooMuchWorkError, match="more than 50 calls for 100 bytes"):
        counted(swallows, most=50)(b"x" * 100)


def test_a_loop_without_calls_is_ended() -> None:
    def never_ends(_raw: bytes) -> None:
        while True:
            pass

    with pytest.raises(TooMuchWorkError, match="of the processor"):
        limited(never_ends, seconds=0.05)(b"")
    limited(TARGETS["json"].run)(b"{}")


def test_a_reader_that_lets_another_exception_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(_raw: bytes) -> None:
        raise KeyError("metadata")

    monkeypatch.setattr("tests.fuzz.documents.parse_review", careless)
    with pytest.raises(KeyError):
        TARGETS["review"].run(b"{}")


def test_readers_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.documents.parse_plain", lambda *_args, **_options: {"a": 2})
    with pytest.raises(BrokenPromiseError, match="both readers read the same"):
        TARGETS["json"].run(b'{"a":1,"b":2}')
    with pytest.raises(BrokenPromiseError, match="what the quick reader takes"):
        TARGETS["json"].run(b'{"a":1,"a":2}')
