"""A standby that is promoted without the last commits is a record of yesterday, and is noticed as one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from placet.audit.log import AuditLog
from placet.audit.saved import SavedCheckpoints
from placet.audit.verify import verify_file
from placet.errors import TamperError
from tests.simulators.postgres import PostgresServer, running_server
from tests.simulators.tampering import LOG_KEY, ORIGIN, append

KEYS: Final = [LOG_KEY.verifier]


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """One of its own: the primary does not come back."""
    with running_server() as server:
        yield server


def test_a_standby_that_was_promoted_without_the_last_commits_is_noticed(
    own_server: PostgresServer, tmp_path: Path
) -> None:
    address = own_server.make_record("record")
    running = AuditLog.open(address, origin=ORIGIN, key=LOG_KEY)
    with closing(running):
        saved = SavedCheckpoints.open(tmp_path / "saved", KEYS, running.reading)
        append(running, 0)
        append(running, 1)
        saved.save(running.checkpoint())
        standby = own_server.back_up()
        append(running, 2)  # acknowledged, and the standby never hears of it
        note = running.checkpoint()
        saved.save(note)
        own_server.fail_over(standby)
        for number in (3, 4):
            with pytest.raises(TamperError) as caught:
                append(running, number)
            assert caught.value.code == "rolled_back"
        assert not running.health().writable
    fresh = AuditLog.open(address, origin=ORIGIN, key=LOG_KEY)
    with closing(fresh):
        with pytest.raises(TamperError) as caught:
            SavedCheckpoints.open(tmp_path / "saved", KEYS, fresh.reading)
        assert caught.value.code == "rolled_back"
        assert fresh.size() == 2, "nothing was appended to it"
    assert verify_file(address, KEYS).verified, "nothing in itself shows it"
    result = verify_file(address, KEYS, saved=[("saved", note.encode())])
    assert (result.kinds, result.first_bad_index) == (("rolled_back",), 2)


def test_a_standby_that_had_every_commit_is_gone_on_with(own_server: PostgresServer, tmp_path: Path) -> None:
    address = own_server.make_record("record")
    running = AuditLog.open(address, origin=ORIGIN, key=LOG_KEY)
    with closing(running):
        saved = SavedCheckpoints.open(tmp_path / "saved", KEYS, running.reading)
        append(running, 0)
        saved.save(running.checkpoint())
        own_server.fail_over(own_server.back_up(), how=signal.SIGINT)
        append(running, 1)
        saved.save(running.checkpoint())
    with closing(AuditLog.open(address, origin=ORIGIN)) as fresh:
        SavedCheckpoints.open(tmp_path / "saved", KEYS, fresh.reading)
    assert verify_file(address, KEYS).size == 2
