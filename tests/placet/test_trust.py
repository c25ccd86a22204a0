"""Keyring and revocations from disk: what changes counts at once, what is older never."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.approvals.keyring import VerifiedKeyring, load_keyring
from placet.approvals.revocations import KeptRevocations, Revocation, Revocations, load_revocations
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

    def trust(
        self, *, newest_version: int = 0, kept: KeptRevocations | None = None, folder: Path | None = None
    ) -> FileTrust:
        return FileTrust(
            keyring_file=self.keyring,
            root_files=self.roots,
            threshold=2,
            revocations=folder or self.revocations,
            newest_version=newest_version,
            on_change=lambda keyring, _: self.seen.append(keyring.version),
            kept=kept,
        )

    def revoke(self, number: int, folder: Path | None = None) -> Path:
        """Put the file of a revocation there."""
        file = (folder or self.revocations) / f"{number}.dsse.json"
        file.write_bytes(self.desk.revoke(approval(number), role="security"))
        return file

    def numbers(self, trust: FileTrust) -> set[int]:
        """Which revocations count now."""
        return numbers_of(trust.load(self.desk.now)[1])

    def publish(self, version: int) -> None:
        self.desk.document["version"] = version
        self.keyring.write_bytes(self.desk.keyring_bytes)


def approval(number: int) -> str:
    return f"0a0b0c0d-0000-4000-8000-{number:012d}"


def numbers_of(revocations: Iterable[Revocation]) -> set[int]:
    return {int(one.approval_id[-12:]) for one in revocations}


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
    assert trust.load(files.desk.now)[0].version == 3
    assert trust.refused is not None
    assert trust.refused.code == "keyring_rollback"
    assert files.seen == [3]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff" * 10])
def test_a_file_that_is_no_keyring_leaves_the_one_before_in_force(files: Files, content: bytes | None) -> None:
    trust = files.trust()
    files.publish(3)
    trust.load(files.desk.now)
    if content is None:
        files.keyring.unlink()
    else:
        files.keyring.write_bytes(content)
    assert trust.load(files.desk.now)[0].version == 3
    assert trust.refused is not None
    files.publish(4)
    assert trust.load(files.desk.now)[0].version == 4
    assert trust.refused is None


def test_a_refused_file_does_not_prolong_what_is_in_force(files: Files) -> None:
    trust = files.trust()
    expires = trust.load(files.desk.now)[0].expires
    files.keyring.write_bytes(b"{}")
    trust.load(expires - timedelta(seconds=1))
    with pytest.raises(KeyringError) as caught:
        trust.load(expires)
    assert caught.value.code == "keyring_malformed"


def test_a_keyring_for_later_comes_into_force_when_its_time_has_come(files: Files) -> None:
    trust = files.trust()
    now = files.desk.now
    trust.load(now)
    later = now + timedelta(hours=1)
    files.desk.document["issued"] = f"{later:%Y-%m-%dT%H:%M:%SZ}"
    files.publish(2)
    assert trust.load(now)[0].version == 1
    assert trust.refused is not None
    assert trust.refused.code == "keyring_not_yet_valid"
    assert trust.load(later)[0].version == 2
    assert files.seen == [1, 2]


def test_a_refused_file_is_not_verified_again_at_each_decision(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    trust = files.trust()
    trust.load(files.desk.now)
    calls: list[bytes] = []

    def refuse(raw: bytes, **_: object) -> VerifiedKeyring:
        calls.append(raw)
        raise KeyringError("no")

    monkeypatch.setattr("placet.trust.verify_keyring", refuse)
    files.keyring.write_bytes(b"{}")
    for _ in range(5):
        trust.load(files.desk.now)
    assert len(calls) == 1
    trust.load(files.desk.now + timedelta(seconds=1))
    assert len(calls) == 2


def test_a_first_keyring_that_is_refused_is_an_error_every_time(files: Files) -> None:
    files.keyring.write_bytes(b"{}")
    trust = files.trust()
    for _ in range(2):
        with pytest.raises(KeyringError):
            trust.load(files.desk.now)
    assert trust.in_force is None


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


def test_a_keyring_that_has_not_changed_for_a_while_is_not_read_again(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.publish(1)
    trust = files.trust()
    reads: list[Path] = []

    def counted(path: Path) -> bytes:
        reads.append(path)
        return load_keyring(path)

    monkeypatch.setattr("placet.trust.load_keyring", counted)
    now_ns = files.keyring.stat().st_ctime_ns
    monkeypatch.setattr("placet.trust.time.time_ns", lambda: now_ns + 1_000_000_000)
    for _ in range(3):  # written just now: it may be written again within one tick of the clock
        assert trust.load(files.desk.now)[0].version == 1
    assert len(reads) == 3
    monkeypatch.setattr("placet.trust.time.time_ns", lambda: now_ns + 3_000_000_000)
    for _ in range(3):
        assert trust.load(files.desk.now)[0].version == 1
    assert len(reads) == 4


@pytest.mark.parametrize("how", ["written over", "replaced", "touched"])
def test_a_settled_keyring_that_changes_in_any_way_is_read_again(
    files: Files, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    files.publish(1)
    trust = files.trust()
    monkeypatch.setattr("placet.trust.time.time_ns", lambda: 2**62)
    assert trust.load(files.desk.now)[0].version == 1
    times = files.keyring.stat()
    files.desk.document["version"] = 2
    if how == "replaced":
        beside = files.keyring.with_suffix(".new")
        beside.write_bytes(files.desk.keyring_bytes)
        os.utime(beside, ns=(times.st_atime_ns, times.st_mtime_ns))
        beside.replace(files.keyring)
    else:
        files.keyring.write_bytes(files.desk.keyring_bytes)
    if how == "touched":  # whoever sets the times back can't set back that of the change
        os.utime(files.keyring, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert trust.load(files.desk.now)[0].version == 2


def test_a_settled_keyring_that_goes_away_is_missed(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.publish(1)
    trust = files.trust()
    monkeypatch.setattr("placet.trust.time.time_ns", lambda: 2**62)
    trust.load(files.desk.now)
    files.keyring.unlink()
    trust.load(files.desk.now)  # what was accepted holds until it expires
    assert trust.refused is not None
    assert trust.refused.code == "keyring_missing"


def test_a_revocation_whose_file_went_away_still_counts_and_is_missed(files: Files) -> None:
    trust = files.trust()
    assert trust.find_missing() == ()
    first, second = files.revoke(1), files.revoke(2)
    assert files.numbers(trust) == {1, 2}
    assert trust.find_missing() == ()
    content = first.read_bytes()
    first.unlink()
    assert files.numbers(trust) == {1, 2}
    assert numbers_of(trust.find_missing()) == {1}
    second.unlink()
    assert files.numbers(trust) == {1, 2}
    assert numbers_of(trust.find_missing()) == {1, 2}
    (files.revocations / "under-another-name.dsse.json").write_bytes(content)
    assert files.numbers(trust) == {1, 2}
    assert numbers_of(trust.find_missing()) == {2}


def test_a_revocation_that_the_keyring_has_is_not_missed(files: Files) -> None:
    trust = files.trust()
    file = files.revoke(1)
    files.numbers(trust)
    file.unlink()
    files.desk.document["revokedApprovals"] = [approval(1)]
    files.publish(2)
    assert files.numbers(trust) == {1}
    assert trust.find_missing() == ()


def test_a_revocation_outlasts_its_signer_once_it_has_counted(files: Files) -> None:
    trust = files.trust()
    file = files.revoke(1)
    files.numbers(trust)
    files.desk.grant("bob", "security")["environments"] = ["development"]
    files.publish(2)
    with pytest.raises(KeyringError, match="no grant"):
        files.numbers(trust)
    file.unlink()
    assert files.numbers(trust) == {1}


def test_without_a_folder_what_is_known_counts_and_is_missed(files: Files) -> None:
    found = files.trust()
    files.revoke(1)
    known = KeptRevocations(found.load(files.desk.now)[1])
    trust = FileTrust(keyring_file=files.keyring, root_files=files.roots, threshold=2, revocations=None, kept=known)
    assert files.numbers(trust) == {1}
    assert numbers_of(trust.find_missing()) == {1}


def test_what_is_only_tried_out_revokes_nothing_until_it_is_in_office(files: Files, tmp_path: Path) -> None:
    kept = KeptRevocations()
    old = files.trust(kept=kept)
    files.revoke(1)
    assert files.numbers(old) == {1}
    another = tmp_path / "another"
    another.mkdir()
    files.revoke(2, another)
    new = files.trust(kept=kept.apart(), folder=another)
    assert files.numbers(new) == {1, 2}
    assert files.numbers(old) == {1}
    files.revoke(3)
    assert files.numbers(old) == {1, 3}
    new.enter_office(kept)
    assert files.numbers(old) == files.numbers(new) == {1, 2, 3}
    assert numbers_of(kept.unrecorded()) == {1, 2, 3}
    files.revoke(4)  # a review that began before decides with the old one, and what it has seen holds too
    files.numbers(old)
    assert files.numbers(new) == {1, 2, 3, 4}


def test_nothing_is_read_or_merged_while_nothing_changes(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    trust = files.trust()
    file = files.revoke(1)
    reads: list[Path] = []

    def counted(folder: Path, *, keyring: VerifiedKeyring) -> Revocations:
        reads.append(folder)
        return load_revocations(folder, keyring=keyring)

    monkeypatch.setattr("placet.trust.load_revocations", counted)
    first = trust.load(files.desk.now)[1]
    assert all(trust.load(files.desk.now)[1] is first for _ in range(5))
    assert len(reads) == 1
    file.unlink()
    assert all(trust.load(files.desk.now)[1] is first for _ in range(5))
    assert len(reads) == 2


_STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "take", "record", "reload", "keyring"]), st.integers(0, 4)), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(steps=_STEPS)
def test_whatever_happens_to_the_files_nothing_that_was_revoked_counts_again(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    files, kept = Files(tmp_path_factory.mktemp("desk")), KeptRevocations()
    trust, version, ever = files.trust(kept=kept), 1, set[int]()
    for what, number in steps:
        match what:
            case "put":
                files.revoke(number)
            case "take":
                (files.revocations / f"{number}.dsse.json").unlink(missing_ok=True)
            case "record":
                kept.add([one for one in kept.unrecorded() if number in numbers_of([one])], recorded=True)
            case "reload":
                trust = files.trust(kept=kept.apart())
                trust.load(files.desk.now)
                trust.enter_office(kept)
            case "keyring":
                version += 1
                files.publish(version)
        there = {int(file.name.split(".")[0]) for file in files.revocations.iterdir()}
        ever |= there
        assert files.numbers(trust) == ever
        assert numbers_of(trust.find_missing()) == ever - there
        assert numbers_of(kept.unrecorded()) <= ever
