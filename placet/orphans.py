"""Processes of a pool that end when the process that started them does, however that one ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Final

_ORPHANED: Final = 1


def end_with_parent() -> None:
    """Watch the parent from a thread, and end this process at once when it is gone. Elsewhere than in a child: nothing.

    A worker waits for work at a pipe that it holds both ends of: it would never hear of a parent that was killed.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait, args=(parent,), name="placet-parent", daemon=True).start()


def _wait(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(_ORPHANED)
