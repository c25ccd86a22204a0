package tests.privacy.assessed_test

import data.admission.rules.privacy.assessed
import data.tests.governed

test_passes_with_all_evidence if {
	assessed.passes with input as governed.request with data.placet as governed.placet
	count(assessed.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	assessed.passes with input as governed.without("privacy_assessment") with data.placet as governed.released
	count(assessed.report) == 0 with input as governed.without("privacy_assessment") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		assessed.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not assessed.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not assessed.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("privacy_assessment")
	not assessed.passes with input as request with data.placet as governed.placet
	assessed.report == {{"code": "evidence_missing", "kind": "privacy_assessment", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_without_an_impact_assessment if {
	request := governed.with_claims("privacy_assessment", {"dpia": ""})
	not assessed.passes with input as request with data.placet as governed.placet
	assessed.report == {{"code": "control_missing", "control": "dpia", "classifications": ["confidential"]}} with input as request
		with data.placet as governed.placet
}

test_fails_without_masking if {
	request := governed.with_claims("privacy_assessment", {"classification": "restricted"})
	not assessed.passes with input as request with data.placet as governed.placet
	assessed.report == {{"code": "control_missing", "control": "masking", "classifications": ["restricted"]}} with input as request
		with data.placet as governed.placet
}

test_passes_with_masking if {
	assessed.passes with input as governed.with_claims("privacy_assessment", {"classification": "restricted", "masking": true}) with data.placet as governed.placet
	count(assessed.report) == 0 with input as governed.with_claims("privacy_assessment", {"classification": "restricted", "masking": true}) with data.placet as governed.placet
}

test_passes_when_the_data_are_public if {
	assessed.passes with input as governed.with_claims("privacy_assessment", {"classification": "public", "dpia": ""}) with data.placet as governed.placet
	count(assessed.report) == 0 with input as governed.with_claims("privacy_assessment", {"classification": "public", "dpia": ""}) with data.placet as governed.placet
}

test_fails_when_the_classification_is_unknown if {
	request := governed.with_claims("privacy_assessment", {"classification": "secret"})
	not assessed.passes with input as request with data.placet as governed.placet
	assessed.report == {{"code": "classification_unknown", "classification": "secret"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_a_part_is_missing if {
	every request in [
		governed.without_claim("privacy_assessment", "dpia"),
		governed.without_claim("privacy_assessment", "classification"),
		governed.with_claims("privacy_assessment", {"dpia": 7}),
		governed.with_claims("privacy_assessment", {"classification": "restricted", "masking": "yes"}),
		governed.and_also([governed.second("privacy_assessment", {"classification": "restricted"}, {"attester": "other"})]),
	] {
		not assessed.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_the_table_is_missing if {
	every placet in [
		object.remove(governed.placet, ["classifications"]),
		object.union(governed.placet, {"classifications": {"confidential": {"dpia": "no"}}}),
		object.union(governed.placet, {"classifications": {"confidential": {"masking": 0}}}),
	] {
		not assessed.passes with input as governed.request with data.placet as placet
	}
}

test_fails_when_the_bill_of_materials_asks_for_more if {
	bom := governed.statement("model_bom", "model", [governed.model], {"classification": "restricted"})
	request := governed.and_also([bom])
	not assessed.passes with input as request with data.placet as governed.placet
	assessed.report == {{
		"code": "control_missing",
		"control": "masking",
		"classifications": ["confidential", "restricted"],
	}} with input as request
		with data.placet as governed.placet
}

test_passes_when_the_bill_of_materials_says_nothing_of_the_data_or_asks_for_less if {
	every claims in [{"parameters": 7}, {"classification": "public"}] {
		request := governed.and_also([governed.statement("model_bom", "model", [governed.model], claims)])
		assessed.passes with input as request with data.placet as governed.placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("privacy_assessment", {"dpia": ""}),
		governed.with_claims("privacy_assessment", {"classification": "secret"}),
	] {
		assessed.passes with input as request with data.placet as governed.released
		count(assessed.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("privacy_assessment"), {"evidence_rejected": [{"name": "x", "kind": "privacy_assessment", "code": "expired"}]})
	not assessed.passes with input as request with data.placet as governed.placet
	assessed.report == {{"code": "evidence_missing", "kind": "privacy_assessment", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_fails_when_nothing_is_said_of_the_classification if {
	request := governed.without_claim("privacy_assessment", "classification")
	not assessed.passes with input as request with data.placet as governed.placet
	assessed.report == {{"code": "classification_unknown", "classification": ""}} with input as request
		with data.placet as governed.placet
}
