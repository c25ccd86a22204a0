"""Events about the gate itself: which policies it has taken, and which it has refused, on the Pod that did.

Nothing here is taken from the record: what was refused has changed nothing. So a notice may be lost, and costs no more
than that; readiness, the metrics and the log say the same.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

from placet.publish.api import UNCHANGED, Object, Objects
from placet.publish.budget import Budget
from placet.publish.entry import MAX_MESSAGE_BYTES, digest_of, shorten
from placet.publish.events import COMPONENT, MAX_COUNT, Count, render_second

TAKEN: Final = "PoliciesInForce"
REFUSED: Final = "PoliciesRefused"
UNREACHABLE: Final = "PoliciesUnreachable"
SHADOW_REFUSED: Final = "ShadowRefused"
SHADOW_UNREACHABLE: Final = "ShadowUnreachable"
EACH: Final = 20
"""Writes of one process in an hour."""
_MOST_WAITING: Final = 8
_VARIABLES: Final = ("PLACET_POD_NAMESPACE", "PLACET_POD_NAME", "PLACET_POD_UID")


@dataclass(frozen=True, slots=True)
class OwnPod:
    """The Pod that this process runs in.

    Attributes:
        uid: without it `kubectl describe` would not show what regards it.
    """

    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> OwnPod | None:
        """What the Pod's own fields were handed on as; None outside of a Pod that does so."""
        namespace, name, uid = (environment.get(one, "") for one in _VARIABLES)
        return cls(namespace, name, uid) if namespace and name and uid else None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell about the gate.

    Attributes:
        reason: of the Event.
        subject: what it is about, such as a code and a digest; notices of one reason and subject are one Event.
        message: a sentence for a person, with what to do.
        moment: aware UTC.
    """

    reason: str
    subject: str
    message: str
    moment: datetime


class Notices:
    """Keeps what is to be told until it is; ``tell`` may be called by any thread and never waits."""

    def __init__(
        self, pod: OwnPod, objects: Objects, *, count: Count, left_out: Callable[[], None], budget: Budget | None = None
    ) -> None:
        """Put the parts together.

        Args:
            pod: that Events regard.
            objects: where Events are written.
            count: is told kind, outcome and number.
            left_out: is told of each notice that found no room.
            budget: of writes.
        """
        self._pod = pod
        self._objects = objects
        self._count = count
        self._left_out = left_out
        self._budget = budget or Budget(each=EACH, together=EACH)
        self._waiting: deque[Notice] = deque()
        self._lock = threading.Lock()

    def tell(self, notice: Notice) -> None:
        """Take a notice; where too many wait already, the oldest goes."""
        with self._lock:
            self._waiting.append(notice)
            full = len(self._waiting) > _MOST_WAITING
            if full:
                self._waiting.popleft()
        if full:
            self._left_out()

    def publish(self) -> None:
        """Write what waits.

        Raises:
            ClusterUnavailable: not all is told; it may be later.
        """
        while (notice := self._next()) is not None:
            if self._budget.has_room(self._pod.namespace):
                self._write(notice)
            else:
                self._left_out()
            with self._lock:
                if self._waiting and self._waiting[0] is notice:
                    self._waiting.popleft()

    def _next(self) -> Notice | None:
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def _write(self, notice: Notice) -> None:
        name = f"placet.{digest_of(self._pod.uid, notice.reason, notice.subject)}"
        collection = f"/api/v1/namespaces/{quote(self._pod.namespace, safe='')}/events"
        outcome = self._objects.put(collection, name, lambda there: render_notice(there, notice, name, self._pod))
        if outcome != UNCHANGED:
            self._budget.made(self._pod.namespace)
        self._count("event", outcome, 1)


def render_notice(there: Object | None, notice: Notice, name: str, pod: OwnPod) -> Object:
    """An Event that also counts this notice.

    Args:
        there: the Event as it is, or None.
        notice: what to tell.
        name: of the Event.
        pod: that it regards.
    """
    counted = there.get("count") if there is not None else 0
    first = there.get("firstTimestamp") if there is not None else None
    moment = render_second(notice.moment)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": name,
            "namespace": pod.namespace,
            "labels": {"app.kubernetes.io/managed-by": COMPONENT},
        },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        },
        "reason": notice.reason,
        "type": "Normal" if notice.reason == TAKEN else "Warning",
        "message": shorten(notice.message, MAX_MESSAGE_BYTES),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": pod.name,
        "firstTimestamp": str(first or moment),
        "lastTimestamp": moment,
        "count": min(MAX_COUNT, (counted if isinstance(counted, int) and counted > 0 else 0) + 1),
    }
