"""The ``opa`` command of policy authors: the one release that the bundle is compiled with."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.errors import InputError
from placet.policy.bundle import shipped_bundle

VARIABLE: Final = "PLACET_OPA"
_TIMEOUT_S: Final = 300
# A command that lives for seconds need not tidy up after itself: a quarter of its time went into that.
_MEMORY: Final = {"GOGC": "off", "GOMEMLIMIT": "256MiB"}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of ``opa`` left.

    Attributes:
        code: its exit status.
    """

    code: int
    stdout: str
    stderr: str

    def value(self) -> Any:
        """Its standard output as JSON.

        Raises:
            InputError: ``opa_failed``: it is none.
        """
        try:
            return json.loads(self.stdout)
        except ValueError as exc:
            said = (self.stderr or self.stdout).strip()[:2000] or f"nothing, and exit status {self.code}"
            raise InputError(f"opa said: {said}", code="opa_failed") from exc

    def errors(self) -> Mapping[str, Any]:
        """``{"errors": [...]}`` as the command says it in JSON, on whichever stream; empty where it says none."""
        for text in (self.stdout, self.stderr):
            if text.lstrip().startswith("{"):
                value: dict[str, Any] = json.loads(text)
                return value
        return {}


@dataclass(frozen=True, slots=True)
class Opa:
    """A program whose release was seen to be the right one."""

    path: str

    def run(self, *arguments: str, folder: Path, given: str | None = None) -> Ran:
        """Run it in a folder; what its exit status means is the caller's to say.

        Raises:
            InputError: ``opa_failed``: it can't be run, or does not end.
        """
        try:
            done = subprocess.run(
                [self.path, *arguments],
                cwd=folder,
                input=given,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
                env=_MEMORY | os.environ,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise InputError(f"opa {arguments[0]} did not end well: {type(exc).__name__}", code="opa_failed") from exc
        return Ran(done.returncode, done.stdout, done.stderr)


def find_opa(environment: Mapping[str, str] | None = None) -> Opa:
    """The ``opa`` of PLACET_OPA; else the first of PATH and of placet's cache that is of the right release.

    Raises:
        InputError: ``opa_missing``: there is none, or only other releases.
    """
    environment = os.environ if environment is None else environment
    wanted = shipped_bundle().compiler
    others = []
    for candidate in _candidates(environment):
        found = _version(candidate)
        if found == wanted:
            return Opa(candidate)
        others.append(f"{candidate} is {found or 'no opa'}")
    seen = f": {'; '.join(others)}" if others else ""
    raise InputError(
        f"there is no opa {wanted}, which compiles and tests policies{seen}", code="opa_missing", hint=_how_to(wanted)
    )


def _candidates(environment: Mapping[str, str]) -> list[str]:
    if given := environment.get(VARIABLE):
        return [given]
    cache = Path(environment.get("PLACET_CACHE") or Path.home() / ".cache" / "placet")
    on_path = shutil.which("opa", path=environment.get("PATH"))
    built = cache / "bin" / "opa"
    return [*([on_path] if on_path else []), *([str(built)] if built.is_file() else [])]


def _how_to(wanted: str) -> str:
    return (
        f"Get it with `go install github.com/open-policy-agent/opa@v{wanted}` or from "
        f"https://github.com/open-policy-agent/opa/releases/tag/v{wanted}, and put it on PATH or name it in "
        f"{VARIABLE}. In a checkout of placet: `python tools/build.py opa`."
    )


@functools.cache
def _version(path: str) -> str:
    try:
        done = subprocess.run([path, "version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    first = done.stdout.partition("\n")[0]
    return first.removeprefix("Version: ").strip() if first.startswith("Version: ") else ""
