"""Workloads that a command was given: in manifests, or live in a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from placet.cli.live import FALLBACK_NAMESPACE, LiveCluster, Target, parse_target
from placet.cli.output import safe, say
from placet.errors import InputError, ManifestError, WorkloadError
from placet.manifests import Manifest, load_manifests, locate
from placet.model import Workload
from placet.projection import Kinds
from placet.workload import read_workload

if TYPE_CHECKING:
    from placet.policy.data import PolicyData

DEFAULT_CONFIG: Final = Path("placet.yaml")
NO_WORKLOAD: Final = (
    "placet judges Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, Jobs, CronJobs "
    "and the custom resources that the `kinds` of the policy data describe."
)
_HINTS: Final = {
    "field_mistyped": "The API server would refuse it too. Text that looks like a number or a boolean needs quotes.",
    "no_containers": "A patch has no digest; build the whole object first (kubectl kustomize, helm template).",
}


def place(manifest: Manifest) -> str:
    """Where an object was found: ``deploy.yaml:3``, or ``live``."""
    return f"{manifest.file}:{manifest.line}" if manifest.file else "live"


def plain_place(manifest: Manifest) -> dict[str, str | int | None]:
    """The same for machines; both are null for a live object."""
    return {"file": manifest.file or None, "line": manifest.line or None}


@dataclass(frozen=True, slots=True)
class Found:
    """A workload and where it stands."""

    manifest: Manifest
    workload: Workload

    @property
    def place(self) -> str:
        """``deploy.yaml:3``, or ``live``."""
        return place(self.manifest)


@dataclass(frozen=True, slots=True)
class Source:
    """What a person named: files, or live objects of a cluster.

    Attributes:
        filenames: as kubectl takes them.
        targets: live objects; files and targets are never both given.
        cluster: the one to ask; None when no cluster is meant.
        namespace: of objects that name none.
    """

    filenames: tuple[str, ...]
    targets: tuple[Target, ...]
    cluster: LiveCluster | None
    namespace: str

    @classmethod
    def of(
        cls,
        *,
        filenames: Sequence[str],
        targets: Sequence[str],
        namespace: str | None,
        kubeconfig: Path | None,
        context: str,
        config_file: Path | None = None,
    ) -> Source:
        """Read what the options say; kinds of targets that are not built in are those of the configuration.

        Raises:
            click.UsageError: neither files nor targets, or both.
            InputError: a target or the kubeconfig can't be used.
        """
        if bool(filenames) == bool(targets):
            raise click.UsageError(
                "Name files with -f, or live objects as KIND/NAME, not both."
                if filenames
                else "Name files with -f, or live objects of a cluster as KIND/NAME."
            )
        named = tuple(parse_target(text, lambda: load_kinds(config_file)) for text in targets)
        cluster = LiveCluster(kubeconfig, context) if named or kubeconfig is not None or context else None
        found = namespace or (cluster.namespace() if cluster is not None else FALLBACK_NAMESPACE)
        return cls(tuple(filenames), named, cluster, found)

    def load(self) -> list[Manifest]:
        """Every object, in the order given.

        Raises:
            InputError: one can't be read.
        """
        if self.cluster is not None and self.targets:
            return [self.cluster.load(target, self.namespace) for target in self.targets]
        return load_manifests(self.filenames)

    def environment(self, given: str | None) -> str:
        """The environment that was given, or what the label of a live object's namespace says.

        Raises:
            InputError: neither.
        """
        if given:
            return given
        if self.cluster is None or not self.targets:
            raise InputError("where it is going is not said", hint="Name the environment: -e production.")
        return self.cluster.environment(self.namespace)

    def names(self) -> str:
        """What was named, for a message."""
        return ", ".join([*self.filenames, *(target.resource for target in self.targets)])


def load_kinds(config_file: Path | None) -> Kinds:
    """The kinds that a gate's policy data describe, so that a digest is the one that the gate computes.

    Args:
        config_file: as of :func:`load_gate_data`.

    Raises:
        PlacetError: the configuration or its policy data can't be used.
    """
    return load_gate_data(config_file).kinds


def load_gate_data(config_file: Path | None) -> PolicyData:
    """A gate's policy data.

    Args:
        config_file: the gate's configuration. None for placet.yaml where it is there, else for the data that ships.

    Raises:
        PlacetError: the configuration or its policy data can't be used.
    """
    from placet.assemble import load_policies
    from placet.cli import clock
    from placet.config import load_config
    from placet.policy.data import load_policy_data

    if config_file is None and DEFAULT_CONFIG.is_file():
        config_file = DEFAULT_CONFIG
    if config_file is None:
        return load_policy_data(None)
    return load_policies(load_config(config_file), now=clock.now_utc())[0]


def existing_config(trusted: Mapping[str, Any]) -> Path | None:
    """The configuration that the options of trust name, where it is there: by name they can do without."""
    file = trusted.get("config_file")
    return file if isinstance(file, Path) and file.is_file() else None


def load_workloads(source: Source, kinds: Kinds) -> tuple[Found, ...]:
    """Every workload of files, folders, standard input or a cluster.

    Raises:
        ManifestError: a manifest or a workload can't be read, with file and line.
        InputError: there is no workload.
    """
    found = tuple(_read(source, kinds))
    if not found:
        raise no_workload(source.names())
    return found


def no_workload(where: str) -> InputError:
    """What to raise when nothing that was named is a workload."""
    return InputError(f"no workload in {where}", hint=NO_WORKLOAD)


def _read(source: Source, kinds: Kinds) -> Iterator[Found]:
    for manifest in source.load():
        if kinds.find(manifest.object) is None:
            continue
        metadata = manifest.object.get("metadata")
        stated = metadata.get("namespace") if isinstance(metadata, dict) else None
        try:
            workload = read_workload(manifest.object, namespace=stated or source.namespace, kinds=kinds)
        except WorkloadError as exc:
            raise located(exc, manifest) from exc
        yield Found(manifest, workload)


def located(error: WorkloadError, manifest: Manifest) -> ManifestError:
    """The error with file and line, from the path that its message starts with."""
    path = str(error).partition(": ")[0]
    line = locate(manifest, path) if " " not in path else manifest.line
    hint = error.hint or _HINTS.get(error.code, "")
    return ManifestError(str(error), file=manifest.file, line=line, code=error.code, hint=hint)


def say_skipped(manifest: Manifest) -> None:
    """Say on stderr that an object is no workload."""
    kind = f"{manifest.object['apiVersion']} {manifest.object['kind']}"
    say(f"skipped: {safe(place(manifest))}: {safe(kind)} is no workload that placet digests")


def write_annotations(manifest: Manifest, annotations: dict[str, str]) -> None:
    """Write annotations into the manifest's file; nothing else in it changes.

    Raises:
        InputError: it is standard input or a live object, or can't be written.
    """
    from placet.annotate import set_annotations

    if manifest.file in {"", "-"}:
        what = "standard input" if manifest.file else "a live object"
        raise InputError(f"{what} can't be written into", hint="Name the file with -f, or take another form of output.")
    path = Path(manifest.file)
    try:
        text = path.read_bytes().decode("utf-8")
        path.write_bytes(set_annotations(text, manifest.index, annotations).encode("utf-8"))
    except OSError as exc:
        raise InputError(f"can't write {path}: {exc.strerror or exc}") from exc
    say(f"written into {safe(manifest.file)}:{manifest.line}: {', '.join(sorted(annotations))}")
