"""Build the policy bundle that ships in ``placet/_bundle``, reproducibly.

    python tools/bundle.py            # build and write
    python tools/bundle.py --check    # build, compare with what is checked in, byte for byte
    python tools/bundle.py --test     # format, strict check, conventions, tests, 100 % coverage

Two artefacts from one source: ``bundle.tar.gz`` for an OPA server and ``policy.wasm`` for the embedded engine. Not one
file for both, since an OPA without a Wasm runtime refuses to start on a bundle with a Wasm section. Everything is
built from a copy in an empty folder, so that neither the checkout's path nor a stray file can reach the bytes. The
``opa`` is $PLACET_OPA, or else the one that ``python tools/build.py opa`` builds. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import zlib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
POLICIES: Final = ROOT / "policies"
BUNDLE: Final = ROOT / "placet" / "_bundle"
REFERENCE: Final = ROOT / "docs" / "rules.md"
OPA_VERSION: Final = "1.22.2"
ENTRY_POINT: Final = "admission/main/decision"
RULES: Final = "admission.rules."
GUARD: Final = "admission.main"
NOT_POLICY: Final = ("--ignore", "schemas", "--ignore", "capabilities.json")

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


class BundleError(Exception):
    """The bundle could not be built; the message says what to do."""


def find_opa() -> str:
    """Path of the pinned ``opa``.

    Raises:
        BundleError: there is none, or it has another version.
    """
    given = os.environ.get("PLACET_OPA")
    cache = Path(os.environ.get("PLACET_CACHE", Path.home() / ".cache" / "placet"))
    opa = given or str(cache / "bin" / "opa")
    if shutil.which(opa) is None:
        raise BundleError(
            f"there is no opa at {opa}: run `python tools/build.py opa`, or set PLACET_OPA to an opa v{OPA_VERSION}"
        )
    found = _run([opa, "version"]).splitlines()[0].removeprefix("Version: ").strip()
    if found != OPA_VERSION:
        raise BundleError(f"{opa} is version {found}: the bundle is built with {OPA_VERSION} alone")
    return opa


def _run(command: list[str], *, cwd: Path | None = None, given: str | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BundleError(
            f"{Path(command[0]).name} {' '.join(command[1:3])} failed:\n{done.stdout}{done.stderr}".rstrip()
        )
    return done.stdout


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def sources(policies: Path = POLICIES) -> dict[str, bytes]:
    """The files that are compiled: name relative to the policies folder -> bytes, sorted."""
    found = [".manifest", *(str(path.relative_to(policies)) for path in (policies / "admission").rglob("*.rego"))]
    return {name: (policies / name).read_bytes() for name in sorted(found) if not name.endswith("_test.rego")}


def source_digest(files: dict[str, bytes]) -> str:
    """The revision: a digest over every source's name and content."""
    listed = {name: _digest(content) for name, content in files.items()}
    return _digest(json.dumps(listed, sort_keys=True, separators=(",", ":")).encode())


def capabilities(opa: str) -> bytes:
    """OPA's own capabilities, less every builtin that policies may not use."""
    known = json.loads(_run([opa, "capabilities", "--current"]))
    wanted = set(BUILTINS.split())
    known["builtins"] = [_declaration(builtin) for builtin in known["builtins"] if builtin["name"] in wanted]
    if missing := wanted - {builtin["name"] for builtin in known["builtins"]}:
        raise BundleError(f"opa has no builtin {', '.join(sorted(missing))}")
    known["allow_net"] = []
    return _render(known)


def _declaration(builtin: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in builtin.items() if key not in {"description", "categories"}}


