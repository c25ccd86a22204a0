"""Every single change of an archive is found and named; a server that forgets is no server with Object Lock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from placet.audit.archive import upload
from placet.audit.archive.bucket import Bucket
from placet.audit.archive.holdings import read_item
from placet.audit.archive.layout import Item
from placet.audit.archive.restore import ArchiveSource, restore
from placet.audit.archive.upload import lock_date, write_archive
from placet.audit.archive.verify import verify_archive
from placet.audit.checkpoint import sign_checkpoint
from placet.audit.depth import Depth
from placet.audit.location import open_reader, open_store
from placet.audit.log import AuditLog, render_time
from placet.audit.tiles import parse_bundle, render_bundle
from placet.canonical import Digest, render_canonical
from placet.errors import TamperError
from tests.simulators.s3 import Intruder, S3Server
from tests.simulators.tampering import LOG_KEY, ORIGIN, START, build_log, saved_notes

KEYS: Final = [LOG_KEY.verifier]
NOW: Final = datetime.now(UTC)
Attack = Callable[[Intruder], None]
_LEAVES: Final = "tile/entries/000.p/21"
_HASHES: Final = "tile/0/000.p/21"
_INPUT: Final = "erasable/000000000007.input"
_KEYRING: Final = "kept/000000000020.envelope"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 leaves, all signed for, the last with an attachment that is never erased."""
    path = build_log(tmp_path_factory.mktemp("log") / "record.db", size=20)
    log = AuditLog.open(path, origin=ORIGIN, key=LOG_KEY)
    body = {
        "schema": "placet.dev/record/v1",
        "type": "keyring",
        "time": render_time(START),
        "cluster": "prod-eu-1",
        "envelope_digest": str(Digest.of(b"the keyring")),
    }
    log.append(body, attachments={"envelope": b"the keyring"})
    log.checkpoint()
    log.close()
    return path


class _Kept:
    """An archive of three manifests, of 12, 18 and 21 leaves, that can be put back to what it was."""

    def __init__(self, s3: S3Server, record: Path, *, locked: bool) -> None:
        self.bucket = s3.make_bucket(locked=locked)
        until = lock_date(NOW, 30) if locked else None
        write_archive(self.bucket, partial(open_reader, record), KEYS, locked_until=until, now=NOW)
        self.intruder = Intruder(s3, self.bucket)
        self._objects = {path: self.intruder.read(path) for path in self.intruder.paths()}
        self._versions = self.intruder.everything()
        self._locked = locked

    def reset(self) -> None:
        """Undo every attack: what was laid over it is not locked."""
        for path, version in self.intruder.everything() - self._versions:
            self.intruder.destroy_version(path, version)
        for path, raw in {} if self._locked else self._objects.items():
            self.intruder.write(path, raw)


def _kept(s3: S3Server, record: Path, *, locked: bool) -> _Kept:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload, "LEAVES_A_MANIFEST", 6)
        return _Kept(s3, record, locked=locked)


@pytest.fixture(scope="module")
def shared_locked(s3: S3Server, record: Path) -> _Kept:
    return _kept(s3, record, locked=True)


@pytest.fixture(scope="module")
def shared_open(s3: S3Server, record: Path) -> _Kept:
    return _kept(s3, record, locked=False)


@pytest.fixture
def locked(shared_locked: _Kept) -> Iterator[_Kept]:
    """With Object Lock."""
    yield shared_locked
    shared_locked.reset()


@pytest.fixture
def unlocked(shared_open: _Kept) -> Iterator[_Kept]:
    """On a server whose owner may do anything."""
    yield shared_open
    shared_open.reset()


def _leaves(change: Callable[[list[bytes]], list[bytes]]) -> Attack:
    return lambda intruder: intruder.write(_LEAVES, render_bundle(change(parse_bundle(intruder.read(_LEAVES)))))


def _manifest(number: int, **changes: object) -> Attack:
    """Change members of a manifest, in its form."""

    def attack(intruder: Intruder) -> None:
        path = f"manifest/{number:08d}"
        value = json.loads(intruder.read(path))
        intruder.write(path, render_canonical(value | changes))

    return attack


def _forge_next(intruder: Intruder) -> None:
    """A manifest after the newest one, which says that the log has not grown and forgets what is there."""
    value = json.loads(intruder.read("manifest/00000002"))
    value |= {"number": 3, "before": 21, "checkpoints": [], "objects": []}
    value |= {"previous": str(Digest.of(intruder.read("manifest/00000002")))}
    intruder.write("manifest/00000003", render_canonical(value))


