"""How much of a record is verified, and what verifying at each depth does not look at."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from placet.audit.terms import Gathered

_COLLECT_AFTER: Final = 100_000  # objects; a stretch of leaves is some ten thousand, and none of them is in a cycle


class Depth(Enum):
    """The least first; each looks at what those before it look at."""

    LEAVES = "leaves"
    RECORDS = "records"
    ALL = "all"

    @property
    def note(self) -> str:
        """What is not looked at, a sentence; "" where that is nothing."""
        return _NOTES.get(self, "")


_NOTES: Final = {
    Depth.LEAVES: "only leaves and checkpoints were verified: not what stands beside leaves (search columns, "
    "attachments, what records are found by), nor the form of what they say",
    Depth.RECORDS: "what records are found by was not verified: a search may miss some",
}


class NoIndex:
    """Stands in for ``IndexCheck`` where what records are found by is not verified."""

    is_open: Final = False

    def add_gathered(self, parts: Iterable[Gathered]) -> None:
        """Not looked at."""

    def add(self, columns: Any, body: Mapping[str, Any] | None) -> None:
        """Not looked at."""

    def finish(self) -> None:
        """Nothing was looked at."""


@contextlib.contextmanager
def fewer_collections() -> Iterator[None]:
    """Let Python look for cycles less often meanwhile: a tenth of verifying went into looking, and there are none."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _COLLECT_AFTER) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
