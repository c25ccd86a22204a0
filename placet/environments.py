"""Which environment a request's namespace belongs to, by the Namespace itself and not by the path that was asked.

The path is what a webhook configuration says, and the API server selected it by labels that it had seen. Whoever edits
that configuration, or sends a review by another path, would choose the environment. So the Namespace is read when a
request is decided, from what is stored at that moment, and has to belong where the path says (ADR 34).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol
from urllib.parse import quote

from placet.apiserver import ApiServer, ClusterUnavailable
from placet.deadline import Deadline
from placet.decision import Decision, Place
from placet.errors import PlacetError
from placet.namespaces import LABEL, NamespaceError, read_label
from placet.policy.data import PolicyData
from placet.text import clip, safe

TIMEOUT_S: Final = 2.0
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123 label, as every Namespace is called
_LONGEST_SHOWN: Final = 80
_RIGHTS: Final = "Check that the API server is well, and that the gate's user may get namespaces (docs/lookups.md)."


class NamespaceUnavailable(ClusterUnavailable):
    """The Namespace of a request could not be looked up."""

    code = "namespace_unavailable"


class EnvironmentDisagrees(PlacetError):
    """The path names another environment than the Namespace."""

    code = "environment_disagrees"


class Namespaces(Protocol):
    """Where Namespaces come from."""

    @property
    def asked(self) -> bool:
        """Whether Namespaces are looked up at all."""

    def load(self, name: str, *, timeout_s: float) -> Mapping[str, Any] | None:
        """The Namespace as it is now; None where there is none of that name.

        An answer that is older than the request would let a namespace that was just moved be judged by where it was,
        so whoever answers from a copy has to know that the copy is not behind.

        Args:
            name: a DNS label.
            timeout_s: the longest that the look-up may take, more than 0.

        Raises:
            NamespaceUnavailable: nobody answers.
        """


@dataclass(frozen=True, slots=True)
class NoNamespaces:
    """Nobody is asked: the environment is what the path says."""

    @property
    def asked(self) -> bool:
        """No."""
        return False

    def load(self, name: str, *, timeout_s: float) -> Mapping[str, Any] | None:  # noqa: ARG002 - the Protocol's
        """Not to be called where ``asked`` is False; raises."""
        raise NamespaceUnavailable(f"the namespace {name} is not looked up")


class KubernetesNamespaces:
    """Asks a real API server, which reads what is stored at that moment and no copy."""

    def __init__(self, kubeconfig: str | None) -> None:
        """Connect lazily.

        Args:
            kubeconfig: a file; None for the service account inside a Pod, and the default file elsewhere.
        """
        self._api = ApiServer(kubeconfig)

    @property
    def asked(self) -> bool:
        """Yes."""
        return True

    def load(self, name: str, *, timeout_s: float) -> Mapping[str, Any] | None:
        """See :class:`Namespaces`."""
        path = f"/api/v1/namespaces/{quote(name, safe='')}"  # without resourceVersion: a read of what is stored
        try:
            return self._api.get(path, timeout_s=min(timeout_s, TIMEOUT_S), hint=_RIGHTS)
        except ClusterUnavailable as exc:
            raise NamespaceUnavailable(f"the namespace {name} could not be looked up: {exc}", hint=exc.hint) from exc


class EnvironmentCheck:
    """Holds the environment of a request's path against the one of its Namespace. Thread-safe."""

    def __init__(self, data: PolicyData, namespaces: Namespaces) -> None:
        """Take over what the policy data says.

        Args:
            data: defaults and the operator's, merged and checked.
            namespaces: where they are looked up.
        """
        self._default = str(data.value["namespaces"]["default_environment"])
        self._known = frozenset(data.value["environments"])
        self._namespaces = namespaces

    @property
    def steps(self) -> tuple[tuple[str, Callable[[Decision, Deadline], Decision]], ...]:
        """Two steps, so that what was found is in the record also where it does not agree."""
        return (("environment", self._look), ("environment", self._hold)) if self._namespaces.asked else ()

    def _look(self, decision: Decision, deadline: Deadline) -> Decision:
        name = decision.request.namespace
        if not name:  # of the whole cluster: no Namespace says where it belongs
            return replace(decision, place=Place(environment=self._default))
        found = self._load(name, deadline.share_s())
        metadata = found.get("metadata")
        if (found.get("apiVersion"), found.get("kind")) != ("v1", "Namespace") or not isinstance(metadata, Mapping):
            raise NamespaceUnavailable("the API server answered something else than the Namespace that was asked for")
        if metadata.get("name") != name:
            raise NamespaceUnavailable("the API server answered another Namespace than the one that was asked for")
        label = read_label(found)
        environment = label if label is not None and label in self._known else self._default
        return replace(decision, place=Place(environment, label=label, uid=str(metadata.get("uid") or "")))

    def _load(self, name: str, timeout_s: float) -> Mapping[str, Any]:
        # What no Namespace can be called is not asked for, so that no name reaches another path of the API server.
        found = None
        if _NAME.fullmatch(name):
            if timeout_s <= 0:
                raise NamespaceUnavailable(f"no time is left to look up the namespace {name}")
            found = self._namespaces.load(name, timeout_s=timeout_s)
        if found is None:
            raise NamespaceError(
                f"there is no namespace {_shown(name)}, so nobody knows its environment",
                code="namespace_not_found",
                hint="It may have been deleted meanwhile; send the request through the API server.",
            )
        return found

    def _hold(self, decision: Decision, _deadline: Deadline) -> Decision:
        place, asked = decision.place, decision.environment
        if place is None or place.environment == asked:
            return decision
        name = decision.request.namespace
        what = f"the namespace {_shown(name)}" if name else "what is in no namespace"
        where = f"{place.environment}{self._why(place, name)}"
        raise EnvironmentDisagrees(
            f"{what} belongs to {where}, and the request came by the path of {asked}",
            hint="If the namespace was moved just now, send it again. Otherwise this is the platform team's affair: an "
            f"entry of the webhook configuration sends it to /v1/admit/{asked}, and `placet doctor` names that entry.",
        )

    def _why(self, place: Place, name: str) -> str:
        """What a person would not see from the label, in brackets."""
        if not name or place.label == place.environment:
            return ""
        said = f"no label {LABEL}" if place.label is None else f'the label {LABEL}="{_shown(place.label)}"'
        return f" (it has {said}, so `namespaces.default_environment` counts)"


def _shown(text: str) -> str:
    return safe(clip(text, _LONGEST_SHOWN))
