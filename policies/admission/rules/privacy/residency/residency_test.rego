package tests.privacy.residency_test

import data.admission.rules.privacy.residency
import data.tests.governed

test_passes_with_all_evidence if {
	residency.passes with input as governed.request with data.placet as governed.placet
	count(residency.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	residency.passes with input as governed.without("privacy_assessment") with data.placet as governed.released
	count(residency.report) == 0 with input as governed.without("privacy_assessment") with data.placet as governed.released
}

test_passes_when_carried_forward if {
	every case in [["UPDATE", "unchanged"], ["UPDATE", "scaled"], ["UPDATE", "rollback"], ["CREATE", "child"]] {
		residency.passes with input as governed.with_change(case[0], case[1]) with data.placet as governed.placet
	}
}

test_fails_when_the_change_is_of_no_known_kind if {
	not residency.passes with input as governed.changed({"change": {"kind": "other"}}) with data.placet as governed.placet
}

test_fails_when_the_list_of_what_is_required_is_malformed if {
	every requires in ["all", [7], {"a": 1}, null] {
		placet := object.union(governed.placet, {"environments": {"production": {"requires": requires}}})
		not residency.passes with input as governed.request with data.placet as placet
	}
}

test_fails_without_evidence if {
	request := governed.without("privacy_assessment")
	not residency.passes with input as request with data.placet as governed.placet
	residency.report == {{"code": "evidence_missing", "kind": "privacy_assessment", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_cluster_stands_elsewhere if {
	request := governed.with_claims("privacy_assessment", {"regions": ["us"]})
	not residency.passes with input as request with data.placet as governed.placet
	residency.report == {{"code": "region_not_allowed", "region": "eu", "allowed": ["us"]}} with input as request
		with data.placet as governed.placet
}

test_fails_when_nobody_says_where_the_cluster_stands if {
	request := governed.changed({"cluster": "moon-1"})
	not residency.passes with input as request with data.placet as governed.placet
	residency.report == {{"code": "region_unknown", "cluster": "moon-1"}} with input as request
		with data.placet as governed.placet
}

test_fails_when_the_regions_are_none if {
	every request in [
		governed.without_claim("privacy_assessment", "regions"),
		governed.with_claims("privacy_assessment", {"regions": []}),
		governed.with_claims("privacy_assessment", {"regions": "eu"}),
		governed.and_also([governed.second("privacy_assessment", {"regions": ["us"]}, {"attester": "other"})]),
	] {
		not residency.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_the_region_is_none if {
	every placet in [
		object.remove(governed.placet, ["residency"]),
		object.union(governed.placet, {"residency": {"clusters": {"prod-eu-1": ""}}}),
		object.union(governed.placet, {"residency": {"clusters": {"prod-eu-1": 7}}}),
	] {
		not residency.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("privacy_assessment", {"regions": ["us"]}),
		governed.changed({"cluster": "moon-1"}),
	] {
		residency.passes with input as request with data.placet as governed.released
		count(residency.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("privacy_assessment"), {"evidence_rejected": [{"name": "x", "kind": "privacy_assessment", "code": "expired"}]})
	not residency.passes with input as request with data.placet as governed.placet
	residency.report == {{"code": "evidence_missing", "kind": "privacy_assessment", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_fails_when_a_region_is_no_name_though_the_assessment_has_the_same if {
	every region in ["", 7] {
		placet := object.union(governed.placet, {"residency": {"clusters": {"prod-eu-1": region}}})
		request := governed.with_claims("privacy_assessment", {"regions": [region]})
		not residency.passes with input as request with data.placet as placet
		residency.report == {{"code": "region_unknown", "cluster": "prod-eu-1"}} with input as request with data.placet as placet
	}
}

test_fails_when_one_of_the_regions_is_no_name if {
	request := governed.with_claims("privacy_assessment", {"regions": ["eu", 7]})
	not residency.passes with input as request with data.placet as governed.placet
}
