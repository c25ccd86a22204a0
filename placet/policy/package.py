"""A bundle folder as one file: a tar archive, gzipped, the same bytes for the same folder wherever it is made."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from placet.errors import EngineError
from placet.policy.bundle import MANIFEST, REBUILD, load_bundle
from placet.policy.signed import SIGNATURE

MAX_PACKAGE_BYTES: Final = 16 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
_MAX_FILES: Final = 500
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/){0,4}[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_COMPRESSION: Final = 9
# How `opa build` names what it puts at the top of a bundle; packages hold such a bundle, and have no such names.
_OF_OPA: Final = frozenset({"/data.json", "/.manifest", "data.json", ".manifest"})
_PUSH: Final = "Put the package there: `placet policy bundle push FOLDER LOCATION`, without --opa."


def render_package(folder: Path) -> bytes:
    """Pack what a bundle's manifest names, the manifest, and its signature if there is one. Nothing else goes in.

    Raises:
        EngineError: ``bundle_invalid``: it is no bundle, or a file is not the one in its manifest.
    """
    bundle = load_bundle(folder)
    files = {MANIFEST: bundle.load_manifest(), **{name: bundle.load_file(name) for name in bundle.files}}
    signature = folder / SIGNATURE
    if signature.exists():
        files[SIGNATURE] = signature.read_bytes()
    packed = io.BytesIO()
    # Level and header of gzip are fixed, but not what zlib makes of them: the digest that counts is the manifest's.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=_COMPRESSION, mtime=0, filename="") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(files[name]), 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return packed.getvalue()


def parse_package(raw: bytes) -> dict[str, bytes]:
    """Read a package: name -> bytes. Nothing is verified but its form.

    Raises:
        EngineError: ``bundle_invalid``: no package, a name or a kind of entry that none has, or it is too large.
    """
    if len(raw) > MAX_PACKAGE_BYTES:
        raise _invalid(f"has more than {MAX_PACKAGE_BYTES} bytes")
    files: dict[str, bytes] = {}
    try:
        inner = _decompress(raw)
        with tarfile.open(fileobj=io.BytesIO(inner), mode="r:") as archive:
            for entry in archive:
                if entry.name in _OF_OPA:
                    raise EngineError(
                        "this is a bundle for OPA, and no policy package", code="bundle_invalid", hint=_PUSH
                    )
                if not entry.isreg() or _NAME.fullmatch(entry.name) is None or entry.name in files:
                    raise _invalid("holds an entry that no package has")
                if len(files) >= _MAX_FILES:
                    raise _invalid(f"holds more than {_MAX_FILES} files")
                file = archive.extractfile(entry)
                content = b"" if file is None else file.read()
                if len(content) != entry.size:
                    raise _invalid("ends in the middle of a file")
                files[entry.name] = content
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, zlib.error) as exc:
        raise _invalid(f"can't be read: {type(exc).__name__}") from exc
    if MANIFEST not in files:
        raise _invalid(f"holds no {MANIFEST}")
    return files


def save_package(raw: bytes, folder: Path) -> None:
    """Unpack beside the folder, and put it there at once: nobody ever sees half of it. A bundle that was there goes.

    Raises:
        EngineError: ``bundle_invalid``: no package, or the folder is something else than a bundle.
        OSError: it can't be written.
    """
    save_files(parse_package(raw), folder)


def save_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Put the files of a bundle into a folder at once; a bundle that was there goes, and its signature with it.

    Raises:
        EngineError: ``bundle_invalid``: the folder is something else than a bundle.
        OSError: it can't be written.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise EngineError(
            f"{folder} is not empty and holds no policy bundle", code="bundle_invalid", hint="Name another folder."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in files.items():
            path = stage / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        stage.chmod(0o755)
        former = stage.with_name(stage.name + ".former")
        if folder.exists():
            folder.rename(former)
        stage.rename(folder)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _decompress(raw: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    inner = reader.decompress(raw, MAX_UNPACKED_BYTES + 1)
    if len(inner) > MAX_UNPACKED_BYTES:
        raise _invalid(f"holds more than {MAX_UNPACKED_BYTES} bytes")
    if not reader.eof or reader.unused_data:
        raise _invalid("is no single gzip stream")
    return inner


def _invalid(fault: str) -> EngineError:
    return EngineError(f"the policy package {fault}", code="bundle_invalid", hint=REBUILD)
