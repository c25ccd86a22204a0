from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.approvals.envelope import parse_annotation, render_annotation
from placet.approvals.rejections import RejectionCode
from placet.canonical import Digest
from placet.evidence.kinds import COVERAGE_TYPE, CYCLONEDX_TYPE, PLAN_TYPE, TEST_RESULT_TYPE
from placet.evidence.statement import coverage_predicate, plan_predicate, rollback_predicate
from placet.evidence.verify import EvidenceFindings, VerifiedFacts, check_evidence
from placet.model import Workload
from placet.policy.data import merge_policy_data
from scorer import Coverage, Rollback
from tests.simulators.desk import NOON, ApprovalDesk, sample_workload

WORKLOAD = sample_workload()
DAY = timedelta(days=1)
COVERAGE = coverage_predicate(lines=(85, 100), branches=(40, 60), issued_at=NOON, lifetime=30 * DAY)
PLAN = plan_predicate("blue_green", issued_at=NOON, lifetime=30 * DAY)
DRILL = rollback_predicate(3, finished_at=NOON)
DATASET = {"type": "dataset", "classification": "internal"}


def bom(**card: Any) -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {
            "timestamp": "2026-11-22T12:00:00Z",
            "component": {"type": "machine-learning-model", "name": "llama", "modelCard": card},
        },
    }


PARAMETERS = {"properties": [{"name": "parameterCount", "value": "70600000000"}]}
CLASSIFIED = {"modelParameters": {"datasets": [DATASET]}}


@pytest.fixture
def desk() -> ApprovalDesk:
    return ApprovalDesk.standard()


def check(desk: ApprovalDesk, raw: dict[str, str], here: Workload = WORKLOAD, /, **changes: Any) -> EvidenceFindings:
    return check_evidence(raw, keyring=desk.keyring, context=desk.evidence_context(here, **changes))


def only_rejection(findings: EvidenceFindings) -> str:
    assert findings.facts == VerifiedFacts.none()
    (rejection,) = findings.rejected
    assert rejection.sentence
    return rejection.code


# -- what counts


def test_all_facts_are_read_with_their_sources(desk: ApprovalDesk) -> None:
    raw = desk.evidence(WORKLOAD)
    findings = check(desk, raw)
    assert findings.rejected == ()
    facts = findings.facts
    assert facts.parameters == 70_600_000_000
    assert facts.data_classification == "confidential"
    assert facts.coverage == Coverage(85, 100)
    assert facts.rollback == Rollback(available=True, minutes=3)
    assert facts.strategy == "blue_green"
    assert set(facts.sources) == {"parameters", "data_classification", "coverage", "rollback", "strategy"}
    assert facts.sources["coverage"] == str(Digest.of(parse_annotation(raw["coverage"]).payload))


def test_without_evidence_nothing_is_attested(desk: ApprovalDesk) -> None:
    assert check(desk, {}) == EvidenceFindings(VerifiedFacts.none(), ())


def test_the_annotation_s_name_means_nothing(desk: ApprovalDesk) -> None:
    raw = desk.evidence(WORKLOAD)
    assert check(desk, {"anything": raw["coverage"]}).facts.coverage == Coverage(85, 100)


def test_of_several_statements_the_one_that_scores_worst_counts(desk: ApprovalDesk) -> None:
    def attest(kind: str, predicate: Any, about: str) -> str:
        return desk.attest(WORKLOAD, kind, predicate, about=about)

    better = coverage_predicate(lines=(950, 1000), branches=(0, 0), issued_at=NOON, lifetime=DAY)
    raw = desk.evidence(WORKLOAD) | {
        "z-coverage": attest(COVERAGE_TYPE, better, "image"),
        "z-rollback": attest(TEST_RESULT_TYPE, rollback_predicate(20, finished_at=NOON), "projection"),
        "z-strategy": attest(PLAN_TYPE, plan_predicate("canary", issued_at=NOON, lifetime=DAY), "projection"),
        "z-model": attest(CYCLONEDX_TYPE, bom(**PARAMETERS | CLASSIFIED), "model"),
    }
    for order in (raw, dict(zip(reversed(raw), raw.values(), strict=True))):
        facts = check(desk, order).facts
        assert facts.coverage == Coverage(85, 100)
        assert facts.rollback == Rollback(available=True, minutes=20)
        assert facts.strategy == "canary"
        assert (facts.parameters, facts.data_classification) == (70_600_000_000, "confidential")


