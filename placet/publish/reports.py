"""One report for each workload that exists, openreports.io or wgpolicyk8s.io, where these are installed.

The report says how the newest decision about the workload went. It belongs to the workload, by its uid: it goes with
it, and one whose workload never came to be goes at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from placet.policy.catalog import catalog
from placet.publish.api import CREATED, GONE, Object, Objects, attempt_each
from placet.publish.budget import Budget
from placet.publish.entry import BROKEN_GLASS, Entry, label_value, listed
from placet.publish.events import COMPONENT, INDEX, LEFT_OUT, Count

DISCOVER_EVERY_S: Final = 300.0
EACH: Final = 100
TOGETHER: Final = 500
RESULTS: Final = ("pass", "fail", "warn", "error", "skip")
_SEVERITIES: Final = frozenset({"critical", "high", "medium", "low", "info"})
_ADMISSION: Final = "admission"


@dataclass(frozen=True, slots=True)
class Api:
    """One kind of report.

    Attributes:
        kind: as metrics count it, too.
        has_source: whether the report itself names its source, beside each result.
    """

    group: str
    version: str
    kind: str
    plural: str
    has_source: bool

    @property
    def base(self) -> str:
        """Path of the version."""
        return f"/apis/{self.group}/{self.version}"


APIS: Final = (
    Api("openreports.io", "v1alpha1", "Report", "reports", has_source=True),
    Api("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports", has_source=False),
)


class ReportSink:
    """Writes reports of the kinds that the cluster knows; asks again now and then which these are."""

    def __init__(
        self,
        objects: Objects,
        *,
        count: Count,
        clock_s: Callable[[], float] = time.monotonic,
        budget: Budget | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            objects: where reports are written.
            count: is told kind, outcome and number of what was published.
            clock_s: seconds that only grow.
            budget: of new reports.
        """
        self._objects = objects
        self._count = count
        self._clock_s = clock_s
        self._budget = budget or Budget(each=EACH, together=TOGETHER, clock_s=clock_s)
        self._served: tuple[Api, ...] = ()
        self._asked_s = float("-inf")

    def publish(self, entries: Sequence[Entry]) -> None:
        """Report the newest of the entries about each workload; again: nothing.

        Args:
            entries: in order of index.

        Raises:
            ClusterUnavailable: not all is reported; it may be later.
        """
        # What a controller makes is refused for itself; the report is about what people applied.
        newest = {entry.target.key: entry for entry in entries if _is_reported(entry)}
        if not newest:
            return
        self._discover()
        attempt_each(partial(self._report, api, entry) for api in self._served for entry in newest.values())

    def _report(self, api: Api, entry: Entry) -> None:
        left_out = False

        def render(there: Object | None) -> Object | None:
            nonlocal left_out
            left_out = there is None and not self._budget.has_room(entry.target.namespace)
            return None if left_out else render_report(api, entry, there)

        collection = f"{api.base}/namespaces/{quote(entry.target.namespace, safe='')}/{api.plural}"
        outcome = self._objects.put(collection, entry.target.object_name, render)
        if outcome == CREATED:
            self._budget.made(entry.target.namespace)
        if outcome == GONE:
            self._asked_s = float("-inf")  # the kind may be gone, too
        self._count("report", LEFT_OUT if left_out else outcome, 1)

    def _discover(self) -> None:
        now_s = self._clock_s()
        if now_s - self._asked_s < DISCOVER_EVERY_S:
            return
        found = [(api, self._objects.find(api.base)) for api in APIS]
        self._served = tuple(api for api, answer in found if answer is not None and _lists(answer, api.plural))
        self._asked_s = now_s


def render_report(api: Api, entry: Entry, there: Object | None) -> Object | None:
    """A report; None where the one that is there is of a decision as new, about the same workload.

    Args:
        api: which kind of report.
        entry: the newest decision.
        there: the report as it is, or None.
    """
    target = entry.target
    owner = {"apiVersion": target.api_version, "kind": target.kind, "name": target.name, "uid": entry.uid}
    metadata = (there or {}).get("metadata") or {}
    index = str((metadata.get("annotations") or {}).get(INDEX, ""))
    if metadata.get("ownerReferences") == [owner] and index.isascii() and index.isdigit() and int(index) >= entry.index:
        return None
    results = list(_results(entry))
    counts = Counter(result["result"] for result in results)
    return {
        "apiVersion": f"{api.group}/{api.version}",
        "kind": api.kind,
        "metadata": {
            "name": target.object_name,
            "namespace": target.namespace,
            "labels": {
                "app.kubernetes.io/managed-by": COMPONENT,
                "placet.dev/kind": label_value(target.kind),
                "placet.dev/name": label_value(target.name),
            },
            "annotations": {INDEX: str(entry.index), "placet.dev/decision-id": entry.decision_id},
            "ownerReferences": [owner],
        },
        **({"source": COMPONENT} if api.has_source else {}),
        "scope": {**owner, "namespace": target.namespace},
        "summary": {name: counts[name] for name in RESULTS},
        "results": results,
    }


def _is_reported(entry: Entry) -> bool:
    return bool(entry.uid and entry.target.api_version) and not entry.is_child and entry.target.kind != "Namespace"


def _lists(answer: Object, plural: str) -> bool:
    resources = answer.get("resources")
    return isinstance(resources, list) and any(isinstance(one, dict) and one.get("name") == plural for one in resources)


def _results(entry: Entry) -> Iterator[dict[str, Any]]:
    """What each rule found, then how it ended."""
    body, told = entry.body, set()
    broken = entry.reason == BROKEN_GLASS
    # What break-glass let in was refused by the rules that are among its notes.
    for member, result in (("violations", "fail"), ("would_deny", "warn"), ("warnings", "warn"), ("notes", "")):
        for rule, code in listed(body, member):
            said = result or ("fail" if broken else "skip")
            if (rule, code) not in told:
                yield _result(entry, rule, said, code=code)
            told.add((rule, code))
    failed = {rule for rule, _ in told}
    policy = body.get("policy")
    revision = str(policy.get("revision")) if isinstance(policy, dict) and "input_digest" in body else ""
    for one in catalog().rules_of(revision):
        if one.id not in failed:
            yield _result(entry, one.id, "pass")
    yield _result(entry, _ADMISSION, "pass" if entry.allowed else "fail", code="break_glass" if broken else "")


def _result(entry: Entry, rule: str, result: str, *, code: str = "") -> dict[str, Any]:
    known = catalog().rule(rule)
    severity = known.severity if known.severity in _SEVERITIES else "high"
    title = known.title
    if rule == _ADMISSION:
        severity = "info" if result == "pass" and not code else "high"
        title = f"{'admitted' if entry.allowed else 'refused'}{' by break-glass' if code else ''}"
    elif rule.startswith("gate."):
        title = "the gate could not find what it needs, or found that it does not fit"
    return {
        "source": COMPONENT,
        "policy": COMPONENT,
        "rule": rule,
        "category": rule.partition(".")[0],
        "result": result,
        "severity": severity,
        "scored": True,
        "timestamp": {"seconds": int(entry.moment.timestamp()), "nanos": 0},
        "message": f"{title} ({code})" if code and rule != _ADMISSION else title,
        "properties": {"decision-id": entry.decision_id, "log-index": str(entry.index), "code": code},
    }
