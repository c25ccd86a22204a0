package tests.quality.coverage_test

import data.admission.rules.quality.coverage
import data.tests.governed

test_passes_with_all_evidence if {
	coverage.passes with input as governed.request with data.placet as governed.placet
	count(coverage.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	coverage.passes with input as governed.without("coverage") with data.placet as governed.released
	count(coverage.report) == 0 with input as governed.without("coverage") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		coverage.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not coverage.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not coverage.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_coverage_of_one_image if {
	request := governed.with_fields("coverage", {"subjects": [governed.digest("c")]})
	not coverage.passes with input as request with data.placet as governed.placet
	coverage.report == {{"code": "coverage_missing", "reference": concat("@", ["registry.example.org/proxy", governed.digest("d")]), "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_below_the_limit if {
	request := governed.with_claims("coverage", {"lines_covered": 799})
	not coverage.passes with input as request with data.placet as governed.placet
	coverage.report == {{"code": "coverage_low", "reference": concat("@", ["registry.example.org/server", governed.digest("c")]), "covered": 799, "total": 1000, "limit": 800}, {"code": "coverage_low", "reference": concat("@", ["registry.example.org/proxy", governed.digest("d")]), "covered": 799, "total": 1000, "limit": 800}} with input as request
		with data.placet as governed.placet
}

test_passes_at_the_limit if {
	coverage.passes with input as governed.with_claims("coverage", {"lines_covered": 800}) with data.placet as governed.placet
	count(coverage.report) == 0 with input as governed.with_claims("coverage", {"lines_covered": 800}) with data.placet as governed.placet
}

test_fails_when_the_counts_are_none if {
	every request in [
		governed.with_claims("coverage", {"lines_covered": 0, "lines_total": 0}),
		governed.with_claims("coverage", {"lines_covered": 1001}),
		governed.without_claim("coverage", "lines_covered"),
		governed.without_claim("coverage", "lines_total"),
		governed.with_claims("coverage", {"lines_covered": "all"}),
		governed.changed({"images": []}),
	] {
		not coverage.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_the_limit_is_missing if {
	every placet in [
		governed.unlimited("coverage_permille"),
	] {
		not coverage.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("coverage", {"lines_covered": 799}),
	] {
		coverage.passes with input as request with data.placet as governed.released
		count(coverage.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_when_an_image_or_its_counts_say_nothing_of_themselves if {
	bare := governed.changed({
		"images": [{"digest": governed.digest("c")}],
		"evidence": [governed.statement("coverage", "image", [governed.digest("c")], {})],
	})
	coverage.report == {{"code": "coverage_low", "reference": "", "covered": "", "total": "", "limit": 800}} with input as bare
		with data.placet as governed.placet
	offered := object.union(bare, {"evidence": [], "evidence_rejected": [{"name": "x", "kind": "coverage", "code": "expired"}]})
	coverage.report == {{"code": "coverage_missing", "reference": "", "rejected": ["expired"]}} with input as offered
		with data.placet as governed.placet
	not coverage.passes with input as bare with data.placet as governed.placet
}

test_passes_when_every_line_is_covered if {
	coverage.passes with input as governed.with_claims("coverage", {"lines_covered": 1, "lines_total": 1}) with data.placet as governed.placet
}

test_fails_when_one_statement_is_malformed_though_every_image_has_enough if {
	request := governed.and_also([object.union(governed.statement("coverage", "image", [governed.digest("0")], {}), {"attester": 7})])
	not coverage.passes with input as request with data.placet as governed.placet
}

test_fails_just_below_a_limit_of_all_lines if {
	request := governed.with_claims("coverage", {"lines_covered": 9999, "lines_total": 10000})
	not coverage.passes with input as request with data.placet as governed.limited({"coverage_permille": 1000})
}

test_fails_by_a_hair if {
	request := governed.with_claims("coverage", {"lines_covered": 7999, "lines_total": 10000})
	not coverage.passes with input as request with data.placet as governed.placet
}

test_fails_when_one_statement_is_malformed_and_no_image_is_there if {
	request := object.union(
		governed.and_also([object.union(governed.statement("coverage", "image", [governed.digest("0")], {}), {"attester": 7})]),
		{"images": [], "workload": {"group": "serving.kserve.io", "version": "v1beta1", "kind": "InferenceService"}},
	)
	not coverage.passes with input as request with data.placet as governed.placet
}

test_fails_when_the_images_are_no_list if {
	named := {image.name: image | some image in governed.request.images}
	request := object.union(object.remove(governed.request, ["images"]), {"images": named})
	not coverage.passes with input as request with data.placet as governed.placet
}
