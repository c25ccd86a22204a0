"""Where each value of the policy data comes from: the file and line of the operator, of a team, or of what ships."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.errors import EngineError
from placet.kubeyaml import UnreadableError, parse_documents
from placet.policy.authoring.overlay import load_tree_data
from placet.policy.authoring.tree import Tree
from placet.policy.bundle import Bundle, shipped_bundle
from placet.policy.data import OVERLAY, DataFile, PolicyData, default_files, load_policy_data
from placet.settings_file import nearest_line

SHIPPED_PREFIX: Final = "placet:"
Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One file that the data were merged from.

    Attributes:
        name: as a person calls it.
        lines: path -> 1-based line.
    """

    name: str
    value: Any
    lines: Mapping[Path_, int]
    shipped: bool

    def has(self, path: Path_) -> bool:
        """Whether the file says something at the path."""
        value = self.value
        for step in path:
            if not isinstance(value, Mapping) or step not in value:
                return False
            value = value[step]
        return True


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value stands.

    Attributes:
        file: ``placet:defaults/risk.yaml`` for what ships, else the operator's file as it was named.
        line: 1-based.
        shipped: whether it is a default.
    """

    file: str
    line: int
    shipped: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Provenance:
    """The data of one operator's file over what ships, each value with its source."""

    def __init__(self, operator_file: Path | None, policies: Bundle | Tree | None = None) -> None:
        """Read both.

        Args:
            operator_file: over the others; None for none.
            policies: whose data they are merged over, compiled or not yet; those that ship by default.

        Raises:
            EngineError: ``policy_data_invalid``.
        """
        if isinstance(policies, Tree):
            self.data: PolicyData = load_tree_data(policies, operator_file)
            base, own = shipped_bundle(), list(policies.overlay.values())
        else:
            self.data = load_policy_data(operator_file, policies)
            base, own = policies or shipped_bundle(), []
        if operator_file is not None:
            own.append(DataFile(str(operator_file), operator_file.read_bytes()))
        prefix = SHIPPED_PREFIX if base == shipped_bundle() else f"{base.folder}/"
        self._layers = [
            *(
                _layer(f"{prefix}{name}", base.load_file(name), shipped=not name.startswith(OVERLAY))
                for name in default_files(base)
            ),
            *(_layer(one.name, one.raw, shipped=False) for one in own),
        ]

    def source(self, path: Path_) -> Source | None:
        """Where the value at a path was said last; None of what no file says, such as the schema.

        Of a mapping that both say, it is the operator's file, which said a part of it. What stands in a list is where
        the list is: lists are replaced as a whole.
        """
        keys = _keys(path, self.data.value)
        for layer in reversed(self._layers):
            if layer.has(keys):
                return Source(layer.name, nearest_line(layer.lines, path), layer.shipped)
        return None

    def values(self, under: Path_ = ()) -> Iterator[tuple[Path_, Any, Source | None]]:
        """Every scalar and every list below a path, in order.

        Raises:
            EngineError: ``policy_data_unknown``: there is nothing at the path.
        """
        value: Any = self.data.value
        for step in under:
            if not isinstance(value, Mapping) or step not in value:
                where = ".".join(map(str, under))
                raise EngineError(f"the policy data have no {where}", code="policy_data_unknown")
            value = value[step]
        for path, leaf in _leaves(value, under):
            yield path, leaf, self.source(path)


def _layer(name: str, raw: bytes, *, shipped: bool) -> Layer:
    try:
        documents = parse_documents(raw)
    except UnreadableError as exc:
        raise EngineError(f"{name}:{exc.line}: {exc}", code="policy_data_invalid") from exc
    if not documents:
        return Layer(name, {}, {}, shipped)
    return Layer(name, documents[0].value, documents[0].lines, shipped)


def _keys(path: Path_, value: Any) -> Path_:
    """The part of a path that leads through mappings."""
    for at, step in enumerate(path):
        if not isinstance(value, Mapping):
            return path[:at]
        value = value.get(step)
    return path


def _leaves(value: Any, path: Path_) -> Iterator[tuple[Path_, Any]]:
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from _leaves(value[key], (*path, key))
    else:
        yield path, value
