package tests.approvals_test

import data.admission.lib.approvals
import data.tests.fixtures

with_approval(fields) := fixtures.changed({"approvals": [object.union(fixtures.approval("technical", "p-1"), fields)]})

test_an_approval_that_is_as_it_must_be_is_usable if {
	count(approvals.usable) == 1 with input as with_approval({}) with data.placet as fixtures.placet
}

# In Rego any text is greater than any number, any number greater than null, and an object has members as a list has.
test_an_approval_of_another_type_is_not_usable if {
	every fields in [
		{"bindings": {"first": "images", "second": "model", "third": "projection"}},
		{"person": 7},
		{"person": ["p-1"]},
		{"expires_s": "never"},
		{"expires_s": {}},
	] {
		request := with_approval(fields)
		count(approvals.usable) == 0 with input as request with data.placet as fixtures.placet
	}
}

test_no_approval_is_usable_at_no_time if {
	every time_s in [null, false] {
		request := fixtures.changed({"time_s": time_s})
		count(approvals.usable) == 0 with input as request with data.placet as fixtures.placet
	}
}

test_a_threshold_of_another_type_is_none if {
	every threshold in ["1", [1], {}] {
		request := fixtures.changed({"thresholds": {"technical": threshold}})
		not approvals.threshold.technical with input as request with data.placet as fixtures.placet
		approvals.threshold.security == 1 with input as request with data.placet as fixtures.placet
	}
}
