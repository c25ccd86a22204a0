"""The bytes of the spool don't change by accident: what one release has put on the disk the next one records."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from placet.spool.denial import parse_denial
from placet.spool.spool import Spool
from placet.spool.tally import SLOT_BYTES, TallyFile, parse_slot
from tests.golden.spool.build import FOLDER, NEWER, OUTAGE, files, waiting

FILES = files()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_golden_file_is_made_again_byte_for_byte(name: str) -> None:
    assert (FOLDER / name).read_bytes() == FILES[name], "if this is meant, run python -m tests.golden.spool.build"


def test_a_denial_reads_as_the_documentation_says() -> None:
    raw = (FOLDER / "0000000000000007.denial").read_bytes()
    assert parse_denial(raw) == waiting()
    magic, checksum, body = raw.split(b"\n", 2)
    assert magic == b"placet.dev/spool/v1"
    assert checksum == f"sha256:{hashlib.sha256(body).hexdigest()}".encode()
    assert json.loads(body).keys() == {"attachments", "leaf"}


def test_counts_read_as_the_documentation_says(tmp_path: Path) -> None:
    raw = (FOLDER / "tally").read_bytes()
    assert len(raw) == 2 * SLOT_BYTES == 16384
    generations = {}
    for start in (0, SLOT_BYTES):
        checksum, body, rest = raw[start : start + SLOT_BYTES].split(b"\n", 2)
        assert checksum == f"sha256:{hashlib.sha256(body).hexdigest()}".encode()
        assert rest.strip(b"\0") == b""
        generation, tally = parse_slot(raw[start : start + SLOT_BYTES])
        generations[generation] = tally
    assert generations == {1: OUTAGE, 2: NEWER}
    counts = TallyFile(Path(shutil.copy(FOLDER / "tally", tmp_path)))
    assert counts.load() == NEWER
    counts.close()


def test_a_lane_that_another_release_has_left_is_taken_up(tmp_path: Path) -> None:
    lane = tmp_path / "spool" / "lane-0"
    lane.mkdir(parents=True)
    for name in FILES:
        shutil.copy(FOLDER / name, lane)
    spool = Spool(tmp_path / "spool", max_bytes=1 << 20, max_denials=100)
    try:
        assert spool.find("uid-4") == waiting()
        (held,) = spool.lanes()
        assert (held.tally.outage, held.tally.since) == (NEWER.outage, NEWER.since)
        assert held.tally.next >= 9, "numbers go on"
    finally:
        spool.close()
