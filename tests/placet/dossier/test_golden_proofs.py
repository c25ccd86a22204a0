"""A proof that was written once goes on to verify, with the policies of then, whatever the shipped ones have become."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from placet.approvals.keyring import load_roots
from placet.audit.cosignature import parse_witness_vkey, require_witnesses
from placet.audit.note import parse_vkey
from placet.audit.proof import VerifiedInclusion, verify_proof
from placet.canonical import render_canonical
from placet.dossier.file import verify_file
from placet.dossier.judge import Roots, judge_case
from placet.dossier.verdict import Outcome
from placet.errors import TamperError
from tests.golden.proofs.build import COSIGNED, FOLDER, PROOF
from tests.second_verifier import open_note

GOLDEN_V1 = FOLDER.parent / "audit"


@pytest.fixture(scope="module")
def raw() -> bytes:
    return gzip.decompress(PROOF.read_bytes())


def test_a_proof_of_version_2_still_verifies_and_says_the_same(raw: bytes) -> None:
    key = parse_vkey((FOLDER / "log.vkey").read_text(encoding="ascii"))
    case = verify_file(raw, [key]).case
    assert case.document["schema"] == "placet.dev/policy-input/v1"  # evidence of the four kinds of that time
    judged = judge_case(case, Roots(load_roots([FOLDER]), 2))
    found = [[one.part, str(one.outcome), one.code] for one in judged.verdict.findings]
    assert render_canonical(found) + b"\n" == (FOLDER / "v2.verdict.json").read_bytes()
    assert judged.verdict.outcome is Outcome.PROVED


def test_a_proof_of_version_1_still_verifies() -> None:
    key = parse_vkey((GOLDEN_V1 / "log.vkey").read_text(encoding="ascii"))
    assert isinstance(verify_proof((GOLDEN_V1 / "inclusion.json").read_bytes(), [key]), VerifiedInclusion)


def test_what_the_file_holds_needs_no_code_of_placet_to_be_found_in_the_log(raw: bytes) -> None:
    document: dict[str, Any] = json.loads(raw)
    size, root = open_note(document["checkpoint"], (FOLDER / "log.vkey").read_text(encoding="ascii").strip())

    def climb(node: bytes, index: int, width: int, path: list[bytes]) -> bytes:
        """RFC 6962 section 2.1.1, read backwards."""
        if width == 1:
            assert path == []
            return node
        split = 1 << (width - 1).bit_length() - 1
        if index < split:
            return hashlib.sha256(b"\x01" + climb(node, index, split, path[:-1]) + path[-1]).digest()
        return hashlib.sha256(b"\x01" + path[-1] + climb(node, index - split, width - split, path[:-1])).digest()

    assert len(document["leaves"]) > 4
    for entry in document["leaves"]:
        leaf = base64.b64decode(entry["leaf"])
        path = [base64.b64decode(part) for part in entry["hashes"]]
        assert climb(hashlib.sha256(b"\x00" + leaf).digest(), entry["index"], size, path) == root
        body = json.loads(leaf.partition(b"\n")[2])
        for name, content in entry["attachments"].items():
            digest = hashlib.sha256(base64.b64decode(content)).hexdigest()
            assert body[f"{name}_digest"] == f"sha256:{digest}"


def test_a_proof_with_a_witnesss_cosignature_still_verifies_and_is_one_line_longer(raw: bytes) -> None:
    key = parse_vkey((FOLDER / "log.vkey").read_text(encoding="ascii"))
    witness = parse_witness_vkey((GOLDEN_V1 / "witness.vkey").read_text(encoding="ascii"))
    cosigned = gzip.decompress(COSIGNED.read_bytes())
    dossier = verify_file(cosigned, [key])
    assert require_witnesses(dossier.checkpoint.note.encode(), [witness], 1)[0].witness == witness
    judged = judge_case(dossier.case, Roots(load_roots([FOLDER]), 2))
    assert judged.verdict.outcome is Outcome.PROVED
    bare, more = json.loads(raw), json.loads(cosigned)
    note, *lines = more["checkpoint"].removeprefix(bare["checkpoint"]).splitlines()
    assert (note.startswith("\u2014 witness.example.org/w1 "), lines) == (True, [])
    assert more | {"checkpoint": bare["checkpoint"]} == bare
    with pytest.raises(TamperError, match="0 of the given witnesses"):
        require_witnesses(verify_file(raw, [key]).checkpoint.note.encode(), [witness], 1)


def test_every_golden_proof_is_known() -> None:
    assert {path.name for path in Path(FOLDER).glob("v*")} == {
        "v2.json.gz",
        "v2.verdict.json",
        "v2-cosigned.json.gz",
    }


def test_the_auditors_document_shows_what_the_command_prints(raw: bytes, tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "auditors.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n\$ placet (.*)\n([^`]*)```", text)
    (tmp_path / "proof.json").write_bytes(raw)
    shutil.copyfile(FOLDER / "log.vkey", tmp_path / "log.vkey")
    (tmp_path / "roots").mkdir()
    for key in FOLDER.glob("root-*.pub"):
        shutil.copyfile(key, tmp_path / "roots" / key.name)
    done = subprocess.run(
        [sys.executable, "-m", "placet", *block[0].split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, block[1], "")
