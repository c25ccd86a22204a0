package tests.approvals.revoked_test

import data.admission.rules.approvals.revoked
import data.tests.fixtures

withdrawn := {"rejected": [
	{"role": "security", "code": "revoked", "approval_id": "a-2"},
	{"role": "business", "code": "expired", "approval_id": "a-3"},
]}

test_passes_when_nothing_was_rejected if {
	revoked.passes with input as fixtures.changed({"rejected": []}) with data.placet as fixtures.placet
}

test_passes_when_an_approval_was_rejected_for_another_reason if {
	revoked.passes with input as fixtures.request with data.placet as fixtures.placet
	count(revoked.report) == 0 with input as fixtures.request with data.placet as fixtures.placet
}

test_fails_when_an_approval_was_revoked if {
	request := fixtures.changed(withdrawn)
	not revoked.passes with input as request with data.placet as fixtures.placet
	revoked.report == {{"code": "revoked", "cause": "revoked", "role": "security", "approval_id": "a-2"}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_the_key_of_an_approval_was_compromised if {
	request := fixtures.changed({"rejected": [{"role": "business", "code": "key_compromised", "approval_id": "a-3"}]})
	not revoked.passes with input as request with data.placet as fixtures.placet
	revoked.report == {{
		"code": "revoked",
		"cause": "key_compromised",
		"role": "business",
		"approval_id": "a-3",
	}} with input as request
		with data.placet as fixtures.placet
}

test_fails_when_unchanged_and_revoked if {
	request := object.union(fixtures.unchanged, withdrawn)
	not revoked.passes with input as request with data.placet as fixtures.placet
}

test_passes_when_fewer_of_what_was_revoked_run if {
	request := object.union(fixtures.unchanged, object.union(withdrawn, {"change": {"scale": "down"}}))
	revoked.passes with input as request with data.placet as fixtures.placet
}

test_fails_when_scaling_down_is_not_all if {
	every other in [
		{"operation": "CREATE"},
		{"change": {"kind": "changed"}},
		{"change": {"kind": "child"}},
		{"change": {"scale": "same"}},
		{"change": {"scale": "up"}},
		{"change": {"scale": "unknown"}},
	] {
		down := object.union(fixtures.unchanged, object.union(withdrawn, {"change": {"scale": "down"}}))
		not revoked.passes with input as object.union(down, other) with data.placet as fixtures.placet
	}
}

test_fails_when_a_rejection_has_no_reason if {
	every rejected in [{"role": "security"}, {"role": "security", "code": 7}, "revoked", null] {
		not revoked.passes with input as fixtures.changed({"rejected": [rejected]}) with data.placet as fixtures.placet
	}
}

test_fails_when_rejections_are_no_list if {
	every rejected in [null, "none", 0, true, {}] {
		not revoked.passes with input as fixtures.changed({"rejected": rejected}) with data.placet as fixtures.placet
	}
}

test_reports_a_revocation_that_names_nothing if {
	request := fixtures.changed({"rejected": [{"code": "revoked"}]})
	revoked.report == {{"code": "revoked", "cause": "revoked", "role": "", "approval_id": ""}} with input as request
		with data.placet as fixtures.placet
}
