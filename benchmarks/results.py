"""What every benchmark has in common: options, a table on standard output, a file for the report."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.load import BenchmarkError
from benchmarks.machine import describe_machine, keep_to_cores
from tests.e2e.apiclient import ControlPlaneError
from tests.e2e.processes import ProcessError
from tools.build import PROGRAMS, BuildError, build, cache_folder

CORES: Final = 2


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with the options of every benchmark."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a fraction of the time: shows that it works, measures ill")
    made.add_argument(
        "--cores", type=int, default=CORES, help="how many cores everything shares (default: %(default)s)"
    )
    made.add_argument("--folder", type=Path, help="where to write the records; its file system is measured")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the results to a file, for report.py")
    return made


@dataclass(frozen=True, slots=True)
class Spread:
    """A number that was measured several times."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.median:,.0f}"
        return f"{self.median:,.0f} ({self.least:,.0f} to {self.most:,.0f})"

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of values; there is at least one."""
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])

    def as_json(self) -> dict[str, float]:
        """For the report."""
        return {"median": self.median, "least": self.least, "most": self.most}


@contextmanager
def bench(asked: argparse.Namespace) -> Iterator[tuple[Path, dict[str, Any]]]:
    """An empty folder to work in, and the results so far: the machine. They are written when the block ends well."""
    build(PROGRAMS["load"], cache_folder())  # at once where it is there already
    cores = keep_to_cores(asked.cores)
    with tempfile.TemporaryDirectory(prefix="placet-bench-", dir=asked.folder) as name:
        folder = Path(name)
        results: dict[str, Any] = {"quick": asked.quick, "machine": describe_machine(folder) | {"pinned": cores}}
        yield folder, results
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def run_command(main: Callable[[], None]) -> None:
    """Run a benchmark's command; what could not be measured is a sentence and exit status 1."""
    try:
        main()
    except (BenchmarkError, ProcessError, ControlPlaneError, BuildError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def render_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text: bool = False) -> str:
    """A Markdown table whose columns stand below each other: all but the first to the right, unless they are text."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if column and not text else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width + 1) + (":" if column and not text else "-") for column, width in enumerate(widths)]
    return "\n".join([line(lines[0]), f"|{'|'.join(rule)}|", *(line(cells) for cells in lines[1:])]) + "\n"
