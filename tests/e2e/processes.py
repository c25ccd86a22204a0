"""Child processes for the end-to-end tests: started with a log, waited for, and never left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

POLL_S: Final = 0.05
LOG_TAIL_LINES: Final = 30

# Runs in the child before the program takes its place: from here on the kernel kills the child when its parent ends,
# even by SIGKILL. The second look at the parent covers an end before the call. Only Linux has this (PR_SET_PDEATHSIG
# is 1); elsewhere stop() has to be enough. It is a launcher and not a preexec_fn because that is unsafe with threads.
_LAUNCHER: Final = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    if ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG): " + os.strerror(ctypes.get_errno()))
    if os.getppid() != int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ProcessError(Exception):
    """A program is missing, ended by itself, or did not get ready in time; the message carries the end of its log."""


def program_path(name: str) -> Path:
    """Path of a program that ``tools/build.py`` has built.

    Raises:
        ProcessError: it has not been built yet.
    """
    cache = Path(os.environ.get("PLACET_CACHE") or Path.home() / ".cache" / "placet")
    path = cache / "bin" / name
    if not path.exists():
        message = f"{name} is not in {path.parent}. Build it once with: python tools/build.py {name}"
        raise ProcessError(message)
    return path.resolve()


def hold_port() -> socket.socket:
    """A socket that keeps a free TCP port on loopback for a server that binds it with SO_REUSEPORT.

    It does not listen, so only the server gets connections; and nobody else can take the port before it starts, which
    happens when a port is merely found free. Close it when the server has ended.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    return held


def clean_environment(home: Path) -> dict[str, str]:
    """An environment with nothing of the caller's but PATH: no proxies, no kubeconfig, no Go settings."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "TZ": "UTC"}


def poll_until(ready: Callable[[], bool], timeout_s: float) -> bool:
    """Whether ``ready`` said so before the time was over; it is asked at least once."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


class Process:
    """A running program with its output in a file.

    The program ends with ``stop()``, or when the thread that started it ends (Linux), so start it in a thread that
    lives as long as it should: pytest's main thread is right.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the program; ``command`` begins with an absolute path."""
        self.name = name
        self.log = log
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *map(str, command)]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                launch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,  # Ctrl-C is for who started it, and ends it in the right order
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while the program runs."""
        return self._process.poll()

    def wait_until(self, ready: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Poll until ``ready`` says so.

        Raises:
            ProcessError: the program ended first, or the time is over; the message has the end of its log.
        """
        if not poll_until(lambda: not self.running or ready(), timeout_s):
            message = f"{self.name}: not {what} after {timeout_s:g} s.\n{self.log_tail()}"
            raise ProcessError(message)
        if not self.running:
            message = f"{self.name} ended with status {self._process.returncode} before {what}.\n{self.log_tail()}"
            raise ProcessError(message)

    def log_tail(self) -> str:
        """The last lines of the program's output, with a line that says where the rest is."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join([f"The end of {self.log}:", *lines])

    def stop(self, grace_s: float = 5.0) -> None:
        """End the program and wait for it: SIGTERM, and SIGKILL when that was not enough."""
        if self.running:
            self._process.terminate()
        try:
            self._process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
