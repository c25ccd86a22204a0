"""What has had its time goes, what anything needs stays, and every proof holds."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from placet.audit.certify import Certified, certify
from placet.audit.findings import Verification
from placet.audit.forms import Forms
from placet.audit.holds import find_covered, load_holds, render_hold, render_release
from placet.audit.location import DatabaseUrl, StoreLocation, open_reader, open_store
from placet.audit.log import AuditLog
from placet.audit.merkle import Frontier
from placet.audit.migrate import migrate
from placet.audit.proof import VerifiedInclusion, prove_consistency, prove_inclusion, verify_proof
from placet.audit.prune import Looked, Pruned, load_ledger, look, prune
from placet.audit.prune_plan import ASKED_FOR, FOR_GOOD, HELD, RESTED_ON, YOUNG, plan_prune
from placet.audit.pruning import MAX_RANGES, Removal, parse_prune, render_prune
from placet.audit.query import Query, find, read_found
from placet.audit.record import DECISION, HOLD, PRUNE, PRUNED, render_leaf
from placet.audit.retention import Retention, RetentionClass
from placet.audit.stored import read_stored
from placet.audit.stores.removal import remove
from placet.audit.terms import BLOCK, term_of
from placet.audit.verify import verify_file as verify_quick
from placet.audit.workers import Workers, open_workers
from placet.errors import AuditError, FormatError, TamperError
from tests.second_verifier import verify as verify_second
from tests.simulators.aged import (
    ADMISSIONS,
    AGED_INPUT,
    DENIALS,
    HEARTBEATS,
    LAST,
    NEW_CONFIGURATION,
    NEW_KEYRING,
    NEW_POLICY,
    NOW,
    OLD,
    OLD_CONFIGURATION,
    OLD_KEYRING,
    OLD_POLICY,
    RECENT,
    REVOCATION,
    SHARING,
    SIZE,
    USED,
    append_aged,
    build_aged,
    foundations,
    rests_on,
)
from tests.simulators.bothways import verify_file, verify_shared
from tests.simulators.tampering import LOG_KEY, ORIGIN, surgery

KEYS = [LOG_KEY.verifier]
TERMS = Retention()
# The newest sixteen admissions of an object are what a gate asks for; the first has what a younger decision shares.
KEPT_ADMISSIONS = range(ADMISSIONS[-16], ADMISSIONS[-1] + 1)
GONE = {*HEARTBEATS, *DENIALS, *(set(ADMISSIONS) - set(KEPT_ADMISSIONS) - {ADMISSIONS[0]})}


@pytest.fixture
def record(location: StoreLocation) -> StoreLocation:
    return build_aged(location)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The same in a file: where a database can't make a difference."""
    return build_aged(tmp_path / "record.db")


def owner_of(location: StoreLocation) -> StoreLocation:
    """Whoever may remove: of a database its superuser, whose tables they are."""
    return DatabaseUrl(location.replace("placet_gate@", "postgres@")) if isinstance(location, DatabaseUrl) else location


@contextlib.contextmanager
def signing(location: StoreLocation) -> Iterator[AuditLog]:
    log = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY, create=False)
    try:
        yield log
    finally:
        log.close()


def looked_at(location: StoreLocation, **options: Any) -> Looked:
    return look(location, KEYS, TERMS, now=NOW, **options)


def carry_out(location: StoreLocation, looked: Looked) -> Pruned:
    """A whole run, in which a gate signs while the command waits."""

    def sign(_seconds: float) -> None:
        with signing(location) as log:
            log.checkpoint()

    return prune(location, KEYS, looked, TERMS, by="sam", reason="terms", now=NOW, owner=owner_of(location), pause=sign)


def pruned_record(location: StoreLocation) -> Pruned:
    return carry_out(location, looked_at(location))


def there(location: StoreLocation) -> set[int]:
    """Indexes of leaves whose bytes are there."""
    with open_reader(location) as reader:
        return {stored.index for stored in reader.leaves(0, 10_000) if stored.raw_leaf}


def verified(location: StoreLocation, **options: Any) -> Verification:
    """What is found, and the same by the strict way, the quick one and with shares of several jobs."""
    found = verify_file(location, KEYS, **options)
    assert verify_shared(location, KEYS, share=4, **options) == found
    return found


