"""A disk of a few megabytes for a part of a program's files, which the kernel calls full as it does any other.

It is a tmpfs, mounted in a mount namespace of a user namespace, so that neither root nor anything of the machine is
needed but that whoever runs the tests may make such namespaces (``unshare --user --mount true`` says so)::

    disk = SmallDisk("data", mebibytes=64)
    with running_server(disk=disk) as server:
        disk.fill(spare=8192)
        disk.free()
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_HOLD: Final = 'mount -t tmpfs -o size="$2",mode=0700 tmpfs "$1" && echo mounted && exec cat'
_FILL: Final = 'cd "$1" && { head -c 1G /dev/zero > filler 2>/dev/null || true; } && truncate -s "-$2" filler'


class SmallDisk:
    """One disk; a process holds it for as long as it is open.

    Args:
        part: name of the folder that stands on it.
        mebibytes: its size.
    """

    def __init__(self, part: str, *, mebibytes: int) -> None:
        self.part = part
        self._size = f"{mebibytes}m"
        self._path = Path()
        self._as: Mapping[str, Any] = {}
        self._holder: subprocess.Popen[str] | None = None

    def mount(self, path: Path, account: Mapping[str, Any]) -> None:
        """Put it at a path, where the programs that ``within`` starts see it and nobody else does.

        Args:
            path: a folder, which is made.
            account: of those programs, as ``subprocess`` takes it.
        """
        assert self._holder is None, "mounted already"
        path.mkdir()
        self._path, self._as = path, account
        if account:
            os.chown(path, account["user"], account["group"])
        self._holder = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _HOLD, "sh", path, self._size],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/", **account,
        )  # fmt: skip
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline()
        assert said == "mounted\n", f"no namespaces for users here, which these tests need: {said}"

    @property
    def within(self) -> Sequence[str]:
        """What a command is begun with to see the disk: as the account, not as the namespace's root."""
        assert self._holder is not None
        owner, group = self._as.get("user", os.geteuid()), self._as.get("group", os.getegid())
        return (
            "nsenter", "--target", str(self._holder.pid), "--user", "--mount", "--preserve-credentials",
            "unshare", "--user", f"--map-user={owner}", f"--map-group={group}",
        )  # fmt: skip

    def fill(self, *, spare: int = 0) -> None:
        """Leave so many bytes of it."""
        self._run("sh", "-c", _FILL, "sh", str(self._path), str(spare))

    def free(self) -> None:
        """Take away what filled it."""
        self._run("rm", "-f", str(self._path / "filler"))

    def close(self) -> None:
        """Let go of it: it is gone once nothing that runs within needs it."""
        if self._holder is not None:
            self._holder.communicate()
            self._holder = None

    def _run(self, *command: str) -> None:
        subprocess.run([*self.within, *command], check=True, cwd="/", **self._as)
