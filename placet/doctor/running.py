"""What runs now and would not be let in again, judged by the gate's own functions; and how long the keyring holds."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from placet.apiserver import api_root
from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.revocations import Revocations
from placet.canonical import Digest
from placet.deadline import Deadline
from placet.decision import Decision
from placet.doctor.findings import Code, Finding
from placet.doctor.reading import Listing, Object, Reader, Resource, name_of, namespace_of
from placet.doctor.serving import SOON
from placet.errors import PlacetError
from placet.projection.kinds import KINDS
from placet.review import AdmissionRequest, GroupVersionKind

BUDGET_S: Final = 30.0
_MOST_NAMED: Final = 5
_ENDED: Final = frozenset({"Succeeded", "Failed"})


class Judge(Protocol):
    """What decides: ``placet.decide.Gate``."""

    def decide(self, request: AdmissionRequest, *, environment: str, deadline: Deadline) -> Decision:
        """The answer of the gate."""


class Keys(Protocol):
    """Where the keyring comes from: ``placet.trust.FileTrust``."""

    def load(self, now: datetime) -> tuple[VerifiedKeyring, Revocations]:
        """The newest that verify.

        Raises:
            PlacetError: none that can be trusted now.
        """


@dataclass(frozen=True, slots=True)
class Form:
    """A kind in one version.

    Attributes:
        group: API group, "" for core.
        version: one that is served.
        name: the kind's name.
        resource: its plural.
    """

    group: str
    version: str
    name: str
    resource: str

    @property
    def api_version(self) -> str:
        """``apps/v1``, or ``v1`` for core."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Running:
    """A workload as it is in the cluster.

    Attributes:
        kind: one that the gate judges.
        value: with apiVersion and kind, without what the server keeps for itself.
    """

    kind: Form
    value: Object

    @property
    def shown(self) -> str:
        """``Deployment/llama in ml-serving``."""
        return f"{self.kind.name}/{name_of(self.value)} in {namespace_of(self.value)}"


def load_running(
    reader: Reader, plurals: Mapping[tuple[str, str], str], custom: Sequence[Form] = ()
) -> tuple[list[Running], list[Finding]]:
    """Every workload that nobody else's controller made, and what could not be read.

    Args:
        reader: of the cluster.
        plurals: (group, kind) -> resource, of built-in kinds.
        custom: kinds of the registry that the cluster has.
    """
    found: list[Running] = []
    unread: list[Finding] = []
    built_in = [
        Form(kind.group, kind.version, kind.name, plurals[kind.group, kind.name])
        for kind in KINDS
        if (kind.group, kind.name) in plurals
    ]
    for kind in (*built_in, *custom):
        base = api_root(kind.api_version)
        what = f"which {kind.name}s would be refused is not known"
        listing: Listing = reader.load_all(Resource(base, kind.resource, what))
        unread += listing.unread()
        found += [Running(kind, _whole(kind, item)) for item in listing.items if _stands_alone(item)]
    return found, unread


def _whole(kind: Form, item: Object) -> Object:
    metadata = {key: value for key, value in (item.get("metadata") or {}).items() if key != "managedFields"}
    return {**item, "apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}


def _stands_alone(item: Object) -> bool:
    """Neither made by a controller of a kind that is judged itself, nor at its end."""
    kinds = {(kind.api_version, kind.name) for kind in KINDS}
    owners = (item.get("metadata") or {}).get("ownerReferences") or ()
    owned = any(one.get("controller") and (one.get("apiVersion"), one.get("kind")) in kinds for one in owners)
    status = item.get("status") or {}
    return not owned and status.get("phase") not in _ENDED and not status.get("completionTime")


def check_running(
    workloads: Sequence[Running],
    environments: Mapping[str, str],
    judge: Judge,
    progress: Callable[[int, int], None],
) -> Iterator[Finding]:
    """One finding for each environment in which something would be refused.

    Args:
        workloads: of the whole cluster.
        environments: namespace -> environment by which it is judged; others are not governed.
        judge: the gate.
        progress: is told what is done, and what there is.
    """
    refused: dict[str, list[str]] = {}
    seen: Counter[str] = Counter()
    for done, one in enumerate(workloads, 1):
        environment = environments.get(namespace_of(one.value))
        if environment is not None:
            seen[environment] += 1
            decision = judge.decide(_request(one), environment=environment, deadline=Deadline(BUDGET_S))
            if not decision.allowed:
                codes = ", ".join(dict.fromkeys(f"{item.rule}/{item.code}" for item in decision.violations))
                refused.setdefault(environment, []).append(f"{one.shown} ({codes})")
        progress(done, len(workloads))
    for environment, names in sorted(refused.items()):
        more = f"; and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        said = f"{len(names)} of {seen[environment]} workloads: {'; '.join(names[:_MOST_NAMED])}{more}"
        yield Finding(Code.WOULD_BE_REFUSED, f"environment {environment}", said)


def _request(one: Running) -> AdmissionRequest:
    return AdmissionRequest(
        uid=str(uuid.uuid4()),
        kind=GroupVersionKind(one.kind.group, one.kind.version, one.kind.name),
        subresource="",
        operation="CREATE",
        name=name_of(one.value),
        namespace=namespace_of(one.value),
        username="",
        groups=(),
        object=one.value,
        old_object=None,
        dry_run=True,
        digest=Digest.of(b""),
    )


def check_keyring(keys: Keys, now: datetime) -> Iterator[Finding]:
    """Whether the keyring holds, and for how long."""
    try:
        keyring, _ = keys.load(now)
    except PlacetError as exc:
        yield Finding(Code.KEYRING_UNUSABLE, "keyring", f"{exc} ({exc.code})")
        return
    if keyring.expires - now < SOON:
        yield Finding(
            Code.KEYRING_EXPIRES, f"keyring version {keyring.version}", f"it expires on {keyring.expires:%Y-%m-%d}"
        )
