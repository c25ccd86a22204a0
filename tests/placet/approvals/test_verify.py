from __future__ import annotations

import ast
import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.approvals.envelope import (
    IN_TOTO_PAYLOAD_TYPE,
    Envelope,
    Signature,
    parse_annotation,
    render_annotation,
    render_envelope,
)
from placet.approvals.in_toto import Subject
from placet.approvals.rejections import MEANINGS, RejectionCode
from placet.approvals.revocations import Revocations, load_revocations
from placet.approvals.signing import add_signature, sign_payload, sign_statement
from placet.approvals.statement import ApprovalStatement, RevocationStatement, render_statement
from placet.approvals.verify import ApprovalFindings, check_approvals
from placet.canonical import Digest
from placet.model import Image, ModelIdentity, Projection, Workload
from tests.simulators.desk import ApprovalDesk, sample_workload, signer_of, stored_signer

WORKLOAD = sample_workload()


def check(desk: ApprovalDesk, raw: dict[str, str], here: Workload = WORKLOAD, /, **changes: Any) -> ApprovalFindings:
    return check_approvals(
        raw, keyring=desk.keyring, revocations=Revocations.none(), context=desk.context(here, **changes)
    )


def only_rejection(findings: ApprovalFindings) -> tuple[str, str]:
    assert findings.verified == ()
    assert len(findings.rejected) == 1
    return findings.rejected[0].code, findings.rejected[0].sentence


@pytest.fixture
def desk() -> ApprovalDesk:
    return ApprovalDesk.standard()


# -- what counts


def test_a_good_approval_counts_with_all_that_it_says(desk: ApprovalDesk) -> None:
    statement = desk.statement(WORKLOAD, role="security")
    findings = check(desk, {"security": desk.sign(statement, by="bob")})
    assert findings.rejected == ()
    (approval,) = findings.verified
    assert (approval.role, approval.person, approval.identity) == ("security", "p-bob", "bob@example.org")
    assert approval.key == signer_of("bob").public_key.fingerprint
    assert approval.bindings == {"projection", "images", "model"}
    assert approval.risk_inputs_match
    assert approval.statement == Digest.of(render_statement(statement))
    assert (approval.issued_at, approval.not_before, approval.expires) == (
        desk.now,
        desk.now,
        desk.now + timedelta(days=30),
    )
    assert (approval.ticket, approval.reason, approval.max_risk) == ("CHG-1", "looks good", "critical")


def test_approvals_come_in_the_order_of_roles(desk: ApprovalDesk) -> None:
    raw = desk.approve_all(WORKLOAD, ["executive", "business", "security", "technical"])
    assert [one.role for one in check(desk, raw).verified] == ["technical", "security", "business", "executive"]


@pytest.mark.parametrize("scheme", ["ecdsa-p256", "rsa-pss"])
def test_every_scheme_is_verified(desk: ApprovalDesk, scheme: str) -> None:
    desk.add("frank", roles=["security"], signer=stored_signer(scheme))
    assert len(check(desk, {"security": desk.approve(WORKLOAD, role="security", by="frank")}).verified) == 1


def test_two_persons_sign_one_statement_and_both_count(desk: ApprovalDesk) -> None:
    findings = check(desk, {"security": desk.approve(WORKLOAD, role="security", by=["bob", "erin"])})
    assert [one.person for one in findings.verified] == ["p-bob", "p-erin"]
    assert findings.rejected == ()


def test_a_keyid_is_a_hint_and_nothing_more(desk: ApprovalDesk) -> None:
    envelope = desk.envelope(desk.statement(WORKLOAD, role="security"), by="bob")
    for keyid in ("", "someone", signer_of("alice").public_key.fingerprint):
        changed = replace(envelope, signatures=(Signature(keyid, envelope.signatures[0].sig),))
        (approval,) = check(desk, {"security": render_annotation(changed)}).verified
        assert approval.person == "p-bob"


def test_risk_inputs_that_differ_are_said_and_do_not_reject(desk: ApprovalDesk) -> None:
    raw = {"security": desk.approve(WORKLOAD, role="security", risk_inputs=Digest.of(b"other facts"))}
    (approval,) = check(desk, raw).verified
    assert not approval.risk_inputs_match


