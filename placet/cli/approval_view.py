"""What an approver is shown before signing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from placet.audit.location import StoreLocation, open_reader
from placet.audit.query import read_found
from placet.audit.record import find_attachments
from placet.audit.stores import Reader, StoredLeaf
from placet.canonical import render_canonical
from placet.cli.output import safe, say, style
from placet.cli.session import Session
from placet.errors import InputError
from placet.judge import Findings
from placet.manifests import load_manifests
from placet.model import Workload
from placet.projection import explain_difference, redact
from placet.workload import read_workload
from scorer import explain

_MAX_DIFFERENCES: Final = 20


def show_workload(session: Session, workload: Workload, findings: Findings) -> None:
    """The workload, its model and images, the risk with what it is made of, and what was assumed."""
    say(style(f"{workload.resource} in namespace {workload.namespace}", "white", bold=True, err=True))
    say(f"  for         {session.environment} on cluster {session.config.cluster}")
    model = workload.model
    say(f"  model       {safe(model.name or '-')} {safe(model.version)} {model.digest or ''}".rstrip())
    say(f"  projection  {workload.projection.digest}")
    for image in workload.images:
        say(f"  image       {safe(image.reference)}")
    for reference in workload.references:
        say(f"  from        {safe(reference.text)} ({safe(reference.place)})")
    for line in explain.render(findings.assessment):
        say(f"  {line}")
    for assumption in session.assumptions:
        say(f"  assumed: {assumption}")


def show_changes(session: Session, workload: Workload, *, record: StoreLocation | None, against: Path | None) -> None:
    """What changed since an earlier manifest, or since the record last shows the workload approved.

    Raises:
        InputError: the earlier manifest does not hold the workload.
    """
    now = render_canonical(redact(workload.projection.canonical))
    if against is not None:
        before = _earlier(against, workload, session)
        if before.projection.digest == workload.projection.digest:
            say(f"  nothing governed changed since {safe(against)}")
            return
        _list_changes(
            f"since {safe(against)}", explain_difference(before.projection.canonical, workload.projection.canonical)
        )
        return
    if record is None:
        say("  what changed since it was last approved is not known (--record or --against shows it)")
        return
    with open_reader(record) as reader:
        found = reader.last_approved(
            environment=session.environment, namespace=workload.namespace, kind=workload.kind, name=workload.name
        )
        stored = None if found is None else _read_content(reader, found)
    if found is None:
        say("  it was never approved in this environment before")
        return
    leaf = read_found(found).body
    when = str(leaf["time"])[:10]
    if leaf["projection"] == str(workload.projection.digest):
        say(f"  nothing governed changed since it was approved on {when}")
        return
    if stored is None:
        say(f"  it differs from what was approved on {when}, whose content is no longer kept")
        return
    differences = explain_difference(stored, now) or ("env values (they are not kept, so which is not known)",)
    _list_changes(f"since it was approved on {when}", differences)


def _read_content(reader: Reader, found: StoredLeaf) -> bytes | None:
    place = find_attachments(read_found(found).body, found.index).get("content")
    return None if place is None else reader.attachment(place[0], "content")


def _list_changes(since: str, differences: tuple[str, ...]) -> None:
    say(f"  changed {since}:")
    for difference in differences[:_MAX_DIFFERENCES]:
        say(f"    {safe(difference)}")
    if len(differences) > _MAX_DIFFERENCES:
        say(f"    and {len(differences) - _MAX_DIFFERENCES} more")


def _earlier(file: Path, workload: Workload, session: Session) -> Workload:
    for manifest in load_manifests([str(file)]):
        if manifest.object.get("kind") == workload.kind:
            stated = manifest.object.get("metadata", {}).get("namespace")
            earlier = read_workload(manifest.object, namespace=stated or session.namespace, kinds=session.kinds)
            if earlier.resource == workload.resource:
                return earlier
    raise InputError(
        f"{file} holds no {workload.resource}", hint="--against takes an earlier state of the same workload."
    )
