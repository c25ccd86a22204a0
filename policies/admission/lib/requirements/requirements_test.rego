package tests.lib.requirements_test

import data.admission.lib.requirements
import data.tests.fixtures

requiring(rules) := object.union(fixtures.placet, {"environments": {"production": {"requires": rules}}})

test_a_rule_that_is_named_is_asked_for_and_not_released if {
	requirements.asked("slo.declared") with input as fixtures.request with data.placet as requiring(["slo.declared"])
	not requirements.released("slo.declared") with input as fixtures.request with data.placet as requiring(["slo.declared"])
}

test_a_rule_that_is_not_named_is_released_and_not_asked_for if {
	requirements.released("slo.declared") with input as fixtures.request with data.placet as requiring(["change.ticket"])
	not requirements.asked("slo.declared") with input as fixtures.request with data.placet as requiring(["change.ticket"])
}

test_a_list_that_is_malformed_releases_nothing if {
	every rules in [null, "slo.declared", 7, {"a": 1}, {"a": "change.ticket"}, [7], ["change.ticket", null]] {
		not requirements.released("slo.declared") with input as fixtures.request with data.placet as requiring(rules)
	}
}

test_an_environment_that_is_not_known_or_says_nothing_releases_nothing if {
	not requirements.released("slo.declared") with input as fixtures.changed({"environment": "moon"})
		with data.placet as fixtures.placet
	placet := {"environments": {"production": {"approvals": ["technical"]}}}
	not requirements.released("slo.declared") with input as fixtures.request with data.placet as placet
}
