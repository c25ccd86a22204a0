"""Workloads of the manifests that a command was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from placet.annotate import set_annotations
from placet.cli.output import say
from placet.errors import InputError
from placet.manifests import Manifest, load_manifests
from placet.model import Workload
from placet.projection import find_kind
from placet.workload import read_workload


@dataclass(frozen=True, slots=True)
class Found:
    """A workload and where it stands."""

    manifest: Manifest
    workload: Workload

    @property
    def place(self) -> str:
        """``deploy.yaml:3``."""
        return f"{self.manifest.file}:{self.manifest.line}"


def load_workloads(filenames: Sequence[str], namespace: str) -> tuple[Found, ...]:
    """Every workload of files, folders or standard input.

    Args:
        filenames: as kubectl takes them.
        namespace: for objects that name none.

    Raises:
        ManifestError, WorkloadError: a manifest or a workload can't be read.
        InputError: there is no workload.
    """
    found = []
    for manifest in load_manifests(filenames):
        if find_kind(manifest.object) is not None:
            metadata = manifest.object.get("metadata")
            stated = metadata.get("namespace") if isinstance(metadata, dict) else None
            found.append(Found(manifest, read_workload(manifest.object, namespace=stated or namespace)))
    if not found:
        raise InputError(f"no workload in {', '.join(filenames)}", hint="Name a Deployment, Pod, Job or the like.")
    return tuple(found)


def write_annotations(manifest: Manifest, annotations: dict[str, str]) -> None:
    """Write annotations into the manifest's file; nothing else in it changes.

    Raises:
        InputError: it is standard input, or can't be written.
    """
    if manifest.file == "-":
        raise InputError(
            "standard input can't be written into", hint="Name the file with -f, or take another form of output."
        )
    path = Path(manifest.file)
    try:
        text = path.read_bytes().decode("utf-8")
        path.write_bytes(set_annotations(text, manifest.index, annotations).encode("utf-8"))
    except OSError as exc:
        raise InputError(f"can't write {path}: {exc.strerror or exc}") from exc
    say(f"written into {manifest.file}:{manifest.line}: {', '.join(sorted(annotations))}")
