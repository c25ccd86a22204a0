from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals.envelope import render_envelope
from placet.approvals.revocations import Revocations, load_revocations
from placet.approvals.signing import sign_statement
from placet.approvals.statement import RevocationStatement, render_statement
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
