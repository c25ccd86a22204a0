"""What the archive has, by its manifests. Of each name the version counts that a manifest names, never the newest.

Manifests and checkpoints are named by no manifest that they could be looked up in: of them the version counts that was
there first. Whoever writes after that can't be the run that wrote the name once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from placet.audit.archive.bucket import Bucket, Key
from placet.audit.archive.layout import (
    MANIFESTS,
    MAX_MANIFEST_BYTES,
    Item,
    Manifest,
    manifest_path,
    parse_manifest,
    parse_manifest_path,
)
from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.note import MAX_NOTE_BYTES, VerifierKey
from placet.audit.tile_folder import CHECKPOINTS
from placet.canonical import Digest
from placet.errors import AuditError, FormatError, InputError, TamperError

Report = Callable[[str, str], None]
_SIZE: Final = re.compile(rf"{CHECKPOINTS}/(0|[1-9][0-9]{{0,18}})", re.ASCII)
_EMPTY: Final = "`placet audit archive` writes one; is it the right bucket and prefix?"


@dataclass(frozen=True, slots=True)
class Link:
    """One manifest of the chain.

    Attributes:
        number: of it.
        version: the one that was there first.
    """

    number: int
    version: str


def refuse(kind: str, sentence: str) -> NoReturn:
    """A report that ends everything: for who may not go on with an archive that somebody touched.

    Raises:
        TamperError: always.
    """
    raise TamperError(
        sentence, code=kind, hint="`placet audit verify --tiles` says more; docs/operations.md what to do."
    )


def find_manifests(bucket: Bucket, report: Report) -> list[Link]:
    """Every manifest that there is, in order; nothing is read of them yet.

    Args:
        bucket: with the archive.
        report: told kind and sentence of what is wrong: a gap, a hidden or overwritten one, a foreign name.
    """
    links: list[Link] = []
    for key in bucket.keys(f"{MANIFESTS}/"):
        number = parse_manifest_path(key.path)
        if number is None:
            report("file_added", f"{key.path} is no object of an archive")
            continue
        while len(links) < number:  # each gap keeps its place
            report("manifest_missing", f"{manifest_path(len(links))} is not there")
            links.append(Link(-1, ""))
        if not key.versions:
            report("manifest_missing", f"{key.path} is not there, but for a delete marker")
            links.append(Link(-1, ""))
            continue
        report_touched(key, key.first, report)
        links.append(Link(number, key.first))
    return [link for link in links if link.number >= 0]


def report_touched(key: Key, version: str, report: Report) -> None:
    """Say it where what is given away under a name is not the version that the archive has there."""
    if key.hidden:
        report("object_hidden", f"{key.path} is hidden behind a delete marker; the version that was archived is there")
    elif key.latest != version:
        report("object_overwritten", f"{key.path} was overwritten by a newer version than the one that was archived")


def read_manifest(bucket: Bucket, link: Link) -> tuple[Manifest, Digest]:
    """One manifest, and the digest of its bytes.

    Raises:
        TamperError: ``manifest_missing`` or ``manifest_changed``.
    """
    path = manifest_path(link.number)
    raw = bucket.get(path, link.version, limit=MAX_MANIFEST_BYTES)
    if raw is None:
        raise TamperError(f"{path} is not there", code="manifest_missing")
    try:
        manifest = parse_manifest(raw)
    except FormatError as exc:
        raise TamperError(f"{path}: {exc}", code="manifest_changed") from exc
    if manifest.number != link.number:
        raise TamperError(f"{path} is the manifest {manifest.number}", code="manifest_changed")
    return manifest, Digest.of(raw)


def read_chain(bucket: Bucket, links: Sequence[Link], report: Report) -> Iterator[tuple[Link, Manifest]]:
    """Every manifest in order, each held against the one before. One that can't be read is left out.

    Raises:
        AuditError: the server can't be asked.
    """
    last: Manifest | None = None
    digest = ""
    for link in links:
        try:
            manifest, found = read_manifest(bucket, link)
        except TamperError as exc:
            report(exc.code, str(exc))
            last = None
            continue
        if manifest.number == 0 and (manifest.previous or manifest.before):
            report("manifest_changed", f"{manifest.path} is the first, and names one before it")
        follows = last is not None and last.number + 1 == manifest.number
        if follows and last is not None and (manifest.previous, manifest.before) != (digest, last.size):
            report("manifest_changed", f"{manifest.path} does not follow {last.path}: one of the two is another")
        yield link, manifest
        last, digest = manifest, str(found)


def read_newest(bucket: Bucket, keys: Sequence[VerifierKey]) -> tuple[Manifest, Digest, VerifiedCheckpoint] | None:
    """The newest manifest with its own checkpoint; None where nothing was archived yet.

    Raises:
        TamperError: a manifest is hidden, overwritten, missing or changed; or the checkpoint is not the log's.
        InputError: it is the archive of another log.
    """
    links = find_manifests(bucket, refuse)
    if not links:
        return None
    manifest, digest = read_manifest(bucket, links[-1])
    require_origin(bucket, manifest, keys)
    checkpoint = list(manifest.checkpoints(keys))[-1]
    return manifest, digest, checkpoint


def require_origin(bucket: Bucket, manifest: Manifest, keys: Sequence[VerifierKey]) -> None:
    """Raise ``InputError`` where the archive is that of another log than the keys."""
    if manifest.origin != keys[0].name:
        raise InputError(
            f"{bucket} is the archive of {manifest.origin}, and the key is of {keys[0].name}",
            code="origin_differs",
            hint="Each log has a prefix of its own.",
        )


def read_item(bucket: Bucket, item: Item, *, limit: int) -> bytes | None:
    """The bytes of an object in the version that was archived; None where that is not there."""
    return bucket.get(item.path, item.version, limit=limit)


def find_exported(bucket: Bucket, report: Report) -> Iterator[tuple[int, str]]:
    """Size and version of each checkpoint that is an object of its own, in the server's order."""
    for key in bucket.keys(f"{CHECKPOINTS}/"):
        found = _SIZE.fullmatch(key.path)
        if found is None:
            report("file_added", f"{key.path} is no object of an archive")
        elif not key.versions:
            report("checkpoint_missing", f"{key.path} is not there, but for a delete marker")
        else:
            report_touched(key, key.first, report)
            yield int(found[1]), key.first


def read_exported(bucket: Bucket, size: int, version: str, keys: Sequence[VerifierKey]) -> VerifiedCheckpoint:
    """A checkpoint that is an object of its own.

    Raises:
        TamperError: ``checkpoint_invalid``: it is not one of the log, or of another size.
        AuditError: it is gone since it was listed.
    """
    path = f"{CHECKPOINTS}/{size}"
    raw = bucket.get(path, version, limit=MAX_NOTE_BYTES)
    if raw is None:
        raise AuditError(f"{bucket}/{path} is gone", code="archive_changed", hint="Run it again.")
    try:
        found = verify_checkpoint(raw, keys)
    except FormatError as exc:
        raise TamperError(f"{path}: {exc}", code="checkpoint_invalid") from exc
    if found.size != size:
        raise TamperError(f"{path} is a checkpoint of {found.size} leaves", code="checkpoint_invalid")
    return found


def require_archive(links: Sequence[Link], bucket: Bucket) -> None:
    """Raise ``InputError`` where there is no manifest."""
    if not links:
        raise InputError(f"{bucket} has no archive: there is no manifest in it", hint=_EMPTY)
