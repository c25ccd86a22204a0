package tests.risk.ceiling_test

import data.admission.rules.risk.ceiling
import data.tests.fixtures

up_to(level) := object.union(fixtures.approval("technical", "p-1"), {"max_risk": level})

test_passes_when_the_level_is_within_both_ceilings if {
	ceiling.passes with input as fixtures.request with data.placet as fixtures.placet
	count(ceiling.report) == 0 with input as fixtures.request with data.placet as fixtures.placet
	count(ceiling.advice) == 0 with input as fixtures.request with data.placet as fixtures.placet
}

test_passes_at_the_ceiling_of_the_environment if {
	ceiling.passes with input as fixtures.request with data.placet as fixtures.with_environment({"max_level": "high"})
}

test_passes_when_unchanged if {
	ceiling.passes with input as fixtures.unchanged with data.placet as fixtures.with_environment({"max_level": "low"})
}

test_passes_when_an_approval_that_nobody_asked_for_is_for_less if {
	spare := object.union(fixtures.approval("executive", "p-4"), {"max_risk": "low"})
	request := fixtures.changed({"approvals": array.concat(fixtures.request.approvals, [spare])})
	ceiling.passes with input as request with data.placet as fixtures.placet
}

test_passes_with_advice_when_the_inputs_of_the_risk_moved if {
	moved := object.union(fixtures.approval("technical", "p-1"), {"risk_inputs_match": false})
	request := fixtures.changed({"approvals": [moved]})
	ceiling.passes with input as request with data.placet as fixtures.placet
	ceiling.advice == {{"code": "risk_inputs_differ", "role": "technical"}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_the_level_is_above_the_environment if {
	placet := fixtures.with_environment({"max_level": "medium"})
	not ceiling.passes with input as fixtures.request with data.placet as placet
	ceiling.report == {{"code": "level_above_environment", "level": "high", "max_level": "medium"}} with input as fixtures.request
		with data.placet as placet
}

test_fails_when_the_level_is_above_an_approval if {
	request := fixtures.changed({"approvals": [up_to("medium")]})
	not ceiling.passes with input as request with data.placet as fixtures.placet
	ceiling.report == {{"code": "level_above_approval", "role": "technical", "max_risk": "medium"}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_a_level_is_unknown if {
	request := fixtures.changed({"risk": {"level": "extreme"}})
	not ceiling.passes with input as request with data.placet as fixtures.placet
	not ceiling.passes with input as fixtures.changed({"approvals": [up_to("any")]}) with data.placet as fixtures.placet
	not ceiling.passes with input as fixtures.request with data.placet as fixtures.with_environment({"max_level": "any"})
}

test_fails_when_an_approval_is_for_a_role_that_nobody_knows if {
	request := fixtures.changed({"approvals": [fixtures.approval("astrologer", "p-1")]})
	not ceiling.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_a_level_is_listed_twice if {
	placet := object.union(fixtures.placet, {"levels": ["high", "low", "medium", "high", "critical"]})
	not ceiling.passes with input as fixtures.request with data.placet as placet
}

test_fails_when_the_data_is_missing if {
	every key in ["environments", "levels"] {
		not ceiling.passes with input as fixtures.request with data.placet as object.remove(fixtures.placet, [key])
	}
}

test_fails_when_the_kind_of_change_is_unknown if {
	ceiling.passes with input as fixtures.request with data.placet as fixtures.placet
	not ceiling.passes with input as fixtures.changed({"change": {"kind": "other"}}) with data.placet as fixtures.placet
}

test_fails_when_approvals_are_no_list if {
	every approvals in [{}, "", null, 0, {"first": fixtures.approval("technical", "p-1")}] {
		request := object.union(object.remove(fixtures.request, ["approvals"]), {"approvals": approvals})
		not ceiling.passes with input as request with data.placet as fixtures.placet
	}
}

test_reports_nothing_at_the_ceiling_of_the_environment if {
	placet := fixtures.with_environment({"max_level": "high"})
	count(ceiling.report) == 0 with input as fixtures.request with data.placet as placet
}