def test_nothing_to_check_gives_nothing(desk: ApprovalDesk) -> None:
    assert check(desk, {}) == ApprovalFindings((), ())


# -- 1-5: caps, envelope, payload type, keys, signature


def test_1_more_envelopes_than_the_cap_are_not_looked_at(desk: ApprovalDesk) -> None:
    raw = {f"role-{number}": "x" for number in range(17)}
    assert only_rejection(check(desk, raw))[0] == "too_many"


def test_1_a_large_annotation_is_not_decoded(desk: ApprovalDesk) -> None:
    assert only_rejection(check(desk, {"security": "A" * (88 * 1024)}))[0] == "too_large"


def test_1_signature_checks_are_bounded(desk: ApprovalDesk) -> None:
    for number in range(80):
        desk.add(f"robot-{number}", roles=["technical"])
    envelope = desk.envelope(desk.statement(WORKLOAD, role="technical"), by="alice")
    forged = replace(envelope, signatures=tuple(Signature("", bytes([number]) * 64) for number in range(8)))
    raw = {"technical": render_annotation(forged), "security": desk.approve(WORKLOAD, role="security")}
    assert [one.code for one in check(desk, raw).rejected] == ["signer_unknown", "too_much_work"]


@pytest.mark.parametrize(
    "text",
    ["", "not base64!", "e30", "e30=\n", " e30=", "e31=", "4pyT", "eyJwYXlsb2FkIjoi", "é", "\ud800", "__-_"],
)
def test_2_what_is_no_envelope_is_named_and_no_error(desk: ApprovalDesk, text: str) -> None:
    code, sentence = only_rejection(check(desk, {"security": text}))
    assert code == "envelope_malformed"
    assert sentence


def test_3_another_payload_type_is_refused(desk: ApprovalDesk) -> None:
    payload = render_statement(desk.statement(WORKLOAD, role="security"))
    envelope = sign_payload(desk.signers["bob"], payload, "application/vnd.placet.keyring.v1+json")
    assert only_rejection(check(desk, {"security": render_annotation(envelope)}))[0] == "payload_type"


def test_3_the_payload_type_is_under_the_signature(desk: ApprovalDesk) -> None:
    payload = render_statement(desk.statement(WORKLOAD, role="security"))
    other = sign_payload(desk.signers["bob"], payload, "text/plain")
    disguised = replace(other, payload_type=IN_TOTO_PAYLOAD_TYPE)
    assert only_rejection(check(desk, {"security": render_annotation(disguised)}))[0] == "signature_invalid"


def test_4_a_stranger_s_signature_is_unknown(desk: ApprovalDesk) -> None:
    envelope = sign_statement(signer_of("mallory"), render_statement(desk.statement(WORKLOAD, role="security")))
    assert only_rejection(check(desk, {"security": render_annotation(envelope)})) == (
        "signer_unknown",
        "no key of the keyring made the signature",
    )


def test_5_a_stranger_s_extra_signature_is_said_and_takes_nothing_away(desk: ApprovalDesk) -> None:
    envelope = desk.envelope(desk.statement(WORKLOAD, role="security"), by="bob")
    findings = check(desk, {"security": render_annotation(add_signature(envelope, signer_of("mallory")))})
    assert [one.person for one in findings.verified] == ["p-bob"]
    assert [one.code for one in findings.rejected] == ["signer_unknown"]


def test_5_one_signature_given_twice_counts_once(desk: ApprovalDesk) -> None:
    envelope = desk.envelope(desk.statement(WORKLOAD, role="security"), by="bob")
    doubled = replace(envelope, signatures=envelope.signatures * 2)
    findings = check(desk, {"security": render_annotation(doubled)})
    assert [one.person for one in findings.verified] == ["p-bob"]


def flips(content: bytes) -> list[bytes]:
    return [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content))]


