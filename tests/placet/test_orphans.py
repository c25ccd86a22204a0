"""Processes of a pool, when the one that started them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from placet.orphans import end_with_parent
from tests.e2e.processes import poll_until

_PARENT = """
import os, time, multiprocessing
from concurrent.futures import ProcessPoolExecutor
from placet.orphans import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_end(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)  # it is there
        parent.send_signal(number)
        parent.wait()
        assert poll_until(lambda: not _runs(worker), 60)


def test_a_process_without_one_watches_nobody() -> None:
    before = threading.active_count()
    end_with_parent()
    assert threading.active_count() == before


def _runs(number: int) -> bool:
    try:
        status = Path(f"/proc/{number}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # a zombie has ended
