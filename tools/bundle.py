"""Build the policy bundle that ships in ``placet/_bundle``, reproducibly.

    python tools/bundle.py            # build and write
    python tools/bundle.py --check    # build, compare with what is checked in, byte for byte
    python tools/bundle.py --test     # format, strict check, conventions, tests, 100 % coverage

Two artefacts from one source: ``bundle.tar.gz`` for an OPA server and ``policy.wasm`` for the embedded engine. Not one
file for both, since an OPA without a Wasm runtime refuses to start on a bundle with a Wasm section. Everything is
built from a copy in an empty folder, so that neither the checkout's path nor a stray file can reach the bytes. The
``opa`` is $PLACET_OPA, or else the one that ``python tools/build.py opa`` builds.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from placet.policy.authoring.reference import render_reference

ROOT: Final = Path(__file__).resolve().parent.parent
POLICIES: Final = ROOT / "policies"
BUNDLE: Final = ROOT / "placet" / "_bundle"
REFERENCE: Final = ROOT / "docs" / "rules.md"
OPA_VERSION: Final = "1.22.2"
ENTRY_POINT: Final = "admission/main/decision"
RULES: Final = "admission.rules."
GUARD: Final = "admission.main"
# Identifiers in governance frameworks that a rule may name: each was looked up there.
_ASKS: Final = re.compile(r'requirements\.(?:asked|released)\("([^"]*)"\)')
NOT_POLICY: Final = ("--ignore", "schemas", "--ignore", "capabilities.json", "--ignore", "controls.json")

# The day that a rule is announced for, as its METADATA has it, and how the rule gives it to admission.main.
EFFECTIVE_ON: Final = re.compile(r"""^(?P<indent>#\s+)effective_on:\s*["']?(?P<day>[^"'#]*?)["']?\s*$""", re.MULTILINE)
EFFECTIVE_S: Final = "effective_s := rego.metadata.chain()[1].annotations.custom.effective_s"

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
    names = [name for name in sorted(found) if not name.endswith("_test.rego")]
    return {name: write_seconds(name, (policies / name).read_bytes()) for name in names}


def write_seconds(name: str, content: bytes) -> bytes:
    """A source whose METADATA has the day that its rule is announced for in seconds too: policies can't read dates.

    Raises:
        BundleError: it is no day, or the rule does not give admission.main what the METADATA say.
    """
    text = content.decode()
    announced = EFFECTIVE_ON.search(text)
    given = [line for line in text.splitlines() if re.match(r"(#\s+)?effective_s\b", line)]
    if given != ([EFFECTIVE_S] if announced else []):
        raise BundleError(f"{name}: with effective_on, and only then, a rule has this line: {EFFECTIVE_S}")
    if announced is None:
        return content
    line = text.count("\n", 0, announced.start()) + 1
    seconds = _read_day(announced["day"], f"{name}:{line}")
    written = f"{announced[0]}\n{announced['indent']}effective_s: {seconds}"
    return f"{text[: announced.start()]}{written}{text[announced.end() :]}".encode()


def _read_day(day: str, where: str) -> int:
    """Seconds since 1970 UTC of a date or a date and time of RFC 3339; a date begins at midnight UTC."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", day, re.ASCII):
            return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp())
        if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", day, re.ASCII):
            return int(datetime.fromisoformat(day).timestamp())
    except ValueError:
        pass
    raise BundleError(f"{where}: effective_on: {day!r} is neither 2027-01-31 nor 2027-01-31T09:00:00Z")


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
    for path in sorted((policies / "admission" / "config" / "profiles").glob("*.yaml")):
        built[f"profiles/{path.name}"] = path.read_bytes()
    for path in sorted((policies / "schemas").glob("*.json")):
        built[f"schemas/{path.name}"] = path.read_bytes()
    # What authors of rules of their own need beside the archive: `placet policy test` and `check` lay it out.
    for path in sorted((policies / "tests").glob("*.rego")):
        built[f"authoring/tests/{path.name}"] = path.read_bytes()
    for name in ("conventions.rego", "controls.json"):
        if (policies / "checks" / name).is_file():
            built[f"authoring/checks/{name}"] = (policies / "checks" / name).read_bytes()
    built["authoring/capabilities.json"] = allowed
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
                "optional": bool(_asks(stage, package)),
                **_effective_on(package, custom),
            }
        )
    return rules


def _asks(stage: Path, package: str) -> list[str]:
    """Rules that the source of a package asks lib.requirements about: its own id where it is an optional rule."""
    folder = stage.joinpath(*package.split("."))
    text = "".join(path.read_text("utf-8") for path in sorted(folder.glob("*.rego")))
    return sorted(set(_ASKS.findall(text)))


def _effective_on(package: str, custom: dict[str, Any]) -> dict[str, str]:
    """The day that a rule is announced for, in UTC; nothing for a rule that is in force since it was made."""
    if "effective_on" not in custom and "effective_s" not in custom:
        return {}
    if package == GUARD or type(custom.get("effective_s")) is not int:
        raise BundleError(
            f"{package}: effective_on is for rules, on a line of its own, such as: effective_on: 2027-01-31"
        )
    return {"effective_on": datetime.fromtimestamp(custom["effective_s"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _package(entry: dict[str, Any]) -> str:
    scope = entry["annotations"].get("scope")
    path = [part["value"] for part in entry["path"]]
    return ".".join(path[1:]) if scope == "package" else ""


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
    except BundleError as exc:
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
