package tests.rollback.authority_test

import data.admission.rules.rollback.authority
import data.tests.governed

test_passes_with_all_evidence if {
	authority.passes with input as governed.request with data.placet as governed.placet
	count(authority.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	authority.passes with input as governed.without("rollback_drill") with data.placet as governed.released
	count(authority.report) == 0 with input as governed.without("rollback_drill") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		authority.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not authority.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not authority.passes with input as governed.request with data.placet as placet
	}
}

test_fails_when_somebody_else_rolls_back if {
	request := object.union(governed.with_change("UPDATE", "rollback"), {"requester": "mallory", "requester_groups": ["system:authenticated"]})
	not authority.passes with input as request with data.placet as governed.placet
	authority.report == {{"code": "rollback_not_authorised", "requester": "mallory"}} with input as request
		with data.placet as governed.placet
}

test_passes_when_a_user_who_may_rolls_back if {
	authority.passes with input as object.union(governed.with_change("UPDATE", "rollback"), {"requester": "argocd", "requester_groups": []}) with data.placet as object.union(governed.placet, {"rollback": {"users": ["argocd"]}})
	count(authority.report) == 0 with input as object.union(governed.with_change("UPDATE", "rollback"), {"requester": "argocd", "requester_groups": []}) with data.placet as object.union(governed.placet, {"rollback": {"users": ["argocd"]}})
}

test_fails_when_the_record_does_not_show_what_it_goes_back_to if {
	every request in [
		object.union(governed.with_change("UPDATE", "rollback"), {"precedent": {"decision_id": ""}}),
		governed.with_change("CREATE", "rollback"),
		object.union(governed.with_change("UPDATE", "rollback"), {"requester_groups": "sre-on-call"}),
		object.union(governed.with_change("UPDATE", "rollback"), {"requester_groups": [7], "requester": 7}),
	] {
		not authority.passes with input as request with data.placet as governed.placet
	}
}

test_fails_without_a_drill if {
	request := governed.without("rollback_drill")
	not authority.passes with input as request with data.placet as governed.placet
	authority.report == {{"code": "drill_missing", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_drill_is_old if {
	request := governed.with_fields("rollback_drill", {"issued_s": governed.now - 7776001})
	not authority.passes with input as request with data.placet as governed.placet
	authority.report == {{"code": "drill_missing", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_passes_on_the_last_second_of_a_drill if {
	authority.passes with input as governed.with_fields("rollback_drill", {"issued_s": governed.now - 7776000}) with data.placet as governed.placet
	count(authority.report) == 0 with input as governed.with_fields("rollback_drill", {"issued_s": governed.now - 7776000}) with data.placet as governed.placet
}

test_fails_when_the_drill_was_slow if {
	request := governed.with_claims("rollback_drill", {"minutes": 16})
	not authority.passes with input as request with data.placet as governed.placet
	authority.report == {{"code": "drill_slow", "found": 16, "limit": 15}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_minutes_are_none if {
	every request in [
		governed.without_claim("rollback_drill", "minutes"),
		governed.with_claims("rollback_drill", {"minutes": 0}),
		governed.with_claims("rollback_drill", {"minutes": "3"}),
		governed.with_fields("rollback_drill", {"subjects": [governed.digest("0")]}),
	] {
		not authority.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_a_limit_is_missing if {
	every placet in [
		governed.unlimited("rollback_minutes"),
		governed.unlimited("drill_days"),
	] {
		not authority.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("rollback_drill", {"minutes": 16}),
		object.union(governed.with_change("UPDATE", "rollback"), {"requester": "mallory", "requester_groups": []}),
	] {
		authority.passes with input as request with data.placet as governed.released
		count(authority.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("rollback_drill"), {"evidence_rejected": [{"name": "x", "kind": "rollback_drill", "code": "expired"}]})
	not authority.passes with input as request with data.placet as governed.placet
	authority.report == {{"code": "drill_missing", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_minutes_are_not_said if {
	request := governed.without_claim("rollback_drill", "minutes")
	not authority.passes with input as request with data.placet as governed.placet
	authority.report == {{"code": "drill_slow", "found": "", "limit": 15}} with input as request
		with data.placet as governed.placet
}

test_passes_at_both_ends_of_the_range if {
	every minutes in [1, 15] {
		authority.passes with input as governed.with_claims("rollback_drill", {"minutes": minutes}) with data.placet as governed.placet
	}
}

test_passes_and_fails_by_what_the_change_is_and_not_by_who_asks if {
	stranger := {"requester": "mallory", "requester_groups": []}
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["CREATE", "child"]] {
		request := object.union(governed.with_change(case[0], case[1]), stranger)
		authority.passes with input as request with data.placet as governed.placet
		count(authority.report) == 0 with input as request with data.placet as governed.placet
	}
}

test_fails_when_what_is_scaled_is_not_on_record if {
	every kind in ["scaled", "child"] {
		request := object.union(governed.with_change("UPDATE", kind), {"precedent": {"decision_id": ""}})
		not authority.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_the_list_is_malformed_though_who_rolls_back_may if {
	placet := object.union(governed.placet, {"environments": {"production": {"requires": "all"}}})
	not authority.passes with input as governed.with_change("UPDATE", "rollback") with data.placet as placet
}

test_fails_when_the_one_who_asks_has_no_name if {
	request := object.union(governed.with_change("UPDATE", "rollback"), {"requester": 7, "requester_groups": []})
	not authority.passes with input as request with data.placet as object.union(governed.placet, {"rollback": {"users": [7]}})
	group := object.union(governed.with_change("UPDATE", "rollback"), {"requester": "mallory", "requester_groups": [7]})
	not authority.passes with input as group with data.placet as object.union(governed.placet, {"rollback": {"groups": [7]}})
}

test_passes_and_names_no_slow_drill_where_nothing_is_judged_anew if {
	request := object.union(governed.with_change("UPDATE", "scaled"), {"evidence": governed.with_claims("rollback_drill", {"minutes": 16}).evidence})
	authority.passes with input as request with data.placet as governed.placet
	count(authority.report) == 0 with input as request with data.placet as governed.placet
}
