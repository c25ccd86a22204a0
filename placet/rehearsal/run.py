"""A rehearsal from beginning to end: stretches of a record, judged by as many processes as are asked for."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Final

from placet.errors import EngineUnavailable, InputError
from placet.orphans import end_with_parent
from placet.rehearsal.notebook import Notebook
from placet.rehearsal.outcome import Outcome
from placet.rehearsal.share import Bench, Judged, Task

STRETCH: Final = 512  # leaves that a process judges at a time: half a second, and so little is lost by Ctrl-C
_AHEAD: Final = 2  # stretches for each process that are asked for and not yet taken

Progress = Callable[[int, int], None]

_benches: list[Bench] = []  # of a process of the pool: the one that it was started with


def rehearse(task: Task, notebook: Notebook, *, size: int, jobs: int, progress: Progress) -> None:
    """Judge every decision of a record again that the notebook does not have yet.

    However it ends, the notebook has all that was judged before, and can be gone on from.

    Args:
        task: what is done.
        notebook: where it is written.
        size: leaves that the record has.
        jobs: processes; with one it is this one.
        progress: told leaves done and leaves there are.

    Raises:
        PlacetError: the candidate can't be run, or the record can't be read.
        EngineUnavailable: a process was killed.
    """
    if notebook.next >= size and not notebook.unjudged(1):
        return
    with _open_benches(task, jobs if size - notebook.next > STRETCH else 1) as ask:
        asked: deque[tuple[int, Callable[[], Judged]]] = deque()
        start = notebook.next
        while asked or start < size:
            while start < size and len(asked) < ask.ahead:
                end = min(start + STRETCH, size)
                asked.append((end, ask.stretch(start, end)))
                start = end
            end, answer = asked.popleft()
            notebook.add(answer(), end=end)
            progress(end, size)
        _settle(ask, notebook)


def _settle(ask: _Benches, notebook: Notebook) -> None:
    """Workloads whose decision is of an earlier time than was asked for."""
    while wanted := notebook.unjudged(STRETCH * ask.ahead):
        parts = [ask.leaves(wanted[at : at + STRETCH]) for at in range(0, len(wanted), STRETCH)]
        for part in parts:
            outcomes = part()
            notebook.settle(outcomes)
        if notebook.unjudged(1)[:1] == wanted[:1]:
            raise InputError(f"leaf {wanted[0]}, by which a workload is admitted, is not in the record any more")


class _Benches:
    """Where stretches are judged: here, or in processes."""

    def __init__(self, task: Task, pool: ProcessPoolExecutor | None, jobs: int) -> None:
        self.ahead = 1 if pool is None else _AHEAD * jobs
        self._pool = pool
        self._bench = Bench(task) if pool is None else None

    def stretch(self, start: int, end: int) -> Callable[[], Judged]:
        """What comes of a stretch, once it is asked for."""
        if self._pool is None:
            return lambda: self._own().judge_stretch(start, end)
        return self._pool.submit(_judge_stretch, start, end).result

    def leaves(self, indexes: list[int]) -> Callable[[], list[Outcome]]:
        """What comes of single decisions, once it is asked for."""
        if self._pool is None:
            return lambda: self._own().judge_leaves(indexes)
        return self._pool.submit(_judge_leaves, indexes).result

    def _own(self) -> Bench:
        if self._bench is None:
            raise EngineUnavailable("there is no candidate in this process")
        return self._bench


@contextlib.contextmanager
def _open_benches(task: Task, jobs: int) -> Iterator[_Benches]:
    if jobs < 2:  # noqa: PLR2004 - one process is this one
        yield _Benches(task, None, 1)
        return
    Bench(task)  # what is wrong with the candidate is said here, and not by a process that ends
    # A process of its own from the start: a fork would inherit SQLite's idea of which locks it holds.
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(task,)
    )
    try:
        yield _Benches(task, pool, jobs)
    except BrokenExecutor as exc:
        hint = "It may have had too little memory: try fewer --jobs. With --resume it goes on where it stopped."
        raise EngineUnavailable("a process of the replay was killed", code="replay_stopped", hint=hint) from exc
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(task: Task) -> None:
    """What a process of the pool starts with. Ctrl-C is for the one that asked: it takes what is done, and ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    _benches[:] = [Bench(task)]


def _judge_stretch(start: int, end: int) -> Judged:
    return _benches[0].judge_stretch(start, end)


def _judge_leaves(indexes: list[int]) -> list[Outcome]:
    return _benches[0].judge_leaves(indexes)
