"""Four replicas, 64 callers, one database; replicas and server are killed again and again. Nothing answered is lost.

PLACET_TEST_CRASHES sets the rounds (4 by default, about 20 s); each kills two replicas and the server once.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from placet.audit.log import AuditLog
from placet.audit.stores.postgres.store import PostgresStore, open_view
from placet.audit.verify import verify_store
from tests.simulators.postgres import PostgresServer
from tests.simulators.tampering import LOG_KEY, ORIGIN

_ROUNDS: Final = int(os.environ.get("PLACET_TEST_CRASHES", "4"))
_REPLICAS: Final = 4
_CALLERS: Final = 64
_DEADLINE_S: Final = 120.0


class _Replicas:
    """Processes that append, and the files of what they were answered."""

    def __init__(self, address: str, folder: Path) -> None:
        self._address = address
        self._folder = folder
        self._living: list[subprocess.Popen[bytes]] = []
        self._started = 0

    def start(self) -> None:
        name = f"replica{self._started}"
        self._started += 1
        with (self._folder / name).open("wb") as answers, (self._folder / "errors").open("ab") as errors:
            self._living.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.simulators.replica", self._address, name, f"{_CALLERS // _REPLICAS}"],
                    stdout=answers,
                    stderr=errors,
                )
            )

    def kill(self, which: int) -> None:
        process = self._living.pop(which)
        assert process.poll() is None, (self._folder / "errors").read_text()
        process.kill()
        process.wait(60)

    def kill_all(self) -> None:
        for process in self._living:
            process.kill()
            process.wait(60)
        self._living.clear()

    def answers(self) -> dict[str, int]:
        """Uid -> index of every answer; a line that was cut off by the kill was none."""
        found = {}
        for file in self._folder.glob("replica*"):
            for line in file.read_bytes().split(b"\n")[:-1]:
                uid, index = line.decode().split(" ")
                found[uid] = int(index)
        return found

    def errors(self) -> str:
        return (self._folder / "errors").read_text()


def _wait_for(condition: Callable[[], bool], errors: Callable[[], str]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        assert errors() == ""
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_was_answered_is_in_the_record_whoever_was_killed(postgres: PostgresServer, tmp_path: Path) -> None:
    chance = random.Random(39)
    url = postgres.make_record("crashes")
    replicas = _Replicas(url, tmp_path)
    try:
        for _ in range(_REPLICAS):
            replicas.start()
        for round_ in range(_ROUNDS):
            for deadly in (signal.SIGKILL, None, signal.SIGQUIT, None)[2 * (round_ % 2) :][:2]:
                before = len(replicas.answers())
                _wait_for(lambda before=before: len(replicas.answers()) > before + 300, replicas.errors)  # type: ignore[misc]
                if deadly is None:
                    for _ in range(2):
                        replicas.kill(chance.randrange(_REPLICAS - 1))
                        replicas.start()
                else:
                    postgres.stop(deadly)
                    postgres.start()
        before = len(replicas.answers())
        _wait_for(lambda: len(replicas.answers()) > before + 300, replicas.errors)
    finally:
        replicas.kill_all()
    assert replicas.errors() == ""
    answered = replicas.answers()
    log = AuditLog(PostgresStore.open(url, origin=ORIGIN), key=LOG_KEY)
    log.checkpoint()
    log.close()
    with open_view(url) as reader:
        found = {row.raw_columns[2]: row.index for row in reader.raw_rows()}
        result = verify_store(reader, [LOG_KEY.verifier])
    assert result.verified, result.findings
    assert (result.size, result.signed_size) == (len(found), len(found))
    assert sorted(found.values()) == list(range(len(found)))
    assert {uid: found.get(uid) for uid in answered} == answered
    assert len(found) - len(answered) <= _CALLERS * (_ROUNDS + 1)  # what was durable and not answered, or not yet read
    postgres.drop_database("crashes")
