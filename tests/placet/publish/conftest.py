"""A log, and an API server that fails as it is told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.audit.log import AuditLog, render_time
from placet.publish.budget import Budget
from placet.publish.decisions import DecisionSink
from placet.publish.events import EventSink
from placet.publish.lease import PublisherLease
from placet.publish.publisher import Publisher, Sink
from placet.publish.reports import APIS, ReportSink
from tests.simulators.apiobjects import ObjectServer
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, append

CLUSTER = "prod-eu-1"
SHOWN = "placet-decisions"
EVENTS = 4  # new ones of a namespace and an hour


@dataclass
class Replicas:
    """Processes that publish one log into one cluster.

    Attributes:
        counted: (kind, outcome) -> how many.
        ahead_s: how far the clocks have been moved.
    """

    log: AuditLog
    server: ObjectServer
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    ahead_s: float = 0.0
    number: int = 0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.ahead_s)

    def publisher(self, name: str, *, keep: int = 3, most: int = 500) -> Publisher:
        objects = self.server.connect()
        lease = PublisherLease(
            objects,
            namespace=SHOWN,
            name="placet-publisher",
            origin=ORIGIN,
            identity=name,
            clock=self.now,
            clock_s=lambda: self.ahead_s,
        )
        budget = Budget(each=EVENTS, together=10 * EVENTS, clock_s=lambda: self.ahead_s)
        sinks: list[Sink] = [
            EventSink(objects, count=self.count, clock=self.now, budget=budget),
            DecisionSink(
                objects,
                self.log.reading,
                cluster=CLUSTER,
                namespace=SHOWN,
                keep=keep,
                most=most,
                count=self.count,
            ),
            ReportSink(objects, count=self.count, clock_s=lambda: self.ahead_s),
        ]
        return Publisher(
            self.log,
            lease,
            sinks,
            cluster=CLUSTER,
            count=self.count,
            said=lambda what, _number: self.said.append(what),
        )

    def count(self, kind: str, outcome: str, number: int) -> None:
        self.counted[kind, outcome] += number

    def refuse(self, name: str = "llama", *, namespace: str = "ml", times: int = 1, **changes: Any) -> None:
        """Record refusals of updates of a Deployment."""
        self.decide(name, namespace=namespace, times=times, allowed=False, approved=False, **changes)

    def decide(self, name: str = "llama", *, namespace: str = "ml", times: int = 1, **changes: Any) -> None:
        """Record decisions about a Deployment."""
        for _ in range(times):
            self.number += 1
            given = {
                "name": name,
                "namespace": namespace,
                "time": render_time(self.now()),
                "object_uid": f"uid-of-{name}",
                "message": f"placet refuses Deployment/{name}:\n- approvals.required: no valid approval",
                "change": {"kind": "changed", "scale": ""},
                "violations": [] if changes.get("allowed", True) else [{"rule": "a.b", "code": "missing"}],
                "allowed": True,
                "approved": True,
            }
            append(self.log, self.number, **(given | changes))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ObjectServer]:
    with ObjectServer(tmp_path) as opened:
        opened.served = {api.base: api.plural for api in APIS}
        yield opened


@pytest.fixture
def replicas(tmp_path: Path, server: ObjectServer) -> Iterator[Replicas]:
    log = AuditLog.open(tmp_path / "record.db", origin=ORIGIN, key=LOG_KEY)
    yield Replicas(log, server)
    log.close()
