package tests.approvals.required_test

import data.admission.rules.approvals.required
import data.tests.fixtures

test_passes_when_every_role_has_approved if {
	required.passes with input as fixtures.request with data.placet as fixtures.placet
	count(required.report) == 0 with input as fixtures.request with data.placet as fixtures.placet
}

test_passes_when_unchanged_and_says_which_approvals_are_gone if {
	required.passes with input as fixtures.unchanged with data.placet as fixtures.placet
	required.advice == {
		{"code": "approvals_expired", "role": "technical"},
		{"code": "approvals_expired", "role": "security"},
		{"code": "approvals_expired", "role": "business"},
	} with input as fixtures.unchanged
		with data.placet as fixtures.placet
}

test_passes_without_advice_when_unchanged_and_still_approved if {
	request := object.union(fixtures.unchanged, {"approvals": fixtures.request.approvals})
	required.passes with input as request with data.placet as fixtures.placet
	count(required.advice) == 0 with input as request with data.placet as fixtures.placet
}

test_fails_when_a_role_is_missing_and_says_why if {
	request := fixtures.changed({
		"approvals": [fixtures.approval("technical", "p-1"), fixtures.approval("business", "p-3")],
		"rejected": [
			{"role": "security", "code": "expired", "approval_id": "a"},
			{"role": "security", "code": "audience", "approval_id": "b"},
			{"role": "technical", "code": "self_approval", "approval_id": "c"},
		],
	})
	not required.passes with input as request with data.placet as fixtures.placet
	required.report == {{
		"code": "role_missing",
		"role": "security",
		"needed": 1,
		"persons": 0,
		"rejected": ["audience", "expired"],
	}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_fewer_persons_signed_than_the_threshold if {
	request := fixtures.changed({"thresholds": {"security": 2}})
	not required.passes with input as request with data.placet as fixtures.placet
	required.report == {{"code": "role_missing", "role": "security", "needed": 2, "persons": 1, "rejected": []}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_one_person_signs_twice_for_a_threshold_of_two if {
	twice := array.concat(fixtures.request.approvals, [object.union(fixtures.approval("security", "p-2"), {"approval_id": "again"})])
	request := fixtures.changed({"thresholds": {"security": 2}, "approvals": twice})
	not required.passes with input as request with data.placet as fixtures.placet
}

test_passes_when_two_persons_sign_for_a_threshold_of_two if {
	two := array.concat(fixtures.request.approvals, [fixtures.approval("security", "p-4")])
	request := fixtures.changed({"thresholds": {"security": 2}, "approvals": two})
	required.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_a_threshold_is_zero if {
	request := fixtures.changed({"thresholds": {"security": 0}})
	not required.passes with input as request with data.placet as fixtures.placet
	required.report == {{"code": "threshold_invalid", "role": "security"}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_thresholds_are_missing if {
	request := object.union(object.remove(fixtures.request, ["thresholds"]), {"thresholds": {"technical": 1}})
	not required.passes with input as request with data.placet as fixtures.placet
	required.report == {
		{"code": "threshold_invalid", "role": "security"},
		{"code": "threshold_invalid", "role": "business"},
	} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_a_matrix_asks_for_no_role if {
	every placet in [
		object.union(fixtures.placet, {"environments": {"production": {"approvals": []}}}),
		object.union(fixtures.placet, {"risk_approvals": {"high": []}}),
		object.union(fixtures.placet, {"risk_approvals": {"high": ["nobody"]}}),
		object.remove(fixtures.placet, ["risk_approvals"]),
		object.remove(fixtures.placet, ["environments"]),
		object.remove(fixtures.placet, ["roles"]),
	] {
		not required.passes with input as fixtures.request with data.placet as placet
	}
}

test_fails_when_the_environment_is_unknown if {
	not required.passes with input as fixtures.changed({"environment": "moon"}) with data.placet as fixtures.placet
}

test_fails_when_the_kind_of_change_is_unknown if {
	not required.passes with input as fixtures.changed({"change": {"kind": "other"}}) with data.placet as fixtures.placet
}

test_passes_when_more_of_what_was_approved_is_asked_for if {
	request := fixtures.carried("UPDATE", "scaled")
	required.passes with input as request with data.placet as fixtures.placet
	count(required.advice) == 3 with input as request with data.placet as fixtures.placet
}

test_passes_when_what_was_approved_before_comes_back_and_says_so if {
	request := fixtures.carried("UPDATE", "rollback")
	required.passes with input as request with data.placet as fixtures.placet
	required.advice == {{"code": "rolled_back", "decision_id": "earlier", "time_s": 1780000000}} with input as request
		with data.placet as fixtures.placet
}

test_passes_without_advice_when_a_controller_makes_what_was_approved if {
	every operation in ["CREATE", "UPDATE"] {
		request := fixtures.carried(operation, "child")
		required.passes with input as request with data.placet as fixtures.placet
		count(required.advice) == 0 with input as request with data.placet as fixtures.placet
	}
}

test_passes_for_a_child_whatever_the_risk_is_by_now if {
	request := object.union(fixtures.carried("CREATE", "child"), {"precedent": {"level": "low"}})
	required.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_the_risk_is_above_what_was_approved_before if {
	every kind in ["scaled", "rollback"] {
		every level in ["low", "medium", "", "extreme", 3] {
			request := object.union(fixtures.carried("UPDATE", kind), {"precedent": {"level": level}})
			not required.passes with input as request with data.placet as fixtures.placet
		}
	}
}

test_fails_when_the_record_shows_no_approval if {
	every kind in ["scaled", "rollback", "child"] {
		every missing in ["", null, 7, ["earlier"]] {
			request := object.union(fixtures.carried("UPDATE", kind), {"precedent": {"decision_id": missing}})
			not required.passes with input as request with data.placet as fixtures.placet
		}
		request := object.remove(fixtures.carried("UPDATE", kind), ["precedent"])
		not required.passes with input as request with data.placet as fixtures.placet
	}
}

test_fails_when_a_create_claims_to_go_back if {
	every kind in ["scaled", "rollback", "adopted"] {
		request := fixtures.carried("CREATE", kind)
		not required.passes with input as request with data.placet as fixtures.placet
	}
}

test_what_runs_is_adopted_by_approvals_alone if {
	request := fixtures.changed({"operation": "UPDATE", "change": {"kind": "adopted"}})
	required.passes with input as request with data.placet as fixtures.placet
	bare := fixtures.carried("UPDATE", "adopted")
	not required.passes with input as bare with data.placet as fixtures.placet
}

test_fails_when_a_create_claims_to_be_unchanged if {
	request := object.union(fixtures.unchanged, {"operation": "CREATE"})
	not required.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_an_approval_can_not_be_used if {
	every fault in [
		{"bindings": ["images", "projection"]},
		{"bindings": []},
		{"max_risk": "medium"},
		{"max_risk": "unheard"},
		{"expires_s": 1790000000},
		{"person": ""},
	] {
		spoilt := object.union(fixtures.approval("technical", "p-1"), fault)
		others := [fixtures.approval("security", "p-2"), fixtures.approval("business", "p-3")]
		request := fixtures.changed({"approvals": array.concat([spoilt], others)})
		not required.passes with input as request with data.placet as fixtures.placet
	}
}

# One role that both tables ask for, and nobody else.
one_role := object.union(fixtures.placet, {
	"environments": {"production": {"approvals": ["technical"]}},
	"risk_approvals": {"high": ["technical"]},
})

test_passes_when_one_role_is_all_that_is_asked_for if {
	request := fixtures.changed({"approvals": [fixtures.approval("technical", "p-1")]})
	required.passes with input as request with data.placet as one_role
}

test_gives_no_advice_when_nothing_is_carried_forward if {
	every kind in ["unchanged", "scaled", "rollback"] {
		request := fixtures.carried("CREATE", kind)
		count(required.advice) == 0 with input as request with data.placet as fixtures.placet
	}
}
