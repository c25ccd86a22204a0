"""``placet audit tiles`` and ``placet audit witness``, as an operator, a witness and an auditor use them."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from placet.audit.checkpoint import sign_checkpoint
from placet.audit.tiles import parse_bundle, render_bundle
from placet.cli import audit_witness, root
from tests.golden.proofs.build import FOLDER, PROOF
from tests.simulators.tampering import LOG_KEY, START, build_log, fork, saved_notes

VKEY = str(LOG_KEY.verifier)
NAME = "witness.example.org/w1"


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(root, ["audit", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    run("tiles", "--store", built, "--log-key", VKEY, "--out", tmp_path / "tiles")
    return tmp_path / "tiles"


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The options of a witness; its verifier key is in a file."""
    monkeypatch.setattr(audit_witness, "now", lambda: START)
    made = run("witness-key", tmp_path / "w1.key", "--name", NAME, "--new")
    (tmp_path / "w1.vkey").write_text(made.stdout)
    shown = run("witness-key", tmp_path / "w1.key", "--name", NAME)
    assert shown.stdout == made.stdout
    return ["--key", tmp_path / "w1.key", "--name", NAME, "--log-key", VKEY, "--state", tmp_path / "w1.state"]


def test_publishing_says_what_it_did(built: Path, tmp_path: Path) -> None:
    asked = ("tiles", "--store", built, "--log-key", VKEY, "--out", tmp_path / "tiles")
    assert run(*asked).stdout == "published 18 leaves of placet.dev/log/test, 18 of them new, and 3 checkpoints\n"
    assert run(*asked).stdout == "18 leaves of placet.dev/log/test are published already\n"
    value = json.loads(run(*asked, "-o", "json").stdout)
    assert value == {
        "schema": "placet.dev/audit-tiles/v1",
        "origin": "placet.dev/log/test",
        "size": 18,
        "before": 18,
        "files": 0,
        "checkpoints": 0,
    }


def test_another_history_is_refused_with_its_index(folder: Path, tmp_path: Path) -> None:
    other = fork(tmp_path / "other.db", at=9, size=21, signed=(5, 12, 18))
    result = run("tiles", "--store", other, "--log-key", VKEY, "--out", folder, code=2)
    assert "leaf 9 of the store" in result.stderr


def test_tiles_are_verified_and_what_was_changed_is_named(folder: Path) -> None:
    asked = ("verify", "--tiles", folder, "--log-key", VKEY)
    assert run(*asked).stdout.splitlines()[-1] == "VERIFIED"
    bundle = folder / "tile" / "entries" / "000.p" / "18"
    leaves = parse_bundle(bundle.read_bytes())
    bundle.write_bytes(render_bundle([*leaves[:7], leaves[7].replace(b"true", b"null"), *leaves[8:]]))
    result = run(*asked, code=1)
    assert result.stdout.splitlines()[-2:] == [
        "leaf_changed at 7: tile/entries/000.p/18: the entry is not the one that the log has there",
        "NOT VERIFIED",
    ]
    value = json.loads(run(*asked, "-o", "json", code=1).stdout)
    assert (value["verified"], value["first_bad_index"], value["kinds"]) == (False, 7, ["leaf_changed"])


def test_proofs_are_made_from_tiles_alone(folder: Path, tmp_path: Path, built: Path) -> None:
    for wanted in ("uid-6", "decision-6", "6"):
        proof = tmp_path / f"{wanted}.json"
        proof.write_text(run("prove", wanted, "--leaf-only", "--tiles", folder, "--log-key", VKEY).stdout)
        assert "leaf 6 is in the log" in run("verify", "--proof", proof, "--log-key", VKEY).stdout
        assert proof.read_text() == run("prove", wanted, "--leaf-only", "--store", built, "--log-key", VKEY).stdout
    older = tmp_path / "older.note"
    older.write_bytes(saved_notes(built)[0][1])
    proof.write_text(run("prove", "--consistency", older, "--tiles", folder, "--log-key", VKEY).stdout)
    assert "of 18 leaves extends the one of 5" in run("verify", "--proof", proof, "--log-key", VKEY).stdout
    run("prove", "no-such", "--leaf-only", "--tiles", folder, "--log-key", VKEY, code=2)
    assert "--leaf-only" in run("prove", "6", "--tiles", folder, "--log-key", VKEY, code=2).stderr