# -- 1-8


def test_1_more_than_the_cap_is_not_looked_at(desk: ApprovalDesk) -> None:
    assert only_rejection(check(desk, {str(number): "x" for number in range(33)})) == "too_many"


def test_2_what_is_no_envelope_is_named_and_no_error(desk: ApprovalDesk) -> None:
    (rejection,) = check(desk, {"cov\x1berage": "garbage"}).rejected
    assert (rejection.name, rejection.code) == ("cov?erage", "envelope_malformed")


def test_4_a_stranger_attests_nothing(desk: ApprovalDesk) -> None:
    other = ApprovalDesk.standard()
    other.add("mallory", facts=["coverage"])
    raw = {"coverage": other.attest(WORKLOAD, COVERAGE_TYPE, COVERAGE, about="image", by="mallory")}
    assert only_rejection(check(desk, raw)) == "signer_unknown"


def test_5_every_flipped_byte_of_payload_or_signature_rejects(desk: ApprovalDesk) -> None:
    keyring, context = desk.keyring, desk.evidence_context(WORKLOAD)
    envelope = parse_annotation(desk.evidence(WORKLOAD)["coverage"])
    (signature,) = envelope.signatures
    changed = []
    for at in range(len(envelope.payload)):
        flipped = envelope.payload[:at] + bytes([envelope.payload[at] ^ 1]) + envelope.payload[at + 1 :]
        changed.append(replace(envelope, payload=flipped))
    for at in range(len(signature.sig)):
        flipped = signature.sig[:at] + bytes([signature.sig[at] ^ 1]) + signature.sig[at + 1 :]
        changed.append(replace(envelope, signatures=(replace(signature, sig=flipped),)))
    for one in changed:
        findings = check_evidence({"coverage": render_annotation(one)}, keyring=keyring, context=context)
        assert only_rejection(findings) == "signature_invalid"


def test_7_an_approval_is_no_evidence(desk: ApprovalDesk) -> None:
    assert only_rejection(check(desk, {"coverage": desk.approve(WORKLOAD, role="security")})) == "predicate_type"


def test_7_another_statement_type_is_refused(desk: ApprovalDesk) -> None:
    value = json.loads(parse_annotation(desk.evidence(WORKLOAD)["coverage"]).payload)
    value["_type"] = "https://in-toto.io/Statement/v0.1"
    assert only_rejection(check(desk, {"coverage": desk.seal(json.dumps(value).encode())})) == "statement_type"


def test_8_what_a_compromised_key_attested_does_not_count(desk: ApprovalDesk) -> None:
    raw = desk.evidence(WORKLOAD)
    desk.revoke_key("ci", at=NOON + DAY, how="compromised")
    assert {one.code for one in check(desk, raw).rejected} == {"key_compromised"}


# -- 9: who may attest


@pytest.mark.parametrize(
    "change",
    [
        {"facts": ["rollback"]},
        {"models": ["mistral"]},
        {"environments": ["staging"]},
    ],
)
def test_9_who_may_not_attest_it_does_not(desk: ApprovalDesk, change: dict[str, Any]) -> None:
    desk.identity("ci")["attests"][0].update(change)
    raw = {"coverage": desk.evidence(WORKLOAD)["coverage"]}
    assert only_rejection(check(desk, raw)) == "not_granted"


