"""A progress bar on stderr, where that is a terminal and the work is long enough for one; nothing elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Final, Self

import click

PATIENCE_S: Final = 0.5


class Progress:
    """Call it with what is done and what there is; the bar comes once the work has taken a moment.

    Example:
        >>> with Progress("leaves") as progress:
        ...     progress(1, 10)
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._began = time.monotonic()
        self._shown = _on_terminal()
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        if not self._shown or (self._bar is None and time.monotonic() - self._began < PATIENCE_S):
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=self._label, file=sys.stderr)
            self._bar.render_progress()
        self._bar.length = max(total, 1)
        self._bar.update(done - self._bar.pos)


def _on_terminal() -> bool:
    return sys.stderr.isatty()
