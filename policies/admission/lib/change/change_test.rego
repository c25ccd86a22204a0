package tests.change_test

import data.admission.lib.change
import data.tests.fixtures

operations := {"CREATE", "UPDATE", "DELETE", "CONNECT", "", "update"}

kinds := {"new", "changed", "adopted", "unchanged", "scaled", "rollback", "child", "other", ""}

pairs := {[operation, kind] | some operation in operations; some kind in kinds}

test_these_alone_are_carried_forward if {
	carried := {pair |
		some pair in pairs
		request := fixtures.carried(pair[0], pair[1])
		change.carried_forward with input as request with data.placet as fixtures.placet
	}
	carried == {
		["UPDATE", "unchanged"],
		["UPDATE", "scaled"],
		["UPDATE", "rollback"],
		["CREATE", "child"],
		["UPDATE", "child"],
	}
}

test_these_alone_are_judged_anew if {
	judged := {pair |
		some pair in pairs
		request := fixtures.carried(pair[0], pair[1])
		change.judged_anew with input as request with data.placet as fixtures.placet
	}
	judged == {
		["CREATE", "new"],
		["UPDATE", "new"],
		["CREATE", "changed"],
		["UPDATE", "changed"],
		["UPDATE", "adopted"],
	}
}

test_only_what_is_unchanged_and_fewer_is_scaled_down if {
	down := {[pair[0], pair[1], scale] |
		some pair in pairs
		some scale in ["down", "up", "same", "unknown", ""]
		request := object.union(fixtures.carried(pair[0], pair[1]), {"change": {"scale": scale}})
		change.scaled_down with input as request
	}
	down == {["UPDATE", "unchanged", "down"]}
}
