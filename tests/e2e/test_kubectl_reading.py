"""Our reading of YAML is kubectl's own: the same files through both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from placet.errors import ManifestError
from placet.manifests import load_manifests, parse_manifests
from tests.e2e.controlplane import ControlPlane

DATA = Path(__file__).resolve().parents[1] / "data"
FILES = [DATA / "scalars.yaml", *sorted((DATA / "workloads").glob("*.yaml"))]
HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
REFUSED_BY_BOTH = [
    "v: [1\n",
    "v: *nowhere\n",
    "v: &x [*x]\n",
    "v: .nan\n",
    "~: 1\n",
    "? [a]\n: 1\n",
    "v: {<<: 1}\n",
    "--- v: 1\n",
    "v: !!int x\n",
    "\tv: 1\n",
    "v: \x07\n",
]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


def kubectl(plane: ControlPlane, text: str) -> dict[str, Any] | None:
    """What kubectl makes of a file, sending nothing; None where it refuses."""
    ran = plane.kubectl(
        "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", stdin=text, check=False
    )
    if ran.returncode != 0:
        return None
    found: dict[str, Any] = json.loads(ran.stdout)
    # Where the file says nothing, kubectl adds the namespace that it would send the object to.
    found["metadata"].pop("namespace", None)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_is_read_as_kubectl_reads_it(file: Path, plane: ControlPlane) -> None:
    (manifest,) = load_manifests([str(file)])
    # By their text, so that 1, 1.0 and true are three things.
    ours = json.dumps(manifest.object, sort_keys=True, indent=1)
    assert ours == json.dumps(kubectl(plane, file.read_text(encoding="utf-8")), sort_keys=True, indent=1)


@pytest.mark.parametrize("text", REFUSED_BY_BOTH)
def test_what_kubectl_refuses_is_refused(text: str, plane: ControlPlane) -> None:
    assert kubectl(plane, HEAD + text) is None
    with pytest.raises(ManifestError):
        parse_manifests((HEAD + text).encode(), file="-")
