"""Events about refusals and break-glass: one for each object and reason, counted up, and a bounded number of them.

core/v1 rather than events.k8s.io/v1: the same objects, whose count, time and message may be changed, which is what
``kubectl describe`` and ``kubectl get events`` show of something that goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from placet.publish.api import CREATED, UNCHANGED, UPDATED, Object, Objects, attempt_each
from placet.publish.budget import Budget
from placet.publish.entry import MAX_MESSAGE_BYTES, REFUSED, Entry, Target, digest_of, shorten

COMPONENT: Final = "placet"
INDEX: Final = "placet.dev/log-index"
MORE: Final = "MoreRefused"
OLDEST: Final = timedelta(hours=1)  # the API server forgets Events after an hour, unless it was told otherwise
LEFT_OUT: Final = "left_out"
EACH: Final = 20
TOGETHER: Final = 200
_MOST_KNOWN: Final = 2000
MAX_COUNT: Final = 2**31 - 1
Count = Callable[[str, str, int], None]


class EventSink:
    """Writes Events. What finds no room is counted in one Event of its namespace."""

    def __init__(
        self, objects: Objects, *, count: Count, clock: Callable[[], datetime], budget: Budget | None = None
    ) -> None:
        """Put the parts together.

        Args:
            objects: where Events are written.
            count: is told kind, outcome and number of what was published.
            clock: aware UTC.
            budget: of new Events.
        """
        self._objects = objects
        self._count = count
        self._clock = clock
        self._budget = budget or Budget(each=EACH, together=TOGETHER)
        self._reserved = Budget(each=2, together=TOGETHER // 2)  # of Events that say how much was left out
        self._known: dict[tuple[str, str], None] = {}

    def publish(self, entries: Sequence[Entry]) -> None:
        """Tell of those entries that call for it; again: nothing, each Event says up to which index it counts.

        Args:
            entries: in order of index.

        Raises:
            ClusterUnavailable: not all is told; it may be later.
        """
        oldest = self._clock() - OLDEST
        groups: dict[tuple[Target, str], list[Entry]] = {}
        for entry in entries:
            if entry.reason and entry.moment > oldest:
                groups.setdefault((entry.target, entry.reason), []).append(entry)
        overflow: dict[str, list[Entry]] = {}

        def tell(target: Target, reason: str, found: Sequence[Entry]) -> None:
            if not self._tell(target, reason, found, reserved=False):
                overflow.setdefault(target.namespace, []).extend(found)

        attempt_each(partial(tell, target, reason, found) for (target, reason), found in groups.items())
        attempt_each(partial(self._tell_more, namespace, found) for namespace, found in overflow.items())

    def _tell_more(self, namespace: str, left_out: Sequence[Entry]) -> None:
        self._count("event", LEFT_OUT, len(left_out))
        told = sorted(left_out, key=lambda entry: entry.index)
        self._tell(Target("", "v1", "Namespace", namespace, namespace), MORE, told, reserved=True)

    def _tell(self, target: Target, reason: str, entries: Sequence[Entry], *, reserved: bool) -> bool:
        """False where there is no room for it."""
        name = f"placet.{digest_of(*target.key, reason)}"
        known = (target.namespace, name)
        budget = self._reserved if reserved else self._budget
        if known not in self._known and not budget.has_room(target.namespace):
            return False
        left_out = False

        def render(there: Object | None) -> Object | None:
            nonlocal left_out
            left_out = there is None and not budget.has_room(target.namespace)
            return None if left_out else render_event(there, target, reason, name, entries)

        outcome = self._objects.put(f"/api/v1/namespaces/{quote(target.namespace, safe='')}/events", name, render)
        if left_out:  # it was known, and the API server has forgotten it
            del self._known[known]
            return False
        if outcome == CREATED:
            budget.made(target.namespace)
        if outcome in {CREATED, UPDATED, UNCHANGED}:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[known] = None
        self._count("event", outcome, 1)
        return True


def render_event(
    there: Object | None, target: Target, reason: str, name: str, entries: Sequence[Entry]
) -> Object | None:
    """An Event that also counts these entries; None where it counts them already.

    Args:
        there: the Event as it is, or None.
        target: what it regards.
        reason: of the Event.
        name: of the Event.
        entries: not empty, in order of index.
    """
    counted = _counted(there)
    fresh = [entry for entry in entries if entry.index > counted]
    if not fresh:
        return None
    newest = fresh[-1]
    before = there.get("count") if there is not None else 0
    first = there.get("firstTimestamp") if there is not None else None
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": name,
            "namespace": target.namespace,
            "annotations": {INDEX: str(newest.index), "placet.dev/decision-id": newest.decision_id},
            "labels": {"app.kubernetes.io/managed-by": COMPONENT},
        },
        "involvedObject": _reference(target, newest.uid if reason != MORE else ""),
        "reason": reason,
        "type": "Warning",
        "message": _message(newest, reason),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": str(first or _seconds(fresh[0].time)),
        "lastTimestamp": _seconds(newest.time),
        "count": min(MAX_COUNT, (before if isinstance(before, int) and before > 0 else 0) + len(fresh)),
    }


def _message(newest: Entry, reason: str) -> str:
    tail = f"\ndecision {newest.decision_id}, record {newest.index}"
    if reason == MORE:
        text = (
            f"more was refused in this namespace than there are Events for, {newest.about} last; so often as this "
            f"Event counts. All of it: placet audit list --namespace {newest.target.namespace} --decision deny"
        )
    elif reason == REFUSED:
        text = newest.message
        if newest.is_child:
            text = f"{newest.about}: {text}"
    else:
        passage: Mapping[str, Any] = newest.body["break_glass"]
        text = (
            f"{newest.about} was let in by break-glass, without its approvals; "
            f"a review is due by {passage.get('review_due', 'the deadline of the token')}"
        )
    return shorten(text, MAX_MESSAGE_BYTES - len(tail)) + tail


def _reference(target: Target, uid: str) -> Object:
    reference = {"kind": target.kind, "namespace": target.namespace, "name": target.name}
    if target.api_version:
        reference["apiVersion"] = target.api_version
    return {**reference, "uid": uid} if uid else reference


def _counted(there: Object | None) -> int:
    """The newest index that an Event counts, -1 for none; what is no number of ours counts nothing."""
    text = str(((there or {}).get("metadata") or {}).get("annotations", {}).get(INDEX, ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) < len(str(2**63)) else -1


def render_second(moment: datetime) -> str:
    """A moment as metav1.Time has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(time: str) -> str:
    """A time of the record as metav1.Time has it: without a fraction."""
    return f"{time[:19]}Z"
