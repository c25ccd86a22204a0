"""Who may say which environment a Namespace belongs to.

The label ``placet.dev/environment`` decides which webhook entry is asked about a namespace's workloads, so whoever may
write it chooses how strictly they are judged. A write that leaves it as it is passes without a look at who asks; one
that sets, changes or removes it needs somebody whom the policy data names (ADR 29).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from placet.apiserver import ClusterUnavailable
from placet.deadline import Deadline
from placet.decision import GUARD, Decision, LabelChange
from placet.errors import PlacetError
from placet.policy.data import PolicyData
from placet.policy.decision import Violation
from placet.residents import Residents
from placet.review import AdmissionRequest, GroupVersionKind
from placet.text import clip, safe

__all__ = ["GUARD", "LABEL", "NamespaceError", "NamespaceGuard", "read_change", "read_label"]

LABEL: Final = "placet.dev/environment"
RULE: Final = "gate.namespace"
MAX_LABEL_LENGTH: Final = 63  # Kubernetes API: labels and selectors, syntax and character set
_KIND: Final = GroupVersionKind("", "v1", "Namespace")
_JUDGED: Final = frozenset({"CREATE", "UPDATE"})
_LONGEST_SHOWN: Final = 80
_ASK: Final = (
    "Ask the platform team to do it; `namespaces.labellers` in the policy data names who may. "
    "Every change that leaves this label alone passes."
)
_EMPTY_FIRST: Final = "Remove the workloads first, and bring them back with approvals for the new environment."
_VERBS: Final = {"label_set": "set", "label_changed": "change", "label_removed": "remove"}


class NamespaceError(PlacetError):
    """A write to a Namespace that can't be judged."""

    code = "namespace_malformed"


def read_label(namespace: Mapping[str, Any]) -> str | None:
    """The environment that a Namespace names, exactly as written; None where it has no such label.

    Raises:
        NamespaceError: ``namespace_malformed``: the API server would not have taken such labels.
    """
    metadata = namespace.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else NotImplemented
    if labels is None:
        return None
    if not isinstance(labels, Mapping):
        raise NamespaceError("its metadata or its labels are no mapping", hint="Send it through the API server.")
    if LABEL not in labels:
        return None
    value = labels[LABEL]
    if not isinstance(value, str) or len(value) > MAX_LABEL_LENGTH:
        raise NamespaceError(
            f"its label {LABEL} is no text of at most {MAX_LABEL_LENGTH} characters",
            hint="Send it through the API server.",
        )
    return value


def read_change(request: AdmissionRequest) -> LabelChange:
    """What a write does to the label; ``before`` and ``after`` are equal where it does nothing.

    Raises:
        NamespaceError: the request is not the write of a Namespace, or lacks what has to be compared.
    """
    if request.kind != _KIND:
        raise NamespaceError("only Namespaces are guarded on this path", code="not_a_namespace")
    if request.object is None:
        raise NamespaceError("the request carries no object", code="object_missing")
    if (request.object.get("apiVersion"), request.object.get("kind")) != ("v1", "Namespace"):
        raise NamespaceError("the object is not the Namespace that the request names", code="kind_differs")
    after = read_label(request.object)
    own = request.object["metadata"].get("name")
    if request.name and own and own != request.name:
        raise NamespaceError("the object's name is not the one that the request names", code="name_differs")
    if request.operation == "CREATE":
        return LabelChange(None, after)
    if request.old_object is None:
        raise NamespaceError("an update without the object as it was can't be compared", code="object_missing")
    return LabelChange(read_label(request.old_object), after)


