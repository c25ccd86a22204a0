"""A tree of policies compiled into the files of a bundle folder, the same bytes wherever it is done.

Two artefacts from one source: ``bundle.tar.gz`` for an OPA server and ``policy.wasm`` for the embedded engine. Not one
file for both, since an OPA without a Wasm runtime refuses to start on a bundle with a Wasm section. Everything is built
from a copy in an empty folder, so that neither the path of the sources nor a stray file can reach the bytes.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from placet.canonical import Digest
from placet.errors import InputError
from placet.policy.authoring.annotations import read_annotations
from placet.policy.authoring.announced import write_seconds
from placet.policy.authoring.findings import of_opa_errors
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.stored import repack
from placet.policy.authoring.syntax import SyntaxFault
from placet.policy.authoring.tree import CAPABILITIES, CONFIG, CONTROLS, CONVENTIONS, Tree
from placet.policy.bundle import MANIFEST, SOURCES, WASM, shipped_bundle

ENTRY_POINT: Final = "admission/main/decision"
ROOTS: Final = b'{\n  "roots": ["admission"],\n  "rego_version": 1\n}\n'
"""The ``.manifest`` that OPA reads: where policies may stand. What is outside is an operator's."""
_RULES: Final = "admission.rules."
_GUARD: Final = "admission.main"


