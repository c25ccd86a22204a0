"""Records are found by segments exactly as by reading all of them, whatever is appended, pruned or missing."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet.audit.findings import Findings
from placet.audit.indexing import add_segments, make_segment
from placet.audit.location import StoreLocation, open_reader, open_store, upgrade_store
from placet.audit.log import AuditLog
from placet.audit.migrate import migrate
from placet.audit.pruning import Removal
from placet.audit.query import Query, find
from placet.audit.record import parse_leaf
from placet.audit.segment_check import SegmentCheck
from placet.audit.segments import (
    BLOCKS,
    MAX_BYTES,
    PART_BYTES,
    SEGMENT,
    Segment,
    SegmentMaker,
    find_entry,
    read_places,
)
from placet.audit.stores import StoredLeaf
from placet.audit.stores.places import PlaceSearch
from placet.audit.stores.postgres.reader import translated
from placet.audit.stores.removal import remove
from placet.audit.terms import BLOCK, TermBlock, read_members
from placet.errors import FormatError, TamperError
from tests.simulators.bothways import verify_file
from tests.simulators.bulk import build_bulk
from tests.simulators.findable import VALUES, Findable, findable, moment
from tests.simulators.pgsurgery import owners
from tests.simulators.postgres import PostgresServer
from tests.simulators.tampering import LOG_KEY, ORIGIN, append, copy_of, surgery

KEYS: Final = [LOG_KEY.verifier]
WHOLE: Final = SEGMENT + 2 * BLOCK
SIZE: Final = WHOLE + 300


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = build_bulk(tmp_path_factory.mktemp("segments") / "record.db", SIZE, made=findable)
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    assert log.index_blocks(99) == WHOLE // BLOCK
    log.checkpoint()
    log.close()
    return path


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, file: Path) -> Iterator[StoreLocation]:
    if request.param == "sqlite":
        yield file
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.own_record() as url:
        target = open_store(url, origin=ORIGIN)
        with open_reader(file) as reader:
            migrate(reader, target, partial(open_reader, url), progress=lambda *_: None)
        target.close()
        assert upgrade_store(owners(url), progress=lambda *_: None).blocks == WHOLE // BLOCK
        yield url


@pytest.fixture
def own(request: pytest.FixtureRequest, store: StoreLocation, tmp_path: Path) -> Iterator[StoreLocation]:
    """A copy that may be changed."""
    if isinstance(store, Path):
        yield copy_of(store, tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.copy_of(store.split("/")[3].split("?")[0]) as url:
        yield url


@pytest.fixture(scope="module")
def said(file: Path) -> Findable:
    with open_reader(file) as reader:
        return Findable([parse_leaf(one.raw_leaf).body for one in reader.leaves(0, SIZE)])


ASKED: Final = st.fixed_dictionaries(
    {"type": st.sampled_from(("decision", "decision", "decision", "", "heartbeat"))},
    optional={
        **{name: st.sampled_from(values) for name, values in VALUES.items()},
        "since": st.integers(-10, SIZE + 10).map(moment),
        "until": st.integers(-10, SIZE + 10).map(moment),
    },
)
_NO_SEGMENTS: Final = ["DELETE FROM postings", "DELETE FROM segments"]
# Queries that go through everything, and of each kind one.
SOME: Final = (
    Query(type=""),
    Query(text="blue green"),
    Query(person="rare-900", role="security"),
    Query(user="rare-700", since=moment(900), until=moment(9000)),
    Query(type="", until=moment(700)),
    Query(image="serving/vllm", allowed=False, violation="approvals.required:expired", namespace="ml"),
)


def found(place: StoreLocation, query: Query, *, limit: int = 10_000, after: str = "") -> list[int]:
    with open_reader(place) as reader:
        return [one.index for one in find(reader, query, limit=limit, after=after).found]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=ASKED, limit=st.integers(1, 120), before=st.none() | st.integers(0, SIZE + 2))
def test_what_segments_find_is_what_reading_everything_finds(
    store: StoreLocation, said: Findable, asked: dict[str, Any], limit: int, before: int | None
) -> None:
    query = Query(**asked)
    expected = said.expected(query, before)
    with open_reader(store) as reader:
        page = find(reader, query, limit=limit, after="" if before is None else str(before))
    assert [one.index for one in page.found] == expected[:limit]
    assert page.cursor == (str(expected[limit - 1]) if len(expected) > limit else "")


@pytest.mark.parametrize(
    "statements",
    [
        _NO_SEGMENTS,
        ["DELETE FROM postings", "UPDATE segments SET parts = 0"],
        [*_NO_SEGMENTS, "DELETE FROM terms", "DELETE FROM blocks"],
        [*_NO_SEGMENTS, "DELETE FROM terms WHERE block > 6", "DELETE FROM blocks WHERE block > 6"],
    ],
    ids=["no segments", "segments that could not be merged", "no index at all", "an index that is behind"],
)
def test_where_segments_are_missing_the_same_is_found(
    own: StoreLocation, said: Findable, statements: list[str]
) -> None:
    with surgery(own) as database:
        for statement in statements:
            database.execute(statement)
    for query in SOME:
        assert found(own, query, limit=40) == said.expected(query)[:40], query
    assert found(own, SOME[3], after="5000") == said.expected(SOME[3], 5000)


def test_pages_stay_as_they_were_while_records_are_appended_and_indexed(own: StoreLocation, said: Findable) -> None:
    query = Query(role="legal", text="no valid approval", name="llama-0")
    expected = said.expected(query)
    log = AuditLog.open(own, origin=ORIGIN, key=LOG_KEY)
    seen: list[int] = []
    cursor = ""
    number = SIZE
    for _ in range(99):
        with open_reader(own) as reader:
            page = find(reader, query, limit=1 + len(expected) // 20, after=cursor)
            for _ in range(3):  # they would be found first, were they there when the first page was asked for
                body, _kept = findable(number)
                append(log, number, **{name: body[name] for name in ("message", "approvals", "name", "violations")})
                number += 1
            if number % 2:
                log.index_blocks(9)
        seen += [one.index for one in page.found]
        cursor = page.cursor
        if not cursor:
            break
    log.close()
    assert seen == expected
    assert len(expected) > 40


def test_a_record_with_segments_is_verified_and_each_part_is_small(store: StoreLocation) -> None:
    assert verify_file(store, KEYS).verified
    with open_reader(store) as reader:
        assert [row[0] for row in reader.raw_segments()] == [0]
        parts = [entries for _, _, entries in reader.raw_postings()]
        assert next(reader.raw_segments())[3] == len(parts)
    assert sum(len(part) > PART_BYTES for part in parts) < 60  # bitmaps of what is on many leaves
    assert max(map(len, parts)) <= SEGMENT // 8 + 12


def looked_at(place: StoreLocation, *, first: int = 0) -> list[tuple[str, int | None]]:
    """What a verification finds wrong with segments, the blocks being as they must be."""
    findings = Findings()
    with open_reader(place) as reader:
        check = SegmentCheck(reader, findings, first=first)
        for number in range(first, reader.blocks()):
            block = reader.block(number)
            assert block is not None
            check.add(block)
        check.finish()
    return [(one.kind, one.index) for one in findings.listed]


@pytest.mark.parametrize(
    ("statements", "first"),
    [
        (["DELETE FROM postings WHERE first = (SELECT min(first) FROM postings)"], 0),
        (["DELETE FROM postings"], 0),
        (["DELETE FROM segments"], 0),
        (["UPDATE segments SET parts = parts - 1"], 0),
        (["UPDATE segments SET parts = 0"], 0),
        (["UPDATE segments SET earliest = latest"], 0),
        (["UPDATE segments SET latest = earliest"], 0),
        (["UPDATE postings SET first = first + 1"], 0),
        (["UPDATE postings SET entries = x'0001000000000000303900020007'"], 0),
        (["INSERT INTO postings VALUES (0, 12345, x'0001000000000000303900020007')"], 0),
        (["INSERT INTO postings VALUES (-1, 12345, x'0001000000000000303900020007')"], 0),
        (["INSERT INTO postings VALUES (1, 12345, x'0001000000000000303900020007')"], SEGMENT),
        (["INSERT INTO segments VALUES (1, '', '', 0)"], SEGMENT),
        (["INSERT INTO segments VALUES (7, '', '', 0)"], SEGMENT),
    ],
)
def test_segments_that_were_tampered_with_are_found(
    file: Path, tmp_path: Path, statements: list[str], first: int
) -> None:
    path = copy_of(file, tmp_path)
    assert looked_at(path) == []
    with surgery(path) as database:
        for statement in statements:
            database.execute(statement)
    assert looked_at(path) == [("index_changed", first)]


def test_verifying_names_a_segment_that_hides_a_record(own: StoreLocation) -> None:
    with surgery(own) as database:
        database.execute("DELETE FROM postings WHERE first = (SELECT max(first) FROM postings)")
    result = verify_file(own, KEYS)
    assert (result.kinds, result.first_bad_index, result.verified) == (("index_changed",), 0, False)


@pytest.mark.parametrize("first", [0, 1, BLOCKS - 1, BLOCKS, BLOCKS + 1])
def test_a_resumed_verification_looks_at_the_segment_that_it_begins_in(file: Path, tmp_path: Path, first: int) -> None:
    path = copy_of(file, tmp_path)
    assert looked_at(path, first=first) == []
    with surgery(path) as database:
        database.execute("DELETE FROM postings WHERE first = (SELECT max(first) FROM postings)")
    assert looked_at(path, first=first) == ([("index_changed", 0)] if first < BLOCKS else [])


def test_segments_that_are_no_such_thing_stop_a_query_with_what_to_do(file: Path, tmp_path: Path) -> None:
    path = copy_of(file, tmp_path)
    with surgery(path) as database:
        database.execute("UPDATE postings SET entries = x'ffffffffffffffffffffffffffffff'")
    with pytest.raises(TamperError) as caught:
        found(path, Query(person="sam"))
    assert caught.value.code == "index_changed"
    assert "--rebuild" in caught.value.hint


def test_a_segment_shows_no_record_that_was_not_asked_for(file: Path, tmp_path: Path, said: Findable) -> None:
    path = copy_of(file, tmp_path)
    with surgery(path) as database:
        first, entries = database.execute(
            "SELECT first, entries FROM postings ORDER BY length(entries) DESC LIMIT 1"
        ).fetchone()
        members = entries[12:]
        for (other,) in database.execute("SELECT first FROM postings WHERE length(entries) > 2000").fetchall():
            raw = b"\0\1" + other.to_bytes(8, "big", signed=True) + len(members).to_bytes(2, "big") + members
            database.execute("UPDATE postings SET entries = ? WHERE first = ?", (raw, other))
    assert first
    for query in (Query(person="sam", namespace="ml"), Query(allowed=False), Query(text="blue green")):
        assert set(found(path, query, limit=500)) <= set(said.expected(query))


def test_what_was_pruned_is_in_no_segment_and_one_made_before_is_refused(own: StoreLocation) -> None:
    owner = own if isinstance(own, Path) else owners(own)
    with open_reader(own) as reader:
        before = make_segment(reader, 0)
        assert before is not None
        assert reader.pruned_between(0, SEGMENT) == 0
    assert remove(owner, Removal(leaves=((100, 160),), attachments={})) == (60, 0)
    with open_reader(own) as reader:
        after = make_segment(reader, 0)
        assert reader.pruned_between(0, SEGMENT) == 60
        assert after is not None
        assert after.rows != before.rows
        assert tuple((first, entries) for _, first, entries in reader.raw_postings()) == after.rows
    assert looked_at(own) == []
    with surgery(own) as database:
        database.execute("DELETE FROM postings")
        database.execute("DELETE FROM segments")
    target = open_store(own, origin=ORIGIN)
    assert target.add_segment(before, pruned=0) is False
    assert target.add_segment(after, pruned=60) is True
    assert target.add_segment(after, pruned=60) is False
    target.close()
    assert looked_at(own) == []


def test_a_region_that_was_pruned_costs_nothing_and_shows_nothing(own: StoreLocation) -> None:
    owner = own if isinstance(own, Path) else owners(own)
    remove(owner, Removal(leaves=((0, SEGMENT - 2),), attachments={}))
    assert found(own, Query(type="", until=moment(SEGMENT + 99)))[-2:] == [SEGMENT - 1, SEGMENT - 2]
    assert found(own, Query(type=""), after=str(SEGMENT - 2)) == []
    with open_reader(own) as reader:
        asked: list[int] = []
        at = type(reader).leaves_at

        def watched(self: Any, some: Sequence[int]) -> list[StoredLeaf]:
            asked.extend(some)
            return at(self, some)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(type(reader), "leaves_at", watched)
            find(reader, Query(type=""), limit=50, after=str(SEGMENT))
    assert asked == [SEGMENT - 1, SEGMENT - 2]


def test_a_record_of_version_3_gets_its_segments_by_an_upgrade(own: StoreLocation, said: Findable) -> None:
    owner = own if isinstance(own, Path) else owners(own)
    with surgery(own) as database:
        database.execute("DROP TABLE postings")
        database.execute("DROP TABLE segments")
        if isinstance(own, Path):
            database.execute("PRAGMA user_version = 3")
        else:
            database.execute("COMMENT ON SCHEMA placet IS 'record of placet, version 3'")
            database.execute("DELETE FROM terms WHERE block >= 16")
            database.execute("DELETE FROM blocks WHERE block >= 16")
    assert found(own, SOME[2]) == said.expected(SOME[2])
    seen: list[tuple[int, int]] = []
    done = upgrade_store(owner, progress=lambda *at: seen.append(at))
    assert (done.before, done.blocks) == (3, 0 if isinstance(own, Path) else 2)
    assert seen
    assert looked_at(own) == []
    with open_reader(own) as reader:
        assert [row[0] for row in reader.raw_segments()] == [0]
    for query in SOME:
        assert found(own, query, limit=40) == said.expected(query)[:40], query


def test_a_segment_waits_for_all_of_its_blocks_and_for_no_append(file: Path, tmp_path: Path) -> None:
    path = copy_of(file, tmp_path)
    with surgery(path) as database:
        for table in ("postings", "segments"):
            database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        for table in ("terms", "blocks"):
            database.execute(f"DELETE FROM {table} WHERE block = 7")  # noqa: S608 - as above
    store = open_store(path, origin=ORIGIN)
    assert add_segments(store, 9) == 0
    store.close()


def test_an_append_waits_for_nobody_who_adds_a_segment(postgres: PostgresServer) -> None:
    from placet.audit.stores.postgres.transaction import SEGMENT_LOCK, put_segment  # noqa: PLC0415

    with postgres.own_record() as url:
        log = AuditLog.open(url, origin=ORIGIN, key=LOG_KEY)
        with psycopg.connect(url) as connection:
            connection.execute(SEGMENT_LOCK)
            assert put_segment(connection, Segment(0, "", "", ((5, b"\0" * 20),)))
            append(log, 0)
            assert log.size() == 1
            connection.rollback()
        log.close()


def test_a_search_asks_for_each_segment_by_key(file: Path) -> None:
    asked: list[str] = []
    with open_reader(file) as reader, pytest.MonkeyPatch.context() as patched:
        rows = PlaceSearch._by_segments

        def watched(self: PlaceSearch, numbers: Any) -> Iterator[list[tuple[int, int]]]:
            ask = self._rows

            def note(statement: str, **values: Any) -> Iterator[Any]:
                asked.append(statement)
                return ask(statement, **values)

            self._rows = note
            yield from rows(self, numbers)

        patched.setattr(PlaceSearch, "_by_segments", watched)
        find(reader, Query(person="nobody", role="security"), limit=50)
    connection = sqlite3.connect(file)
    (statement,) = {one for one in asked if "postings" in one}
    values = {"first": 0, "last": 9, "segments": "[3, 4]", **{f"ta{letter}": 1 for letter in "abc"}}
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    connection.close()
    assert sum("SEARCH postings USING INDEX" in line and "segment=? AND first<?" in line for line in plan) == 3
    assert [line for line in plan if line.startswith("SCAN")] == ["SCAN json_each VIRTUAL TABLE INDEX 1:"]


def test_a_part_is_written_as_the_format_says() -> None:
    maker = SegmentMaker(0)
    segment = None
    for number in range(BLOCKS):
        segment = maker.add(made(number, {-2: {1023}, 5: {0, 7}} if number in {0, 15} else {}))
    assert segment is not None
    part = "0002 fffffffffffffffe 0000000000000005 0004 000c 03ff 3fff 0000 0007 3c00 3c07"
    assert segment == Segment(0, "t00", "u15", ((-2, bytes.fromhex(part)),))


def test_leaves_in_no_block_are_read_by_their_index_alone(own: StoreLocation) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []
    with open_reader(own) as reader:
        rows = type(reader)._rows  # type: ignore[attr-defined]

        def watched(self: Any, statement: str, **values: Any) -> Iterator[Any]:
            asked.append((statement, values))
            yield from rows(self, statement, **values)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(type(reader), "_rows", watched)
            find(reader, Query(environment="production", kind="Deployment", allowed=True), limit=9999)
    statement, values = next(one for one in asked if "ORDER BY idx DESC LIMIT" in one[0])
    if isinstance(own, Path):
        connection = sqlite3.connect(own)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
        connection.close()
        assert plan == ["SEARCH leaves USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]
    else:
        with psycopg.connect(owners(own)) as database:
            database.execute("SET search_path = placet")
            for prepare in ("SELECT 1", "ANALYZE"):  # a server that has not looked at the tables yet, and one that has
                database.execute(prepare)
                plan = [str(row[0]) for row in database.execute(f"EXPLAIN {translated(statement)}", values)]
                assert "leaves_pkey" in "".join(plan), plan
                assert not re.search(r"leaves_by|Seq Scan", "".join(plan)), plan


BLOCK_TERMS: Final = st.dictionaries(
    st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9),
    st.sets(st.integers(0, BLOCK - 1), min_size=1, max_size=70) | st.just(set(range(BLOCK))),
    max_size=4,
)


def members(places: set[int]) -> bytes:
    raw = b"".join(place.to_bytes(2, "big") for place in sorted(places))
    return raw if len(raw) < BLOCK // 8 else sum(1 << place for place in places).to_bytes(BLOCK // 8, "little")


def made(number: int, said: Mapping[int, set[int]]) -> TermBlock:
    rows = tuple((term, members(places)) for term, places in sorted(said.items()))
    assert all(read_members(raw).bit_count() == len(said[term]) for term, raw in rows)
    return TermBlock(number, f"t{number:02}" if rows else "", f"u{number:02}" if rows else "", rows)


@settings(deadline=None, max_examples=25)
@given(blocks=st.lists(BLOCK_TERMS, min_size=BLOCKS, max_size=BLOCKS), asked=st.integers(-(2**63), 2**63 - 1))
def test_a_segment_says_what_its_blocks_say(blocks: list[dict[int, set[int]]], asked: int) -> None:
    maker = SegmentMaker(3)
    segments = [maker.add(made(number, said)) for number, said in enumerate(blocks)]
    assert segments[:-1] == [None] * (BLOCKS - 1)
    segment = segments[-1]
    assert segment is not None
    expected: dict[int, set[int]] = {}
    for number, said in enumerate(blocks):
        for term, places in said.items():
            expected.setdefault(term, set()).update(number * BLOCK + place for place in places)
    firsts = [first for first, _ in segment.rows]
    assert firsts == sorted(set(firsts))
    for term in (*expected, asked):
        part = [entries for first, entries in segment.rows if first <= term][-1:]
        raw = find_entry(part[0], term) if part else None
        bits = 0 if raw is None else read_places(raw)
        assert {place for place in range(SEGMENT) if bits >> place & 1} == expected.get(term, set())
    times = [one for one in (made(number, said) for number, said in enumerate(blocks)) if one.earliest]
    assert segment.number == 3
    assert segment.earliest == (times[0].earliest if times else "")
    assert segment.latest == (times[-1].latest if times else "")


@given(entries=st.binary(max_size=400), term=st.integers(-(2**63), 2**63 - 1))
def test_any_bytes_are_a_part_or_refused(entries: bytes, term: int) -> None:
    try:
        found_entry = find_entry(entries, term)
    except FormatError:
        return
    assert found_entry is None or found_entry in entries


@given(raw=st.binary(max_size=40) | st.binary(min_size=SEGMENT // 8, max_size=SEGMENT // 8 + 2))
def test_any_bytes_are_places_or_refused(raw: bytes) -> None:
    try:
        bits = read_places(raw)
    except FormatError:
        return
    assert 0 <= bits < 1 << SEGMENT


def test_a_term_that_hides_between_two_others_is_not_taken_for_one() -> None:
    first, second = 0x0102030405060708, 0x1112131415161718
    between = int.from_bytes(first.to_bytes(8, "big")[4:] + second.to_bytes(8, "big")[:4], "big")
    maker = SegmentMaker(0)
    segment = None
    for number in range(BLOCKS):
        segment = maker.add(made(number, {first: {1}, second: {2}}))
    assert segment is not None
    ((_, entries),) = segment.rows
    assert find_entry(entries, between) is None
    assert find_entry(entries, second) is not None


def test_blocks_that_say_too_much_are_not_merged_and_the_next_are() -> None:
    maker = SegmentMaker(0)
    much = MAX_BYTES // 12 // BLOCKS + 9
    segment = None
    for number in range(BLOCKS):
        segment = maker.add(made(number, {number * much + term: {0} for term in range(much)}))
    assert segment == Segment(0, "t00", f"u{BLOCKS - 1:02}", ())
    for number in range(BLOCKS):
        segment = maker.add(made(number, {1: {0}}))
    assert segment is not None
    assert (segment.number, len(segment.rows)) == (1, 1)


@pytest.mark.parametrize("members", [b"\0", b"\0" * (BLOCK // 8 + 2), b"\xff\xff\0\1"])
def test_a_block_that_is_none_makes_no_segment(members: bytes) -> None:
    maker = SegmentMaker(0)
    for number in range(BLOCKS - 1):
        assert maker.add(TermBlock(number, "t", "t", ((1, b"\0\1"),))) is None
    with pytest.raises(FormatError):
        maker.add(TermBlock(BLOCKS - 1, "t", "t", ((1, members),)))
