"""The archive holds what the log has signed, goes on after any interruption, and gives a store back."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.audit.archive import upload
from placet.audit.archive.bucket import Bucket
from placet.audit.archive.layout import parse_manifest
from placet.audit.archive.restore import ArchiveSource, FolderSource, Restored, restore
from placet.audit.archive.upload import Archived, lock_date, require_lock, write_archive
from placet.audit.archive.verify import verify_archive
from placet.audit.archive.watch import Exporter, newest_exported
from placet.audit.findings import Verification
from placet.audit.location import StoreLocation, open_reader, open_store
from placet.audit.log import AuditLog, render_time
from placet.audit.note import LogKey
from placet.audit.tile_writer import write_tiles
from placet.audit.verify import verify_file
from placet.canonical import Digest
from placet.errors import AuditError, InputError, TamperError
from tests.simulators.postgres import PostgresServer
from tests.simulators.s3 import Intruder, S3Server
from tests.simulators.tampering import LOG_KEY, ORIGIN, OTHER_KEY, START, append, build_log

KEYS: Final = [LOG_KEY.verifier]
NOW: Final = datetime.now(UTC)
UNTIL: Final = lock_date(NOW, 30)


class _Killed(BaseException):
    """The process ends here."""


def _build(path: Path, *, size: int, signed: tuple[int, ...]) -> Path:
    """A record with an attachment that is never erased beside its last leaf but one."""
    build_log(path, size=size - 1, signed=tuple(one for one in signed if one < size))
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    body = {
        "schema": "placet.dev/record/v1",
        "type": "keyring",
        "time": render_time(START + timedelta(seconds=size)),
        "cluster": "prod-eu-1",
        "envelope_digest": str(Digest.of(b"the keyring")),
    }
    log.append(body, attachments={"envelope": b"the keyring"})
    if size in signed:
        log.checkpoint()
    log.close()
    return path


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 leaves, of which all are signed for."""
    return _build(tmp_path_factory.mktemp("log") / "record.db", size=21, signed=(5, 12, 18, 21))


@pytest.fixture(scope="module")
def long_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """530 leaves: two full bundles, and a level above."""
    return build_log(tmp_path_factory.mktemp("log") / "record.db", size=530, signed=(5, 256, 300, 530))


def _archive(bucket: Bucket, store: StoreLocation, *, until: datetime | None = UNTIL) -> Archived:
    return write_archive(bucket, partial(open_reader, store), KEYS, locked_until=until, now=NOW)


def _restore(source: ArchiveSource | FolderSource, target: StoreLocation) -> Restored:
    store = open_store(target, origin=ORIGIN)
    try:
        return restore(source, store, partial(open_reader, target))
    finally:
        store.close()


def _content(location: StoreLocation) -> list[object]:
    with open_reader(location) as reader:
        return [
            reader.raw_states(),
            list(reader.raw_rows()),
            [tuple(row) for row in reader.raw_checkpoints()],
            [tuple(row) for row in reader.raw_blobs()],
        ]


def _verify(bucket: Bucket, **more: Any) -> Verification:
    return verify_archive(bucket, KEYS, **more)


def test_what_was_archived_verifies_and_comes_back_byte_for_byte(s3: S3Server, record: Path, tmp_path: Path) -> None:
    bucket = s3.make_bucket()
    done = _archive(bucket, record)
    assert (done.before, done.size, done.manifests) == (0, 21, 1)
    found = _verify(bucket)
    assert (found.kinds, found.size, found.signed_size, found.checkpoints) == ((), 21, 21, 4)
    assert found.notes == ()
    restored = _restore(ArchiveSource(bucket, KEYS), tmp_path / "back.db")
    assert (restored.size, restored.copied, restored.attachments, restored.checkpoints) == (21, 21, 20, 4)
    assert restored.root == found.root
    assert _content(tmp_path / "back.db") == _content(record)


