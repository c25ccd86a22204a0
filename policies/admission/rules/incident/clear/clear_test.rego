package tests.incident.clear_test

import data.admission.rules.incident.clear
import data.tests.governed

test_passes_with_all_evidence if {
	clear.passes with input as governed.request with data.placet as governed.placet
	count(clear.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	clear.passes with input as governed.without("operations_status") with data.placet as governed.released
	count(clear.report) == 0 with input as governed.without("operations_status") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		clear.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not clear.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not clear.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("operations_status")
	not clear.passes with input as request with data.placet as governed.placet
	clear.report == {{"code": "evidence_missing", "kind": "operations_status", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_an_incident_is_open if {
	request := governed.with_claims("operations_status", {"open_incidents": 1})
	not clear.passes with input as request with data.placet as governed.placet
	clear.report == {{"code": "incidents_open", "found": 1}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_error_budget_is_burnt if {
	request := governed.with_claims("operations_status", {"error_budget_left_permille": 0})
	not clear.passes with input as request with data.placet as governed.placet
	clear.report == {{"code": "error_budget_burnt", "left": 0}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_word_is_old if {
	request := governed.with_fields("operations_status", {"issued_s": governed.now - 3601})
	not clear.passes with input as request with data.placet as governed.placet
	clear.report == {{"code": "status_old", "minutes": 60}} with input as request
		with data.placet as governed.placet
}

test_passes_on_its_last_second if {
	clear.passes with input as governed.with_fields("operations_status", {"issued_s": governed.now - 3600}) with data.placet as governed.placet
	count(clear.report) == 0 with input as governed.with_fields("operations_status", {"issued_s": governed.now - 3600}) with data.placet as governed.placet
}

test_passes_when_the_same_attester_says_later_that_it_is_over if {
	clear.passes with input as governed.and_also([governed.second("operations_status", {"open_incidents": 1}, {"issued_s": governed.now - 900})]) with data.placet as governed.placet
	count(clear.report) == 0 with input as governed.and_also([governed.second("operations_status", {"open_incidents": 1}, {"issued_s": governed.now - 900})]) with data.placet as governed.placet
}

test_fails_when_it_is_not_known if {
	every request in [
		governed.without_claim("operations_status", "open_incidents"),
		governed.without_claim("operations_status", "error_budget_left_permille"),
		governed.with_claims("operations_status", {"open_incidents": -1}),
		governed.with_claims("operations_status", {"open_incidents": "none"}),
		governed.with_claims("operations_status", {"error_budget_left_permille": "some"}),
		governed.and_also([governed.second("operations_status", {"open_incidents": 1}, {"attester": "other"})]),
	] {
		not clear.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_a_limit_is_missing if {
	every placet in [
		governed.unlimited("open_incidents"),
		governed.unlimited("error_budget_left_permille"),
		governed.unlimited("operations_status_minutes"),
	] {
		not clear.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("operations_status", {"open_incidents": 1}),
		governed.with_claims("operations_status", {"error_budget_left_permille": -5}),
		governed.with_fields("operations_status", {"issued_s": governed.now - 999999}),
	] {
		clear.passes with input as request with data.placet as governed.released
		count(clear.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("operations_status"), {"evidence_rejected": [{"name": "x", "kind": "operations_status", "code": "expired"}]})
	not clear.passes with input as request with data.placet as governed.placet
	clear.report == {{"code": "evidence_missing", "kind": "operations_status", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_passes_when_the_budget_is_just_enough if {
	request := governed.with_claims("operations_status", {"error_budget_left_permille": 0})
	clear.passes with input as request with data.placet as governed.limited({"error_budget_left_permille": 0})
	count(clear.report) == 0 with input as request with data.placet as governed.limited({"error_budget_left_permille": 0})
}

test_fails_when_nothing_is_said_of_incidents if {
	request := governed.without_claim("operations_status", "open_incidents")
	not clear.passes with input as request with data.placet as governed.placet
	clear.report == {{"code": "incidents_open", "found": ""}} with input as request
		with data.placet as governed.placet
}

test_fails_when_nothing_is_said_of_the_budget if {
	request := governed.without_claim("operations_status", "error_budget_left_permille")
	not clear.passes with input as request with data.placet as governed.placet
	clear.report == {{"code": "error_budget_burnt", "left": ""}} with input as request
		with data.placet as governed.placet
}
