package tests.quality.performance_test

import data.admission.rules.quality.performance
import data.tests.governed

test_passes_with_all_evidence if {
	performance.passes with input as governed.request with data.placet as governed.placet
	count(performance.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	performance.passes with input as governed.without("performance") with data.placet as governed.released
	count(performance.report) == 0 with input as governed.without("performance") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		performance.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not performance.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not performance.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("performance")
	not performance.passes with input as request with data.placet as governed.placet
	performance.report == {{"code": "evidence_missing", "kind": "performance", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_slow if {
	request := governed.with_claims("performance", {"latency_p95_ms": 2001})
	not performance.passes with input as request with data.placet as governed.placet
	performance.report == {
		{"code": "latency_high", "found": 2001, "limit": 2000},
		{"code": "latency_above_objective", "found": 2001, "objective": 2000},
	} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_inaccurate if {
	request := governed.with_claims("performance", {"accuracy_permille": 799})
	not performance.passes with input as request with data.placet as governed.placet
	performance.report == {{"code": "accuracy_low", "found": 799, "limit": 800}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_slower_than_what_is_promised if {
	request := governed.with_claims("slo", {"latency_p95_ms": 1000})
	not performance.passes with input as request with data.placet as governed.placet
	performance.report == {{"code": "latency_above_objective", "found": 1400, "objective": 1000}} with input as request
		with data.placet as governed.placet
}

test_passes_at_the_limits if {
	performance.passes with input as governed.with_claims("performance", {"latency_p95_ms": 2000, "accuracy_permille": 800}) with data.placet as governed.placet
	count(performance.report) == 0 with input as governed.with_claims("performance", {"latency_p95_ms": 2000, "accuracy_permille": 800}) with data.placet as governed.placet
}

test_passes_without_objectives if {
	performance.passes with input as governed.without("slo") with data.placet as governed.placet
	count(performance.report) == 0 with input as governed.without("slo") with data.placet as governed.placet
}

test_passes_by_the_limits_of_its_model if {
	performance.passes with input as governed.with_claims("performance", {"accuracy_permille": 700}) with data.placet as object.union(governed.placet, {"limits": {"models": {"llama-3.1-70b": {"accuracy_permille": 700}}}})
	count(performance.report) == 0 with input as governed.with_claims("performance", {"accuracy_permille": 700}) with data.placet as object.union(governed.placet, {"limits": {"models": {"llama-3.1-70b": {"accuracy_permille": 700}}}})
}

test_fails_when_a_number_is_none if {
	every request in [
		governed.without_claim("performance", "latency_p95_ms"),
		governed.without_claim("performance", "accuracy_permille"),
		governed.with_claims("performance", {"latency_p95_ms": "fast"}),
		governed.with_claims("performance", {"latency_p95_ms": 0}),
		governed.with_claims("performance", {"accuracy_permille": 1001}),
		governed.with_claims("slo", {"latency_p95_ms": "slow"}),
		governed.and_also([governed.second("performance", {"latency_p95_ms": 2001}, {"attester": "other"})]),
	] {
		not performance.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_a_limit_is_missing if {
	every placet in [
		governed.unlimited("latency_p95_ms"),
		governed.unlimited("accuracy_permille"),
	] {
		not performance.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("performance", {"latency_p95_ms": 2001}),
		governed.with_claims("performance", {"accuracy_permille": 799}),
	] {
		performance.passes with input as request with data.placet as governed.released
		count(performance.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("performance"), {"evidence_rejected": [{"name": "x", "kind": "performance", "code": "expired"}]})
	not performance.passes with input as request with data.placet as governed.placet
	performance.report == {{"code": "evidence_missing", "kind": "performance", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_passes_with_the_least_latency_and_the_best_accuracy if {
	request := governed.with_claims("performance", {"latency_p95_ms": 1, "accuracy_permille": 1000})
	performance.passes with input as request with data.placet as governed.placet
	count(performance.report) == 0 with input as request with data.placet as governed.placet
}

test_fails_when_no_numbers_are_said if {
	request := governed.changed({"evidence": [governed.statement("performance", "model", [governed.model], {})]})
	not performance.passes with input as request with data.placet as governed.placet
	performance.report == {{"code": "latency_high", "found": "", "limit": 2000}} with input as request
		with data.placet as governed.placet
}

test_fails_when_an_objective_has_no_number if {
	request := governed.without_claim("slo", "latency_p95_ms")
	not performance.passes with input as request with data.placet as governed.placet
	performance.report == {{"code": "latency_above_objective", "found": 1400, "objective": 0}} with input as request
		with data.placet as governed.placet
}

test_fails_when_numbers_are_texts if {
	every request in [
		governed.with_claims("performance", {"accuracy_permille": "870"}),
		governed.with_claims("performance", {"accuracy_permille": true}),
	] {
		not performance.passes with input as request with data.placet as governed.placet
	}
}

test_names_no_objective_where_the_latency_is_not_said if {
	unsaid := governed.changed({"evidence": [
		governed.statement("performance", "model", [governed.model], {"accuracy_permille": 870}),
		governed.statement("slo", "projection", [governed.projection], {"latency_p95_ms": 0}),
	]})
	performance.report == {{"code": "latency_high", "found": "", "limit": 2000}} with input as unsaid
		with data.placet as governed.placet
}

test_names_an_objective_that_says_nothing_as_none if {
	said := governed.changed({"evidence": [
		governed.statement("performance", "model", [governed.model], {"latency_p95_ms": 1, "accuracy_permille": 870}),
		governed.statement("slo", "projection", [governed.projection], {}),
	]})
	performance.report == {{"code": "latency_above_objective", "found": 1, "objective": 0}} with input as said
		with data.placet as governed.placet
}
