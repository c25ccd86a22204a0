"""Policies that judge live reviews beside those in force, and decide nothing (ADR 62).

A review is put aside after its decision is durable, by a thread that then answers and never hears of it again: it adds
to a list that nobody waits at. A thread of this module's own takes it from there, has it judged by another process, and
records where the two differ.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.audit.log import AuditLog
from placet.canonical import render_canonical
from placet.config import Config
from placet.config_shadow import ShadowConfig
from placet.decision import Decision
from placet.errors import AuditError, CanonicalError, PlacetError
from placet.policy.decision import PolicyDecision
from placet.policy.offer import Offer
from placet.shadow.answer import Answer, compare
from placet.shadow.leaves import Sighting, describe_subject, render_begun
from placet.shadow.ledger import Ledger
from webhook import logs
from webhook.app import HttpObserver
from webhook.readiness import Finding
from webhook.shadow_candidate import CandidateLoader
from webhook.shadow_metrics import ShadowCounts
from webhook.shadow_process import JudgeLostError, JudgeProcess

HOLD_S: Final = 0.05
"""How long a review waits at the least: its answer goes out first."""
LOOK_S: Final = 1.0
MAX_WAITING_BYTES: Final = 128 * 1024
"""Governed content of one workload that is kept for later, at the most."""
_MOST_UNKEPT: Final = 1000
_RETRY_S: Final = 5.0
_APPEND_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 60.0
_STOP_S: Final = 5.0
# Of errors that trying again does not mend.
_FOR_GOOD: Final = frozenset({"record_invalid", "record_too_large"})


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is kept of a review: not the request."""

    document: Mapping[str, Any]
    policy: PolicyDecision
    leaf: Mapping[str, Any]
    index: int | None
    by_token: bool
    at_s: float


class ShadowedObserver:
    """Tells another observer, and then the shadow; see :class:`webhook.app.HttpObserver`."""

    def __init__(self, observer: HttpObserver, shadow: Shadow) -> None:
        self._shadow = shadow
        self._observer = observer
        self.undecided = observer.undecided
        self.refused = observer.refused

    def decided(self, decision: Decision, *, seconds: float) -> None:
        """A review was decided."""
        self._observer.decided(decision, seconds=seconds)
        self._shadow.offer(decision)


