# METADATA
# title: The training data and their licences are declared
# description: >-
#   Somebody whom the keyring trusts has signed which datasets the model was trained on, by digest, under which
#   licences, and that the list is complete. Every licence is one that the policy data allow.
# custom:
#   severity: high
#   solution: >-
#     Attest the lineage of the model (`placet.dev/lineage/v1`) with every dataset and licence. A licence that the
#     refusal names has to be allowed by those who answer for it, or the data taken out of the model.
#   controls:
#     - EU AI Act Article 10
#     - EU AI Act Article 53
#     - NIST AI RMF MAP 4.1
#     - ISO/IEC 42001:2023 A.7.5
#     - ISO/IEC 42001:2023 A.7.3
#     - NIST SP 800-53 SR-4
package admission.rules.lineage.declared

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("lineage.declared")

passes if requirements.released("lineage.declared")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	every statement in statements {
		whole(statement)
		count(licences(statement) - allowed) == 0
	}
}

statements := evidence.of_model("lineage")

allowed := {licence | some licence in data.placet.licences.allowed}

licences(statement) := {licence | some licence in statement.claims.licences} if is_array(statement.claims.licences)

datasets(statement) := {dataset |
	some dataset in statement.claims.datasets
	evidence.is_digest(dataset)
} if {
	is_array(statement.claims.datasets)
}

report contains {"code": "evidence_missing", "kind": "lineage", "rejected": evidence.rejected("lineage")} if {
	asked
	count(statements) == 0
}

report contains {"code": "lineage_incomplete", "attester": statement.attester} if {
	asked
	some statement in statements
	not whole(statement)
}

whole(statement) if {
	statement.claims.complete == true
	count(datasets(statement)) > 0
	count(licences(statement)) > 0
}

report contains {"code": "licence_not_allowed", "licence": licence} if {
	asked
	some statement in statements
	some licence in (licences(statement) - allowed)
}
