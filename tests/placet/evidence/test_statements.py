"""What the rules get: every statement that verifies, and nothing that does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.approvals.in_toto import Subject, render_in_toto
from placet.canonical import Digest
from placet.evidence.claims import plain_claims, render_times
from placet.evidence.kinds import CYCLONEDX_TYPE, REFERENCE_TYPE, VULNS_TYPE
from placet.evidence.statement import model_predicate
from placet.evidence.verify import MAX_EVIDENCE, EvidenceFindings, check_evidence
from placet.judge import render_statement
from placet.model import Workload
from placet.policy.data import merge_policy_data
from tests.placet.evidence.samples import REFERENCES, SAMPLES, SCAN
from tests.simulators.desk import NOON, SHIPPED_KINDS, ApprovalDesk, sample_workload

WORKLOAD = sample_workload()
DAY = timedelta(days=1)
KINDS = sorted(SHIPPED_KINDS.by_name)


@pytest.fixture
def desk() -> ApprovalDesk:
    desk = ApprovalDesk.standard()
    desk.add("auditor", facts=KINDS)
    return desk


def attest(
    desk: ApprovalDesk, kind: str, here: Workload = WORKLOAD, *, by: str | list[str] = "auditor", **change: Any
) -> str:
    known = SHIPPED_KINDS.by_name[kind]
    predicate = {"vulnerability_scan": SCAN, "documentation": REFERENCES}.get(kind)
    if predicate is None:
        predicate = SAMPLES[kind] | render_times(desk.now, 30 * DAY) | change
    return desk.attest(here, known.predicate_type, predicate, about=known.about, by=by)


def check(desk: ApprovalDesk, raw: dict[str, str], here: Workload = WORKLOAD, /, **changes: Any) -> EvidenceFindings:
    return check_evidence(raw, keyring=desk.keyring, context=desk.evidence_context(here, **changes))


def codes(findings: EvidenceFindings) -> list[tuple[str, str, str]]:
    return [(one.name, one.kind, one.code) for one in findings.rejected]


def test_every_kind_of_the_table_can_be_attested(desk: ApprovalDesk) -> None:
    raw = {kind: attest(desk, kind) for kind in (*SAMPLES, "vulnerability_scan", "documentation")}
    raw |= desk.evidence(WORKLOAD)
    findings = check(desk, raw)
    assert findings.rejected == ()
    assert [one.kind for one in findings.statements] == KINDS
    for one in findings.statements:
        kind = SHIPPED_KINDS.by_name[one.kind]
        assert one.about == kind.about
        assert set(one.subjects) == desk.evidence_context(WORKLOAD).digests[kind.about]
        assert one.attester == ("ci@example.org" if kind.facts else "auditor@example.org")
        if one.kind in SAMPLES:
            assert plain_claims(one.claims) == SAMPLES[one.kind]
            assert (one.issued_at, one.expires) == (NOON, NOON + 30 * DAY)
    assert findings.counted == {one.statement for one in findings.statements}
    (documents,) = [one for one in findings.statements if one.kind == "documentation"]
    assert render_statement(documents)["claims"] == {
        "documents": ["api_documentation", "deployment_guide", "model_card"]
    }
    assert render_statement(documents)["expires_s"] == 0


def test_the_facts_of_the_score_are_claims_too(desk: ApprovalDesk) -> None:
    claims = {one.kind: plain_claims(one.claims) for one in check(desk, desk.evidence(WORKLOAD)).statements}
    assert claims == {
        "coverage": {"lines_covered": 85, "lines_total": 100},
        "deployment_plan": {"strategy": "blue_green"},
        "model_bom": {"parameters": 70_600_000_000, "classification": "confidential"},
        "rollback_drill": {"minutes": 3},
    }


def test_who_may_attest_a_kind_may_attest_its_facts(desk: ApprovalDesk) -> None:
    desk.add("tester", facts=["rollback_drill"])
    findings = check(desk, {"x": desk.evidence(WORKLOAD, by="tester")["rollback"]})
    assert findings.facts.rollback is not None
    assert [one.attester for one in findings.statements] == ["tester@example.org"]


def test_of_a_statement_only_what_its_signer_may_say_counts(desk: ApprovalDesk) -> None:
    desk.add("librarian", facts=["parameters"])
    predicate = model_predicate(WORKLOAD.model, parameters=7, classification="public", made_at=NOON)
    findings = check(desk, {"bom": desk.attest(WORKLOAD, CYCLONEDX_TYPE, predicate, about="model", by="librarian")})
    (statement,) = findings.statements
    assert plain_claims(statement.claims) == {"parameters": 7}
    assert findings.facts.data_classification is None
    assert codes(findings) == [("bom", "model_bom", "not_granted")]


def test_a_kind_is_not_attested_by_whom_the_keyring_lets_attest_another(desk: ApprovalDesk) -> None:
    desk.add("ops", facts=["slo"])
    findings = check(desk, {"x": attest(desk, "incident_plan", by="ops")})
    assert (findings.statements, codes(findings)) == ((), [("x", "incident_plan", "not_granted")])


@pytest.mark.parametrize("scope", [{"models": ["other"]}, {"environments": ["staging"]}])
def test_a_kind_is_attested_of_the_model_and_environment_of_the_grant(
    desk: ApprovalDesk, scope: dict[str, list[str]]
) -> None:
    desk.identity("auditor")["attests"][0] |= scope
    assert codes(check(desk, {"x": attest(desk, "slo")})) == [("x", "slo", "not_granted")]


@pytest.mark.parametrize("kind", [*SAMPLES, "vulnerability_scan", "documentation"])
def test_what_is_about_something_else_does_not_count(desk: ApprovalDesk, kind: str) -> None:
    other = replace(
        WORKLOAD,
        model=replace(WORKLOAD.model, digest=Digest.of(b"other")),
        images=tuple(replace(one, digest=Digest.of(b"other")) for one in WORKLOAD.images),
        projection=replace(WORKLOAD.projection, digest=Digest.of(b"other")),
    )
    findings = check(desk, {"x": attest(desk, kind, other)})
    assert (findings.statements, codes(findings)) == ((), [("x", kind, "subject_differs")])


def test_a_digest_of_one_sort_is_no_subject_of_another(desk: ApprovalDesk) -> None:
    assert WORKLOAD.model.digest is not None
    payload = render_in_toto([Subject("image:server", WORKLOAD.model.digest)], VULNS_TYPE, SCAN)
    assert codes(check(desk, {"x": desk.seal(payload, by="auditor")})) == [
        ("x", "vulnerability_scan", "subject_differs")
    ]


def test_a_scan_of_some_images_names_those_alone(desk: ApprovalDesk) -> None:
    (image,) = WORKLOAD.images
    both = replace(WORKLOAD, images=(image, replace(image, container="x", name="other", digest=Digest.of(b"other"))))
    (statement,) = check(desk, {"x": attest(desk, "vulnerability_scan")}, both).statements
    assert statement.subjects == (image.digest,)


@pytest.mark.parametrize(
    ("kind", "age", "code"),
    [
        ("slo", -timedelta(seconds=1), "not_yet_valid"),
        ("slo", 30 * DAY, "expired"),
        ("operations_status", 7 * DAY, "too_old"),
        ("vulnerability_scan", 31 * DAY, "too_old"),
        ("documentation", 370 * DAY, "too_old"),
    ],
)
def test_what_does_not_hold_now_does_not_count(desk: ApprovalDesk, kind: str, age: timedelta, code: str) -> None:
    raw = {"x": attest(desk, kind)}
    desk.identity("auditor")["keys"][0]["validUntil"] = "2029-01-01T00:00:00Z"
    findings = check_evidence(raw, keyring=desk.keyring, context=desk.evidence_context(WORKLOAD, now=NOON + age))
    assert (findings.statements, codes(findings)) == ((), [("x", kind, code)])


def test_a_compromised_key_attests_nothing_and_a_superseded_one_what_it_signed_before(desk: ApprovalDesk) -> None:
    raw = {"x": attest(desk, "slo")}
    desk.revoke_key("auditor", at=NOON + timedelta(hours=1), how="superseded")
    assert len(check(desk, raw).statements) == 1
    desk.revoke_key("auditor", at=NOON + timedelta(hours=1), how="compromised")
    assert codes(check(desk, raw)) == [("x", "slo", "key_compromised")]


def test_one_statement_counts_once_however_often_it_is_there(desk: ApprovalDesk) -> None:
    once = attest(desk, "slo")
    findings = check(desk, {"a": once, "b": once})
    assert len(findings.statements) == 1
    assert findings.rejected == ()


def test_the_rules_get_the_good_and_the_bad(desk: ApprovalDesk) -> None:
    raw = {"good": attest(desk, "performance"), "bad": attest(desk, "performance", accuracy_permille=1)}
    assert sorted(one.claims["accuracy_permille"] for one in check(desk, raw).statements) == [1, 910]


def test_a_kind_of_ones_own_needs_the_table_that_has_it(desk: ApprovalDesk) -> None:
    kind = b"{predicate_type: 'https://x.org/r', about: model, max_age_days: 9, claims: {held: {type: boolean}}}"
    own = b"evidence: {red_team: " + kind + b"}"
    kinds = merge_policy_data(own, name="operator.yaml").evidence
    desk.add("red", facts=["red_team"])
    predicate = {"held": True, **render_times(NOON, DAY)}
    raw = {"x": desk.attest(WORKLOAD, "https://x.org/r", predicate, about="model", by="red")}
    (statement,) = check(desk, raw, kinds=kinds).statements
    assert plain_claims(statement.claims) == {"held": True}
    assert codes(check(desk, raw)) == [("x", "", "predicate_type")]
    assert len(check(desk, raw, kinds=kinds).statements) == 1


def test_the_cap_leaves_nothing(desk: ApprovalDesk) -> None:
    good = attest(desk, "slo")
    raw = {str(number): good for number in range(MAX_EVIDENCE)}
    assert len(check(desk, raw).statements) == 1
    findings = check(desk, raw | {"one": good})
    assert (findings.statements, codes(findings)) == ((), [("", "", "too_many")])


_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


@settings(max_examples=40)
@given(st.dictionaries(_NAMES, st.sampled_from(["", "x", "e30=", "eyJwYXlsb2FkIjoiIn0="]), max_size=8))
def test_what_others_add_takes_nothing_away(noise: dict[str, str]) -> None:
    desk = ApprovalDesk.standard()
    desk.add("auditor", facts=KINDS)
    good = {"slo": attest(desk, "slo"), "documentation": attest(desk, "documentation")}
    findings = check(desk, noise | good)
    assert findings.statements == check(desk, good).statements
    assert len(findings.rejected) == len(noise.keys() - good.keys())
    assert SHIPPED_KINDS.by_name["documentation"].predicate_type == REFERENCE_TYPE
