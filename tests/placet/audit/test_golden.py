"""The bytes of the record's formats don't change by accident."""

from __future__ import annotations

import pytest

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.cosignature import parse_witness_vkey, require_witnesses
from placet.audit.holds import read_holds
from placet.audit.note import parse_vkey
from placet.audit.person_keys import PersonKeys
from placet.audit.proof import verify_proof
from placet.audit.pruning import parse_prune
from placet.audit.record import parse_leaf
from placet.audit.tiles_verify import verify_tiles
from placet.breakglass.state import Reviewed, Use, parse_event
from placet.revoked import SOMEBODY, parse_revocation
from tests.golden.audit.build import FOLDER, PERSON_KEY, files
from tests.simulators.tampering import OTHER_KEY, START

FILES = files()
SEALED = ("used", "reviewed", "exemption", "revocation", "hold", "prune")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_golden_file_is_made_again_byte_for_byte(name: str) -> None:
    assert (FOLDER / name).read_bytes() == FILES[name], "if this is meant, run python -m tests.golden.audit.build"


def test_every_golden_file_has_a_maker() -> None:
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    stores = {name for name in found if name.startswith("stores/")}  # made by the placet of then
    assert {name for name in found - stores if not name.endswith((".py", ".pyc"))} == set(FILES)


def test_sealed_names_of_old_still_open() -> None:
    keys = PersonKeys.open(FOLDER / "persons", FOLDER / "persons.key")
    opener = keys.opener()
    body = opener.open(parse_leaf((FOLDER / "sealed.leaf").read_bytes()).body)
    assert (body["user"], body["message"]) == ("alice@example.org", "asked by alice@example.org")
    assert keys.key_of("alice@example.org") == PERSON_KEY
    assert opener.open(parse_leaf((FOLDER / "erasure.leaf").read_bytes()).body)["by"] == "alice@example.org"


def test_sealed_leaves_of_every_type_still_open_and_are_still_read() -> None:
    opener = PersonKeys.open(FOLDER / "persons", FOLDER / "persons.key").opener()
    raw = {name: (FOLDER / f"sealed-{name}.leaf").read_bytes() for name in SEALED}
    assert all(b"alice" not in leaf for leaf in raw.values())
    sealed = {name: parse_leaf(leaf).body for name, leaf in raw.items()}
    opened = {name: opener.open(body) for name, body in sealed.items()}
    assert all("sealed:" not in repr(body) for body in opened.values())
    assert (parse_revocation(sealed["revocation"]).person, parse_revocation(opened["revocation"]).person) == (
        SOMEBODY,
        "alice@example.org",
    )
    use = parse_event(sealed["used"])
    assert isinstance(use, Use)
    assert not use.is_told(use.requester)
    assert [one.person for one in use.opened(opener).signers] == ["alice@example.org", "system:robot"]
    assert use.opened(opener).reason == "alice@example.org said so"
    assert isinstance(parse_event(sealed["reviewed"]), Reviewed)
    assert [one.by for one in read_holds([(7, sealed["hold"])])] == ["(sealed)"]
    assert [one.by for one in read_holds([(7, sealed["hold"])], opener)] == ["alice@example.org"]
    assert parse_prune(20, sealed["prune"]).by == "(sealed)"


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
