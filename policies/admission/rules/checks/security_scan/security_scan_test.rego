package tests.checks.security_scan_test

import data.admission.rules.checks.security_scan
import data.tests.governed

test_passes_with_all_evidence if {
	security_scan.passes with input as governed.request with data.placet as governed.placet
	count(security_scan.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	security_scan.passes with input as governed.without("vulnerability_scan") with data.placet as governed.released
	count(security_scan.report) == 0 with input as governed.without("vulnerability_scan") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		security_scan.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not security_scan.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not security_scan.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_a_scan_of_one_image_and_names_it if {
	request := governed.changed({"evidence": [one | some one in governed.evidence; one.subjects != [governed.digest("d")]]})
	not security_scan.passes with input as request with data.placet as governed.placet
	security_scan.report == {{"code": "scan_missing", "container": "spec.template.spec.containers[proxy]", "reference": concat("@", ["registry.example.org/proxy", governed.digest("d")]), "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_without_images if {
	request := governed.changed({"images": []})
	not security_scan.passes with input as request with data.placet as governed.placet
	security_scan.report == {{"code": "images_missing"}} with input as request
		with data.placet as governed.placet
}

test_passes_when_a_custom_resource_leaves_its_image_to_a_runtime if {
	security_scan.passes with input as governed.changed({"images": [], "workload": {"group": "serving.kserve.io", "version": "v1beta1", "kind": "InferenceService"}}) with data.placet as governed.placet
	count(security_scan.report) == 0 with input as governed.changed({"images": [], "workload": {"group": "serving.kserve.io", "version": "v1beta1", "kind": "InferenceService"}}) with data.placet as governed.placet
}

test_fails_when_a_scan_is_about_something_else if {
	every request in [
		governed.with_fields("vulnerability_scan", {"subjects": [governed.digest("0")]}),
		governed.with_fields("vulnerability_scan", {"about": "model"}),
		governed.changed({"images": [object.union(governed.request.images[0], {"digest": ""})]}),
	] {
		not security_scan.passes with input as request with data.placet as governed.placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.without("vulnerability_scan"),
		governed.changed({"images": []}),
	] {
		security_scan.passes with input as request with data.placet as governed.released
		count(security_scan.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_when_an_image_says_nothing_of_itself if {
	request := governed.changed({
		"images": [{"digest": governed.digest("0")}],
		"evidence_rejected": [{"name": "x", "kind": "vulnerability_scan", "code": "expired"}],
	})
	not security_scan.passes with input as request with data.placet as governed.placet
	some entry in security_scan.report with input as request
		with data.placet as governed.placet
	entry == {"code": "scan_missing", "container": "", "reference": "", "rejected": ["expired"]}
}

test_fails_when_one_statement_is_malformed_and_no_image_is_to_be_scanned if {
	request := object.union(
		governed.and_also([object.union(governed.scan([governed.digest("0")], "https://scanner.example/a", 0), {"attester": 7})]),
		{"images": [], "workload": {"group": "serving.kserve.io", "version": "v1beta1", "kind": "InferenceService"}},
	)
	not security_scan.passes with input as request with data.placet as governed.placet
}

test_fails_when_the_images_are_no_list if {
	named := {image.name: image | some image in governed.request.images}
	request := object.union(object.remove(governed.request, ["images"]), {"images": named})
	not security_scan.passes with input as request with data.placet as governed.placet
}
