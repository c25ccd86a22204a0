package tests.slo.declared_test

import data.admission.rules.slo.declared
import data.tests.governed

test_passes_with_all_evidence if {
	declared.passes with input as governed.request with data.placet as governed.placet
	count(declared.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	declared.passes with input as governed.without("slo") with data.placet as governed.released
	count(declared.report) == 0 with input as governed.without("slo") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		declared.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not declared.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not declared.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("slo")
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "evidence_missing", "kind": "slo", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_an_objective_is_weak if {
	request := governed.with_claims("slo", {"availability_ppm": 900000})
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "objective_weak", "objective": "availability_ppm", "found": 900000, "limit": 990000}} with input as request
		with data.placet as governed.placet
}

test_fails_when_an_objective_is_none if {
	every request in [
		governed.without_claim("slo", "latency_p95_ms"),
		governed.without_claim("slo", "availability_ppm"),
		governed.without_claim("slo", "error_rate_ppm"),
		governed.with_claims("slo", {"latency_p95_ms": 0}),
		governed.with_claims("slo", {"latency_p95_ms": 2001}),
		governed.with_claims("slo", {"availability_ppm": 1000001}),
		governed.with_claims("slo", {"error_rate_ppm": 10001}),
		governed.with_claims("slo", {"error_rate_ppm": -1}),
		governed.with_claims("slo", {"error_rate_ppm": "few"}),
		governed.with_claims("slo", {"availability_ppm": "high"}),
		governed.with_claims("slo", {"latency_p95_ms": "low"}),
		governed.with_fields("slo", {"subjects": [governed.digest("0")]}),
	] {
		not declared.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_a_limit_is_missing if {
	every placet in [
		governed.unlimited("latency_p95_ms"),
		governed.unlimited("availability_ppm"),
		governed.unlimited("error_rate_ppm"),
	] {
		not declared.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("slo", {"availability_ppm": 900000}),
	] {
		declared.passes with input as request with data.placet as governed.released
		count(declared.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("slo"), {"evidence_rejected": [{"name": "x", "kind": "slo", "code": "expired"}]})
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "evidence_missing", "kind": "slo", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_fails_when_one_is_not_said if {
	request := governed.without_claim("slo", "error_rate_ppm")
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "objective_weak", "objective": "error_rate_ppm", "found": "", "limit": 10000}} with input as request
		with data.placet as governed.placet
}

test_passes_at_the_limits if {
	every claims in [
		{"latency_p95_ms": 1, "availability_ppm": 990000, "error_rate_ppm": 0},
		{"latency_p95_ms": 2000, "availability_ppm": 1000000, "error_rate_ppm": 10000},
	] {
		declared.passes with input as governed.with_claims("slo", claims) with data.placet as governed.placet
	}
}
