"""Keyring and revocations from disk: what changes counts at once, what is older never."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from placet.approvals.keyring import VerifiedKeyring
from placet.errors import AuditError, KeyringError
from placet.trust import FileTrust
from tests.simulators.desk import ApprovalDesk


class Files:
    """A desk's files, and a trust over them."""

    def __init__(self, folder: Path) -> None:
        self.desk = ApprovalDesk.standard()
        paths = self.desk.write(folder)
        self.keyring, self.revocations = paths["keyring"], paths["revocations"]
        self.roots = sorted(paths["roots"].iterdir())
        self.seen: list[int] = []

    def trust(self, *, newest_version: int = 0) -> FileTrust:
        return FileTrust(
            keyring_file=self.keyring,
            root_files=self.roots,
            threshold=2,
            revocations=self.revocations,
            newest_version=newest_version,
            on_change=lambda keyring, _: self.seen.append(keyring.version),
        )

    def publish(self, version: int) -> None:
        self.desk.document["version"] = version
        self.keyring.write_bytes(self.desk.keyring_bytes)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_new_keyring_counts_at_once_and_is_told_of_once(files: Files) -> None:
    trust = files.trust()
    for version in (1, 1, 2, 2):
        files.publish(version)
        assert trust.load(files.desk.now)[0].version == version
    assert files.seen == [1, 2]


def test_an_older_keyring_never_counts_again(files: Files) -> None:
    trust = files.trust()
    files.publish(3)
    trust.load(files.desk.now)
    files.publish(2)
    with pytest.raises(KeyringError) as caught:
        trust.load(files.desk.now)
    assert caught.value.code == "keyring_rollback"


def test_a_restart_does_not_forget_the_newest_version(files: Files) -> None:
    files.publish(2)
    with pytest.raises(KeyringError) as caught:
        files.trust(newest_version=3).load(files.desk.now)
    assert caught.value.code == "keyring_rollback"


def test_a_keyring_that_can_not_be_recorded_does_not_count(files: Files) -> None:
    def refuse(_keyring: VerifiedKeyring, _now: object) -> None:
        raise AuditError("no", code="store_full")

    trust = FileTrust(
        keyring_file=files.keyring, root_files=files.roots, threshold=2, revocations=None, on_change=refuse
    )
    for _ in range(2):
        with pytest.raises(AuditError):
            trust.load(files.desk.now)


def test_a_keyring_that_was_read_before_expires_all_the_same(files: Files) -> None:
    trust = files.trust()
    expires = trust.load(files.desk.now)[0].expires
    with pytest.raises(KeyringError) as caught:
        trust.load(expires)
    assert caught.value.code == "keyring_expired"


def test_a_revocation_counts_as_soon_as_it_lies_in_the_folder(files: Files) -> None:
    trust = files.trust()
    name = "0a0b0c0d-0000-4000-8000-000000000001"
    assert len(trust.load(files.desk.now)[1]) == 0
    (files.revocations / "a.dsse.json").write_bytes(files.desk.revoke(name, role="security"))
    assert len(trust.load(files.desk.now)[1]) == 1
    (files.revocations / "a.dsse.json").write_bytes(b"{}")
    with pytest.raises(KeyringError) as caught:
        trust.load(files.desk.now)
    assert caught.value.code == "revocations_unreadable"


def test_a_folder_that_went_away_is_an_error_not_an_empty_one(files: Files) -> None:
    trust = files.trust()
    trust.load(files.desk.now)
    shutil.rmtree(files.revocations)
    with pytest.raises(KeyringError) as caught:
        trust.load(files.desk.now)
    assert caught.value.code == "revocations_unreadable"
