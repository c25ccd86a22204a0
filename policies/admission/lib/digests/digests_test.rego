package tests.digests_test

import data.admission.lib.digests

hex := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

test_sixty_four_digits_in_lower_case_are_a_digest if {
	digests.well_formed(concat("", ["sha256:", hex]))
}

test_nothing_else_is if {
	odd := [
		"", "sha256:", hex, null, 1, true, [], {}, [concat("", ["sha256:", hex])],
		concat("", ["sha256:", hex, "0"]),
		concat("", ["sha256:", substring(hex, 1, -1)]),
		concat("", ["sha256:", upper(hex)]),
		concat("", ["SHA256:", hex]),
		concat("", ["sha512:", hex]),
		concat("", ["sha256;", hex]),
		concat("", ["sha256:", substring(hex, 1, -1), "g"]),
		concat("", ["sha256:", substring(hex, 1, -1), "_"]),
		concat("", [hex, "0123456"]),
		concat("", ["sha256:g", substring(hex, 1, -1)]),
		concat("", ["sha256:", substring(hex, 1, -1), "\n"]),
		concat("", ["sha256:", substring(hex, 1, -1), "٣"]),
		concat("", [" sha256:", substring(hex, 1, -1)]),
		concat("", ["sha256:sha256:", substring(hex, 7, -1)]),
	]
	every text in odd {
		not digests.well_formed(text)
	}
}
