"""Our own Go program passes its own tests, with the toolchain that builds it."""

from __future__ import annotations

import os
import subprocess

from tools.build import TOOLS, find_go


def test_the_sumdb_verifier_passes_its_tests() -> None:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    done = subprocess.run(
        [find_go(), "test", "-count=1", "./..."],
        cwd=TOOLS / "sumdb",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
