from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals.envelope import render_envelope
from placet.approvals.revocations import KeptRevocations, Revocation, Revocations, load_revocations
from placet.approvals.signing import sign_statement
from placet.approvals.statement import RevocationStatement, render_statement
from placet.canonical import Digest
from placet.errors import KeyringError
from tests.simulators.desk import NOON, ApprovalDesk, sample_workload, signer_of

APPROVAL = "5f0cbb0e-9d0c-4dd8-9d0a-6a2b7c6f1d11"


@pytest.fixture
def desk() -> ApprovalDesk:
    return ApprovalDesk.standard()


def load(desk: ApprovalDesk, folder: Path, *contents: bytes) -> Revocations:
    for number, content in enumerate(contents):
        (folder / f"{number}.dsse.json").write_bytes(content)
    return load_revocations(folder, keyring=desk.keyring)


def find(revocations: Revocations, role: str = "security", environment: str = "production") -> str | None:
    found = revocations.find(APPROVAL, role=role, environment=environment)
    return None if found is None else found.person


def test_revocations_are_read_from_a_folder(desk: ApprovalDesk, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("not one of ours")
    revocations = load(desk, tmp_path, desk.revoke(APPROVAL, role="security", by="bob"))
    assert len(revocations) == 1
    assert [(one.person, one.envelope) for one in revocations] == [("p-bob", (tmp_path / "0.dsse.json").read_bytes())]
    assert find(revocations) == "p-bob"
    assert find(revocations, role="technical") is None
    assert find(revocations, environment="staging") is None


def test_an_empty_folder_revokes_nothing(desk: ApprovalDesk, tmp_path: Path) -> None:
    assert len(load(desk, tmp_path)) == 0
    assert find(Revocations.none()) is None


def test_a_revocation_outlives_the_key_that_made_it(desk: ApprovalDesk, tmp_path: Path) -> None:
    raw = desk.revoke(APPROVAL, role="security", by="bob")
    desk.revoke_key("bob", at=NOON - timedelta(days=1), how="compromised")
    desk.identity("bob")["keys"][0]["validUntil"] = "2026-11-01T00:00:00Z"
    assert find(load(desk, tmp_path, raw)) == "p-bob"


def unreadable(desk: ApprovalDesk, folder: Path, *contents: bytes) -> str:
    with pytest.raises(KeyringError) as caught:
        load(desk, folder, *contents)
    assert caught.value.code == "revocations_unreadable"
    assert caught.value.hint
    return str(caught.value)


def test_one_bad_file_among_good_ones_is_never_skipped(desk: ApprovalDesk, tmp_path: Path) -> None:
    good = desk.revoke(APPROVAL, role="security", by="bob")
    assert "1.dsse.json" in unreadable(desk, tmp_path, good, good[:-10])


def test_a_stranger_revokes_nothing(desk: ApprovalDesk, tmp_path: Path) -> None:
    statement = RevocationStatement(APPROVAL, "security", "production", NOON, "", "")
    envelope = sign_statement(signer_of("mallory"), render_statement(statement))
    unreadable(desk, tmp_path, render_envelope(envelope))


@pytest.mark.parametrize("by", ["alice", "ci"])
def test_who_may_not_approve_in_that_role_may_not_revoke(desk: ApprovalDesk, tmp_path: Path, by: str) -> None:
    assert "no grant for security" in unreadable(desk, tmp_path, desk.revoke(APPROVAL, role="security", by=by))


def test_who_may_not_approve_in_that_environment_may_not_revoke(desk: ApprovalDesk, tmp_path: Path) -> None:
    desk.grant("bob", "security")["environments"] = ["development"]
    unreadable(desk, tmp_path, desk.revoke(APPROVAL, role="security", by="bob"))


def test_an_approval_is_no_revocation(desk: ApprovalDesk, tmp_path: Path) -> None:
    envelope = desk.envelope(desk.statement(sample_workload(), role="security"), by="bob")
    assert "an approval, not a revocation" in unreadable(desk, tmp_path, render_envelope(envelope))


def test_every_flipped_byte_is_an_error_or_in_the_hint(desk: ApprovalDesk, tmp_path: Path) -> None:
    raw = desk.revoke(APPROVAL, role="security", by="bob")
    hint = range(raw.index(b'"keyid":"') + 9, raw.index(b'","sig"'))
    for at in range(len(raw)):
        flipped = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        if at in hint:
            assert find(load(desk, tmp_path, flipped)) == "p-bob"
        elif at % 5 == 0:
            unreadable(desk, tmp_path, flipped)


def test_a_folder_that_is_not_there_is_an_error(desk: ApprovalDesk, tmp_path: Path) -> None:
    unreadable(desk, tmp_path / "gone")


def test_a_file_that_can_t_be_read_is_an_error(desk: ApprovalDesk, tmp_path: Path) -> None:
    (tmp_path / "a.dsse.json").mkdir()
    unreadable(desk, tmp_path)


@given(content=st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    unreadable(ApprovalDesk.standard(), tmp_path_factory.mktemp("revocations"), content)


def revoked(number: int, person: str = "p-bob") -> Revocation:
    return Revocation(
        approval_id=f"approval-{number}",
        role="security",
        environment="production",
        person=person,
        statement=Digest.of(str(number).encode()),
        envelope=f"envelope {number}".encode(),
    )


def test_what_was_kept_stays_and_the_first_word_on_an_approval_counts() -> None:
    kept = KeptRevocations([revoked(1)])
    before = kept.now
    kept.add([revoked(1, person="p-eve"), revoked(2), revoked(2, person="p-eve")])
    assert [(one.approval_id, one.person) for one in kept.now] == [("approval-1", "p-bob"), ("approval-2", "p-bob")]
    assert len(before) == 1  # who decides on it is not disturbed
    same = kept.now
    kept.add([revoked(2)])
    assert kept.now is same


def test_a_kept_revocation_waits_with_its_envelope_until_it_is_recorded() -> None:
    kept = KeptRevocations([revoked(1)])
    kept.add([revoked(1), revoked(2), revoked(3)])
    assert [(one.approval_id, one.envelope) for one in kept.unrecorded()] == [
        ("approval-2", b"envelope 2"),
        ("approval-3", b"envelope 3"),
    ]
    assert {one.envelope for one in kept.now} == {b""}  # ten thousand of them are nothing to hold for ever
    kept.add([revoked(2)], recorded=True)
    assert [one.approval_id for one in kept.unrecorded()] == ["approval-3"]
    kept.add([revoked(2)])
    assert [one.approval_id for one in kept.unrecorded()] == ["approval-3"]


def test_what_is_found_apart_is_not_kept_by_the_others() -> None:
    kept = KeptRevocations()
    kept.add([revoked(1)])
    apart = kept.apart()
    apart.add([revoked(2)])
    assert [one.approval_id for one in apart.now] == ["approval-1", "approval-2"]
    assert [one.approval_id for one in apart.unrecorded()] == ["approval-2"]
    assert [one.approval_id for one in kept.now] == ["approval-1"]


def test_threads_lose_no_revocation() -> None:
    kept = KeptRevocations()

    def add(first: int) -> None:
        for number in range(first, first + 200):
            kept.add([revoked(number)])

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(kept.now) == len(kept.unrecorded()) == 500
