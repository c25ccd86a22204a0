"""Sealing the names of persons in one record: the values that are names, and the names within sentences.

Sentences were made for people, with names in them; each name that they can have is looked for.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from placet.audit.person_keys import PersonKeys
from placet.audit.persons import NONCE, NONCE_BYTES, is_person, seal
from placet.audit.record import BREAK_GLASS, EXEMPTION, HOLD, PRUNE, REVOCATION, SEALED_EVENT_SCHEMA
from placet.text import clip_bytes, safe

MAX_TEXT_BYTES: Final = 6 * 1024
"""Of a sentence once it is sealed; a sealed name takes a hundred bytes, and a leaf holds 32 KiB."""
CUT: Final = "\u2026"
_SHORTEST_CUT: Final = 3  # characters of a name before a cut that are taken for it
_BY: Final = ("by",)
_SIGNERS: Final = ("signers", "person")
_NAMES: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    BREAK_GLASS: (_SIGNERS, ("user",), ("person",)),
    REVOCATION: (("person",),),
    EXEMPTION: (_SIGNERS,),
    HOLD: (_BY,),
    PRUNE: (_BY,),
}
_TEXTS: Final = ("reason", "ticket", "conclusion", "scope")


class Sealer:
    """What seals the names of one record. Made anew for each: its nonce is used once."""

    def __init__(self, keys: PersonKeys) -> None:
        self._keys = keys
        self.nonce = secrets.token_bytes(NONCE_BYTES)
        self._sealed: dict[str, str] = {}

    def name(self, name: str) -> str:
        """The sealed name; the cluster's own accounts stay as they are.

        Raises:
            AuditError: the person's key can't be had.
        """
        if not is_person(name):
            return name
        found = self._sealed.get(name)
        if found is None:
            found = self._sealed[name] = seal(self._keys.key_of(name), self.nonce, name)
        return found

    def texts(self, names: Iterable[str], whole: str) -> Callable[[str], str]:
        """What seals these names within the sentences of ``whole``. Only one that is found there gets a key."""
        cut, folded_whole = CUT in whole, whole.casefold()
        known = {
            spelled: name
            for name in names
            if is_person(name)
            for spelled in (name, safe(name))
            if cut or spelled.casefold() in folded_whole
        }
        # One pass, the longest first: nothing is looked for within a name that was sealed.
        pattern = re.compile(
            "|".join(_bounded(spelled) for spelled in sorted(known, key=len, reverse=True)) or r"(?!)", re.IGNORECASE
        )
        folded = {spelled.casefold(): name for spelled, name in known.items()}

        def change(text: str) -> str:
            for spelled in known:
                text = _without_cut_name(text, spelled)
            return pattern.sub(lambda found: self.name(_exactly(found[0], known, folded)), text)

        return change


def seal_event(body: Mapping[str, Any], keys: PersonKeys | None, named: Iterable[str] = ()) -> dict[str, Any]:
    """The body of a leaf that is no decision, with its names sealed; as it is where none are, or nothing names anybody.

    Args:
        body: of type ``break-glass``, ``revocation``, ``exemption``, ``hold`` or ``prune``.
        keys: of the persons; None to keep names as they are.
        named: besides those that the body has in their places, who may be named in its sentences.

    Raises:
        AuditError: a person's key can't be had.
    """
    sealed = dict(body)
    if keys is None:
        return sealed
    sealer = Sealer(keys)
    own: list[str] = []
    for place in _NAMES[body["type"]]:
        if place[0] in body:
            sealed[place[0]] = _sealed_at(body[place[0]], place[1:], sealer, own)
    texts = {name: text for name in _TEXTS if isinstance(text := body.get(name), str) and text}
    change = sealer.texts((*own, *named), "\n".join(texts.values()))
    sealed |= {name: clip_bytes(change(text), MAX_TEXT_BYTES) for name, text in texts.items()}
    if sealed == body:
        return sealed  # of the cluster's own accounts alone, or of nobody: it is what earlier releases wrote
    return sealed | {"schema": SEALED_EVENT_SCHEMA, NONCE: sealer.nonce.hex()}


def _sealed_at(value: Any, inner: tuple[str, ...], sealer: Sealer, own: list[str]) -> Any:
    if inner:
        return [{**one, inner[0]: _sealed_at(one[inner[0]], inner[1:], sealer, own)} for one in value]
    own.append(value)
    return sealer.name(value)


def _exactly(found: str, known: Mapping[str, str], folded: Mapping[str, str]) -> str:
    return known.get(found) or folded.get(found.casefold()) or found


def _bounded(name: str) -> str:
    """The name as a whole word: not the first or last letters of a longer one."""
    before = r"(?<!\w)" if re.match(r"\w", name[0]) else ""
    after = r"(?!\w)" if re.match(r"\w", name[-1]) else ""
    return f"{before}{re.escape(name)}{after}"


def _without_cut_name(text: str, name: str) -> str:
    """The text without the beginning of a name where it was cut: what is left of a name can't be sealed as one."""
    if CUT not in text:
        return text
    parts = text.split(CUT)
    for place, part in enumerate(parts[:-1]):
        for length in range(min(len(name), len(part)), _SHORTEST_CUT - 1, -1):
            start = len(part) - length
            if part.endswith(name[:length]) and (start == 0 or not part[start - 1].isalnum()):
                parts[place] = part[:start]
                break
    return CUT.join(parts)
