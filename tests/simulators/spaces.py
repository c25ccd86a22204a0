"""Namespaces as an API server would keep them, for the gate to look up; a :class:`placet.environments.Namespaces`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from placet.environments import NamespaceUnavailable

Json = dict[str, Any]
LABEL: Final = "placet.dev/environment"
DEFAULT: Final = "production"


class NamespaceStore:
    """What is stored, by name.

    A namespace that no test put there has the label of the path that is asked about it, as if a webhook configuration
    that is right had selected it by that label. What a test puts there stays as it is.

    Attributes:
        asked: see the protocol.
        answering: whether look-ups are answered.
        looked_up: the names that were asked for, oldest first.
    """

    def __init__(self, *, asked: bool = True) -> None:
        self.asked = asked
        self.answering = True
        self.looked_up: list[str] = []
        self._stored: dict[str, Json | None] = {}
        self._made: dict[str, str] = {}

    def load(self, name: str, *, timeout_s: float) -> Mapping[str, Any] | None:
        assert timeout_s > 0
        self.looked_up.append(name)
        if not self.answering:
            raise NamespaceUnavailable(f"the namespace {name} could not be looked up", hint="Wait.")
        if name in self._stored:
            return copy.deepcopy(self._stored[name])
        return _namespace(name, self._made[name]) if name in self._made else None

    def put(self, name: str, label: str | None, **metadata: Any) -> None:
        """A namespace with that label, or without one."""
        self._stored[name] = _namespace(name, label, **metadata)

    def answer(self, name: str, value: Json | None) -> None:
        """What is answered for a name, whatever it is."""
        self._stored[name] = value

    def select(self, name: str, environment: str) -> None:
        """A review of this namespace is about to come by the path of an environment."""
        self._made[name] = environment

    def belongs(self, name: str, environments: Mapping[str, Any]) -> str | None:
        """The one environment whose path may be asked about a namespace, as the documents say it; None for none."""
        if name in self._stored:
            metadata = (self._stored[name] or {}).get("metadata")
            labels = metadata.get("labels", {}) if isinstance(metadata, dict) and metadata.get("name") == name else None
            if not isinstance(labels, dict):
                return None
            return str(labels[LABEL]) if labels.get(LABEL) in list(environments) else DEFAULT
        return self._made.get(name)


def _namespace(name: str, label: str | None, **metadata: Any) -> Json:
    labels = {"kubernetes.io/metadata.name": name, **({} if label is None else {LABEL: label})}
    uid = "5c1d3f0e-1b0f-4a4e-9a3d-8f1f6f6f0001"
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "uid": uid, "labels": labels, **metadata},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Terminating" if "deletionTimestamp" in metadata else "Active"},
    }
