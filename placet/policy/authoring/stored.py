"""What OPA packed, in bytes that depend on no compressor: two releases of Go or zlib compress differently."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Final

_BLOCK: Final = 0xFFFF


def repack(bundle: Path) -> bytes:
    """The same archive: entries sorted, without times and names, stored in gzip and not compressed."""
    packed = io.BytesIO()
    with tarfile.open(bundle) as old, tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for entry in sorted(old.getmembers(), key=lambda member: member.name):
            fresh = tarfile.TarInfo(entry.name)
            fresh.size, fresh.mode, fresh.mtime = entry.size, 0o644, 0
            new.addfile(fresh, old.extractfile(entry))
    return _gzip_stored(packed.getvalue())


def _gzip_stored(content: bytes) -> bytes:
    """RFC 1952 around stored blocks (RFC 1951, 3.2.4), with no time and no name."""
    blocks = [content[at : at + _BLOCK] for at in range(0, len(content), _BLOCK)] or [b""]
    body = b"".join(
        struct.pack("<BHH", at == len(blocks) - 1, len(block), len(block) ^ _BLOCK) + block
        for at, block in enumerate(blocks)
    )
    header = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"
    return header + body + struct.pack("<II", zlib.crc32(content), len(content))
