# METADATA
# title: Somebody is on call, by a plan that is recent
# description: >-
#   A signed statement names who is on call for the model and the plan for incidents, by its digest, and was made
#   recently enough: plans age faster than models.
# custom:
#   severity: medium
#   solution: >-
#     Go through the incident plan of the model, name who is on call, and have it attested again
#     (`placet.dev/incident-plan/v1`).
#   controls:
#     - NIST SP 800-53 IR-8
#     - SOC 2 CC7.4
#     - NIST AI RMF MANAGE 4.3
#     - EU AI Act Article 73
#     - ISO/IEC 42001:2023 A.8.4
package admission.rules.incident.plan

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("incident.plan")

passes if requirements.released("incident.plan")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(plans) > 0
	every statement in plans {
		named(statement)
	}
}

plans := evidence.recent(statements, limits.value("incident_plan_days") * 86400)

named(statement) if {
	is_string(statement.claims.on_call)
	trim_space(statement.claims.on_call) != ""
	evidence.is_digest(statement.claims.plan)
}

statements := evidence.of_model("incident_plan")

report contains {"code": "evidence_missing", "kind": "incident_plan", "rejected": evidence.rejected("incident_plan")} if {
	asked
	count(statements) == 0
}

report contains {"code": "plan_old", "days": limits.value("incident_plan_days")} if {
	asked
	count(statements) > 0
	count(plans) == 0
}

report contains {"code": "plan_unnamed", "attester": statement.attester} if {
	asked
	some statement in plans
	not named(statement)
}