def test_a_witness_is_asked_for_in_tiles_stores_and_proofs(
    folder: Path, built: Path, tmp_path: Path, witness: list[object]
) -> None:
    key = ("--witness-key", tmp_path / "w1.vkey")
    tiles = ("verify", "--tiles", folder, "--log-key", VKEY, *key)
    assert "witness_missing" in run(*tiles, code=1).stdout
    (folder / "cosigned").mkdir()
    cosigned = folder / "cosigned" / "w1.note"
    run("witness", *witness, "--tiles", folder, "--out", cosigned, "--first")
    said = run(*tiles).stdout
    assert f"18 leaves were cosigned by {NAME}, last at 2026-11-22T18:00:00+00:00" in said
    store = ("verify", "--store", built, "--log-key", VKEY, *key)
    assert "witness_missing" in run(*store, code=1).stdout
    assert "18 leaves were cosigned" in run(*store, "--checkpoint", cosigned).stdout
    proof = tmp_path / "proof.json"
    proof.write_text(run("prove", "6", "--leaf-only", "--tiles", folder, "--log-key", VKEY).stdout)
    assert "witness_missing" in run("verify", "--proof", proof, "--log-key", VKEY, *key, code=1).stdout
    proof.write_text(
        run("prove", "6", "--leaf-only", "--tiles", folder, "--checkpoint", cosigned, "--log-key", VKEY).stdout
    )
    run("verify", "--proof", proof, "--log-key", VKEY, *key)
    run("verify", "--proof", proof, "--log-key", VKEY)
    from_store = ("--store", built, "--checkpoint", cosigned, "--log-key", VKEY)
    assert run("prove", "6", "--leaf-only", *from_store).stdout == proof.read_text()
    proof.write_text(run("prove", "2", *from_store).stdout)
    assert json.loads(proof.read_text())["schema"] == "placet.dev/audit-proof/v2"
    assert json.loads(proof.read_text())["checkpoint"] == cosigned.read_text()
    assert "VERIFIED leaf 2" in run("verify", "--proof", proof, "--log-key", VKEY, *key).stdout


def test_a_proof_is_made_under_a_checkpoint_that_has_the_leaf_and_is_the_logs(
    folder: Path, built: Path, tmp_path: Path
) -> None:
    older, foreign = tmp_path / "older.note", tmp_path / "foreign.note"
    older.write_bytes(saved_notes(built)[0][1])
    foreign.write_text(sign_checkpoint(LOG_KEY, size=18, root=bytes(32)).note)
    for leaf_only in ((), ("--leaf-only",)):
        asked = ("prove", "6", "--store", built, "--log-key", VKEY, *leaf_only, "--checkpoint")
        assert "of 5 leaves, and does not sign for leaf 6" in run(*asked, older, code=2).stderr
        assert run(*asked, foreign, code=2).stdout == ""
        beyond = tmp_path / "beyond.note"
        beyond.write_text(sign_checkpoint(LOG_KEY, size=1000, root=bytes(32)).note)
        assert "fewer leaves than 1000" in run(*asked, beyond, code=2).stderr


def test_a_witness_is_asked_for_in_a_proof_of_a_decision(tmp_path: Path, witness: list[object]) -> None:
    assert witness
    proof = tmp_path / "proof.json"
    proof.write_bytes(gzip.decompress(PROOF.read_bytes()))
    roots = ("--root-key", FOLDER, "--root-threshold", 2)
    asked = ("verify", "--proof", proof, "--log-key", FOLDER / "log.vkey", *roots)
    assert "VERIFIED" in run(*asked).stdout
    refused = run(*asked, "--witness-key", tmp_path / "w1.vkey", code=1).stdout
    assert "NOT VERIFIED" in refused
    assert "witness_missing" in refused


