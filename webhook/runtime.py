"""The process: what it opens once, what a reload replaces, what runs in the background, and how it ends.

A reload builds a second gate aside, tests it, records what changed, and swaps it in; whatever fails on the way leaves
the old gate in office (ADR 21). The record, the address and the cluster's name are settled at the start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from flask import Flask

from placet.approvals.revocations import KeptRevocations
from placet.assemble import build_informer, load_own_log_key
from placet.audit.checkpointer import Checkpointer, CheckpointThread
from placet.audit.query import Query, find
from placet.breakglass.record import LogGlass
from placet.canary import CanaryKey
from placet.config import Config, load_config
from placet.errors import AuditError, ConfigError, EngineError, KeyringError, PlacetError
from placet.exemptions.record import ExemptionRecord
from placet.revoked import RevocationRecord
from webhook import logs
from webhook.app import create_app
from webhook.canary import CanaryThread
from webhook.changes import find_change, find_restart_keys, keep_restart_settings, record_change
from webhook.fetching import FetcherThread, PolicyFetcher
from webhook.foundations import find_package, newest_policy_version, record_policies
from webhook.gates import Gates
from webhook.generation import Generation, GenerationBuilder, digest_log_keys, fingerprint, judges_otherwise
from webhook.inspection import Inspector
from webhook.measured import MeasuredLog
from webhook.metrics import CONTENT_TYPE, Metrics
from webhook.publishing import Publishing
from webhook.readiness import PROCESS, Finding, Readiness, Report
from webhook.recording import Recording, open_recording
from webhook.selftest import SelfTestError
from webhook.server_state import ServerState
from webhook.settings import Access, HttpSettings, load_access
from webhook.shadow import Shadow, ShadowedObserver
from webhook.shadow_metrics import ShadowCounts
from webhook.spooled import Draining
from webhook.told import ToldPolicies
from webhook.watch import Watcher

RETRY_S: Final = 15.0
SETTLED_S: Final = 0.2
_SEEN_ADMISSIONS: Final = 1000

pause = time.sleep  # tests write to files meanwhile


def now() -> datetime:
    """The wall clock, aware UTC."""
    return datetime.now(UTC)


class Runtime:
    """A gate that lives: opened once, reloaded often, closed at the end.

    Attributes:
        app: the WSGI application; the same object for the life of the process.
        metrics: what /metrics shows.
        checkpointer: signs checkpoints and appends heartbeats.
        canaries: sends what must be refused, to see that it is.
        draining: records what waits in the spool; None without one.
        publishing: shows the cluster what is recorded.
        fetcher: looks for newer policies where the configuration says.
        shadow: tries policies on live reviews beside those in force.

    Example::

        runtime = Runtime.open(load_config(file))
        run_server(runtime, runtime.config.server)  # closes it
    """

    def __init__(
        self,
        config: Config,
        recording: Recording,
        metrics: Metrics,
        *,
        access: Access,
        limits: HttpSettings,
        clock: Callable[[], datetime],
        canary: CanaryKey,
    ) -> None:
        """Build the first gate and put the application before it; use :meth:`open`."""
        self.metrics = metrics
        self.access = access
        self._clock = clock
        log, spool = recording.log, recording.spool
        self._log = log
        self._recording = recording
        self._readiness = Readiness()
        self._reloading = threading.Lock()
        self._looking = threading.Lock()
        self._refused: Finding | None = None
        self._pending: tuple[str, ...] = ()
        self._retry_s = float("inf")
        self._closed = False
        self._kept = KeptRevocations()
        revoked = RevocationRecord(log, self._kept, cluster=config.cluster, persons=recording.persons)
        revoked.learn(clock())
        self._informer = build_informer(config)
        metrics.follow_informer(self._informer)
        metrics.follow_spool(spool)
        self.draining = None if spool is None else Draining(spool, log, cluster=config.cluster, clock=clock)
        self._builder = GenerationBuilder(
            log, metrics, kept=self._kept, clock=clock, informer=self._informer, spool=spool, persons=recording.persons
        )
        self.publishing = Publishing(config, log, recording.keys, metrics, clock=clock)
        self._told = ToldPolicies(self.publishing.notices, clock=clock)
        self.fetcher = PolicyFetcher(
            clock=clock, newest_version=lambda: newest_policy_version(log), refused=self._told.refused
        )
        self._generation = self._build_first(config)
        self._gates = Gates(self._generation.gate, self._generation.engine.close)
        try:
            self._note(self._generation, cause="start")
        except BaseException:
            self._generation.engine.close()
            raise
        self.checkpointer = Checkpointer(log, save=recording.save, persons=recording.persons)
        self._inspector = Inspector(
            log,
            self.checkpointer,
            metrics,
            revoked=revoked,
            exempted=ExemptionRecord(log, cluster=config.cluster, persons=recording.persons),
            glass=LogGlass(log, cluster=config.cluster, persons=recording.persons),
            clock=clock,
            informer=self._informer,
            spool=spool,
            persons=recording.persons,
        )
        self._complaints: set[str] = set()
        self._keeper = CheckpointThread(self.checkpointer, failed=self._complain, clock=clock)
        # Apart: while policies are tried aside, which may take a minute, readiness goes on being looked at.
        self._watchers = [Watcher([self.look_for_changes]), Watcher([self.look])]
        self.canaries = CanaryThread(lambda: self.config, canary, metrics)
        self._fetching = FetcherThread(self.fetcher, lambda: self.config, metrics.policies_fetched)
        self.shadow = Shadow(
            log, ShadowCounts(metrics), cluster=config.cluster, clock=clock, refused=self._told.shadow_refused
        )
        self.app: Flask = create_app(
            self._gates,
            ready=self._report,
            settings=limits,
            access=access,
            observer=ShadowedObserver(metrics, self.shadow),
            metrics=self._scrape,
            canary=canary,
        )

    @classmethod
    def open(
        cls,
        config: Config,
        *,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], datetime] = now,
        limits: HttpSettings | None = None,
        open_log: Callable[[Config], MeasuredLog] | None = None,
        background: bool = True,
    ) -> Runtime:
        """Open every part, warm it, and test it: a port that is opened afterwards gives no wrong and no slow answer.

        A keyring that can't be trusted yet is no error, nor is an OPA that does not answer yet: every review is
        refused, and /readyz says why, until it can be decided.

        Args:
            config: checked.
            environment: holds the secrets.
            clock: aware UTC.
            limits: of HTTP; the defaults when None.
            open_log: instead of opening the record that the configuration names.
            background: whether files are watched and checkpoints signed; tests do so step by step.

        Raises:
            PlacetError: a part can't be used, and no waiting will mend it.
        """
        logs.configure(config.log)
        access = load_access(config.server, environment)
        metrics = Metrics(clock=clock)
        recording = open_recording(config, open_log)
        recording.log.report_to(metrics.appended)
        try:
            runtime = cls(
                config,
                recording,
                metrics,
                access=access,
                limits=limits or HttpSettings(),
                clock=clock,
                canary=CanaryKey.derive(load_own_log_key(config)),
            )
        except BaseException:
            recording.close()
            raise
        runtime.look()
        if background:
            runtime.start()
        return runtime

    @property
    def config(self) -> Config:
        """What is in force; keys that wait for a restart have their old values."""
        return self._generation.config

    @property
    def generation(self) -> Generation:
        """What serves now."""
        return self._generation

    def start(self) -> None:
        """Begin to watch files, and to sign checkpoints."""
        self._remember_approvals()
        if self._informer is not None:
            self._informer.start()
        self._keeper.start()
        if self.draining is not None:
            self.draining.start()
        for watcher in self._watchers:
            watcher.start()
        self.publishing.start()
        self.canaries.start()
        self._fetching.start()
        self.shadow.start(lambda: self.config)

    def problems(self) -> dict[str, str]:
        """Part -> why this gate can't decide rightly now; empty when it is ready."""
        return {part: str(found) for part, found in self._report(None).problems.items()}

    def look(self) -> None:
        """Look at every part now; /readyz answers with what was found."""
        with self._looking:
            generation, begun_s = None, time.monotonic()
            while generation is not self._generation:  # what was replaced meanwhile, and closed, says nothing
                generation, begun_s = self._generation, time.monotonic()
                report = self._inspector.look(generation, self._warnings())
            self._readiness.update(report, at_s=begun_s)
        if not {"record", "checkpoint"} & report.problems.keys():
            self._complaints.clear()

    def drain(self) -> None:
        """The process is going to end: /readyz answers 503 from now on."""
        self._readiness.drain()
        logs.say(logging.INFO, "draining")

    def reload(self) -> None:
        """Read configuration, policy data and roots again, and put them in force if they can be used. Blocks."""
        with self._reloading:
            if not self._closed:
                self._reload()

    def close(self) -> None:
        """End the background, sign what there is, and close. Again: nothing."""
        with self._reloading:
            if self._closed:
                return
            self._closed = True
        self._fetching.stop()
        self.shadow.stop()
        self.canaries.stop()
        self.publishing.stop()
        for watcher in self._watchers:
            watcher.stop()
        if self._informer is not None:
            self._informer.stop()
        if self._keeper.is_alive():
            self._keeper.stop()
        try:
            self._inspector.record_revocations(self._clock())
        except AuditError as error:
            logs.say(logging.ERROR, "last revocations not recorded", code=error.code, detail=logs.told(error))
        if self.draining is not None:
            self.draining.stop()
        try:
            self.checkpointer.finish()
        except AuditError as error:
            logs.say(logging.ERROR, "last checkpoint failed", code=error.code, detail=logs.told(error))
        self._generation.engine.close()
        self._recording.close()
        logs.say(logging.INFO, "stopped")

    def _build_first(self, config: Config) -> Generation:
        """What a process begins with; where there is none, the cluster is told before the process ends."""
        try:
            self.fetcher.look_first(config, lambda: find_package(self._log))
            self._watched = config
            self._seen = fingerprint(config.file, config)
            self._log_keys = digest_log_keys(config)
            return self._builder.build(config, None)
        except PlacetError as error:
            if self.fetcher.problem is None:  # else the fetcher has told of it
                self._told.refused(error)
            self.publishing.tell_last()
            raise

    # -- reload

    def look_for_changes(self) -> None:
        """Reload where the content of a file has changed, and now and then where the last change was refused."""
        found = fingerprint(self.config.file, self._watched)
        if found != self._seen:
            # Shells and editors empty a file before they fill it, and an empty one is valid: wait until it is written.
            pause(SETTLED_S)
            if fingerprint(self.config.file, self._watched) == found:
                self.reload()
        elif time.monotonic() >= self._retry_s:
            self.reload()

    def _reload(self) -> None:
        former = self._generation
        self._watched, self._seen = former.config, fingerprint(former.config.file, former.config)
        try:
            read = load_config(former.config.file)
            pending = (*find_restart_keys(former.config, read), *self._changed_log_key())
            config = keep_restart_settings(former.config, read)
            self._watched, self._seen = config, fingerprint(config.file, config)
            generation = self._builder.build(config, former)
        except PlacetError as error:
            self._refuse(error)
            return
        try:
            if fingerprint(config.file, config) != self._seen:
                self._seen = {}  # half of one state and half of the next may have been tested: soon again
                generation.engine.close()
                return
            self._pending = pending
            changed = self._note(generation, cause="reload")
        except (AuditError, EngineError) as error:
            generation.engine.close()
            self._refuse(error)
            return
        self._retry_s = float("inf")
        self._put_in_office(generation, changed=changed)

    def _put_in_office(self, generation: Generation, *, changed: bool) -> None:
        former, self._generation = self._generation, generation
        # Another process on the same record may have recorded the change first; here it takes effect all the same.
        changed = changed or judges_otherwise(former, generation)
        generation.trust.enter_office(self._kept)
        self._gates.swap(generation.gate, generation.engine.close)
        if generation.config.log != former.config.log:
            logs.configure(generation.config.log)
        if self._refused is not None or changed:
            logs.say(logging.INFO, "reload applied", data=str(generation.data.digest), mended=self._refused is not None)
        self._refused = None
        self.metrics.reloaded("applied" if changed else "unchanged")
        if self._pending:
            logs.say(logging.WARNING, "a restart is needed for some keys", keys=list(self._pending))
        self.look()

    def _note(self, generation: Generation, *, cause: str) -> bool:
        """Record what is in force where it differs from what the record says; whether it does.

        Raises:
            AuditError: it could not be recorded, and must not count.
        """
        config, data, engine = generation.config, generation.data, generation.engine
        record_policies(self._log, config.cluster, data.bundle, self._clock(), version=generation.version)
        roots, version, signers = generation.roots, generation.version, generation.signers
        change = find_change(self._log, config, data, engine, roots=roots, version=version, signers=signers)
        if change is not None:
            kept = record_change(
                self._log,
                change,
                config,
                data,
                engine,
                roots=generation.roots,
                version=generation.version,
                signers=generation.signers,
                moment=self._clock(),
                cause=cause,
                pending=self._pending,
            )
            downgrades = [f"{one.key}: {one.before} -> {one.after}" for one in change.downgrades]
            level = logging.WARNING if downgrades else logging.INFO
            logs.say(
                level, "configuration in force", log_index=kept.index, changed=list(change.keys), downgrades=downgrades
            )
        self.metrics.judging_with(
            revision=engine.revision, data_digest=str(data.digest), environments=data.value["environments"]
        )
        self._told.in_force(data.bundle, generation.version)
        return change is not None

    def _refuse(self, error: PlacetError) -> None:
        """Keep what serves; say so once."""
        found = Finding(error.code, f"{error}; what was in force before stays so")
        if found != self._refused:
            logs.say(logging.ERROR, "reload refused", code=error.code, detail=logs.told(error), hint=error.hint)
            self.metrics.reloaded(f"refused_{_part_of(error)}")
            self._told.refused(error)
        self._refused = found
        self._retry_s = time.monotonic() + RETRY_S  # the cause may lie elsewhere: an engine, the store, the clock
        self.look()

    def _changed_log_key(self) -> tuple[str, ...]:
        """A private key is read once; another one in its place waits for the next start."""
        found = digest_log_keys(self.config)
        return tuple(name for name, digest in self._log_keys.items() if found[name] != digest)

    # -- what others ask

    def _warnings(self) -> dict[str, Finding]:
        found = self.publishing.warnings()
        if self.fetcher.problem is not None:
            found["policies"] = self.fetcher.problem
        if (problem := self.shadow.problem) is not None:
            found["shadow"] = problem
        if self._refused is not None:
            found["configuration"] = self._refused
        elif self._pending:
            found["configuration"] = Finding("restart_needed", f"changed since the start: {', '.join(self._pending)}")
        return found

    def _report(self, server: ServerState | None) -> Report:
        """What was found last, and what the server says of its certificates; never blocks."""
        report = self._readiness.report(now_s=time.monotonic())
        self.metrics.part(PROCESS, ready=PROCESS not in report.problems, stale=False)
        if server is None:
            return report
        self.metrics.follow_server(server)
        found = {
            part: Finding(code, detail)
            for part, why in server.find_problems(self._clock()).items()
            for code, _, detail in (why.partition(": "),)
            if part != "draining"
        }
        refused = "" if server.certificates is None else server.certificates.last_problem
        warned = {"certificate": Finding("certificate_refused", refused)} if refused else {}
        for part in ("certificate", "client_ca"):
            self.metrics.part(part, ready=part not in found, stale=part in warned)
        return Report({**report.problems, **found}, {**report.warnings, **warned})

    def _scrape(self, server: ServerState | None) -> tuple[bytes, str]:
        self._report(server)
        return self.metrics.render(), CONTENT_TYPE

    def _complain(self, error: AuditError) -> None:
        """A checkpoint failed; said once for each cause, as readiness goes on to show it."""
        if error.code not in self._complaints:
            self._complaints.add(error.code)
            logs.say(logging.ERROR, "checkpoint failed", code=error.code, detail=logs.told(error), hint=error.hint)

    def _remember_approvals(self) -> None:
        """Those that let workloads in before this process began count among the expiring ones."""
        with contextlib.suppress(AuditError), self._log.reading() as reader:
            for one in find(reader, Query(allowed=True), limit=_SEEN_ADMISSIONS).found:
                for approval in one.body.get("approvals", ()):
                    self.metrics.approval_counts(approval["approval_id"], datetime.fromisoformat(approval["expires"]))


def _part_of(error: PlacetError) -> str:
    """Of what a reload was refused; one of a few words, since it is a label."""
    for kind, part in (
        (ConfigError, "configuration"),
        (KeyringError, "keyring"),
        (SelfTestError, "self_test"),
        (AuditError, "record"),
    ):
        if isinstance(error, kind):
            return part
    if error.code == "policy_data_invalid":
        return "policy_data"
    return "engine" if isinstance(error, EngineError) else "other"
