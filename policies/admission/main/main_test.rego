package tests.main_test

import data.admission.main
import data.tests.fixtures
import data.tests.governed

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
		"rules_judged": 29,
		"rules_passed": 29,
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
	decision.rules_passed == 27
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
		{"code": "schema_unknown", "input": {"schema": "placet.dev/policy-input/v1"}, "data": {}},
		{"code": "environment_unknown", "input": {"environment": "moon"}, "data": {}},
		{"code": "data_unknown", "input": {}, "data": {"schema": "other"}},
		{"code": "rules_missing", "input": {}, "data": {"expected_rules": 30}},
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

test_allows_with_all_evidence_where_every_rule_is_required if {
	decision := judge(governed.request, governed.placet)
	decision.allowed
	decision.rules_passed == 29
	{[warning.rule, warning.code] | some warning in decision.warnings} == set()
}

test_refuses_by_every_rule_that_the_environment_requires_and_by_no_other if {
	decision := judge(
		governed.changed({
			"evidence": [],
			"history": {"admitted": []},
			"calendar": {"windows": []},
			"replicas": {"known": false},
		}),
		governed.placet,
	)
	not decision.allowed
	{violation.rule | some violation in decision.violations} == {rule |
		some rule in governed.placet.environments.production.requires
	}
	{violation.severity | some violation in decision.violations} == {"critical", "high", "medium"}
	{violation.code | some violation in decision.violations} & {"undecided"} == set()
}

test_asks_for_nothing_more_in_the_data_that_ships if {
	decision := judge(governed.changed({"evidence": []}), fixtures.placet)
	decision.allowed
}

test_denies_when_a_part_of_the_data_is_no_mapping_or_empty if {
	every part in ["break_glass", "exemptions", "kinds", "namespaces"] {
		every value in [{}, [], ["one"], "one", null, 7] {
			placet := object.union(object.remove(fixtures.placet, [part]), {part: value})
			decision := judge(fixtures.request, placet)
			not decision.allowed
			{violation.code | some violation in decision.violations} == {"data_unknown"}
		}
		placet := object.union(object.remove(fixtures.placet, [part]), {part: {"one": {}}})
		judge(fixtures.request, placet).allowed
	}
}

test_a_mode_of_a_rule_that_is_unknown_is_that_of_the_environment if {
	placet := object.union(fixtures.with_environment({"mode": "audit"}), {"rules": {"approvals.required": {"mode": "asleep"}}})
	decision := judge(lacking, placet)
	decision.tolerated == ["approvals.required", "approvals.separation"]
	{[note.rule, note.mode] | some note in decision.notes} == {["approvals.required", "audit"], ["approvals.separation", "audit"]}
}

test_says_nothing_of_rules_that_could_not_be_judged if {
	every request in [lacking, fixtures.unchanged] {
		elsewhere := object.union(request, {"environment": "moon"})
		decision := judge(elsewhere, fixtures.placet)
		{violation.code | some violation in decision.violations} == {"environment_unknown"}
		count(decision.warnings) + count(decision.notes) == 0

		short := judge(request, object.union(fixtures.placet, {"expected_rules": 0}))
		{violation.code | some violation in short.violations} == {"rules_missing"}
		count(short.warnings) + count(short.notes) == 0
	}
}

test_advice_is_a_warning if {
	decision := judge(fixtures.unchanged, fixtures.placet)
	{warning.mode | some warning in decision.warnings} == {"warn"}
}

# images.pinned as if it were announced for a day.
judge_announced(request, placet, from_s) := decision if {
	decision := main.decision with input as request
		with data.placet as placet
		with data.admission.rules.images.pinned.effective_s as from_s
}

unpinned := fixtures.changed({"images": [object.union(fixtures.image("server", "c"), {"digest": ""})]})

test_a_rule_warns_until_the_second_that_it_is_announced_for if {
	before := judge_announced(unpinned, fixtures.placet, unpinned.time_s + 1)
	before.allowed
	before.tolerated == ["images.pinned"]
	{[warning.rule, warning.mode] | some warning in before.warnings} == {["images.pinned", "warn"]}
	every from_s in [unpinned.time_s, unpinned.time_s - 1, 0] {
		decision := judge_announced(unpinned, fixtures.placet, from_s)
		not decision.allowed
		{violation.rule | some violation in decision.violations} == {"images.pinned"}
	}
}

test_a_rule_that_audits_goes_on_to_when_it_is_announced if {
	placet := object.union(fixtures.placet, {"rules": {"images.pinned": {"mode": "audit"}}})
	decision := judge_announced(unpinned, placet, unpinned.time_s + 1)
	decision.allowed
	count(decision.warnings) == 0
	{[note.rule, note.mode] | some note in decision.notes} == {["images.pinned", "audit"]}
}

test_another_day_can_be_tried if {
	from_s := unpinned.time_s + 86400
	judge_announced(unpinned, object.union(fixtures.placet, {"effective_time_s": from_s - 1}), from_s).allowed
	not judge_announced(unpinned, object.union(fixtures.placet, {"effective_time_s": from_s}), from_s).allowed
}

test_a_day_that_is_no_number_puts_nothing_off if {
	every from_s in ["2999-01-01T00:00:00Z", null, {"s": 4000000000}, [4000000000]] {
		not judge_announced(unpinned, fixtures.placet, from_s).allowed
	}
	every now_s in ["0", null, {}] {
		placet := object.union(fixtures.placet, {"effective_time_s": now_s})
		judge_announced(unpinned, placet, unpinned.time_s + 1).allowed
		not judge_announced(unpinned, placet, unpinned.time_s).allowed
	}
	not judge_announced(object.union(unpinned, {"time_s": null}), fixtures.placet, 4000000000).allowed
	not judge_announced(object.remove(unpinned, ["time_s"]), fixtures.placet, 4000000000).allowed
}

test_a_request_at_no_time_puts_nothing_off if {
	every time_s in [null, false] {
		request := object.union(unpinned, {"time_s": time_s})
		not judge_announced(request, fixtures.placet, unpinned.time_s + 1).allowed
		found := main.decision with input as request
			with data.placet as fixtures.placet
			with data.admission.rules.images.pinned.effective_s as unpinned.time_s + 1
		not "images.pinned" in found.tolerated
	}
}

test_an_environment_that_is_not_known_allows_nothing_though_every_rule_only_warns if {
	lenient := {concat(".", rule): {"mode": "warn"} | some rule in main.judged} with input as fixtures.request with data.placet as fixtures.placet
	count(lenient) == 29
	warning := object.union(fixtures.placet, {"rules": lenient})
	judge(lacking, warning).allowed

	settings := object.remove(fixtures.placet.environments.production, ["approvals"])
	environments := object.union(object.remove(fixtures.placet.environments, ["production"]), {"production": settings})
	decision := judge(lacking, object.union(object.remove(warning, ["environments"]), {"environments": environments}))
	decision.allowed == false
	decision.mode == "enforce"
	{violation.code | some violation in decision.violations} == {"environment_unknown"}
}

test_gives_no_advice_about_a_rule_that_does_not_pass if {
	decision := main.decision with input as fixtures.unchanged
		with data.placet as fixtures.placet
		with data.admission.rules.approvals.required.passes as false
	not decision.allowed
	decision.warnings == []
}
