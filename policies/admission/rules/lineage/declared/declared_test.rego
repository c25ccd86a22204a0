package tests.lineage.declared_test

import data.admission.rules.lineage.declared
import data.tests.governed

test_passes_with_all_evidence if {
	declared.passes with input as governed.request with data.placet as governed.placet
	count(declared.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	declared.passes with input as governed.without("lineage") with data.placet as governed.released
	count(declared.report) == 0 with input as governed.without("lineage") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		declared.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not declared.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not declared.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("lineage")
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "evidence_missing", "kind": "lineage", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_a_licence_is_not_allowed if {
	request := governed.with_claims("lineage", {"licences": ["CC-BY-4.0", "CC-BY-NC-4.0"]})
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "licence_not_allowed", "licence": "CC-BY-NC-4.0"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_it_is_incomplete if {
	request := governed.with_claims("lineage", {"complete": false})
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "lineage_incomplete", "attester": "ci"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_a_part_is_missing if {
	every request in [
		governed.without_claim("lineage", "datasets"),
		governed.without_claim("lineage", "licences"),
		governed.without_claim("lineage", "complete"),
		governed.with_claims("lineage", {"datasets": []}),
		governed.with_claims("lineage", {"datasets": ["common crawl"]}),
		governed.with_claims("lineage", {"licences": []}),
		governed.with_claims("lineage", {"licences": "MIT"}),
		governed.with_claims("lineage", {"datasets": "MIT"}),
		governed.with_claims("lineage", {"complete": "true"}),
		governed.and_also([governed.second("lineage", {"complete": false}, {"attester": "other"})]),
	] {
		not declared.passes with input as request with data.placet as governed.placet
	}
}

test_fails_without_a_list_of_licences if {
	every placet in [
		object.remove(governed.placet, ["licences"]),
	] {
		not declared.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("lineage", {"complete": false}),
		governed.with_claims("lineage", {"licences": ["CC-BY-NC-4.0"]}),
	] {
		declared.passes with input as request with data.placet as governed.released
		count(declared.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("lineage"), {"evidence_rejected": [{"name": "x", "kind": "lineage", "code": "expired"}]})
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "evidence_missing", "kind": "lineage", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_fails_when_what_should_be_a_list_is_an_object if {
	every request in [
		governed.changed({"evidence": [governed.statement("lineage", "model", [governed.model], {"datasets": {"a": governed.digest("8")}, "licences": ["MIT"], "complete": true})]}),
		governed.changed({"evidence": [governed.statement("lineage", "model", [governed.model], {"datasets": [governed.digest("8")], "licences": {"a": "MIT"}, "complete": true})]}),
	] {
		not declared.passes with input as request with data.placet as governed.placet
		declared.report == {{"code": "lineage_incomplete", "attester": "ci"}} with input as request
			with data.placet as governed.placet
	}
}
