package tests.checks.compliance_assessment_test

import data.admission.rules.checks.compliance_assessment
import data.tests.governed

test_passes_with_all_evidence if {
	compliance_assessment.passes with input as governed.request with data.placet as governed.placet
	count(compliance_assessment.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	compliance_assessment.passes with input as governed.without("compliance_assessment") with data.placet as governed.released
	count(compliance_assessment.report) == 0 with input as governed.without("compliance_assessment") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		compliance_assessment.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not compliance_assessment.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not compliance_assessment.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("compliance_assessment")
	not compliance_assessment.passes with input as request with data.placet as governed.placet
	compliance_assessment.report == {{"code": "evidence_missing", "kind": "compliance_assessment", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_assessment_failed if {
	request := governed.with_claims("compliance_assessment", {"result": "failed"})
	not compliance_assessment.passes with input as request with data.placet as governed.placet
	compliance_assessment.report == {{"code": "assessment_failed", "framework": "EU AI Act", "attester": "ci"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_one_of_two_failed if {
	every request in [
		governed.and_also([governed.second("compliance_assessment", {"result": "failed"}, {"attester": "other"})]),
		governed.and_also([governed.second("compliance_assessment", {"result": "failed", "framework": "ISO/IEC 42001"}, {"issued_s": governed.now - 60})]),
	] {
		not compliance_assessment.passes with input as request with data.placet as governed.placet
	}
}

test_passes_when_a_later_one_to_the_same_framework_replaces_it if {
	compliance_assessment.passes with input as object.union(governed.with_claims("compliance_assessment", {"result": "failed"}), {"evidence": array.concat(governed.with_claims("compliance_assessment", {"result": "failed"}).evidence, [governed.second("compliance_assessment", {}, {"issued_s": governed.now - 60})])}) with data.placet as governed.placet
	count(compliance_assessment.report) == 0 with input as object.union(governed.with_claims("compliance_assessment", {"result": "failed"}), {"evidence": array.concat(governed.with_claims("compliance_assessment", {"result": "failed"}).evidence, [governed.second("compliance_assessment", {}, {"issued_s": governed.now - 60})])}) with data.placet as governed.placet
}

test_fails_without_a_result if {
	every request in [
		governed.without_claim("compliance_assessment", "result"),
		governed.with_claims("compliance_assessment", {"result": true}),
		governed.with_fields("compliance_assessment", {"subjects": [governed.digest("0")]}),
	] {
		not compliance_assessment.passes with input as request with data.placet as governed.placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("compliance_assessment", {"result": "failed"}),
	] {
		compliance_assessment.passes with input as request with data.placet as governed.released
		count(compliance_assessment.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_when_an_assessment_without_a_framework_failed if {
	request := governed.changed({"evidence": [governed.statement("compliance_assessment", "model", [governed.model], {"result": "failed"})]})
	not compliance_assessment.passes with input as request with data.placet as governed.placet
	compliance_assessment.report == {{"code": "assessment_failed", "framework": "", "attester": "ci"}} with input as request
		with data.placet as governed.placet
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("compliance_assessment"), {"evidence_rejected": [{"name": "x", "kind": "compliance_assessment", "code": "expired"}]})
	not compliance_assessment.passes with input as request with data.placet as governed.placet
	compliance_assessment.report == {{"code": "evidence_missing", "kind": "compliance_assessment", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}
