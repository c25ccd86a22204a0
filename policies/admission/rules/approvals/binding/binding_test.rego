package tests.approvals.binding_test

import data.admission.rules.approvals.binding
import data.tests.fixtures

bound_to(bindings) := object.union(fixtures.approval("technical", "p-1"), {"bindings": bindings})

test_passes_when_every_approval_is_bound_to_all_that_is_asked if {
	binding.passes with input as fixtures.request with data.placet as fixtures.placet
	count(binding.report) == 0 with input as fixtures.request with data.placet as fixtures.placet
}

test_passes_when_unchanged if {
	binding.passes with input as fixtures.unchanged with data.placet as fixtures.placet
}

test_passes_when_nothing_was_approved_since_that_is_another_rule if {
	request := fixtures.changed({"approvals": []})
	binding.passes with input as request with data.placet as fixtures.placet
}

test_passes_when_an_approval_that_nobody_asked_for_is_not_bound if {
	spare := object.union(fixtures.approval("executive", "p-4"), {"bindings": []})
	request := fixtures.changed({"approvals": array.concat(fixtures.request.approvals, [spare])})
	binding.passes with input as request with data.placet as fixtures.placet
}

test_passes_when_the_environment_asks_for_less if {
	request := fixtures.changed({"approvals": [bound_to(["projection"])]})
	placet := fixtures.with_environment({"bindings": ["projection"]})
	binding.passes with input as request with data.placet as placet
}

test_fails_when_a_binding_is_missing if {
	request := fixtures.changed({"approvals": [bound_to(["images"])]})
	not binding.passes with input as request with data.placet as fixtures.placet
	binding.report == {{"code": "binding_missing", "role": "technical", "missing": ["model", "projection"]}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_an_approval_does_not_say_what_it_binds if {
	request := fixtures.changed({"approvals": [object.remove(bound_to([]), ["bindings"])]})
	not binding.passes with input as request with data.placet as fixtures.placet
	binding.report == {{
		"code": "binding_missing",
		"role": "technical",
		"missing": ["images", "model", "projection"],
	}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_an_approval_is_for_a_role_that_nobody_knows if {
	request := fixtures.changed({"approvals": [fixtures.approval("astrologer", "p-1")]})
	not binding.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_the_environment_asks_for_no_binding if {
	every placet in [
		fixtures.with_environment({"bindings": []}),
		fixtures.with_environment({"bindings": "projection"}),
		object.remove(fixtures.placet, ["environments"]),
	] {
		not binding.passes with input as fixtures.request with data.placet as placet
	}
}

test_fails_when_the_kind_of_change_is_unknown if {
	binding.passes with input as fixtures.request with data.placet as fixtures.placet
	not binding.passes with input as fixtures.changed({"change": {"kind": "other"}}) with data.placet as fixtures.placet
}

# One role that both tables ask for, and nobody else.
one_role := object.union(fixtures.placet, {
	"environments": {"production": {"approvals": ["technical"]}},
	"risk_approvals": {"high": ["technical"]},
})

test_passes_when_one_role_is_all_that_is_asked_for if {
	request := fixtures.changed({"approvals": [fixtures.approval("technical", "p-1")]})
	binding.passes with input as request with data.placet as one_role
}

test_fails_when_approvals_are_no_list if {
	every approvals in [{}, "", null, 0, {"first": fixtures.approval("technical", "p-1")}] {
		request := object.union(object.remove(fixtures.request, ["approvals"]), {"approvals": approvals})
		not binding.passes with input as request with data.placet as fixtures.placet
	}
}

test_fails_without_approvals_when_nobody_says_what_is_asked_for if {
	request := fixtures.changed({"approvals": []})
	every placet in [
		object.remove(fixtures.placet, ["risk_approvals"]),
		fixtures.with_environment({"bindings": []}),
		fixtures.with_environment({"bindings": "projection"}),
	] {
		not binding.passes with input as request with data.placet as placet
	}
}
