"""The compiled policies: two artefacts and the manifest that names them."""

from __future__ import annotations

import functools
import io
import re
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from placet.canonical import Digest, parse_json
from placet.errors import EngineError, FormatError

SHIPPED: Final = Path(__file__).resolve().parent.parent / "_bundle"
_MAX_MANIFEST_BYTES: Final = 1 << 20
MANIFEST: Final = "manifest.json"
SOURCES: Final = "bundle.tar.gz"
WASM: Final = "policy.wasm"
# Below the folder, and never out of it.
_FILE_NAME: Final = re.compile(r"(?:[a-z0-9_][a-z0-9_.-]{0,99}/){0,4}[a-z0-9_][a-z0-9_.-]{0,99}", re.ASCII)
_SCHEMA: Final = "placet.dev/policy-bundle/v1"
_REINSTALL: Final = "Install placet again; in a checkout of placet, `make bundle` compiles what ships."
REBUILD: Final = (
    "Fetch it again with `placet policy bundle pull`, or compile it again with the `placet policy bundle build` of "
    "this release, and sign it."
)
"""What whoever has a bundle that can't be used can do about it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule says of itself, from its METADATA.

    Attributes:
        id: ``approvals.required``: category and name.
        severity: critical | high | medium | low | info.
        solution: what the reader of a refusal does next.
        controls: references into governance frameworks.
        optional: whether it is asked for only where an environment requires it.
        effective_on: until when it warns where it would enforce; aware UTC, None for a rule in force since it was made.
    """

    id: str
    title: str
    description: str
    severity: str
    solution: str
    controls: tuple[str, ...]
    optional: bool = False
    effective_on: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle folder whose manifest was read.

    Attributes:
        folder: where the artefacts are.
        revision: digest of the policy sources; OPA names it beside each answer, and each record has it.
        compiler: version of the OPA that compiled it, without the v.
        entry_point: ``admission/main/decision``.
        files: name relative to the folder -> digest of the file.
        rules: every rule that a decision must have judged, by id.
        guard: the package that refuses what can't be judged at all.
    """

    folder: Path
    revision: str
    compiler: str
    entry_point: str
    files: dict[str, Digest]
    rules: tuple[Rule, ...]
    guard: Rule

    def load_manifest(self) -> bytes:
        """Bytes of the manifest as the folder has it now.

        Raises:
            EngineError: ``bundle_invalid`` when it is missing, or of another revision than the one that was read.
        """
        try:
            raw = (self.folder / MANIFEST).read_bytes()
        except OSError as exc:
            message = f"the bundle's manifest can't be read: {exc}"
            raise EngineError(message, code="bundle_invalid", hint=remedy(self.folder)) from exc
        if parse_manifest(raw, folder=self.folder) != self:
            raise EngineError("the bundle's manifest was changed", code="bundle_invalid", hint=remedy(self.folder))
        return raw

    def load_file(self, name: str) -> bytes:
        """Bytes of a file of the bundle, compared with the manifest.

        Raises:
            EngineError: ``bundle_invalid`` when it is missing or is not what the manifest names.
        """
        try:
            content = (self.folder / name).read_bytes()
        except OSError as exc:
            raise EngineError(
                f"the bundle's {name} can't be read: {exc}", code="bundle_invalid", hint=remedy(self.folder)
            ) from exc
        if self.files.get(name) != Digest.of(content):
            raise EngineError(
                f"the bundle's {name} is not the one in its manifest", code="bundle_invalid", hint=remedy(self.folder)
            )
        return content

    def load_modules(self) -> dict[str, str]:
        """The Rego modules of bundle.tar.gz: name, ``admission/main/main.rego`` -> text.

        Raises:
            EngineError: ``bundle_invalid`` when it is missing, is not what the manifest names, or holds none.
        """
        try:
            with tarfile.open(fileobj=io.BytesIO(self.load_file("bundle.tar.gz"))) as archive:
                members = [member for member in archive.getmembers() if member.name.endswith(".rego")]
                opened = {member.name.lstrip("/"): archive.extractfile(member) for member in members}
                modules = {name: file.read().decode("utf-8") for name, file in opened.items() if file is not None}
        except (tarfile.TarError, OSError, EOFError, UnicodeDecodeError) as exc:
            raise EngineError(
                "the bundle's archive can't be read", code="bundle_invalid", hint=remedy(self.folder)
            ) from exc
        if not modules:
            raise EngineError("the bundle's archive holds no policies", code="bundle_invalid", hint=remedy(self.folder))
        return modules


def remedy(folder: Path) -> str:
    """What to do about a bundle folder that can't be used, for whoever has it: what ships is not theirs to compile."""
    return _REINSTALL if folder == SHIPPED else REBUILD


def load_bundle(folder: Path = SHIPPED) -> Bundle:
    """Read a bundle folder's manifest; by default that of the bundle that ships with placet.

    Raises:
        EngineError: ``bundle_invalid`` when there is none or it can't be read.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError as exc:
        raise EngineError(
            f"the policy bundle in {folder} has no usable manifest: {exc}", code="bundle_invalid", hint=remedy(folder)
        ) from exc
    return parse_manifest(raw, folder=folder)


def parse_manifest(raw: bytes, *, folder: Path) -> Bundle:
    """Read the bytes of a manifest.

    Args:
        raw: unverified.
        folder: where its artefacts are said to be.

    Raises:
        EngineError: ``bundle_invalid`` when it can't be read.
    """
    try:
        return _parse_manifest(folder, parse_json(raw, max_bytes=_MAX_MANIFEST_BYTES))
    except (FormatError, KeyError, TypeError, ValueError, AttributeError) as exc:
        message = f"the policy bundle in {folder} has no usable manifest: {exc}"
        raise EngineError(message, code="bundle_invalid", hint=remedy(folder)) from exc


@functools.cache
def shipped_bundle() -> Bundle:
    """The bundle that ships with placet, read once."""
    return load_bundle(SHIPPED)


def _parse_manifest(folder: Path, manifest: dict[str, Any]) -> Bundle:
    if manifest["schema"] != _SCHEMA:
        raise ValueError(f"its schema is {manifest['schema']!r}")
    (entry_point,) = manifest["entrypoints"]
    rules = tuple(_parse_rule(rule) for rule in manifest["rules"])
    if not rules or len({rule.id for rule in rules}) != len(rules):
        raise ValueError("it names no rules, or one twice")
    return Bundle(
        folder=folder,
        revision=str(Digest.parse(manifest["revision"])),
        compiler=_text(manifest["compiler"]),
        entry_point=_text(entry_point),
        files={_file_name(name): Digest.parse(digest) for name, digest in manifest["files"].items()},
        rules=rules,
        guard=_parse_rule(manifest["guard"]),
    )


def _parse_rule(rule: dict[str, Any]) -> Rule:
    return Rule(
        id=_text(rule["id"]),
        title=_text(rule["title"]),
        description=_text(rule["description"]),
        severity=_text(rule["severity"]),
        solution=_text(rule["solution"]),
        controls=tuple(_text(control) for control in rule["controls"]),
        optional=rule.get("optional", False) is True,
        effective_on=None if "effective_on" not in rule else _moment(rule["effective_on"]),
    )


def _moment(value: Any) -> datetime:
    return datetime.strptime(_text(value), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _file_name(name: str) -> str:
    if _FILE_NAME.fullmatch(name) is None:
        raise ValueError("a file's name is not one that a bundle has")
    return name


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is missing")
    return value
