"""Tables for terminals: columns aligned by the cells that characters take, cut to the terminal where it is one."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from placet.cli.output import safe, style

GAP: Final = "  "
_NARROWEST: Final = 40
_WIDE: Final = frozenset({"W", "F"})
_NO_WIDTH: Final = frozenset({"Mn", "Me"})
_CUT: Final = "\u2026"
_COLOURS: Final = {
    **dict.fromkeys(("allow", "verified", "fine", "admitted"), "green"),
    **dict.fromkeys(("deny", "rejected", "problem", "refused", "hole"), "red"),
    **dict.fromkeys(("warning", "none", "risk"), "yellow"),
}


def display_width(text: str) -> int:
    """Cells that a terminal gives the text: two for wide East Asian characters, none for combining marks."""
    return sum(
        0 if unicodedata.category(char) in _NO_WIDTH else 2 if unicodedata.east_asian_width(char) in _WIDE else 1
        for char in text
    )


def clip_width(text: str, cells: int) -> str:
    """The text in at most so many cells, the cut shown."""
    if display_width(text) <= cells:
        return text
    kept, left = "", cells - 1
    for char in text:
        left -= display_width(char)
        if left < 0:
            break
        kept += char
    return kept + _CUT


def terminal_width() -> int | None:
    """Columns of the terminal on stdout; None where it is none, and nothing is to be cut."""
    if not sys.stdout.isatty():
        return None
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def table_lines(head: Sequence[str], rows: Sequence[Sequence[object]], *, width: int | None = None) -> Iterator[str]:
    """Lines of a table, the head first; nothing for no rows.

    Args:
        head: titles, in capitals.
        rows: texts from anywhere: what could drive a terminal is neutralised here. An empty one is shown as ``-``.
        width: cells of a line; None for as many as it takes.
    """
    if not rows:
        return
    cells = [list(head), *([safe(cell) or "-" for cell in row] for row in rows)]
    widths = [max(display_width(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        # Coloured only after it is padded: the codes take no cells.
        padded = [cell + " " * (wide - display_width(cell)) for cell, wide in zip(row, widths, strict=True)]
        line = GAP.join(padded).rstrip()
        if width is not None and display_width(line) > width:
            yield clip_width(line, width)
        else:
            yield GAP.join(
                style(text, _COLOURS[cell]) if cell in _COLOURS else text
                for cell, text in zip(row, padded, strict=True)
            ).rstrip()