def test_9_an_approver_does_not_attest_by_being_one(desk: ApprovalDesk) -> None:
    raw = {"coverage": desk.evidence(WORKLOAD, by="bob")["coverage"]}
    assert only_rejection(check(desk, raw)) == "not_granted"


def test_9_each_fact_of_a_statement_needs_its_own_right(desk: ApprovalDesk) -> None:
    desk.identity("ci")["attests"][0]["facts"] = ["parameters"]
    findings = check(desk, {"model": desk.evidence(WORKLOAD)["model"]})
    assert findings.facts.parameters == 70_600_000_000
    assert findings.facts.data_classification is None
    assert [one.code for one in findings.rejected] == ["not_granted"]


def test_9_one_signer_who_may_is_enough(desk: ApprovalDesk) -> None:
    raw = {"coverage": desk.attest(WORKLOAD, COVERAGE_TYPE, COVERAGE, about="image", by=["bob", "ci"])}
    assert check(desk, raw).facts.coverage == Coverage(85, 100)


# -- 11: what it is about


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("coverage", {"images": (replace(WORKLOAD.images[0], digest=Digest.of(b"rebuilt")),)}),
        ("coverage", {"images": (replace(WORKLOAD.images[0], digest=None),)}),
        ("model", {"model": replace(WORKLOAD.model, digest=Digest.of(b"tuned"))}),
        ("model", {"model": replace(WORKLOAD.model, digest=None)}),
        ("rollback", {"projection": Digest.of(b"changed")}),
        ("strategy", {"projection": Digest.of(b"changed")}),
    ],
)
def test_11_evidence_about_something_else_does_not_count(desk: ApprovalDesk, name: str, change: dict[str, Any]) -> None:
    findings = check(desk, {name: desk.evidence(WORKLOAD)[name]}, **change)
    assert findings.facts == VerifiedFacts.none()
    assert {one.code for one in findings.rejected} == {"subject_differs"}


def test_11_a_subject_of_another_kind_does_not_stand_in(desk: ApprovalDesk) -> None:
    raw = {"rollback": desk.attest(WORKLOAD, TEST_RESULT_TYPE, DRILL, about="image")}
    assert only_rejection(check(desk, raw)) == "subject_differs"


def test_11_other_tools_name_subjects_as_they_like(desk: ApprovalDesk) -> None:
    value = json.loads(parse_annotation(desk.evidence(WORKLOAD)["coverage"]).payload)
    (subject,) = value["subject"]
    value["subject"] = [{"digest": subject["digest"] | {"sha512": "00"}, "uri": "pkg:oci/llama"}]
    assert check(desk, {"coverage": desk.seal(json.dumps(value).encode())}).facts.coverage == Coverage(85, 100)


# -- 12: time


def test_12_evidence_holds_until_it_expires(desk: ApprovalDesk) -> None:
    raw = {"coverage": desk.evidence(WORKLOAD)["coverage"]}
    assert check(desk, raw, now=NOON + 30 * DAY - timedelta(seconds=1)).facts.coverage is not None
    assert only_rejection(check(desk, raw, now=NOON + 30 * DAY)) == "expired"
    assert only_rejection(check(desk, raw, now=NOON - timedelta(seconds=1))) == "not_yet_valid"


def test_12_a_drill_of_long_ago_proves_nothing(desk: ApprovalDesk) -> None:
    raw = {"rollback": desk.evidence(WORKLOAD)["rollback"]}
    assert check(desk, raw, now=NOON + 90 * DAY - timedelta(seconds=1)).facts.rollback is not None
    assert only_rejection(check(desk, raw, now=NOON + 90 * DAY)) == "too_old"
    data = merge_policy_data(b"evidence: {rollback_drill: {max_age_days: 7}}\n", name="operator.yaml")
    assert only_rejection(check(desk, raw, now=NOON + 7 * DAY, kinds=data.evidence)) == "too_old"


# -- predicates


