"""A look at the policy server every few seconds, in a thread of its own, and what it saw last."""

from __future__ import annotations

import logging
import random
import threading
import weakref
from collections.abc import Callable
from typing import Final

from placet.errors import EngineError
from placet.policy.failures import failure

INTERVAL_S: Final = 5.0
"""Between looks while all is well: the longest that a foreign change goes unseen."""
_TROUBLED_INTERVAL_S: Final = 1.0
_HURRY_S: Final = 0.2
_LOG: Final = logging.getLogger("placet.policy")

# Spreads load, guards nothing; its own, so that nobody else's random numbers depend on a thread in the background.
_SPREAD: Final = random.Random()  # noqa: S311


class Probe:
    """Keeps what a look found; never asked on a request's way.

    Args:
        look: a bound method; raises EngineError when the server can't be used. Held weakly: the thread ends with its
            owner.
        interval_s: between looks while all is well, more or less.
    """

    def __init__(self, look: Callable[[], None], *, interval_s: float) -> None:
        self._look = weakref.WeakMethod(look)
        self._interval_s = interval_s
        self._problem: EngineError | None = failure("engine_unprepared", "the policy engine has not been asked yet")
        self._stopped = threading.Event()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> EngineError | None:
        """What the last look found; None when all was well."""
        return self._problem

    def start(self) -> None:
        """Look now and then from here on; nothing when it does already."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=_run, args=(weakref.ref(self),), name="placet-opa-probe", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Look no more; a look that is under way is not waited for."""
        self._stopped.set()
        self._wanted.set()

    def hurry(self) -> None:
        """Look soon: a decision could not be had."""
        self._wanted.set()

    def look(self) -> None:
        """Look now.

        Raises:
            EngineError: the server can't be used; also kept as ``problem``.
        """
        look = self._look()
        if look is None:
            return
        before = self._problem
        try:
            look()
        except EngineError as error:
            self._problem = error
            if self._stopped.is_set():  # closed in the middle of it: no news
                raise
            if before is None or before.code != error.code:
                _LOG.warning("the policy engine can't judge: %s: %s", error.code, error)
            raise
        self._problem = None
        if before is not None and before.code != "engine_unprepared":
            _LOG.info("the policy engine can judge again")

    def fail(self, exc: Exception) -> None:
        """A look ended in something that none should: not ready, and loudly so."""
        self._problem = failure("engine_answer_invalid", f"a look at the policy engine failed: {type(exc).__name__}")
        _LOG.error("a look at the policy engine failed", exc_info=exc)

    def wait(self) -> bool:
        """Wait for the time of the next look; False when there is to be none."""
        mean = self._interval_s if self._problem is None else min(self._interval_s, _TROUBLED_INTERVAL_S)
        # Not in step with other replicas that were started together.
        pause = mean * _SPREAD.uniform(0.8, 1.2)
        self._stopped.wait(min(_HURRY_S, pause))
        self._wanted.wait(max(0.0, pause - _HURRY_S))
        self._wanted.clear()
        return not self._stopped.is_set() and self._look() is not None


def _run(owner: weakref.ref[Probe]) -> None:
    while (probe := owner()) is not None and probe.wait():
        try:
            probe.look()
        except EngineError:
            pass  # kept and logged by look()
        except Exception as exc:  # noqa: BLE001 - a thread that ended would leave what it saw last in place for ever
            probe.fail(exc)
        del probe
