"""Names of persons in a case: sealed in the record, opened by salts that a proof file may have with it.

A salt opens one name in one record, and no other record: a file that shows it gives nobody a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from placet.audit.person_keys import Opener
from placet.audit.persons import SALT_BYTES, SEALED, find_nonce, find_sealed, open_with, render_sealed
from placet.dossier.case import Case
from placet.dossier.leaves import Held
from placet.errors import FormatError, TamperError

MAX_OPENINGS: Final = 4096


def render_openings(case: Case, opener: Opener) -> dict[str, dict[str, str]]:
    """What opens the names of a case and of its precedent, as the file has it: sealed -> name and salt."""
    found = {sealed: opener.salt(sealed, nonce) for sealed, nonce in sorted(set(_sealed_in(case)))}
    return {
        sealed: {"name": opening[1], "salt": opening[0].hex()}
        for sealed, opening in found.items()
        if opening is not None
    }


def read_openings(value: object) -> dict[str, str]:
    """Sealed name -> name, each held against its commitment.

    Args:
        value: the member ``persons`` of a proof file, unverified.

    Raises:
        FormatError: ``proof_malformed``: not of that form.
        TamperError: ``opening_invalid``: a name is not the one that was sealed.
    """
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_OPENINGS:
        raise FormatError("the proof file has no object of persons", code="proof_malformed")
    return {sealed: _read_opening(sealed, opening) for sealed, opening in value.items()}


def _read_opening(sealed: str, opening: object) -> str:
    form, name, salt = SEALED.fullmatch(sealed), None, None
    if isinstance(opening, dict) and opening.keys() == {"name", "salt"}:
        name, salt = opening["name"], opening["salt"]
    if form is None or not isinstance(name, str) or not isinstance(salt, str):
        raise FormatError("a person of the proof file is not of its form", code="proof_malformed")
    try:
        raw = bytes.fromhex(salt)
    except ValueError as exc:
        raise FormatError("a salt of the proof file is not hexadecimal", code="proof_malformed") from exc
    if len(raw) != SALT_BYTES or raw.hex() != salt:
        raise FormatError(f"a salt of the proof file is not {SALT_BYTES} bytes", code="proof_malformed")
    if render_sealed(raw, bytes.fromhex(form[1]), name) != sealed:
        raise TamperError("a name in the proof file is not the one that the record has sealed", code="opening_invalid")
    return name


def open_names(case: Case, names: Mapping[str, str]) -> None:
    """Put the names into a case and its precedent. The bytes that are hashed and replayed stay sealed.

    Raises:
        TamperError: ``proof_unrelated``: one of them stands nowhere in the case.
    """
    if not names.keys() <= {sealed for sealed, _ in _sealed_in(case)}:
        raise TamperError("a name in the proof file is of no record in it", code="proof_unrelated")
    for one in _cases(case):
        one.subject = _opened(one.subject, names)
        one.document = open_with(one.document, names)
        one.glass = None if one.glass is None else _opened(one.glass, names)
        one.revocations = [(_opened(held, names), envelope) for held, envelope in one.revocations]


def _opened(held: Held, names: Mapping[str, str]) -> Held:
    return Held(held.index, open_with(held.body, names))


def find_unopened(case: Case) -> int:
    """How many persons of a decision are sealed still, where it matters who they are."""
    body, document, nonce = case.body, case.document, find_nonce(case.body)
    parts = [body.get("user"), body.get("approvals"), body.get("exemption")]
    parts += [document.get("requester"), document.get("approvals")]
    return 0 if nonce is None else len(set(find_sealed(parts, nonce)))


def _sealed_in(case: Case) -> Iterator[tuple[str, bytes]]:
    for one in _cases(case):
        held = (one.glass, *(found for found, _ in one.revocations))
        for value in ([one.body, one.document], *([found.body] for found in held if found is not None)):
            nonce = find_nonce(value[0])
            if nonce is not None:
                yield from ((sealed, nonce) for sealed in find_sealed(value, nonce))


def _cases(case: Case) -> Iterator[Case]:
    yield case
    if case.precedent is not None:
        yield case.precedent