@pytest.mark.parametrize("by", ["bob", "ecdsa-p256", "rsa-pss"])
def test_5_every_flipped_byte_of_payload_or_signature_rejects(desk: ApprovalDesk, by: str) -> None:
    if by != "bob":
        desk.add(by, roles=["security"], signer=stored_signer(by))
    keyring, context = desk.keyring, desk.context(WORKLOAD)
    envelope = desk.envelope(desk.statement(WORKLOAD, role="security"), by=by)
    (signature,) = envelope.signatures
    changed = [replace(envelope, payload=payload) for payload in flips(envelope.payload)]
    changed += [replace(envelope, signatures=(replace(signature, sig=sig),)) for sig in flips(signature.sig)]
    for one in changed:
        findings = check_approvals(
            {"security": render_annotation(one)}, keyring=keyring, revocations=Revocations.none(), context=context
        )
        assert findings.verified == ()
        assert len(findings.rejected) == 1


def test_2_every_flipped_byte_of_the_envelope_rejects_or_is_in_the_hint(desk: ApprovalDesk) -> None:
    keyring, context = desk.keyring, desk.context(WORKLOAD)
    raw = render_envelope(desk.envelope(desk.statement(WORKLOAD, role="security"), by="bob"))
    hint = range(raw.index(b'"keyid":"') + 9, raw.index(b'","sig"'))
    for at, flipped in enumerate(flips(raw)):
        findings = check_approvals(
            {"security": base64.b64encode(flipped).decode()},
            keyring=keyring,
            revocations=Revocations.none(),
            context=context,
        )
        assert (findings.verified == ()) is (at not in hint), at


def test_2_every_truncation_rejects(desk: ApprovalDesk) -> None:
    keyring, context = desk.keyring, desk.context(WORKLOAD)
    text = desk.approve(WORKLOAD, role="security")
    for length in range(len(text)):
        findings = check_approvals(
            {"security": text[:length]}, keyring=keyring, revocations=Revocations.none(), context=context
        )
        assert only_rejection(findings)[0] == "envelope_malformed"


# -- 6, 7: the statement


def forge(desk: ApprovalDesk, change: Callable[[dict[str, Any]], object]) -> dict[str, str]:
    """A statement that bob really signed after somebody changed its JSON."""
    value = json.loads(render_statement(desk.statement(WORKLOAD, role="security")))
    change(value)
    return {"security": render_annotation(sign_statement(desk.signers["bob"], json.dumps(value).encode()))}


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b'\xef\xbb\xbf{"_type":""}', b"\xff", b'{"a":1,"a":2}'])
def test_6_signed_bytes_that_are_no_statement_are_refused(desk: ApprovalDesk, payload: bytes) -> None:
    raw = {"security": render_annotation(sign_statement(desk.signers["bob"], payload))}
    assert only_rejection(check(desk, raw))[0] == "statement_malformed"


def test_6_any_strict_json_of_the_same_content_is_accepted(desk: ApprovalDesk) -> None:
    assert len(check(desk, forge(desk, lambda value: value)).verified) == 1


def test_7_statement_and_predicate_must_be_of_our_types(desk: ApprovalDesk) -> None:
    other = forge(desk, lambda value: value.update(_type="https://in-toto.io/Statement/v0.1"))
    assert only_rejection(check(desk, other))[0] == "statement_type"
    other = forge(desk, lambda value: value.update(predicateType="https://placet.dev/coverage/v1"))
    assert only_rejection(check(desk, other))[0] == "predicate_type"


def test_7_a_revocation_is_no_approval(desk: ApprovalDesk) -> None:
    statement = desk.statement(WORKLOAD, role="security")
    revocation = RevocationStatement(statement.approval_id, "security", "production", desk.now, "", "")
    raw = {"security": render_annotation(desk.envelope(revocation, by="bob"))}
    assert only_rejection(check(desk, raw))[0] == "not_an_approval"


def test_7_an_approval_counts_only_for_the_role_it_was_signed_for(desk: ApprovalDesk) -> None:
    raw = {"technical": desk.approve(WORKLOAD, role="security", by="erin")}
    assert only_rejection(check(desk, raw)) == ("role_mismatch", "signed for the role security, not technical")


def test_7_an_unknown_role_is_named_in_printable_text(desk: ApprovalDesk) -> None:
    (rejection,) = check(desk, {"sec\x1b[31murity": desk.approve(WORKLOAD, role="security")}).rejected
    assert rejection.code == "role_unknown"
    assert "\x1b" not in rejection.sentence + rejection.role


