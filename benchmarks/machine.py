"""The machine that numbers were taken on, its disk among it, and the versions of what was measured."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from tools.build import TOOLS, cache_folder, find_go

_PAGE: Final = b"\0" * 4096
_PAGES: Final = 64
_DISK_S: Final = 1.0
# program -> module whose version its folder pins
_PINNED: Final = {
    "opa": "github.com/open-policy-agent/opa",
    "gatekeeper": "github.com/open-policy-agent/gatekeeper/v3",
    "kubernetes": "k8s.io/kubernetes",
    "etcd": "go.etcd.io/etcd/server/v3",
}


def keep_to_cores(count: int) -> list[int]:
    """Keep this process, and every server that it will start, on the first so many cores; gives their numbers.

    Every server and the load generator share them, so that a run on a large machine can be set beside one on a small
    one. Fewer are taken where there are fewer.
    """
    cores = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, cores)
    return cores


def bare_commits_per_s(folder: Path, seconds: float = _DISK_S) -> float:
    """Writes of a page with ``fdatasync`` after each, by one thread, over and over the same few pages."""
    file = folder / "bare"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, _PAGE * _PAGES, 0)
        os.fsync(descriptor)
        count, start = 0, time.perf_counter()
        while (taken := time.perf_counter() - start) < seconds:
            os.pwrite(descriptor, _PAGE, count % _PAGES * len(_PAGE))
            os.fdatasync(descriptor)
            count += 1
        return count / taken
    finally:
        os.close(descriptor)
        file.unlink()


def describe_machine(folder: Path) -> dict[str, Any]:
    """What a reader has to know of the machine; ``folder`` is where records are written."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(folder),
        "commits_per_s": bare_commits_per_s(folder),
        "load_average": os.getloadavg()[0],
        "taken": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "versions": _versions(),
    }


def _cpu_model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _file_system(folder: Path) -> str:
    """Type of the file system of a folder: that of the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    path = folder.resolve()
    above = [(len(where), kind) for where, kind in mounts if path.is_relative_to(where)]
    return max(above)[1] if above else "unknown"


def _versions() -> dict[str, str]:
    pinned = {}
    for folder, module in _PINNED.items():
        text = (TOOLS / folder / "go.mod").read_text(encoding="utf-8")
        found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", text, re.MULTILINE)
        pinned[folder] = found[1] if found else "unknown"
    return {
        "placet": f"{importlib.metadata.version('placet')} ({_commit()})",
        "python": platform.python_version(),
        "go": _go_version(),
        **pinned,
    }


def _commit() -> str:
    """The checkout's commit, with a mark where files differ from it."""
    command = ["git", "-C", str(TOOLS), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        # Only looked at: not even the index is refreshed.
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    except (OSError, subprocess.CalledProcessError):
        return "no commit"
    return ran.stdout.strip()


def _go_version() -> str:
    """The Go that built the programs, as one of them tells."""
    built = cache_folder() / "bin" / "load"
    ran = subprocess.run([find_go(), "version", built], capture_output=True, text=True, check=False)
    return ran.stdout.rpartition(" ")[2].strip() or "unknown"


def say(line: str) -> None:
    """Progress, to standard error."""
    print(line, file=sys.stderr, flush=True)
