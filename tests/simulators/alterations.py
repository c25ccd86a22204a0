"""Ways to change what stands in a file or a table by one thing, for every store and format of the record.

>>> [one.name for one in alter_bytes(b"ab")][:2]
['a byte at 0 is changed', 'a byte at 1 is changed']
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.log import render_time
from placet.audit.record import render_leaf
from placet.audit.stores.reader import COLUMNS
from placet.errors import PlacetError
from tests.simulators.tampering import ATTACKS, SIZE, START, Attack, insert_at, put_leaf

TRIED: Final[Counter[str]] = Counter()
"""Changes that were tried, and honest logs that were looked at, by store or format; ``make attack`` prints them."""
JSON_CODES: Final = {"not_json", "not_utf8", "duplicate_key", "too_deep", "float_refused"}
NOTE_CODES: Final = {"note_invalid", "checkpoint_malformed", "checkpoint_invalid", "too_large", "not_utf8"}
_OTHER: Final = {"allowed": 0, "approved": 0, "leaf_type": "heartbeat", "violations": "|odd|"}
_EDGE_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Altered:
    """A file that differs from an honest one by one thing."""

    name: str
    raw: bytes


def alter_bytes(raw: bytes, *, step: int = 1) -> Iterator[Altered]:
    """Every ``step``-th byte another one; cut short, longer, doubled, emptied; two halves exchanged."""
    for place in range(0, len(raw), step):
        yield Altered(f"a byte at {place} is changed", raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    for cut in {1, _EDGE_BYTES, len(raw) // 2}:
        yield Altered(f"{cut} bytes are cut off", raw[:-cut])
        yield Altered(f"{cut} bytes are cut off the front", raw[cut:])
    yield Altered("a byte is put in", raw[: len(raw) // 2] + b"0" + raw[len(raw) // 2 :])
    yield Altered("a byte is added", raw + b"0")
    yield Altered("it is there twice", raw + raw)
    yield Altered("its halves are exchanged", raw[len(raw) // 2 :] + raw[: len(raw) // 2])
    yield Altered("it is emptied", b"")


def alter_lines(raw: bytes) -> Iterator[Altered]:
    """Every line gone, doubled, and exchanged with the next."""
    lines = raw.splitlines(keepends=True)
    for place, line in enumerate(lines):
        yield Altered(f"line {place} is gone", b"".join([*lines[:place], *lines[place + 1 :]]))
        yield Altered(f"line {place} is there twice", b"".join([*lines[:place], line, *lines[place:]]))
        if place + 1 < len(lines) and lines[place + 1] != line:
            moved = [*lines[:place], lines[place + 1], line, *lines[place + 2 :]]
            yield Altered(f"lines {place} and {place + 1} are exchanged", b"".join(moved))


def alter_json(raw: bytes, other: bytes) -> Iterator[Altered]:
    """Every member gone, twice, null, of another type, one more, and that of another file of the same form."""
    document: dict[str, Any] = json.loads(raw)
    foreign: dict[str, Any] = json.loads(other)
    for name, value in document.items():
        rest = {key: item for key, item in document.items() if key != name}
        yield Altered(f"{name} is gone", json.dumps(rest).encode())
        yield Altered(f"{name} is null", json.dumps(document | {name: None}).encode())
        yield Altered(f"{name} is of another type", json.dumps(document | {name: [value]}).encode())
        twice = json.dumps(document)[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}"
        yield Altered(f"{name} is there twice", twice.encode())
        if foreign[name] != value:
            yield Altered(f"{name} is that of another", json.dumps(document | {name: foreign[name]}).encode())
    yield Altered("a member is put in", json.dumps(document | {"note": ""}).encode())


def refused(act: Callable[[], object], name: str, *codes: str) -> None:
    """It raises one of our errors with one of these codes, or the test fails by the name of what was not found."""
    try:
        act()
    except PlacetError as exc:
        assert exc.code in codes, (name, exc.code, str(exc))
    else:
        raise AssertionError(f"not found: {name}")


def _set_column(name: str) -> Callable[[sqlite3.Connection], object]:
    value = _OTHER.get(name, "changed")
    statement = f"UPDATE leaves SET {name} = ? WHERE idx = 6"  # noqa: S608 - our own names
    return lambda database: database.execute(statement, (value,))


def _twin(index: int) -> Callable[[sqlite3.Connection], object]:
    """The third leaf, a heartbeat, stands in a second place too, byte for byte."""

    def put(database: sqlite3.Connection) -> None:
        (raw,) = database.execute("SELECT leaf FROM leaves WHERE idx = 2").fetchone()
        insert_at(database, index, json.loads(bytes(raw).partition(b"\n")[2]))

    return put


def _from_another_log(database: sqlite3.Connection) -> None:
    put_leaf(database, 2, render_leaf(HEARTBEAT).raw)


HEARTBEAT: Final = {
    "schema": "placet.dev/record/v1",
    "type": "heartbeat",
    "time": render_time(START),
    "interval_s": 601,
}
COLUMN_ATTACKS: Final = tuple(
    Attack(f"{name} of a leaf is changed", _set_column(name), "column_changed", 6, in_log=False) for name in COLUMNS
)
MORE_ATTACKS: Final = (
    *COLUMN_ATTACKS,
    Attack(
        "the last leaf has another number",
        lambda database: database.execute("UPDATE leaves SET idx = 1000 WHERE idx = ?", (SIZE - 1,)),
        "missing",
        SIZE - 1,
    ),
    Attack("a leaf is there twice, at the end", _twin(SIZE), "inserted", SIZE),
    Attack("a leaf is there twice, in the middle", _twin(9), "inserted", 9),
    Attack("a leaf is that of another log", _from_another_log, "leaf_changed", 2),
)
EVERY_ATTACK: Final = (*ATTACKS, *MORE_ATTACKS)