# -- 8: the key's time


def test_8_a_key_that_has_expired_speaks_no_longer(desk: ApprovalDesk) -> None:
    raw = {"security": desk.approve(WORKLOAD, role="security")}
    desk.identity("bob")["keys"][0]["validUntil"] = "2026-11-22T13:00:00Z"
    assert len(check(desk, raw).verified) == 1
    desk.now += timedelta(hours=1)
    assert only_rejection(check(desk, raw))[0] == "key_expired"


def test_8_a_key_does_not_speak_before_its_time(desk: ApprovalDesk) -> None:
    desk.identity("bob")["keys"][0]["validFrom"] = "2026-11-22T13:00:00Z"
    raw = {"security": desk.approve(WORKLOAD, role="security")}
    desk.now += timedelta(hours=2)
    assert only_rejection(check(desk, raw))[0] == "key_not_yet_valid"


def test_8_what_a_superseded_key_signed_before_stays_good(desk: ApprovalDesk) -> None:
    before = {"security": desk.approve(WORKLOAD, role="security")}
    desk.now += timedelta(hours=1)
    at = {"security": desk.approve(WORKLOAD, role="security")}
    desk.revoke_key("bob", at=desk.now, how="superseded")
    assert len(check(desk, before).verified) == 1
    assert only_rejection(check(desk, at))[0] == "key_superseded"


def test_8_nothing_that_a_compromised_key_signed_counts(desk: ApprovalDesk) -> None:
    raw = {"security": desk.approve(WORKLOAD, role="security")}
    desk.now += timedelta(hours=1)
    desk.revoke_key("bob", at=desk.now, how="compromised")
    assert only_rejection(check(desk, raw))[0] == "key_compromised"


# -- 9: grants


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"role": "technical"}, "bob@example.org has no grant for the role security"),
        ({"environments": ["staging"]}, "bob@example.org may not approve as security in production"),
        ({"models": ["mistral"]}, "bob@example.org has no grant for model llama-3.1-70b in namespace ml"),
        ({"namespaces": ["web"]}, "bob@example.org has no grant for model llama-3.1-70b in namespace ml"),
        ({"maxRisk": "medium"}, "bob@example.org may approve up to medium risk, and signed for critical"),
    ],
)
def test_9_a_grant_must_allow_all_of_it(desk: ApprovalDesk, change: dict[str, Any], says: str) -> None:
    desk.grant("bob", "security").update(change)
    raw = {"security": desk.approve(WORKLOAD, role="security", by="bob")}
    assert only_rejection(check(desk, raw)) == ("not_granted", says)


def test_9_two_grants_that_allow_a_part_each_do_not_add_up(desk: ApprovalDesk) -> None:
    grants = desk.identity("bob")["grants"]
    grants.append(grants[0] | {"environments": ["production"], "maxRisk": "low"})
    grants[0] |= {"environments": ["staging"]}
    raw = {"security": desk.approve(WORKLOAD, role="security", by="bob")}
    assert only_rejection(check(desk, raw))[0] == "not_granted"


def test_9_a_grant_by_name_is_enough(desk: ApprovalDesk) -> None:
    desk.grant("bob", "security").update(models=["llama-3.1-70b"], namespaces=["ml"], environments=["production"])
    assert len(check(desk, {"security": desk.approve(WORKLOAD, role="security")}).verified) == 1


# -- 10: audience


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"environment": "staging"}, "wrong_environment", "signed for production, not staging"),
        ({"cluster": "prod-us-1"}, "wrong_cluster", "signed for cluster prod-eu-1, not prod-us-1"),
        ({"namespace": "web"}, "wrong_namespace", "signed for namespace ml, not web"),
        ({"workload": "Deployment/other"}, "wrong_workload", "signed for Deployment/llama, not Deployment/other"),
        ({"workload": "StatefulSet/llama"}, "wrong_workload", "signed for Deployment/llama, not StatefulSet/llama"),
        (
            {"model": ModelIdentity("llama-3.1-70b", "1.1.0", WORKLOAD.model.digest)},
            "model_differs",
            "signed for model llama-3.1-70b 1.0.0, not llama-3.1-70b 1.1.0",
        ),
        (
            {"model": ModelIdentity()},
            "model_differs",
            "signed for model llama-3.1-70b 1.0.0, not one that is not named",
        ),
    ],
)
def test_10_an_approval_holds_where_it_says_and_nowhere_else(
    desk: ApprovalDesk, change: dict[str, Any], code: str, says: str
) -> None:
    raw = {"security": desk.approve(WORKLOAD, role="security")}
    assert only_rejection(check(desk, raw, **change)) == (code, says)


