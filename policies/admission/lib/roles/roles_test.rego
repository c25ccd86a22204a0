package tests.roles_test

import data.admission.lib.roles
import data.tests.fixtures

test_a_table_may_ask_for_one_role if {
	placet := object.union(fixtures.placet, {
		"environments": {"production": {"approvals": ["technical"]}},
		"risk_approvals": {"high": ["security"]},
	})
	roles.required == {"technical", "security"} with input as fixtures.request with data.placet as placet
}
