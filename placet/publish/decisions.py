"""A ConfigMap for each workload with its last decisions. What it says is read from the record each time it is written.

The ConfigMap that is there tells which indices it had, and nothing else is believed of it: each of them is read from
the record again, so that what somebody wrote into it is gone with the next decision about the workload.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from placet.audit.query import read_found
from placet.audit.saved import Reading
from placet.audit.stores import Reader
from placet.publish.api import CREATED, Object, Objects, attempt_each
from placet.publish.budget import Budget
from placet.publish.entry import Entry, Target, label_value, read_entry, shorten
from placet.publish.events import COMPONENT, LEFT_OUT, Count

CONTENT: Final = "decisions.json"
RECORD_LABEL: Final = "audit-record"
TIME: Final = "placet.dev/time"
NAMESPACE_LABEL: Final = "placet.dev/namespace"
SELECTOR: Final = f"app.kubernetes.io/managed-by={COMPONENT},{RECORD_LABEL}=true"
EACH: Final = 100
TOGETHER: Final = 500
MOST_OF_ONE_NAMESPACE: Final = 100
_SHOWN_BYTES: Final = 1000
_MOST_CODES: Final = 16
_MOST_CODE_BYTES: Final = 100
_MOST_READ_BYTES: Final = 512 * 1024
_NOTE: Final = "A view for convenience. The evidence is the record: placet audit show, placet audit verify."


class DecisionSink:
    """Writes those ConfigMaps, and takes the oldest away where there are too many."""

    def __init__(
        self,
        objects: Objects,
        reading: Reading,
        *,
        cluster: str,
        namespace: str,
        keep: int,
        most: int,
        count: Count,
        budget: Budget | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            objects: where ConfigMaps are written.
            reading: opens a view of the record.
            cluster: whose decisions are shown.
            namespace: where all of them are.
            keep: decisions of one workload.
            most: ConfigMaps at once.
            count: is told kind, outcome and number of what was published.
            budget: of new ConfigMaps; of ``each`` namespace that workloads are in.
        """
        self._objects = objects
        self._reading = reading
        self._cluster = cluster
        self._collection = f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps"
        self._namespace = namespace
        self._keep = keep
        self._most = most
        self._count = count
        self._budget = budget or Budget(each=EACH, together=TOGETHER)
        self._made = False

    def publish(self, entries: Sequence[Entry]) -> None:
        """Show those entries among the last of their workloads; again: nothing.

        Args:
            entries: in order of index.

        Raises:
            ClusterUnavailable: not all is shown; it may be later.
            AuditError: the record can't be read.
        """
        groups: dict[tuple[str, str, str, str], list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.target.key, []).append(entry)
        self._made = False
        try:
            attempt_each(partial(self._show, found) for found in groups.values())
        finally:
            if self._made:
                self._prune()

    def _show(self, found: Sequence[Entry]) -> None:
        target = found[-1].target
        left_out = False

        def render(there: Object | None) -> Object | None:
            nonlocal left_out
            left_out = there is None and not self._budget.has_room(target.namespace)
            if left_out:
                return None
            indices = {entry.index for entry in found} | set(_indices(there))
            with self._reading() as reader:  # not while the API server is waited for: the store would have to keep it
                shown = _read(reader, self._cluster, target, indices, keep=self._keep)
            wanted = render_decisions(shown, namespace=self._namespace)
            return None if there is not None and _same(there, wanted) else wanted

        outcome = self._objects.put(self._collection, target.object_name, render)
        self._count("decisions", LEFT_OUT if left_out else outcome, 1)
        if outcome == CREATED:
            self._budget.made(target.namespace)
            self._made = True

    def _prune(self) -> None:
        """Of the workloads of one namespace first, so that those of one can't push out those of another."""
        held = self._objects.list_metadata(self._collection, SELECTOR)
        for gone in find_surplus(held, most=self._most):
            self._objects.remove(self._collection, gone)
            self._count("decisions", "removed", 1)


