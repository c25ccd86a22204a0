"""Policies as their authors have them, laid out in a folder of their own beside what ships.

Two layouts are read. A *whole tree* is laid out as placet's own ``policies/`` and has ``admission/main/main.rego``. An
*overlay* has only what a team adds, and what ships is put beside it:

    rules/<category>/<name>/<name>.rego        a rule, package admission.rules.<category>.<name>
    rules/<category>/<name>/<name>_test.rego   its tests
    lib/<name>/<name>.rego                     what several rules share, package admission.lib.<name>
    tests/<name>.rego                          what several tests share, package tests.<name>
    config/<name>.yaml                         policy data, merged over what ships
    config/schemas/<part>.json                 JSON Schema of a part of the data that is the team's own
    config/controls.json                       what else its rules may answer to: identifier -> title

An overlay may come in several folders: that of another team, or rules and config apart. What ships can't be changed by
it: its packages, and the categories of its rules, are taken. Only Rego is laid out as code: a JSON or YAML file in a
folder of rules would stand where the policies look for a rule.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from placet.errors import InputError
from placet.policy.authoring.findings import Finding
from placet.policy.authoring.overlay import read_overlay_data, with_data
from placet.policy.bundle import shipped_bundle
from placet.policy.data import DataFile

CONFIG: Final = "admission/config"
CONTROLS: Final = "checks/controls.json"
CONVENTIONS: Final = "checks/conventions.rego"
CAPABILITIES: Final = "capabilities.json"
SHIPPED_PREFIX: Final = "placet:"
_MAIN: Final = "admission/main/main.rego"
_OVERLAY: Final = {"rules": "admission/rules", "lib": "admission/lib", "tests": "tests"}
_SHIPPED_DATA: Final = ("defaults/", "profiles/")
_DATA: Final = frozenset({".json", ".yaml", ".yml"})
_DATA_OF_OPA: Final = frozenset({"data.json", "data.yaml", "data.yml"})
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

    @property
    def asks(self) -> list[str]:
        """Rules that it asks lib.requirements about: its own id where it is a rule that may be required."""
        return sorted(set(_ASKS.findall(self.text)))


_DEPTH: Final = 4
_ASKS: Final = re.compile(r'requirements\.(?:asked|released)\("([^"]*)"\)')


@dataclass(frozen=True, slots=True)
class Tree:
    """Policies with everything that they are compiled and tested with.

    Attributes:
        root: as it was named.
        whole: laid out as ``policies/``, with nothing that ships beside it.
        sources: name -> Rego file, sorted.
        config: name -> YAML of policy data, ``admission/config/defaults/risk.yaml``.
        overlay: name -> the team's own policy data, merged over those in the order of the names.
        defaults: those and the overlay merged, as JSON; empty without an overlay of data.
        schemas: ``input``, ``data`` and ``decision`` -> JSON Schema.
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
    overlay: Mapping[str, DataFile] = field(default_factory=dict)
    defaults: bytes = b""

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
        for name, raw in {**files, **self._laid_config()}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(raw)

    def _laid_config(self) -> Mapping[str, bytes]:
        """The data that tests see. OPA refuses two files that say the same key, so an overlay is merged before."""
        if not self.defaults:
            return self.config
        rest = {name: raw for name, raw in self.config.items() if not name.startswith(f"{CONFIG}/defaults/")}
        return {**rest, f"{CONFIG}/defaults/merged.json": self.defaults}


def find_tree(*folders: Path) -> Tree:
    """The policies of a folder, of several overlays together, or of ``policies`` where none is named.

    Raises:
        InputError: ``policies_missing`` where there are none; ``policies_unreadable``.
        EngineError: ``policy_data_invalid``: an overlay's data can't be used; the message has file and line.
    """
    roots = folders or (Path("policies"),)
    for root in roots:
        if not root.is_dir():
            raise InputError(
                f"there is no folder {root}",
                code="policies_missing",
                hint="Name the folder of your policies with --policies; `placet policy new CATEGORY.RULE` starts one.",
            )
    if not any((root / _MAIN).is_file() for root in roots):
        return _overlay(roots)
    if len(roots) > 1:
        raise InputError(
            "a whole tree of policies stands alone: name it without other folders", code="policies_missing"
        )
    return _whole(roots[0])


def _whole(root: Path) -> Tree:
    sources, strays = _read_own(root, dict.fromkeys(("admission", "tests", "checks"), ""))
    config = sorted((root / CONFIG).rglob("*.yaml"))
    return Tree(
        root=root,
        whole=True,
        sources=sources,
        config={path.relative_to(root).as_posix(): path.read_bytes() for path in config},
        schemas={path.stem: path.read_bytes() for path in sorted((root / "schemas").glob("*.json"))},
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


def _overlay(roots: Sequence[Path]) -> Tree:
    own: dict[str, Source] = {}
    strays: tuple[Finding, ...] = ()
    for root in roots:
        found, more = _read_own(root, _OVERLAY)
        strays = (*strays, *more, *_find_doubles(own, found))
        own = {**found, **own}
    config = read_overlay_data(roots)
    if not own and not config.data:
        raise InputError(
            f"{', '.join(map(str, roots))} holds no policies",
            code="policies_missing",
            hint="An overlay has a folder rules/CATEGORY/RULE; `placet policy new CATEGORY.RULE` makes one.",
        )
    return with_data(_beside_shipped(roots[0], own, strays), config)


def _find_doubles(own: Mapping[str, Source], found: Mapping[str, Source]) -> tuple[Finding, ...]:
    """Files of one name in two folders: two rules of one id, for one."""
    both = [(source, own[name]) for name, source in found.items() if name in own]
    return tuple(Finding(one.shown, 1, "duplicate_id", f"{other.shown} is this file already") for one, other in both)


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
        schemas={
            PurePosixPath(name).stem: bundle.load_file(name) for name in bundle.files if name.startswith("schemas/")
        },
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
        elif path.name in _DATA_OF_OPA and not relative.startswith(("config/", f"{CONFIG}/", "schemas/")):
            message = "nobody reads it, and OPA would: policy data lie in config/NAME.yaml"
            strays.append(Finding(shown, 1, "data_shadows_code", message))
    return found, tuple(strays)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path}: can't be read: {exc.strerror or exc}", code="policies_unreadable") from exc
    if len(raw) > _MAX_BYTES:
        raise InputError(f"{path}:1: has more than {_MAX_BYTES} bytes", code="policies_unreadable")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise InputError(
            f"{path}:{line}: is not UTF-8 from here on", code="policies_unreadable", hint="Save the file as UTF-8."
        ) from exc
