"""The demo in a cluster, interrupted: nothing of it stays. That it is told to its end is what .ci/run runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import poll_until

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 90.0

# What is going on when a line that starts so has been written.
MOMENTS = {
    "the control plane starts": ("starting etcd", signal.SIGINT),
    "the folder is made": ("1. The platform team", signal.SIGTERM),
    "helm waits for the webhooks": ("   $ helm install placet", signal.SIGINT),
    "the terminal is closed": ("2. Dora", signal.SIGHUP),
}


def processes_of(folder: Path) -> list[str]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(folder) in line]


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_stays_of_a_demo_that_is_interrupted_while(moment: str, tmp_path: Path) -> None:
    line, number = MOMENTS[moment]
    output = tmp_path / "output"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with output.open("wb") as written:
        demo = subprocess.Popen(
            [sys.executable, str(ROOT / "tools" / "demo_cluster.py"), "--no-wait"],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
    try:
        assert poll_until(
            lambda: any(one.startswith(line) for one in output.read_text(encoding="utf-8").splitlines()), TIMEOUT_S
        ), output.read_text(encoding="utf-8")
        demo.send_signal(number)
        assert demo.wait(TIMEOUT_S) == 128 + number
    finally:
        demo.kill()
        demo.wait()
    assert output.read_text(encoding="utf-8").splitlines()[-1] == "stopped; nothing is left running"
    assert list(temporary.iterdir()) == []
    assert poll_until(lambda: processes_of(temporary) == [], 10), processes_of(temporary)
