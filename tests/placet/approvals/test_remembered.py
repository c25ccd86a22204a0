"""What is remembered about signatures never outlives the trust in them, and can't be met by other bytes."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals import remembered
from placet.approvals.envelope import Signature, parse_annotation, render_annotation, render_envelope
from placet.approvals.keys import PublicKey, check_signature
from placet.approvals.remembered import Remembered, check_signature_once, forget_all, signature_key
from placet.approvals.revocations import Revocations, load_revocations
from placet.approvals.statement import RevocationStatement
from placet.approvals.verify import ApprovalFindings, check_approvals
from placet.evidence.verify import check_evidence
from tests.simulators.desk import ApprovalDesk, sample_workload, signer_of

WORKLOAD = sample_workload()
ROLE = "security"


@pytest.fixture
def desk() -> ApprovalDesk:
    return ApprovalDesk.standard()


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """The outcome of every signature check that is really made; nothing is remembered at the start."""
    made: list[bool] = []

    def counted(key: PublicKey, message: bytes, signature: bytes) -> bool:
        made.append(check_signature(key, message, signature))
        return made[-1]

    monkeypatch.setattr(remembered, "check_signature", counted)
    forget_all()
    yield made
    forget_all()


def check(desk: ApprovalDesk, text: str, revocations: Revocations | None = None, **changes: Any) -> ApprovalFindings:
    return check_approvals(
        {ROLE: text},
        keyring=desk.keyring,
        revocations=revocations or Revocations.none(),
        context=desk.context(WORKLOAD, **changes),
    )


def codes(findings: ApprovalFindings) -> list[str]:
    assert findings.verified == ()
    return [item.code for item in findings.rejected]


def test_a_good_signature_is_checked_once(desk: ApprovalDesk, checks: list[bool]) -> None:
    text = desk.approve(WORKLOAD, role=ROLE)
    first = check(desk, text)
    assert len(first.verified) == 1
    assert checks == [True]
    assert [check(desk, text) for _ in range(3)] == [first] * 3
    assert checks == [True]


def test_evidence_is_checked_once_and_says_the_same_again(desk: ApprovalDesk, checks: list[bool]) -> None:
    raw = desk.evidence(WORKLOAD)
    first = check_evidence(raw, keyring=desk.keyring, context=desk.evidence_context(WORKLOAD))
    assert first.facts.coverage is not None
    assert checks == [True] * len(raw)
    assert check_evidence(raw, keyring=desk.keyring, context=desk.evidence_context(WORKLOAD)) == first
    assert checks == [True] * len(raw)
    later = desk.evidence_context(WORKLOAD, now=desk.now + timedelta(days=100))
    assert check_evidence(raw, keyring=desk.keyring, context=later).facts.coverage is None


# -- trust is asked for each time


def revoke_by_keyring(desk: ApprovalDesk, text: str) -> None:
    approval = json.loads(parse_annotation(text).payload)["predicate"]["approvalId"]
    desk.document["revokedApprovals"].append(approval)


def remove_the_key(desk: ApprovalDesk, _text: str) -> None:
    desk.document["identities"].remove(desk.identity("bob"))


def replace_the_key(desk: ApprovalDesk, _text: str) -> None:
    desk.identity("bob")["keys"] = [desk.key_entry(signer_of("bob's new key").public_key)]


def compromise_the_key(desk: ApprovalDesk, _text: str) -> None:
    desk.revoke_key("bob", at=desk.now + timedelta(days=1), how="compromised")


def supersede_the_key(desk: ApprovalDesk, _text: str) -> None:
    desk.revoke_key("bob", at=desk.now - timedelta(days=1), how="superseded")


def take_the_grant(desk: ApprovalDesk, _text: str) -> None:
    desk.identity("bob")["grants"] = []


def lower_the_grant(desk: ApprovalDesk, _text: str) -> None:
    desk.grant("bob", ROLE)["maxRisk"] = "medium"


def let_it_expire(desk: ApprovalDesk, _text: str) -> None:
    desk.now += timedelta(days=30)


def set_the_clock_back(desk: ApprovalDesk, _text: str) -> None:
    desk.now -= timedelta(seconds=1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (revoke_by_keyring, "revoked"),
        (remove_the_key, "signer_unknown"),
        (replace_the_key, "signer_unknown"),
        (compromise_the_key, "key_compromised"),
        (supersede_the_key, "key_superseded"),
        (take_the_grant, "not_granted"),
        (lower_the_grant, "not_granted"),
        (let_it_expire, "expired"),
        (set_the_clock_back, "not_yet_valid"),
    ],
)
def test_what_was_taken_back_is_refused_straight_after_it_counted(
    desk: ApprovalDesk, checks: list[bool], change: Callable[[ApprovalDesk, str], None], code: str
) -> None:
    text = desk.approve(WORKLOAD, role=ROLE)
    assert len(check(desk, text).verified) == 1
    change(desk, text)
    assert codes(check(desk, text)) == [code]
    assert checks[0] is True


def test_a_signed_revocation_is_heeded_straight_after_the_approval_counted(
    desk: ApprovalDesk, checks: list[bool], tmp_path: Path
) -> None:
    statement = desk.statement(WORKLOAD, role=ROLE)
    text = desk.sign(statement, by="bob")
    assert len(check(desk, text).verified) == 1
    revocation = RevocationStatement(statement.approval_id, ROLE, "production", desk.now, "", "")
    (tmp_path / "one.dsse.json").write_bytes(render_envelope(desk.envelope(revocation, by="erin")))
    revocations = load_revocations(tmp_path, keyring=desk.keyring)
    assert codes(check(desk, text, revocations)) == ["revoked"]
    assert checks == [True, True]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"requester": "bob@example.org"}, "self_approval"),
        ({"level": "unheard of"}, "risk_above"),
        ({"environment": "staging"}, "wrong_environment"),
        ({"cluster": "another"}, "wrong_cluster"),
        ({"workload": "Deployment/other"}, "wrong_workload"),
    ],
)
def test_the_request_is_looked_at_each_time(
    desk: ApprovalDesk, checks: list[bool], change: dict[str, Any], code: str
) -> None:
    text = desk.approve(WORKLOAD, role=ROLE)
    assert len(check(desk, text).verified) == 1
    assert codes(check(desk, text, **change)) == [code]
    assert checks == [True]


def test_the_bound_on_work_counts_what_is_remembered_too(desk: ApprovalDesk, checks: list[bool]) -> None:
    text = desk.approve(WORKLOAD, role=ROLE)
    cold = check(desk, text)
    assert checks == [True]
    envelope = parse_annotation(text)
    bare = render_annotation(replace(envelope, signatures=(Signature("", envelope.signatures[0].sig),)))
    # without the hint every key before the right one is tried, as often as it is asked
    assert check(desk, bare).verified == cold.verified
    tried = len(checks)
    assert check(desk, bare).verified == cold.verified
    assert len(checks) == tried + (tried - 1)
    assert checks.count(True) == 1


# -- other bytes


def test_a_changed_payload_under_a_remembered_signature_is_refused(desk: ApprovalDesk, checks: list[bool]) -> None:
    text = desk.approve(WORKLOAD, role=ROLE)
    envelope = parse_annotation(text)
    assert len(check(desk, text).verified) == 1
    for payload in (envelope.payload + b" ", envelope.payload.replace(b'"critical"', b'"low"'), b"{}"):
        assert codes(check(desk, render_annotation(replace(envelope, payload=payload)))) == ["signature_invalid"]
    assert codes(check(desk, render_annotation(replace(envelope, payload_type="text/plain")))) == ["payload_type"]
    assert len(check(desk, text).verified) == 1


def test_every_changed_character_of_a_remembered_annotation_is_read_anew(
    desk: ApprovalDesk, checks: list[bool]
) -> None:
    text = desk.approve(WORKLOAD, role=ROLE)
    good = check(desk, text)
    signed = base64.b64decode(text)
    hint = signed.index(b'"keyid":"')
    for at in range(0, len(text), 29):
        other = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        found = check(desk, other)
        # the hint alone may change, and what it hints at is then found by trying
        assert not found.verified or (hint < at * 3 // 4 < hint + 80 and found == good)


def test_another_key_does_not_meet_what_was_remembered_of_the_first(desk: ApprovalDesk, checks: list[bool]) -> None:
    text = desk.approve(WORKLOAD, role=ROLE, by="bob")
    assert len(check(desk, text).verified) == 1
    bob, erin = desk.identity("bob"), desk.identity("erin")
    bob["keys"], erin["keys"] = erin["keys"], bob["keys"]
    (approval,) = check(desk, text).verified
    assert approval.person == "p-erin"  # whose key it is now


KEYS = [signer_of(name).public_key for name in ("alice", "bob")]


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.binary(max_size=8), st.binary(max_size=8)), min_size=2, unique=True)
)
def test_two_questions_never_share_a_key(questions: list[tuple[PublicKey, bytes, bytes]]) -> None:
    assert len({signature_key(*question) for question in questions}) == len(questions)


def test_bytes_moved_between_message_and_signature_make_another_key() -> None:
    key = KEYS[0]
    joined = bytes(range(64)) + b"message"
    assert len({signature_key(key, joined[at:], joined[:at]) for at in range(len(joined))}) == len(joined)


def test_digits_in_front_of_a_signature_do_not_pass_for_its_length() -> None:
    key = KEYS[0]
    assert signature_key(key, b"", b"1 x") != signature_key(key, b"x", b"1 ")
    assert signature_key(key, b"2 ab", b"") != signature_key(key, b"", b"ab")


def test_the_scheme_is_part_of_the_key() -> None:
    key = KEYS[0]
    assert signature_key(key, b"m", b"s") != signature_key(replace(key, scheme="ed25519ph"), b"m", b"s")


# -- what is kept


def test_a_signature_that_is_not_good_is_checked_each_time(checks: list[bool]) -> None:
    assert [check_signature_once(KEYS[0], b"message", b"\1" * 64) for _ in range(3)] == [False] * 3
    assert checks == [False] * 3


def test_junk_pushes_nothing_out(desk: ApprovalDesk, checks: list[bool]) -> None:
    text = desk.approve(WORKLOAD, role=ROLE)
    envelope = parse_annotation(text)
    check(desk, text)
    kept = [len(one) for one in remembered._all]
    for number in range(50):
        junk = replace(envelope, payload=envelope.payload + b" " * (number + 1))
        check(desk, render_annotation(junk))
        check(desk, base64.b64encode(b"%d" % number).decode())
        stranger = Signature("", number.to_bytes(64, "big"))
        check(desk, render_annotation(replace(envelope, signatures=(stranger,))))
    assert [len(one) for one in remembered._all] == kept


def test_the_one_asked_for_longest_ago_goes_first() -> None:
    values: Remembered[int] = Remembered(size=3)
    for number in range(3):
        values.keep(b"%d" % number, number)
    assert values.find(b"0") == 0
    values.keep(b"3", 3)
    assert [values.find(b"%d" % number) for number in range(4)] == [0, None, 2, 3]
    assert len(values) == 3


def test_there_are_never_more_than_the_bound_and_threads_agree() -> None:
    values: Remembered[int] = Remembered(size=50)
    wrong: list[tuple[int, int | None]] = []

    def work(start: int) -> None:
        for step in range(2000):
            number = (start + step * 7) % 120
            values.keep(b"%d" % number, number)
            found = values.find(b"%d" % ((number * 3) % 120))
            if found not in (None, (number * 3) % 120):
                wrong.append((number, found))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(values) == 50


def test_a_forked_child_starts_with_nothing_though_a_thread_held_the_lock() -> None:
    values: Remembered[int] = Remembered(size=3)
    values.keep(b"a", 1)
    with values._lock:
        child = os.fork()
        if child == 0:  # would hang here if the lock had come along
            os._exit(0 if values.find(b"a") is None and len(values) == 0 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert values.find(b"a") == 1


def test_long_texts_are_read_anew(desk: ApprovalDesk, checks: list[bool]) -> None:
    envelope = parse_annotation(desk.approve(WORKLOAD, role=ROLE))
    extra = tuple(Signature("", bytes([number]) * 1000) for number in range(1, 8))
    long = render_annotation(replace(envelope, signatures=envelope.signatures + extra))
    assert len(long) > remembered.MAX_READ_BYTES
    first = check(desk, long)
    assert len(first.verified) == 1
    assert sum(len(one) for one in remembered._all) == 2  # the signature and the statement, not the envelope
    assert check(desk, long) == first
    assert checks == [True]