# With Object Lock nothing goes away; what can be done is to lay something over it, or beside it.
LAID: Final[dict[str, tuple[Attack, tuple[str, ...]]]] = {
    "leaves overwritten": (lambda one: one.write(_LEAVES, b"other"), ("object_overwritten",)),
    "leaves overwritten by the same": (lambda one: one.write(_LEAVES, one.read(_LEAVES)), ("object_overwritten",)),
    "leaves hidden": (lambda one: one.hide(_LEAVES), ("object_hidden",)),
    "tile hidden": (lambda one: one.hide(_HASHES), ("object_hidden",)),
    "attachment overwritten": (lambda one: one.write(_INPUT, b"other"), ("object_overwritten",)),
    "attachment hidden": (lambda one: one.hide(_INPUT), ("object_hidden",)),
    "keyring hidden": (lambda one: one.hide(_KEYRING), ("object_hidden",)),
    "newest manifest hidden": (lambda one: one.hide("manifest/00000002"), ("object_hidden",)),
    "newest manifest overwritten": (_manifest(2, size=18), ("object_overwritten",)),
    "earlier manifest hidden": (lambda one: one.hide("manifest/00000000"), ("object_hidden",)),
    "checkpoint hidden": (lambda one: one.hide("checkpoints/18"), ("object_hidden",)),
    "checkpoint overwritten": (lambda one: one.write("checkpoints/18", b"x"), ("object_overwritten",)),
    "forged manifest after the newest": (_forge_next, ("manifest_changed",)),
    "garbage as the next manifest": (lambda one: one.write("manifest/00000003", b"{}"), ("manifest_changed",)),
    "a manifest beyond a gap": (
        lambda one: one.write("manifest/00000004", one.read("manifest/00000002")),
        ("manifest_missing", "manifest_changed"),
    ),
    "foreign manifest": (lambda one: one.write("manifest/latest", b"{}"), ("file_added",)),
    "foreign checkpoint": (lambda one: one.write("checkpoints/latest", b"x"), ("file_added",)),
    "checkpoint that nobody signed": (lambda one: one.write("checkpoints/30", b"x"), ("checkpoint_invalid",)),
    "foreign file": (lambda one: one.write("readme.txt", b"x"), ("file_added",)),
    "foreign folder": (lambda one: one.write("other/readme.txt", b"x"), ("file_added",)),
    "foreign tile": (lambda one: one.write("tile/0/000.p/7", b"x" * 224), ("file_added", "tile_changed")),
    "foreign name among tiles": (lambda one: one.write("tile/0/abc", b"x"), ("file_added",)),
    "leaves beyond the end": (lambda one: one.write("tile/entries/007", b"x"), ("file_added",)),
    "foreign attachment": (lambda one: one.write("kept/000000000003.more", b"x"), ("file_added",)),
    "foreign attachment beyond the end": (lambda one: one.write("erasable/000000000099.input", b"x"), ("file_added",)),
}

# Without: whatever the owner of the server could do.
DONE: Final[dict[str, tuple[Attack, tuple[str, ...]]]] = {
    "leaf changed": (_leaves(lambda raw: [*raw[:19], raw[19].replace(b"llama", b"lemma"), raw[20]]), ("leaf_changed",)),
    "leaves exchanged": (_leaves(lambda raw: [*raw[:7], raw[8], raw[7], *raw[9:]]), ("reordered",)),
    "leaves cut short": (_leaves(lambda raw: raw[:15]), ("truncated",)),
    "leaf put in": (_leaves(lambda raw: [*raw[:7], raw[6], *raw[7:]]), ("inserted",)),
    "bytes cut short": (lambda one: one.write(_LEAVES, one.read(_LEAVES)[:-9]), ("truncated",)),
    "leaves gone": (lambda one: one.destroy(_LEAVES), ("missing",)),
    "tile changed": (lambda one: one.write(_HASHES, b"x" * 672), ("tile_changed",)),
    "tile gone": (lambda one: one.destroy(_HASHES), ("tile_missing",)),
    "earlier leaves gone": (lambda one: one.destroy("tile/entries/000.p/12"), ("tile_missing",)),
    "attachment changed": (lambda one: one.write(_INPUT, b"other"), ("attachment_changed",)),
    "keyring gone": (lambda one: one.destroy(_KEYRING), ("attachment_missing",)),
    "keyring changed": (lambda one: one.write(_KEYRING, b"other"), ("attachment_changed",)),
    "first manifest gone": (lambda one: one.destroy("manifest/00000000"), ("manifest_missing",)),
    "manifest gone": (lambda one: one.destroy("manifest/00000001"), ("manifest_missing",)),
    "manifest's date changed": (_manifest(1, created="2020-01-01T00:00:00Z"), ("manifest_changed",)),
    "manifest forgets its objects": (_manifest(2, objects=[]), ("file_added",)),
    "manifest without checkpoints": (_manifest(2, checkpoints=[]), ("manifest_changed",)),
    "manifest not in its form": (lambda one: one.write("manifest/00000001", b" {}"), ("manifest_changed",)),
    "exported checkpoint changed": (lambda one: one.write("checkpoints/18", b"x"), ("checkpoint_invalid",)),
    "checkpoint of another history": (
        lambda one: one.write("checkpoints/18", sign_checkpoint(LOG_KEY, size=18, root=b"x" * 32).note.encode()),
        ("fork",),
    ),
}


