"""``make fuzz`` itself: it searches by coverage, and what breaks a promise ends it and is kept."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
# The fuzzer as it is, with a target of ours: a gate that falls over three bytes, found one after the other.
_PLANTED: Final = """
import sys
import atheris
from tests.fuzz import __main__ as runner, targets
from tests.fuzz.target import BrokenPromiseError, Target

@atheris.instrument_func
def run(data):
    if data[:1] == b"b":
        if data[1:2] == b"u":
            if data[2:3] == b"g":
                raise BrokenPromiseError("a planted fault")

targets.TARGETS = {"image": Target(name="image", seeds=lambda: [b"aaaa"], run=run, max_bytes=8)}
sys.argv[0] = "tests.fuzz"
sys.exit(runner.main())
"""


def fuzz(folder: Path, *program: str, runs: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *program, "image", "--runs", str(runs), "--seed", "1", "--build", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_it_searches_by_coverage_and_keeps_what_leads_further(tmp_path: Path) -> None:
    done = fuzz(tmp_path, "-m", "tests.fuzz", runs=2000)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"image +\d+ s +\d{4,} inputs +nothing found\n", done.stdout)
    assert list((tmp_path / "image" / "corpus").iterdir())
    assert list((tmp_path / "image" / "found").iterdir()) == []


def test_an_input_that_breaks_a_promise_ends_the_run_and_is_kept(tmp_path: Path) -> None:
    done = fuzz(tmp_path, "-c", _PLANTED, "--inside", runs=200_000)
    assert done.returncode != 0
    assert "a planted fault" in done.stdout + done.stderr
    (found,) = (tmp_path / "image" / "found").iterdir()
    assert found.read_bytes()[:3] == b"bug"


def test_a_target_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "imaeg", "--build", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no such target: imaeg; there are: " in done.stderr
    assert "image" in done.stderr
