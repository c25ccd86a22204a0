package tests.change.ticket_test

import data.admission.rules.change.ticket
import data.tests.governed

test_passes_with_all_evidence if {
	ticket.passes with input as governed.request with data.placet as governed.placet
	count(ticket.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	ticket.passes with input as governed.without("change_ticket") with data.placet as governed.released
	count(ticket.report) == 0 with input as governed.without("change_ticket") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		ticket.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not ticket.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not ticket.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("change_ticket")
	not ticket.passes with input as request with data.placet as governed.placet
	ticket.report == {{"code": "evidence_missing", "kind": "change_ticket", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_not_approved if {
	request := governed.with_claims("change_ticket", {"state": "draft"})
	not ticket.passes with input as request with data.placet as governed.placet
	ticket.report == {{"code": "ticket_not_approved", "ticket": "CHG-0012345", "state": "draft"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_malformed if {
	request := governed.with_claims("change_ticket", {"ticket": "CHG-12345"})
	not ticket.passes with input as request with data.placet as governed.placet
	ticket.report == {{"code": "ticket_malformed", "ticket": "CHG-12345"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_no_ticket if {
	every request in [
		governed.with_claims("change_ticket", {"ticket": ""}),
		governed.with_claims("change_ticket", {"ticket": "0012345"}),
		governed.with_claims("change_ticket", {"ticket": "chg-0012345"}),
		governed.with_claims("change_ticket", {"ticket": "CHG-001234x"}),
		governed.with_claims("change_ticket", {"ticket": "CHG-00123456"}),
		governed.with_claims("change_ticket", {"ticket": 7}),
		governed.with_claims("change_ticket", {"ticket": ["CHG-0012345"]}),
		governed.without_claim("change_ticket", "ticket"),
		governed.without_claim("change_ticket", "state"),
		governed.with_fields("change_ticket", {"subjects": [governed.digest("0")]}),
		governed.and_also([governed.second("change_ticket", {"state": "rejected"}, {"attester": "other"})]),
	] {
		not ticket.passes with input as request with data.placet as governed.placet
	}
}

test_passes_when_the_newer_word_of_the_same_system_approves if {
	ticket.passes with input as object.union(governed.with_claims("change_ticket", {"state": "draft"}), {"evidence": array.concat(governed.with_claims("change_ticket", {"state": "draft"}).evidence, [governed.second("change_ticket", {}, {"issued_s": governed.now - 60})])}) with data.placet as governed.placet
	count(ticket.report) == 0 with input as object.union(governed.with_claims("change_ticket", {"state": "draft"}), {"evidence": array.concat(governed.with_claims("change_ticket", {"state": "draft"}).evidence, [governed.second("change_ticket", {}, {"issued_s": governed.now - 60})])}) with data.placet as governed.placet
}

test_fails_when_the_grammar_is_missing if {
	every placet in [
		object.remove(governed.placet, ["change"]),
		object.union(governed.placet, {"change": {"ticket": {"prefixes": [7]}}}),
		object.union(governed.placet, {"change": {"ticket": {"digits": "7"}}}),
	] {
		not ticket.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("change_ticket", {"state": "draft"}),
		governed.with_claims("change_ticket", {"ticket": "CHG-12345"}),
	] {
		ticket.passes with input as request with data.placet as governed.released
		count(ticket.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("change_ticket"), {"evidence_rejected": [{"name": "x", "kind": "change_ticket", "code": "expired"}]})
	not ticket.passes with input as request with data.placet as governed.placet
	ticket.report == {{"code": "evidence_missing", "kind": "change_ticket", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_fails_when_a_ticket_has_no_number if {
	request := governed.without_claim("change_ticket", "ticket")
	not ticket.passes with input as request with data.placet as governed.placet
	ticket.report == {{"code": "ticket_malformed", "ticket": ""}} with input as request
		with data.placet as governed.placet
}

test_fails_when_nothing_is_said_of_its_state if {
	request := governed.without_claim("change_ticket", "state")
	not ticket.passes with input as request with data.placet as governed.placet
	ticket.report == {{"code": "ticket_not_approved", "ticket": "CHG-0012345", "state": ""}} with input as request
		with data.placet as governed.placet
}

test_fails_when_a_ticket_says_nothing if {
	request := governed.changed({"evidence": [governed.statement("change_ticket", "projection", [governed.projection], {})]})
	not ticket.passes with input as request with data.placet as governed.placet
	ticket.report == {{"code": "ticket_malformed", "ticket": ""}, {"code": "ticket_not_approved", "ticket": "", "state": ""}} with input as request
		with data.placet as governed.placet
}
