"""What of a process's time it was on a core, and what it waited for one that others had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spent:
    """Time of the first thread of a process, since it began.

    Attributes:
        cpu_ms: on a core.
        waited_ms: ready to go on, with no core free: a busy neighbour's doing.
    """

    cpu_ms: float
    waited_ms: float

    def since(self, before: Spent) -> Spent:
        """What was spent in between."""
        return Spent(self.cpu_ms - before.cpu_ms, self.waited_ms - before.waited_ms)


NOTHING = Spent(0.0, 0.0)


def spent(process: int | str = "self") -> Spent:
    """What a process has spent as Linux counts it; nothing where the kernel keeps no such count."""
    try:
        on_core, waited, *_ = Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return NOTHING
    return Spent(int(on_core) / 1e6, int(waited) / 1e6)
