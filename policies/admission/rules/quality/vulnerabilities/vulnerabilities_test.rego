package tests.quality.vulnerabilities_test

import data.admission.rules.quality.vulnerabilities
import data.tests.governed

test_passes_with_all_evidence if {
	vulnerabilities.passes with input as governed.request with data.placet as governed.placet
	count(vulnerabilities.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	vulnerabilities.passes with input as governed.without("vulnerability_scan") with data.placet as governed.released
	count(vulnerabilities.report) == 0 with input as governed.without("vulnerability_scan") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		vulnerabilities.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not vulnerabilities.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not vulnerabilities.passes with input as governed.request with data.placet as placet
	}
}

test_fails_when_an_image_has_a_critical_one if {
	request := governed.and_also([governed.scan([governed.digest("c")], "https://scanner.example/b", 2)])
	not vulnerabilities.passes with input as request with data.placet as governed.placet
	vulnerabilities.report == {{"code": "vulnerabilities_critical", "reference": concat("@", ["registry.example.org/server", governed.digest("c")]), "critical": 2, "limit": 0}} with input as request
		with data.placet as governed.placet
}

test_fails_without_a_scan if {
	request := governed.changed({"evidence": [one | some one in governed.evidence; one.subjects != [governed.digest("d")]]})
	not vulnerabilities.passes with input as request with data.placet as governed.placet
	vulnerabilities.report == {{"code": "scan_missing", "container": "spec.template.spec.containers[proxy]", "reference": concat("@", ["registry.example.org/proxy", governed.digest("d")]), "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_worse_scan_is_of_the_same_second_or_of_another_scanner if {
	every request in [
		governed.and_also([governed.scan([governed.digest("c")], "https://scanner.example/a", 1)]),
		governed.and_also([object.union(governed.scan([governed.digest("c")], "https://scanner.example/b", 1), {"issued_s": governed.now - 900})]),
		governed.and_also([object.union(governed.scan([governed.digest("c")], "https://scanner.example/a", 1), {"attester": "other", "issued_s": governed.now - 900})]),
	] {
		not vulnerabilities.passes with input as request with data.placet as governed.placet
	}
}

test_passes_when_a_newer_scan_replaced_the_worse_one if {
	vulnerabilities.passes with input as governed.and_also([object.union(governed.scan([governed.digest("c")], "https://scanner.example/a", 1), {"issued_s": governed.now - 900})]) with data.placet as governed.placet
	count(vulnerabilities.report) == 0 with input as governed.and_also([object.union(governed.scan([governed.digest("c")], "https://scanner.example/a", 1), {"issued_s": governed.now - 900})]) with data.placet as governed.placet
}

test_passes_within_a_limit_of_the_operator if {
	vulnerabilities.passes with input as governed.with_claims("vulnerability_scan", {"critical": 3}) with data.placet as governed.limited({"critical_vulnerabilities": 3})
	count(vulnerabilities.report) == 0 with input as governed.with_claims("vulnerability_scan", {"critical": 3}) with data.placet as governed.limited({"critical_vulnerabilities": 3})
}

test_fails_when_the_count_is_no_count if {
	every request in [
		governed.without_claim("vulnerability_scan", "critical"),
		governed.with_claims("vulnerability_scan", {"critical": "0"}),
		governed.with_claims("vulnerability_scan", {"critical": -1}),
		governed.changed({"images": []}),
	] {
		not vulnerabilities.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_the_limit_is_missing if {
	every placet in [
		governed.unlimited("critical_vulnerabilities"),
		governed.limited({"critical_vulnerabilities": "0"}),
		governed.limited({"critical_vulnerabilities": -1}),
	] {
		not vulnerabilities.passes with input as governed.request with data.placet as placet
	}
}

test_passes_when_a_custom_resource_leaves_its_image_to_a_runtime if {
	vulnerabilities.passes with input as governed.changed({"images": [], "workload": {"group": "serving.kserve.io", "version": "v1beta1", "kind": "InferenceService"}}) with data.placet as governed.placet
	count(vulnerabilities.report) == 0 with input as governed.changed({"images": [], "workload": {"group": "serving.kserve.io", "version": "v1beta1", "kind": "InferenceService"}}) with data.placet as governed.placet
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("vulnerability_scan", {"critical": 1}),
	] {
		vulnerabilities.passes with input as request with data.placet as governed.released
		count(vulnerabilities.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_when_an_image_or_its_scan_says_nothing_of_itself if {
	bare := governed.changed({
		"images": [{"digest": governed.digest("c")}],
		"evidence": [governed.statement("vulnerability_scan", "image", [governed.digest("c")], {})],
	})
	vulnerabilities.report == {{"code": "vulnerabilities_critical", "reference": "", "critical": "", "limit": 0}} with input as bare
		with data.placet as governed.placet
	offered := object.union(bare, {"evidence": [], "evidence_rejected": [{"name": "x", "kind": "vulnerability_scan", "code": "expired"}]})
	vulnerabilities.report == {{"code": "scan_missing", "container": "", "reference": "", "rejected": ["expired"]}} with input as offered
		with data.placet as governed.placet
	not vulnerabilities.passes with input as bare with data.placet as governed.placet
}

test_fails_when_one_statement_is_malformed_though_every_image_was_scanned if {
	request := governed.and_also([object.union(governed.scan([governed.digest("0")], "https://scanner.example/a", 0), {"attester": 7})])
	not vulnerabilities.passes with input as request with data.placet as governed.placet
}

test_fails_when_one_statement_is_malformed_and_no_image_is_there if {
	request := object.union(
		governed.and_also([object.union(governed.statement("vulnerability_scan", "image", [governed.digest("0")], {}), {"attester": 7})]),
		{"images": [], "workload": {"group": "serving.kserve.io", "version": "v1beta1", "kind": "InferenceService"}},
	)
	not vulnerabilities.passes with input as request with data.placet as governed.placet
}

test_fails_when_the_images_are_no_list if {
	named := {image.name: image | some image in governed.request.images}
	request := object.union(object.remove(governed.request, ["images"]), {"images": named})
	not vulnerabilities.passes with input as request with data.placet as governed.placet
}
