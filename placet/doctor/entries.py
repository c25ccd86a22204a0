"""Entries of webhook configurations, and what the API server asks them about.

Sources: k8s.io/apiserver, pkg/admission/plugin/webhook/predicates/rules (rules), pkg/labels (selectors).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from placet.doctor.reading import Object, labels_of, name_of
from placet.model import DOMAIN

ENVIRONMENT_LABEL: Final = f"{DOMAIN}/environment"
NAME_LABEL: Final = "kubernetes.io/metadata.name"
_ADMIT: Final = re.compile(r"/v1/admit/(?P<environment>[^/]+)(?:/[^/]+)?/?")
_OURS: Final = re.compile(r"/v1/(?:admit|guard)/")
_PART_OF: Final = "app.kubernetes.io/part-of"


@dataclass(frozen=True, slots=True)
class Entry:
    """One webhook of a configuration.

    Attributes:
        configuration: the configuration's name.
        name: the entry's.
        value: as it is in the API.
    """

    configuration: str
    name: str
    value: Object

    @property
    def where(self) -> str:
        """For a finding."""
        return f"ValidatingWebhookConfiguration/{self.configuration} {self.name}"

    @property
    def client(self) -> Object:
        """``clientConfig``."""
        found: Object = self.value.get("clientConfig") or {}
        return found

    @property
    def path(self) -> str:
        """The path that is asked, whichever way the server is named."""
        if self.client.get("url"):
            return urlsplit(str(self.client["url"])).path
        return str((self.client.get("service") or {}).get("path") or "")

    @property
    def service(self) -> tuple[str, str] | None:
        """Namespace and name of the Service; None where it is a URL."""
        found = self.client.get("service")
        return (str(found.get("namespace")), str(found.get("name"))) if found else None

    @property
    def server(self) -> str:
        """Who is asked, without the path."""
        if self.service is None:
            return urlsplit(str(self.client.get("url") or "")).netloc
        return f"{self.service[1]}.{self.service[0]}.svc"

    @property
    def environment(self) -> str | None:
        """What the path says; None for one that admits no workloads."""
        found = _ADMIT.fullmatch(self.path)
        return found["environment"] if found else None

    @property
    def guards(self) -> bool:
        """Whether it guards something other than workloads."""
        return self.path.startswith("/v1/guard/")

    @property
    def is_exact(self) -> bool:
        """Whether only the versions of the rules are asked about."""
        return self.value.get("matchPolicy") == "Exact"

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a namespace with these labels is asked about."""
        return selects(self.value.get("namespaceSelector"), labels)

    def matches(self, asked: Asked, version: str, served: Sequence[str]) -> bool:
        """Whether a request in this version is asked about; ``served`` are all versions that have the resource."""
        versions = [version] if self.is_exact else [version, *served]
        return any(_matches(rule, asked, one) for rule in self.value.get("rules") or () for one in versions)


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """A kind of request: what rules are matched against.

    Attributes:
        group: "" for core.
        resource: plural.
        subresource: "" for none.
        operation: CREATE or UPDATE.
    """

    group: str
    resource: str
    subresource: str
    operation: str

    @property
    def shown(self) -> str:
        """``UPDATE deployments/scale.apps``."""
        name = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.operation} {name}{f'.{self.group}' if self.group else ''}"


def _matches(rule: Object, asked: Asked, version: str) -> bool:
    return (
        rule.get("scope") != "Cluster"
        and _has(rule.get("apiGroups"), asked.group)
        and _has(rule.get("apiVersions"), version)
        and _has(rule.get("operations"), asked.operation)
        and any(_names(str(one), asked) for one in rule.get("resources") or ())
    )


def _names(written: str, asked: Asked) -> bool:
    """``*`` has no subresource, ``*/*`` has them all, and the resource itself too."""
    resource, _, subresource = written.partition("/")
    return resource in {"*", asked.resource} and subresource in {"*", asked.subresource}


def _has(values: Any, wanted: str) -> bool:
    return "*" in (values or ()) or wanted in (values or ())


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; one that says nothing matches everything."""
    selector = selector or {}
    plain = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in plain) and all(
        _meets(one, labels) for one in selector.get("matchExpressions") or ()
    )


def _meets(requirement: Object, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(str(requirement.get("key"))), requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False


def keys_of(selector: Object | None) -> dict[str, set[str]]:
    """Labels that a selector looks at, with the values that it names."""
    selector = selector or {}
    found: dict[str, set[str]] = {str(key): {str(value)} for key, value in (selector.get("matchLabels") or {}).items()}
    for one in selector.get("matchExpressions") or ():
        found.setdefault(str(one.get("key")), set()).update(map(str, one.get("values") or ()))
    return found


def find_entries(configurations: Sequence[Object]) -> Iterator[Entry]:
    """Entries of placet: those that ask on its paths, and all of a configuration with its label."""
    for item in configurations:
        entries = [Entry(name_of(item), str(one.get("name", "")), one) for one in item.get("webhooks") or ()]
        labelled = labels_of(item).get(_PART_OF) == "placet"
        yield from (entry for entry in entries if labelled or _OURS.match(entry.path))