def refused(desk: ApprovalDesk, predicate_type: str, predicate: Any, about: str) -> str:
    return only_rejection(check(desk, {"x": desk.attest(WORKLOAD, predicate_type, predicate, about=about)}))


@pytest.mark.parametrize(
    "change",
    [
        {"linesTotal": 0, "linesCovered": 0},
        {"linesCovered": 101},
        {"linesCovered": -1},
        {"linesCovered": True},
        {"linesCovered": "85"},
        {"linesTotal": None},
        {"branchesCovered": 61},
        {"ratio": 1},
        {"issuedAt": "2026-11-22"},
        {"expires": "2026-11-22T12:00:00Z"},
        {"expires": "2027-11-22T12:00:01Z"},
    ],
)
def test_coverage_of_another_form_is_refused(desk: ApprovalDesk, change: dict[str, Any]) -> None:
    assert refused(desk, COVERAGE_TYPE, COVERAGE | change, "image") == "statement_malformed"


@pytest.mark.parametrize("change", [{"strategy": "yolo"}, {"strategy": None}, {"steps": []}])
def test_a_plan_of_another_form_is_refused(desk: ApprovalDesk, change: dict[str, Any]) -> None:
    assert refused(desk, PLAN_TYPE, PLAN | change, "projection") == "statement_malformed"


@pytest.mark.parametrize("name", ["linesTotal", "linesCovered", "branchesTotal", "branchesCovered", "expires"])
def test_a_missing_count_is_not_a_good_one(desk: ApprovalDesk, name: str) -> None:
    predicate = {key: value for key, value in COVERAGE.items() if key != name}
    assert refused(desk, COVERAGE_TYPE, predicate, "image") == "statement_malformed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"result": "FAILED"}, "not_passed"),
        ({"result": "WARNED"}, "not_passed"),
        ({"failedTests": ["rollback"]}, "not_passed"),
        ({"result": "passed"}, "statement_malformed"),
        ({"failedTests": None}, "statement_malformed"),
        ({"configuration": []}, "statement_malformed"),
        ({"configuration": [{"name": "ci", "uri": "https://ci.example"}]}, "statement_malformed"),
        ({"configuration": DRILL["configuration"] * 2}, "statement_malformed"),
        *[
            (
                {"configuration": [DRILL["configuration"][0] | {"annotations": annotations}]},
                "statement_malformed",
            )
            for annotations in (
                {"minutes": 0, "finishedAt": "2026-11-22T12:00:00Z"},
                {"minutes": True, "finishedAt": "2026-11-22T12:00:00Z"},
                {"minutes": "3", "finishedAt": "2026-11-22T12:00:00Z"},
                {"minutes": 3},
                {"finishedAt": "2026-11-22T12:00:00Z"},
                {"minutes": 3, "finishedAt": "2026-11-22T12:00:00Z", "hours": 1},
            )
        ],
    ],
)
def test_a_drill_that_failed_or_is_of_another_form_is_refused(
    desk: ApprovalDesk, change: dict[str, Any], code: str
) -> None:
    assert refused(desk, TEST_RESULT_TYPE, DRILL | change, "projection") == code


def test_a_drill_may_carry_what_in_toto_allows(desk: ApprovalDesk) -> None:
    more = {
        "url": "https://ci.example/1",
        "warnedTests": [],
        "configuration": [{"name": "ci"}, *DRILL["configuration"]],
    }
    raw = {"x": desk.attest(WORKLOAD, TEST_RESULT_TYPE, DRILL | more, about="projection")}
    assert check(desk, raw).facts.rollback == Rollback(available=True, minutes=3)


