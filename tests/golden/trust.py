"""Golden files of approvals, evidence and keyrings: fixed keys, fixed time, the same bytes in every run.

    python -m tests.golden.trust

writes them again; a test holds that nothing changes. Each case is a folder named for what it shows: the annotation or
file as it would be found, and ``expected.json`` with what the verifier makes of it. ECDSA and RSA signatures differ
each time they are made: those two cases are written once and then read for ever.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from placet.approvals.envelope import Signature, parse_annotation, render_envelope
from placet.approvals.keyring import verify_keyring
from placet.approvals.revocations import Revocations
from placet.approvals.verify import check_approvals
from placet.errors import KeyringError
from placet.evidence.claims import render_times
from placet.evidence.verify import check_evidence
from placet.judge import render_statement
from scorer import Coverage, Rollback
from tests.placet.evidence.samples import REFERENCES, SAMPLES, SCAN
from tests.simulators.desk import NOON, SHIPPED_KINDS, ApprovalDesk, sample_workload, signer_of, stored_signer

FOLDER: Final = Path(__file__).parent
WORKLOAD: Final = sample_workload()
RANDOM: Final = ("ecdsa-p256", "rsa-pss")
Files = Mapping[str, bytes]


def render(value: Any) -> bytes:
    """JSON for people."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def standard_desk() -> ApprovalDesk:
    """The desk whose keyring all cases but those of keyrings are read with."""
    desk = ApprovalDesk.standard()
    for scheme in RANDOM:
        desk.add(scheme, roles=["security"], signer=stored_signer(scheme))
    desk.add("auditor", facts=sorted(SHIPPED_KINDS.by_name))
    return desk


def _approval(change: Callable[[ApprovalDesk], str]) -> Files:
    annotation = change(standard_desk())
    return {
        "annotation.txt": annotation.encode(),
        "statement.json": _payload(annotation),
        "expected.json": render(judge_approval(annotation)),
    }


def _payload(annotation: str) -> bytes:
    return parse_annotation(annotation).payload


def judge_approval(annotation: str) -> dict[str, Any]:
    """What the verifier makes of an annotation of the role security."""
    desk = standard_desk()
    findings = check_approvals(
        {"security": annotation},
        keyring=desk.keyring,
        revocations=Revocations.none(),
        context=desk.context(WORKLOAD),
    )
    return {
        "verified": [
            {
                "approval_id": one.approval_id,
                "bindings": sorted(one.bindings),
                "key": one.key,
                "person": one.person,
                "role": one.role,
                "statement": str(one.statement),
            }
            for one in findings.verified
        ],
        "rejected": [{"code": one.code, "sentence": one.sentence} for one in findings.rejected],
    }


def approval_cases() -> Iterator[tuple[str, Files]]:
    """Folder name -> its files."""

    def sign(desk: ApprovalDesk, by: Any = "bob", **changes: Any) -> str:
        return desk.sign(replace(desk.statement(WORKLOAD, role="security"), **changes), by=by)

    def unknown_keyid(desk: ApprovalDesk) -> str:
        envelope = desk.envelope(desk.statement(WORKLOAD, role="security"), by="bob")
        nameless = replace(envelope, signatures=(Signature("", envelope.signatures[0].sig),))
        return base64.b64encode(render_envelope(nameless)).decode()

    def stranger(desk: ApprovalDesk) -> str:
        desk.signers["mallory"] = signer_of("mallory")
        return sign(desk, by="mallory")

    cases: dict[str, Callable[[ApprovalDesk], str]] = {
        "good": sign,
        "good-two-signers": lambda desk: sign(desk, by=["bob", "erin"]),
        "good-without-keyid": unknown_keyid,
        "expired": lambda desk: sign(
            desk,
            issued_at=NOON - timedelta(days=2),
            not_before=NOON - timedelta(days=2),
            expires=NOON - timedelta(hours=2),
        ),
        "for-staging": lambda desk: sign(desk, environment="staging"),
        "for-low-risk": lambda desk: sign(desk, max_risk="low"),
        "by-a-stranger": stranger,
        "by-another-role": lambda desk: sign(desk, by="alice"),
        "without-projection": lambda desk: sign(desk, subjects=desk.statement(WORKLOAD, role="security").subjects[1:]),
    }
    for name, change in cases.items():
        yield f"approvals/{name}", _approval(change)
    for scheme in RANDOM:
        yield f"approvals/good-{scheme}", _kept(f"approvals/good-{scheme}", scheme)