class Shadow:
    """Tries what the configuration names in ``policy.shadow``."""

    def __init__(
        self,
        log: AuditLog,
        counts: ShadowCounts,
        *,
        cluster: str,
        clock: Callable[[], datetime],
        refused: Callable[[PlacetError | OSError, Offer], None] = lambda _error, _offer: None,
    ) -> None:
        """Nothing is tried yet.

        Args:
            log: to record disagreements in.
            counts: of all that happens here.
            cluster: of the gate.
            clock: aware UTC.
            refused: is told of candidates that can't be tried.
        """
        self._log = log
        self._counts = counts
        self._cluster = cluster
        self._clock = clock
        self.loader = CandidateLoader(self._hand_over, counts, clock=clock, refused=refused)
        self._waiting: deque[_Waiting] = deque()
        self._settings = ShadowConfig()
        self._taking = False
        self._lock = threading.Lock()
        self._next: tuple[JudgeProcess | None, ShadowConfig] | None = None
        self._shed = 0
        self._judge: JudgeProcess | None = None
        self._ledger: Ledger | None = None
        self._unkept: deque[Mapping[str, Any]] = deque()
        self._retry_s = float("-inf")
        self._given_up = False
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failed = ""

    @property
    def problem(self) -> Finding | None:
        """Why the newest candidate is not tried; None when all is well."""
        return self.loader.problem

    def offer(self, decision: Decision) -> None:
        """Put a review aside if it is one to try. Called by whoever is going to answer it: never waits."""
        if not self._taking:
            return
        workload, kept = decision.workload, decision.recorded or decision.spooled
        if decision.findings is None or decision.policy is None or workload is None:
            return  # nothing was put to the policies, so that no others would have made a difference
        if kept is None or kept.replayed:
            return  # a dry run, what could not be recorded, or what was tried when it was first asked
        if len(workload.projection.canonical) > MAX_WAITING_BYTES:
            self._leave_out("size")
        elif len(self._waiting) >= self._settings.max_waiting:
            self._leave_out("full")
        else:
            index = None if decision.recorded is None else decision.recorded.index
            by_token = decision.passage is not None and decision.passage.by == "token"
            self._waiting.append(
                _Waiting(decision.findings.document, decision.policy, kept.leaf, index, by_token, at_s=time.monotonic())
            )

    def start(self, config: Callable[[], Config]) -> None:
        """Work in the background.

        Args:
            config: in force now.
        """

        def look() -> None:
            self.loader.look(config())

        for name, act, every_s in (("placet-shadow-load", look, LOOK_S), ("placet-shadow", self.work, HOLD_S)):
            thread = threading.Thread(target=self._repeat, args=(act, every_s), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Try no more, and record what was seen. Again: nothing."""
        self._taking = False
        self._stopping.set()
        if (judge := self._judge) is not None:
            judge.interrupt()  # whoever waits for its answer hears that it has ended
        for thread in reversed(self._threads):
            thread.join(_STOP_S)
        if self._threads and self._threads[-1].is_alive():  # the one that judges; what the other starts, ends by itself
            logs.say(logging.ERROR, "the shadow did not stop in time, and what it has seen last is not recorded")
            return
        with self._lock:
            untaken, self._next = self._next, None
        _close([untaken])
        self._install(None, ShadowConfig())
        self._keep(())
        if self._unkept:
            self._counts.left("lost", len(self._unkept))
            logs.say(logging.ERROR, "records of the shadow are lost", leaves=len(self._unkept))
            self._unkept.clear()

    def work(self) -> None:
        """Judge what waits, and record what has to be."""
        with self._lock:
            following, self._next = self._next, None
        if following is not None:
            self._install(*following)
        while self._judge is not None and self._due() and not self._stopping.is_set():
            cpu_s = self._try_one(self._judge, self._waiting.popleft())
            share = self._settings.cpu_percent / 100
            self._stopping.wait(min(cpu_s * (1 - share) / share, _LONGEST_PAUSE_S))
            if self._next is not None:
                break
        self._counts.waiting(len(self._waiting))
        if self._ledger is not None:
            self._count_shed(self._ledger)
            self._keep(self._ledger.due(now_s=time.monotonic()))

    def _due(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._waiting[0].at_s >= HOLD_S

    def _try_one(self, judge: JudgeProcess, waiting: _Waiting) -> float:
        """Judge one review; gives the seconds of a processor that it took."""
        assert self._ledger is not None  # noqa: S101 - whoever judges has one
        cpu_s = 0.0
        try:
            after, cpu_s = judge.judge(render_canonical(waiting.document))
        except CanonicalError:
            after = Answer.failed("input_invalid")
        except JudgeLostError as lost:
            self._judge = None
            if self._stopping.is_set():  # it was ended from here, and says nothing of the policies
                self._leave_out("stopped")
                return cpu_s
            after = Answer.failed(lost.code)
            self.loader.lost(lost.code)
        before = Answer.of(waiting.policy)
        difference = compare(before, after, by_token=waiting.by_token)
        self._counts.judged(difference, cpu_s=cpu_s)
        if difference is None:
            self._ledger.agree()
            return cpu_s
        leaf = waiting.leaf
        policy = {name: str(leaf["policy"][name]) for name in ("revision", "data_digest")}
        sighting = Sighting(
            describe_subject(leaf),
            policy,
            before,
            after,
            difference,
            decision_id=str(leaf["decision_id"]),
            index=waiting.index,
            time=str(leaf["time"]),
        )
        unlisted = self._ledger.unlisted
        leaf_body = self._ledger.disagree(sighting, now_s=time.monotonic())
        self._counts.left("unlisted", self._ledger.unlisted - unlisted)
        if leaf_body is not None:
            self._keep([leaf_body])
        return cpu_s

    def _hand_over(self, judge: JudgeProcess | None, settings: ShadowConfig) -> None:
        """Let the thread that judges go on with another process; called by the one that looks."""
        handed: tuple[JudgeProcess | None, ShadowConfig] | None = (judge, settings)
        with self._lock:
            untaken = [self._next]
            if self._stopping.is_set():
                untaken, handed = [*untaken, handed], None
            self._next = handed
        _close(untaken)

    def _install(self, judge: JudgeProcess | None, settings: ShadowConfig) -> None:
        same = judge is not None and self._ledger is not None and judge.candidate.same_as(self._ledger.candidate)
        if self._judge is not None:
            self._judge.close()
        if judge is None:
            self._taking = False
            while self._waiting:
                self._waiting.popleft()
                self._leave_out("stopped")
        if self._ledger is not None and not (same and settings.window_s == self._settings.window_s):
            self._count_shed(self._ledger)
            self._keep(self._ledger.end())
            self._ledger = None
            self._counts.loaded("ended")
            logs.say(logging.INFO, "shadow ended")
        self._judge, self._settings = judge, settings
        self._counts.trying(None if judge is None else judge.candidate)
        if judge is not None and self._ledger is None:
            self._begin(judge, settings)
        self._taking = judge is not None

    def _begin(self, judge: JudgeProcess, settings: ShadowConfig) -> None:
        candidate = judge.candidate
        self._ledger = Ledger(
            candidate, cluster=self._cluster, window_s=settings.window_s, clock=self._clock, now_s=time.monotonic()
        )
        self._keep([render_begun(candidate, cluster=self._cluster, moment=self._clock())])
        self._counts.loaded("begun")
        logs.say(logging.INFO, "shadow begun", **candidate.render())

    def _leave_out(self, reason: str) -> None:
        self._counts.shed(reason)
        with self._lock:
            self._shed += 1

    def _count_shed(self, ledger: Ledger) -> None:
        with self._lock:
            shed, self._shed = self._shed, 0
        if shed:
            ledger.count("shed", shed)

    def _keep(self, bodies: Iterable[Mapping[str, Any]]) -> None:
        """Record leaves, after those that the store did not take before."""
        for body in bodies:
            if len(self._unkept) >= _MOST_UNKEPT:
                self._lose()
            self._unkept.append(body)
        while self._unkept and not self._given_up and (time.monotonic() >= self._retry_s or self._stopping.is_set()):
            try:
                self._log.append(self._unkept[0], deadline_s=_APPEND_S)
            except AuditError as error:
                logs.say(logging.WARNING, "the shadow was not recorded", code=error.code, detail=logs.told(error))
                if error.code not in _FOR_GOOD:
                    self._retry_s = time.monotonic() + _RETRY_S
                    self._given_up = self._stopping.is_set()
                    return
                self._lose()
            else:
                self._unkept.popleft()
                self._counts.left("recorded")

    def _lose(self) -> None:
        """Give up the oldest leaf that waits; the next tally says so."""
        self._unkept.popleft()
        self._counts.left("lost")
        if self._ledger is not None:
            self._ledger.count("unrecorded")

    def _repeat(self, act: Callable[[], None], every_s: float) -> None:
        while not self._stopping.wait(every_s):
            try:
                act()
            except Exception as error:  # noqa: BLE001 - nothing here may end what tries, or the gate
                words = f"{type(error).__name__}: {error}"
                if words != self._failed:
                    logs.say(logging.ERROR, "the shadow failed and goes on", exc_info=True)
                self._failed = words


def _close(untaken: Iterable[tuple[JudgeProcess | None, ShadowConfig] | None]) -> None:
    """End processes that nobody is going to ask."""
    for one in untaken:
        if one is not None and one[0] is not None:
            one[0].close()
