"""Write the golden projections: for each workload of tests/data/workloads its canonical bytes and their digest.

Also the tables of docs/formats-projection.md, which are made from the code.

    python -m tests.golden.projection.build

An approval signs these digests: a change here breaks every approval that was ever given, and needs a new schema mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from placet.manifests import load_manifests
from placet.projection import project
from tests.golden.projection.fields import render_fields
from tests.simulators import kinds

FOLDER: Final = Path(__file__).resolve().parent
DOCUMENT: Final = FOLDER.parents[2] / "docs" / "formats-projection.md"
WORKLOADS: Final = FOLDER.parents[1] / "data" / "workloads"


def golden_files() -> Iterator[tuple[Path, bytes]]:
    """Path and content of every file."""
    digests = []
    for folder, prefix in ((WORKLOADS, ""), (kinds.MANIFESTS, "kinds/")):
        for file in sorted(folder.glob("*.yaml")):
            (manifest,) = load_manifests([str(file)])
            projection = project(manifest.object, kinds=kinds.KINDS)
            yield FOLDER / f"{prefix}{file.stem}.json", projection.canonical
            digests.append(f"{projection.digest.hex}  {prefix}{file.stem}.json\n")
    # As `sha256sum --check` reads it: anyone can hold the digests without placet.
    yield FOLDER / "SHA256SUMS", "".join(digests).encode()
    start, mark, _ = DOCUMENT.read_text(encoding="utf-8").partition("<!-- made: fields -->\n")
    yield DOCUMENT, f"{start}{mark}{render_fields()}<!-- end -->\n".encode()


if __name__ == "__main__":
    for path, content in golden_files():
        path.write_bytes(content)
