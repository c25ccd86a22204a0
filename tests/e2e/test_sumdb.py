"""Checkpoints and proofs of ours verify with the Go project's own code, golang.org/x/mod/sumdb."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from placet.audit.proof import find_leaf, prove_consistency, prove_inclusion
from placet.audit.stores.file import open_readonly
from tests.simulators.tampering import LOG_KEY, OTHER_KEY, build_log, fork, saved_notes

ROOT: Final = Path(__file__).resolve().parents[2]
VKEY: Final = str(LOG_KEY.verifier)
SIGNED: Final = tuple(range(1, 22))
_ACCEPTED, _REFUSED = 0, 1


@pytest.fixture(scope="session")
def program() -> str:
    """Where the built program is; the build makes it where it is not there yet."""
    builder = [sys.executable, str(ROOT / "tools" / "build.py")]
    subprocess.run([*builder, "sumdb-verify"], check=True, capture_output=True)
    found = subprocess.run([*builder, "--print-path", "sumdb-verify"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 21 leaves with a checkpoint after each."""
    return build_log(tmp_path_factory.mktemp("log") / "record.db", signed=SIGNED)


@pytest.fixture(scope="module")
def notes(store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Size -> file with the checkpoint of that size."""
    folder = tmp_path_factory.mktemp("notes")
    files = {}
    for size, (name, raw) in zip(SIGNED, saved_notes(store), strict=True):
        files[size] = folder / name
        files[size].write_bytes(raw)
    return files


def _ask(program: str, *arguments: object) -> int:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False).returncode


def _inclusion(store: Path, index: int) -> dict[str, Any]:
    """Our proof file as it is written; the program reads the four members that it needs."""
    with open_readonly(store) as reader:
        found = find_leaf(reader, str(index))
        assert found is not None
        document: dict[str, Any] = json.loads(prove_inclusion(reader, found, [LOG_KEY.verifier]))
    return document


def _consistency(store: Path, old: Path) -> dict[str, Any]:
    with open_readonly(store) as reader:
        document: dict[str, Any] = json.loads(prove_consistency(reader, old.read_bytes(), [LOG_KEY.verifier]))
    return document


def _written(folder: Path, value: object) -> Path:
    path = folder / "proof.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize("size", SIGNED)
def test_every_checkpoint_is_accepted(program: str, notes: dict[int, Path], size: int) -> None:
    assert _ask(program, "checkpoint", "-key", VKEY, notes[size]) == _ACCEPTED


def test_a_checkpoint_is_refused_after_any_change(program: str, notes: dict[int, Path], tmp_path: Path) -> None:
    raw = notes[18].read_bytes()
    changed = tmp_path / "changed.note"
    for place in range(raw.index(b"\n\n") + 2):
        changed.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        assert _ask(program, "checkpoint", "-key", VKEY, changed) == _REFUSED, place
    assert _ask(program, "checkpoint", "-key", OTHER_KEY.verifier, notes[18]) == _REFUSED


@pytest.mark.parametrize("index", range(21))
def test_every_inclusion_proof_is_accepted(
    program: str, store: Path, notes: dict[int, Path], tmp_path: Path, index: int
) -> None:
    proof = _written(tmp_path, _inclusion(store, index))
    assert _ask(program, "proof", "-key", VKEY, "-checkpoint", notes[21], "-proof", proof) == _ACCEPTED


def test_an_inclusion_proof_is_refused_after_any_change(
    program: str, store: Path, notes: dict[int, Path], tmp_path: Path
) -> None:
    right = _inclusion(store, 6)
    leaf = base64.b64decode(right["leaf"])
    other = base64.b64encode(leaf.replace(b'"allowed":true', b'"allowed":null')).decode()
    assert other != right["leaf"]
    for change in (
        {"index": 7},
        {"size": 20},
        {"leaf": other},
        {"hashes": right["hashes"][::-1]},
        {"hashes": right["hashes"][1:]},
        {"hashes": [*right["hashes"], right["hashes"][0]]},
    ):
        proof = _written(tmp_path, right | change)
        assert _ask(program, "proof", "-key", VKEY, "-checkpoint", notes[21], "-proof", proof) == _REFUSED, change
    proof = _written(tmp_path, right)
    assert _ask(program, "proof", "-key", VKEY, "-checkpoint", notes[20], "-proof", proof) == _REFUSED


@pytest.mark.parametrize("old", SIGNED)
def test_every_consistency_proof_is_accepted(
    program: str, store: Path, notes: dict[int, Path], tmp_path: Path, old: int
) -> None:
    proof = _written(tmp_path, _consistency(store, notes[old]))
    asked = ("consistency", "-key", VKEY, "-old", notes[old], "-new", notes[21], "-proof", proof)
    assert _ask(program, *asked) == _ACCEPTED


def test_a_consistency_proof_is_refused_for_another_history_and_after_any_change(
    program: str, store: Path, notes: dict[int, Path], tmp_path: Path
) -> None:
    right = _consistency(store, notes[12])
    other = fork(tmp_path / "other.db", at=9, size=12, signed=(12,))
    foreign = tmp_path / "foreign.note"
    foreign.write_bytes(saved_notes(other)[0][1])
    proof = _written(tmp_path, right)
    for old, new in ((foreign, notes[21]), (notes[13], notes[21]), (notes[12], notes[20]), (notes[21], notes[12])):
        asked = ("consistency", "-key", VKEY, "-old", old, "-new", new, "-proof", proof)
        assert _ask(program, *asked) == _REFUSED
    wrong: list[list[str]] = [right["hashes"][::-1], right["hashes"][1:], []]
    for hashes in wrong:
        proof = _written(tmp_path, {"hashes": hashes})
        asked = ("consistency", "-key", VKEY, "-old", notes[12], "-new", notes[21], "-proof", proof)
        assert _ask(program, *asked) == _REFUSED
