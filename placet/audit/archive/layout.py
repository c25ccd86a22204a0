"""Names of objects in the archive, and the manifests. Every name is written once; docs/formats-audit.md has them all.

    tile/...                     tiles and entry bundles of C2SP tlog-tiles; of those not full, each width its own name
    checkpoints/<size>           signed checkpoints
    kept/<index>.<name>          attachments of leaves that say what a gate judged by
    erasable/<index>.<name>      attachments that may have to be erased: never locked
    manifest/<number>            what one run has added, and the digest of the manifest before

``<index>`` has twelve digits and ``<number>`` eight, so that a server's order of names is that of the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.note import VerifierKey
from placet.audit.record import CONFIGURATION, KEYRING, POLICY
from placet.canonical import Digest, parse_json, render_canonical
from placet.errors import CanonicalError, FormatError, TamperError

SCHEMA: Final = "placet.dev/archive-manifest/v1"
MANIFESTS: Final = "manifest"
KEPT: Final = "kept"
ERASABLE: Final = "erasable"
MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
MAX_ATTACHMENT_BYTES: Final = 64 * 1024 * 1024  # more than the log keeps; what is larger is none

# These have no requests in them, and no decision can be judged again without them.
_RULES: Final = frozenset({KEYRING, POLICY, CONFIGURATION})
_MANIFEST: Final = re.compile(rf"{MANIFESTS}/([0-9]{{8}})", re.ASCII)
_ATTACHMENT: Final = re.compile(rf"(?:{KEPT}|{ERASABLE})/([0-9]{{12}})\.([a-z][a-z0-9_]{{0,63}})", re.ASCII)
_PATH: Final = re.compile(r"(?:tile|kept|erasable)/[a-z0-9_./]{1,200}", re.ASCII)
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_MAX_DEPTH: Final = 4


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """An object that a manifest names.

    Attributes:
        path: below the archive's prefix.
        sha256: 32 bytes.
        size: bytes.
        version: that the server gave it; "" in a bucket without versions.
    """

    path: str
    sha256: bytes
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one run has added.

    Attributes:
        origin: of the log.
        number: 0 for the first; no two have the same.
        previous: digest of the bytes of the manifest before; empty for the first.
        created: aware UTC, seconds.
        locked_until: aware UTC; None where the objects are not locked.
        before: leaves that the archive had.
        size: leaves that it has.
        notes: signed checkpoints of more than ``before`` and at most ``size`` leaves, the last of ``size``.
        items: objects, by path.
    """

    origin: str
    number: int
    previous: str
    created: datetime
    locked_until: datetime | None
    before: int
    size: int
    notes: tuple[str, ...]
    items: tuple[Item, ...]

    @property
    def path(self) -> str:
        """Its own name."""
        return manifest_path(self.number)

    def checkpoints(self, keys: Sequence[VerifierKey]) -> Iterator[VerifiedCheckpoint]:
        """Its checkpoints, verified.

        Raises:
            TamperError: one is none of the log's, or they are not in order up to ``size``.
        """
        last = self.before if self.number else -1
        for note in self.notes:
            try:
                found = verify_checkpoint(note.encode(), keys)
            except FormatError as exc:
                raise TamperError(f"{self.path}: a checkpoint can't be read", code="checkpoint_invalid") from exc
            if not last < found.size <= self.size:
                raise TamperError(f"{self.path}: its checkpoints are not in order", code="manifest_changed")
            last = found.size
            yield found
        if last != self.size or not self.notes:
            raise TamperError(f"{self.path} has no checkpoint of its size", code="manifest_changed")


def manifest_path(number: int) -> str:
    """Name of a manifest."""
    return f"{MANIFESTS}/{number:08d}"


def attachment_path(leaf_type: str, index: int, name: str) -> tuple[str, bool]:
    """Name of an attachment, and whether it is one that is locked.

    Raises:
        FormatError: no object can be named after it.
    """
    path = f"{KEPT if leaf_type in _RULES else ERASABLE}/{index:012d}.{name}"
    if not _ATTACHMENT.fullmatch(path):
        raise FormatError(f"no object can be named after the attachment {name!r}", code="attachment_name")
    return path, leaf_type in _RULES


def parse_manifest_path(path: str) -> int | None:
    """Number of the manifest that has the name; None where it is not that of one."""
    found = _MANIFEST.fullmatch(path)
    return int(found[1]) if found else None


def parse_attachment_path(path: str) -> tuple[int, str] | None:
    """Index and name of the attachment; None where it is not the name of one."""
    found = _ATTACHMENT.fullmatch(path)
    return (int(found[1]), found[2]) if found else None


def render_manifest(manifest: Manifest) -> bytes:
    """Its bytes: canonical JSON."""
    return render_canonical(
        {
            "schema": SCHEMA,
            "origin": manifest.origin,
            "number": manifest.number,
            "previous": manifest.previous,
            "created": manifest.created.astimezone(UTC).strftime(_TIME),
            "locked_until": manifest.locked_until.astimezone(UTC).strftime(_TIME) if manifest.locked_until else "",
            "before": manifest.before,
            "size": manifest.size,
            "checkpoints": list(manifest.notes),
            "objects": [
                {"path": item.path, "sha256": item.sha256.hex(), "size": item.size, "version": item.version}
                for item in manifest.items
            ],
        }
    )


def parse_manifest(raw: bytes) -> Manifest:
    """Read a manifest; nothing that it says is believed for being there.

    Raises:
        FormatError: it is none.
    """
    value = parse_json(raw, max_bytes=MAX_MANIFEST_BYTES, max_depth=_MAX_DEPTH)
    try:
        manifest = _manifest(value)
        same = render_manifest(manifest) == raw
    except (KeyError, TypeError, ValueError, AttributeError, CanonicalError) as exc:
        raise FormatError("it is not a manifest of an archive", code="manifest_changed") from exc
    if not same:
        raise FormatError("it is not a manifest of an archive, or not in its form", code="manifest_changed")
    return manifest


def _manifest(value: dict[str, Any]) -> Manifest:
    items = tuple(
        Item(_text(one["path"]), bytes.fromhex(one["sha256"]), _count(one["size"]), _text(one["version"]))
        for one in value["objects"]
    )
    if any(not _PATH.fullmatch(one.path) or len(one.sha256) != len(Digest.of(b"").hex) // 2 for one in items):
        raise ValueError
    if list(items) != sorted(items) or len({one.path for one in items}) != len(items):
        raise ValueError
    before, size = _count(value["before"]), _count(value["size"])
    if before > size or (before == size and value["number"]):
        raise ValueError
    until = _text(value["locked_until"])
    return Manifest(
        origin=_text(value["origin"]),
        number=_count(value["number"]),
        previous=str(Digest.parse(value["previous"])) if value["previous"] else "",
        created=_moment(value["created"]),
        locked_until=_moment(until) if until else None,
        before=before,
        size=size,
        notes=tuple(_text(note) for note in value["checkpoints"]),
        items=items,
    )


def _moment(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError
    return value