def test_10_an_approval_under_one_policy_does_not_hold_under_another(desk: ApprovalDesk) -> None:
    policy = Digest.of(b"policy")
    raw = {"security": desk.sign(replace(desk.statement(WORKLOAD, role="security"), policy=policy), by="bob")}
    assert len(check(desk, raw, policy=policy).verified) == 1
    assert only_rejection(check(desk, raw, policy=Digest.of(b"newer")))[0] == "policy_differs"
    assert only_rejection(check(desk, raw))[0] == "policy_differs"


# -- 11: subjects and risk


def other_image(**changes: Any) -> Image:
    return replace(WORKLOAD.images[0], **changes)


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        (
            {"projection": Digest.of(b"other")},
            "projection_differs",
            "the workload differs from the one that was signed (projection digest)",
        ),
        (
            {"images": (other_image(digest=Digest.of(b"rebuilt")),)},
            "image_differs",
            "image digest of container server differs",
        ),
        ({"images": (other_image(name="evil.example/llama"),)}, "image_differs", "image of container server differs"),
        (
            {"images": (other_image(digest=None),)},
            "image_differs",
            "image of container server is not pinned by a digest",
        ),
        (
            {"images": (*WORKLOAD.images, other_image(container="x[sidecar]", name="registry.example/proxy"))},
            "image_differs",
            "image of container sidecar differs",
        ),
        (
            {"model": replace(WORKLOAD.model, digest=Digest.of(b"tuned"))},
            "model_differs",
            "the digest of the model artifact differs from the one that was signed",
        ),
        (
            {"model": replace(WORKLOAD.model, digest=None)},
            "model_differs",
            "the digest of the model artifact differs from the one that was signed",
        ),
    ],
)
def test_11_a_demanded_binding_that_differs_rejects(
    desk: ApprovalDesk, changes: dict[str, Any], code: str, says: str
) -> None:
    raw = {"security": desk.approve(WORKLOAD, role="security")}
    assert only_rejection(check(desk, raw, **changes)) == (code, says)


def test_11_an_image_that_was_signed_and_is_gone_rejects(desk: ApprovalDesk) -> None:
    two = sample_workload(images=(*WORKLOAD.images, other_image(container="x[scan]", name="registry.example/scan")))
    raw = {"security": desk.approve(two, role="security")}
    assert only_rejection(check(desk, raw)) == (
        "image_differs",
        "image registry.example/scan was signed and is not in the workload",
    )


def test_11_a_binding_that_is_not_demanded_and_differs_is_merely_missing(desk: ApprovalDesk) -> None:
    raw = {"security": desk.approve(WORKLOAD, role="security")}
    (approval,) = check(desk, raw, projection=Digest.of(b"other"), bindings=frozenset({"images"})).verified
    assert approval.bindings == {"images", "model"}


@pytest.mark.parametrize("binding", ["projection", "images", "model"])
def test_11_a_demanded_binding_that_is_not_covered_is_left_to_policy(desk: ApprovalDesk, binding: str) -> None:
    statement = desk.statement(WORKLOAD, role="security")
    prefix = {"projection": "projection", "images": "image:", "model": "model:"}[binding]
    kept = tuple(subject for subject in statement.subjects if not subject.name.startswith(prefix))
    (approval,) = check(desk, {"security": desk.sign(replace(statement, subjects=kept), by="bob")}).verified
    assert approval.bindings == {"projection", "images", "model"} - {binding}


