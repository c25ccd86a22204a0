"""Policies as their authors have them, laid out in a folder of their own beside what ships.

Two layouts are read. A *whole tree* is laid out as placet's own ``policies/`` and has ``admission/main/main.rego``. An
*overlay* has only what a team adds, and what ships is put beside it:

    rules/<category>/<name>/<name>.rego        a rule, package admission.rules.<category>.<name>
    rules/<category>/<name>/<name>_test.rego   its tests
    lib/<name>/<name>.rego                     what several rules share, package admission.lib.<name>
    tests/<name>.rego                          what several tests share, package tests.<name>

Only Rego is laid out: a JSON or YAML file in a folder of rules would stand where the policies look for a rule.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from placet.errors import InputError
from placet.policy.authoring.findings import Finding
from placet.policy.bundle import shipped_bundle

CONFIG: Final = "admission/config"
CONTROLS: Final = "checks/controls.json"
CONVENTIONS: Final = "checks/conventions.rego"
CAPABILITIES: Final = "capabilities.json"
SHIPPED_PREFIX: Final = "placet:"
_MAIN: Final = "admission/main/main.rego"
_OVERLAY: Final = {"rules": "admission/rules", "lib": "admission/lib", "tests": "tests"}
_SHIPPED_DATA: Final = ("defaults/", "profiles/")
_DATA: Final = frozenset({".json", ".yaml", ".yml"})
_MAX_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A Rego file of a tree.

    Attributes:
        name: where it is laid out, ``admission/rules/risk/ceiling/ceiling.rego``.
        shown: what a person calls it: the path as it was given, ``placet:`` before what ships.
        own: whether it is the author's, and not what ships.
    """

    name: str
    shown: str
    text: str
    own: bool

    @property
    def is_test(self) -> bool:
        """Whether tests stand in it."""
        return self.name.endswith("_test.rego")

    @property
    def rule(self) -> str:
        """``risk.ceiling`` for a file in the folder of a rule, else empty."""
        parts = PurePosixPath(self.name).parts
        return ".".join(parts[2:4]) if parts[:2] == ("admission", "rules") and len(parts) > _DEPTH else ""


_DEPTH: Final = 4


@dataclass(frozen=True, slots=True)
class Tree:
    """Policies with everything that they are compiled and tested with.

    Attributes:
        root: as it was named.
        whole: laid out as ``policies/``, with nothing that ships beside it.
        sources: name -> Rego file, sorted.
        config: name -> YAML of policy data, ``admission/config/defaults/risk.yaml``.
        schemas: ``input`` and ``data`` -> JSON Schema.
        conventions: the rules about rules.
        controls: identifiers in governance frameworks that rules may name, as JSON; empty where any may be.
        capabilities: builtins that both engines have.
        strays: what lies in the folder and can't be policy.
    """

    root: Path
    whole: bool
    sources: Mapping[str, Source]
    config: Mapping[str, bytes]
    schemas: Mapping[str, bytes]
    conventions: bytes
    controls: bytes
    capabilities: bytes
    strays: tuple[Finding, ...] = ()

    @property
    def own(self) -> tuple[Source, ...]:
        """The author's own files."""
        return tuple(source for source in self.sources.values() if source.own)

    @property
    def rules(self) -> dict[str, Source]:
        """Rule id -> the author's file of it, for each rule of the author."""
        return {source.rule: source for source in self.own if source.rule and not source.is_test}

    def shown(self, name: str) -> str:
        """What a person calls a file that was laid out."""
        source = self.sources.get(name)
        return source.shown if source else name

    @contextmanager
    def laid_out(self, changes: Mapping[str, str] | None = None) -> Iterator[Path]:
        """A folder with everything in it, gone when the context is left.

        Args:
            changes: name -> text instead of what the file says.
        """
        with tempfile.TemporaryDirectory(prefix="placet-policies-") as folder:
            self.lay_out(Path(folder), changes)
            yield Path(folder)

    def lay_out(self, folder: Path, changes: Mapping[str, str] | None = None) -> None:
        """Write everything into a folder."""
        texts = {name: source.text for name, source in self.sources.items()} | dict(changes or {})
        files = {name: text.encode() for name, text in texts.items()}
        for name, raw in {**files, **self.config}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(raw)