def hold(location: StoreLocation, query: Query | None = None, hold_id: str = "case-7") -> None:
    with open_reader(location) as reader:
        covered = ((0, SIZE),) if query is None else find_covered(reader, query)
    with signing(location) as log:
        body = render_hold(hold_id, covered=covered, scope="all", by="lee", reason="suit", ticket="L-1", now=NOW)
        log.append(body)
        log.checkpoint()


def release(location: StoreLocation, hold_id: str = "case-7") -> None:
    with signing(location) as log:
        log.append(render_release(hold_id, by="lee", reason="settled", ticket="L-1", now=NOW))
        log.checkpoint()


def test_looking_changes_nothing_and_says_what_would_go_and_why_the_rest_stays(record: StoreLocation) -> None:
    before = verified(record)
    plan = looked_at(record).plan
    assert {index for start, end in plan.removal.leaves for index in range(start, end)} == GONE
    assert dict(plan.types) == {"decision": len(GONE) - len(HEARTBEATS), "heartbeat": len(HEARTBEATS)}
    # its term has run out beside leaves that stay: the admissions that a gate may ask for, and two of the middle
    assert dict(plan.attachments) == {"content": 1, "input": len(KEPT_ADMISSIONS) + 3}
    assert plan.kept[FOR_GOOD] == 2
    assert plan.kept[ASKED_FOR] == len(KEPT_ADMISSIONS)
    assert plan.kept[RESTED_ON] == 4 + 3  # old and new keyring, policies and configuration; who shares its content
    assert plan.kept[YOUNG] == SIZE - len(GONE) - 2 - len(KEPT_ADMISSIONS) - 7
    assert HELD not in plan.kept
    assert (verified(record).root, verified(record).size) == (before.root, before.size)


def test_a_pruned_record_verifies_and_says_what_is_gone_and_by_whose_word(record: StoreLocation) -> None:
    before = verified(record)
    done = pruned_record(record)
    assert done == Pruned((SIZE,), (), len(GONE), 1 + len(KEPT_ADMISSIONS) + 3)
    result = verified(record, saved=[("saved", _note(record, SIZE))])
    assert result.findings == ()
    assert result.saved == ("saved",)
    assert result.size == before.size + 1
    assert there(record) == set(range(SIZE + 1)) - GONE
    (note,) = [note for note in result.notes if note.startswith(f"leaf {SIZE} of ")]
    assert note.startswith(f"leaf {SIZE} of 2026-11-22T18:00:00.000000Z, by sam (terms), explains that {len(GONE)} ")
    # nothing but hash and index is left of what went, and nothing of what stood beside it
    with open_reader(record) as reader:
        for row in reader.raw_rows():
            if row.index in GONE:
                assert (row.raw_leaf, row.raw_columns[:2]) == (b"", (PRUNED, ""))
                assert set(row.raw_columns[2:]) == {None, ""}
        beside = set(reader.attachment_names(SIZE))
    assert not {index for index, _ in beside} & GONE
    assert (ADMISSIONS[0], "content") in beside, "a decision that stays shares it"
    assert (RECENT, "input") in beside
    assert (AGED_INPUT, "input") not in beside


def _note(location: StoreLocation, size: int) -> bytes:
    with open_reader(location) as reader:
        return next(str(note).encode() for at, _, _, note in reader.raw_checkpoints() if at == size)


def test_every_answer_that_a_gate_gets_is_the_same_after_a_prune(record: StoreLocation) -> None:
    def answers() -> list[Any]:
        where = {"environment": "production", "namespace": "ml", "kind": "Deployment"}
        found: list[Any] = []
        with open_reader(record) as reader:
            for name in ("llama", "other", "another", "recent", "llama-0", "nothing"):
                found.append(reader.last_approved(**where, name=name))
                found.append(reader.approved_of(cluster="prod-eu-1", **where, name=name, limit=16))
                for number in ADMISSIONS[-16:]:
                    asked = {"cluster": "prod-eu-1", **where, "name": name, "projection": f"sha256:{number:064x}"}
                    found.append(reader.approvals_of(**asked, limit=4))
            found.append(reader.model_seen(cluster="prod-eu-1", environment="production", model="llama-3.1-70b"))
            kinds = ("revocation", "break-glass", "restored", "hold")
            found += [list(reader.of_type(kind, start=0)) for kind in kinds]
            found += [reader.latest(kind) for kind in ("keyring", "policy", "configuration", "heartbeat")]
        return found

    before = answers()
    pruned_record(record)
    assert answers() == before
    assert {OLD_KEYRING, OLD_POLICY, OLD_CONFIGURATION, NEW_KEYRING, NEW_POLICY, NEW_CONFIGURATION} <= there(record)
    assert {REVOCATION, USED, LAST} <= there(record)


