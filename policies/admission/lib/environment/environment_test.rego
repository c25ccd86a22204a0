package tests.environment_test

import data.admission.lib.environment
import data.tests.fixtures

test_bindings_are_a_list_that_is_not_empty if {
	every bindings in [[], {}, {"first": "projection"}, "projection", null] {
		placet := fixtures.with_environment({"bindings": bindings})
		not environment.bindings with input as fixtures.request with data.placet as placet
	}
	placet := fixtures.with_environment({"bindings": ["projection"]})
	environment.bindings == {"projection"} with input as fixtures.request with data.placet as placet
}
