"""Install into ``.venv`` what a lock file says; a second run finds that done and ends at once.

    python3 tools/setup.py runtime    # what placet needs to run
    python3 tools/setup.py dev        # that, and what its tests need

Only the standard library is used: this runs before anything is installed. It parses down to Python 3.7, so that an
interpreter that is too old gets a sentence and not a syntax error.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Sequence  # noqa: UP035 - collections.abc is no annotation before 3.9

OLDEST_PYTHON = (3, 11)
SETS = ("runtime", "dev")  # each includes those before it
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".placet-setup"


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    if sys.version_info < OLDEST_PYTHON:
        needed, found = (".".join(map(str, version)) for version in (OLDEST_PYTHON, sys.version_info[:2]))
        _say(f"Python {needed} or newer is needed, and {sys.executable} is {found}.")
        _say("Name another one: make PYTHON=/path/to/python3.11 <target>")
        return 1
    if len(arguments) != 1 or arguments[0] not in SETS:
        _say("usage: setup.py runtime|dev")
        return 2
    wanted = arguments[0]
    if _is_current(wanted):
        return 0
    started = time.monotonic()
    try:
        _install(wanted)
    except subprocess.CalledProcessError as error:
        _say(f"`{' '.join(error.cmd)}` ended with status {error.returncode}; run make again when it can work.")
        return 1
    _say(f"done in {time.monotonic() - started:.0f} s")
    return 0


def _is_current(wanted: str) -> bool:
    """Whether the stamp names the wanted set, or one that includes it, with the lock file of today."""
    try:
        installed, stamp = STAMP.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return False
    return installed in SETS[SETS.index(wanted) :] and stamp == _stamp(installed) and VENV_PYTHON.exists()


def _stamp(name: str) -> str:
    """A hash of all that decides what is installed; the folder too, as an editable install points to it."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (_lock(name), ROOT / "pyproject.toml"):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _install(wanted: str) -> None:
    STAMP.unlink(missing_ok=True)
    if not _is_whole():
        _say(f"making .venv with Python {sys.version.split()[0]}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    packages = sum(line[:1].isalnum() for line in _lock(wanted).read_text(encoding="utf-8").splitlines())
    _say(f"installing the {packages} packages of requirements/{wanted}.txt; the first time takes a minute or two")
    pip = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    subprocess.run([*pip, "--require-hashes", "--requirement", str(_lock(wanted))], check=True)
    _say("installing placet itself, editable")
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], check=True)
    STAMP.write_text(f"{wanted} {_stamp(wanted)}\n", encoding="ascii")


def _is_whole() -> bool:
    """Whether .venv can be installed into: one whose making was interrupted, or with an old Python, can't."""
    probe = f"import pip, sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    try:
        ran = subprocess.run([VENV_PYTHON, "-c", probe], check=False, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return ran.returncode == 0


def _lock(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def _say(line: str) -> None:
    sys.stderr.write(f"setup: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