def test_a_threshold_counts_witnesses_over_all_files(
    folder: Path, tmp_path: Path, witness: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = run("witness-key", tmp_path / "w2.key", "--name", "witness.example.org/w2", "--new").stdout.strip()
    keys = ("--witness-key", tmp_path / "w1.vkey", "--witness-key", second)
    (folder / "cosigned").mkdir()
    run("witness", *witness, "--tiles", folder, "--out", folder / "cosigned" / "w1.note", "--first")
    asked = ("verify", "--tiles", folder, "--log-key", VKEY, *keys)
    assert "2 witnesses have to have cosigned one checkpoint, and 1 have" in run(*asked, code=1).stdout
    run(*asked, "--witnesses", 1)
    other = ["--key", tmp_path / "w2.key", "--name", "witness.example.org/w2", "--log-key", VKEY]
    other += ["--state", tmp_path / "w2.state", "--tiles", folder, "--out", folder / "cosigned" / "w2.note", "--first"]
    run("witness", *other)
    run(*asked)
    run(*asked, "--witnesses", 3, code=2)
    wrong = (folder / "cosigned" / "w2.note").read_text().splitlines(keepends=True)
    moved = (folder / "cosigned" / "w1.note").read_text().splitlines(keepends=True)
    monkeypatch.setattr(audit_witness, "now", lambda: START + timedelta(hours=1))
    (folder / "cosigned" / "w2.note").write_text("".join([*wrong[:-1], moved[-1].replace("w1", "w2")]))
    assert run(*asked, "--witnesses", 1).exit_code == 0  # a line by an unknown key id is passed over
    last = wrong[-1].split(" ")
    last[-1] = f"{last[-1][:20]}{'A' if last[-1][20] != 'A' else 'B'}{last[-1][21:]}"
    (folder / "cosigned" / "w2.note").write_text("".join([*wrong[:-1], " ".join(last)]))
    assert "cosignature_invalid" in run(*asked, "--witnesses", 1, code=1).stdout


def test_a_log_that_was_cut_back_is_not_cosigned(folder: Path, tmp_path: Path, witness: list[object]) -> None:
    run("witness", *witness, "--tiles", folder, "--out", tmp_path / "one.note", "--first")
    before = (tmp_path / "w1.state").read_bytes()
    other = build_log(tmp_path / "older.db", size=12, signed=(5, 12))
    run("tiles", "--store", other, "--log-key", VKEY, "--out", tmp_path / "cut")
    result = run("witness", *witness, "--tiles", tmp_path / "cut", "--out", tmp_path / "two.note", code=1)
    assert result.stderr.startswith("NOT COSIGNED rolled_back: the log shows 12 leaves, and had 18 before")
    assert not (tmp_path / "two.note").exists()
    assert (tmp_path / "w1.state").read_bytes() == before


def test_a_witness_without_tiles_takes_a_consistency_proof(
    folder: Path, built: Path, tmp_path: Path, witness: list[object]
) -> None:
    first = tmp_path / "first.note"
    first.write_bytes(saved_notes(built)[0][1])
    run("witness", *witness, "--checkpoint", first, "--out", tmp_path / "one.note", "--first")
    proof = tmp_path / "extends.json"
    proof.write_text(run("prove", "--consistency", tmp_path / "w1.state", "--store", built, "--log-key", VKEY).stdout)
    asked = ("witness", *witness, "--checkpoint", folder / "checkpoint")
    assert run(*asked, "--consistency", proof).stdout.count("\u2014 ") == 2
    run(*asked, code=0)  # the same size again needs no proof


def test_options_that_do_not_go_together_are_refused(folder: Path, tmp_path: Path, witness: list[object]) -> None:
    run("witness", *witness, code=2)
    run("witness", *witness, "--tiles", folder, "--consistency", tmp_path / "x", code=2)
    run("verify", "--tiles", folder, "--proof", tmp_path / "x", "--log-key", VKEY, code=2)
    extends = ("prove", "--consistency", folder / "checkpoint", "--log-key", VKEY)
    assert "--checkpoint" in run(*extends, "--checkpoint", folder / "checkpoint", code=2).stderr
    run("verify", "--tiles", folder, "--resume", tmp_path / "state", "--log-key", VKEY, code=2)
    run("verify", "--tiles", folder, "--log-key", VKEY, "--witness-key", VKEY, code=2)
    run("tiles", "--store", tmp_path / "none.db", "--log-key", VKEY, "--out", tmp_path / "new", code=2)
    assert not (tmp_path / "new").exists()
