# METADATA
# title: The model has no open incident and error budget left
# description: >-
#   Those who operate the model have signed, within the last minutes or hours, that it has no more open incidents than
#   allowed and enough left of its error budget. Nobody adds change to trouble; what is carried forward, a rollback
#   above all, is let through.
# custom:
#   severity: high
#   solution: >-
#     Close the incident or wait until the error budget recovers, and have the state of operations attested anew. A
#     rollback needs none of this; what can't wait goes by break-glass.
#   controls:
#     - NIST SP 800-53 IR-4
#     - SOC 2 CC7.4
#     - NIST AI RMF MANAGE 4.3
#     - EU AI Act Article 73
#     - EU AI Act Article 26
package admission.rules.incident.clear

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("incident.clear")

passes if requirements.released("incident.clear")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(fresh) > 0
	every statement in fresh {
		quiet(statement)
		affordable(statement)
	}
}

fresh := evidence.recent(statements, limits.value("operations_status_minutes") * 60)

quiet(statement) if {
	is_number(statement.claims.open_incidents)
	statement.claims.open_incidents >= 0
	statement.claims.open_incidents <= limits.value("open_incidents")
}

affordable(statement) if {
	is_number(statement.claims.error_budget_left_permille)
	statement.claims.error_budget_left_permille >= limits.value("error_budget_left_permille")
}

statements := evidence.of_model("operations_status")

report contains {"code": "evidence_missing", "kind": "operations_status", "rejected": evidence.rejected("operations_status")} if {
	asked
	count(statements) == 0
}

report contains {"code": "status_old", "minutes": limits.value("operations_status_minutes")} if {
	asked
	count(statements) > 0
	count(fresh) == 0
}

report contains {"code": "incidents_open", "found": object.get(statement.claims, "open_incidents", "")} if {
	asked
	some statement in fresh
	not quiet(statement)
}

report contains {"code": "error_budget_burnt", "left": object.get(statement.claims, "error_budget_left_permille", "")} if {
	asked
	some statement in fresh
	not affordable(statement)
}
