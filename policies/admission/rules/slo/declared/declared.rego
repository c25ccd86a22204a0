# METADATA
# title: Service level objectives are declared
# description: >-
#   A signed statement about this content promises a latency, an availability and an error rate, and every such
#   statement that counts stays within the limits: an objective that nobody can miss is none.
# custom:
#   severity: medium
#   solution: >-
#     Declare the objectives of the workload (`placet.dev/slo/v1`) about its projection. Where the refusal names a
#     limit, promise more or have the limit changed.
#   controls:
#     - NIST SP 800-53 CP-2
#     - SOC 2 CC2.2
#     - NIST AI RMF MEASURE 2.4
#     - ISO/IEC 42001:2023 A.6.2.6
package admission.rules.slo.declared

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("slo.declared")

passes if requirements.released("slo.declared")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	every statement in statements {
		count(objectives) > 0
		every objective in objectives {
			meets(statement, objective)
		}
	}
}

statements := evidence.of_projection("slo")

objectives := {"latency_p95_ms", "availability_ppm", "error_rate_ppm"}

meets(statement, "latency_p95_ms") if {
	is_number(statement.claims.latency_p95_ms)
	statement.claims.latency_p95_ms > 0
	statement.claims.latency_p95_ms <= limits.value("latency_p95_ms")
}

meets(statement, "availability_ppm") if {
	is_number(statement.claims.availability_ppm)
	statement.claims.availability_ppm <= 1000000
	statement.claims.availability_ppm >= limits.value("availability_ppm")
}

meets(statement, "error_rate_ppm") if {
	is_number(statement.claims.error_rate_ppm)
	statement.claims.error_rate_ppm >= 0
	statement.claims.error_rate_ppm <= limits.value("error_rate_ppm")
}

report contains {"code": "evidence_missing", "kind": "slo", "rejected": evidence.rejected("slo")} if {
	asked
	count(statements) == 0
}

report contains {"code": "objective_weak", "objective": objective, "found": found, "limit": limit} if {
	asked
	some statement in statements
	some objective in objectives
	not meets(statement, objective)
	found := object.get(statement.claims, objective, "")
	limit := limits.value(objective)
}
