"""The bytes of the record's formats don't change by accident."""

from __future__ import annotations

import pytest

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.cosignature import parse_witness_vkey, require_witnesses
from placet.audit.note import parse_vkey
from placet.audit.proof import verify_proof
from placet.audit.record import parse_leaf
from placet.audit.tiles_verify import verify_tiles
from placet.revoked import parse_revocation
from tests.golden.audit.build import FOLDER, files
from tests.simulators.tampering import OTHER_KEY, START

FILES = files()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_golden_file_is_made_again_byte_for_byte(name: str) -> None:
    assert (FOLDER / name).read_bytes() == FILES[name], "if this is meant, run python -m tests.golden.audit.build"


def test_every_golden_file_has_a_maker() -> None:
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    stores = {name for name in found if name.startswith("stores/")}  # made by the placet of then
    assert {name for name in found - stores if not name.endswith((".py", ".pyc"))} == set(FILES)


def test_the_golden_files_of_old_still_verify() -> None:
    key = parse_vkey((FOLDER / "log.vkey").read_text())
    assert parse_leaf((FOLDER / "leaf").read_bytes()).hash.hex() == (FOLDER / "leaf.hash").read_text().strip()
    revocation = parse_revocation(parse_leaf((FOLDER / "revocation.leaf").read_bytes()).body)
    assert (revocation.role, revocation.person) == ("security", "bob")
    assert verify_checkpoint((FOLDER / "checkpoint.note").read_bytes(), [key]).size == 18
    for name in ("inclusion.json", "consistency.json"):
        assert verify_proof((FOLDER / name).read_bytes(), [key])
    witness = parse_witness_vkey((FOLDER / "witness.vkey").read_text())
    assert require_witnesses((FOLDER / "cosigned.note").read_bytes(), [witness], 1)[0].moment == START
    assert verify_checkpoint((FOLDER / "two-keys.note").read_bytes(), [OTHER_KEY.verifier]).size == 0
    result = verify_tiles(FOLDER / "tiles", [key], saved=[("cosigned", (FOLDER / "cosigned.note").read_bytes())])
    assert (result.verified, result.size) == (True, 18)
