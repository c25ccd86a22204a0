"""What a cluster is shown of the record, in threads of their own: no answer waits for them or depends on them."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from placet.apiserver import ClusterUnavailable
from placet.audit.log import AuditLog
from placet.audit.note import VerifierKey
from placet.config import Config
from placet.errors import PlacetError, TamperError
from placet.publish.api import FORBIDDEN, ClusterObjects, Objects
from placet.publish.checkpoints import ExportedCheckpoints
from placet.publish.decisions import DecisionSink
from placet.publish.events import LEFT_OUT, EventSink
from placet.publish.lease import LEASE_NAME, LostLease, PublisherLease
from placet.publish.notices import Notices, OwnPod
from placet.publish.publisher import Publisher, Sink
from placet.publish.reports import ReportSink
from webhook import logs
from webhook.metrics import Metrics
from webhook.readiness import Finding

IDLE_S: Final = 1.0
BEHIND_S: Final = 0.1
BUSY_S: Final = 5.0  # what is refused again meanwhile is one write
EXPORT_S: Final = 5.0
FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0
START_TIMEOUT_S: Final = 3.0


class Loop(threading.Thread):
    """Does something again and again, and waits longer after each failure.

    Args:
        part: ``publish`` or ``export``.
        task: what to do; gives how long to wait until the next time, in seconds.
        metrics: are told whether it fails.
        stopping: is set when it has to end.
        close: what to do at the end.
    """

    def __init__(
        self,
        part: str,
        task: Callable[[], float],
        metrics: Metrics,
        *,
        stopping: threading.Event,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name=f"placet-{part}", daemon=True)
        self._part = part
        self._task = task
        self._metrics = metrics
        self._close = close
        self._stopping = stopping
        self._retry_s = FIRST_RETRY_S
        self.failure: PlacetError | None = None

    def run(self) -> None:
        """The thread."""
        delay_s = IDLE_S
        while not self._stopping.wait(delay_s):
            delay_s = self.run_once()
        try:
            self._close()
        except PlacetError as error:
            logs.say(logging.INFO, f"{self._part} ended", detail=logs.told(error))

    def run_once(self) -> float:
        """Do it once; gives how long to wait."""
        try:
            delay_s = self._task()
        except PlacetError as error:
            return self._fail(error)
        except Exception as error:  # noqa: BLE001 - a thread that ends would show the last good word for ever
            logs.say(logging.ERROR, f"{self._part} failed and goes on", exc_info=True)
            return self._fail(PlacetError(f"{type(error).__name__}", code="defect"))
        if self.failure is not None:
            logs.say(logging.INFO, f"{self._part} works again")
        self.failure, self._retry_s = None, FIRST_RETRY_S
        self._metrics.publishing(self._part, failing=False)
        return delay_s

    def _fail(self, error: PlacetError) -> float:
        """Say it once for each cause, and wait longer each time."""
        if self.failure is None or self.failure.code != error.code:
            level = logging.ERROR if isinstance(error, TamperError) else logging.WARNING
            logs.say(level, f"{self._part} failed", code=error.code, detail=logs.told(error), hint=error.hint)
        self.failure = error
        self._metrics.publishing(self._part, failing=True)
        delay_s, self._retry_s = self._retry_s, min(LONGEST_RETRY_S, self._retry_s * 2)
        return delay_s


class Publishing:
    """Both loops, as the configuration wants them; none of them where it wants neither."""

    def __init__(
        self,
        config: Config,
        log: AuditLog,
        keys: Sequence[VerifierKey],
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        connect: Callable[[Path | None, Callable[[float], object]], Objects] | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            config: in force.
            log: what is shown.
            keys: verifier keys of the log.
            metrics: are told of everything.
            clock: aware UTC.
            connect: opens the way to the API server of a kubeconfig, given what waits between writes.
            environment: names the Pod, where Events about its policies are wanted.
        """
        self._metrics = metrics
        self._said: set[tuple[str, str]] = set()
        self._stopping = threading.Event()
        self._closing = False
        self._connect = connect or _connect
        self.loops: list[Loop] = []
        if config.publish.namespace:
            for kind in ("event", "decisions", "report"):  # an increase from nothing is none to Prometheus
                metrics.published(kind, FORBIDDEN, 0)
            metrics.published("leaf", "failed", 0)
            self.loops.append(self._build_publisher(config, log, clock))
        if config.export.namespace:
            self.loops.append(self._build_exporter(config, log, keys))
        self.notices = self._build_notices(config, OwnPod.of(environment))

    def start(self) -> None:
        """Begin."""
        for loop in self.loops:
            loop.start()

    def stop(self) -> None:
        """End; what is not shown yet is made up for by whoever publishes next."""
        self._stopping.set()
        for loop in self.loops:
            if loop.is_alive():
                loop.join(START_TIMEOUT_S)

    def tell_last(self) -> None:
        """Tell what waits to be told, once and at once: of a process that ends before it has begun."""
        if self.notices is None:
            return
        try:
            self.notices.publish()
        except PlacetError as error:  # the log and the exit code say the same
            logs.say(logging.WARNING, "the cluster was not told", code=error.code, detail=logs.told(error))

    def warnings(self) -> dict[str, Finding]:
        """What /readyz has to say: nothing of it keeps the gate from deciding rightly."""
        faults = [loop.failure for loop in self.loops if loop.failure is not None]
        return {"publishing": Finding(faults[0].code, str(faults[0]))} if faults else {}

    def _build_publisher(self, config: Config, log: AuditLog, clock: Callable[[], datetime]) -> Loop:
        wanted = config.publish
        objects = self._connect(config.kubeconfig, self._pause)
        identity = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        lease = PublisherLease(
            objects, namespace=wanted.namespace, name=LEASE_NAME, origin=log.origin, identity=identity, clock=clock
        )
        sinks: list[Sink] = []
        if wanted.events:
            sinks.append(EventSink(objects, count=self._count, clock=clock))
        if wanted.decisions:
            sinks.append(
                DecisionSink(
                    objects,
                    log.reading,
                    cluster=config.cluster,
                    namespace=wanted.namespace,
                    keep=wanted.decisions,
                    most=wanted.max_config_maps,
                    count=self._count,
                )
            )
        if wanted.reports:
            sinks.append(ReportSink(objects, count=self._count))
        publisher = Publisher(log, lease, sinks, cluster=config.cluster, count=self._count, said=_say_left_out)

        def publish() -> float:
            try:
                done = publisher.run_once()
            except LostLease:  # it is in good hands
                return BUSY_S
            self._metrics.publishing("publish", failing=False, behind=done.behind)
            if done.behind:
                return BEHIND_S
            return BUSY_S if done.read else IDLE_S

        def close() -> None:
            self._closing = True
            lease.release()

        return Loop("publish", publish, self._metrics, stopping=self._stopping, close=close)

    def _build_notices(self, config: Config, pod: OwnPod | None) -> Notices | None:
        """Each replica tells of itself: what one has refused, another may have taken."""
        if pod is None:
            return None
        for outcome in (FORBIDDEN, LEFT_OUT):
            self._metrics.published("event", outcome, 0)
        notices = Notices(
            pod,
            self._connect(config.kubeconfig, self._pause),
            count=self._count,
            left_out=lambda: self._metrics.published("event", LEFT_OUT, 1),
        )

        def tell() -> float:
            notices.publish()
            return IDLE_S

        self.loops.append(Loop("notices", tell, self._metrics, stopping=self._stopping))
        return notices

    def _build_exporter(self, config: Config, log: AuditLog, keys: Sequence[VerifierKey]) -> Loop:
        kubeconfig = config.export.kubeconfig or config.kubeconfig
        exported = _exported(config, log, keys, self._connect(kubeconfig, self._pause))

        def export() -> float:
            try:
                exported.export()
            except TamperError:
                self._metrics.checkpoint_exported(exported.size, conflict=True)
                raise
            self._metrics.checkpoint_exported(exported.size, conflict=False)
            return EXPORT_S

        return Loop("export", export, self._metrics, stopping=self._stopping)

    def _pause(self, seconds: float) -> None:
        """Wait before a write; at the end nothing more is begun, but that the Lease is given back."""
        if self._stopping.wait(seconds) and not self._closing:
            raise ClusterUnavailable("the gate ends")

    def _count(self, kind: str, outcome: str, number: int) -> None:
        self._metrics.published(kind, outcome, number)
        if outcome == FORBIDDEN and (kind, outcome) not in self._said:
            self._said.add((kind, outcome))
            logs.say(logging.WARNING, "the gate's account may not publish this", kind=kind)


