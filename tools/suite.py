"""Run every test. A test that failed beside the others has to pass three times in a row alone, and is named.

Some tests kill, freeze and overload real servers on whatever machine they find; one of thousands may fail for what that
machine did. A fault of placet that shows again fails the suite, as do more than a few failures, an error while
collecting, and any other end of pytest than that of failed tests. Nothing is left out: what failed first and passed
later is printed at the end, with its first failure above.

    tools/suite.py [OPTION OF PYTEST]...
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
MOST: Final = 3
TIMES: Final = 3
_SOME_FAILED: Final = 1


def run_suite(arguments: list[str], folder: Path = ROOT) -> int:
    """Exit code: 0 when every test passed, or failed once and then passed alone as often as it must."""
    code = _pytest(["--cache-clear", *arguments], folder, os.environ)
    if code != _SOME_FAILED:
        return code
    failed = _failed(folder)
    if not 0 < len(failed) <= MOST:
        _say(f"{len(failed)} tests failed")
        return code
    alone = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    for time in range(1, TIMES + 1):
        _say(f"{len(failed)} failed beside the others: alone, time {time} of {TIMES}")
        again = _pytest(["-p", "no:cacheprovider", "--numprocesses", "0", *failed], folder, alone)
        if again:
            return again
    _say(f"unsteady, failed beside the others and passed {TIMES} times alone: {', '.join(failed)}")
    return 0


def _failed(folder: Path) -> list[str]:
    kept = folder / ".pytest_cache" / "v" / "cache" / "lastfailed"
    return sorted(json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else []


def _pytest(arguments: list[str], folder: Path, environment: os._Environ[str] | dict[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=folder, env=dict(environment), check=False).returncode


def _say(text: str) -> None:
    print(f"\nsuite: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run_suite(sys.argv[1:]))
