"""The tables of docs/formats-projection.md, made from the tables that the code reads with."""

from __future__ import annotations

from collections.abc import Iterator

from placet.projection import KINDS
from placet.projection.shapes import Flag, Integer, Port, Quantity, Record, Records, Scalars, Shape, Text, TextMap


def render_fields() -> str:
    """One row a field, API type by API type, and below it the fields that are not governed."""
    return "\n".join(_render(name, record) for name, record in _records().items())


def _records() -> dict[str, Record]:
    """Heading -> record, in the order in which they are met; the variants of one type stand side by side."""
    found: dict[str, Record] = {}
    for kind in KINDS:
        _visit(kind.record, "", found)
    return found


def _visit(record: Record, field: str, found: dict[str, Record]) -> None:
    title = record.definition.rpartition(".")[2]
    known = {heading: each for heading, each in found.items() if heading.split(" ")[0] == title}
    if any(each is record or each == record for each in known.values()):
        return
    found[f"{title} ({field})" if known else title] = record
    for name, shape in record.governed.items():
        inner = shape.record if isinstance(shape, Records) else shape
        if isinstance(inner, Record):
            _visit(inner, name, found)


def _render(heading: str, record: Record) -> str:
    lines = [f"### {heading}", ""]
    if record.chosen:
        lines += ["Kept when empty: being there says something.", ""]
    lines += ["| field | value | equals absence |", "|---|---|---|"]
    lines += [f"| `{name}` | {_value(shape)} | {_absence(shape)} |" for name, shape in sorted(record.governed.items())]
    if record.ungoverned:
        lines += ["", "Not governed: " + ", ".join(f"`{name}`" for name in sorted(record.ungoverned)) + "."]
    return "\n".join([*lines, ""])


def _value(shape: Shape) -> str:
    if isinstance(shape, Records):
        unique = f", no two of one `{shape.key}`" if shape.unique else ""
        return f"list of {_title(shape.record)}{unique}"
    if isinstance(shape, Record):
        return _title(shape)
    if isinstance(shape, Scalars):
        return f"list of {_value(shape.element)}"
    names: dict[type, str] = {
        Text: "text",
        Flag: "boolean",
        Integer: "integer",
        Port: "integer or text",
        Quantity: "quantity",
        TextMap: "text by key",
    }
    return names[type(shape)]


def _title(record: Record) -> str:
    return record.definition.rpartition(".")[2]


def _absence(shape: Shape) -> str:
    return ", ".join(_absent(shape)) or "nothing"


def _absent(shape: Shape) -> Iterator[str]:
    if isinstance(shape, Text):
        if not shape.keeps_empty:
            yield '`""`'
        if shape.default:
            yield f'`"{shape.default}"`'
    elif isinstance(shape, Flag):
        if shape.default is not None:
            yield f"`{str(shape.default).lower()}`"
    elif isinstance(shape, Integer):
        if shape.default is not None:
            yield f"`{shape.default}`"
    elif isinstance(shape, Port):
        yield from ("`0`", '`""`')
    elif isinstance(shape, Quantity):
        if shape.zero_is_absent:
            yield "zero"
    elif isinstance(shape, Scalars | Records):
        yield "`[]`"
    elif isinstance(shape, TextMap) or (isinstance(shape, Record) and not shape.chosen):
        yield "`{}`"
