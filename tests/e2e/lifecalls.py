"""Creates, updates and dry runs of many callers through an API server, and what the record says of them."""

from __future__ import annotations

import http.client
import json
import sqlite3
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tests.e2e.chartcluster import MODELS, ChartCluster

PATIENCE_S: Final = 300.0
DEPLOYMENTS: Final = f"/apis/apps/v1/namespaces/{MODELS}/deployments"
_MERGE: Final = "application/merge-patch+json"


@dataclass
class Counted:
    """What callers were answered.

    Attributes:
        created: names of objects whose creation was answered with 201.
        patched: updates that were answered with 200.
        refused: creations of something unapproved that the gate refused.
        dry: dry runs that were answered with 201.
        failures: every other answer, and how often.
    """

    created: set[str] = field(default_factory=set)
    patched: int = 0
    refused: int = 0
    dry: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        return len(self.created) + self.patched + self.refused + self.dry + self.failures.total()


class Calls:
    """Callers with connections of their own, until the block is left and enough calls were made.

    Example::

        with Calls(cluster, approved=manifest, unapproved=other, count=10_000) as calls:
            calls.wait_for(200)
            restart_something()
        assert not calls.counted.failures
    """

    def __init__(
        self,
        cluster: ChartCluster,
        *,
        approved: Mapping[str, Any],
        unapproved: Mapping[str, Any],
        count: int,
        callers: int = 6,
    ) -> None:
        """Describe the calls.

        Args:
            cluster: whose API server is called.
            approved: manifest with a ``generateName``, that must get in.
            unapproved: one that must be refused.
            count: of calls, at least.
            callers: how many at once.
        """
        self._cluster = cluster
        self._approved = json.dumps(approved)
        self._unapproved = json.dumps(unapproved)
        self._count = count
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        self.counted = Counted()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._count = 0
        self._left.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Let so many further calls be answered."""
        wanted, deadline = self.counted.answered + more, time.monotonic() + PATIENCE_S
        while self.counted.answered < wanted:
            assert time.monotonic() < deadline, self.counted.failures
            time.sleep(0.05)

    def _call(self) -> None:
        caller = _Caller(self._cluster)
        while not self._left.is_set() or self.counted.answered < self._count:
            self._create(caller)
            self._expect(caller.ask("POST", f"{DEPLOYMENTS}?dryRun=All", self._approved), 201, "dry")
            status, answer = caller.ask("POST", DEPLOYMENTS, self._unapproved)
            refused = status == http.client.FORBIDDEN and "placet refuses" in answer
            self._expect((403 if refused else -status, answer), 403, "refused")
        caller.close()

    def _create(self, caller: _Caller) -> None:
        status, answer = caller.ask("POST", DEPLOYMENTS, self._approved)
        if status != http.client.CREATED:
            self._expect((status, answer), 201, "dry")
            return
        name = str(json.loads(answer)["metadata"]["name"])
        with self._lock:
            self.counted.created.add(name)
        note = json.dumps({"metadata": {"annotations": {"example.com/note": name}}})
        self._expect(caller.ask("PATCH", f"{DEPLOYMENTS}/{name}", note), 200, "patched")

    def _expect(self, answered: tuple[int, str], wanted: int, counter: str) -> None:
        with self._lock:
            if answered[0] == wanted:
                setattr(self.counted, counter, getattr(self.counted, counter) + 1)
            else:
                self.counted.failures[f"{answered[0]} {answered[1][:400]}"] += 1


class _Caller:
    """One connection to the API server."""

    def __init__(self, cluster: ChartCluster) -> None:
        plane = cluster.plane
        context = ssl.create_default_context(cafile=plane.authority.path)
        admin = json.loads(plane.kubeconfig_path().read_text(encoding="utf-8"))["users"][0]["user"]
        context.load_cert_chain(admin["client-certificate"], admin["client-key"])
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", urlsplit(plane.url).port, timeout=40, context=context
        )

    def ask(self, method: str, path: str, body: str) -> tuple[int, str]:
        kind = _MERGE if method == "PATCH" else "application/json"
        try:
            self._connection.request(method, path, body.encode(), {"Content-Type": kind})
            answer = self._connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return 0, repr(error)

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions of the record.

    Attributes:
        created: names of the objects whose creation was allowed -> decision id.
        updated: allowed updates.
        refused: how many reviews were denied.
    """

    created: dict[str, str]
    updated: int
    refused: int


def read_decisions(record: Path, *, after: int = -1) -> Decisions:
    """What the record says from a leaf on."""
    connection = sqlite3.connect(f"file:{record}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT leaf FROM leaves WHERE leaf_type = 'decision' AND idx > ?", (after,))
        bodies = [json.loads(leaf.partition(b"\n")[2]) for (leaf,) in rows]
    finally:
        connection.close()
    ours = [body for body in bodies if body["kind"].endswith("Deployment")]
    allowed = [body for body in ours if body["allowed"]]
    return Decisions(
        created={body["name"]: body["decision_id"] for body in allowed if body["operation"] == "CREATE"},
        updated=sum(body["operation"] == "UPDATE" for body in allowed),
        refused=len(ours) - len(allowed),
    )


def last_index(record: Path) -> int:
    """Of the newest leaf."""
    connection = sqlite3.connect(f"file:{record}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT max(idx) FROM leaves").fetchone()[0])
    finally:
        connection.close()
