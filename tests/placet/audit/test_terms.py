"""Records are found by terms exactly as by reading all of them, and terms that were tampered with are found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet.audit.checkpointer import Checkpointer
from placet.audit.location import DatabaseUrl, StoreLocation, open_reader, open_store, upgrade_store
from placet.audit.log import AuditLog, render_time
from placet.audit.merkle import hash_leaf
from placet.audit.migrate import migrate
from placet.audit.query import Query, find
from placet.audit.record import parse_leaf, render_leaf
from placet.audit.stores.postgres.transaction import put_block
from placet.audit.terms import BLOCK, make_block, read_members, render_members
from placet.errors import FormatError, InputError, TamperError
from tests.simulators.bothways import verify_file
from tests.simulators.bulk import build_bulk, plain
from tests.simulators.pgsurgery import owners
from tests.simulators.postgres import PostgresServer
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, Body, append, copy_of, decision, surgery

KEYS: Final = [LOG_KEY.verifier]
SIZE: Final = 2 * BLOCK + 300
_WORDS: Final = ("No", "valid", "APPROVAL", "expired", "renew", "it", "\u00c4rger", "role_missing", "2026")
_IMAGES: Final = (
    "registry.example.com/serving/vllm-openai:v1",
    "vllm:latest",
    "a/serving/tgi@sha256:77",
    "b/vllm/serving",
)
_PERSONS: Final = ("sam", "fay", "bob")
_ROLES: Final = ("security", "legal")


def made(number: int) -> tuple[Body, dict[str, bytes]]:
    """A decision of few values, differently combined; one of a hundred says what no other does."""
    body, kept = plain(number)
    mixed = number * 2654435761 % 2**32

    def pick(values: tuple[Any, ...], shift: int) -> Any:
        return values[(mixed >> shift) % len(values)]

    changes: Body = {
        "namespace": pick(("ml", "other", "x|y"), 3),
        "kind": pick(("Deployment", "StatefulSet"), 5),
        "name": f"llama-{mixed % 7}",
        "environment": pick(("production", "staging"), 7),
        "user": pick(("alice@example.org", "bob@example.org", ""), 9),
        "model": pick(({"name": "mistral"}, {"name": "llama"}, {}), 11),
        "projection": f"sha256:{number // 100:064d}",
        "violations": [] if number % 4 else [{"rule": pick(("a.b", "c"), 13), "code": pick(("x", "y|z", "w"), 15)}],
        "approvals": [{"approval_id": f"a-{mixed % 50}", "role": pick(_ROLES, 17), "person": pick(_PERSONS, 19)}],
        "rejected": ["odd", {"approval_id": f"a-{mixed % 40}", "role": pick(_ROLES, 18)}] if number % 3 else [],
        "images": [pick(_IMAGES, 21), pick(_IMAGES, 23)] if number % 5 else "no list",
        "message": " ".join(pick(_WORDS, shift) for shift in (2, 6, 10, 14)),
        "advice": [f"rare {number}"] if number % 100 == 99 else [],
        "time": render_time(START + timedelta(seconds=number - (500 if number % 97 == 0 else 0))),
    }
    return body | changes, kept


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = build_bulk(tmp_path_factory.mktemp("terms") / "record.db", SIZE, made=made)
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    assert log.index_blocks(1) == 1
    assert log.index_blocks(9) == 1  # what is left is no whole block
    assert log.index_blocks(9) == 0
    log.heartbeat(START + timedelta(seconds=SIZE))
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
        copy_to(file, url)
        yield url


def copy_to(file: Path, url: DatabaseUrl) -> None:
    """The same record in a database, with its terms."""
    target = open_store(url, origin=ORIGIN)
    with open_reader(file) as reader:
        migrate(reader, target, partial(open_reader, url), progress=lambda *_: None)
    log = AuditLog(target, key=LOG_KEY)
    assert log.index_blocks(9) == SIZE // BLOCK
    log.close()


def naive(body: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """The same by other means: what the documentation says of each condition."""
    values = {
        "type": {body["type"]},
        "kind": {body.get("kind")},
        "name": {body.get("name")},
        "namespace": {body.get("namespace")},
        "environment": {body.get("environment")},
        "model": {(body.get("model") or {}).get("name")},
        "user": {body.get("user")},
        "projection": {body.get("projection")},
        "allowed": {body.get("allowed")},
        "violation": {
            word
            for one in body.get("violations", [])
            for word in (one["rule"], one["code"], f"{one['rule']}:{one['code']}")
            if "|" not in word
        },
        **{
            name: {one[key] for part in ("approvals", "rejected") for one in body.get(part, []) if key in one}
            for name, key in (("role", "role"), ("person", "person"), ("approval", "approval_id"))
        },
    }
    for name, wanted in asked.items():
        if name == "since":
            met = body["time"] >= render_time(wanted)
        elif name == "until":
            met = body["time"] < render_time(wanted)
        elif name == "text":
            said = " ".join([body.get("message", ""), *body.get("advice", [])]).casefold()
            met = all(
                re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said) for word in re.findall(r"\w+", wanted.casefold())
            )
        elif name == "image":
            images = body.get("images") if isinstance(body.get("images"), list) else []
            run = r"\W+".join(map(re.escape, re.findall(r"\w+", wanted)))
            met = any(re.search(rf"(?<!\w){run}(?!\w)", image) for image in images or [])
        else:
            met = wanted in values[name]
        if not met:
            return False
    return True


def _pick(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


MOMENTS: Final = st.integers(-10, SIZE + 10).map(lambda seconds: START + timedelta(seconds=seconds))
ASKED: Final = st.fixed_dictionaries(
    {"type": _pick("decision", "heartbeat")},
    optional={
        "kind": _pick("Deployment", "StatefulSet", "Pod"),
        "name": st.integers(0, 7).map(lambda number: f"llama-{number}"),
        "namespace": _pick("ml", "other", "x|y", "gone"),
        "environment": _pick("production", "staging"),
        "model": _pick("mistral", "llama"),
        "user": _pick("alice@example.org", "bob@example.org"),
        "allowed": st.booleans(),
        "violation": _pick("a.b", "x", "a.b:w", "c:x", "y|z", "%"),
        "role": st.sampled_from(_ROLES),
        "person": st.sampled_from(_PERSONS),
        "approval": st.integers(0, 55).map(lambda number: f"a-{number}"),
        "projection": st.integers(0, SIZE // 100).map(lambda number: f"sha256:{number:064d}"),
        "image": _pick("vllm", "serving/vllm", "serving/vllm-openai", "vllm/serving", "sha256:77", "vll", "openai:v1"),
        "text": _pick("no valid", "APPROVAL", "\u00e4rger 2026", "rare", "rare 99", "rol", "role_missing it"),
        "since": MOMENTS,
        "until": MOMENTS,
    },
)


class Bodies(list[Mapping[str, Any]]):
    """Of all leaves in their order."""

    def __repr__(self) -> str:
        return "..."  # Hypothesis shows what it has found


@pytest.fixture(scope="module")
def bodies(store: StoreLocation) -> Bodies:
    with open_reader(store) as reader:
        return Bodies(parse_leaf(one.raw_leaf).body for one in reader.leaves(0, SIZE + 9))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=ASKED, limit=st.integers(1, 400), before=st.none() | st.integers(0, SIZE + 2))
def test_what_terms_find_is_what_reading_everything_finds(
    store: StoreLocation, bodies: Bodies, asked: dict[str, Any], limit: int, before: int | None
) -> None:
    expected = [index for index in range(len(bodies) - 1, -1, -1) if naive(bodies[index], asked)]
    expected = [index for index in expected if before is None or index < before]
    with open_reader(store) as reader:
        page = find(reader, Query(**asked), limit=limit, after="" if before is None else str(before))
    assert [one.index for one in page.found] == expected[:limit]
    assert page.cursor == (str(expected[limit - 1]) if len(expected) > limit else "")


def test_a_record_with_terms_is_verified(store: StoreLocation) -> None:
    assert verify_file(store, KEYS).verified


def test_pages_go_from_leaves_in_no_block_through_all_blocks(store: StoreLocation) -> None:
    seen: list[int] = []
    cursor = ""
    with open_reader(store) as reader:
        assert reader.blocks() == SIZE // BLOCK
        while True:
            page = find(reader, Query(type=""), limit=137, after=cursor)
            seen += [one.index for one in page.found]
            cursor = page.cursor
            if not cursor:
                break
    assert seen == list(range(SIZE, -1, -1))


def test_a_record_without_terms_is_read_instead(file: Path, tmp_path: Path) -> None:
    path = copy_of(file, tmp_path)
    with surgery(path) as database:
        database.execute("DELETE FROM blocks")
        database.execute("DELETE FROM terms")
    for asked in (Query(person="sam", text="rare"), Query(allowed=False, model="llama"), Query(image="serving/vllm")):
        found = []
        for each in (file, path):
            with open_reader(each) as reader:
                found.append([one.index for one in find(reader, asked, limit=10_000).found])
        assert found[0] == found[1] != []


def test_what_has_no_word_is_the_users_mistake(store: StoreLocation) -> None:
    with open_reader(store) as reader:
        for asked in (Query(text="?!"), Query(image="@")):
            with pytest.raises(InputError, match="no word"):
                find(reader, asked, limit=1)


@pytest.mark.parametrize(
    ("statements", "first"),
    [
        (["DELETE FROM terms WHERE block = 1 AND term = (SELECT min(term) FROM terms WHERE block = 1)"], BLOCK),
        (["DELETE FROM terms WHERE block = 0"], 0),
        (["INSERT INTO terms VALUES (0, 12345, x'0007')"], 0),
        (["INSERT INTO terms VALUES (2, 12345, x'0007')"], 2 * BLOCK),
        (["INSERT INTO terms VALUES (-1, 12345, x'0007')"], 0),
        (["UPDATE terms SET members = x'0007' WHERE block = 1"], BLOCK),
        (["UPDATE blocks SET earliest = latest WHERE block = 1"], BLOCK),
        (["UPDATE blocks SET latest = earliest WHERE block = 0"], 0),
        (["DELETE FROM blocks WHERE block = 0"], 0),
        (["DELETE FROM blocks WHERE block = 1"], BLOCK),
        (["INSERT INTO blocks VALUES (2, '', '')"], 2 * BLOCK),
        (["INSERT INTO blocks VALUES (7, '', '')"], 2 * BLOCK),
    ],
)
def test_terms_that_were_tampered_with_are_found(
    store: StoreLocation, tmp_path: Path, request: pytest.FixtureRequest, statements: list[str], first: int
) -> None:
    def attack(path: StoreLocation) -> None:
        with surgery(path) as database:
            for statement in statements:
                database.execute(statement)
        result = verify_file(path, KEYS)
        assert result.kinds == ("index_changed",)
        assert (result.first_bad_index, result.verified) == (first, False)

    if isinstance(store, Path):
        attack(copy_of(store, tmp_path))
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.copy_of(store.split("/")[3].split("?")[0]) as url:
        attack(url)


def test_terms_that_are_no_such_thing_stop_a_query_with_what_to_do(file: Path, tmp_path: Path) -> None:
    path = copy_of(file, tmp_path)
    with surgery(path) as database:
        database.execute("UPDATE terms SET members = x'ffffff'")
    with open_reader(path) as reader, pytest.raises(TamperError) as caught:
        find(reader, Query(person="sam"), limit=1000)
    assert caught.value.code == "index_changed"
    assert "--rebuild" in caught.value.hint


def test_a_wrong_term_shows_no_record_that_was_not_asked_for(file: Path, tmp_path: Path) -> None:
    path = copy_of(file, tmp_path)
    with surgery(path) as database:
        database.execute("UPDATE terms SET members = (SELECT members FROM terms ORDER BY length(members) DESC LIMIT 1)")
    with open_reader(path) as reader:
        found = find(reader, Query(person="sam"), limit=10_000).found
    assert found
    assert all(naive(one.body, {"person": "sam"}) for one in found)


def test_a_resumed_verification_looks_at_the_blocks_behind_it(file: Path, tmp_path: Path) -> None:
    from placet.audit.resume import Prefix  # noqa: PLC0415

    kept: list[Prefix] = []
    path = copy_of(file, tmp_path)
    assert verify_file(path, KEYS, keep=kept.append).verified
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    for number in range(SIZE + 1, SIZE + 1 + BLOCK):
        append(log, number)
    assert log.index_blocks(9) == 1
    log.checkpoint()
    log.close()
    assert verify_file(path, KEYS, prefix=kept[-1]).verified
    with surgery(path) as database:
        database.execute("DELETE FROM terms WHERE block = 2")
    assert verify_file(path, KEYS).kinds == ("index_changed",)


def test_two_that_index_the_same_record_add_each_block_once(location: StoreLocation) -> None:
    first = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    second = AuditLog.open(location, origin=ORIGIN)
    leaves = [render_leaf(decision(number)).raw for number in range(BLOCK)]
    block = make_block(0, leaves)
    assert block is not None
    store = open_store(location, origin=ORIGIN)
    assert [store.add_block(block), store.add_block(block)] == [True, False]
    store.close()
    assert (first.index_blocks(9), second.index_blocks(9)) == (0, 0)
    first.close()
    second.close()


def test_the_checkpointer_adds_blocks_behind_the_appends(file: Path, tmp_path: Path) -> None:
    path = copy_of(file, tmp_path)
    with surgery(path) as database:
        database.execute("DELETE FROM blocks")
        database.execute("DELETE FROM terms")
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    Checkpointer(log).run_once(START + timedelta(days=1))
    with log.reading() as reader:
        assert reader.blocks() == SIZE // BLOCK
    log.close()
    assert verify_file(path, KEYS).verified


def test_an_append_waits_for_nobody_who_adds_a_block(postgres: PostgresServer) -> None:
    with postgres.own_record() as url:
        log = AuditLog.open(url, origin=ORIGIN, key=LOG_KEY)
        block = make_block(0, [render_leaf(decision(number)).raw for number in range(BLOCK)])
        assert block is not None
        with psycopg.connect(url) as connection:
            assert put_block(connection, block)
            append(log, 0)
            assert log.size() == 1
            connection.rollback()
        log.close()


def test_rebuilding_makes_terms_anew(store: StoreLocation, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    def rebuild(path: StoreLocation, owner: StoreLocation) -> None:
        with open_reader(path) as reader:
            before = [*reader.raw_blocks(), *reader.raw_terms()]
        with surgery(path) as database:
            database.execute("UPDATE terms SET members = x'0007' WHERE block = 1")
            database.execute("DELETE FROM blocks WHERE block = 0")
        done = upgrade_store(owner, progress=lambda *_: None, rebuild=True)
        assert done.blocks == SIZE // BLOCK
        assert verify_file(path, KEYS).verified
        with open_reader(path) as reader:
            assert [*reader.raw_blocks(), *reader.raw_terms()] == before

    if isinstance(store, Path):
        path = copy_of(store, tmp_path)
        rebuild(path, path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.copy_of(store.split("/")[3].split("?")[0]) as url:
        rebuild(url, owners(url))


@given(places=st.sets(st.integers(0, BLOCK - 1), min_size=1))
def test_members_are_read_as_they_were_written(places: set[int]) -> None:
    raw = render_members(sorted(places))
    assert {place for place in range(BLOCK) if read_members(raw) >> place & 1} == places
    assert len(raw) <= BLOCK // 8


@given(raw=st.binary(max_size=300))
def test_any_bytes_are_members_or_refused(raw: bytes) -> None:
    try:
        bits = read_members(raw)
    except FormatError:
        return
    assert 0 <= bits < 1 << BLOCK


def test_a_leaf_that_can_not_be_read_has_no_terms() -> None:
    leaves = [b"rubbish"] * (BLOCK - 1) + [render_leaf(decision(1)).raw]
    assert hash_leaf(leaves[0])
    block = make_block(3, leaves)
    assert block is not None
    assert (block.number, block.earliest, block.latest) == (3, decision(1)["time"], decision(1)["time"])
    assert all(read_members(members) == 1 << (BLOCK - 1) for _, members in block.rows)
    assert make_block(3, leaves[1:]) is None


def test_every_condition_but_time_has_a_term() -> None:
    for name in Query.__dataclass_fields__:
        if name in {"since", "until", "opened"}:  # the last is no condition: it says how names are compared
            continue
        asked: Any = True if name == "allowed" else "word"
        assert len(Query(**{"type": "", name: asked}).terms()) == 1, name
