package tests.conventions_test

import data.checks.conventions

good := {
	"id": "approvals.required",
	"defines": ["passes", "report", "severity"],
	"title": "A title",
	"description": "Why it is there",
	"custom": {"severity": "high", "solution": "What to do", "controls": ["NIST SP 800-53 CM-3"]},
}

tests := [
	{"package": "tests.approvals.required_test", "name": "test_passes_when_good"},
	{"package": "tests.approvals.required_test", "name": "test_fails_when_bad"},
]

controls := {"NIST SP 800-53 CM-3": "Configuration change control"}

found(rules, names) := {[violation.code, violation.field] | some violation in all} if {
	all := conventions.violations with input as {"rules": rules, "tests": names, "controls": controls}
}

test_accepts_a_rule_that_says_everything if {
	found([good], tests) == set()
}

test_refuses_a_rule_without_text if {
	found([object.union(good, {"title": " ", "description": ""})], tests) == {["text_missing", "title"], ["text_missing", "description"]}
	found([object.union(good, {"custom": {"solution": 7}})], tests) == {["text_missing", "solution"]}
}

test_refuses_a_rule_of_unknown_severity if {
	found([object.union(good, {"custom": {"severity": "grave"}})], tests) == {["severity_unknown", "severity"]}
}

test_refuses_a_rule_without_controls if {
	found([object.union(good, {"custom": {"controls": []}})], tests) == {["controls_missing", "controls"]}
}

test_refuses_a_control_that_no_framework_has if {
	wrong := ["NIST SP 800-53 CM-3", "NIST SP 800-53 CM-333"]
	found([object.union(good, {"custom": {"controls": wrong}})], tests) == {["control_unknown", "NIST SP 800-53 CM-333"]}
}

test_refuses_a_rule_that_asks_whether_another_is_required if {
	found([object.union(good, {"asks": ["approvals.required"]})], tests) == set()
	found([object.union(good, {"asks": ["approvals.require"]})], tests) == {["requirement_of_another", "approvals.require"]}
}

test_refuses_a_rule_without_annotations if {
	found([{"id": "approvals.required", "defines": good.defines}], tests) == {
		["text_missing", "title"],
		["text_missing", "description"],
		["text_missing", "solution"],
		["severity_unknown", "severity"],
		["controls_missing", "controls"],
	}
}

test_refuses_a_rule_that_lacks_a_part if {
	every part in ["passes", "report", "severity"] {
		defines := [other | some other in good.defines; other != part]
		found([object.union(good, {"defines": defines})], tests) == {["part_missing", part]}
	}
}

test_refuses_two_rules_of_one_id if {
	found([good, good], tests) == {["duplicate_id", "id"]}
}

test_refuses_a_rule_that_no_test_saw_failing_or_passing if {
	found([good], [tests[0]]) == {["no_test", "fails"]}
	found([good], [tests[1]]) == {["no_test", "passes"]}
	found([good], []) == {["no_test", "passes"], ["no_test", "fails"]}
}