def test_11_one_projection_among_several_does_not_match(desk: ApprovalDesk) -> None:
    statement = desk.statement(WORKLOAD, role="security")
    both = replace(statement, subjects=(*statement.subjects, Subject("projection", Digest.of(b"another"))))
    assert only_rejection(check(desk, {"security": desk.sign(both, by="bob")}))[0] == "projection_differs"


@pytest.mark.parametrize(("max_risk", "level"), [("low", "medium"), ("high", "critical"), ("critical", "unheard-of")])
def test_11_risk_above_what_was_signed_rejects(desk: ApprovalDesk, max_risk: str, level: str) -> None:
    raw = {"security": desk.approve(WORKLOAD, role="security", max_risk=max_risk)}
    assert only_rejection(check(desk, raw, level=level)) == (
        "risk_above",
        f"covers risk up to {max_risk}, and the risk is {level}",
    )


# -- 12: time


def test_12_an_approval_holds_from_its_first_moment_and_not_at_its_last(desk: ApprovalDesk) -> None:
    statement = replace(desk.statement(WORKLOAD, role="security"), not_before=desk.now + timedelta(hours=1))
    raw = {"security": desk.sign(statement, by="bob")}
    assert only_rejection(check(desk, raw)) == ("not_yet_valid", "holds in 60 min")
    assert len(check(desk, raw, now=statement.not_before).verified) == 1
    assert len(check(desk, raw, now=statement.expires - timedelta(microseconds=1)).verified) == 1
    assert only_rejection(check(desk, raw, now=statement.expires)) == ("expired", "expired 0 s ago")
    assert only_rejection(check(desk, raw, now=statement.expires + timedelta(hours=2)))[1] == "expired 2 h ago"


# -- 13: revocation


def test_13_the_keyring_revokes(desk: ApprovalDesk) -> None:
    statement = desk.statement(WORKLOAD, role="security")
    desk.document["revokedApprovals"].append(statement.approval_id)
    (rejection,) = check(desk, {"security": desk.sign(statement, by="bob")}).rejected
    assert (rejection.code, rejection.approval_id) == ("revoked", statement.approval_id)


@pytest.mark.parametrize("by", ["bob", "erin"])
def test_13_a_signed_revocation_by_somebody_with_the_role_revokes(desk: ApprovalDesk, tmp_path: Path, by: str) -> None:
    statement = desk.statement(WORKLOAD, role="security")
    (tmp_path / "one.dsse.json").write_bytes(desk.revoke(statement.approval_id, role="security", by=by))
    revocations = load_revocations(tmp_path, keyring=desk.keyring)
    findings = check_approvals(
        {"security": desk.sign(statement, by="bob")},
        keyring=desk.keyring,
        revocations=revocations,
        context=desk.context(WORKLOAD),
    )
    assert only_rejection(findings) == ("revoked", f"revoked by p-{by}")


def test_13_a_revocation_in_another_environment_does_not_reach_this_one(desk: ApprovalDesk, tmp_path: Path) -> None:
    statement = desk.statement(WORKLOAD, role="security")
    raw = desk.revoke(statement.approval_id, role="security", environment="development")
    (tmp_path / "one.dsse.json").write_bytes(raw)
    revocations = load_revocations(tmp_path, keyring=desk.keyring)
    assert revocations.find(statement.approval_id, role="security", environment="production") is None
    assert revocations.find(statement.approval_id, role="security", environment="development") is not None


def test_13_an_approval_that_was_revoked_is_said_to_be_even_when_it_has_expired_too(desk: ApprovalDesk) -> None:
    statement = desk.statement(WORKLOAD, role="security")
    desk.document["revokedApprovals"].append(statement.approval_id)
    raw = {"security": desk.sign(statement, by="bob")}
    assert only_rejection(check(desk, raw, now=statement.expires, level="critical"))[0] == "revoked"


# -- 14: persons


@pytest.mark.parametrize("requester", ["bob@example.org", "BOB@example.org", "p-bob", "oidc:bob"])
def test_14_nobody_approves_their_own_request(desk: ApprovalDesk, requester: str) -> None:
    desk.identity("bob")["usernames"] = ["oidc:bob"]
    raw = {"security": desk.approve(WORKLOAD, role="security", by="bob")}
    assert only_rejection(check(desk, raw, requester=requester))[0] == "self_approval"


