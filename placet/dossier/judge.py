"""A case judged again: by the keyring, the policies and the policy data of its time.

The clock of whoever judges has no part in it: every time is that of the decision. What has been revoked or has expired
since is another question, which ``placet.dossier.today`` answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring, verify_keyring
from placet.approvals.keys import PublicKey
from placet.approvals.verify import VerifiedApproval
from placet.audit.record import DECISION, attachment_digests
from placet.dossier.attested import check_evidence_again
from placet.dossier.case import Case
from placet.dossier.claims import decision_time, find_ground, find_input_differences
from placet.dossier.exempted import check_exemption_again
from placet.dossier.names import find_unopened
from placet.dossier.signed import check_signatures, check_token_again, check_withdrawals
from placet.dossier.verdict import Verdict
from placet.errors import EngineError, FormatError, KeyringError, WorkloadError
from placet.kept import INPUT
from placet.replay import Answer, Policies, find_differences, replay

_UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, FormatError, WorkloadError)


@dataclass(frozen=True, slots=True)
class Roots:
    """The root keys that whoever verifies trusts.

    Attributes:
        keys: public keys; empty to leave the keyring's signatures open.
        threshold: how many of them must have signed.
    """

    keys: Sequence[PublicKey]
    threshold: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about a case.

    Attributes:
        verdict: all findings.
        answer: of the replay; None where nothing could be replayed.
        approvals: those that were verified again.
    """

    verdict: Verdict
    answer: Answer | None = None
    approvals: tuple[VerifiedApproval, ...] = ()


def judge_case(case: Case, roots: Roots) -> Judged:
    """Judge a decision again, with everything that it rested on.

    Args:
        case: of leaves that were verified to be in the log.
        roots: pinned by whoever verifies.
    """
    verdict = Verdict()
    if case.subject.type != DECISION:
        for part, sentence in case.missing.items():
            verdict.leave_open(part, "missing", sentence)
        return Judged(verdict)
    try:
        moment = decision_time(case.body)
    except _UNREADABLE:
        verdict.refute("decision", "leaf_unreadable", "the time of the decision can't be read")
        return Judged(verdict)
    for part, sentence in case.missing.items():
        verdict.leave_open(part, "missing", sentence)
    _compare_input(case, verdict)
    keyring = _check_keyring(case, roots, moment, verdict)
    approvals: tuple[VerifiedApproval, ...] = ()
    unopened = find_unopened(case)
    if unopened:
        sentence = f"{unopened} names are sealed, or were erased: who asked and who signed can't be compared"
        verdict.leave_open("persons", "sealed", sentence)
    if keyring is not None:
        try:
            if not unopened:
                approvals = check_signatures(case, keyring, moment, verdict)
            check_evidence_again(case, keyring, moment, verdict)
            check_withdrawals(case, keyring, verdict)
            if not unopened:
                check_token_again(case, keyring, moment, verdict)
                check_exemption_again(case, keyring, moment, verdict)
        except _UNREADABLE as exc:
            verdict.refute("input", "input_unreadable", f"what was judged can't be read: {type(exc).__name__}")
    elif case.keyring_envelope is not None and case.body.get("approvals"):
        verdict.leave_open("approvals", "no_keyring", "no approval can be verified without a keyring that is trusted")
    _require_ground(case, verdict)
    answer = replay_case(case, verdict)
    if case.precedent is not None:
        _check_precedent(case, case.precedent, roots, verdict)
    _tell_limits(case, verdict)
    return Judged(verdict, answer, approvals)


def replay_case(case: Case, verdict: Verdict) -> Answer | None:
    """Let the recorded policies judge the recorded input, and compare.

    Args:
        case: of a decision.
        verdict: to add to.
    """
    if case.input is None:
        return None
    if case.policy is None or case.data is None or not {"manifest", "wasm"} <= case.bundle.keys():
        verdict.leave_open("replay", "missing", "the decision can't be replayed without its policies and policy data")
        return None
    policies = Policies(
        manifest=case.bundle["manifest"],
        wasm=case.bundle["wasm"],
        data=case.data,
        evaluation=str(case.policy.body.get("evaluation", "")),
    )
    try:
        answer = replay(case.input, policies)
    except EngineError as exc:
        verdict.refute("replay", exc.code, f"the policies that were kept give no decision on the input: {exc}")
        return None
    differences = find_differences(case.body, answer)
    for one in differences:
        sentence = f"the record says {one.member} {_shown(one.recorded)}, and the replay {_shown(one.replayed)}"
        verdict.refute("replay", "replay_differs", sentence)
    if not differences:
        word = "allow" if answer.allowed else "refuse"
        verdict.prove("replay", f"the policies of then {word} this input, as the record says ({case.policy.index})")
    return answer


