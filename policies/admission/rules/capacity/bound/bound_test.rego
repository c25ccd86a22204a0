package tests.capacity.bound_test

import data.admission.rules.capacity.bound
import data.tests.governed

test_passes_with_all_evidence if {
	bound.passes with input as governed.request with data.placet as governed.placet
	count(bound.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	bound.passes with input as governed.changed({"replicas": {"known": false, "ceiling": 0}}) with data.placet as governed.released
	count(bound.report) == 0 with input as governed.changed({"replicas": {"known": false, "ceiling": 0}}) with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		bound.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not bound.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not bound.passes with input as governed.request with data.placet as placet
	}
}

test_fails_when_there_are_too_many if {
	request := governed.changed({"replicas": {"ceiling": 101}})
	not bound.passes with input as request with data.placet as governed.placet
	bound.report == {{"code": "replicas_many", "found": 101, "limit": 100}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_ceiling_is_unknown if {
	request := governed.changed({"replicas": {"known": false, "ceiling": 0}})
	not bound.passes with input as request with data.placet as governed.placet
	bound.report == {{"code": "replicas_unknown"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_scaled_beyond_the_limit if {
	request := object.union(governed.with_change("UPDATE", "scaled"), {"replicas": {"ceiling": 101}})
	not bound.passes with input as request with data.placet as governed.placet
	bound.report == {{"code": "replicas_many", "found": 101, "limit": 100}} with input as request
		with data.placet as governed.placet
}

test_passes_with_fewer_replicas_than_before_though_still_too_many if {
	bound.passes with input as object.union(governed.with_change("UPDATE", "rollback"), {"replicas": {"known": true, "ceiling": 100}, "change": {"scale": "down"}}) with data.placet as governed.placet
	count(bound.report) == 0 with input as object.union(governed.with_change("UPDATE", "rollback"), {"replicas": {"known": true, "ceiling": 100}, "change": {"scale": "down"}}) with data.placet as governed.placet
}

test_passes_when_what_is_rolled_back_grows_no_more if {
	request := object.union(governed.with_change("UPDATE", "rollback"), {"replicas": {"ceiling": 500}, "change": {"scale": "same"}})
	bound.passes with input as request with data.placet as governed.placet
}

test_fails_when_the_number_is_none if {
	every request in [
		governed.changed({"replicas": {"ceiling": "4"}}),
		governed.changed({"replicas": {"ceiling": -1}}),
		governed.changed({"replicas": {"known": "yes"}}),
	] {
		not bound.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_the_limit_is_missing if {
	every placet in [
		governed.unlimited("replicas"),
	] {
		not bound.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.changed({"replicas": {"ceiling": 101}}),
		governed.changed({"replicas": {"known": false, "ceiling": 0}}),
	] {
		bound.passes with input as request with data.placet as governed.released
		count(bound.report) == 0 with input as request with data.placet as governed.released
	}
}

test_passes_at_both_ends_of_the_range if {
	every ceiling in [0, 100] {
		bound.passes with input as governed.changed({"replicas": {"ceiling": ceiling}}) with data.placet as governed.placet
	}
}

test_passes_when_what_is_unchanged_or_of_a_controller_is_beyond_the_limit if {
	every case in [["UPDATE", "unchanged"], ["CREATE", "child"]] {
		request := object.union(governed.with_change(case[0], case[1]), {"replicas": {"ceiling": 500}})
		bound.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_what_is_rolled_back_grows_beyond_the_limit if {
	request := object.union(governed.with_change("UPDATE", "rollback"), {"replicas": {"ceiling": 500}})
	not bound.passes with input as request with data.placet as governed.placet
}

test_passes_when_it_is_scaled_down_and_is_still_beyond_the_limit if {
	request := object.union(governed.with_change("UPDATE", "scaled"), {"replicas": {"ceiling": 500}, "change": {"scale": "down"}})
	bound.passes with input as request with data.placet as governed.placet
}

test_fails_when_it_grows_and_the_list_of_what_is_required_is_malformed if {
	placet := object.union(governed.placet, {"environments": {"production": {"requires": "all"}}})
	not bound.passes with input as governed.with_change("UPDATE", "scaled") with data.placet as placet
}

test_fails_by_what_is_unknown_and_not_by_the_number_beside_it if {
	request := governed.changed({"replicas": {"known": false, "ceiling": 500}})
	not bound.passes with input as request with data.placet as governed.placet
	bound.report == {{"code": "replicas_unknown"}} with input as request
		with data.placet as governed.placet
}
