"""``placet digest``: what an approval of a workload signs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click

from placet.cli.output import fail, print_result, safe, say, style
from placet.errors import InputError, ManifestError, WorkloadError
from placet.manifests import Manifest, load_manifests, locate
from placet.model import Projection
from placet.projection import find_kind, project, redact
from placet.workload import read_workload

_HINTS: Final = {
    "field_mistyped": "The API server would refuse it too. Text that looks like a number or a boolean needs quotes.",
    "no_containers": "A patch has no digest; build the whole object first (kubectl kustomize, helm template).",
}


@dataclass(frozen=True, slots=True)
class _Digested:
    """One workload and its projection."""

    manifest: Manifest
    projection: Projection

    @property
    def resource(self) -> str:
        name = self._metadata.get("name") or f"{self._metadata.get('generateName', '')}*"
        return f"{self.manifest.object['kind']}/{name}"

    @property
    def namespace(self) -> str:
        return str(self._metadata.get("namespace") or "default")

    @property
    def _metadata(self) -> dict[str, Any]:
        metadata = self.manifest.object.get("metadata")
        return metadata if isinstance(metadata, dict) else {}


@click.command()
@click.option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    required=True,
    metavar="FILE",
    help="A file, a folder or - (repeatable).",
)
@click.option("--explain", is_flag=True, help="Print the projection itself: the canonical JSON whose digest it is.")
@click.option("--show-secrets", is_flag=True, help="With --explain, print values of variables and headers in clear.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
def digest(*, filenames: tuple[str, ...], explain: bool, show_secrets: bool, output: str) -> None:
    r"""Print the projection digest of workloads: what an approval signs.

    The digest covers what runs, with which data and which rights. It is the same for the file, for what the API
    server makes of it, and after a change of replicas, labels or resource sizes or a restart.

    \b
    Examples:
      placet digest -f deploy.yaml
      placet digest -f k8s/ -f job.yaml -o json
      kubectl get deployment llama -o yaml | placet digest -f -
      placet digest -f deploy.yaml --explain

    With --show-secrets the text of --explain is exact: the SHA-256 of the line, without its end, is the digest.
    """
    if show_secrets and not explain:
        fail(InputError("--show-secrets goes with --explain"))
    found = list(_digest_all(filenames))
    if not found:
        fail(
            InputError(
                f"no workload in {', '.join(filenames)}",
                hint="Workloads are Pods, ReplicationControllers, Deployments, StatefulSets, DaemonSets, ReplicaSets, "
                "Jobs and CronJobs.",
            )
        )
    if output != "text":
        print_result([_plain(each, explain=explain, show_secrets=show_secrets) for each in found], output)
        return
    for each in found:
        if explain:
            click.echo(_explained(each.projection, show_secrets=show_secrets))
        else:
            click.echo(f"{each.projection.digest}  {safe(each.resource)} (namespace {safe(each.namespace)})")


def _digest_all(filenames: tuple[str, ...]) -> Iterator[_Digested]:
    for manifest in load_manifests(filenames):
        where = f"{safe(manifest.file)}:{manifest.line}"
        if find_kind(manifest.object) is None:
            kind = f"{manifest.object['apiVersion']} {manifest.object['kind']}"
            say(f"skipped: {where}: {safe(kind)} is no workload that placet digests")
            continue
        try:
            digested = _Digested(manifest, project(manifest.object))
        except WorkloadError as exc:
            raise _located(exc, manifest) from exc
        _warn(manifest)
        yield digested


def _warn(manifest: Manifest) -> None:
    """Say on stderr what the gate would refuse about the workload, whatever its digest."""
    try:
        read_workload(manifest.object)
    except WorkloadError as exc:
        label = style("warning", "yellow", err=True)
        say(f"{label}: {safe(_located(exc, manifest))}; the gate will refuse it")


def _located(error: WorkloadError, manifest: Manifest) -> ManifestError:
    """The error with file and line, from the path that its message starts with."""
    path = str(error).partition(": ")[0]
    line = locate(manifest, path) if " " not in path else manifest.line
    hint = error.hint or _HINTS.get(error.code, "")
    return ManifestError(str(error), file=manifest.file, line=line, code=error.code, hint=hint)


def _explained(projection: Projection, *, show_secrets: bool) -> str:
    if show_secrets:
        return projection.canonical.decode()
    return json.dumps(redact(projection.canonical), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(each: _Digested, *, explain: bool, show_secrets: bool) -> dict[str, Any]:
    manifest = each.manifest
    plain: dict[str, Any] = {
        "file": manifest.file,
        "line": manifest.line,
        "workload": each.resource,
        "namespace": each.namespace,
        "projection": str(each.projection.digest),
    }
    if explain:
        plain["content"] = json.loads(_explained(each.projection, show_secrets=show_secrets))
    return plain
