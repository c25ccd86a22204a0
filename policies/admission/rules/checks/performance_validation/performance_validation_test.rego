package tests.checks.performance_validation_test

import data.admission.rules.checks.performance_validation
import data.tests.governed

test_passes_with_all_evidence if {
	performance_validation.passes with input as governed.request with data.placet as governed.placet
	count(performance_validation.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	performance_validation.passes with input as governed.without("performance") with data.placet as governed.released
	count(performance_validation.report) == 0 with input as governed.without("performance") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		performance_validation.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not performance_validation.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not performance_validation.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("performance")
	not performance_validation.passes with input as request with data.placet as governed.placet
	performance_validation.report == {{"code": "evidence_missing", "kind": "performance", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_about_another_model if {
	every request in [
		governed.with_fields("performance", {"subjects": [governed.digest("0")]}),
		governed.with_fields("performance", {"about": "image"}),
		governed.changed({"model": {"digest": ""}}),
	] {
		not performance_validation.passes with input as request with data.placet as governed.placet
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("performance"), {"evidence_rejected": [{"name": "x", "kind": "performance", "code": "expired"}]})
	not performance_validation.passes with input as request with data.placet as governed.placet
	performance_validation.report == {{"code": "evidence_missing", "kind": "performance", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}
