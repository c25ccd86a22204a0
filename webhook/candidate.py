"""Policies that are to replace those in force, tried in a process of their own first.

Whatever they do there, a loop, a bomb, a crash of the compiler, the gate goes on with what it has: the process has a
time and a memory of its own, no keys, no record and no environment.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from placet.canonical import Digest
from placet.config import Config
from placet.errors import EngineError, PlacetError
from placet.policy.bundle import load_bundle
from placet.policy.data import PolicyData, load_policy_data
from placet.policy.wasm import EmbeddedEngine
from webhook.selftest import check_engine

TIME_S: Final = 60.0
MEMORY_BYTES: Final = 2 << 30
"""That can be written. Not of addresses: Wasm reserves far more of them than it ever uses."""
HOME: Final = Path(__file__).resolve().parent.parent
"""Where a child starts."""
_MAX_ANSWER: Final = 64 * 1024


def bare_environment() -> dict[str, str]:
    """What a child is told of this process's environment: where programs and modules are."""
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def prove_candidate(config: Config, data: PolicyData, *, time_s: float = TIME_S) -> None:
    """Let a child process compile the policies, and judge by them in every environment.

    Args:
        config: names the operator's policy data.
        data: with the policies to try, read and verified.
        time_s: the longest that it may take.

    Raises:
        EngineError: ``candidate_failed``, or what the child found; the policies must not come into force.
    """
    command = [sys.executable, "-P", "-m", "webhook.candidate", str(data.bundle.folder), str(config.policy.data or "")]
    manifest = str(Digest.of(data.bundle.load_manifest()))
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=time_s,
            check=False,
            env=bare_environment(),
            cwd=HOME,
        )
    except subprocess.TimeoutExpired as exc:
        raise _failed(f"they were not ready within {time_s:g} s") from exc
    except OSError as exc:
        raise _failed(f"no process could be started for it: {exc.strerror or exc}") from exc
    answer = _read_answer(done.stdout)
    if answer is None:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise _failed(f"the process that tried them ended with {how}")
    if answer.get("code"):
        raise EngineError(
            f"tried aside, the policies fail: {answer.get('message', '')}",
            code=str(answer["code"]),
            hint=str(answer.get("hint", "")),
        )
    if (answer.get("manifest"), answer.get("data")) != (manifest, str(data.digest)):
        raise _failed("they changed while they were tried")


def _failed(why: str) -> EngineError:
    return EngineError(f"the policies were tried aside, and {why}", code="candidate_failed")


def _read_answer(raw: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(raw) if len(raw) <= _MAX_ANSWER else None
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def try_out(folder: Path, operator_file: Path | None) -> PolicyData:
    """Compile policies in this process, and judge by them in every environment.

    Raises:
        EngineError: they can't be used.
    """
    bundle = load_bundle(folder)
    data = load_policy_data(operator_file, bundle)
    engine = EmbeddedEngine(bundle, data)
    try:
        engine.prepare()
        for environment in data.value["environments"]:
            check_engine(engine, data, environment, now=datetime.now(UTC))
    finally:
        engine.close()
    return data


def describe_fault(error: PlacetError) -> dict[str, str]:
    """What a child answers where policies can't be used."""
    return {"code": error.code, "message": str(error)[:1000], "hint": error.hint}


def limit_memory() -> None:
    """Of this process, for good: what it may write to; and that it leaves no core."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def main(arguments: list[str]) -> int:
    """The child: a folder, and the operator's policy data or nothing; answers with one line of JSON."""
    limit_memory()
    resource.setrlimit(resource.RLIMIT_CPU, (int(TIME_S), int(TIME_S)))
    folder, operator_file = arguments
    try:
        data = try_out(Path(folder), Path(operator_file) if operator_file else None)
        answer = {"manifest": str(Digest.of(data.bundle.load_manifest())), "data": str(data.digest)}
    except PlacetError as error:
        answer = describe_fault(error)
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
