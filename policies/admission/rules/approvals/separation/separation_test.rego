package tests.approvals.separation_test

import data.admission.rules.approvals.separation
import data.tests.fixtures

signed(pairs) := [fixtures.approval(pair[0], pair[1]) | some pair in pairs]

test_passes_when_every_role_has_a_person_of_its_own if {
	separation.passes with input as fixtures.request with data.placet as fixtures.placet
	count(separation.report) == 0 with input as fixtures.request with data.placet as fixtures.placet
}

test_passes_when_unchanged if {
	separation.passes with input as fixtures.unchanged with data.placet as fixtures.placet
}

test_passes_when_a_person_of_two_roles_can_be_counted_for_one if {
	pairs := [["technical", "p-1"], ["security", "p-1"], ["security", "p-2"], ["business", "p-3"]]
	request := fixtures.changed({"approvals": signed(pairs)})
	separation.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_one_person_signs_for_two_roles if {
	pairs := [["technical", "p-1"], ["security", "p-1"], ["business", "p-3"]]
	request := fixtures.changed({"approvals": signed(pairs)})
	not separation.passes with input as request with data.placet as fixtures.placet
	separation.report == {
		{"code": "persons_too_few", "roles": ["technical", "security"], "needed": 2, "persons": 1},
		{"code": "persons_too_few", "roles": ["technical", "security", "business"], "needed": 3, "persons": 2},
	} with input as request
		with data.placet as fixtures.placet
}

# Each pair of roles has two persons; the three together have two as well.
test_fails_when_two_persons_share_three_roles if {
	pairs := [
		["technical", "p-1"], ["technical", "p-2"],
		["security", "p-1"], ["security", "p-2"],
		["business", "p-1"], ["business", "p-2"],
	]
	request := fixtures.changed({"approvals": signed(pairs)})
	not separation.passes with input as request with data.placet as fixtures.placet
	separation.report == {{
		"code": "persons_too_few",
		"roles": ["technical", "security", "business"],
		"needed": 3,
		"persons": 2,
	}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_thresholds_need_more_persons_than_signed if {
	pairs := [["technical", "p-1"], ["technical", "p-2"], ["security", "p-2"], ["business", "p-3"]]
	request := fixtures.changed({"approvals": signed(pairs), "thresholds": {"technical": 2}})
	not separation.passes with input as request with data.placet as fixtures.placet
}

test_passes_with_all_four_roles_in_a_critical_change if {
	pairs := [["technical", "p-1"], ["security", "p-2"], ["business", "p-3"], ["executive", "p-4"]]
	approvals := [object.union(approval, {"max_risk": "critical"}) | some approval in signed(pairs)]
	request := fixtures.changed({"approvals": approvals, "risk": {"level": "critical"}})
	separation.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_approvals_are_missing if {
	request := fixtures.changed({"approvals": []})
	not separation.passes with input as request with data.placet as fixtures.placet
	separation.report == {{"code": "approvals_missing"}} with input as request with data.placet as fixtures.placet
}

test_fails_when_a_threshold_is_zero if {
	request := fixtures.changed({"thresholds": {"technical": 0}})
	not separation.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_a_role_is_required_that_the_rule_does_not_know if {
	placet := object.union(fixtures.placet, {
		"roles": ["technical", "security", "business", "executive", "astrologer"],
		"risk_approvals": {"high": ["technical", "astrologer"]},
	})
	approvals := array.concat(fixtures.request.approvals, [fixtures.approval("astrologer", "p-5")])
	request := fixtures.changed({"approvals": approvals, "thresholds": {"astrologer": 1}})
	not separation.passes with input as request with data.placet as placet
}

test_fails_when_the_kind_of_change_is_unknown if {
	separation.passes with input as fixtures.request with data.placet as fixtures.placet
	not separation.passes with input as fixtures.changed({"change": {"kind": "other"}}) with data.placet as fixtures.placet
}

# One role that both tables ask for, and nobody else.
one_role := object.union(fixtures.placet, {
	"environments": {"production": {"approvals": ["technical"]}},
	"risk_approvals": {"high": ["technical"]},
})

test_passes_when_one_role_is_all_that_is_asked_for if {
	request := fixtures.changed({"approvals": [fixtures.approval("technical", "p-1")]})
	separation.passes with input as request with data.placet as one_role
}
