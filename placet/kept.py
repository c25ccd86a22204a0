"""What is kept beside a decision, so that it can be looked into again from the log alone; and what is not kept twice.

Attachments can be erased, and their digests stand in the leaf. What the approvals of a workload say stays the same from
one update to the next: equal contents are kept once, and later leaves say beside which one they are.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from placet.approvals.closed import ClosedObject
from placet.approvals.envelope import parse_annotation, parse_envelope, render_annotation, render_envelope
from placet.approvals.remembered import MAX_READ_BYTES, Remembered
from placet.audit.record import KEPT_BEFORE, attachment_digests, find_attachments
from placet.audit.stored import MAX_ADMITTED, read_stored
from placet.audit.stores import Reader
from placet.canonical import Digest, parse_json, render_canonical
from placet.decision import Decision
from placet.errors import AuditError, FormatError
from placet.judge import Findings
from placet.projection import redact

SIGNED_SCHEMA: Final = "placet.dev/signed/v1"
INPUT: Final = "input"
CONTENT: Final = "content"
SIGNED: Final = "signed"
EXEMPTION: Final = "exemption"
SHARED: Final = (CONTENT, SIGNED, EXEMPTION)
"""Attachments that are the same for many decisions; an input never is."""
_MAX_KNOWN: Final = 10_000
_MAX_SIGNED_BYTES: Final = 1024 * 1024

# Text of an annotation -> digest of its statement, and its envelope.
_READ: Final[Remembered[tuple[str, Any]]] = Remembered()

Ask = Callable[[], Mapping[str, int]]


def collect_attachments(decision: Decision) -> dict[str, bytes]:
    """What is kept beside the record, erasable: what was judged, the content without env values, what was signed."""
    if decision.exemption is not None and decision.exemption.envelope:
        return {EXEMPTION: decision.exemption.envelope}
    findings = decision.findings
    if findings is None:
        return {}
    judged = {INPUT: render_canonical(findings.document)}
    if decision.lineage is not None:  # its content is that of its parent, and so are its approvals: both are kept once
        return judged
    signed = render_signed(findings)
    return {
        **judged,
        CONTENT: render_canonical(redact(findings.workload.projection.canonical)),
        **({SIGNED: signed} if signed else {}),
    }


def render_signed(findings: Findings) -> bytes:
    """The envelopes that counted, of approvals by role and of evidence by name; empty for none.

    What was rejected is not kept: nothing was let in by it, and anybody can put any bytes there. An envelope is kept as
    the JSON that other tools read, a quarter smaller than the annotation that it stood in.
    """
    counted = {str(one.statement) for one in findings.approvals.verified}
    sources = {str(statement) for statement in findings.evidence.counted}
    approvals = _signed_in(findings.workload.approvals, counted)
    evidence = _signed_in(findings.workload.evidence, sources)
    if not approvals and not evidence:
        return b""
    return render_canonical({"schema": SIGNED_SCHEMA, "approvals": approvals, "evidence": evidence})


def parse_signed(raw: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """What ``render_signed`` kept, as annotations: approvals by role, evidence by name.

    Raises:
        FormatError: it is not of that form.
    """
    members = ClosedObject(parse_json(raw, max_bytes=_MAX_SIGNED_BYTES), "signed")
    members.choice("schema", (SIGNED_SCHEMA,))
    found = []
    for name in ("approvals", "evidence"):
        held = members.take(name)
        if not isinstance(held, dict):
            raise FormatError(f"signed.{name} is not an object")
        found.append({key: render_annotation(parse_envelope(render_canonical(held[key]))) for key in held})
    members.close()
    return found[0], found[1]


def _signed_in(annotations: Mapping[str, str], statements: set[str]) -> dict[str, Any]:
    found = {}
    for name, text in annotations.items() if statements else ():
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        read = _READ.find(key) or _read(text)
        if read is not None and read[0] in statements:
            found[name] = read[1]
            if len(text) <= MAX_READ_BYTES:  # of those that counted alone: others are anybody's to make
                _READ.keep(key, read)
    return found


def _read(text: str) -> tuple[str, Any] | None:
    """Digest of the statement in an annotation, and its envelope as JSON; None where it is none."""
    try:
        envelope = parse_annotation(text)
    except FormatError:
        return None
    return str(Digest.of(envelope.payload)), json.loads(render_envelope(envelope))


class KeptContents:
    """Where contents are kept that this process has seen kept, by their digest. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}

    def part(self, attachments: Mapping[str, bytes], ask: Ask) -> tuple[dict[str, bytes], dict[str, Any]]:
        """What has to be kept with a decision, and what is kept before it.

        Args:
            attachments: name -> bytes.
            ask: what the record knows, digest -> index; asked only for what was not met here before.

        Returns:
            the attachments that are left, and the member of the leaf that says where the others are; empty for none.
        """
        digests = {name: str(Digest.of(attachments[name])) for name in SHARED if name in attachments}
        with self._lock:
            places = {digest: self._places[digest] for digest in digests.values() if digest in self._places}
        if len(places) < len(digests):
            try:
                places = {**ask(), **places}
            except AuditError:
                places = dict(places)  # to keep it again is never wrong, and the append finds out what is the matter
        before = {
            name: {"digest": digest, "index": places[digest]} for name, digest in digests.items() if digest in places
        }
        left = {name: content for name, content in attachments.items() if name not in before}
        return left, {KEPT_BEFORE: before} if before else {}

    def learn(self, index: int, leaf: Mapping[str, Any]) -> None:
        """A decision is in the record, with what is kept beside it."""
        found = {digest: index for name, digest in attachment_digests(leaf).items() if name in SHARED}
        with self._lock:
            if len(self._places) >= _MAX_KNOWN:
                self._places.clear()
            self._places.update(found)


def find_kept(
    reader: Reader, *, cluster: str, environment: str, namespace: str, kind: str, name: str, projection: Digest
) -> dict[str, int]:
    """What is kept beside the newest decisions that admitted this content of an object: digest -> index.

    Only what is there still, and is what the leaf says.

    Raises:
        StoreUnavailable: the store can't be read.
        TamperError: what is stored is not what was hashed.
    """
    found = reader.approvals_of(
        cluster=cluster,
        environment=environment,
        namespace=namespace,
        kind=kind,
        name=name,
        projection=str(projection),
        limit=MAX_ADMITTED,
    )
    places = {
        (digest, index, part)
        for stored in found
        for part, (index, digest) in find_attachments(read_stored(stored).body, stored.index).items()
        if part in SHARED
    }
    return {
        digest: index
        for digest, index, part in sorted(places)
        if (content := reader.attachment(index, part)) is not None and digest == str(Digest.of(content))
    }