class NamespaceGuard:
    """Judges writes to Namespaces. Thread-safe."""

    def __init__(self, data: PolicyData, residents: Residents) -> None:
        """Take over what the policy data says.

        Args:
            data: defaults and the operator's, merged and checked.
            residents: who counts what runs in a namespace.
        """
        self._settings: Mapping[str, Any] = data.value["namespaces"]
        self._environments = frozenset(data.value["environments"])
        self._residents = residents

    @property
    def steps(self) -> tuple[tuple[str, Callable[[Decision, Deadline], Decision]], ...]:
        """The one step between the place of a request and its record."""
        return (("namespace", self._judge),)

    def _judge(self, decision: Decision, deadline: Deadline) -> Decision:
        mode = str(self._settings["mode"])
        decision, request = replace(decision, mode=mode), decision.request
        if request.operation == "DELETE":  # what is made again without the label counts as the default environment
            return replace(decision, allowed=True)
        if request.operation not in _JUDGED:
            raise NamespaceError(f"{request.operation} of a Namespace can't be judged", code="operation_unsupported")
        label = read_change(request)
        decision = replace(decision, label=label, change=label.kind)
        if label.kind == "unchanged":
            return replace(decision, allowed=True)
        found = tuple(self._find(request, label, mode))
        told: tuple[Violation, ...] = ()
        if not (found and mode == "enforce") and request.operation == "UPDATE":
            # A refused tenant makes the gate ask nobody anything.
            moved, told = self._look(request.name, label, mode, deadline)
            found += moved
        return replace(
            decision,
            allowed=mode != "enforce" or not found,
            violations=found if mode == "enforce" else (),
            warnings=(*(found if mode == "warn" else ()), *told),
            notes=found if mode == "audit" else (),
            tolerated=found if mode != "enforce" else (),
        )

    def _find(self, request: AdmissionRequest, label: LabelChange, mode: str) -> Iterator[Violation]:
        named = self._settings["labellers"]
        if request.username not in named["users"] and not set(request.groups) & set(named["groups"]):
            sentence = f"{_shown(request.username)} may not {_VERBS[label.kind]} the label {LABEL}"
            yield _violation("labeller_required", mode, sentence, _ASK)
        if label.after is not None and label.after not in self._environments:
            known = ", ".join(sorted(self._environments))
            sentence = f"there is no environment {_quoted(label.after)}"
            yield _violation("environment_unknown", mode, sentence, f"Known: {known}.")

    def _look(
        self, name: str, label: LabelChange, mode: str, deadline: Deadline
    ) -> tuple[tuple[Violation, ...], tuple[Violation, ...]]:
        """What speaks against the move, and what its author should know of it."""
        to = "the default environment" if label.after is None else label.after
        refusing = self._settings["move"] == "refuse"
        if not self._residents.asked:
            if refusing:
                sentence = "`namespaces.move` is refuse, and nobody looks what runs in the namespace"
                hint = "Set `namespaces: lookup` in the gate's configuration, or `namespaces.move: warn`."
                return (_violation("namespace_not_looked_up", mode, sentence, hint),), ()
            sentence = f"nobody looked whether workloads here were judged for {to}"
            return (), (_violation("namespace_not_looked_up", "warn", sentence, ""),)
        try:
            count = self._residents.count(name, time_left_s=deadline.share_s)
        except ClusterUnavailable as exc:
            if refusing:
                raise
            sentence = f"it could not be seen whether workloads here were judged for {to}"
            return (), (_violation(exc.code, "warn", sentence, ""),)
        if count.none:
            return (), ()
        sentence = f"{count.shown} here that nobody judged for {to}"
        if refusing:
            return (_violation("namespace_not_empty", mode, sentence, _EMPTY_FIRST),), ()
        return (), (_violation("namespace_not_empty", "warn", sentence, ""),)


def _violation(code: str, mode: str, sentence: str, hint: str) -> Violation:
    details = {"sentence": sentence, "hint": hint}
    return Violation(rule=RULE, code=code, mode=mode, severity="critical", details=details)


def _shown(text: str) -> str:
    return safe(clip(text, _LONGEST_SHOWN))


def _quoted(text: str) -> str:
    return f'"{_shown(text)}"'
