"""The bytes of break-glass don't change by accident."""

from __future__ import annotations

import pytest

from placet.approvals.revocations import Revocations
from placet.audit.record import parse_leaf
from placet.breakglass.state import GlassState, Reviewed, Use, parse_event
from placet.breakglass.verify import VerifiedToken, check_token
from tests.golden.breakglass.build import FOLDER, context_of, files, glass_desk

FILES = files()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_golden_file_is_made_again_byte_for_byte(name: str) -> None:
    assert (FOLDER / name).read_bytes() == FILES[name], "if this is meant, run python -m tests.golden.breakglass.build"


def test_every_golden_file_has_a_maker() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py"} == set(FILES)


def test_the_golden_token_still_counts_and_its_leaves_say_what_it_did() -> None:
    desk = glass_desk()
    text = (FOLDER / "token.annotation").read_text(encoding="ascii")
    token = check_token(text, keyring=desk.keyring, revocations=Revocations.none(), context=context_of(desk))
    assert isinstance(token, VerifiedToken)
    assert [one.person for one in token.signers] == ["p-gina", "p-hugo"]
    used = parse_event(parse_leaf((FOLDER / "used.leaf").read_bytes()).body)
    reviewed = parse_event(parse_leaf((FOLDER / "reviewed.leaf").read_bytes()).body)
    assert isinstance(used, Use)
    assert isinstance(reviewed, Reviewed)
    assert GlassState((used,)).open_uses() == (used,)
    assert GlassState((used,), (reviewed,)).open_uses() == ()
