"""The spool as the process has it: drained in the background, and what of it has to be said."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from placet.audit.log import AuditLog
from placet.spool.drain import Drained, Drainer
from placet.spool.spool import Spool
from webhook import logs
from webhook.readiness import Finding, add_finding

EVERY_S: Final = 1.0
_LAST_S: Final = 5.0


class Draining:
    """Drains a spool each second, in a thread of its own: neither answers nor looks at the parts wait for it."""

    def __init__(self, spool: Spool, log: AuditLog, *, cluster: str, clock: Callable[[], datetime]) -> None:
        self._spool = spool
        self._stopping = threading.Event()
        self._give_up_s = float("inf")
        self._drainer = Drainer(spool, log, cluster=cluster, clock=clock, pause=self._pause)
        self._thread = threading.Thread(target=self._run, name="placet-drain", daemon=True)
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def run_once(self) -> Drained:
        """What the thread does each second."""
        with self._one_at_a_time:
            done = self._drainer.run_once()
        for name, why in done.set_aside:
            logs.say(logging.ERROR, "a spooled denial was set aside", file=name, detail=logs.told(why))
        if done.recorded:
            logs.say(logging.INFO, "spooled denials recorded", count=done.recorded)
        for index, body in done.outages:
            level = logging.ERROR if body["lost"] or body["set_aside"] or not body["complete"] else logging.INFO
            told = {name: body[name] for name in ("since", "spooled", "recorded", "lost", "set_aside")}
            logs.say(level, "outage of the record ended", log_index=index, **told)
        return done

    def stop(self) -> None:
        """Drain what can be in a few seconds, and end; the rest is for the next process that has the folder."""
        self._give_up_s = time.monotonic() + _LAST_S
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_S)
        if not self._thread.is_alive():
            self.run_once()

    def _pause(self, seconds: float) -> bool:
        return self._stopping.wait(seconds) and time.monotonic() > self._give_up_s

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            try:
                self.run_once()
            except Exception:  # noqa: BLE001 - a thread that ends would leave everything in the spool
                logs.say(logging.ERROR, "draining the spool failed and goes on", exc_info=True)


def add_warnings(spool: Spool | None, warnings: dict[str, Finding]) -> None:
    """What /readyz has to say of a spool: nothing that keeps the gate from deciding rightly."""
    if spool is None:
        return
    found = spool.standing()
    if found.full:
        add_finding(warnings, "record", Finding("spool_full", f"{found.waiting} denials wait, and more have no room"))
    if found.failure:
        add_finding(warnings, "record", Finding("spool_failed", found.failure))
    if found.damaged:
        told = f"{len(found.damaged)} files were set aside, the first {found.damaged[0]}: look at them, and move them"
        add_finding(warnings, "record", Finding("spool_damaged", told))
    if found.waiting:
        add_finding(warnings, "record", Finding("spool_waiting", f"{found.waiting} denials wait to be recorded"))
