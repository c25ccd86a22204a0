package tests.retention.declared_test

import data.admission.rules.retention.declared
import data.tests.governed

test_passes_with_all_evidence if {
	declared.passes with input as governed.request with data.placet as governed.placet
	count(declared.report) == 0 with input as governed.request with data.placet as governed.placet
}

test_passes_where_it_is_not_required if {
	declared.passes with input as governed.without("retention") with data.placet as governed.released
	count(declared.report) == 0 with input as governed.without("retention") with data.placet as governed.released
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
	request := governed.without("retention")
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "evidence_missing", "kind": "retention", "rejected": []}} with input as request
		with data.placet as governed.placet
}

test_fails_when_one_is_short if {
	request := governed.with_claims("retention", {"approval_records_days": 3652})
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "retention_short", "class": "approval_records_days", "found": 3652, "limit": 3653}} with input as request
		with data.placet as governed.placet
}

test_fails_when_one_is_missing if {
	every request in [
		governed.without_claim("retention", "model_artifacts_days"),
		governed.without_claim("retention", "approval_records_days"),
		governed.without_claim("retention", "audit_logs_days"),
		governed.with_claims("retention", {"audit_logs_days": "forever"}),
	] {
		not declared.passes with input as request with data.placet as governed.placet
	}
}

test_fails_when_a_limit_is_missing if {
	every placet in [
		governed.unlimited("model_artifacts_days"),
		governed.unlimited("approval_records_days"),
		governed.unlimited("audit_logs_days"),
	] {
		not declared.passes with input as governed.request with data.placet as placet
	}
}

test_passes_and_says_nothing_of_any_fault_where_it_is_not_required if {
	every request in [
		governed.with_claims("retention", {"approval_records_days": 3652}),
	] {
		declared.passes with input as request with data.placet as governed.released
		count(declared.report) == 0 with input as request with data.placet as governed.released
	}
}

test_fails_with_a_code_for_what_was_offered if {
	request := object.union(governed.without("retention"), {"evidence_rejected": [{"name": "x", "kind": "retention", "code": "expired"}]})
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "evidence_missing", "kind": "retention", "rejected": ["expired"]}} with input as request
		with data.placet as governed.placet
}

test_fails_when_one_is_not_said if {
	request := governed.without_claim("retention", "audit_logs_days")
	not declared.passes with input as request with data.placet as governed.placet
	declared.report == {{"code": "retention_short", "class": "audit_logs_days", "found": "", "limit": 2557}} with input as request
		with data.placet as governed.placet
}
