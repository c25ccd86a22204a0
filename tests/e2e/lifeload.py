"""Reviews without end while something happens to the gate, and what became of each of them."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.reviews import Approvers, with_foreign_image, write_reviews
from tests.e2e.processes import program_path

# `make lifecycle` asks for the full number; what CI runs by default is as many as still meet each event.
REVIEWS: Final = int(os.environ.get("PLACET_LIFECYCLE_REVIEWS", "500"))
PATIENCE_S: Final = 120.0
CALLERS: Final = 8
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the load generator counted.

    Attributes:
        sent: reviews.
        wrong: answered with the other verdict than they must have.
        failed: not answered with 200 and a verdict.
        reasons: why -> how often.
        dials: new connections.
        clients: how often trust changed, and one for the beginning.
        endpoint_changes: how often the Service led elsewhere.
        slowest_ms: the longest that a review took.
        by_verdict: ``allowed``, ``refused`` or ``failed`` -> uids.
    """

    sent: int
    wrong: int
    failed: int
    reasons: dict[str, int]
    dials: int
    clients: int
    endpoint_changes: int
    slowest_ms: float
    by_verdict: dict[str, set[str]]

    @property
    def told(self) -> str:
        """For a failing assertion."""
        return f"sent {self.sent}, wrong {self.wrong}, failed {self.failed}: {json.dumps(self.reasons, indent=1)}"


def write_load(team_folder: Path, folder: Path, *, different: int = 40) -> tuple[Path, Path]:
    """Files of reviews that must be allowed, and of some that must be refused."""
    approvers = Approvers(team_folder)
    allowed, refused = folder / "allowed.jsonl", folder / "refused.jsonl"
    manifests = [approvers.manifest(number, evidence=True) for number in range(different)]
    write_reviews(allowed, manifests)
    write_reviews(refused, [with_foreign_image(one) for one in manifests[:5]])
    return allowed, refused


class Load:
    """The load generator, calling as an API server does, until the block is left and enough reviews were sent.

    Example::

        with Load(folder, endpoints=file, ca=ca, reviews=write_load(team.folder, folder)) as load:
            load.wait_for(200)
            restart_something()
        assert load.outcome.failed == 0
    """

    def __init__(
        self,
        folder: Path,
        *,
        endpoints: Path,
        ca: Path,
        reviews: tuple[Path, Path],
        name: str = "localhost",
        client: tuple[Path, Path] | None = None,
        count: int = REVIEWS,
        callers: int = CALLERS,
        rate: float = 0,
        resolve: str = "dial",
    ) -> None:
        """Describe the load; nothing is sent before the ``with`` block.

        Args:
            folder: where the answers are kept.
            endpoints: file with the addresses that the Service leads to; read again when it changes.
            ca: who signed the serving certificates; likewise.
            reviews: of ``write_load``.
            name: the Service's, which the certificates must have.
            client: certificate and key to show.
            count: of reviews, at least.
            callers: how many at once.
            rate: reviews a second; 0 for as many as are answered.
            resolve: an address is chosen for each connection (``dial``) or for each ``call``.
        """
        self._answers = folder / "answers.txt"
        shown = () if client is None else ("-cert", client[0], "-key", client[1])
        self._command: list[str | Path] = [
            *(program_path("load"), "endure", "-endpoints", endpoints, "-ca", ca, "-name", name, *shown),
            *("-allowed", reviews[0], "-refused", reviews[1], "-answers", self._answers),
            *("-callers", str(callers), "-count", str(count), "-rate", str(rate), "-resolve", resolve),
        ]
        self._lines: list[str] = []
        self.answered = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line[:1].isdigit():
                self.answered = int(line)
            else:
                self._lines.append(line)

    def wait_for(self, more: int) -> None:
        """Let so many further reviews be answered or fail."""
        wanted, deadline = self.answered + more, time.monotonic() + PATIENCE_S
        while self.answered < wanted:
            if self._process.poll() is not None or time.monotonic() > deadline:
                message = f"{self.answered} of {wanted} reviews were answered: {self._process.poll()}"
                raise AssertionError(message)
            time.sleep(_POLL_S)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
        try:
            self._process.wait(0.5 if error else PATIENCE_S * max(1, REVIEWS // 2000))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        with self._process.stdout or self._process.stderr, self._process.stderr:
            said = self._process.stderr.read()
        if error is None:
            assert self._process.returncode == 0, said
            self.outcome = self._outcome(json.loads("".join(self._lines)))

    def _outcome(self, found: dict[str, Any]) -> Outcome:
        by_verdict: dict[str, set[str]] = {"allowed": set(), "refused": set(), "failed": set()}
        for line in self._answers.read_text(encoding="utf-8").splitlines():
            uid, verdict = line.split(" ")
            by_verdict[verdict].add(uid)
        return Outcome(
            sent=found["sent"],
            wrong=found["wrong"],
            failed=found["failed"],
            reasons=found["reasons"],
            dials=found["dials"],
            clients=found["clients"],
            endpoint_changes=found["endpoint_changes"],
            slowest_ms=found["max_us"] / 1000,
            by_verdict=by_verdict,
        )


def write_lines(file: Path, lines: Iterable[str]) -> None:
    """Replace a file of the load generator at once."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    fresh.replace(file)