def test_a_database_is_archived_and_comes_back(
    s3: S3Server, record: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    bucket, again = s3.make_bucket(), s3.make_bucket()
    _archive(bucket, record)
    with postgres.own_record() as url:
        assert _restore(ArchiveSource(bucket, KEYS), url).copied == 21
        assert _content(url)[1:] == _content(record)[1:]
        _archive(again, url)
    _restore(ArchiveSource(again, KEYS), tmp_path / "back.db")
    assert _content(tmp_path / "back.db") == _content(record)


def test_a_second_run_sends_nothing_and_a_later_one_what_is_new(s3: S3Server, record: Path, tmp_path: Path) -> None:
    bucket, growing = s3.make_bucket(), build_log(tmp_path / "record.db", size=20, signed=(5, 12, 18))
    assert _archive(bucket, growing).size == 18
    there = Intruder(s3, bucket).paths()
    assert _archive(bucket, growing).objects == 0
    assert Intruder(s3, bucket).paths() == there
    later = _archive(bucket, record_of(growing))
    assert (later.before, later.size, later.manifests) == (18, 20, 1)
    assert _verify(bucket).kinds == ()
    _restore(ArchiveSource(bucket, KEYS), tmp_path / "back.db")
    assert _content(tmp_path / "back.db") == _content(growing)


def record_of(path: Path) -> Path:
    """The record after it was signed once more."""
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    log.checkpoint()
    log.close()
    return path


def test_a_log_of_several_tiles_is_archived_in_manifests_that_follow_each_other(
    s3: S3Server, long_record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "LEAVES_A_MANIFEST", 40)
    bucket = s3.make_bucket()
    assert _archive(bucket, long_record).manifests == 3
    found = _verify(bucket)
    assert (found.kinds, found.size, found.checkpoints) == ((), 530, 4)
    manifests = [Intruder(s3, bucket).read(path) for path in Intruder(s3, bucket).paths("manifest/")]
    parsed = [parse_manifest(raw) for raw in manifests]
    assert [(one.before, one.size) for one in parsed] == [(0, 256), (256, 300), (300, 530)]
    assert [one.previous for one in parsed] == ["", *(str(Digest.of(raw)) for raw in manifests[:2])]
    items = {item.path: item for one in parsed for item in one.items}
    for path in ("tile/entries/000", "tile/0/001", "tile/1/000.p/2", "tile/entries/001.p/44"):
        assert hashlib.sha256(Intruder(s3, bucket).read(path)).digest() == items[path].sha256
    _restore(ArchiveSource(bucket, KEYS), tmp_path / "back.db")
    assert _content(tmp_path / "back.db") == _content(long_record)


def test_a_gate_goes_on_with_a_restored_store(s3: S3Server, record: Path, tmp_path: Path) -> None:
    bucket = s3.make_bucket()
    _archive(bucket, record)
    _restore(ArchiveSource(bucket, KEYS), tmp_path / "back.db")
    log = AuditLog.open(tmp_path / "back.db", origin=ORIGIN, key=LOG_KEY)
    append(log, 100)
    log.checkpoint()
    log.close()
    assert verify_file(tmp_path / "back.db", KEYS).kinds == ()
    assert _archive(bucket, tmp_path / "back.db").size == 22
    assert _verify(bucket).kinds == ()


# -- interruptions


def _killed_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int) -> None:
    """End the process before a call to the server, counted from 1; with the thread that made it."""
    counted = itertools.count(1)
    real: Callable[..., Any] = getattr(Bucket, name)

    def called(self: Bucket, *arguments: Any, **named: Any) -> Any:
        if next(counted) >= call:
            raise _Killed
        return real(self, *arguments, **named)

    monkeypatch.setattr(Bucket, name, called)


