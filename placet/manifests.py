"""Manifests from files, folders and standard input, as kubectl finds and reads them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from placet.errors import ManifestError
from placet.kubeyaml import Document, UnreadableError, parse_documents

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
MAX_LIST_DEPTH: Final = 4
_ENDINGS: Final = frozenset({".json", ".yaml", ".yml"})
_STEP: Final = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file.

    Attributes:
        file: path as given, or ``-``.
        line: 1-based line at which the object starts.
        object: parsed JSON, with ``apiVersion`` and ``kind``.
        index: which document of the file it is, from 0; objects of one list share it.
        root: where the object stands in its document, () at its top.
        lines: path in the document -> 1-based line, as far as it is known.
    """

    file: str
    line: int
    object: dict[str, Any] = field(repr=False)
    index: int
    root: _Steps = field(default=(), repr=False, compare=False)
    lines: Mapping[_Steps, int] = field(default_factory=dict, repr=False, compare=False)


def load_manifests(paths: Sequence[str]) -> list[Manifest]:
    """Read every object in the files, in the order given.

    Args:
        paths: files, folders (their ``.yaml``, ``.yml`` and ``.json`` files by name, no folders within), or ``-`` for
            standard input. Objects within a list, and the object within an AdmissionReview, are taken out.

    Raises:
        ManifestError: a file that is missing, too large or not what kubectl would take, with file and line; or no
            object in any of them.
    """
    manifests = [manifest for path in paths for manifest in _load(path)]
    if not manifests:
        raise ManifestError(
            "no objects in " + ", ".join(paths), hint="Name a file or folder with Kubernetes manifests."
        )
    return manifests


def locate(manifest: Manifest, path: str) -> int:
    """The line of a path such as ``spec.template.spec.containers[server].image``, or of what is nearest above it.

    Names in brackets are names of list elements, or keys.
    """
    line, steps, current = manifest.line, manifest.root, cast("Any", manifest.object)
    for match in _STEP.finditer(path):
        step = _step(current, match[1] if match[1] is not None else match[2])
        if step is None:
            break
        current = current[step]
        steps = (*steps, step)
        line = manifest.lines.get(steps, line)
    return line


def _step(current: Any, text: str) -> Any:
    if isinstance(current, dict):
        return text if text in current else None
    if not isinstance(current, list):
        return None
    named = (index for index, item in enumerate(current) if isinstance(item, dict) and item.get("name") == text)
    index = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004
    index = next(named, index)
    return index if index is not None and index < len(current) else None


def _load(path: str) -> Iterator[Manifest]:
    if path == "-":
        yield from parse_manifests(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), file="-")
        return
    place = Path(path)
    try:
        if place.is_dir():
            for file in sorted(each for each in place.iterdir() if each.suffix in _ENDINGS and each.is_file()):
                yield from parse_manifests(_read(file), file=str(file))
            return
        raw = _read(place)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else "not a path"
        hint = "Download it first; placet opens no connections for manifests." if "://" in path else ""
        raise ManifestError(why, file=path, hint=hint) from exc
    yield from parse_manifests(raw, file=path)


def _read(place: Path) -> bytes:
    with place.open("rb") as stream:
        return stream.read(MAX_FILE_BYTES + 1)


def parse_manifests(raw: bytes, *, file: str) -> list[Manifest]:
    """Read the objects in the bytes of one file.

    Raises:
        ManifestError: as ``load_manifests`` does; a file without objects is no error here.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise ManifestError(f"more than {MAX_FILE_BYTES} bytes", file=file)
    try:
        documents = parse_documents(raw)
    except UnreadableError as exc:
        raise ManifestError(
            str(exc), file=file, line=exc.line, hint="The file has to be YAML or JSON as kubectl reads it."
        ) from exc
    return [
        manifest
        for index, document in enumerate(documents)
        for manifest in _unpack(document.value, document, (), file=file, index=index)
    ]


def _unpack(
    value: Any, document: Document, steps: _Steps, *, file: str, index: int, depth: int = 0
) -> Iterator[Manifest]:
    """The object, or the objects in the list that it is."""
    line = document.lines.get(steps, document.line)
    if not isinstance(value, dict):
        raise ManifestError("a Kubernetes object starts with apiVersion and kind", file=file, line=line)
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise ManifestError(f"the object has no {name}", file=file, line=line)
    if value["kind"] == "AdmissionReview":
        inner, steps = _reviewed(value, file=file, line=line), (*steps, "request", "object")
        yield from _unpack(inner, document, steps, file=file, index=index, depth=depth + 1)
    elif value["kind"].endswith("List") and isinstance(value.get("items"), list):
        if depth >= MAX_LIST_DEPTH:
            raise ManifestError("lists within lists", file=file, line=line)
        for position, item in enumerate(value["items"]):
            yield from _unpack(
                _typed(item, value), document, (*steps, "items", position), file=file, index=index, depth=depth + 1
            )
    else:
        yield Manifest(file=file, line=line, object=value, index=index, root=steps, lines=document.lines)


def _reviewed(review: Mapping[str, Any], *, file: str, line: int) -> Any:
    request = review.get("request")
    if not isinstance(request, dict) or request.get("object") is None:
        raise ManifestError("the AdmissionReview holds no object (a DELETE, or a response)", file=file, line=line)
    return request["object"]


def _typed(item: Any, parent: Mapping[str, Any]) -> Any:
    """An item of a list of one kind, such as DeploymentList, which need not repeat it."""
    if isinstance(item, dict) and parent["kind"] != "List" and "kind" not in item and "apiVersion" not in item:
        return {"apiVersion": parent["apiVersion"], "kind": parent["kind"].removesuffix("List"), **item}
    return item
