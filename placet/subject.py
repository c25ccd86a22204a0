"""What a request is about: the object, whether it is governed, and what made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from placet.coverage import find_coverage, warn_of
from placet.deadline import Deadline
from placet.decision import Decision, remark
from placet.detection import Rules
from placet.errors import PlacetError, WorkloadError
from placet.judge import classify_change
from placet.lineage import Stray, names_controller, trace
from placet.model import Workload
from placet.parents import SETTING, Parents
from placet.projection import Kinds
from placet.scaling import find_scaled, is_scale
from placet.workload import read_or_excuse, read_workload

_T = TypeVar("_T")


class SubjectStep:
    """Reads the object of a request and follows its controllers. Thread-safe as far as its parts are."""

    def __init__(
        self,
        *,
        settings: Callable[[str], Mapping[str, Any]],
        kinds: Kinds,
        detection: Rules,
        parents: Parents,
        remembered: Parents | None,
    ) -> None:
        """Put the parts together.

        Args:
            settings: of an environment.
            kinds: what is read as a workload.
            detection: tables of detection.
            parents: where the objects are looked up that others belong to.
            remembered: a memory of what parents belong to; None for none.
        """
        self._settings = settings
        self._kinds = kinds
        self._detection = detection
        self._parents = parents
        self._remembered = remembered

    def read(self, decision: Decision, deadline: Deadline) -> Decision:
        """The object, the one of before, and whether it is governed.

        Raises:
            WorkloadError: it can't be read, or is not what the request says.
        """
        # 3. Model and 4. Project
        if is_scale(decision.request):
            kinds, share_s = self._kinds, deadline.share_s()
            scaled = find_scaled(decision.request, parents=self._parents, timeout_s=share_s, kinds=kinds)
            decision = replace(decision, request=scaled)
        request = decision.request
        if request.object is None:
            raise WorkloadError("the request carries no object", code="object_missing")
        if not request.namespace:  # else the object's own would stand in for the place that nobody vouches for
            raise WorkloadError("the request names no namespace, and every workload has one", code="namespace_missing")
        workload, unread = read_or_excuse(request.object, namespace=request.namespace, kinds=self._kinds)
        asked = request.kind
        if (workload.group, workload.version, workload.kind) != (asked.group, asked.version, asked.kind):
            raise WorkloadError(f"the object is not the {asked} that the request names", code="kind_differs")
        own = request.object["metadata"].get("name")
        if request.name and own and own != request.name:
            raise WorkloadError("the object's name is not the one that the request names", code="name_differs")
        old = self._old(decision)
        decision = replace(decision, workload=workload, old=old)
        if old is not None and _is_going(request.old_object) and classify_change(workload, old)[0] == "unchanged":
            # Nothing starts any more from what is being deleted; refusing its last updates would keep it for ever.
            return replace(decision, allowed=True, change="unchanged")
        coverage = find_coverage(
            request,
            workload,
            self._settings(decision.environment),
            self._detection,
            kinds=self._kinds,
        )
        decision = replace(decision, coverage=coverage)
        if coverage.governed and unread is not None:
            raise unread
        if coverage.governed:
            return decision
        return replace(decision, allowed=True, warnings=warn_of(coverage, mode=decision.mode))

    def _old(self, decision: Decision) -> Workload | None:
        """The old object; one that can't be read counts as none, so that nothing is carried forward from it."""
        request = decision.request
        if request.operation != "UPDATE" or request.old_object is None:
            return None
        try:
            return read_workload(request.old_object, namespace=request.namespace, kinds=self._kinds)
        except WorkloadError:
            return None

    def trace(self, decision: Decision, deadline: Deadline) -> Decision:
        """Where it comes from, when a controller made it.

        Raises:
            ParentUnavailable: a look-up was not answered.
        """
        # 4. Project: what a controller made is compared with what it was made from.
        workload, request = known(decision.workload), decision.request
        content, old = known(request.object), decision.old
        if not names_controller(content, self._kinds) or (old is not None and _same(workload, old)):
            return decision
        if not self._parents.asked:
            stray = Stray(
                "parents_not_looked_up", "its controller is not looked up, so it is judged by itself", SETTING
            )
            return with_note(decision, stray)
        more = (
            old is None
            or old.replicas is None
            or (workload.replicas or 0) > old.replicas
            or workload.projection.digest != old.projection.digest  # more of this content, as many as there were
        )
        found = trace(
            content,
            workload,
            asks_more=more,
            parents=self._parents,
            time_left_s=deadline.share_s,
            remembered=self._remembered,
            kinds=self._kinds,
        )
        return with_note(decision, found) if isinstance(found, Stray) else replace(decision, lineage=found)


def _is_going(old: Mapping[str, Any] | None) -> bool:
    """Whether the object is being deleted, by the API server's own mark, which no request can set or take away."""
    return bool(((old or {}).get("metadata") or {}).get("deletionTimestamp"))


def _same(workload: Workload, old: Workload) -> bool:
    """Whether an update leaves all that could call for its parents as it was."""
    return classify_change(workload, old)[0] == "unchanged" and workload.approvals == old.approvals


def with_note(decision: Decision, stray: Stray) -> Decision:
    """The decision with why it is judged by itself."""
    return replace(decision, notes=(*decision.notes, remark(stray.code, stray.sentence, stray.hint)))


def known(value: _T | None) -> _T:
    """What an earlier step left.

    Raises:
        PlacetError: it left nothing.
    """
    if value is None:
        raise PlacetError("a step ran before the one that it needs", code="internal_error")
    return value
