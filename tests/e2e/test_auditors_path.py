"""What docs/auditors.md tells an auditor to type is typed, in a folder with published files and public keys alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from tests.simulators.apiserverlog import without_marks
from tests.simulators.published import publish
from tools.docs import find_blocks, matches

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = (ROOT / "docs" / "auditors.md").read_text(encoding="utf-8")
BUILD_S: Final = 600
COMMAND_S: Final = 120
COMMANDS: Final = [
    (command, shown)
    for block in find_blocks(DOCUMENT)
    if block.words == ("console", "published")
    for command, shown in re.findall(r"^\$ ((?:[^\n]*\\\n)*[^\n]*\n)((?:(?!\$ )[^\n]*\n)*)", block.body, re.MULTILINE)
]


@pytest.fixture(scope="module")
def programs() -> str:
    """PATH with placet, cosign, and what every system has."""
    build = [sys.executable, str(ROOT / "tools/build.py")]
    subprocess.run([*build, "cosign"], check=True, capture_output=True, timeout=BUILD_S)
    asked = [*build, "--print-path", "cosign"]
    found = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=COMMAND_S)
    return f"{Path(sys.executable).parent}:{Path(found.stdout.strip()).parent}:/usr/bin:/bin"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The auditor's folder."""
    folder, making = tmp_path / "auditor", tmp_path / "platform-team"
    folder.mkdir()
    making.mkdir()
    engine = EmbeddedEngine.default(load_policy_data(None))
    try:
        publish(folder, making, engine=engine)
    finally:
        engine.close()
    return folder


def typed(command: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{command}"],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )


def test_an_auditor_with_published_files_and_public_keys_can_do_all_that_the_document_says(
    desk: Path, programs: str
) -> None:
    told = {word for command, _ in COMMANDS for word in re.findall(r"placet audit \w+|cosign \S+", command)}
    assert told >= {
        "placet audit verify",
        "placet audit list",
        "placet audit prove",
        "placet audit envelopes",
        "cosign verify-blob-attestation",
    }
    there = {path for path in desk.rglob("*") if path.is_file()}
    assert not [path for path in there if path.suffix in {".sqlite", ".db", ".key"} or b"PRIVATE" in path.read_bytes()]
    for command, shown in COMMANDS:
        done = typed(command, desk, programs)
        assert done.returncode == 0, f"{command}{done.stdout}{done.stderr}"
        assert matches(shown, done.stdout + done.stderr), f"{command}{done.stdout}{done.stderr}"
    assert {path for path in there if not path.is_file()} == set()


def test_each_step_refuses_what_was_changed(desk: Path, programs: str) -> None:
    """So that their consent says something."""
    verify, listed, prove, judge, take, check = (
        next(command for command, _ in COMMANDS if command.startswith(words))
        for words in (
            "placet audit verify --tiles",
            "placet audit list",
            "placet audit prove",
            "placet audit verify --proof llama.json",
            "placet audit envelopes",
            "cosign",
        )
    )
    for command in (verify, listed, prove, judge, take, check):
        assert typed(command, desk, programs).returncode == 0
    (bundle,) = (desk / "published" / "tile" / "entries").rglob("000.p/*")
    raw = bundle.read_bytes()
    bundle.write_bytes(raw.replace(b'"allowed":true', b'"allowed":null', 1))
    for command in (verify, listed):
        assert typed(command, desk, programs).returncode != 0, command
    bundle.write_bytes(raw)
    events = (desk / "audit.log").read_text(encoding="utf-8").splitlines(keepends=True)
    unasked = without_marks(json.loads(events[-1]))
    unasked["objectRef"]["name"] = "phi"
    (desk / "audit.log").write_text("".join([*events, f"{json.dumps(unasked)}\n"]), encoding="utf-8")
    assert "unasked" in typed(verify, desk, programs).stdout
    (desk / "audit.log").write_text("".join(events), encoding="utf-8")
    assert typed(verify, desk, programs).returncode == 0
    note = desk / "published" / "cosigned" / "w1.note"
    cosigned = note.read_text(encoding="utf-8")
    note.write_text("".join(cosigned.splitlines(keepends=True)[:-1]), encoding="utf-8")
    assert "witness_missing" in typed(verify, desk, programs).stdout
    note.write_text(cosigned, encoding="utf-8")
    proof = json.loads((desk / "llama.json").read_text(encoding="utf-8"))
    own = "".join(proof["checkpoint"].splitlines(keepends=True)[:-1])
    (desk / "llama.json").write_text(json.dumps(proof | {"checkpoint": own}), encoding="utf-8")
    assert "witness_missing" in typed(judge, desk, programs).stdout
    signed = next((desk / "approvals").glob("*-security-*.bundle.json"))
    bundled = json.loads(signed.read_text(encoding="utf-8"))
    other = next((desk / "approvals").glob("*-business-*.bundle.json"))
    bundled["dsseEnvelope"]["payload"] = json.loads(other.read_text(encoding="utf-8"))["dsseEnvelope"]["payload"]
    signed.write_text(json.dumps(bundled), encoding="utf-8")
    assert typed(check, desk, programs).returncode != 0
    assert "is not empty" in typed(take, desk, programs).stderr