def _compare_input(case: Case, verdict: Verdict) -> None:
    if case.input is None:
        return
    if not case.document:
        verdict.refute("input", "input_unreadable", "what was judged is not a JSON object")
    elif different := find_input_differences(case.body, case.document):
        sentence = f"the input that was judged is not the decision's: {', '.join(different)}"
        verdict.refute("input", "input_differs", sentence)
    else:
        verdict.prove("input", "what was judged is about this request, this content, this risk and these approvals")


def _require_ground(case: Case, verdict: Verdict) -> None:
    """What was let in was judged, or there is a reason that it need not be."""
    if INPUT not in attachment_digests(case.body) and case.body.get("allowed") is True and not find_ground(case.body):
        verdict.refute("decision", "no_ground", "it was allowed, and the record has nothing that it was allowed on")


def _check_keyring(case: Case, roots: Roots, moment: datetime, verdict: Verdict) -> VerifiedKeyring | None:
    raw, leaf = case.keyring_envelope, case.keyring
    if raw is None or leaf is None:
        return None
    if not roots.keys:
        verdict.leave_open("keyring", "no_root_key", "no root key was given, so nobody's signature can be believed")
        return None
    try:
        keyring = verify_keyring(raw, roots=roots.keys, threshold=roots.threshold, now=moment)
    except KeyringError as exc:
        verdict.refute("keyring", exc.code, f"the keyring of leaf {leaf.index} does not hold: {exc}")
        return None
    body = case.body
    named = body.get("keyring", str(keyring.digest))
    if (leaf.body.get("statement"), leaf.body.get("version")) != (str(keyring.digest), keyring.version):
        verdict.refute("keyring", "keyring_differs", f"the keyring is not the one that leaf {leaf.index} names")
        return None
    if (named, body.get("keyring_version")) != (str(keyring.digest), keyring.version):
        verdict.refute("keyring", "keyring_differs", "the keyring is not the one that the decision names")
        return None
    thresholds = case.document.get("thresholds")
    if isinstance(thresholds, Mapping) and any(thresholds[k] != keyring.thresholds.get(k, 1) for k in thresholds):
        verdict.refute("keyring", "keyring_differs", "the input has other thresholds than the keyring")
    verdict.prove(
        "keyring",
        f"version {keyring.version}, signed by {roots.threshold} or more of the {len(roots.keys)} root keys, "
        f"held when the decision fell ({leaf.index})",
    )
    if leaf.index > case.subject.index:
        verdict.limit("That the keyring was in force before: its leaf with the envelope came after the decision.")
    return keyring


def _check_precedent(case: Case, precedent: Case, roots: Roots, verdict: Verdict) -> None:
    body, past = case.body, precedent.body
    named = body.get("precedent")
    wrong = [
        name
        for name, holds in (
            ("allowed", past.get("allowed") is True and past.get("approved") is True),
            ("place", all(past.get(key) == body.get(key) for key in ("cluster", "environment", "namespace"))),
            ("time", isinstance(named, Mapping) and named.get("time") == past.get("time")),
            ("level", isinstance(named, Mapping) and named.get("level") == _at(past, ("risk", "level"))),
        )
        if not holds
    ]
    if wrong:
        sentence = f"decision {past.get('decision_id')} is not what this one says of it: {', '.join(wrong)}"
        verdict.refute("precedent", "precedent_differs", sentence)
        return
    parents = body.get("parents")
    made_of = [_at(one, ("projection",)) for one in (parents if isinstance(parents, list) else ())]
    same = past.get("projection") in [body.get("projection"), *made_of]
    what = "this content" if same else "what this was made of"
    verdict.prove("precedent", f"decision {past.get('decision_id')} approved {what} before ({precedent.subject.index})")
    if not same:
        verdict.limit("That the object is made of what was approved before: its parents were looked up then.")
    verdict.extend(judge_case(precedent, roots).verdict, of="precedent")


def _tell_limits(case: Case, verdict: Verdict) -> None:
    body = case.body
    if case.input is None:
        if not body.get("break_glass") and not body.get("exemption") and "input" not in case.missing:
            verdict.limit("Why it was decided so: the policies were not asked, and the object is not in the record.")
        return
    change = _at(case.document, ("change", "kind"))
    verdict.limit("What the API server sent, and what the cluster was asked, are the gate's word.")
    verdict.limit("Facts that no evidence attests are the gate's word, and so are the scores that it made of facts.")
    if change == "unchanged":
        verdict.limit("That the object was so before the update is the API server's word; the record does not have it.")
    if case.body.get("rejected"):
        verdict.limit("Approvals that were rejected are not kept; the input says which and why.")


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _shown(value: Any) -> str:
    return ", ".join(value) or "none" if isinstance(value, list) else str(value).lower()
