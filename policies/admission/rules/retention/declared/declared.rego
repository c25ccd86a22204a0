# METADATA
# title: What must be kept is kept long enough
# description: >-
#   A signed declaration says for how long the model's artifacts, the records of its approvals and its audit logs are
#   kept. Every declaration that counts reaches the limits.
# custom:
#   severity: medium
#   solution: >-
#     Set the retention of the store that the refusal names to at least the days that it asks for, and have the
#     declaration attested again.
#   controls:
#     - EU AI Act Article 18
#     - EU AI Act Article 19
#     - NIST SP 800-53 AU-11
#     - NIST SP 800-53 SI-12
#     - SOC 2 CC7.2
#     - ISO/IEC 42001:2023 A.6.2.8
package admission.rules.retention.declared

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("retention.declared")

passes if requirements.released("retention.declared")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	every statement in statements {
		count(classes) > 0
		every class in classes {
			long_enough(statement, class)
		}
	}
}

statements := evidence.of_model("retention")

classes := {"model_artifacts_days", "approval_records_days", "audit_logs_days"}

long_enough(statement, class) if {
	is_number(statement.claims[class])
	statement.claims[class] >= limits.value(class)
}

report contains {"code": "evidence_missing", "kind": "retention", "rejected": evidence.rejected("retention")} if {
	asked
	count(statements) == 0
}

report contains {"code": "retention_short", "class": class, "found": found, "limit": limit} if {
	asked
	some statement in statements
	some class in classes
	not long_enough(statement, class)
	found := object.get(statement.claims, class, "")
	limit := limits.value(class)
}
