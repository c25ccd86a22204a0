"""Names of persons in what is kept of a decision, sealed before it is kept: in the leaf, its texts, and the input.

What a name says is of no matter to anything that reads a record later: policies and precedents compare names within a
decision at most, and a sealed name is one text there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from placet.audit.person_keys import PersonKeys
from placet.audit.persons import NONCE
from placet.audit.record import SEALED_SCHEMA
from placet.audit.sealer import Sealer
from placet.canonical import render_canonical
from placet.decision import Decision
from placet.kept import INPUT
from placet.text import clip_bytes

MAX_MESSAGE_BYTES: Final = 6 * 1024  # as much as of a message that is not sealed
MAX_ADVICE_BYTES: Final = 1024


class Sealing:
    """What seals the names of one decision. Made anew for each: its nonce is used once."""

    def __init__(self, keys: PersonKeys, decision: Decision) -> None:
        self._sealer = Sealer(keys)
        self._decision = decision

    def name(self, name: str) -> str:
        """See :class:`Sealer`."""
        return self._sealer.name(name)

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
            "evidence": [{**one, "attester": self.name(one["attester"])} for one in document["evidence"]],
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
            NONCE: self._sealer.nonce.hex(),
            "user": self.name(body["user"]),
            "approvals": [{**one, "person": self.name(one["person"])} for one in body["approvals"]],
        }
        if "exemption" in body:
            exemption = body["exemption"]
            sealed["exemption"] = {**exemption, "persons": [self.name(one) for one in exemption["persons"]]}
        if body["message"] or body["advice"]:
            whole = "\n".join([body["message"], *body["advice"]])
            change = self._sealer.texts(_named_in(self._decision, body), whole)
            sealed["message"] = clip_bytes(change(body["message"]), MAX_MESSAGE_BYTES)
            sealed["advice"] = [clip_bytes(change(text), MAX_ADVICE_BYTES) for text in body["advice"]]
        return sealed


def _named_in(decision: Decision, body: Mapping[str, Any]) -> Iterator[str]:
    """Every name that a sentence about the decision may have in it."""
    yield body["user"]
    yield from (one["person"] for one in body["approvals"])
    if "exemption" in body:
        yield from body["exemption"]["persons"]
    situation = decision.situation
    if situation is not None:
        yield from situation.keyring.names
        yield from (one.person for one in situation.revocations)