def test_a_run_that_was_killed_anywhere_is_finished_by_the_next(
    s3: S3Server, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "LEAVES_A_MANIFEST", 6)
    shorter = build_log(tmp_path / "shorter.db", size=20, signed=(5, 12, 18))
    del record
    whole = s3.make_bucket()
    _archive(whole, shorter)
    sent = len(Intruder(s3, whole).paths())
    for stop_at in [*range(1, sent, 3), sent]:
        bucket = s3.make_bucket()
        with monkeypatch.context() as patch:
            _killed_at(patch, "put", stop_at)
            with pytest.raises(_Killed):
                _archive(bucket, shorter)
        before = {path: Intruder(s3, bucket).versions(path) for path in Intruder(s3, bucket).paths()}
        if any(path.startswith("manifest/") for path in before):
            assert _verify(bucket).kinds == (), stop_at  # what is unfinished is no alarm
        _archive(bucket, shorter)
        after = {path: Intruder(s3, bucket).versions(path) for path in Intruder(s3, bucket).paths()}
        assert after.items() >= before.items()  # nothing was sent twice
        assert sorted(after) == Intruder(s3, whole).paths(), stop_at
        assert _verify(bucket).kinds == (), stop_at


def test_a_run_that_goes_on_after_the_log_has_grown_leaves_no_alarm_behind(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, growing = s3.make_bucket(), build_log(tmp_path / "record.db", size=20, signed=(5, 12, 18))
    with monkeypatch.context() as patch:
        _killed_at(patch, "put", 21)  # everything is there but the manifest
        with pytest.raises(_Killed):
            _archive(bucket, growing)
    record_of(growing)
    assert _archive(bucket, growing).size == 20
    assert "tile/0/000.p/18" in Intruder(s3, bucket).paths()  # of the run that was killed
    assert _verify(bucket).kinds == ()


def test_a_restoration_that_was_killed_goes_on(
    s3: S3Server, long_record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "LEAVES_A_MANIFEST", 100)
    bucket, target = s3.make_bucket(), tmp_path / "back.db"
    _archive(bucket, long_record)
    with monkeypatch.context() as patch:
        _killed_at(patch, "get", 400)
        with pytest.raises(_Killed):
            _restore(ArchiveSource(bucket, KEYS), target)
    done = _restore(ArchiveSource(bucket, KEYS), target)
    assert 0 < done.copied < 530
    assert _content(target) == _content(long_record)


def test_a_lost_connection_is_an_error_that_says_to_run_it_again(s3: S3Server, record: Path) -> None:
    bucket = s3.make_bucket()
    real, counted = s3.make_client(), itertools.count(1)

    class Breaking:
        def __getattr__(self, name: str) -> Any:
            def called(**named: Any) -> Any:
                if next(counted) > 20:
                    raise ConnectionResetError("connection reset by peer")
                return getattr(real, name)(**named)

            return called

    with pytest.raises(AuditError) as caught:
        _archive(Bucket(bucket.url, Breaking()), record)
    assert caught.value.code == "archive_unavailable"
    assert "Run it again" in caught.value.hint
    _archive(bucket, record)
    assert _verify(bucket).kinds == ()


# -- locks


def test_who_wrote_the_archive_can_neither_remove_nor_shorten_it(s3: S3Server, record: Path) -> None:
    bucket = s3.make_bucket()
    _archive(bucket, record)
    intruder = Intruder(s3, bucket)
    locked = [path for path in intruder.paths() if not path.startswith("erasable/")]
    assert {path.split("/")[0] for path in locked} == {"checkpoints", "kept", "manifest", "tile"}
    for path in locked:
        for attempt in (
            partial(intruder.destroy, path),
            partial(intruder.destroy, path, BypassGovernanceRetention=True),
            partial(intruder.relock, path, "COMPLIANCE", UNTIL - timedelta(days=10)),
            partial(intruder.relock, path, "GOVERNANCE", UNTIL),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                attempt()
    assert _verify(bucket).kinds == ()


def test_an_attachment_that_names_persons_can_be_erased_and_no_proof_breaks(
    s3: S3Server, record: Path, tmp_path: Path
) -> None:
    bucket = s3.make_bucket()
    _archive(bucket, record)
    Intruder(s3, bucket).destroy("erasable/000000000007.input")
    found = _verify(bucket)
    assert found.kinds == ()
    assert found.notes == ("1 attachments were erased or never kept; the leaves still have their digests",)
    done = _restore(ArchiveSource(bucket, KEYS), tmp_path / "back.db")
    assert (done.erased, done.attachments) == (1, 19)
    assert verify_file(tmp_path / "back.db", KEYS).kinds == ()


def test_a_bucket_that_cannot_lock_is_refused_unless_it_is_asked_for(
    s3: S3Server, record: Path, tmp_path: Path
) -> None:
    bucket = s3.make_bucket(locked=False)
    with pytest.raises(InputError) as caught:
        require_lock(bucket)
    assert caught.value.code == "archive_unlocked"
    require_lock(s3.make_bucket())
    _archive(bucket, record, until=None)
    found = _verify(bucket)
    assert found.kinds == ()
    assert any("not locked" in note for note in found.notes)
    _restore(ArchiveSource(bucket, KEYS), tmp_path / "back.db")
    assert _content(tmp_path / "back.db") == _content(record)


def test_a_bucket_that_locks_everything_by_default_is_refused(s3: S3Server) -> None:
    bucket = s3.make_bucket()
    s3.client.put_object_lock_configuration(
        Bucket=bucket.url.split("/")[2],
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 5}},
        },
    )
    with pytest.raises(InputError) as caught:
        require_lock(bucket)
    assert caught.value.code == "archive_lock_default"