def find_surplus(held: Sequence[Object], *, most: int, each: int = MOST_OF_ONE_NAMESPACE) -> list[str]:
    """Names of those that are too many, the oldest of a namespace first; then of the namespace that has the most."""
    spaces: dict[str, list[tuple[str, str]]] = {}
    for one in held:
        home = str((one.get("labels") or {}).get(NAMESPACE_LABEL, ""))
        spaces.setdefault(home, []).append((str((one.get("annotations") or {}).get(TIME, "")), str(one["name"])))
    for names in spaces.values():
        names.sort()
    gone = []
    while spaces:
        fullest = max(spaces, key=lambda home: (len(spaces[home]), home))
        if len(spaces[fullest]) <= each and sum(map(len, spaces.values())) <= most:
            break
        gone.append(spaces[fullest].pop(0)[1])
    return gone


def render_decisions(shown: Sequence[Entry], *, namespace: str) -> Object:
    """The ConfigMap of a workload.

    Args:
        shown: its last decisions, the newest first, not empty.
        namespace: of the ConfigMap.
    """
    newest = shown[0]
    target = newest.target
    content = {
        "workload": {
            "apiVersion": target.api_version,
            "kind": target.kind,
            "namespace": target.namespace,
            "name": target.name,
        },
        "note": _NOTE,
        "decisions": [_render_entry(entry) for entry in shown],
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": target.object_name,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/managed-by": COMPONENT,
                RECORD_LABEL: "true",
                "event-type": newest.event_type,
                "risk-level": newest.level,
                NAMESPACE_LABEL: label_value(target.namespace),
                "placet.dev/kind": label_value(target.kind),
                "placet.dev/name": label_value(target.name),
            },
            "annotations": {TIME: newest.time},
        },
        "data": {CONTENT: json.dumps(content, indent=2, ensure_ascii=False) + "\n"},
    }


def _read(reader: Reader, cluster: str, target: Target, indices: Iterable[int], *, keep: int) -> list[Entry]:
    """The newest of these, as the record has them; not empty where one of them is about the target."""
    size = reader.state().size
    shown: list[Entry] = []
    for index in sorted((one for one in indices if one < size), reverse=True):
        for stored in reader.leaves(index, index + 1):
            entry = read_entry(read_found(stored), cluster)
            if entry is not None and entry.target.key == target.key:
                shown.append(entry)
        if len(shown) == keep:
            break
    return shown


def _render_entry(entry: Entry) -> Mapping[str, Any]:
    return {
        "index": entry.index,
        "time": entry.time,
        "decision_id": entry.decision_id,
        "about": shorten(entry.about, _SHOWN_BYTES),
        "operation": entry.body.get("operation", ""),
        "environment": entry.body.get("environment", ""),
        "verdict": "allowed" if entry.allowed else "refused",
        "event_type": entry.event_type,
        "risk_level": entry.level,
        "codes": [shorten(code, _MOST_CODE_BYTES) for code in entry.codes[:_MOST_CODES]],
        "message": entry.message.split("\n") if entry.message else [],
    }


def _indices(there: Object | None) -> list[int]:
    """What a ConfigMap says that it shows; anybody may have written it."""
    text = ((there or {}).get("data") or {}).get(CONTENT, "")
    if not isinstance(text, str) or len(text) > _MOST_READ_BYTES:
        return []
    try:
        decisions = json.loads(text)["decisions"]
        found = [one["index"] for one in itertools.islice(decisions, 100)]
    except (ValueError, RecursionError, TypeError, KeyError):
        return []
    return [one for one in found if isinstance(one, int) and not isinstance(one, bool) and one >= 0]


def _same(there: Object, wanted: Object) -> bool:
    def told(one: Object) -> list[Any]:
        metadata = one.get("metadata") or {}
        return [one.get("data"), metadata.get("labels"), metadata.get("annotations")]

    return told(there) == told(wanted)
