"""Fuzz one target, or all, by coverage: ``python -m tests.fuzz [TARGET...] --seconds 60``.

Seeds are written anew each time; what was found worth keeping stays in ``build/fuzz/<target>/corpus`` for the next
run. An input that breaks a promise ends the run, and is kept in ``build/fuzz/<target>/found``: move it into
``tests/fuzz/regressions/<target>``, where every test run tries it, and mend what it shows.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
BUILD: Final = Path("build") / "fuzz"
# Not a measure of work: the end of waiting for one that hangs where no exception of ours ends it.
_HANG_S: Final = 120
_MOST_MEMORY_MB: Final = 4096
_OURS: Final = ["scorer", "placet", "webhook"]


def main() -> int:
    """Exit code: 0 when nothing was found, 1 when something was."""
    arguments = _parser().parse_args()
    if arguments.inside:
        _fuzz(arguments.targets[0], arguments)
        return 0
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - inside, atheris must see the imports first

    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        sys.stderr.write(f"no such target: {', '.join(sorted(unknown))}; there are: {', '.join(TARGETS)}\n")
        return 2
    failed = [name for name in arguments.targets or TARGETS if not _run(name, arguments)]
    if failed:
        sys.stderr.write(f"found something in: {', '.join(failed)}; see {arguments.build}/<target>/found\n")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Coverage-guided fuzzing.")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--runs", type=int, default=0, help="inputs for each target instead of seconds")
    parser.add_argument(
        "--seed", type=int, default=0, help="the same one makes the same choices; 0 is another each time"
    )
    parser.add_argument("--build", type=Path, default=ROOT / BUILD, metavar="DIR", help=f"where to keep it: {BUILD}")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


def _run(name: str, arguments: argparse.Namespace) -> bool:
    """One target in a process of its own: a fuzzer ends its process when it ends."""
    command = [sys.executable, "-m", "tests.fuzz", name, "--inside", "--seconds", str(arguments.seconds)]
    command += ["--runs", str(arguments.runs), "--seed", str(arguments.seed), "--build", str(arguments.build)]
    started = time.monotonic()
    log = arguments.build / name / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        done = subprocess.run(command, cwd=ROOT, check=False, stdout=stream, stderr=subprocess.STDOUT)
    text = log.read_text(encoding="utf-8", errors="replace")
    counts = re.findall(r"stat::number_of_executed_units:\s+(\d+)", text)
    result = "nothing found" if done.returncode == 0 else f"FOUND SOMETHING, exit code {done.returncode}"
    sys.stdout.write(
        f"{name:<12} {time.monotonic() - started:7.0f} s {int(counts[-1]) if counts else 0:>10} inputs  {result}\n"
    )
    sys.stdout.flush()
    if done.returncode:
        sys.stderr.write(text[-4000:])
    return done.returncode == 0


def _fuzz(name: str, arguments: argparse.Namespace) -> None:
    """Does not return: libFuzzer ends the process."""
    import logging  # noqa: PLC0415

    logging.disable(logging.CRITICAL)  # a line for each denial would fill the disk
    import atheris  # noqa: PLC0415 - of the development environment, and only for this

    with atheris.instrument_imports(include=_OURS):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    from tests.fuzz.mutate import mutate  # noqa: PLC0415
    from tests.fuzz.work import limited  # noqa: PLC0415

    target = TARGETS[name]
    folder = arguments.build / name
    for part in ("seeds", "corpus", "found"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for old in (folder / "seeds").iterdir():
        old.unlink()
    for number, seed in enumerate(target.seeds()):
        (folder / "seeds" / f"{number:03}").write_bytes(seed)
    run = limited(target.run)

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.2:
            changed: bytes = atheris.Mutate(data, max_size)
            return changed
        return mutate(data, rng, max_bytes=max_size, head_line=target.head_line)

    options = [
        f"-max_len={target.max_bytes}",
        f"-timeout={_HANG_S}",
        f"-rss_limit_mb={_MOST_MEMORY_MB}",
        f"-artifact_prefix={folder / 'found'}/",
        "-print_final_stats=1",
        f"-runs={arguments.runs}" if arguments.runs else f"-max_total_time={arguments.seconds}",
        *([f"-seed={arguments.seed}"] if arguments.seed else []),
    ]
    kept = ROOT / "tests" / "fuzz" / "regressions" / name
    folders = [folder / "corpus", folder / "seeds", *([kept] if kept.is_dir() else [])]
    atheris.Setup([sys.argv[0], *options, *map(str, folders)], run, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
