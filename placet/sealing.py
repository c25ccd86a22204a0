"""Names of persons in what is kept of a decision, sealed before it is kept: in the leaf, its texts, and the input.

What a name says is of no matter to anything that reads a record later: policies and precedents compare names within a
decision at most, and a sealed name is one text there. Sentences were made for whoever was refused, with names in them;
each name that they can have is looked for.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from placet.audit.person_keys import PersonKeys
from placet.audit.persons import NONCE, NONCE_BYTES, is_person, seal
from placet.audit.record import SEALED_SCHEMA
from placet.canonical import render_canonical
from placet.decision import Decision
from placet.kept import INPUT
from placet.text import clip_bytes, safe

MAX_MESSAGE_BYTES: Final = 6 * 1024  # as much as of a message that is not sealed
MAX_ADVICE_BYTES: Final = 1024
_CUT: Final = "\u2026"
_SHORTEST_CUT: Final = 3  # characters of a name before a cut that are taken for it


class Sealing:
    """What seals the names of one decision. Made anew for each: its nonce is used once."""

    def __init__(self, keys: PersonKeys, decision: Decision) -> None:
        self._keys = keys
        self._decision = decision
        self._nonce = secrets.token_bytes(NONCE_BYTES)
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
            found = self._sealed[name] = seal(self._keys.key_of(name), self._nonce, name)
        return found

    def attachments(self, attachments: Mapping[str, bytes]) -> dict[str, bytes]:
        """What is kept beside the leaf, with the input's names sealed.

        Raises:
            AuditError: a person's key can't be had.
        """
        findings = self._decision.findings
        if findings is None or INPUT not in attachments:
            return dict(attachments)
        document = findings.document
        sealed = {
            **document,
            "requester": self.name(document["requester"]),
            "approvals": [{**one, "person": self.name(one["person"])} for one in document["approvals"]],
        }
        return {**attachments, INPUT: render_canonical(sealed)}

    def body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of the leaf with its names sealed.

        Raises:
            AuditError: a person's key can't be had.
        """
        sealed = {
            **body,
            "schema": SEALED_SCHEMA,
            NONCE: self._nonce.hex(),
            "user": self.name(body["user"]),
            "approvals": [{**one, "person": self.name(one["person"])} for one in body["approvals"]],
        }
        if "exemption" in body:
            exemption = body["exemption"]
            sealed["exemption"] = {**exemption, "persons": [self.name(one) for one in exemption["persons"]]}
        if body["message"] or body["advice"]:
            whole = "\n".join([body["message"], *body["advice"]])
            change = self._sealed_texts(_named_in(self._decision, body), whole)
            sealed["message"] = clip_bytes(change(body["message"]), MAX_MESSAGE_BYTES)
            sealed["advice"] = [clip_bytes(change(text), MAX_ADVICE_BYTES) for text in body["advice"]]
        return sealed

    def _sealed_texts(self, names: Iterable[str], whole: str) -> Callable[[str], str]:
        """What seals these names within the sentences of ``whole``. Only one that is found there gets a key."""
        cut, folded_whole = _CUT in whole, whole.casefold()
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


def _exactly(found: str, known: Mapping[str, str], folded: Mapping[str, str]) -> str:
    return known.get(found) or folded.get(found.casefold()) or found


def _bounded(name: str) -> str:
    """The name as a whole word: not the first or last letters of a longer one."""
    before = r"(?<!\w)" if re.match(r"\w", name[0]) else ""
    after = r"(?!\w)" if re.match(r"\w", name[-1]) else ""
    return f"{before}{re.escape(name)}{after}"


def _without_cut_name(text: str, name: str) -> str:
    """The text without the beginning of a name where it was cut: what is left of a name can't be sealed as one."""
    if _CUT not in text:
        return text
    parts = text.split(_CUT)
    for place, part in enumerate(parts[:-1]):
        for length in range(min(len(name), len(part)), _SHORTEST_CUT - 1, -1):
            start = len(part) - length
            if part.endswith(name[:length]) and (start == 0 or not part[start - 1].isalnum()):
                parts[place] = part[:start]
                break
    return _CUT.join(parts)


def _named_in(decision: Decision, body: Mapping[str, Any]) -> Iterator[str]:
    """Every name that a sentence about the decision may have in it."""
    yield body["user"]
    yield from (one["person"] for one in body["approvals"])
    if "exemption" in body:
        yield from body["exemption"]["persons"]
    situation = decision.situation
    if situation is not None:
        for identity in situation.keyring.identities.values():
            yield from (identity.id, identity.person, *identity.usernames)
        yield from (one.person for one in situation.revocations)
