"""Parts of the gate that tell how long they took and what went wrong with them; what they do is not changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from placet.audit.log import Appended, AuditLog
from placet.audit.stored import Recorded
from placet.errors import AuditError
from placet.policy.decision import PolicyDecision
from placet.policy.engine import PolicyEngine
from webhook import logs

Told = Callable[[str, float], None]


class MeasuredLog(AuditLog):
    """A log that reports each append: the code of its failure or "", and the seconds that it took."""

    _report: Told | None = None
    _last_success_s = float("-inf")

    def report_to(self, report: Told) -> None:
        """Tell of each append from now on."""
        self._report = report

    def append(self, leaf: Mapping[str, Any], **terms: Any) -> Appended:
        """See :class:`AuditLog`."""
        started_s = time.perf_counter()
        code = ""
        try:
            appended = super().append(leaf, **terms)
        except AuditError as error:
            code = error.code
            self._last_success_s = float("-inf")
            logs.say(logging.ERROR, "append failed", code=code, detail=logs.told(error))
            raise
        else:
            self._last_success_s = time.monotonic()
            return appended
        finally:
            if self._report is not None:
                self._report(code, time.perf_counter() - started_s)

    def find_uid(self, uid: str) -> Recorded | None:
        """See :class:`AuditLog`. What is refused for it does not name the store's machine, and this line does."""
        try:
            return super().find_uid(uid)
        except AuditError as error:
            logs.say(logging.ERROR, "record not read", code=error.code, detail=logs.told(error))
            raise

    def wrote_within(self, seconds: float) -> bool:
        """Whether the last append succeeded, so lately: a store that is busy writing need not be asked if it can."""
        return time.monotonic() - self._last_success_s < seconds


class MeasuredEngine:
    """An engine that reports the seconds of each decision, made or failed."""

    def __init__(self, engine: PolicyEngine, report: Callable[[float], None]) -> None:
        self._engine = engine
        self._report = report
        self.name = engine.name
        self.version = engine.version
        self.revision = engine.revision

    def prepare(self) -> None:
        """See :class:`PolicyEngine`."""
        self._engine.prepare()

    def problem(self) -> str:
        """See :class:`PolicyEngine`."""
        return self._engine.problem()

    def decide(self, document: Mapping[str, Any], *, deadline_s: float) -> PolicyDecision:
        """See :class:`PolicyEngine`."""
        started_s = time.perf_counter()
        try:
            return self._engine.decide(document, deadline_s=deadline_s)
        finally:
            self._report(time.perf_counter() - started_s)

    def close(self) -> None:
        """See :class:`PolicyEngine`."""
        self._engine.close()
