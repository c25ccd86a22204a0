"""A team's own policy data: files beside its rules, merged over what ships and compiled into the same bundle.

``config/<name>.yaml`` says what an operator's file may say, and the parts that are the team's own. Each of those has a
JSON Schema, ``config/schemas/<part>.json``, so that a typo in it is refused as one in the data that ship is.
``config/controls.json`` names what else the team's rules may answer to, beside the frameworks that placet knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import jsonschema_rs

from placet.canonical import Digest, render_canonical
from placet.errors import EngineError, InputError
from placet.kubeyaml import UnreadableError, parse_documents
from placet.policy.bundle import Bundle, Rule, shipped_bundle
from placet.policy.data import DataFile, PolicyData, load_policy_data, merge_data_files, parse_yaml
from placet.settings_file import nearest_line

if TYPE_CHECKING:
    from placet.policy.authoring.tree import Tree

CONFIG_FOLDER: Final = "config"
_SCHEMAS: Final = "schemas"
_DATA_NAME: Final = re.compile(r"[a-z0-9_][a-z0-9_-]{0,90}\.yaml", re.ASCII)
_PART_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_STAMPS: Final = frozenset({"digest", "expected_rules", "effective_time_s"})
# What refers to something elsewhere: a part is put into a schema where that is not.
_REFERENCES: Final = frozenset({"$ref", "$id", "$schema", "$defs", "$anchor", "$dynamicRef", "$dynamicAnchor"})
_CONTROLS: Final = "controls.json"
_SHAPE: Final = (
    "A team's data is config/NAME.yaml, config/schemas/PART.json for a part of its own, config/controls.json."
)


@dataclass(frozen=True, slots=True)
class OverlayData:
    """What lies in the ``config`` folders of overlays: name -> file, sorted.

    Attributes:
        data: policy data.
        parts: part of the data -> its JSON Schema.
        controls: identifiers that rules may name.
    """

    data: Mapping[str, DataFile]
    parts: Mapping[str, DataFile]
    controls: Mapping[str, DataFile]


@dataclass(frozen=True, slots=True)
class Draft(Bundle):
    """A bundle that is not compiled yet: its data, its schemas and which rules there are.

    Attributes:
        contents: name -> bytes of each of its files.
    """

    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def load_file(self, name: str) -> bytes:
        """Bytes of a file.

        Raises:
            EngineError: ``bundle_invalid``: there is none of that name.
        """
        if name not in self.contents:
            raise EngineError(f"policies that are not compiled have no {name}", code="bundle_invalid")
        return self.contents[name]


def read_overlay_data(roots: Sequence[Path]) -> OverlayData:
    """The files in the ``config`` folders of overlays.

    Raises:
        EngineError: ``policy_data_invalid``: something else lies there, or two are of one name.
        InputError: ``policies_unreadable``.
    """
    data: dict[str, DataFile] = {}
    parts: dict[str, DataFile] = {}
    controls: dict[str, DataFile] = {}
    for root in roots:
        folder = root / CONFIG_FOLDER
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            inner = path.relative_to(folder)
            if any(part.startswith(".") for part in inner.parts):
                continue
            into, name = (parts, path.stem) if inner.parts[0] == _SCHEMAS else (data, path.name)
            if inner.parts == (_CONTROLS,):
                into, name = controls, path.as_posix()
            elif not _is_placed(inner):
                _refuse(f"{path.as_posix()}:1", f"is no file of policy data. {_SHAPE}")
            if name in into:
                _refuse(f"{path.as_posix()}:1", f"{into[name].name} has this name already: take another")
            into[name] = DataFile(path.as_posix(), _read(path))
    return OverlayData(dict(sorted(data.items())), dict(sorted(parts.items())), controls)


def _is_placed(inner: Path) -> bool:
    match inner.parts:
        case (name,):
            return _DATA_NAME.fullmatch(name) is not None
        case (folder, _):
            return folder == _SCHEMAS and inner.suffix == ".json" and _PART_NAME.fullmatch(inner.stem) is not None
        case _:
            return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path}: can't be read: {exc.strerror or exc}", code="policies_unreadable") from exc


def with_data(tree: Tree, found: OverlayData) -> Tree:
    """An overlay with its data, merged and checked.

    Raises:
        EngineError: ``policy_data_invalid``, with file and line.
    """
    for file in found.controls.values():
        known = {**json.loads(tree.controls or b"{}"), **_read_controls(file)}
        tree = replace(tree, controls=(json.dumps(known, indent=2, ensure_ascii=False) + "\n").encode())
    if not found.data and not found.parts:
        return tree
    _require_agreement(found.data.values())
    schemas = {**tree.schemas, "data": _extend(tree.schemas["data"], found.parts)}
    whole = replace(tree, overlay=found.data, schemas=schemas)
    merged = load_tree_data(whole, None).value
    return replace(whole, defaults=render_canonical({key: one for key, one in merged.items() if key != "schema"}))


def load_tree_data(tree: Tree, operator_file: Path | None) -> PolicyData:
    """The policy data of a tree, with an operator's file over them; the rules of the tree are known in both.

    Raises:
        EngineError: ``policy_data_invalid``, with file and line.
    """
    if tree.whole:
        return load_policy_data(operator_file)
    files = list(tree.overlay.values())
    if operator_file is not None:
        try:
            files.append(DataFile(str(operator_file), operator_file.read_bytes()))
        except OSError as exc:
            _refuse(str(operator_file), f"can't be read: {exc.strerror or exc}", exc)
    return merge_data_files(files or [DataFile("the shipped policy data", b"")], draft(tree))


def draft(tree: Tree) -> Draft:
    """What an overlay's bundle will be, as far as policy data are concerned; its own data are not in it."""
    shipped = shipped_bundle()
    contents = {name.removeprefix("admission/config/"): raw for name, raw in tree.config.items()}
    contents |= {f"schemas/{name}.json": raw for name, raw in tree.schemas.items()}
    own = (Rule(name, name, name, "", "", (), name in source.asks) for name, source in sorted(tree.rules.items()))
    return Draft(
        folder=tree.root,
        revision=shipped.revision,
        compiler=shipped.compiler,
        entry_point=shipped.entry_point,
        files={name: Digest.of(raw) for name, raw in contents.items()},
        rules=(*shipped.rules, *own),
        guard=shipped.guard,
        contents=contents,
    )


