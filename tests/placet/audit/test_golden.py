"""The bytes of the record's formats don't change by accident."""

from __future__ import annotations

import pytest

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.note import parse_vkey
from placet.audit.proof import verify_proof
from placet.audit.record import parse_leaf
from placet.revoked import parse_revocation
from tests.golden.audit.build import FOLDER, files

FILES = files()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_golden_file_is_made_again_byte_for_byte(name: str) -> None:
    assert (FOLDER / name).read_bytes() == FILES[name], "if this is meant, run python -m tests.golden.audit.build"


def test_every_golden_file_has_a_maker() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py"} == set(FILES)


def test_the_golden_files_of_old_still_verify() -> None:
    key = parse_vkey((FOLDER / "log.vkey").read_text())
    assert parse_leaf((FOLDER / "leaf").read_bytes()).hash.hex() == (FOLDER / "leaf.hash").read_text().strip()
    revocation = parse_revocation(parse_leaf((FOLDER / "revocation.leaf").read_bytes()).body)
    assert (revocation.role, revocation.person) == ("security", "bob")
    assert verify_checkpoint((FOLDER / "checkpoint.note").read_bytes(), [key]).size == 18
    for name in ("inclusion.json", "consistency.json"):
        assert verify_proof((FOLDER / name).read_bytes(), [key])
