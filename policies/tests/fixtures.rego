# METADATA
# title: What the tests judge
# description: >-
#   A request that every rule lets pass: a new model of high risk in production with three approvals. Tests change one
#   thing in it. The data is what ships, stamped as placet stamps it.
package tests.fixtures

import data.admission.main

placet := object.union(
	object.union(object.remove(data.admission.config.defaults, ["detection"]), {
		"schema": "placet.dev/policy-data/v1",
		"digest": "sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
		"expected_rules": count(main.judged),
	}),
	trial,
)

# The day of `placet policy test --effective-time`.
trial := {"effective_time_s": data.placet_test.effective_time_s} if {
	data.placet_test.effective_time_s
} else := {}

request := {
	"schema": "placet.dev/policy-input/v2",
	"uid": "0d5cf0a6-5b2f-4a3c-9d47-3e0f7a1c2b11",
	"time_s": 1790000000,
	"environment": "production",
	"cluster": "prod-eu-1",
	"operation": "CREATE",
	"dry_run": false,
	"requester": "alice@example.org",
	"workload": {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "ml", "name": "llama"},
	"model": {"name": "llama-3.1-70b", "version": "1.0.0", "digest": digest("a")},
	"change": {"kind": "new", "model_seen": false, "scale": "unknown"},
	"precedent": {"decision_id": "", "time_s": 0, "level": ""},
	"projection": digest("b"),
	"images": [image("server", "c"), image("proxy", "d")],
	"risk": {
		"score": 665,
		"level": "high",
		"factors": {
			"model_complexity": 8,
			"data_sensitivity": 7,
			"deployment_scope": 6,
			"change_magnitude": 9,
			"testing_coverage": 4,
			"rollback_capability": 2,
		},
		"inputs_digest": digest("e"),
	},
	"thresholds": {"technical": 1, "security": 1, "business": 1, "executive": 1},
	"approvals": [
		approval("technical", "p-1"),
		approval("security", "p-2"),
		approval("business", "p-3"),
	],
	"rejected": [{"role": "executive", "code": "expired", "approval_id": "a-9"}],
	"requester_groups": ["system:authenticated"],
	"replicas": {"known": true, "ceiling": 4},
	"evidence": [],
	"evidence_rejected": [],
	"history": {"known": true, "admitted": []},
	"calendar": {"windows": [], "freezes": []},
}

# The same workload, updated without a change to what is governed, with no approval left.
unchanged := changed({"operation": "UPDATE", "change": {"kind": "unchanged"}, "approvals": []})

# What the record shows as approved before, with no approval left.
carried(operation, kind) := changed({
	"operation": operation,
	"change": {"kind": kind, "scale": "up"},
	"precedent": {"decision_id": "earlier", "time_s": 1780000000, "level": "high"},
	"approvals": [],
})

approval(role, person) := {
	"approval_id": $"a-{role}-{person}",
	"role": role,
	"person": person,
	"bindings": ["images", "model", "projection"],
	"max_risk": "high",
	"risk_inputs_match": true,
	"expires_s": 1790086400,
	"statement": digest("f"),
}

image(name, letter) := {
	"container": $"spec.template.spec.containers[{name}]",
	"reference": $"registry.example.org/{name}@{digest(letter)}",
	"name": $"registry.example.org/{name}",
	"digest": digest(letter),
}

digest(letter) := concat("", ["sha256:", replaced]) if {
	replaced := strings.replace_n({"x": letter}, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
}

# Objects are merged at every depth, lists and scalars are replaced.
changed(fields) := object.union(request, fields)

with_environment(fields) := object.union(placet, {"environments": {"production": fields}})
