# METADATA
# title: The model is quick and accurate enough
# description: >-
#   Every evaluation of the model that counts stays within the limits for the 95th percentile of the latency and for
#   the accuracy, and within the latency that the workload's own service level objectives promise, where they are
#   declared.
# custom:
#   severity: high
#   solution: >-
#     Compare the evaluation with the limits that the refusal names. Tune the model or its serving and have it
#     evaluated again, or have the limit of this model changed in the policy data by those who answer for it.
#   controls:
#     - NIST AI RMF MEASURE 2.3
#     - EU AI Act Article 15
#     - ISO/IEC 42001:2023 A.6.2.4
package admission.rules.quality.performance

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("quality.performance")

passes if requirements.released("quality.performance")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	every statement in statements {
		good(statement)
	}
}

statements := evidence.of_model("performance")

good(statement) if {
	latency := statement.claims.latency_p95_ms
	is_number(latency)
	latency > 0
	latency <= limits.value("latency_p95_ms")
	every objective in objectives {
		is_number(objective.claims.latency_p95_ms)
		latency <= objective.claims.latency_p95_ms
	}
	is_number(statement.claims.accuracy_permille)
	statement.claims.accuracy_permille >= limits.value("accuracy_permille")
	statement.claims.accuracy_permille <= 1000
}

objectives := evidence.of_projection("slo")

report contains {"code": "evidence_missing", "kind": "performance", "rejected": evidence.rejected("performance")} if {
	asked
	count(statements) == 0
}

report contains {"code": "latency_high", "found": found, "limit": limit} if {
	asked
	limit := limits.value("latency_p95_ms")
	some statement in statements
	found := object.get(statement.claims, "latency_p95_ms", "")
	found > limit
}

report contains {"code": "accuracy_low", "found": found, "limit": limit} if {
	asked
	limit := limits.value("accuracy_permille")
	some statement in statements
	found := object.get(statement.claims, "accuracy_permille", "")
	found < limit
}

report contains {"code": "latency_above_objective", "found": found, "objective": objective} if {
	asked
	some statement in statements
	found := object.get(statement.claims, "latency_p95_ms", 0)
	some promised in objectives
	objective := object.get(promised.claims, "latency_p95_ms", 0)
	found > objective
}