def compare_exported(config: Config, log: AuditLog, keys: Sequence[VerifierKey]) -> None:
    """Hold the record against the checkpoint that was exported, where there is one and it can be read.

    Raises:
        TamperError: ``rolled_back``, ``fork`` or ``exported_checkpoint_invalid``.
        AuditError: the record can't be read.
    """
    if not config.export.namespace:
        return
    kubeconfig = config.export.kubeconfig or config.kubeconfig
    objects = ClusterObjects(None if kubeconfig is None else str(kubeconfig), timeout_s=START_TIMEOUT_S)
    try:
        compared = _exported(config, log, keys, objects).compare()
    except ClusterUnavailable as error:  # another cluster must not decide whether this gate starts; it is tried again
        logs.say(logging.WARNING, "no exported checkpoint to compare the record with", detail=logs.told(error))
        return
    if not compared and log.latest_checkpoint() is not None:
        logs.say(logging.WARNING, "no exported checkpoint to compare the record with")


def _exported(config: Config, log: AuditLog, keys: Sequence[VerifierKey], objects: Objects) -> ExportedCheckpoints:
    return ExportedCheckpoints(
        objects,
        namespace=config.export.namespace,
        name=config.export.config_map,
        keys=keys,
        reading=log.reading,
    )


def _connect(kubeconfig: Path | None, pause: Callable[[float], object]) -> Objects:
    return ClusterObjects(None if kubeconfig is None else str(kubeconfig), pause=pause)


def _say_left_out(what: str, number: int) -> None:
    logs.say(logging.WARNING, logs.told(what), number=number)