@pytest.mark.parametrize(
    "predicate",
    [
        bom(),
        bom(properties=[]),
        bom(properties=[{"name": "parameterCount"}]),
        *[
            bom(properties=[{"name": "parameterCount", "value": value}])
            for value in (70, "70B", "-1", "0", "1e9", "7.5", "", " 7", "9" * 17)
        ],
        bom(properties=PARAMETERS["properties"] * 2),
        bom(modelParameters={"datasets": []}),
        bom(modelParameters={"datasets": None}),
        bom(**PARAMETERS, modelParameters={"datasets": [DATASET, {"type": "dataset"}]}),
        bom(modelParameters={"datasets": [{"classification": "Public"}]}),
        bom(modelParameters={"datasets": [{"ref": "nowhere"}]}),
        bom(**PARAMETERS) | {"bomFormat": "SPDX"},
        bom(**PARAMETERS) | {"specVersion": "1.4"},
        bom(**PARAMETERS) | {"metadata": {}},
        bom(**PARAMETERS) | {"metadata": bom(**PARAMETERS)["metadata"] | {"timestamp": "yesterday"}},
        bom(**PARAMETERS) | {"metadata": bom(**PARAMETERS)["metadata"] | {"timestamp": "2026-11-22T12:00:00"}},
        bom(**PARAMETERS) | {"components": [bom(**PARAMETERS)["metadata"]["component"]]},
        {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"timestamp": "2026-11-22T12:00:00Z"}},
        {},
        [],
        None,
    ],
)
def test_an_ml_bom_that_does_not_say_it_plainly_is_refused(desk: ApprovalDesk, predicate: Any) -> None:
    assert refused(desk, CYCLONEDX_TYPE, predicate, "model") == "statement_malformed"


def test_the_most_sensitive_dataset_counts(desk: ApprovalDesk) -> None:
    datasets = [DATASET, {"ref": "medical"}, {"type": "dataset", "classification": "public"}]
    predicate = bom(modelParameters={"datasets": datasets}) | {
        "components": [
            {"type": "library", "name": "torch", "version": "2"},
            {"type": "data", "bom-ref": "medical", "name": "m", "data": [{"classification": "restricted"}]},
        ]
    }
    raw = {"x": desk.attest(WORKLOAD, CYCLONEDX_TYPE, predicate, about="model")}
    facts = check(desk, raw).facts
    assert (facts.data_classification, facts.parameters) == ("restricted", None)


def test_an_ml_bom_of_another_tool_may_hold_more(desk: ApprovalDesk) -> None:
    predicate = bom(**PARAMETERS) | {"components": [{"type": "library", "evidence": {"identity": {"confidence": 0.9}}}]}
    predicate["metadata"]["timestamp"] = "2026-11-22T13:00:00.123+01:00"
    value = json.loads(parse_annotation(desk.evidence(WORKLOAD)["model"]).payload) | {"predicate": predicate}
    raw = {"x": desk.seal(json.dumps(value).encode())}
    assert check(desk, raw, now=NOON + DAY).facts.parameters == 70_600_000_000


# -- nothing escapes


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def _objects(value: Any) -> list[dict[str, Any]]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict) else []
    return own + [found for child in children for found in _objects(child)]


@settings(deadline=None)
@given(st.data())
def test_no_signed_statement_makes_it_raise(data: st.DataObject) -> None:
    desk = ApprovalDesk.standard()
    name = data.draw(st.sampled_from(["coverage", "model", "rollback", "strategy"]))
    value = json.loads(parse_annotation(desk.evidence(WORKLOAD)[name]).payload)
    target = data.draw(st.sampled_from(_objects(value)))
    key = data.draw(st.sampled_from(sorted(target)) | st.text(max_size=8)) if target else "x"
    target[key] = data.draw(_JSON)
    findings = check(desk, {name: desk.seal(json.dumps(value).encode())})
    assert {one.code for one in findings.rejected} <= set(RejectionCode)


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.text(max_size=100) | st.binary(max_size=100).map(lambda raw: base64.b64encode(raw).decode()),
    )
)
def test_no_text_makes_it_raise(raw: dict[str, str]) -> None:
    assert check(ApprovalDesk.standard(), raw).facts == VerifiedFacts.none()