def test_a_run_that_goes_on_locks_what_it_finds_for_as_long_as_what_it_sends(
    s3: S3Server, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, later = s3.make_bucket(), UNTIL + timedelta(days=30)
    with monkeypatch.context() as patch:
        _killed_at(patch, "put", 24)  # everything is there but the manifest
        with pytest.raises(_Killed):
            _archive(bucket, record)
    before = Intruder(s3, bucket).paths()
    assert "manifest/00000000" not in before
    _archive(bucket, record, until=later)
    for path in Intruder(s3, bucket).paths():
        (version,) = Intruder(s3, bucket).versions(path)
        assert bucket.lock_of(path, version) == (None if path.startswith("erasable/") else later), path


def test_a_manifest_whose_answer_was_lost_is_taken_as_sent(
    s3: S3Server, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, real = s3.make_bucket(), Bucket.put

    def put(self: Bucket, path: str, raw: bytes, *, locked_until: datetime | None) -> str | None:
        version = real(self, path, raw, locked_until=locked_until)
        return None if path.startswith("manifest/") else version

    monkeypatch.setattr(Bucket, "put", put)
    assert _archive(bucket, record).size == 21
    assert _verify(bucket).kinds == ()


def test_of_two_runs_at_a_time_one_writes_the_manifest(
    s3: S3Server, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, real = s3.make_bucket(), Bucket.put

    def put(self: Bucket, path: str, raw: bytes, *, locked_until: datetime | None) -> str | None:
        if path.startswith("manifest/"):
            monkeypatch.setattr(Bucket, "put", real)
            write_archive(
                bucket, partial(open_reader, record), KEYS, locked_until=UNTIL, now=NOW + timedelta(seconds=5)
            )
        return real(self, path, raw, locked_until=locked_until)

    monkeypatch.setattr(Bucket, "put", put)
    with pytest.raises(AuditError) as caught:
        _archive(bucket, record)
    assert caught.value.code == "archive_changed"
    assert _verify(bucket).kinds == ()


# -- other histories


def test_another_history_is_not_archived_over_this_one(s3: S3Server, record: Path, tmp_path: Path) -> None:
    bucket = s3.make_bucket()
    _archive(bucket, record)
    there = Intruder(s3, bucket).paths()
    other = AuditLog.open(tmp_path / "other.db", origin=ORIGIN, key=LOG_KEY)
    for number in range(30, 60):
        append(other, number)
    other.checkpoint()
    other.close()
    with pytest.raises(TamperError) as caught:
        _archive(bucket, tmp_path / "other.db")
    assert (caught.value.code, caught.value.index) == ("fork", 0)
    older = build_log(tmp_path / "older.db")
    with pytest.raises(TamperError) as caught:
        _archive(bucket, older)
    assert (caught.value.code, caught.value.index) == ("rolled_back", 18)
    assert Intruder(s3, bucket).paths() == there


def test_an_archive_that_another_key_signed_does_not_verify(s3: S3Server, record: Path, tmp_path: Path) -> None:
    bucket = s3.make_bucket()
    _archive(bucket, record)
    assert verify_archive(bucket, [OTHER_KEY.verifier]).kinds[0] == "checkpoint_invalid"
    with pytest.raises(TamperError):
        _restore(ArchiveSource(bucket, [OTHER_KEY.verifier]), tmp_path / "back.db")


def test_the_archive_of_another_log_is_refused(s3: S3Server, record: Path) -> None:
    bucket = s3.make_bucket()
    _archive(bucket, record)
    another = LogKey("placet.dev/log/another", Ed25519PrivateKey.generate()).verifier
    for refused in (partial(verify_archive, bucket, [another]), partial(ArchiveSource, bucket, [another])):
        with pytest.raises(InputError) as caught:
            refused()
        assert caught.value.code == "origin_differs"


def test_a_store_is_not_restored_over_another(s3: S3Server, record: Path, tmp_path: Path) -> None:
    bucket = s3.make_bucket()
    _archive(bucket, record)
    other = build_log(tmp_path / "other.db", size=3)
    log = AuditLog.open(other, origin=ORIGIN, key=LOG_KEY)
    append(log, 77)
    log.close()
    before = _content(other)
    with pytest.raises(AuditError) as caught:
        _restore(ArchiveSource(bucket, KEYS), other)
    assert caught.value.code == "target_differs"
    assert _content(other) == before


def test_a_folder_of_tiles_is_restored_without_attachments(long_record: Path, tmp_path: Path) -> None:
    with open_reader(long_record) as reader:
        write_tiles(tmp_path / "tiles", reader, KEYS)
    done = _restore(FolderSource(tmp_path / "tiles", KEYS), tmp_path / "back.db")
    assert (done.size, done.attachments, done.checkpoints) == (530, 0, 4)
    assert _content(tmp_path / "back.db")[:3] == _content(long_record)[:3]
    assert verify_file(tmp_path / "back.db", KEYS).kinds == ()


# -- exported checkpoints


def test_every_checkpoint_is_exported_once_and_a_rolled_back_store_is_noticed(
    s3: S3Server, record: Path, tmp_path: Path
) -> None:
    bucket = s3.make_bucket()
    exporter = Exporter(bucket, KEYS, after=newest_exported(bucket))
    with open_reader(record) as reader:
        assert exporter.export(reader, UNTIL) == 4
        assert exporter.export(reader, UNTIL) == 0
        assert Exporter(bucket, KEYS, after=-1).export(reader, UNTIL) == 0
    assert Intruder(s3, bucket).paths() == [f"checkpoints/{size}" for size in (12, 18, 21, 5)]
    older = build_log(tmp_path / "older.db")
    with open_reader(older) as reader, pytest.raises(TamperError) as caught:
        Exporter(bucket, KEYS, after=newest_exported(bucket)).export(reader, UNTIL)
    assert caught.value.code == "rolled_back"
    with pytest.raises(TamperError) as caught:
        _archive(bucket, older)
    assert caught.value.code == "rolled_back"
    log = AuditLog.open(older, origin=ORIGIN, key=LOG_KEY)
    for number in range(50, 56):
        append(log, number)
    log.checkpoint()
    log.close()
    with pytest.raises(TamperError) as caught:  # it has more leaves than were exported, and others
        _archive(bucket, older)
    assert caught.value.code == "fork"
    _archive(bucket, record)
    found = _verify(bucket)
    assert (found.kinds, len(found.saved)) == ((), 4)