def build(opa: str, policies: Path = POLICIES) -> dict[str, bytes]:
    """Every file of the bundle folder: name -> bytes."""
    files = sources(policies)
    revision = source_digest(files)
    allowed = capabilities(opa)
    with tempfile.TemporaryDirectory(prefix="placet-bundle-") as folder:
        stage = Path(folder) / "policies"
        for name, content in files.items():
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).write_bytes(content)
        (Path(folder) / "capabilities.json").write_bytes(allowed)
        built = {
            "bundle.tar.gz": _compile(opa, stage, revision, target="rego"),
            "policy.wasm": _compile(opa, stage, revision, target="wasm"),
        }
        rules = _rules(opa, stage)
    for path in sorted((policies / "admission" / "config" / "defaults").glob("*.yaml")):
        built[f"defaults/{path.name}"] = path.read_bytes()
    for path in sorted((policies / "schemas").glob("*.json")):
        built[f"schemas/{path.name}"] = path.read_bytes()
    built["manifest.json"] = _render(
        {
            "schema": "placet.dev/policy-bundle/v1",
            "revision": revision,
            "compiler": OPA_VERSION,
            "entrypoints": [ENTRY_POINT],
            "capabilities": _digest(allowed),
            "files": {name: _digest(content) for name, content in sorted(built.items())},
            "guard": next(rule for rule in rules if rule["id"] == GUARD),
            "rules": [rule for rule in rules if rule["id"] != GUARD],
        }
    )
    return built