# --- two files, one key --------------------------------------------------------------------------------------------


def _require_agreement(files: Iterable[DataFile]) -> None:
    """One file of a team's does not silently take back what another one says: a list, for one, is replaced as a whole.

    Raises:
        EngineError: ``policy_data_invalid``.
    """
    said: dict[tuple[str, ...], tuple[Any, str]] = {}
    for file in files:
        value = parse_yaml(file.raw, name=file.name)
        if value is not None and not isinstance(value, dict):
            _refuse(f"{file.name}:1", "is no mapping of keys to values")
        for path, leaf in _leaves(value or {}):
            where = f"{file.name}:{_line(file, path)}"
            other, place = said.setdefault(path, (leaf, where))
            if other != leaf or type(other) is not type(leaf):
                _refuse(where, f"{'.'.join(path)} is said in {place} too, and otherwise")


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _leaves(one, (*path, str(key)))
    else:
        yield path, value


def _line(file: DataFile, path: tuple[str, ...]) -> int:
    # Of JSON the reader keeps no lines; behind a line of YAML it is YAML.
    head = b"---\n" if file.raw.lstrip().startswith(b"{") else b""
    try:
        (document,) = parse_documents(head + file.raw)
    except (UnreadableError, ValueError):
        return 1
    return max(nearest_line(document.lines, path) - len(head.splitlines()), 1)


# --- parts of one's own --------------------------------------------------------------------------------------------


def _extend(raw: bytes, parts: Mapping[str, DataFile]) -> bytes:
    """The schema of policy data with a team's parts: all of each in the data, some of it in an operator's file."""
    if not parts:
        return raw
    schema: dict[str, Any] = json.loads(raw)
    operator = schema["$defs"]["operator"]["properties"]
    for name, file in parts.items():
        if name in schema["properties"] or name in _STAMPS:
            _refuse(f"{file.name}:1", f"{name} is a part of the data that ship: take another name")
        part = _read_part(file)
        schema["properties"][name] = part
        schema["required"] = [*schema["required"], name]
        operator[name] = _optional(part)
    return (json.dumps(schema, indent=2, ensure_ascii=False) + "\n").encode()


def _read_json(file: DataFile) -> Any:
    try:
        return json.loads(file.raw)
    except json.JSONDecodeError as exc:
        _refuse(f"{file.name}:{exc.lineno}", f"is no JSON: {exc.msg}", exc)
    except (UnicodeDecodeError, RecursionError) as exc:
        _refuse(f"{file.name}:1", f"is no JSON: {type(exc).__name__}", exc)


def _read_controls(file: DataFile) -> dict[str, str]:
    """Identifier -> title, of what a team's rules may answer to."""
    given = _read_json(file)
    if not isinstance(given, dict):
        _refuse(f"{file.name}:1", "is no mapping of identifiers to titles")
    for name, title in given.items():
        if not (isinstance(title, str) and title.strip() and name.strip()):
            _refuse(f"{file.name}:{_line(file, (name,))}", f"{name!r} has no title")
    return given


def _read_part(file: DataFile) -> dict[str, Any]:
    part = _read_json(file)
    if not isinstance(part, dict) or part.get("type") != "object" or part.get("additionalProperties") is not False:
        closed = '"type": "object", "additionalProperties": false'
        _refuse(f"{file.name}:1", f"a part is an object without other keys: {closed}")
    if not isinstance(part.get("description"), str) or not part["description"].strip():
        _refuse(f"{file.name}:1", 'the part has no "description" for whoever sets it')
    for path in _references(part):
        _refuse(f"{file.name}:{_line(file, path)}", f"{path[-1]} is not taken here: write out what it stands for")
    try:
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **part})
        jsonschema_rs.validator_for(part, offline=True)
    except (jsonschema_rs.ValidationError, ValueError) as exc:
        steps = tuple(str(step) for step in getattr(exc, "instance_path", ()))
        message = str(exc).partition("\n")[0][:200]
        _refuse(f"{file.name}:{_line(file, steps)}", f"is no JSON Schema: {message}", exc)
    return part


def _references(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key in _REFERENCES:
                yield (*path, key)
            yield from _references(one, (*path, key))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _references(one, (*path, str(at)))


def _optional(schema: Any) -> Any:
    """The same schema where nothing has to be said: an operator's file changes some of what a part has."""
    if isinstance(schema, dict):
        return {key: _optional(one) for key, one in schema.items() if not (key == "required" and isinstance(one, list))}
    return [_optional(one) for one in schema] if isinstance(schema, list) else schema


def _refuse(where: str, fault: str, cause: BaseException | None = None) -> NoReturn:
    raise EngineError(
        f"{where}: {fault}", code="policy_data_invalid", hint="docs/policy-authors.md tells how."
    ) from cause
