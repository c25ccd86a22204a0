"""Ports that stay free until a server of the tests takes them."""

from __future__ import annotations

import subprocess
import sys

from tests.simulators import ports
from tests.simulators.ports import free_port

_ANOTHER = """
from tests.simulators import ports
ports._candidates = lambda: range({0}, {0} + 2)
print(ports.free_port())
"""


def test_no_port_is_given_twice_nor_to_an_outgoing_connection() -> None:
    given = [free_port() for _ in range(50)]
    assert len(set(given)) == 50
    assert set(given) <= set(ports._candidates())
    first, last = (int(bound) for bound in ports._OUTGOING.read_text(encoding="ascii").split())
    assert not [port for port in given if first <= port <= last]


def test_another_process_does_not_get_a_port_that_this_one_keeps() -> None:
    kept = free_port()
    command = [sys.executable, "-c", _ANOTHER.format(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(kept + 1) or "no free port" in done.stderr
