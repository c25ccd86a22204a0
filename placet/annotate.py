"""Writing annotations into a manifest's text so that everything else stays as its author wrote it, byte for byte.

The YAML is parsed only to find places; the change itself is made in the text. A round trip through any YAML writer
would move indentation, line breaks, quoting or numbers that people and tools care about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from placet.errors import ManifestError

_PLAIN_KEY: Final = re.compile(r"[a-z0-9.]+/[A-Za-z0-9._-]+", re.ASCII)
_INDENT: Final = 2
_NULLS: Final = ("", "~", "null", "Null", "NULL")


def set_annotations(text: str, document_index: int, annotations: Mapping[str, str]) -> str:
    """Set annotations of one object of a manifest.

    Args:
        text: YAML or JSON, one or several documents.
        document_index: which document, from 0, empty ones not counted: the ``index`` of ``placet.manifests``.
        annotations: name -> value. A name that is there gets the new value in its place; others come first.

    Returns:
        The text with these annotations, and not a byte changed beside them.

    Raises:
        ManifestError: the text is no YAML, has no such document, the document is not an object with metadata or is a
            List, or it shares its metadata with another place through a YAML alias.
    """
    before = _load(text)
    filled = [place for place, document in enumerate(before) if document not in _NULLS]
    if not 0 <= document_index < len(filled):
        raise ManifestError(f"there is no document {document_index}; the file has {len(filled)}")
    place = filled[document_index]
    for name, value in annotations.items():
        text = _set_one(text, place, name, value)
    _require_only(before, _load(text), place, annotations)
    return text


def _load(text: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=yaml.BaseLoader))
    except (yaml.YAMLError, RecursionError) as exc:
        raise ManifestError(f"not YAML: {_first_line(exc)}") from exc


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _require_only(before: list[Any], after: list[Any], index: int, annotations: Mapping[str, str]) -> None:
    """Hold the result against what was wanted: a text edit that went wrong is never given out."""
    wanted = before[index]
    present = wanted["metadata"].get("annotations")
    merged = {**(present if isinstance(present, dict) else {}), **annotations}
    expected = dict(wanted, metadata=dict(wanted["metadata"], annotations=merged))
    if after != [*before[:index], expected, *before[index + 1 :]]:
        raise ManifestError(
            "the annotations can't be written into this file without changing more of it",
            hint="Write them by hand, or print a patch with `-o patch`.",
        )


def _set_one(text: str, index: int, name: str, value: str) -> str:
    root = _document(text, index)
    if _find(root, "items") is not None:
        raise ManifestError("the document is a List", hint="Put its objects in documents of their own.")
    metadata = _required(root, "metadata")
    entry = _find(metadata[1], "annotations")
    if entry is None:
        return _add_annotations(text, metadata, name, value)
    key, node = entry
    if not isinstance(node, yaml.MappingNode) or not node.value:
        return _fill_annotations(text, metadata[1], entry, name, value)
    present = _find(node, name)
    if present is not None:
        return _replace(text, present[1], value)
    return _add_entry(text, key, node, _render(name, value, flow=bool(node.flow_style)))


def _document(text: str, index: int) -> yaml.MappingNode:
    nodes: Iterator[Any] = yaml.compose_all(text, Loader=yaml.SafeLoader)
    for number, node in enumerate(nodes):
        if number == index:
            if isinstance(node, yaml.MappingNode):
                return node
            break
    raise ManifestError(f"document {index} is not an object")


_Entry = tuple[yaml.ScalarNode, Any]


def _find(node: yaml.MappingNode, name: str) -> _Entry | None:
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == name:
            # An alias is composed as the node that it points to, which stands before its key.
            if value.start_mark.index < key.end_mark.index:
                raise ManifestError(
                    f"{name} is a YAML alias", hint="Write it out; a change here would change both places."
                )
            return key, value
    return None


def _required(root: yaml.MappingNode, name: str) -> tuple[yaml.ScalarNode, yaml.MappingNode]:
    entry = _find(root, name)
    if entry is None or not isinstance(entry[1], yaml.MappingNode) or not entry[1].value:
        raise ManifestError(f"the document has no {name}")
    return entry


def _render(name: str, value: str, *, flow: bool) -> str:
    # A JSON string is a double-quoted YAML scalar as long as no surrogate pair is escaped.
    key = name if _PLAIN_KEY.fullmatch(name) and not flow else json.dumps(name, ensure_ascii=False)
    return f"{key}: {json.dumps(value, ensure_ascii=False)}"


def _replace(text: str, node: Any, value: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise ManifestError("an annotation's value is not text")
    start: int = node.start_mark.index
    end: int = node.end_mark.index
    written = json.dumps(value, ensure_ascii=False)
    if node.style in {"|", ">"}:
        written += _newline(text)  # a block scalar ends after its line break
    return text[:start] + written + text[end:]


def _add_entry(text: str, key: yaml.ScalarNode, node: yaml.MappingNode, entry: str) -> str:
    """Put an entry before the first one of a mapping that has some."""
    first = node.value[0][0].start_mark
    if node.flow_style:
        start = node.start_mark.index + 1
        gap = text[start : first.index]
        lead, trail = (gap, "") if "\n" in gap else ("", " ")
        return f"{text[:start]}{lead}{entry},{trail}{text[start:]}"
    # On the line after the mapping's own key, so that a comment above the first entry stays with that entry.
    at = _line_after(text, key.end_mark.index)
    indent: int = first.column
    return text[:at] + " " * indent + entry + _newline(text) + text[at:]


def _add_annotations(text: str, metadata: tuple[yaml.ScalarNode, yaml.MappingNode], name: str, value: str) -> str:
    key, node = metadata
    if node.flow_style:
        return _add_entry(text, key, node, f'"annotations": {{{_render(name, value, flow=True)}}}')
    column = node.value[0][0].start_mark.column
    named = _find(node, "name") or _find(node, "generateName")
    anchor = key
    if named is not None and named[1].start_mark.line == named[1].end_mark.line and named[1].style in {None, "'", '"'}:
        anchor = named[1]  # after the name, where people write them
    return _insert_block(text, anchor.end_mark.index, column, name, value)


def _insert_block(text: str, after: int, column: int, name: str, value: str) -> str:
    newline = _newline(text)
    at = _line_after(text, after)
    lead = "" if at == 0 or text[at - 1] == "\n" else newline
    block = f"{' ' * column}annotations:{newline}{' ' * (column + _INDENT)}{_render(name, value, flow=False)}{newline}"
    return text[:at] + lead + block + text[at:]


def _fill_annotations(text: str, metadata: yaml.MappingNode, entry: _Entry, name: str, value: str) -> str:
    """Replace annotations that are null or empty; a comment behind them stays."""
    key, node = entry
    if not (isinstance(node, yaml.MappingNode) or (isinstance(node, yaml.ScalarNode) and node.value in _NULLS)):
        raise ManifestError("the annotations are not a mapping")
    colon = text.index(":", key.end_mark.index) + 1
    if metadata.flow_style:
        written = f" {{{_render(name, value, flow=True)}}}"
    else:
        written = f"{_newline(text)}{' ' * (key.start_mark.column + _INDENT)}{_render(name, value, flow=False)}"
    return text[:colon] + written + text[node.end_mark.index :]


def _line_after(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
