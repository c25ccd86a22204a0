package tests.quality.documents_test

import data.admission.rules.quality.documents
import data.tests.governed

test_passes_with_all_evidence if {
	documents.passes with input as governed.request with data.placet as governed.placet
	count(documents.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	documents.passes with input as governed.without("documentation") with data.placet as governed.released
	count(documents.report) == 0 with input as governed.without("documentation") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		documents.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not documents.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not documents.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("documentation")
	not documents.passes with input as request with data.placet as governed.placet
	documents.report == {{"code": "evidence_missing", "kind": "documentation", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_documents_are_missing_and_names_them if {
	request := governed.with_claims("documentation", {"documents": ["deployment_guide"]})
	not documents.passes with input as request with data.placet as governed.placet
	documents.report == {{"code": "documents_missing", "documents": ["api_documentation", "model_card"]}} with input as request
		with data.placet as governed.placet
}

test_passes_with_more_documents if {
	documents.passes with input as governed.with_claims("documentation", {"documents": ["api_documentation", "deployment_guide", "model_card", "poem"]}) with data.placet as governed.placet
	count(documents.report) == 0 with input as governed.with_claims("documentation", {"documents": ["api_documentation", "deployment_guide", "model_card", "poem"]}) with data.placet as governed.placet
}

test_fails_when_the_list_is_none if {
	every request in [
		governed.without_claim("documentation", "documents"),
		governed.with_claims("documentation", {"documents": "model_card"}),
		governed.and_also([governed.second("documentation", {"documents": []}, {"attester": "other"})]),
	] {
		not documents.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_nothing_says_what_is_required if {
	every placet in [
		object.remove(governed.placet, ["documents"]),
		object.union(governed.placet, {"documents": {"required": []}}),
	] {
		not documents.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("documentation", {"documents": []}),
	] {
		documents.passes with input as request with data.placet as governed.released
		count(documents.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("documentation"), {"evidence_rejected": [{"name": "x", "kind": "documentation", "code": "expired"}]})
	not documents.passes with input as request with data.placet as governed.placet
	documents.report == {{"code": "evidence_missing", "kind": "documentation", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_documents_are_an_object if {
	claims := {"documents": {"a": "api_documentation", "b": "deployment_guide", "c": "model_card"}}
	request := governed.changed({"evidence": [governed.statement("documentation", "model", [governed.model], claims)]})
	not documents.passes with input as request with data.placet as governed.placet
}

test_fails_when_one_document_alone_is_missing if {
	request := governed.with_claims("documentation", {"documents": ["api_documentation", "deployment_guide"]})
	not documents.passes with input as request with data.placet as governed.placet
	documents.report == {{"code": "documents_missing", "documents": ["model_card"]}} with input as request
		with data.placet as governed.placet
}

test_passes_when_one_document_is_all_that_is_asked_for if {
	placet := object.union(governed.placet, {"documents": {"required": ["model_card"]}})
	documents.passes with input as governed.request with data.placet as placet
}
