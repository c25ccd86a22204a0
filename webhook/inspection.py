"""One look at every part of the gate, made in the background; what it finds is what /readyz answers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.revocations import Revocation
from placet.audit.checkpointer import CHECKPOINT_EVERY_S, Checkpointer
from placet.audit.log import Health
from placet.audit.person_keys import PersonKeys
from placet.breakglass.record import Glass
from placet.errors import AuditError, EngineError, PlacetError, TamperError
from placet.exemptions.record import ExemptionRecord
from placet.exemptions.survey import survey
from placet.informer.informer import Informer
from placet.revoked import RevocationRecord
from placet.spool.spool import Spool
from webhook import logs, remembered
from webhook.generation import Generation
from webhook.measured import MeasuredLog
from webhook.metrics import Metrics
from webhook.readiness import PARTS, Finding, Report, add_finding
from webhook.selftest import self_test
from webhook.spooled import add_warnings

BUSY_S: Final = 2.0
PENDING: Final = "checkpoint_pending"
REVOCATION_MISSING: Final = "revocation_missing"
EXEMPTIONS_UNREADABLE: Final = "exemptions_unreadable"
REVOCATION_UNRECORDED: Final = "revocation_unrecorded"
STALE_CHECKPOINT: Final = timedelta(seconds=3 * CHECKPOINT_EVERY_S)
_PASSING: Final = frozenset({"store_locked", "store_unavailable"})
_WRITABLE: Final = Health(writable=True, code="", detail="", size=0, signed_size=0)


class Inspector:
    """Looks at the parts, and remembers what it said: each fault is logged when it comes and when it goes."""

    def __init__(
        self,
        log: MeasuredLog,
        checkpointer: Checkpointer,
        metrics: Metrics,
        *,
        revoked: RevocationRecord,
        exempted: ExemptionRecord,
        glass: Glass,
        clock: Callable[[], datetime],
        informer: Informer | None = None,
        spool: Spool | None = None,
        persons: PersonKeys | None = None,
    ) -> None:
        self._log = log
        self._persons = persons
        self._spool = spool
        self._informer = informer
        self._checkpointer = checkpointer
        self._metrics = metrics
        self._revoked = revoked
        self._exempted = exempted
        self._glass = glass
        self._clock = clock
        self._said: set[tuple[str, str, str]] = set()
        self._tested: Generation | None = None
        self._locked_before = False
        self._unsigned_since: datetime | None = None
        self._keyring: tuple[int, str] | None = None
        self._was_ready: bool | None = None

    def look(self, generation: Generation, warnings: dict[str, Finding]) -> Report:
        """Look at everything; may block as long as the store or the engine does.

        Args:
            generation: what serves.
            warnings: of parts that others look at.
        """
        now = self._clock()
        problems: dict[str, Finding] = {}
        warnings = dict(warnings)
        self._look_at_keyring(generation, now, problems, warnings)
        self._look_at_revocations(generation, now, problems, warnings)
        self._look_at_exemptions(generation, now, warnings)
        self._look_at_break_glass(now, problems, warnings)
        self._look_at_record(now, problems, warnings)
        add_warnings(self._spool, warnings)
        if engine := self._look_at_engine(generation):
            problems["engine"] = engine
        if waiting := remembered.find_problem(self._informer):
            problems[remembered.PART] = waiting
        if old := remembered.find_warning(self._informer):
            warnings[remembered.PART] = old
        report = Report(problems, warnings)
        self._tell(report)
        return report

    def _look_at_keyring(
        self, generation: Generation, now: datetime, problems: dict[str, Finding], warnings: dict[str, Finding]
    ) -> None:
        trust = generation.trust
        try:
            self._say_version(trust.load(now)[0])
        except PlacetError as error:
            problems["keyring"] = Finding(error.code, str(error))
        else:
            if refused := trust.refused:
                add_finding(warnings, "keyring", Finding(refused.code, f"{refused}; the one before stays in force"))
        kept = trust.in_force
        self._metrics.keyring_expires(None if kept is None else kept.expires)

    def _look_at_revocations(
        self, generation: Generation, now: datetime, problems: dict[str, Finding], warnings: dict[str, Finding]
    ) -> None:
        missing = [one for one in generation.trust.find_missing() if not self._revoked.may_be_on_its_way(one, now)]
        if missing:
            told = _describe_missing(missing, generation.config.revocations)
            add_finding(warnings, "keyring", Finding(REVOCATION_MISSING, told))
        try:
            self.record_revocations(now)
        except TamperError as error:
            add_finding(problems, "record", Finding(error.code, str(error)))
        except AuditError as error:
            waiting = self._revoked.waiting
            told = f"{waiting} revocations count and are not in the record yet, which is tried again: {error}"
            found = Finding(REVOCATION_UNRECORDED, told) if waiting else Finding(error.code, str(error))
            add_finding(warnings, "record", found)

    def _look_at_exemptions(self, generation: Generation, now: datetime, warnings: dict[str, Finding]) -> None:
        """What can't be read exempts nothing, so every decision is right without it; somebody has to be told."""
        keyring = generation.trust.in_force
        if keyring is None:
            return
        held = generation.exemptions.load(keyring)
        standings = survey(
            held, keyring=keyring, cluster=generation.config.cluster, data=generation.data.value, now=now
        )
        self._metrics.exemptions_stand(Counter([one.state for one in standings] + ["unreadable"] * len(held.faults)))
        if held.faults:
            first = held.faults[0]
            told = f"{len(held.faults)} that exempt nothing, the first {first.file}: {first.why}"
            add_finding(warnings, "keyring", Finding(EXEMPTIONS_UNREADABLE, told))
        names = tuple(keyring.names)
        try:
            for event, exemption_id, appended in self._exempted.append_changes(held, now, named=names):
                logs.say(logging.INFO, f"exemption {event}", exemption_id=exemption_id, log_index=appended.index)
        except AuditError as error:
            add_finding(warnings, "record", Finding(error.code, str(error)))

    def _look_at_break_glass(self, now: datetime, problems: dict[str, Finding], warnings: dict[str, Finding]) -> None:
        """How many reviews wait; a state that can't be read refuses every deploy, and is said."""
        try:
            waiting = self._glass.state().open_uses()
        except TamperError as error:
            add_finding(problems, "record", Finding(error.code, str(error)))
        except AuditError as error:
            add_finding(warnings, "record", Finding(error.code, str(error)))
        else:
            overdue = sum(use.due <= now for use in waiting)
            self._metrics.reviews_wait(due=len(waiting) - overdue, overdue=overdue)

    def record_revocations(self, now: datetime) -> None:
        """Learn what other replicas have recorded, and record what they have not.

        Raises:
            AuditError: the record can't be read or written.
        """
        self._revoked.learn(now)
        for one, appended in self._revoked.append_new(now):
            logs.say(
                logging.INFO,
                "revocation recorded",
                approval_id=one.approval_id,
                role=one.role,
                environment=one.environment,
                person=logs.told(one.person),
                log_index=appended.index,
            )

    def _say_version(self, keyring: VerifiedKeyring) -> None:
        known = (keyring.version, str(keyring.digest))
        if known != self._keyring:
            first, self._keyring = self._keyring is None, known
            logs.say(logging.INFO, "keyring in force", version=keyring.version, expires=keyring.expires.isoformat())
            if not first:
                self._metrics.reloaded("applied")

    def _look_at_record(self, now: datetime, problems: dict[str, Finding], warnings: dict[str, Finding]) -> None:
        busy = self._log.wrote_within(BUSY_S)
        health = _WRITABLE if busy else self._log.health()
        if not health.writable:
            found = Finding(health.code, health.detail)
            # Another process may write for a moment; that is no reason to send callers elsewhere.
            passing = health.code in _PASSING and not self._locked_before
            add_finding(warnings if passing else problems, "record", found)
        self._locked_before = health.code in _PASSING
        try:
            if self._persons is not None:
                self._persons.require_usable()
        except AuditError as error:
            add_finding(problems, "record", Finding(error.code, str(error)))
        if checkpoint := self._look_at_checkpoint(now, health, warnings, busy=busy):
            problems["checkpoint"] = checkpoint

    def _look_at_checkpoint(
        self, now: datetime, health: Health, warnings: dict[str, Finding], *, busy: bool
    ) -> Finding | None:
        signed = self._checkpointer.signed_at
        if signed is None:
            return Finding(PENDING, "the record is being compared with its last checkpoint")
        self._metrics.checkpoint_signed(signed)
        if busy or health.size > self._log.signed_size:
            self._unsigned_since = max(self._unsigned_since or now, signed)
        else:
            self._unsigned_since = None
        if (unsaved := self._checkpointer.save_failure) is not None:
            found = Finding(unsaved.code, str(unsaved))
            if isinstance(unsaved, TamperError):
                return found
            add_finding(warnings, "checkpoint", found)
        if self._unsigned_since is not None and now - self._unsigned_since > STALE_CHECKPOINT:
            return Finding("checkpoint_stale", f"last signed at {signed.isoformat()}, and not all since is signed for")
        return None

    def _look_at_engine(self, generation: Generation) -> Finding | None:
        """What the engine says of itself, and what it says of a document whose answer is known."""
        if problem := generation.engine.problem():
            self._tested = None
            code, _, detail = problem.partition(": ")
            return Finding(code, detail)
        if self._tested is generation:
            return None
        try:
            self_test(generation.config, generation.data, generation.engine, generation.trust, self._clock)
        except EngineError as error:
            return Finding(error.code, str(error))
        self._tested = generation
        return None

    def _tell(self, report: Report) -> None:
        """Log what is new and what is gone; set the gauges."""
        present: dict[tuple[str, str, str], Finding] = {}
        for word, findings in (("problem", report.problems), ("warning", report.warnings)):
            present.update({(word, part, one.code): one for part, found in findings.items() for one in found})
        for key, found in present.items():
            if key in self._said:
                continue
            word, part, code = key
            level = logging.ERROR if word == "problem" else logging.WARNING
            if code in {PENDING, remembered.WARMING}:
                level = logging.INFO
            logs.say(level, f"readiness {word}", part=part, code=code, detail=logs.told(found.detail))
            if (word, part) == ("warning", "keyring") and code not in {REVOCATION_MISSING, EXEMPTIONS_UNREADABLE}:
                self._metrics.reloaded("refused_keyring")
        for word, part, code in sorted(self._said - present.keys()):
            logs.say(logging.INFO, f"readiness {word} gone", part=part, code=code)
        self._say_ready(report)
        self._said = set(present)
        for part in PARTS:
            self._metrics.part(part, ready=part not in report.problems, stale=part in report.warnings)

    def _say_ready(self, report: Report) -> None:
        ready = not report.problems
        if ready is not self._was_ready:
            logs.say(logging.INFO, "ready" if ready else "not ready", parts=sorted(report.problems))
        self._was_ready = ready


def _describe_missing(missing: Sequence[Revocation], folder: Path | None) -> str:
    first = missing[0]
    where = "name their folder in keyring.revocations again" if folder is None else f"put the files back into {folder}"
    return (
        f"{len(missing)} without a file, the first that of {first.approval_id} ({first.role}, {first.environment}): "
        f"they stay in force; {where}, or add the approval ids to the keyring's revokedApprovals"
    )
