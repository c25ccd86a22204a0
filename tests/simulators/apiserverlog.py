"""The audit log that an API server would have written beside a record: one event for each decision in it.

Events are plain JSON values, so that a test can change, drop or add some before they are written::

    events = events_of(store)
    del events[3]["annotations"]
    write_log(tmp_path / "audit.log", events)
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from placet.audit.log import AuditLog, render_time
from placet.audit.query import Query, find
from placet.audit.stores.file import open_readonly
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, append

Event = dict[str, Any]
WEBHOOK: Final = "gate.placet.dev"
STEP_S: Final = 10
_RESOURCES: Final = {"Deployment": "deployments", "Pod": "pods", "Job": "jobs", "Scale": "deployments"}


def moment(number: int, *, milliseconds: int = 0) -> str:
    """When decision ``number`` was taken, or a little before or after."""
    return render_time(START + timedelta(seconds=number * STEP_S, milliseconds=milliseconds))


def build_record(path: Path, *, size: int = 40, signed: tuple[int, ...] = (10, 20, 30)) -> Path:
    """A record of ``size`` decisions, ``STEP_S`` seconds apart; every fourth one denies."""
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    for number in range(size):
        append(log, number, time=moment(number))
        if number + 1 in signed:
            log.checkpoint()
    log.close()
    return path


def events_of(store: Path) -> list[Event]:
    """An event for each decision, oldest first."""
    with open_readonly(store) as reader:
        found = find(reader, Query(), limit=10_000).found
        notes = [(size, note) for size, _root, _frontier, note in reader.raw_checkpoints()]
    events = []
    for one in reversed(found):
        checkpoint = next((note for size, note in reversed(notes) if size <= one.index), "")
        events.append(event_of(one.body, index=one.index, leaf_hash=one.leaf_hash, checkpoint=checkpoint))
    return events


def event_of(body: Any, *, index: int, leaf_hash: bytes, checkpoint: str = "") -> Event:
    """What the API server writes about the request that this decision answered."""
    at = datetime.fromisoformat(body["time"])
    kind = body["kind"]
    verb = "create" if body["operation"] == "CREATE" else "patch"
    target = {"resource": _RESOURCES[kind], "namespace": body["namespace"], "name": body["name"], "apiVersion": "v1"}
    if body["group"]:
        target["apiGroup"] = body["group"]
    if body["subresource"]:
        target["subresource"] = body["subresource"]
    annotations = {
        "authorization.k8s.io/decision": "allow",
        f"{WEBHOOK}/decision-id": body["decision_id"],
        f"{WEBHOOK}/log-index": str(index),
        f"{WEBHOOK}/leaf-hash": f"sha256:{leaf_hash.hex()}",
        f"{WEBHOOK}/checkpoint": checkpoint,
    }
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"audit-{index}",
        "stage": "ResponseComplete",
        "requestURI": f"/apis/apps/v1/namespaces/{body['namespace']}/{target['resource']}?fieldManager=kubectl",
        "verb": verb,
        "user": {"username": body["user"], "groups": ["system:authenticated"]},
        "objectRef": target,
        "responseStatus": {"metadata": {}, "code": 200 if body["allowed"] else 403},
        "requestReceivedTimestamp": render_time(at - timedelta(milliseconds=5)),
        "stageTimestamp": render_time(at + timedelta(milliseconds=5)),
        "annotations": annotations,
    }


def without_marks(event: Event) -> Event:
    """The same event, as it is where the webhook was not called or did not answer."""
    kept = {key: value for key, value in event["annotations"].items() if not key.startswith(f"{WEBHOOK}/")}
    return {**event, "annotations": kept}


def write_log(path: Path, events: Iterable[Event]) -> Path:
    """A file of the audit log; packed where its name says so."""
    raw = "".join(f"{json.dumps(event, separators=(',', ':'))}\n" for event in events).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path