def _render(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _compile(opa: str, stage: Path, revision: str, *, target: str) -> bytes:
    output = stage.parent / f"{target}.tar.gz"
    options = ["--entrypoint", ENTRY_POINT, "--revision", revision, "--capabilities", "../capabilities.json"]
    # -O0 always: with -O1 base data is frozen into the module, and the answer no longer follows the data.
    _run(
        [opa, "build", "--bundle", ".", "--target", target, "--optimize", "0", *options, "--output", str(output)],
        cwd=stage,
    )
    if target == "rego":
        return repack(output)
    with tarfile.open(output) as archive:
        module = archive.extractfile("/policy.wasm")
        if module is None:
            raise BundleError("opa built no policy.wasm")
        return module.read()


def repack(bundle: Path) -> bytes:
    """The same archive in bytes that depend on no compressor: two releases of Go or zlib compress differently."""
    packed = io.BytesIO()
    with tarfile.open(bundle) as old, tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for entry in sorted(old.getmembers(), key=lambda member: member.name):
            fresh = tarfile.TarInfo(entry.name)
            fresh.size, fresh.mode, fresh.mtime = entry.size, 0o644, 0
            new.addfile(fresh, old.extractfile(entry))
    return _gzip_stored(packed.getvalue())


def _gzip_stored(content: bytes) -> bytes:
    """RFC 1952 around stored blocks (RFC 1951, 3.2.4), with no time and no name."""
    blocks = [content[at : at + 0xFFFF] for at in range(0, len(content), 0xFFFF)] or [b""]
    body = b"".join(
        struct.pack("<BHH", at == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for at, block in enumerate(blocks)
    )
    header = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"
    return header + body + struct.pack("<II", zlib.crc32(content), len(content))


def _rules(opa: str, stage: Path) -> list[dict[str, Any]]:
    """The rules' annotations, and those of the guard, sorted by id; folded text is one line."""
    inspected = json.loads(_run([opa, "inspect", "--annotations", "--format", "json", "."], cwd=stage))
    annotated = {_package(entry): entry["annotations"] for entry in inspected["annotations"]}
    packages = [name.removeprefix("data.") for name in inspected["namespaces"]]
    rules = []
    for package in sorted(name for name in packages if name.startswith(RULES) or name == GUARD):
        notes = annotated.get(package, {})
        custom = notes.get("custom", {})
        rules.append(
            {
                "id": package.removeprefix(RULES),
                "title": notes.get("title", ""),
                "description": " ".join(notes.get("description", "").split()),
                "severity": custom.get("severity", ""),
                "solution": " ".join(custom.get("solution", "").split()),
                "controls": custom.get("controls", []),
            }
        )
    return rules


def _package(entry: dict[str, Any]) -> str:
    scope = entry["annotations"].get("scope")
    path = [part["value"] for part in entry["path"]]
    return ".".join(path[1:]) if scope == "package" else ""


def conventions(opa: str, policies: Path = POLICIES) -> list[dict[str, Any]]:
    """What the rules about rules object to."""
    with tempfile.TemporaryDirectory(prefix="placet-rules-") as folder:
        stage = Path(folder)
        for name, content in sources(policies).items():
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).write_bytes(content)
        rules = [
            {
                "id": rule["id"],
                "title": rule["title"],
                "description": rule["description"],
                "custom": {key: rule[key] for key in ("severity", "solution", "controls")},
            }
            for rule in _rules(opa, stage)
            if rule["id"] != GUARD
        ]
    given = {"rules": rules, "tests": list_tests(opa, policies)}
    query = [opa, "eval", "--data", str(POLICIES / "checks" / "conventions.rego"), "--stdin-input", "--format", "json"]
    answer = json.loads(_run([*query, "data.checks.conventions.violations"], given=json.dumps(given)))
    found: list[dict[str, Any]] = answer["result"][0]["expressions"][0]["value"]
    return found


def list_tests(opa: str, policies: Path) -> list[dict[str, str]]:
    """Package and name of every rule that stands in a test file."""
    found = []
    for path in sorted(policies.rglob("*_test.rego")):
        tree = json.loads(_run([opa, "parse", "--format", "json", str(path)]))
        package = ".".join(part["value"] for part in tree["package"]["path"][1:])
        found += [{"package": package, "name": rule["head"]["name"]} for rule in tree.get("rules", [])]
    return found


def reference(built: dict[str, bytes]) -> bytes:
    """docs/rules.md: the rules as their METADATA describe them."""
    manifest = json.loads(built["manifest.json"])
    lines = [
        "# Rules",
        "",
        "Written by `make bundle` from the METADATA of the rules in `policies/admission/rules`: change it there.",
        "",
        "A request is admitted when each rule in force proves that it passes. A rule that does not pass and is in the",
        "mode `warn` or `audit` is a warning to the requester or a note in the record. An update that changes nothing",
        "governed is carried forward: of the rules below, `approvals.revoked` and `risk.assessed` still judge it.",
        "",
        "| rule | severity | what it stands for |",
        "|---|---|---|",
    ]
    rules = [*manifest["rules"], manifest["guard"]]
    lines += [
        f"| [{rule['id']}](#{rule['id'].replace('.', '')}) | {rule['severity']} | {rule['title']} |" for rule in rules
    ]
    for rule in rules:
        lines += ["", f"## {rule['id']}", "", f"**{rule['title']}** (severity {rule['severity']})", ""]
        lines += [
            *textwrap.wrap(rule["description"], 118),
            "",
            *textwrap.wrap(f"What to do: {rule['solution']}", 118),
            "",
        ]
        lines += [f"Controls: {', '.join(rule['controls'])}."]
    return ("\n".join(lines) + "\n").encode()


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


def test(opa: str) -> None:
    """Everything that the policies' own source must hold."""
    _run([opa, "fmt", "--fail", "--list", "."], cwd=POLICIES)
    _run(
        [
            opa,
            "check",
            "--strict",
            "--capabilities",
            "capabilities.json",
            "admission",
            "--ignore",
            "*_test.rego",
            *NOT_POLICY,
        ],
        cwd=POLICIES,
    )
    _run([opa, "check", "--strict", "admission", "tests", "checks", *NOT_POLICY], cwd=POLICIES)
    if found := conventions(opa):
        raise BundleError("\n".join(f"{each['rule']}: {each['code']} ({each['field']})" for each in found))
    print(_run([opa, "test", ".", *NOT_POLICY], cwd=POLICIES).rstrip())
    _run([opa, "test", ".", "--coverage", "--threshold", "100", "--format", "json", *NOT_POLICY], cwd=POLICIES)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the policy bundle.")
    parser.add_argument("--check", action="store_true", help="compare with what is checked in instead of writing")
    parser.add_argument("--test", action="store_true", help="test the policies instead of building")
    parser.add_argument("--print-opa", action="store_true", help="print the path of the opa that is used")
    options = parser.parse_args()
    try:
        _do(options, find_opa())
    except BundleError as exc:
        print(f"bundle: {exc}", file=sys.stderr)
        return 2
    return 0


def _do(options: argparse.Namespace, opa: str) -> None:
    if options.print_opa:
        print(opa)
    elif options.test:
        test(opa)
    elif options.check:
        built = build(opa)
        differing = check(built)
        for path, content in _beside(opa, built).items():
            if not path.is_file() or path.read_bytes() != content:
                differing.append(str(path.relative_to(ROOT)))
        if differing:
            raise BundleError(f"not what the sources give: {', '.join(differing)}; run `make bundle`")
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