def _kept(name: str, scheme: str) -> Files:
    kept = FOLDER / name / "annotation.txt"
    if not kept.exists():
        return _approval(lambda desk: desk.approve(WORKLOAD, role="security", by=scheme))
    return _approval(lambda _: kept.read_text())


def judge_evidence(annotation: str) -> dict[str, Any]:
    """What the verifier makes of a piece of evidence."""
    desk = standard_desk()
    findings = check_evidence({"x": annotation}, keyring=desk.keyring, context=desk.evidence_context(WORKLOAD))
    values = {fact: getattr(findings.facts, fact) for fact in findings.facts.sources}
    return {
        "facts": {fact: _plain(value) for fact, value in values.items()},
        "statements": [render_statement(one) for one in findings.statements],
        "rejected": [{"code": one.code, "sentence": one.sentence} for one in findings.rejected],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Coverage):
        return {"covered": value.covered, "total": value.total}
    return {"minutes": value.minutes} if isinstance(value, Rollback) else value


def evidence_cases() -> Iterator[tuple[str, Files]]:
    """Folder name -> its files."""
    good = standard_desk().evidence(WORKLOAD)
    by_an_approver = standard_desk().evidence(WORKLOAD, by="bob")
    made = {name.replace("_", "-"): _made(name) for name in (*SAMPLES, "vulnerability_scan", "documentation")}
    for name, annotation in {**good, **made, "by-an-approver": by_an_approver["coverage"]}.items():
        yield (
            f"evidence/{name}",
            {
                "annotation.txt": annotation.encode(),
                "statement.json": _payload(annotation),
                "expected.json": render(judge_evidence(annotation)),
            },
        )


def _made(name: str) -> str:
    kind = SHIPPED_KINDS.by_name[name]
    predicate = {"vulnerability_scan": SCAN, "documentation": REFERENCES}.get(name)
    if predicate is None:
        predicate = SAMPLES[name] | render_times(NOON, timedelta(days=30))
    return standard_desk().attest(WORKLOAD, kind.predicate_type, predicate, about=kind.about, by="auditor")


def judge_keyring(raw: bytes) -> dict[str, Any]:
    """What the verifier makes of a keyring, with two of the desk's three roots."""
    try:
        keyring = verify_keyring(raw, roots=ApprovalDesk.standard().root_keys, threshold=2, now=NOON)
    except KeyringError as exc:
        return {"code": exc.code}
    return {"version": keyring.version, "identities": sorted(keyring.identities), "digest": str(keyring.digest)}


def keyring_cases() -> Iterator[tuple[str, Files]]:
    """Folder name -> its files."""
    good, one_root, expired, shared = (ApprovalDesk.standard() for _ in range(4))
    one_root.root_threshold = 1
    expired.document["expires"] = "2026-11-22T12:00:00Z"
    shared.add("robert", roles=["technical"], signer=signer_of("bob"))
    for name, desk in {"good": good, "one-root": one_root, "expired": expired, "shared-key": shared}.items():
        raw = desk.keyring_bytes
        yield f"keyring/{name}", {"keyring.dsse.json": raw, "expected.json": render(judge_keyring(raw))}


def all_cases() -> dict[str, Files]:
    """Folder name -> its files, of all three areas."""
    return {**dict(approval_cases()), **dict(evidence_cases()), **dict(keyring_cases())}


def main() -> None:
    """Write every case."""
    for name, files in all_cases().items():
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)


if __name__ == "__main__":
    main()