def test_a_keyring_goes_with_the_last_decision_that_rests_on_it(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    for version in (1, 2):
        foundations(log, version, OLD)
    append_aged(log, 100, OLD, allowed=False, approved=False, **rests_on(1))
    append_aged(log, 101, NOW, allowed=False, approved=False, **rests_on(2))
    log.checkpoint()
    log.close()
    pruned_record(path)
    assert there(path) == {3, 4, 5, 7, 8}
    assert verified(path).verified


def test_what_remains_is_proved_against_old_and_new_checkpoints(file: Path) -> None:
    saved = _note(file, SIZE)
    pruned_record(file)
    with open_reader(file) as reader:
        for stored in reader.leaves(0, SIZE):
            proof = prove_inclusion(reader, stored, KEYS) if stored.raw_leaf else b""
            if proof:
                found = verify_proof(proof, KEYS)
                assert isinstance(found, VerifiedInclusion)
                assert found.index == stored.index
        verify_proof(prove_consistency(reader, saved, KEYS), KEYS)


def test_who_asks_for_a_pruned_leaf_is_told_so(file: Path) -> None:
    pruned_record(file)
    with open_reader(file) as reader:
        stored = next(reader.leaves(DENIALS[0], DENIALS[0] + 1))
        for read in (read_stored, read_found):
            with pytest.raises(AuditError, match=f"leaf {DENIALS[0]} was pruned") as caught:
                read(stored)
            assert caught.value.code == "pruned"
        every = find(reader, Query(type=""), limit=1000).found
        assert {one.index for one in every} == set(range(SIZE + 1)) - GONE
        (pruned,) = find(reader, Query(type=PRUNE), limit=5).found
        assert pruned.index == SIZE


def test_a_gate_goes_on_signing_a_pruned_record(record: StoreLocation) -> None:
    pruned_record(record)
    with signing(record) as log:
        append_aged(log, 500, NOW)
        log.checkpoint()
        assert log.health().writable
    result = verified(record)
    assert (result.findings, result.signed_size) == ((), SIZE + 2)


def certified(location: StoreLocation, start: int, end: int) -> Certified | None:
    with open_reader(location) as reader:
        return certify(reader, start, end, Forms(0))


def test_nothing_that_was_pruned_and_no_leaf_that_explains_it_is_certified(record: StoreLocation) -> None:
    hold(record, Query(name="llama-0"))
    pruned_record(record)
    with open_reader(record) as reader:
        types = {kind: [one.index for one in reader.of_type(kind, start=0)] for kind in (HOLD, PRUNE)}
    gone = set(range(SIZE)) - there(record)
    assert all(types.values())
    assert gone
    for index in (*gone, *types[HOLD], *types[PRUNE]):
        assert certified(record, index, index + 1) is None, index
    beside = [certified(record, index, index + 1) for index in (REVOCATION, AGED_INPUT, RECENT)]
    assert [made and made.erased for made in beside] == [0, 2, 0]


def test_several_processes_verify_a_pruned_record_as_one_does(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pruned_record(file)
    with signing(file) as log:
        for number in range(600, 624):
            append_aged(log, number, NOW)
        log.checkpoint()
    alone = verified(file)
    asked: dict[int, bool] = {}
    real = Workers.certify

    def noted(self: Workers, start: int, end: int) -> Certified | None:
        made = real(self, start, end)
        asked[start] = made is not None
        return made

    monkeypatch.setattr(Workers, "certify", noted)
    monkeypatch.setattr("placet.audit.verify.open_workers", lambda *a, **named: open_workers(*a, **named, share=8))
    assert verify_quick(file, KEYS, jobs=2) == alone
    assert alone.verified
    assert not asked[0], "its first leaves were pruned"
    assert asked[56], "its last are plain"


def test_the_second_verifier_reads_a_pruned_record_too(file: Path) -> None:
    pruned_record(file)
    assert verify_second(str(file), str(LOG_KEY.verifier), []) == []
    remove(file, Removal(((REVOCATION, REVOCATION + 1),), {}))
    assert verify_second(str(file), str(LOG_KEY.verifier), [])


def test_a_second_run_finds_nothing_to_do(file: Path) -> None:
    pruned_record(file)
    again = looked_at(file)
    assert not again.plan.removal
    assert carry_out(file, again) == Pruned((), (), 0, 0)
    assert verified(file).size == SIZE + 1


def test_a_run_that_ended_before_it_was_signed_for_removes_nothing_and_the_next_carries_it_out(
    file: Path,
) -> None:
    looked = looked_at(file)
    owner = owner_of(file)
    announced = prune(file, KEYS, looked, TERMS, by="sam", reason="", now=NOW, owner=owner, wait_s=0)
    assert announced == Pruned((SIZE,), (SIZE,), 0, 0)
    assert there(file) == set(range(SIZE + 1))
    assert verified(file).verified
    with signing(file) as log:
        log.checkpoint()
    after = looked_at(file)
    assert [one.index for one in after.announced] == [SIZE]
    done = carry_out(file, after)
    assert done.leaves == len(GONE)
    assert there(file) & GONE == set()
    assert verified(file).verified


def test_a_run_that_is_killed_in_the_middle_leaves_a_record_that_verifies(record: StoreLocation) -> None:
    looked = looked_at(record)
    prune(record, KEYS, looked, TERMS, by="sam", reason="", now=NOW, owner=owner_of(record), wait_s=0)
    with signing(record) as log:
        log.checkpoint()
    first = Removal(looked.plan.removal.leaves[:1], {})  # what one transaction does
    remove(owner_of(record), first)
    result = verified(record)
    assert result.verified
    assert there(record) & GONE
    carry_out(record, looked_at(record))
    assert there(record) & GONE == set()
    assert verified(record).verified


def test_nothing_that_a_hold_covers_goes_until_it_is_released(file: Path) -> None:
    hold(file)
    looked = looked_at(file)
    assert not looked.plan.removal
    assert looked.plan.kept[HELD] > len(GONE)
    assert looked.plan.before == 0
    assert carry_out(file, looked).leaves == 0
    assert "hold case-7 is in force since leaf 45 (all): suit" in verified(file).notes
    release(file)
    assert pruned_record(file).leaves == len(GONE)
    assert verified(file).verified


def test_a_hold_over_a_workload_covers_its_decisions_and_what_they_rest_on(record: StoreLocation) -> None:
    hold(record, Query(name="llama-0"))
    held = {index for index in DENIALS if index % 3 == 0}
    with open_reader(record) as reader:
        (found,) = load_holds(reader)
        assert {index for start, end in found.covered for index in range(start, min(end, SIZE))} >= held
    pruned_record(record)
    assert there(record) & GONE == held
    with open_reader(record) as reader:
        assert {index for index, name in reader.attachment_names(SIZE) if name == "input"} >= held
    assert verified(record).verified


def test_a_hold_that_comes_after_the_announcement_keeps_what_is_not_gone_yet(file: Path) -> None:
    prune(file, KEYS, looked_at(file), TERMS, by="sam", reason="", now=NOW, owner=owner_of(file), wait_s=0)
    hold(file)
    assert carry_out(file, looked_at(file)).leaves == 0
    assert there(file) >= GONE
    assert verified(file).verified


def test_what_was_pruned_in_spite_of_a_hold_is_named(file: Path) -> None:
    removal = looked_at(file).plan.removal
    hold(file)
    with signing(file) as log:
        log.append(_prune_body(removal))
        log.checkpoint()
    remove(owner_of(file), removal)
    result = verified(file)
    assert result.kinds == ("hold_broken",)
    assert result.first_bad_index == min(GONE)


def _prune_body(removal: Removal, size: int = SIZE) -> dict[str, Any]:
    return render_prune(
        removal, before=0, size=size, root=bytes(32), retention=TERMS, cutoffs=TERMS.cutoffs(NOW), by="x", reason="",
        now=NOW,
    )  # fmt: skip


def test_leaves_that_went_without_a_word_are_named(file: Path) -> None:
    remove(owner_of(file), Removal(((7, 9),), {}))
    result = verified(file)
    assert result.kinds == ("prune_unexplained",)
    assert (result.first_bad_index, result.findings_total) == (7, 2)
    with pytest.raises(TamperError, match="is not what was signed") as caught:
        looked_at(file)
    assert caught.value.code == "not_verified"


def test_more_than_the_leaf_says_is_named(file: Path) -> None:
    pruned_record(file)
    remove(owner_of(file), Removal(((REVOCATION, REVOCATION + 1),), {}))
    result = verified(file)
    assert (result.kinds, result.first_bad_index) == (("prune_unexplained",), REVOCATION)


def test_a_word_that_nobody_signed_explains_nothing(file: Path) -> None:
    removal = looked_at(file).plan.removal
    with signing(file) as log:
        log.append(_prune_body(removal))
    remove(owner_of(file), removal)
    result = verified(file)
    assert (result.kinds, result.first_bad_index) == (("prune_unexplained",), min(GONE))


def test_a_word_that_was_put_in_afterwards_is_found(file: Path) -> None:
    with signing(file) as log:
        index = log.heartbeat(NOW).index
        log.checkpoint()
    removal = Removal(((7, 9),), {})
    forged = render_leaf(_prune_body(removal))
    remove(owner_of(file), removal)
    with surgery(file) as database:
        database.execute(
            "UPDATE leaves SET leaf = ?, leaf_hash = ?, leaf_type = 'prune' WHERE idx = ?",
            (forged.raw, forged.hash, index),
        )
    assert "rewritten" in verified(file).kinds


def test_a_hash_of_a_pruned_leaf_that_was_changed_is_found(file: Path) -> None:
    pruned_record(file)
    with surgery(file) as database:
        database.execute("UPDATE leaves SET leaf_hash = ? WHERE idx = ?", (bytes(32), DENIALS[0]))
    result = verified(file)
    assert "rewritten" in result.kinds
    assert result.first_bad_index == 0


@pytest.mark.parametrize(("column", "value"), [("requester", "alice"), ("time", "2014"), ("uid", "uid-8")])
def test_a_column_that_is_left_beside_a_pruned_leaf_is_found(file: Path, column: str, value: str) -> None:
    pruned_record(file)
    with surgery(file) as database:
        database.execute(f"UPDATE leaves SET {column} = ? WHERE idx = ?", (value, DENIALS[0]))  # noqa: S608 - from the list above
    assert verified(file).kinds == ("column_changed",)


def test_a_pruned_record_is_copied_as_it_is(record: StoreLocation, tmp_path: Path) -> None:
    pruned_record(record)
    target = tmp_path / "copy.db"
    with open_reader(record) as reader:
        store = open_store(target, origin=ORIGIN)
        done = migrate(reader, store, lambda: open_reader(target), progress=lambda _done, _total: None)
        store.close()
    assert done.size == SIZE + 1
    assert there(target) == there(record)
    assert verified(target).verified
    assert verified(target).root == verified(record).root


def test_nothing_at_or_after_what_is_signed_goes(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    build_aged(path, sign=False)
    assert not looked_at(path).plan.removal


def test_only_what_comes_before_a_given_end_goes(file: Path) -> None:
    plan = looked_at(file, end=8).plan
    assert {index for start, end in plan.removal.leaves for index in range(start, end)} == {3, 4, 5, 6, 7}


def test_a_clock_that_is_ahead_prunes_nothing_that_the_record_itself_does_not_call_old(file: Path) -> None:
    ahead = NOW.replace(year=2099)
    assert look(file, KEYS, TERMS, now=ahead).plan.removal == looked_at(file).plan.removal
    behind = NOW.replace(year=2015)
    assert not look(file, KEYS, TERMS, now=behind).plan.removal


def test_what_is_of_no_class_is_kept(file: Path) -> None:
    with surgery(file) as database:
        database.execute(
            "INSERT INTO blobs (idx, name, sha256, content) VALUES (?, ?, ?, ?)", (DENIALS[0], "novel", bytes(32), b"")
        )
    with open_reader(file) as reader:
        plan = plan_prune(reader, TERMS, now=NOW, end=SIZE)
    assert {index for start, end in plan.removal.leaves for index in range(start, end)} == GONE - {DENIALS[0]}


def test_the_gates_role_can_remove_nothing(postgres: Any) -> None:
    with postgres.own_record() as url:
        build_aged(url)
        with pytest.raises(AuditError) as caught:
            remove(url, Removal(((7, 9),), {}))
        assert caught.value.code == "store_readonly"
        assert there(url) == set(range(SIZE))
        remove(owner_of(url), Removal(((7, 9),), {}))
        with (
            psycopg.connect(str(owner_of(url)), autocommit=True) as connection,
            pytest.raises(psycopg.Error, match="append-only"),
        ):
            connection.execute("UPDATE placet.leaves SET leaf = '' WHERE idx = 10")
        assert "schema_changed" not in verified(url).kinds, "the trigger is back"


def test_a_removal_that_fails_leaves_the_trigger_and_the_leaves_as_they_were(tmp_path: Path) -> None:
    path = build_aged(tmp_path / "record.db")
    database = sqlite3.connect(path)
    database.execute("CREATE TRIGGER full BEFORE DELETE ON blobs BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    database.commit()
    with pytest.raises(AuditError):
        remove(path, Removal(((6, 9),), {}))
    database.execute("DROP TRIGGER full")
    database.commit()
    database.close()
    assert there(path) == set(range(SIZE))
    assert verified(path).verified


def test_what_was_removed_is_not_in_the_file_any_more(tmp_path: Path) -> None:
    path = build_aged(tmp_path / "record.db")
    pruned_record(path)
    raw = b"".join(one.read_bytes() for one in tmp_path.iterdir() if one.name.startswith("record.db"))
    assert b"decision-6" not in raw
    assert b"decision-43" in raw


def test_a_prune_of_many_ranges_is_told_by_several_leaves() -> None:
    spans = tuple((number * 2, number * 2 + 1) for number in range(MAX_RANGES + 5))
    parts = list(Removal(spans, {"input": ((1, 2),)}).parts())
    assert [len(part.leaves) for part in parts] == [MAX_RANGES, 5]
    assert dict(parts[1].attachments) == {"input": ((1, 2),)}
    for part in parts:
        wide = Removal(tuple((start + 10**12, end + 10**12) for start, end in part.leaves), part.attachments)
        render_leaf(_prune_body(wide))


@pytest.mark.parametrize(
    "change",
    [
        {"size": 99}, {"size": "7"}, {"before": 46}, {"leaves": [[5, 4]]}, {"leaves": [[0, 46]]}, {"leaves": None},
        {"leaves": [[0, 2], [2, 3]]}, {"attachments": []}, {"attachments": {"input": [[1]]}}, {"by": 7},
    ],
)  # fmt: skip
def test_a_prune_that_is_not_of_its_form_is_none(change: dict[str, Any]) -> None:
    body = _prune_body(Removal(((1, 3),), {}))
    assert parse_prune(SIZE, body).removal.leaves == ((1, 3),)
    with pytest.raises(FormatError):
        parse_prune(SIZE, body | change)


def test_the_terms_are_those_of_the_governance_framework() -> None:
    cutoffs = TERMS.cutoffs(NOW)
    assert {one.value: moment.year for one, moment in cutoffs.items()} == {
        "model_artifacts": 2019,
        "approval_records": 2016,
        "audit_logs": 2019,
    }
    assert set(cutoffs) == set(RetentionClass)


def test_a_ledger_is_made_of_what_the_leaves_say(file: Path) -> None:
    pruned_record(file)
    with open_reader(file) as reader:
        ledger = load_ledger(reader)
        frontier = Frontier()
        for leaf_hash in reader.leaf_hashes(SIZE):
            frontier.append(leaf_hash)
        body = read_stored(next(reader.leaves(SIZE, SIZE + 1))).body
    assert body["root"] == frontier.root().hex()
    assert ledger.find_leaf(DENIALS[0]) is not None
    assert ledger.find_leaf(REVOCATION) is None
    assert ledger.find_attachment(AGED_INPUT, "input") is not None
    assert ledger.find_attachment(RECENT, "input") is None
    assert ledger.before == NEW_KEYRING + 3
    assert body["cutoffs"]["approval_records"].startswith("2016-11-21")
    assert DECISION in looked_at(file).verification.by_type
    assert SHARING


def test_what_records_are_found_by_goes_with_them_and_the_index_still_holds(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    for number in range(BLOCK):
        if number % 200:
            log.heartbeat(OLD)
        else:
            append_aged(log, number, OLD, allowed=False, approved=False)
    append_aged(log, 5000, NOW)
    assert log.index_blocks(1) == 1
    log.checkpoint()
    log.close()
    asked = term_of("user", "alice@example.org")
    with open_reader(path) as reader:
        assert asked in {term for _, term, _ in reader.raw_terms()}
    pruned_record(path)
    result = verified(path)
    assert (result.findings, len(there(path))) == ((), 2)
    with open_reader(path) as reader:
        assert list(reader.raw_blocks()) == [(0, "", "")]
        assert list(reader.raw_terms()) == []
        assert [one.index for one in find(reader, Query(type=""), limit=50).found] == [BLOCK + 1, BLOCK]
