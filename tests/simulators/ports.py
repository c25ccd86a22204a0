"""Ports for the servers that tests start.

A port that is found by binding port 0 and closing again lies in the range that the kernel takes for outgoing
connections, so that any connection of any test can take it before the server does. A port from here lies outside of
that range, and is kept for the process that asked until it ends: no two test processes get the same one.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

# Below Linux's own default for outgoing connections (32768), and below the node ports of Kubernetes (30000).
_FIRST: Final = 12_000
_END: Final = 30_000
_OUTGOING: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES: Final = 1_000


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on, and that no other test process and no outgoing connection will take.

    Raises:
        RuntimeError: none of many was free.
    """
    candidates = _candidates()
    for port in random.sample(candidates, min(_TRIES, len(candidates))):
        if _keep(port) and _is_free(host, port):
            return port
    message = f"no free port between {candidates[0]} and {candidates[-1]}"
    raise RuntimeError(message)


def _candidates() -> range:
    outgoing = _OUTGOING.read_text(encoding="ascii").split() if _OUTGOING.exists() else ("32768", "60999")
    first, last = int(outgoing[0]), int(outgoing[1])
    if first > _FIRST + _TRIES:
        return range(_FIRST, min(_END, first))
    return range(last + 1, 65_536) if last < 65_536 - _TRIES else range(_FIRST, _END)


def _keep(port: int) -> bool:
    """Whether the port is this process's until it ends: a name that Linux gives to one socket, and that is no file."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0placet-test-port-{port}")
    except OSError:
        name.close()
        return False
    name.detach()  # nobody closes it
    return True


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
