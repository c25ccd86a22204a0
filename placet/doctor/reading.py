"""Collections of a cluster, read page by page. What may not be read is a value, never an empty list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from placet.apiserver import ClusterUnavailable
from placet.doctor.findings import Code, Finding

TIMEOUT_S: Final = 30.0
_PAGE: Final = 500
_MOST_PAGES: Final = 1000
_HINT: Final = "Check the kubeconfig and --context."
Object = Mapping[str, Any]


class Api(Protocol):
    """What questions are put to: ``placet.apiserver.ApiServer``. It can only read."""

    def get(self, path: str, *, timeout_s: float, hint: str) -> Object | None:
        """The JSON object at a path; None where there is none.

        Raises:
            ClusterUnavailable: no answer, or not allowed.
        """


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection of the API.

    Attributes:
        base: ``/api/v1`` or ``/apis/GROUP/VERSION``.
        name: plural, as RBAC names it.
        needed_for: what is not known without it, for a person.
    """

    base: str
    name: str
    needed_for: str

    @property
    def full_name(self) -> str:
        """``deployments.apps``."""
        group = self.base.split("/")[2] if self.base.startswith("/apis/") else ""
        return f"{self.name}.{group}" if group else self.name


@dataclass(frozen=True, slots=True)
class Listing:
    """What there is of a resource.

    Attributes:
        resource: what was asked for.
        items: objects; empty where it could not be read.
        fault: why it could not be read; "" when it was.
    """

    resource: Resource
    items: Sequence[Object] = ()
    fault: str = ""

    def unread(self) -> Iterator[Finding]:
        """A finding where it could not be read."""
        if self.fault:
            yield Finding(Code.NOT_READ, self.resource.full_name, f"{self.fault}; so {self.resource.needed_for}")


class Reader:
    """Questions to one API server."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def load_all(self, resource: Resource, *, namespace: str = "") -> Listing:
        """Every object of a resource, in one namespace or all."""
        place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        path = f"{resource.base}{place}/{resource.name}"
        inside = f" in namespace {namespace}" if namespace else ""
        items: list[Object] = []
        after = ""
        try:
            for _ in range(_MOST_PAGES):
                more = f"&continue={quote(after, safe='')}" if after else ""
                page = self._api.get(f"{path}?limit={_PAGE}{more}", timeout_s=TIMEOUT_S, hint=_HINT)
                if page is None:
                    return Listing(resource, items)  # the API is not served: there are none
                found = page.get("items")
                if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                    return Listing(resource, fault=f"the answer about {resource.full_name} is no list")
                items += found
                after = str((page.get("metadata") or {}).get("continue") or "")
                if not after:
                    return Listing(resource, items)
        except ClusterUnavailable as exc:
            needed = f"it needs the verb list on {resource.full_name}{inside}"
            return Listing(resource, fault=f"{exc} ({needed})")
        return Listing(resource, fault=f"there is no end to {resource.full_name}")

    def load_one(self, path: str, what: str, needed_for: str) -> tuple[Object | None, list[Finding]]:
        """One object, or None where there is none; and what to report where it may not be read."""
        try:
            return self._api.get(path, timeout_s=TIMEOUT_S, hint=_HINT), []
        except ClusterUnavailable as exc:
            return None, [Finding(Code.NOT_READ, what, f"{exc} (it needs the verb get on {what}); so {needed_for}")]


def name_of(item: Object) -> str:
    """``metadata.name``."""
    return str((item.get("metadata") or {}).get("name", ""))


def namespace_of(item: Object) -> str:
    """``metadata.namespace``."""
    return str((item.get("metadata") or {}).get("namespace", ""))


def labels_of(item: Object) -> Mapping[str, str]:
    """``metadata.labels``."""
    found = (item.get("metadata") or {}).get("labels") or {}
    return {str(key): str(value) for key, value in found.items()}