@pytest.mark.parametrize("name", LAID)
def test_what_is_laid_over_a_locked_archive_is_named(locked: _Kept, name: str) -> None:
    attack, kinds = LAID[name]
    attack(locked.intruder)
    found = verify_archive(locked.bucket, KEYS)
    assert set(found.kinds) == set(kinds), [(one.kind, one.sentence) for one in found.findings]
    assert found.size == 21  # all of it is there all the same
    assert verify_archive(locked.bucket, KEYS, depth=Depth.LEAVES).findings == found.findings


def test_what_is_laid_over_a_locked_archive_takes_nothing_away(locked: _Kept, tmp_path: Path) -> None:
    for name, (attack, _) in LAID.items():
        if "hidden" in name or ("manifest" not in name and "by the same" not in name):
            attack(locked.intruder)
    assert _restored(locked.bucket, tmp_path / "back.db") == (21, 20)


def _restored(bucket: Bucket, target: Path) -> tuple[int, int]:
    store = open_store(target, origin=ORIGIN)
    try:
        done = restore(ArchiveSource(bucket, KEYS), store, partial(open_reader, target))
    finally:
        store.close()
    return done.size, done.attachments


@pytest.mark.parametrize("name", DONE)
def test_what_the_owner_of_a_server_without_locks_changes_is_named(unlocked: _Kept, name: str) -> None:
    attack, kinds = DONE[name]
    attack(unlocked.intruder)
    found = verify_archive(unlocked.bucket, KEYS)
    assert set(kinds) <= set(found.kinds), [(one.kind, one.sentence) for one in found.findings]
    assert not found.verified
    quick = verify_archive(unlocked.bucket, KEYS, depth=Depth.LEAVES)
    beside = {"attachment_changed", "attachment_missing"}
    assert quick.findings == tuple(one for one in found.findings if one.kind not in beside)


@pytest.mark.parametrize("name", ["leaf changed", "leaves cut short", "leaves gone", "keyring gone", "manifest gone"])
def test_nothing_that_was_changed_is_restored(unlocked: _Kept, tmp_path: Path, name: str) -> None:
    DONE[name][0](unlocked.intruder)
    with pytest.raises(TamperError):
        _restored(unlocked.bucket, tmp_path / "back.db")


def test_an_archive_that_was_put_back_verifies(locked: _Kept, unlocked: _Kept) -> None:
    assert verify_archive(locked.bucket, KEYS).kinds == ()
    assert verify_archive(unlocked.bucket, KEYS).kinds == ()


def test_no_attachment_is_read_where_leaves_alone_are_verified(locked: _Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def remember(bucket: Bucket, item: Item, *, limit: int) -> bytes | None:
        read.append(item.path)
        return read_item(bucket, item, limit=limit)

    monkeypatch.setattr("placet.audit.archive.verify.read_item", remember)
    whole = verify_archive(locked.bucket, KEYS)
    assert _INPUT in read
    read.clear()
    quick = verify_archive(locked.bucket, KEYS, depth=Depth.LEAVES)
    assert read
    assert all(path.startswith("tile/") for path in read)
    assert (quick.size, quick.root, quick.by_type) == (whole.size, whole.root, whole.by_type)
    assert (quick.depth, quick.allowed, quick.notes[0]) == ("leaves", None, Depth.LEAVES.note)


def test_a_hidden_manifest_ends_the_next_run_too(locked: _Kept, record: Path) -> None:
    locked.intruder.hide("manifest/00000002")
    with pytest.raises(TamperError) as caught:
        write_archive(locked.bucket, partial(open_reader, record), KEYS, locked_until=lock_date(NOW, 30), now=NOW)
    assert caught.value.code == "object_hidden"


def test_an_archive_that_was_cut_back_is_found_by_a_checkpoint_that_was_kept(unlocked: _Kept, record: Path) -> None:
    for path in ("manifest/00000002", _LEAVES, _HASHES, "checkpoints/21", _KEYRING):
        unlocked.intruder.destroy(path)
    assert "rolled_back" in verify_archive(unlocked.bucket, KEYS, saved=[saved_notes(record)[-1]]).kinds
