# METADATA
# title: A request with all evidence, where everything is required
# description: >-
#   What the tests of the rules about evidence judge: the passing request with every statement that the profile
#   `governance` asks production for, and the data that ships with that profile over it.
package tests.governed

import data.tests.fixtures

placet := object.union(fixtures.placet, data.admission.config.profiles)

request := object.union(fixtures.request, {
	"requester_groups": ["sre-on-call", "system:authenticated"],
	"replicas": {"known": true, "ceiling": 4},
	"evidence": evidence,
	"evidence_rejected": [{"name": "placet.dev/evidence.old", "kind": "strategy", "code": "expired"}],
	"history": {"known": true, "admitted": [{
		"environment": "staging",
		"since_s": now - 172800,
		"decision_id": "staged",
	}]},
	"calendar": {"windows": ["working-hours"], "freezes": []},
})

now := 1790000000

digest(letter) := fixtures.digest(letter)

model := fixtures.request.model.digest

projection := fixtures.request.projection

evidence := [
	statement("change_ticket", "projection", [projection], {"ticket": "CHG-0012345", "state": "approved"}),
	statement("compliance_assessment", "model", [model], {"framework": "EU AI Act", "result": "passed"}),
	statement("coverage", "image", [digest("c"), digest("d")], {"lines_covered": 850, "lines_total": 1000}),
	statement("documentation", "model", [model], {"documents": ["api_documentation", "deployment_guide", "model_card"]}),
	statement("incident_plan", "model", [model], {"on_call": "ml-serving", "plan": digest("9")}),
	statement("lineage", "model", [model], {"datasets": [digest("8")], "licences": ["CC-BY-4.0"], "complete": true}),
	statement("monitoring", "projection", [projection], {"monitors": ["llama"], "alert_rules": 4}),
	statement("operations_status", "model", [model], {"open_incidents": 0, "error_budget_left_permille": 700}),
	statement("performance", "model", [model], {"latency_p95_ms": 1400, "accuracy_permille": 870}),
	statement("privacy_assessment", "model", [model], {
		"classification": "confidential",
		"dpia": digest("7"),
		"masking": false,
		"regions": ["eu", "us"],
	}),
	statement("retention", "model", [model], {
		"model_artifacts_days": 2557,
		"approval_records_days": 3653,
		"audit_logs_days": 2557,
	}),
	statement("rollback_drill", "projection", [projection], {"minutes": 3}),
	statement("slo", "projection", [projection], {
		"latency_p95_ms": 2000,
		"availability_ppm": 999000,
		"error_rate_ppm": 1000,
	}),
	scan([digest("c")], "https://scanner.example/a", 0),
	scan([digest("d")], "https://scanner.example/a", 0),
]

statement(kind, about, subjects, claims) := {
	"kind": kind,
	"about": about,
	"subjects": subjects,
	"attester": "ci",
	"issued_s": now - 600,
	"expires_s": 0,
	"statement": digest("6"),
	"claims": claims,
}

scan(subjects, scanner, critical) := statement("vulnerability_scan", "image", subjects, {
	"scanner": scanner,
	"critical": critical,
	"high": 2,
	"medium": 5,
	"low": 9,
	"unknown": 0,
})

changed(fields) := object.union(request, fields)

with_change(operation, kind) := changed({
	"operation": operation,
	"change": {"kind": kind, "scale": "up"},
	"precedent": {"decision_id": "earlier", "time_s": now - 172800, "level": "high"},
	"evidence": [],
})

without(kind) := changed({"evidence": [one | some one in evidence; one.kind != kind]})

# The statement of this kind with other claims, or another member of it.
with_claims(kind, claims) := with_fields(kind, {"claims": claims})

with_fields(kind, fields) := changed({"evidence": [altered(one, kind, fields) | some one in evidence]})

altered(one, kind, fields) := object.union(one, fields) if one.kind == kind

altered(one, kind, _) := one if one.kind != kind

without_claim(kind, claim) := changed({"evidence": [shortened(one, kind, claim) | some one in evidence]})

shortened(one, kind, claim) := object.union(object.remove(one, ["claims"]), {"claims": object.remove(one.claims, [claim])}) if {
	one.kind == kind
}

shortened(one, kind, _) := one if one.kind != kind

and_also(more) := changed({"evidence": array.concat(evidence, more)})

# One more statement of this kind, with other claims, by somebody else or at another time.
second(kind, claims, fields) := [object.union(object.union(one, {"claims": claims}), fields) |
	some one in evidence
	one.kind == kind
][0]

limited(limits) := object.union(placet, {"limits": {"default": limits}})

unlimited(name) := object.union(object.remove(placet, ["limits"]), {"limits": {
	"default": object.remove(placet.limits["default"], [name]),
	"environments": {},
	"models": {},
}})

# Data that requires the rule, and whatever else the profile asks for, nowhere.
released := object.union(placet, {"environments": {"production": {"requires": []}}})
