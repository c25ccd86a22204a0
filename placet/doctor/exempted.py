"""Signed exemptions that end soon, let nothing in, or are for nothing that runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from placet.canonical import Digest
from placet.doctor.findings import Code, Finding
from placet.doctor.reading import name_of, namespace_of
from placet.doctor.running import Running
from placet.errors import WorkloadError
from placet.exemptions.folder import Fault
from placet.exemptions.survey import Standing
from placet.exemptions.verify import describe_end
from placet.projection.kinds import KINDS
from placet.workload import read_workload


@dataclass(frozen=True, slots=True)
class Exempted:
    """The gate's exemptions.

    Attributes:
        standings: those that can be read.
        faults: files that can't.
    """

    standings: Sequence[Standing] = ()
    faults: Sequence[Fault] = ()


def check_exempted(exempted: Exempted, workloads: Sequence[Running] | None, now: datetime) -> Iterator[Finding]:
    """What is to be said of each exemption.

    Args:
        exempted: of the gate's folder.
        workloads: of the whole cluster; None where they could not all be read, and what is unused is not known.
        now: aware UTC.
    """
    for fault in exempted.faults:
        yield Finding(Code.EXEMPTION_UNUSABLE, fault.file, fault.why)
    running = None if workloads is None else _contents(workloads)
    for one in exempted.standings:
        said = one.signed.statement
        where = f"{said.workload} in {said.namespace}, environment {said.environment}"
        if one.state == "not_counting":
            yield Finding(Code.EXEMPTION_UNUSABLE, where, f"{one.why} ({one.signed.file})")
        elif one.state != "in_force":
            yield Finding(Code.EXEMPTION_ENDS, where, f"it {describe_end(one.expires, now)} ({one.signed.file})")
        if running is None or said.workload.partition("/")[0] not in {kind.name for kind in KINDS}:
            continue
        found = running.get((said.namespace, said.workload))
        if found is None:
            yield Finding(Code.EXEMPTION_UNUSED, where, f"there is no such workload ({one.signed.file})")
        elif found.isdisjoint(said.projections):
            yield Finding(Code.EXEMPTION_UNUSED, where, f"other content runs under that name ({one.signed.file})")


def _contents(workloads: Sequence[Running]) -> dict[tuple[str, str], set[Digest]]:
    """(namespace, Kind/name) -> what runs there; a name that the API server made counts by its prefix too."""
    found: dict[tuple[str, str], set[Digest]] = {}
    for one in workloads:
        try:
            read = read_workload(one.value, namespace=namespace_of(one.value))
        except WorkloadError:
            continue  # what can't be read is no content that somebody signed for; the gate says why
        for name in {read.resource, f"{one.kind.name}/{name_of(one.value)}"}:
            found.setdefault((read.namespace, name), set()).add(read.projection.digest)
    return found
