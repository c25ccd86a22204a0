package tests.promotion.staged_test

import data.admission.rules.promotion.staged
import data.tests.governed

test_passes_with_all_evidence if {
	staged.passes with input as governed.request with data.placet as governed.placet
	count(staged.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	staged.passes with input as governed.changed({"history": {"known": true, "admitted": []}}) with data.placet as governed.released
	count(staged.report) == 0 with input as governed.changed({"history": {"known": true, "admitted": []}}) with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		staged.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not staged.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not staged.passes with input as governed.request with data.placet as placet
	}
}

test_passes_at_the_end_of_the_soak_time if {
	staged.passes with input as governed.changed({"history": {"known": true, "admitted": [{"environment": "staging", "since_s": governed.now - 86400, "decision_id": "staged"}]}}) with data.placet as governed.placet
	count(staged.report) == 0 with input as governed.changed({"history": {"known": true, "admitted": [{"environment": "staging", "since_s": governed.now - 86400, "decision_id": "staged"}]}}) with data.placet as governed.placet
}

test_fails_before_the_end_of_the_soak_time if {
	request := governed.changed({"history": {"known": true, "admitted": [{"environment": "staging", "since_s": governed.now - 86399, "decision_id": "staged"}]}})
	not staged.passes with input as request with data.placet as governed.placet
	staged.report == {{"code": "soaking", "before": "staging", "since_s": governed.now - 86399, "hours": 24}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_was_admitted_elsewhere if {
	request := governed.changed({"history": {"known": true, "admitted": [{"environment": "development", "since_s": governed.now - 172800, "decision_id": "staged"}]}})
	not staged.passes with input as request with data.placet as governed.placet
	staged.report == {{"code": "not_staged", "before": "staging"}} with input as request
		with data.placet as governed.placet
}

test_fails_without_a_record if {
	request := governed.changed({"history": {"known": false}})
	not staged.passes with input as request with data.placet as governed.placet
	staged.report == {{"code": "history_unknown"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_record_says_nothing_usable if {
	every request in [
		governed.changed({"history": {"known": true, "admitted": [{"environment": "staging", "since_s": governed.now - 172800, "decision_id": ""}]}}),
		governed.changed({"history": {"admitted": []}}),
		governed.changed({"history": {"admitted": {}}}),
		governed.changed({"history": {"admitted": [{"environment": "staging", "since_s": "then", "decision_id": "x"}]}}),
		governed.changed({"time_s": "now"}),
	] {
		not staged.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_nothing_says_where_it_comes_from if {
	request := governed.request
	not staged.passes with input as request with data.placet as object.union(governed.placet, {"environments": {"production": {"promotes_from": "moon"}}})
	staged.report == {{"code": "not_staged", "before": "moon"}} with input as request
		with data.placet as object.union(governed.placet, {"environments": {"production": {"promotes_from": "moon"}}})
}

test_fails_when_an_environment_comes_from_itself if {
	request := governed.changed({"history": {"admitted": [{"environment": "production", "since_s": 1, "decision_id": "x"}]}})
	not staged.passes with input as request with data.placet as object.union(governed.placet, {"environments": {"production": {"promotes_from": "production"}}})
	staged.report == {{"code": "promotion_unset"}, {"code": "not_staged", "before": "moon"}} - {{"code": "not_staged", "before": "moon"}} with input as request
		with data.placet as object.union(governed.placet, {"environments": {"production": {"promotes_from": "production"}}})
}

test_fails_when_the_limit_is_missing if {
	every placet in [
		governed.unlimited("soak_hours"),
	] {
		not staged.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.changed({"history": {"known": false}}),
		governed.changed({"history": {"known": true, "admitted": [{"environment": "staging", "since_s": governed.now - 86399, "decision_id": "staged"}]}}),
	] {
		staged.passes with input as request with data.placet as governed.released
		count(staged.report) == 0 with input as request with data.placet as governed.released
	}
}

test_passes_and_says_nothing_of_a_place_to_come_from_where_it_is_not_required if {
	placet := object.union(governed.released, {"environments": {"production": {"promotes_from": "production"}}})
	staged.passes with input as governed.request with data.placet as placet
	count(staged.report) == 0 with input as governed.request with data.placet as placet
}

test_fails_when_what_the_record_shows_is_no_admission if {
	every entry in [
		{"environment": "staging", "since_s": "then", "decision_id": "x"},
		{"environment": "staging", "since_s": 1, "decision_id": 7},
	] {
		request := governed.changed({"history": {"known": true, "admitted": [entry]}})
		not staged.passes with input as request with data.placet as governed.placet
		staged.report == {{"code": "not_staged", "before": "staging"}} with input as request
			with data.placet as governed.placet
	}
}

test_fails_when_the_record_is_no_list_or_says_not_whether_it_is_known if {
	shown := {"a": {"environment": "staging", "since_s": governed.now - 172800, "decision_id": "staged"}}
	request := object.union(object.remove(governed.request, ["history"]), {"history": {"known": true, "admitted": shown}})
	not staged.passes with input as request with data.placet as governed.placet
	unknown := governed.changed({"history": {"known": "no", "admitted": []}})
	not staged.passes with input as unknown with data.placet as governed.placet
	count(staged.report) == 0 with input as unknown with data.placet as governed.placet
}

test_fails_when_where_it_comes_from_has_no_name if {
	placet := object.union(governed.placet, {"environments": {"production": {"promotes_from": 7}}})
	request := governed.changed({"history": {"known": true, "admitted": [{"environment": 7, "since_s": 1, "decision_id": "x"}]}})
	not staged.passes with input as request with data.placet as placet
	staged.report == {{"code": "promotion_unset"}} with input as request with data.placet as placet
}
