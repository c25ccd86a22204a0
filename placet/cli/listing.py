"""Found records for other programs: JSON lines, CSV that no spreadsheet takes for formulas, Parquet.

CSV is that of RFC 4180. A cell that begins with one of ``= + - @``, a tab or a carriage return gets an apostrophe in
front (OWASP, "CSV Injection"), since spreadsheets would otherwise compute it: names and messages come from outside.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from placet.audit.query import Found
from placet.errors import InputError

# column -> how it is read from a body; the first two are of the leaf
COLUMNS: Final = (
    "index",
    "leaf_hash",
    "time",
    "type",
    "decision",
    "environment",
    "namespace",
    "kind",
    "name",
    "operation",
    "user",
    "model",
    "model_version",
    "risk_score",
    "risk_level",
    "violations",
    "approvals",
    "images",
    "projection",
    "cluster",
    "decision_id",
    "uid",
    "message",
)
_NUMBERS: Final = frozenset({"index", "risk_score"})
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_KEPT: Final = frozenset("\t\r\n")


def render_lines(found: Sequence[Found]) -> str:
    """A JSON object a line: index, leaf hash and the record, as ``-o json`` has them."""
    return "".join(f"{render_line(one)}\n" for one in found)


def render_line(one: Found) -> str:
    """One record as one line, without its end."""
    value = {"index": one.index, "leaf_hash": one.leaf_hash.hex(), "record": one.body}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def render_csv(found: Sequence[Found]) -> str:
    """A head and a row for each record."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for one in found:
        row = flatten(one)
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return text.getvalue()


def render_parquet(found: Sequence[Found]) -> bytes:
    """A Parquet file of the columns of the CSV, numbers as such and text as it is.

    Raises:
        InputError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as exc:
        raise InputError(
            "Parquet needs pyarrow, which is not installed",
            code="parquet_missing",
            hint="Install it with `pip install 'placet[parquet]'`, or use -o csv or -o jsonl.",
        ) from exc
    schema = pa.schema([(name, pa.int64() if name in _NUMBERS else pa.string()) for name in COLUMNS])
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([flatten(one) for one in found], schema=schema), sink)
    return sink.getvalue()


def flatten(one: Found) -> dict[str, Any]:
    """A record as a row under ``COLUMNS``; None where it does not say. Lists are joined by semicolons."""
    body = one.shown
    model, risk = _mapping(body, "model"), _mapping(body, "risk")
    allowed, score = body.get("allowed"), risk.get("score")
    return {
        "index": one.index,
        "leaf_hash": one.leaf_hash.hex(),
        "decision": {True: "allow", False: "deny"}.get(allowed) if isinstance(allowed, bool) else None,
        "model": _text(model, "name"),
        "model_version": _text(model, "version"),
        "risk_score": score if isinstance(score, int) else None,
        "risk_level": _text(risk, "level"),
        "violations": _joined(f"{entry.get('rule')}:{entry.get('code')}" for entry in _mappings(body, "violations")),
        "approvals": _joined(f"{entry.get('role')}={entry.get('person')}" for entry in _mappings(body, "approvals")),
        "images": _joined(item for item in _list(body, "images") if isinstance(item, str)),
        **{name: _text(body, name) for name in _PLAIN},
    }


_PLAIN: Final = (
    "time",
    "type",
    "environment",
    "namespace",
    "kind",
    "name",
    "operation",
    "user",
    "projection",
    "cluster",
    "decision_id",
    "uid",
    "message",
)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    shown = "".join(char if char.isprintable() or char in _KEPT else "\ufffd" for char in text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _joined(parts: Any) -> str | None:
    return ";".join(parts) or None


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None


def _mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    return value if isinstance(value, list) else []


def _mappings(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [entry for entry in _list(body, name) if isinstance(entry, Mapping)]
