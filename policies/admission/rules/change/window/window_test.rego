package tests.change.window_test

import data.admission.rules.change.window
import data.tests.governed

test_passes_with_all_evidence if {
	window.passes with input as governed.request with data.placet as governed.placet
	count(window.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	window.passes with input as governed.changed({"calendar": {"windows": []}}) with data.placet as governed.released
	count(window.report) == 0 with input as governed.changed({"calendar": {"windows": []}}) with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		window.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not window.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not window.passes with input as governed.request with data.placet as placet
	}
}

test_fails_outside_of_every_window if {
	request := governed.changed({"calendar": {"windows": []}})
	not window.passes with input as request with data.placet as governed.placet
	window.report == {{"code": "window_closed"}} with input as request
		with data.placet as governed.placet
}

test_fails_during_a_freeze if {
	request := governed.changed({"calendar": {"freezes": ["year-end"]}})
	not window.passes with input as request with data.placet as governed.placet
	window.report == {{"code": "frozen", "freeze": "year-end"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_calendar_is_malformed if {
	every request in [
		governed.changed({"calendar": {"windows": "all"}}),
		governed.changed({"calendar": {"freezes": {}}}),
	] {
		not window.passes with input as request with data.placet as governed.placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.changed({"calendar": {"windows": []}}),
		governed.changed({"calendar": {"freezes": ["year-end"]}}),
	] {
		window.passes with input as request with data.placet as governed.released
		count(window.report) == 0 with input as request with data.placet as governed.released
	}
}
