"""Build the policy bundle that ships in ``placet/_bundle``, reproducibly.

    python tools/bundle.py            # build and write
    python tools/bundle.py --check    # build, compare with what is checked in, byte for byte
    python tools/bundle.py --print-opa

What is built, and how, is ``placet policy bundle build``: here are only the places in this repository. The ``opa`` is
$PLACET_OPA, or else the one that ``python tools/build.py opa`` builds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from placet.errors import InputError
from placet.policy.authoring.announced import EFFECTIVE_S, write_seconds
from placet.policy.authoring.compiling import build_artefact, compile_tree, compiled_sources, source_digest
from placet.policy.authoring.opa import Opa
from placet.policy.authoring.reference import render_reference
from placet.policy.authoring.tree import find_tree

__all__ = [
    "EFFECTIVE_S",
    "build",
    "build_artefact",
    "capabilities",
    "find_opa",
    "source_digest",
    "sources",
    "write_seconds",
]

ROOT: Final = Path(__file__).resolve().parent.parent
POLICIES: Final = ROOT / "policies"
BUNDLE: Final = ROOT / "placet" / "_bundle"
REFERENCE: Final = ROOT / "docs" / "rules.md"
OPA_VERSION: Final = "1.22.2"
NOT_POLICY: Final = ("--ignore", "schemas", "--ignore", "capabilities.json", "--ignore", "controls.json")

# Builtins that the Wasm compiler brings itself and that both engines were seen to answer alike. Left out on purpose:
# all that need a host, and json.unmarshal, base64.*, format_int, glob.match, net.*, to_number, json.*, numbers.range.
BUILTINS: Final = """
    plus minus mul rem abs array.concat array.flatten array.reverse array.slice and or intersection union
    is_number is_string is_boolean is_array is_set is_object is_null type_name count sum product max min sort
    eq assign equal gt gte lt lte neq object.filter object.get object.keys object.remove object.union object.union_n
    concat contains startswith endswith lower upper split indexof substring trim trim_left trim_right trim_prefix
    trim_suffix trim_space strings.replace_n internal.template_string internal.member_2 internal.member_3
    regex.match walk rego.metadata.chain
"""


def find_opa() -> str:
    """Path of the pinned ``opa``.

    Raises:
        InputError: there is none, or it has another version.
    """
    given = os.environ.get("PLACET_OPA")
    cache = Path(os.environ.get("PLACET_CACHE", Path.home() / ".cache" / "placet"))
    opa = given or str(cache / "bin" / "opa")
    if shutil.which(opa) is None:
        raise InputError(
            f"there is no opa at {opa}: run `python tools/build.py opa`, or set PLACET_OPA to an opa v{OPA_VERSION}"
        )
    found = _run([opa, "version"]).splitlines()[0].removeprefix("Version: ").strip()
    if found != OPA_VERSION:
        raise InputError(f"{opa} is version {found}: the bundle is built with {OPA_VERSION} alone")
    return opa


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InputError(
            f"{Path(command[0]).name} {' '.join(command[1:3])} failed:\n{done.stdout}{done.stderr}".rstrip()
        )
    return done.stdout


def sources(policies: Path = POLICIES) -> dict[str, bytes]:
    """The files that are compiled: name relative to the policies folder -> bytes, sorted."""
    return compiled_sources(find_tree(policies))


def capabilities(opa: str) -> bytes:
    """OPA's own capabilities, less every builtin that policies may not use."""
    known = json.loads(_run([opa, "capabilities", "--current"]))
    wanted = set(BUILTINS.split())
    known["builtins"] = [_declaration(builtin) for builtin in known["builtins"] if builtin["name"] in wanted]
    if missing := wanted - {builtin["name"] for builtin in known["builtins"]}:
        raise InputError(f"opa has no builtin {', '.join(sorted(missing))}")
    known["allow_net"] = []
    return _render(known)


def _declaration(builtin: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in builtin.items() if key not in {"description", "categories"}}


def build(opa: str, policies: Path = POLICIES) -> dict[str, bytes]:
    """Every file of the bundle folder: name -> bytes."""
    return compile_tree(Opa(opa), replace(find_tree(policies), capabilities=capabilities(opa)))


def _render(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def reference(built: dict[str, bytes]) -> bytes:
    """docs/rules.md: the rules as their METADATA describe them."""
    manifest = json.loads(built["manifest.json"])
    return render_reference([*manifest["rules"], manifest["guard"]])


def write(built: dict[str, bytes]) -> None:
    """Write the bundle folder; files that are no longer built are removed."""
    for stale in _present() - built.keys():
        (BUNDLE / stale).unlink()
    for name, content in built.items():
        (BUNDLE / name).parent.mkdir(parents=True, exist_ok=True)
        (BUNDLE / name).write_bytes(content)


def check(built: dict[str, bytes]) -> list[str]:
    """Names of the files that differ from those checked in."""
    names = sorted(built.keys() | _present())
    return [
        name
        for name in names
        if name not in built or not (BUNDLE / name).is_file() or (BUNDLE / name).read_bytes() != built[name]
    ]


def _present() -> set[str]:
    if not BUNDLE.is_dir():
        return set()
    return {
        str(path.relative_to(BUNDLE))
        for path in BUNDLE.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the policy bundle.")
    parser.add_argument("--check", action="store_true", help="compare with what is checked in instead of writing")
    parser.add_argument("--print-opa", action="store_true", help="print the path of the opa that is used")
    options = parser.parse_args()
    try:
        _do(options, find_opa())
    except InputError as exc:
        print(f"bundle: {exc}", file=sys.stderr)
        return 2
    return 0


def _do(options: argparse.Namespace, opa: str) -> None:
    if options.print_opa:
        print(opa)
    elif options.check:
        built = build(opa)
        differing = check(built)
        for path, content in _beside(opa, built).items():
            if not path.is_file() or path.read_bytes() != content:
                differing.append(str(path.relative_to(ROOT)))
        if differing:
            raise InputError(f"not what the sources give: {', '.join(differing)}; run `make bundle`")
    else:
        built = build(opa)
        write(built)
        for path, content in _beside(opa, built).items():
            path.write_bytes(content)


def _beside(opa: str, built: dict[str, bytes]) -> dict[Path, bytes]:
    """What is generated with the bundle and lies elsewhere."""
    return {POLICIES / "capabilities.json": capabilities(opa), REFERENCE: reference(built)}


if __name__ == "__main__":
    raise SystemExit(main())