def find_tree(folder: Path | None) -> Tree:
    """The policies of a folder; of ``policies`` where none is named.

    Raises:
        InputError: ``policies_missing`` where there are none; ``policies_unreadable``.
    """
    root = Path("policies") if folder is None else folder
    if not root.is_dir():
        raise InputError(
            f"there is no folder {root}",
            code="policies_missing",
            hint="Name the folder of your policies with --policies; `placet policy new CATEGORY.RULE` starts one.",
        )
    return _whole(root) if (root / _MAIN).is_file() else _overlay(root)


def _whole(root: Path) -> Tree:
    sources, strays = _read_own(root, dict.fromkeys(("admission", "tests", "checks"), ""))
    config = sorted((root / CONFIG).rglob("*.yaml"))
    return Tree(
        root=root,
        whole=True,
        sources=sources,
        config={path.relative_to(root).as_posix(): path.read_bytes() for path in config},
        schemas={name: (root / "schemas" / f"{name}.json").read_bytes() for name in ("input", "data")},
        conventions=(root / CONVENTIONS).read_bytes(),
        controls=(root / CONTROLS).read_bytes() if (root / CONTROLS).is_file() else b"",
        capabilities=(root / CAPABILITIES).read_bytes(),
        strays=strays,
    )


def shipped_tree() -> Tree:
    """What ships with placet, and nothing beside it.

    Raises:
        EngineError: ``bundle_invalid``.
    """
    return _beside_shipped(Path(SHIPPED_PREFIX), {}, ())


def _overlay(root: Path) -> Tree:
    own, strays = _read_own(root, _OVERLAY)
    if not own:
        raise InputError(
            f"{root} holds no policies",
            code="policies_missing",
            hint="An overlay has a folder rules/CATEGORY/RULE; `placet policy new CATEGORY.RULE` makes one.",
        )
    return _beside_shipped(root, own, strays)


def _beside_shipped(root: Path, own: Mapping[str, Source], strays: tuple[Finding, ...]) -> Tree:
    bundle = shipped_bundle()
    shipped = bundle.load_modules() | {
        f"tests/{PurePosixPath(name).name}": bundle.load_file(name).decode()
        for name in bundle.files
        if name.startswith("authoring/tests/")
    }
    sources = {name: Source(name, f"{SHIPPED_PREFIX}{name}", text, own=False) for name, text in shipped.items()}
    for name, source in own.items():
        if name in sources:
            strays = (*strays, Finding(source.shown, 1, "shadows_shipped", f"placet ships {name} itself; take another"))
        else:
            sources[name] = source
    return Tree(
        root=root,
        whole=False,
        sources=dict(sorted(sources.items())),
        config={f"{CONFIG}/{name}": bundle.load_file(name) for name in bundle.files if name.startswith(_SHIPPED_DATA)},
        schemas={name: bundle.load_file(f"schemas/{name}.json") for name in ("input", "data")},
        conventions=bundle.load_file(f"authoring/{CONVENTIONS}"),
        controls=bundle.load_file(f"authoring/{CONTROLS}") if f"authoring/{CONTROLS}" in bundle.files else b"",
        capabilities=bundle.load_file(f"authoring/{CAPABILITIES}"),
        strays=strays,
    )


def _read_own(root: Path, places: Mapping[str, str]) -> tuple[dict[str, Source], tuple[Finding, ...]]:
    """The author's files by the name that they are laid out under, and what is out of place among them."""
    found: dict[str, Source] = {}
    strays = []
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not _hidden(path, root)):
        relative = path.relative_to(root).as_posix()
        first, _, rest = relative.partition("/")
        if first == "admission" and "admission" not in places:
            first, _, rest = rest.partition("/")  # an overlay may keep the whole tree's first folder
        shown = path.as_posix()
        if path.suffix == ".rego" and first in places and rest:
            name = f"{places[first] or first}/{rest}"
            found[name] = Source(name, shown, _read(path), own=True)
        elif path.suffix == ".rego":
            strays.append(Finding(shown, 1, "out_of_place", f"policies lie in {', '.join(sorted(places))}"))
        elif path.suffix in _DATA and first in {"admission", "rules", "lib"} and not relative.startswith(f"{CONFIG}/"):
            strays.append(Finding(shown, 1, "data_shadows_code", "data here stands where the policies look for rules"))
    return found, tuple(strays)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if len(raw) > _MAX_BYTES:
            raise InputError(f"{path}: more than {_MAX_BYTES} bytes", code="policies_unreadable")
        return raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path}: can't be read: {exc}", code="policies_unreadable") from exc
