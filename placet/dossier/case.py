"""A case: a decision, and the leaves and attachments that it rested on, as far as they are to be found.

The same search finds what belongs into a proof file, and finds it again in one. So a file says of no leaf what it is
there for: what a leaf is good for follows from what the decision names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from placet.audit.record import (
    BREAK_GLASS,
    CONFIGURATION,
    DECISION,
    KEYRING,
    POLICY,
    REVOCATION,
    attachment_digests,
    find_attachments,
)
from placet.breakglass.state import USED
from placet.canonical import parse_json
from placet.dossier.leaves import Held, Leaves, read_attachment
from placet.errors import FormatError
from placet.kept import CONTENT, EXEMPTION, INPUT, SIGNED

ENVELOPE: Final = "envelope"
MAX_INPUT_BYTES: Final = 1024 * 1024
_TAKEN_BACK: Final = "revoked"
_MAX_REVOCATIONS: Final = 16


@dataclass(slots=True)
class Case:
    """What was found. A part that is None was not there, or the decision has no such part.

    Attributes:
        subject: the decision.
        input: what was judged, as canonical bytes.
        document: the same, read; empty where there is none or it can't be read.
        content: the governed fields.
        signed: envelopes of approvals and evidence.
        exemption: the envelope of the exemption.
        keyring: the leaf of the keyring in force.
        keyring_envelope: its signed envelope.
        policy: the leaf of the policies.
        bundle: their manifest, wasm and sources, by name.
        configuration: a leaf with the policy data in force.
        data: the policy data, canonical bytes.
        precedent: the decision that this one rests on.
        glass: the leaf of the use of a break-glass token.
        token: its envelope.
        revocations: leaves of revocations that the input speaks of, each with its envelope.
        missing: part -> a sentence: what the decision names, and is not there.
        used: index of each leaf that belongs to the case -> names of the attachments.
    """

    subject: Held
    input: bytes | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    signed: bytes | None = None
    exemption: bytes | None = None
    keyring: Held | None = None
    keyring_envelope: bytes | None = None
    policy: Held | None = None
    bundle: dict[str, bytes] = field(default_factory=dict)
    configuration: Held | None = None
    data: bytes | None = None
    precedent: Case | None = None
    glass: Held | None = None
    token: bytes | None = None
    revocations: list[tuple[Held, bytes | None]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    used: dict[int, set[str]] = field(default_factory=dict)

    @property
    def body(self) -> Mapping[str, Any]:
        """Body of the decision."""
        return self.subject.body


def open_case(leaves: Leaves, subject: Held, *, follow: bool = True) -> Case:
    """Look for everything that a decision rested on; of any other leaf, for its attachments.

    Args:
        leaves: where to look.
        subject: the leaf.
        follow: whether the decision that it rests on is looked for too.

    Raises:
        TamperError: an attachment is not what a leaf has the digest of, or a leaf not what was hashed.
    """
    case = Case(subject)
    case.used[subject.index] = set()
    finder = _Finder(leaves, case)
    if subject.type != DECISION:
        for name in sorted(attachment_digests(subject.body)):
            finder.take(subject, name, name)
        return case
    finder.find_own()
    finder.find_keyring()
    finder.find_policies()
    finder.find_glass()
    finder.find_revocations()
    if follow:
        finder.find_precedent()
    return case


class _Finder:
    def __init__(self, leaves: Leaves, case: Case) -> None:
        self._leaves = leaves
        self._case = case

    def take(self, held: Held, name: str, part: str) -> bytes | None:
        """An attachment of a leaf, with the leaf that has it; missing where the leaf has its digest alone."""
        place = find_attachments(held.body, held.index).get(name)
        if place is None:
            return None
        self._case.used.setdefault(held.index, set())
        if place[0] != held.index and self._leaves.at(place[0]) is None:
            self._case.missing[part] = f"leaf {place[0]}, which keeps the {part}, is not there"
            return None
        self._case.used.setdefault(place[0], set()).add(name)
        content = read_attachment(self._leaves, held, name)
        if content is None:
            self._case.missing[part] = f"attachment {name!r} of leaf {place[0]} was erased, or left out"
        return content

    def find_own(self) -> None:
        case, subject = self._case, self._case.subject
        case.input = self.take(subject, INPUT, "input")
        case.content = self.take(subject, CONTENT, "content")
        case.signed = self.take(subject, SIGNED, "signed")
        case.exemption = self.take(subject, EXEMPTION, "exemption")
        if case.input is not None:
            case.document = _read_object(case.input)
        body = case.body
        lists = bool(body.get("approvals")) or bool(body.get("evidence"))
        if lists and SIGNED not in find_attachments(body, subject.index):
            case.missing["signed"] = "the release that decided kept no envelopes of approvals and evidence"
        if body.get("exemption") and EXEMPTION not in find_attachments(body, subject.index):
            case.missing["exemption"] = "the release that decided did not keep the exemption"

    def find_keyring(self) -> None:
        case, body = self._case, self._case.body
        version, statement = body.get("keyring_version"), body.get("keyring")
        if not version:
            return
        known = [one for one in self._leaves.of_type(KEYRING) if one.body.get("cluster") == body.get("cluster")]
        if not isinstance(statement, str):  # of a release that named the version alone: the one of then is meant
            then = [one for one in known if one.index < case.subject.index and one.body.get("version") == version]
            statement = then[-1].body.get("statement") if then else None
        same = [one for one in known if one.body.get("statement") == statement and one.body.get("version") == version]
        case.keyring = self._best(same, [ENVELOPE])
        if case.keyring is None:
            case.missing["keyring"] = f"no leaf of keyring version {version} is there"
            return
        case.used.setdefault(case.keyring.index, set())
        case.keyring_envelope = self.take(case.keyring, ENVELOPE, "keyring")
        if case.keyring_envelope is None:
            case.missing.setdefault("keyring", "the release that took it up kept no envelope of the keyring")

    def find_policies(self) -> None:
        case, named = self._case, self._case.body.get("policy")
        if not isinstance(named, Mapping) or (INPUT not in find_attachments(case.body, 0) and not case.exemption):
            return
        revision, digest = named.get("revision"), named.get("data_digest")
        if case.input is not None or "input" in case.missing:
            same = [one for one in self._leaves.of_type(POLICY) if one.body.get("revision") == revision]
            if named.get("engine") == "embedded":
                same = [one for one in same if one.body.get("compiler") == named.get("engine_version")]
            names = ("manifest", "sources", "wasm")
            case.policy = self._best(same, names)
            if case.policy is None:
                case.missing["policies"] = f"no leaf of the policies {revision} is there"
            else:
                case.used.setdefault(case.policy.index, set())
                found = {name: self.take(case.policy, name, f"policies' {name}") for name in names}
                case.bundle = {name: content for name, content in found.items() if content is not None}
        same = [one for one in self._leaves.of_type(CONFIGURATION) if one.body.get("data_digest") == digest]
        case.configuration = self._best(same, ["data"])
        if case.configuration is None:
            case.missing["policy data"] = f"no leaf of the policy data {digest} is there"
            return
        case.used.setdefault(case.configuration.index, set())
        case.data = self.take(case.configuration, "data", "policy data")

    def find_glass(self) -> None:
        case, passage = self._case, self._case.body.get("break_glass")
        if not isinstance(passage, Mapping):
            return
        token, own = passage.get("token_id"), passage.get("by") == "token"
        uses = [
            one
            for one in self._leaves.of_type(BREAK_GLASS)
            if one.body.get("event") == USED
            and one.body.get("token_id") == token
            and one.index < case.subject.index
            and (not own or one.body.get("decision_id") == case.body.get("decision_id"))
        ]
        if not uses:
            case.missing["break-glass token"] = f"no leaf of the use of token {token} is there"
            return
        case.glass = uses[-1]
        case.used.setdefault(case.glass.index, set())
        case.token = self.take(case.glass, ENVELOPE, "break-glass token")

    def find_revocations(self) -> None:
        case = self._case
        wanted = set(find_taken_back(case.document))
        for one in self._leaves.of_type(REVOCATION) if wanted else ():
            key = (one.body.get("approval_id"), one.body.get("role"))
            if key in wanted and one.body.get("environment") == case.body.get("environment"):
                wanted.discard(key)
                case.used.setdefault(one.index, set())
                case.revocations.append((one, self.take(one, ENVELOPE, f"revocation at {one.index}")))
            if len(case.revocations) >= _MAX_REVOCATIONS:
                break

    def find_precedent(self) -> None:
        case, named = self._case, self._case.body.get("precedent")
        wanted = named.get("decision_id") if isinstance(named, Mapping) else None
        if not isinstance(wanted, str):
            return
        held = self._leaves.decision(wanted)
        if held is None or held.index >= case.subject.index:
            case.missing["precedent"] = f"decision {wanted}, which this one rests on, is not there"
            return
        case.precedent = open_case(self._leaves, held, follow=False)
        for index, names in case.precedent.used.items():
            case.used.setdefault(index, set()).update(names)

    def _best(self, candidates: Iterable[Held], names: Iterable[str]) -> Held | None:
        """The newest before the decision that has its attachments; else the first after it; else one without them."""
        here, wanted = self._case.subject.index, list(names)

        def rank(one: Held) -> tuple[bool, bool, int]:
            whole = all(self._has(one, name) for name in wanted)
            return not whole, one.index > here, abs(one.index - here)

        return min(candidates, key=rank, default=None)

    def _has(self, one: Held, name: str) -> bool:
        return name in attachment_digests(one.body) and self._leaves.attachment(one.index, name) is not None


def find_taken_back(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Approval id and role of each approval that an input says was taken back."""
    rejected = document.get("rejected")
    for one in rejected if isinstance(rejected, list) else ():
        if isinstance(one, Mapping) and one.get("code") == _TAKEN_BACK:
            approval_id, role = one.get("approval_id"), one.get("role")
            if isinstance(approval_id, str) and approval_id and isinstance(role, str):
                yield approval_id, role


def _read_object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = parse_json(raw, max_bytes=MAX_INPUT_BYTES)
    except FormatError:
        return {}
    return value if isinstance(value, dict) else {}
