package tests.monitoring.configured_test

import data.admission.rules.monitoring.configured
import data.tests.governed

test_passes_with_all_evidence if {
	configured.passes with input as governed.request with data.placet as governed.placet
	count(configured.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	configured.passes with input as governed.without("monitoring") with data.placet as governed.released
	count(configured.report) == 0 with input as governed.without("monitoring") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		configured.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not configured.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not configured.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("monitoring")
	not configured.passes with input as request with data.placet as governed.placet
	configured.report == {{"code": "evidence_missing", "kind": "monitoring", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_without_monitors if {
	request := governed.with_claims("monitoring", {"monitors": []})
	not configured.passes with input as request with data.placet as governed.placet
	configured.report == {{"code": "monitors_few", "limit": 1}} with input as request
		with data.placet as governed.placet
}

test_fails_without_alert_rules if {
	request := governed.with_claims("monitoring", {"alert_rules": 0})
	not configured.passes with input as request with data.placet as governed.placet
	configured.report == {{"code": "alert_rules_few", "limit": 1}} with input as request
		with data.placet as governed.placet
}

test_fails_when_they_are_none if {
	every request in [
		governed.without_claim("monitoring", "monitors"),
		governed.without_claim("monitoring", "alert_rules"),
		governed.with_claims("monitoring", {"monitors": [""]}),
		governed.with_claims("monitoring", {"monitors": "all"}),
		governed.with_claims("monitoring", {"alert_rules": "many"}),
	] {
		not configured.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_a_limit_is_missing if {
	every placet in [
		governed.unlimited("monitors"),
		governed.unlimited("alert_rules"),
	] {
		not configured.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("monitoring", {"monitors": []}),
		governed.with_claims("monitoring", {"alert_rules": 0}),
	] {
		configured.passes with input as request with data.placet as governed.released
		count(configured.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("monitoring"), {"evidence_rejected": [{"name": "x", "kind": "monitoring", "code": "expired"}]})
	not configured.passes with input as request with data.placet as governed.placet
	configured.report == {{"code": "evidence_missing", "kind": "monitoring", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_passes_with_as_many_alert_rules_as_are_asked_for if {
	request := governed.with_claims("monitoring", {"alert_rules": 1})
	configured.passes with input as request with data.placet as governed.placet
	count(configured.report) == 0 with input as request with data.placet as governed.placet
}

test_fails_when_a_monitor_is_no_name if {
	request := governed.with_claims("monitoring", {"monitors": ["llama", 7]})
	not configured.passes with input as request with data.placet as governed.placet
	configured.report == {{"code": "monitors_few", "limit": 1}} with input as request
		with data.placet as governed.placet
}
