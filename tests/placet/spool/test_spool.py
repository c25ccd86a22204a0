"""The spool keeps what it says that it keeps, whatever its disk does, and holds up no answer."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import Digest
from placet.errors import AuditError, FormatError
from placet.spool.denial import Denial, parse_denial, render_denial
from placet.spool.spool import Spool
from placet.spool.waiting import Kept
from tests.e2e.processes import poll_until
from tests.simulators.tampering import decision, policy_input_of

PATIENCE_S = 30
RAW = render_denial(
    Denial(decision(1, allowed=False, spooled={"at": "x", "cause": "store_full"}), {"input": policy_input_of(1)})
)


def denial(number: int, **changes: Any) -> Denial:
    body = decision(number, **{"allowed": False, "spooled": {"at": "x", "cause": "store_full"}, **changes})
    return Denial(body, {"input": policy_input_of(number)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    spool = Spool(folder, max_bytes=1 << 20, max_denials=100)
    yield spool
    spool.close()


def waiting(spool: Spool) -> list[str]:
    (lane,) = spool.lanes()
    return [one.uid for one in spool._order[lane]]


def test_what_is_kept_is_found_by_its_uid_also_by_the_next_process(spool: Spool, folder: Path) -> None:
    assert spool.add(denial(1), deadline_s=PATIENCE_S) == (Kept.DURABLE, denial(1))
    assert spool.find("uid-1") == denial(1)
    assert spool.find("uid-2") is None
    spool.close()
    again = Spool(folder, max_bytes=1 << 20, max_denials=100)
    assert again.find("uid-1") == denial(1)
    assert again.standing().waiting == 1
    assert again.standing().bytes == len(RAW)
    again.close()


def test_an_allow_is_never_taken(spool: Spool) -> None:
    for changes in ({"allowed": True}, {"allowed": 0}, {"allowed": None}, {"spooled": None}, {"dry_run": True}):
        with pytest.raises((AuditError, FormatError)):
            spool.add(denial(1, **changes), deadline_s=PATIENCE_S)
    assert spool.standing().waiting == 0


def test_one_uid_at_once_is_one_file_and_one_answer(spool: Spool, folder: Path) -> None:
    """Two threads of one replica, to which the API server sent a review twice."""
    offered = [denial(1, latency_us=number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: spool.add(one, deadline_s=PATIENCE_S), offered))
    assert {kept for kept, _ in answers} == {Kept.DURABLE}
    assert len({answer.leaf["latency_us"] for _, answer in answers}) == 1
    assert len(list(folder.glob("lane-*/*.denial"))) == 1
    with pytest.raises(AuditError, match="another request"):
        spool.add(denial(1, request_digest=str(Digest.of(b"other"))), deadline_s=PATIENCE_S)


def test_many_threads_lose_nothing_and_keep_the_order_of_each(spool: Spool, folder: Path) -> None:
    def add(start: int) -> None:
        for number in range(start, start + 10):
            assert spool.add(denial(number), deadline_s=PATIENCE_S)[0] is Kept.DURABLE

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(0, 60, 10)))
    order = waiting(spool)
    assert len(order) == 60
    for start in range(0, 60, 10):
        own = [uid for uid in order if start <= int(uid.removeprefix("uid-")) < start + 10]
        assert own == [f"uid-{number}" for number in range(start, start + 10)]


@pytest.mark.parametrize(("max_denials", "max_bytes"), [(2, 1 << 20), (9, 5000)])
def test_a_full_spool_keeps_the_oldest_and_says_that_it_is_full(folder: Path, max_denials: int, max_bytes: int) -> None:
    spool = Spool(folder, max_denials=max_denials, max_bytes=max_bytes)
    outcomes = [spool.add(denial(number), deadline_s=PATIENCE_S)[0] for number in range(6)]
    kept = outcomes.count(Kept.DURABLE)
    assert 0 < kept < 6
    assert outcomes == [Kept.DURABLE] * kept + [Kept.LOST] * (6 - kept)
    standing = spool.standing()
    assert (standing.full, standing.kept, standing.lost, standing.waiting) == (True, kept, 6 - kept, kept)
    assert standing.bytes <= max_bytes
    assert waiting(spool) == [f"uid-{number}" for number in range(kept)]
    spool.close()


@pytest.mark.parametrize("nth", range(1, 5))
@pytest.mark.parametrize("call", ["open", "write", "fsync", "pwrite", "fdatasync", "close"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_anywhere_never_makes_something_durable_that_is_not(
    folder: Path, call: str, nth: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(folder, max_bytes=1 << 20, max_denials=100)
    real = getattr(os, call)
    calls = [0]

    def failing(*arguments: Any, **terms: Any) -> Any:
        if threading.current_thread().name == "placet-spool":
            calls[0] += 1
            if calls[0] == nth:
                if call == "close":
                    real(*arguments)
                raise OSError(code, os.strerror(code), "a file")
        return real(*arguments, **terms)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        outcomes = [spool.add(denial(number), deadline_s=PATIENCE_S)[0] for number in range(6)]
        # The counts are written after whoever waited is told.
        poll_until(lambda: calls[0] >= nth, 5)
    assert calls[0] >= nth
    assert set(outcomes) <= {Kept.DURABLE, Kept.LOST}
    spool.add(denial(6), deadline_s=PATIENCE_S)
    standing = spool.standing()
    durable = [number for number, kept in enumerate([*outcomes, Kept.DURABLE]) if kept is Kept.DURABLE]
    assert (standing.kept, standing.lost) == (len(durable), 7 - len(durable))
    spool.close()
    again = Spool(folder, max_bytes=1 << 20, max_denials=100)
    assert waiting(again) == [f"uid-{number}" for number in durable]
    assert all(again.find(f"uid-{number}") == denial(number) for number in durable)
    (lane,) = again.lanes()
    assert lane.tally.spooled == len(durable)
    again.close()


def test_a_disk_that_hangs_holds_up_no_answer_and_what_it_gets_is_found_meanwhile(folder: Path) -> None:
    hangs = threading.Event()

    def strike(step: str) -> None:
        if step == "write":
            hangs.wait(PATIENCE_S)

    spool = Spool(folder, max_bytes=1 << 20, max_denials=100, strike=strike)
    assert spool.add(denial(1), deadline_s=0.01)[0] is Kept.LATE
    assert spool.find("uid-1") == denial(1)  # asked again, it is the same answer
    assert spool.find("uid-2") is None
    assert spool.standing().waiting == 1
    assert not hangs.is_set()
    hangs.set()
    assert spool.add(denial(1), deadline_s=PATIENCE_S) == (Kept.DURABLE, denial(1))
    assert spool.standing().kept == 1
    spool.close()


def test_a_file_that_can_no_longer_be_read_is_no_other_answer(spool: Spool, folder: Path) -> None:
    spool.add(denial(1), deadline_s=PATIENCE_S)
    (file,) = folder.glob("lane-*/*.denial")
    file.write_bytes(b"damaged")
    with pytest.raises(AuditError) as caught:
        spool.find("uid-1")
    assert caught.value.code == "spool_unreadable"


def test_a_folder_whose_parent_is_missing_is_found_once_it_is_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "mount" / "spool", max_bytes=1 << 20, max_denials=100)
    assert spool.add(denial(1), deadline_s=1)[0] is Kept.LOST
    assert "No such file" in spool.standing().failure
    (tmp_path / "mount").mkdir()
    spool.tend()
    assert spool.standing().failure == ""
    assert spool.add(denial(2), deadline_s=PATIENCE_S)[0] is Kept.DURABLE
    (lane,) = spool.lanes()
    assert (lane.tally.lost, lane.tally.spooled) == (1, 1)
    spool.close()


# -- the file


def test_a_denial_is_read_back_as_it_was() -> None:
    assert parse_denial(RAW) == denial(1)
    assert render_denial(parse_denial(RAW)) == RAW


@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_every_changed_byte_is_noticed(place: int, change: int) -> None:
    with pytest.raises(FormatError):
        parse_denial(RAW[:place] + bytes([RAW[place] ^ change]) + RAW[place + 1 :])


@given(st.integers(0, len(RAW) - 1))
def test_every_torn_file_is_noticed(length: int) -> None:
    with pytest.raises(FormatError):
        parse_denial(RAW[:length])


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    head, _, _rest = RAW.partition(b"\n")
    for hostile in (raw, head + b"\n" + raw, head + b"\n" + str(Digest.of(raw)).encode() + b"\n" + raw):
        with pytest.raises(FormatError):
            parse_denial(hostile)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b'"allowed":false', b'"allowed":true'),
        lambda body: body.replace(b'"type":"decision"', b'"type":"heartbeat"'),
        lambda body: body.replace(b'"spooled":{', b'"spoiled":{'),
        lambda body: body.replace(b'"dry_run":false', b'"dry_run":true'),
        lambda body: body.replace(b'"attachments":{"input":"', b'"attachments":{"input":"AAAA'),
        lambda body: body.replace(b'"attachments":{"input"', b'"attachments":{"other"'),
        lambda _: b'{"attachments":{},"leaf":[]}',
        lambda _: b'{"attachments":[],"leaf":{}}',
        lambda _: b"[]",
    ],
)
def test_a_well_formed_file_that_is_no_denial_is_refused(change: Callable[[bytes], bytes]) -> None:
    magic, _, body = RAW.split(b"\n", 2)
    changed = change(body)
    assert changed != body
    with pytest.raises(FormatError):
        parse_denial(b"\n".join([magic, str(Digest.of(changed)).encode(), changed]))
