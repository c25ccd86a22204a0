"""Our own Go programs pass their own tests, with the toolchain that builds them."""

from __future__ import annotations

import os
import subprocess

import pytest

from tools.build import TOOLS, find_go


@pytest.mark.parametrize("folder", ["sumdb", "load"])
def test_our_program_passes_its_tests(folder: str) -> None:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    done = subprocess.run(
        [find_go(), "test", "-count=1", "./..."],
        cwd=TOOLS / folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
