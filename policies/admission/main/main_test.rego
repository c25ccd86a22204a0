package tests.main_test

import data.admission.main
import data.tests.fixtures

judge(request, placet) := decision if {
	decision := main.decision with input as request with data.placet as placet
}

lacking := fixtures.changed({"approvals": [fixtures.approval("technical", "p-1"), fixtures.approval("business", "p-3")]})

test_allows_when_every_rule_passes if {
	judge(fixtures.request, fixtures.placet) == {
		"schema": "placet.dev/policy-decision/v1",
		"uid": fixtures.request.uid,
		"data_digest": fixtures.placet.digest,
		"allowed": true,
		"mode": "enforce",
		"rules_judged": 8,
		"rules_passed": 8,
		"tolerated": [],
		"required_roles": ["technical", "security", "business"],
		"granted_roles": ["technical", "security", "business"],
		"violations": [],
		"warnings": [],
		"notes": [],
	}
}

test_allows_an_unchanged_workload_and_warns if {
	decision := judge(fixtures.unchanged, fixtures.placet)
	decision.allowed
	decision.granted_roles == []
	decision.tolerated == []
	{[warning.rule, warning.code] | some warning in decision.warnings} == {["approvals.required", "approvals_expired"]}
}

test_denies_when_an_approval_is_missing_and_says_which if {
	decision := judge(lacking, fixtures.placet)
	not decision.allowed
	decision.rules_passed == 6
	decision.granted_roles == ["technical", "business"]
	decision.violations == [
		{
			"rule": "approvals.separation",
			"code": "approvals_missing",
			"mode": "enforce",
			"severity": "high",
			"details": {},
		},
		{
			"rule": "approvals.required",
			"code": "role_missing",
			"mode": "enforce",
			"severity": "high",
			"details": {"role": "security", "needed": 1, "persons": 0, "rejected": []},
		},
	]
}

test_denies_an_unchanged_workload_whose_approval_was_revoked if {
	rejected := [{"role": "security", "code": "revoked", "approval_id": "a-2"}]
	decision := judge(object.union(fixtures.unchanged, {"rejected": rejected}), fixtures.placet)
	not decision.allowed
	decision.violations == [{
		"rule": "approvals.revoked",
		"code": "revoked",
		"mode": "enforce",
		"severity": "critical",
		"details": {"cause": "revoked", "role": "security", "approval_id": "a-2"},
	}]
}

test_warns_when_the_environment_only_warns if {
	decision := judge(lacking, fixtures.with_environment({"mode": "warn"}))
	decision.allowed
	decision.mode == "warn"
	decision.tolerated == ["approvals.required", "approvals.separation"]
	count(decision.violations) == 0
	{warning.mode | some warning in decision.warnings} == {"warn"}
	{warning.code | some warning in decision.warnings} == {"role_missing", "approvals_missing"}
}

test_notes_when_the_environment_only_audits if {
	decision := judge(lacking, fixtures.with_environment({"mode": "audit"}))
	decision.allowed
	count(decision.violations) + count(decision.warnings) == 0
	{note.code | some note in decision.notes} == {"role_missing", "approvals_missing"}
}

test_a_mode_of_a_rule_goes_before_that_of_the_environment if {
	placet := object.union(fixtures.with_environment({"mode": "audit"}), {"rules": {"approvals.required": {"mode": "enforce"}}})
	decision := judge(lacking, placet)
	not decision.allowed
	{violation.rule | some violation in decision.violations} == {"approvals.required"}
	{note.rule | some note in decision.notes} == {"approvals.separation"}
}

test_a_mode_that_is_unknown_enforces if {
	every placet in [
		fixtures.with_environment({"mode": "lenient"}),
		fixtures.with_environment({"mode": 7}),
	] {
		decision := judge(lacking, placet)
		not decision.allowed
		decision.mode == "enforce"
	}
}

test_denies_in_every_mode_when_the_policies_can_not_judge if {
	lenient := object.union(fixtures.with_environment({"mode": "audit"}), {"rules": {
		"approvals.required": {"mode": "audit"},
		"approvals.separation": {"mode": "audit"},
		"approvals.binding": {"mode": "audit"},
		"approvals.revoked": {"mode": "audit"},
		"images.pinned": {"mode": "audit"},
		"model.identified": {"mode": "audit"},
		"risk.assessed": {"mode": "audit"},
		"risk.ceiling": {"mode": "audit"},
	}})
	judge(fixtures.request, lenient).allowed
	every case in [
		{"code": "schema_unknown", "input": {"schema": "placet.dev/policy-input/v2"}, "data": {}},
		{"code": "environment_unknown", "input": {"environment": "moon"}, "data": {}},
		{"code": "data_unknown", "input": {}, "data": {"schema": "other"}},
		{"code": "rules_missing", "input": {}, "data": {"expected_rules": 9}},
	] {
		decision := judge(fixtures.changed(case.input), object.union(lenient, case.data))
		not decision.allowed
		decision.violations == [{
			"rule": "admission.main",
			"code": case.code,
			"mode": "enforce",
			"severity": "critical",
			"details": {},
		}]
	}
}

test_denies_as_undecided_when_a_rule_is_silent if {
	decision := judge(fixtures.changed({"change": {"kind": "other"}}), fixtures.placet)
	not decision.allowed
	some violation in decision.violations
	violation.code == "undecided"
	violation.rule == "approvals.required"
}

test_denies_without_input if {
	decision := main.decision with data.placet as fixtures.placet
	decision == {"schema": "placet.dev/policy-decision/v1", "uid": "", "data_digest": "", "allowed": false}
}

test_denies_when_a_part_of_the_data_is_missing if {
	every key, _ in fixtures.placet {
		not judge(fixtures.request, object.remove(fixtures.placet, [key])).allowed
	}
}

test_denies_without_data if {
	decision := main.decision with input as fixtures.request with data.placet as {}
	not decision.allowed
}

test_names_roles_in_the_order_of_the_data if {
	approvals := [fixtures.approval(role, role) | some role in ["executive", "business", "security", "technical"]]
	request := fixtures.changed({"approvals": approvals, "risk": {"level": "critical"}})
	judge(request, fixtures.placet).required_roles == ["technical", "security", "business", "executive"]
}

test_asks_for_every_role_when_the_level_is_unknown if {
	request := fixtures.changed({"risk": {"level": "extreme"}})
	judge(request, fixtures.placet).required_roles == ["technical", "security", "business", "executive"]
}
