package tests.incident.plan_test

import data.admission.rules.incident.plan
import data.tests.governed

test_passes_with_all_evidence if {
	plan.passes with input as governed.request with data.placet as governed.placet
	count(plan.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	plan.passes with input as governed.without("incident_plan") with data.placet as governed.released
	count(plan.report) == 0 with input as governed.without("incident_plan") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		plan.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not plan.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not plan.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("incident_plan")
	not plan.passes with input as request with data.placet as governed.placet
	plan.report == {{"code": "evidence_missing", "kind": "incident_plan", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_plan_is_old if {
	request := governed.with_fields("incident_plan", {"issued_s": governed.now - 15552001})
	not plan.passes with input as request with data.placet as governed.placet
	plan.report == {{"code": "plan_old", "days": 180}} with input as request
		with data.placet as governed.placet
}

test_fails_when_nobody_is_on_call if {
	request := governed.with_claims("incident_plan", {"on_call": " "})
	not plan.passes with input as request with data.placet as governed.placet
	plan.report == {{"code": "plan_unnamed", "attester": "ci"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_a_part_is_missing if {
	every request in [
		governed.without_claim("incident_plan", "on_call"),
		governed.without_claim("incident_plan", "plan"),
		governed.with_claims("incident_plan", {"plan": "yes"}),
		governed.with_claims("incident_plan", {"on_call": 7}),
		governed.with_claims("incident_plan", {"plan": 7}),
	] {
		not plan.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_the_limit_is_missing if {
	every placet in [
		governed.unlimited("incident_plan_days"),
	] {
		not plan.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("incident_plan", {"on_call": " "}),
		governed.with_fields("incident_plan", {"issued_s": governed.now - 15552001}),
	] {
		plan.passes with input as request with data.placet as governed.released
		count(plan.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("incident_plan"), {"evidence_rejected": [{"name": "x", "kind": "incident_plan", "code": "expired"}]})
	not plan.passes with input as request with data.placet as governed.placet
	plan.report == {{"code": "evidence_missing", "kind": "incident_plan", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}
