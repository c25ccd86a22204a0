"""Evidence of a case, verified again as the gate did: every fact of the record, and every statement of the input.

By the kinds of evidence that the policy data of then has; what was judged before there was such a table has the four
kinds of that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring
from placet.audit.persons import SEALED
from placet.canonical import Digest, parse_json
from placet.dossier.case import Case
from placet.dossier.signed import images_of, model_of
from placet.dossier.verdict import Verdict
from placet.errors import FormatError
from placet.evidence.kinds import EARLIER_KINDS, EvidenceKinds, parse_evidence_kinds
from placet.evidence.verify import EvidenceContext, EvidenceFindings, check_evidence
from placet.judge import render_statement
from placet.kept import parse_signed

_MAX_BYTES: Final = 1024 * 1024
_WITHOUT_STATEMENTS: Final = "placet.dev/policy-input/v1"


def check_evidence_again(case: Case, keyring: VerifiedKeyring, moment: datetime, verdict: Verdict) -> None:
    """Every fact that the record says is attested, and every statement that the input counts, from its envelope.

    Args:
        case: of a decision.
        keyring: of then.
        moment: of the decision; aware UTC.
        verdict: to add to.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, FormatError: the record is not of its form.
    """
    listed = {one["fact"]: one["statement"] for one in case.body.get("evidence") or ()}
    document = case.document
    earlier = document.get("schema") == _WITHOUT_STATEMENTS
    said = {} if earlier or not document else {one["statement"]: one for one in document["evidence"]}
    if not listed and not said:
        return
    if case.signed is None or not document:
        names = ", ".join(sorted(listed.keys() | {one["kind"] for one in said.values()}))
        verdict.leave_open("evidence", "missing", f"the envelopes that attest {names} are not there")
        return
    if case.data is None and not earlier:
        verdict.leave_open("evidence", "missing", "no evidence can be read without the policy data of then")
        return
    context = EvidenceContext(
        environment=document["environment"],
        cluster=document["cluster"],
        namespace=document["workload"]["namespace"],
        projection=Digest.parse(document["projection"]),
        images=images_of(document),
        model=model_of(document),
        now=moment,
        kinds=EARLIER_KINDS if earlier or case.data is None else _kinds_of(case.data),
    )
    found = check_evidence(parse_signed(case.signed)[1], keyring=keyring, context=context)
    _compare_facts(listed, found, verdict)
    if not earlier:
        _compare_statements(said, found, verdict)


def _kinds_of(data: bytes) -> EvidenceKinds:
    try:
        return parse_evidence_kinds(parse_json(data, max_bytes=_MAX_BYTES)["evidence"])
    except ArithmeticError as exc:
        raise FormatError("the kinds of evidence in the policy data can't be read") from exc


def _compare_facts(listed: Mapping[str, Any], found: EvidenceFindings, verdict: Verdict) -> None:
    again = {fact: str(statement) for fact, statement in found.facts.sources.items()}
    for fact in sorted(listed.keys() | again.keys()):
        part = f"evidence {fact}"
        if listed.get(fact) != again.get(fact):
            verdict.refute(part, "evidence_invalid", f"{fact} is not attested as the record says{_why(found)}")
        else:
            verdict.prove(part, f"attested by statement {again[fact][:19]}, by a key that could attest it then")


def _compare_statements(said: Mapping[str, Any], found: EvidenceFindings, verdict: Verdict) -> None:
    again = {str(one.statement): render_statement(one) for one in found.statements}
    for statement in sorted(said.keys() | again.keys()):
        one, held = said.get(statement), again.get(statement)
        part = f"statement {(one or held or {}).get('kind')}"
        if one is None or held is None:
            sentence = "held then, and the input does not count it" if one is None else f"does not hold{_why(found)}"
            verdict.refute(part, "evidence_invalid", f"statement {statement[:19]} {sentence}")
            continue
        sealed = SEALED.fullmatch(one["attester"]) is not None
        if sealed:
            verdict.limit("Who signed evidence whose signer is sealed, or erased: that the keyring let them is shown.")
            held = {**held, "attester": one["attester"]}
        if one != held:
            different = sorted(name for name in one.keys() | held.keys() if one.get(name) != held.get(name))
            sentence = f"statement {statement[:19]} is not what the input says of it: {', '.join(different)}"
            verdict.refute(part, "evidence_differs", sentence)
        else:
            who = "somebody" if sealed else one["attester"]
            verdict.prove(part, f"{who} attested it of this {one['about']}, and could then ({statement[:19]})")


def _why(found: EvidenceFindings) -> str:
    return next((f": {one.sentence}" for one in found.rejected), "")