def compile_tree(opa: Opa, tree: Tree) -> dict[str, bytes]:
    """Every file of the bundle folder: name -> bytes.

    Args:
        opa: of the release that placet's own policies are compiled with.
        tree: policies; nothing but whether they compile is looked at here, as ``checking`` does the rest.

    Raises:
        SyntaxFault: they do not compile, or need a builtin that an engine lacks; with file and line.
        InputError: a rule's day can't be read, or opa does not do what it is asked.
    """
    files = compiled_sources(tree)
    revision = source_digest(files)
    with tempfile.TemporaryDirectory(prefix="placet-bundle-") as folder:
        stage = Path(folder) / "policies"
        for name, content in files.items():
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).write_bytes(content)
        (Path(folder) / CAPABILITIES).write_bytes(tree.capabilities)
        _require_compiling(opa, tree, stage)
        built = {
            SOURCES: build_artefact(opa, stage, revision, target="rego"),
            WASM: build_artefact(opa, stage, revision, target="wasm"),
        }
        rules = _read_rules(opa, tree, stage)
    built |= files_beside(tree)
    listed = {name: str(Digest.of(content)) for name, content in sorted(built.items())}
    manifest = {
        "schema": "placet.dev/policy-bundle/v1",
        "revision": revision,
        "compiler": shipped_bundle().compiler,
        "entrypoints": [ENTRY_POINT],
        "capabilities": str(Digest.of(tree.capabilities)),
        "files": listed,
        "guard": next(rule for rule in rules if rule["id"] == _GUARD),
        "rules": [rule for rule in rules if rule["id"] != _GUARD],
    }
    built[MANIFEST] = (json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    return built


def compiled_sources(tree: Tree) -> dict[str, bytes]:
    """The files that are compiled: name -> bytes, sorted. No test is among them, and no data.

    Raises:
        InputError: ``effective_on_invalid``.
    """
    policies = (one for one in tree.sources.values() if one.name.startswith("admission/") and not one.is_test)
    texts = {one.name: _with_seconds(one.shown, one.text.encode(), own=one.own) for one in policies}
    return dict(sorted({".manifest": ROOTS, **texts}.items()))


def _with_seconds(shown: str, content: bytes, *, own: bool) -> bytes:
    # What ships has been through it: its seconds stand there already.
    return write_seconds(shown, content) if own else content


def source_digest(files: Mapping[str, bytes]) -> str:
    """The revision: a digest over every source's name and content."""
    listed = {name: str(Digest.of(content)) for name, content in files.items()}
    return str(Digest.of(json.dumps(listed, sort_keys=True, separators=(",", ":")).encode()))


def files_beside(tree: Tree) -> dict[str, bytes]:
    """What a bundle holds besides its artefacts and its manifest: data, schemas, and what authors need."""
    files = {name.removeprefix(f"{CONFIG}/"): raw for name, raw in tree.config.items()}
    files |= {f"overlay/{name}": one.raw for name, one in tree.overlay.items()}
    files |= {f"schemas/{name}.json": raw for name, raw in tree.schemas.items()}
    shared = (one for one in tree.sources.values() if one.own == tree.whole and one.name.startswith("tests/"))
    files |= {f"authoring/tests/{PurePosixPath(one.name).name}": one.text.encode() for one in shared}
    files[f"authoring/{CONVENTIONS}"] = tree.conventions
    if tree.controls:
        files[f"authoring/{CONTROLS}"] = tree.controls
    files[f"authoring/{CAPABILITIES}"] = tree.capabilities
    return files


def _require_compiling(opa: Opa, tree: Tree, stage: Path) -> None:
    """``opa build`` says what is wrong in words alone; ``opa check`` says it with file and line."""
    ran = opa.run("check", "--format", "json", "--capabilities", f"../{CAPABILITIES}", ".", folder=stage)
    if found := of_opa_errors(ran.errors(), tree.shown):
        raise SyntaxFault(found)


def build_artefact(opa: Opa, stage: Path, revision: str, *, target: str) -> bytes:
    """One artefact of what was laid out in ``stage``, beside which ``capabilities.json`` lies.

    Raises:
        InputError: ``opa_failed``.
    """
    output = stage.parent / f"{target}.tar.gz"
    options = ["--entrypoint", ENTRY_POINT, "--revision", revision, "--capabilities", f"../{CAPABILITIES}"]
    # -O0 always: with -O1 base data is frozen into the module, and the answer no longer follows the data.
    options += ["--target", target, "--optimize", "0", "--output", str(output)]
    ran = opa.run("build", "--bundle", ".", *options, folder=stage)
    if ran.code != 0:
        raise InputError(f"opa build failed:\n{(ran.stderr or ran.stdout).strip()[:2000]}", code="opa_failed")
    if target == "rego":
        return repack(output)
    with tarfile.open(output) as archive:
        module = archive.extractfile("/policy.wasm")
        if module is None:
            raise InputError("opa built no policy.wasm", code="opa_failed")
        return module.read()


def _read_rules(opa: Opa, tree: Tree, stage: Path) -> list[dict[str, Any]]:
    """What the rules, and the guard, say of themselves, sorted by id; folded text is one line."""
    annotated = read_annotations(opa, stage)
    names = compiled_sources(tree)
    packages = {".".join(PurePosixPath(name).parent.parts): name for name in names if name.endswith(".rego")}
    rules = []
    for package in sorted(name for name in packages if name.startswith(_RULES) or name == _GUARD):
        notes = annotated.get(package, {})
        custom = notes.get("custom", {})
        rules.append(
            {
                "id": package.removeprefix(_RULES),
                "title": notes.get("title", ""),
                "description": " ".join(notes.get("description", "").split()),
                "severity": custom.get("severity", ""),
                "solution": " ".join(custom.get("solution", "").split()),
                "controls": custom.get("controls", []),
                "optional": tree.sources[packages[package]].asks != [],
                **_effective_on(packages[package], package, custom),
            }
        )
    return rules


def _effective_on(file: str, package: str, custom: Mapping[str, Any]) -> dict[str, str]:
    """The day that a rule is announced for, in UTC; nothing for a rule that is in force since it was made."""
    if "effective_on" not in custom and "effective_s" not in custom:
        return {}
    if package == _GUARD or type(custom.get("effective_s")) is not int:
        raise InputError(
            f"{file}:1: effective_on is for rules, on a line of its own, such as: effective_on: 2027-01-31",
            code="effective_on_invalid",
        )
    return {"effective_on": datetime.fromtimestamp(custom["effective_s"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