def test_14_nobody_approves_their_own_request_by_another_identity(desk: ApprovalDesk) -> None:
    desk.add("bob-token", roles=["security"], person="p-bob")
    raw = {"security": desk.approve(WORKLOAD, role="security", by="bob-token")}
    assert only_rejection(check(desk, raw, requester="bob@example.org"))[0] == "self_approval"


def test_14_a_person_with_two_identities_counts_once(desk: ApprovalDesk) -> None:
    desk.add("bob-token", roles=["security"], person="p-bob")
    findings = check(desk, {"security": desk.approve(WORKLOAD, role="security", by=["bob", "bob-token"])})
    assert [one.identity for one in findings.verified] == ["bob@example.org"]
    assert [one.code for one in findings.rejected] == ["duplicate"]


def test_14_a_person_with_two_roles_is_given_for_both_and_policy_counts(desk: ApprovalDesk) -> None:
    raw = {role: desk.approve(WORKLOAD, role=role, by="erin") for role in ("technical", "security")}
    assert [(one.role, one.person) for one in check(desk, raw).verified] == [
        ("technical", "p-erin"),
        ("security", "p-erin"),
    ]


# -- the whole


def test_one_bad_annotation_takes_nothing_from_the_others(desk: ApprovalDesk) -> None:
    findings = check(desk, {"security": "garbage", "technical": desk.approve(WORKLOAD, role="technical")})
    assert [one.role for one in findings.verified] == ["technical"]
    assert [(one.role, one.code) for one in findings.rejected] == [("security", "envelope_malformed")]


def test_another_s_approval_moved_to_another_workload_is_worth_nothing(desk: ApprovalDesk) -> None:
    other = sample_workload(name="other", projection=Projection(b"{}", Digest.of(b"{}")))
    raw = {"security": desk.approve(WORKLOAD, role="security")}
    assert only_rejection(check(desk, raw, other))[0] == "wrong_workload"


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=12) | st.sampled_from(["security"]), st.text(max_size=200), max_size=20))
def test_no_text_makes_it_raise(raw: dict[str, str]) -> None:
    findings = check(ApprovalDesk.standard(), raw)
    assert findings.verified == ()
    assert len(findings.rejected) >= min(len(raw), 1)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@settings(deadline=None)
@given(st.data())
def test_no_signed_statement_makes_it_raise(data: st.DataObject) -> None:
    desk = ApprovalDesk.standard()

    def mutate(value: dict[str, Any]) -> None:
        target = data.draw(st.sampled_from([value, value["predicate"], value["predicate"]["audience"]]))
        key = data.draw(st.sampled_from(sorted(target)) | st.text(max_size=8))
        target[key] = data.draw(_JSON)

    findings = check(desk, forge(desk, mutate))
    assert {one.code for one in findings.rejected} <= set(RejectionCode)
    assert len(findings.verified) + len(findings.rejected) >= 1


@given(st.binary(max_size=300))
def test_no_bytes_of_an_envelope_make_it_raise(raw: bytes) -> None:
    findings = check(ApprovalDesk.standard(), {"security": base64.b64encode(raw).decode()})
    assert only_rejection(findings)[0] == "envelope_malformed"


def test_every_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(RejectionCode)


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("VerifiedApproval", "approvals/verify.py"),
        ("VerifiedKeyring", "approvals/keyring.py"),
        ("VerifiedFacts", "evidence/verify.py"),
    ],
)
def test_trusted_types_are_built_in_one_place(name: str, home: str) -> None:
    root = Path(check_approvals.__code__.co_filename).parents[1]
    builders = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    }
    assert builders == {home}


def test_an_annotation_reads_back_as_the_envelope_that_was_written(desk: ApprovalDesk) -> None:
    envelope = desk.envelope(desk.statement(WORKLOAD, role="security"), by=["bob", "erin"])
    assert parse_annotation(render_annotation(envelope)) == envelope
    assert isinstance(envelope, Envelope)
    assert isinstance(desk.statement(WORKLOAD, role="security"), ApprovalStatement)
