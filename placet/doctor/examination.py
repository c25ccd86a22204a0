"""The whole examination: what is read, in which order, and which checks look at it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from placet.doctor.access import Subject, find_grants
from placet.doctor.belonging import check_looking
from placet.doctor.coverage import Coverage, check_coverage
from placet.doctor.entries import Entry, find_entries
from placet.doctor.exempted import Exempted, check_exempted
from placet.doctor.findings import Code, Finding, Severity
from placet.doctor.others import check_mutators
from placet.doctor.powers import Ground, check_access
from placet.doctor.publishing import Right, check_publishing
from placet.doctor.reading import Listing, Object, Reader, Resource, name_of
from placet.doctor.registry import check_registry, find_forms
from placet.doctor.running import Judge, Keys, check_keyring, check_running, load_running
from placet.doctor.served import Served, load_served, plain_names
from placet.doctor.serving import Serving, check_certificates, check_serving, load_serving
from placet.errors import PlacetError
from placet.projection.registry import BUILT_IN, Kinds

_ADMISSION: Final = "/apis/admissionregistration.k8s.io"
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_CONFIGURATIONS: Final = Resource(
    f"{_ADMISSION}/v1", "validatingwebhookconfigurations", "whether the gate is asked at all is not known"
)
_NAMESPACES: Final = Resource("/api/v1", "namespaces", "which namespaces are not governed is not known")
_MUTATORS: Final = Resource(
    f"{_ADMISSION}/v1", "mutatingwebhookconfigurations", "what changes workloads after their approval is not known"
)
_POLICIES: Final = tuple(
    Resource(f"{_ADMISSION}/{version}", "mutatingadmissionpolicies", "which policies change workloads is not known")
    for version in ("v1", "v1beta1", "v1alpha1")
)
_DEFINITIONS: Final = Resource(
    "/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", "which other kinds make Pods is not known"
)
_WHO: Final = "who may reach around the gate is not known"
_ACCESS: Final = tuple(
    Resource(_RBAC, name, _WHO) for name in ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
)
_ORDER: Final = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Local:
    """What the gate's configuration adds; it is not in the cluster.

    Attributes:
        environments: of the policy data.
        default: the environment of a Namespace that names none of these.
        looks: whether a gate with this configuration looks at Namespaces.
        keys: the keyring.
        open_judge: makes the gate; it may raise PlacetError.
        exempted: the gate's exemptions.
        rights: what the gate's account needs to publish what it records.
        policies: what was found about those that the configuration names.
    """

    environments: Collection[str]
    default: str
    looks: bool
    keys: Keys
    open_judge: Callable[[], Judge]
    exempted: Exempted = field(default_factory=Exempted)
    rights: Sequence[Right] = ()
    policies: Sequence[Finding] = ()


@dataclass(frozen=True, slots=True)
class Examination:
    """How to look.

    Attributes:
        reader: of the cluster.
        local: None where no configuration is at hand.
        trusted: who may have rights around the gate.
        namespaces: in which placet runs, beside those of its Services.
        excluded: namespaces that are meant not to be governed.
        now: aware UTC.
        progress: is told how far the judging of workloads is.
        probe: sends what must be refused; None where nobody asked for that.
        kinds: the kind registry.
        accepted: names of CustomResourceDefinitions that are meant to have no entry in it.
    """

    reader: Reader
    local: Local | None
    trusted: Collection[Subject]
    namespaces: Collection[str]
    excluded: Collection[str]
    now: datetime
    progress: Callable[[int, int], None]
    probe: Callable[[], Iterable[Finding]] | None = None
    kinds: Kinds = BUILT_IN
    accepted: Collection[str] = ()

    def run(self) -> list[Finding]:
        """Every finding, the gravest first."""
        return sorted(self._find(), key=lambda one: (_ORDER.index(one.severity), tuple(Code).index(one.code)))

    def _find(self) -> Iterator[Finding]:
        configurations = self.reader.load_all(_CONFIGURATIONS)
        namespaces = self.reader.load_all(_NAMESPACES)
        served = load_served(self.reader)
        yield from (*configurations.unread(), *namespaces.unread(), *served.unread)
        entries = list(find_entries(configurations.items))
        services = list(dict.fromkeys(entry.service for entry in entries if entry.service))
        coverage = Coverage(
            entries=entries,
            namespaces=namespaces.items,
            own={*self.namespaces, *(namespace for namespace, _ in services)},
            asked=served.asked,
            environments=None if self.local is None else self.local.environments,
            excluded=self.excluded,
            default="" if self.local is None else self.local.default,
        )
        if not configurations.fault:
            yield from check_coverage(coverage)
        serving = {service: load_serving(self.reader, *service) for service in services}
        yield from self._find_serving(entries, serving)
        definitions = self.reader.load_all(_DEFINITIONS)
        yield from definitions.unread()
        yield from self._find_others(served)
        if not definitions.fault:
            yield from check_registry(self.kinds, definitions.items, entries, accepted=self.accepted)
        gates = [(one.namespace, one.deployment) for one in serving.values() if one.deployment is not None]
        yield from self._find_access(coverage, gates, known=not configurations.fault)
        yield from self._find_local(coverage, served, definitions.items)
        yield from self.probe() if self.probe is not None else ()

    def _find_serving(self, entries: Sequence[Entry], serving: Mapping[tuple[str, str], Serving]) -> Iterator[Finding]:
        for one in serving.values():
            yield from check_serving(one)
        yield from check_certificates(entries, serving, self.now)

    def _find_others(self, served: Served) -> Iterator[Finding]:
        webhooks = self.reader.load_all(_MUTATORS)
        yield from webhooks.unread()
        found = [self.reader.load_all(resource) for resource in _POLICIES]
        # Versions that are not served are empty; a refusal of one version is one of all.
        yield from next((list(one.unread()) for one in found if one.fault), [])
        distinct = {name_of(item): item for one in found for item in one.items}
        yield from check_mutators(webhooks.items, list(distinct.values()), list(served.asked))

    def _find_access(
        self, coverage: Coverage, gates: Sequence[tuple[str, Object]], *, known: bool
    ) -> Iterator[Finding]:
        listings: list[Listing] = [self.reader.load_all(resource) for resource in _ACCESS]
        for listing in listings:
            yield from listing.unread()
        cluster_roles, roles, cluster_bindings, bindings = (listing.items for listing in listings)
        if not coverage.own:
            said = "in which namespace placet runs is not known (-n names it), nor who may change things there"
            yield Finding(Code.NOT_READ, "namespace of placet", said)
        ground = Ground(
            configurations=list(dict.fromkeys(entry.configuration for entry in coverage.entries)),
            own=coverage.own,
            ungoverned=coverage.ungoverned() if known else (),
            workloads=plain_names(coverage.asked),
            trusted=self.trusted,
        )
        found = find_grants(
            cluster_roles=cluster_roles, roles=roles, cluster_bindings=cluster_bindings, bindings=bindings
        )
        grants = list(found)
        yield from check_access(grants, ground)
        if not any(listing.fault for listing in listings):  # a right that can't be seen may be there
            yield from check_looking(gates, grants)
            yield from check_publishing(gates, grants, () if self.local is None else self.local.rights)

    def _find_local(self, coverage: Coverage, served: Served, definitions: Sequence[Object]) -> Iterator[Finding]:
        if self.local is None:
            yield Finding(Code.NO_CONFIG, "--config", "no configuration was named")
            return
        if not self.local.looks:
            yield Finding(Code.ENVIRONMENT_BELIEVED, "--config", "`environments` is none")
        yield from self.local.policies
        yield from check_keyring(self.local.keys, self.now)
        workloads, unread = load_running(self.reader, served.plurals, find_forms(self.kinds, definitions))
        yield from unread
        yield from check_exempted(self.local.exempted, None if unread else workloads, self.now)
        judged = {name_of(item): coverage.environment(name_of(item)) for item in coverage.namespaces}
        environments = {name: one for name, one in judged.items() if one in self.local.environments and one is not None}
        try:
            yield from check_running(workloads, environments, self.local.open_judge(), self.progress)
        except PlacetError as exc:
            yield Finding(Code.NOT_READ, "workloads", f"they can't be judged: {exc}")
