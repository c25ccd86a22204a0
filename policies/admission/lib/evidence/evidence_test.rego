package tests.lib.evidence_test

import data.admission.lib.evidence
import data.tests.governed

at(seconds, fields) := object.union(object.union(governed.scan([image.digest], "a", 0), {"issued_s": governed.now - seconds}), fields)

image := governed.request.images[0]

counts(statements) := found if {
	found := evidence.of_image("vulnerability_scan", image) with input as governed.changed({"evidence": statements})
}

test_a_newer_statement_replaces_an_older_one_of_the_same_attester_and_scanner if {
	counts([at(60, {}), at(90, {}), at(120, {})]) == {at(60, {})}
}

test_the_order_of_the_statements_does_not_matter if {
	counts([at(120, {}), at(60, {}), at(90, {})]) == {at(60, {})}
}

test_two_statements_of_the_same_second_both_count if {
	worse := at(60, {"claims": {"critical": 9}})
	counts([at(60, {}), worse]) == {at(60, {}), worse}
}

test_what_another_attester_scanner_or_framework_says_counts_as_well if {
	every fields in [{"attester": "other"}, {"claims": {"scanner": "b"}}, {"claims": {"framework": "x"}}] {
		counts([at(60, {}), at(90, fields)]) == {at(60, {}), at(90, fields)}
	}
}

test_a_newer_statement_about_another_image_replaces_nothing if {
	counts([at(90, {}), at(60, {"subjects": [governed.digest("0")]})]) == {at(90, {})}
}

test_a_newer_statement_of_another_kind_replaces_nothing if {
	every fields in [{"kind": "coverage"}, {"about": "model"}] {
		counts([at(90, {}), at(60, fields)]) == {at(90, {})}
	}
}

test_a_subject_that_is_not_known_has_no_evidence if {
	request := governed.changed({"evidence": [at(60, {"subjects": [""]})]})
	evidence.of_image("vulnerability_scan", {"digest": ""}) == set() with input as request
	evidence.of_image("vulnerability_scan", {}) == set() with input as request
	of_placeholder := governed.changed({"evidence": [at(60, {"subjects": ["_"]})]})
	evidence.of_image("vulnerability_scan", {}) == set() with input as of_placeholder
}

test_evidence_holds_until_the_second_that_it_expires if {
	counts([at(60, {"expires_s": governed.now + 1})]) == {at(60, {"expires_s": governed.now + 1})}
	counts([at(60, {"expires_s": governed.now})]) == set()
}

test_one_malformed_statement_leaves_nothing if {
	every fields in [
		{"kind": 7},
		{"about": "person"},
		{"subjects": "all"},
		{"subjects": [7]},
		{"subjects": {"first": image.digest}},
		{"attester": null},
		{"issued_s": "now"},
		{"expires_s": "never"},
		{"claims": []},
	] {
		counts([at(60, {}), object.union(at(60, {}), fields)]) == set()
	}
	every field in ["kind", "about", "subjects", "attester", "issued_s", "expires_s", "claims"] {
		counts([at(60, {}), object.remove(at(60, {}), [field])]) == set()
	}
	counts({"first": at(60, {})}) == set()
}

test_evidence_is_recent_up_to_its_age if {
	statements := {at(60, {}), at(61, {})}
	evidence.recent(statements, 60) == {at(60, {})} with input as governed.request
}

test_names_the_codes_of_what_was_offered_of_a_kind if {
	offered := [{"name": name, "kind": kind, "code": code} |
		some [name, kind, code] in [["a", "slo", "untrusted"], ["b", "slo", "expired"], ["c", "lineage", "age"]]
	]
	evidence.rejected("slo") == ["expired", "untrusted"] with input as {"evidence_rejected": offered}
}

test_only_a_digest_is_a_digest if {
	evidence.is_digest(governed.digest("a"))
	every text in ["", "sha256:abc", governed.digest("A"), 7, null] {
		not evidence.is_digest(text)
	}
}

test_only_a_list_of_texts_is_a_list_of_names if {
	evidence.is_names([])
	evidence.is_names(["a", "b"])
	every list in ["a", ["a", 7], {"a": "b"}, null] {
		not evidence.is_names(list)
	}
}

test_a_projection_that_is_no_text_has_no_evidence_not_even_none if {
	every projection in [7, null, ["a"]] {
		not evidence.of_projection("slo") with input as governed.changed({"projection": projection})
	}
	evidence.of_projection("slo") with input as governed.request
}

test_nothing_is_sound_at_no_time if {
	every time_s in ["now", null] {
		request := governed.changed({"evidence": [at(60, {})], "time_s": time_s})
		evidence.of_image("vulnerability_scan", image) == set() with input as request
	}
}

test_what_names_no_scanner_or_framework_is_a_series_of_its_own if {
	unnamed := object.union(object.remove(at(90, {}), ["claims"]), {"claims": {"critical": 0}})
	scanned := object.union(object.remove(at(60, {}), ["claims"]), {"claims": {"critical": 0, "scanner": "_"}})
	assessed := object.union(object.remove(at(60, {}), ["claims"]), {"claims": {"critical": 0, "framework": "_"}})
	counts([unnamed, scanned]) == {unnamed, scanned}
	counts([unnamed, assessed]) == {unnamed, assessed}
}
