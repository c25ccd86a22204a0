package tests.checks.documentation_review_test

import data.admission.rules.checks.documentation_review
import data.tests.governed

test_passes_with_all_evidence if {
	documentation_review.passes with input as governed.request with data.placet as governed.placet
	count(documentation_review.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	documentation_review.passes with input as governed.without("documentation") with data.placet as governed.released
	count(documentation_review.report) == 0 with input as governed.without("documentation") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		documentation_review.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not documentation_review.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not documentation_review.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("documentation")
	not documentation_review.passes with input as request with data.placet as governed.placet
	documentation_review.report == {{"code": "evidence_missing", "kind": "documentation", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_about_another_model if {
	every request in [
		governed.with_fields("documentation", {"subjects": [governed.digest("0")]}),
		governed.with_fields("documentation", {"about": "image"}),
		governed.changed({"model": {"digest": ""}}),
	] {
		not documentation_review.passes with input as request with data.placet as governed.placet
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("documentation"), {"evidence_rejected": [{"name": "x", "kind": "documentation", "code": "expired"}]})
	not documentation_review.passes with input as request with data.placet as governed.placet
	documentation_review.report == {{"code": "evidence_missing", "kind": "documentation", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}
