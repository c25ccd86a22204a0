"""``placet digest``: what an approval of a workload signs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from placet.cli.options import kinds_option, output_option, workload_options
from placet.cli.output import print_result, print_table, safe, say, style
from placet.cli.workloads import Source, load_kinds, located, no_workload, place, plain_place, say_skipped
from placet.errors import InputError, WorkloadError
from placet.manifests import Manifest
from placet.model import Projection
from placet.projection import Kinds, project, redact
from placet.workload import read_workload

SCHEMA: Final = "placet.dev/digest/v1"
_HEAD: Final = ("WORKLOAD", "NAMESPACE", "PLACE", "PROJECTION")


@dataclass(frozen=True, slots=True)
class _Digested:
    """One workload and its projection."""

    manifest: Manifest
    projection: Projection
    default_namespace: str

    @property
    def resource(self) -> str:
        name = self._metadata.get("name") or f"{self._metadata.get('generateName', '')}*"
        return f"{self.manifest.object['kind']}/{name}"

    @property
    def namespace(self) -> str:
        return str(self._metadata.get("namespace") or self.default_namespace)

    @property
    def _metadata(self) -> dict[str, Any]:
        metadata = self.manifest.object.get("metadata")
        return metadata if isinstance(metadata, dict) else {}


@click.command()
@workload_options
@kinds_option
@click.option("--explain", is_flag=True, help="Print the projection itself: the canonical JSON whose digest it is.")
@click.option("--show-secrets", is_flag=True, help="With --explain, print values of variables and headers in clear.")
@output_option("table", "json", "yaml")
def digest(*, config_file: Path | None, explain: bool, show_secrets: bool, output: str, **named: Any) -> None:
    r"""Print the projection digest of workloads: what an approval signs.

    The digest covers what runs, with which data and which rights. It is the same for the file, for what the API
    server makes of it, and after a change of replicas, labels or resource sizes or a restart. Needs no configuration,
    and for files no cluster.

    \b
    Examples:
      placet digest -f deploy.yaml
      placet digest -f k8s/ -f job.yaml -o json
      kubectl get deployment llama -o yaml | placet digest -f -
      placet digest deployment/llama -n ml-serving --context prod-eu-1
      placet digest -f deploy.yaml --explain

    With --show-secrets the text of --explain is exact: the SHA-256 of the line, without its end, is the digest.

    \b
    Environment:
      PLACET_CONFIG  the configuration file
      KUBECONFIG     clusters to ask, as for kubectl

    \b
    See also: placet approve, docs/formats-projection.md
    """
    if show_secrets and not explain:
        raise InputError("--show-secrets goes with --explain")
    source = Source.of(**named, config_file=config_file)
    found = list(_digest_all(source, load_kinds(config_file)))
    if not found:
        raise no_workload(source.names())
    if output == "table":
        print_table(
            _HEAD,
            [(each.resource, each.namespace, place(each.manifest), each.projection.digest) for each in found],
        )
    elif output != "text":
        workloads = [_plain(each, explain=explain, show_secrets=show_secrets) for each in found]
        print_result({"schema": SCHEMA, "workloads": workloads}, output)
    elif explain:
        for each in found:
            click.echo(_explained(each.projection, show_secrets=show_secrets))
    else:
        for each in found:
            click.echo(f"{each.projection.digest}  {safe(each.resource)} (namespace {safe(each.namespace)})")


def _digest_all(source: Source, kinds: Kinds) -> Iterator[_Digested]:
    for manifest in source.load():
        if kinds.find(manifest.object) is None:
            say_skipped(manifest)
            continue
        try:
            digested = _Digested(manifest, project(manifest.object, kinds=kinds), source.namespace)
        except WorkloadError as exc:
            raise located(exc, manifest) from exc
        _warn(manifest, kinds)
        yield digested


def _warn(manifest: Manifest, kinds: Kinds) -> None:
    """Say on stderr what the gate would refuse about the workload, whatever its digest."""
    try:
        read_workload(manifest.object, kinds=kinds)
    except WorkloadError as exc:
        label = style("warning", "yellow", err=True)
        say(f"{label}: {safe(located(exc, manifest))}; the gate will refuse it")


def _explained(projection: Projection, *, show_secrets: bool) -> str:
    if show_secrets:
        return projection.canonical.decode()
    return json.dumps(redact(projection.canonical), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(each: _Digested, *, explain: bool, show_secrets: bool) -> dict[str, Any]:
    manifest = each.manifest
    plain: dict[str, Any] = {
        **plain_place(manifest),
        "workload": each.resource,
        "namespace": each.namespace,
        "projection": str(each.projection.digest),
    }
    if explain:
        plain["content"] = json.loads(_explained(each.projection, show_secrets=show_secrets))
    return plain
