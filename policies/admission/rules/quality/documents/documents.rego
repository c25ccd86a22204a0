# METADATA
# title: The model's documents are all there
# description: >-
#   Every attestation of the model's documentation that counts names each document that the policy data require, such
#   as a model card. What is in them is for people to read: the attester says that they are there, by digest.
# custom:
#   severity: medium
#   solution: >-
#     Write the documents that the refusal names, and have the documentation attested again with all of them.
#   controls:
#     - EU AI Act Article 11
#     - EU AI Act Article 13
#     - ISO/IEC 42001:2023 A.6.2.7
#     - NIST AI RMF MAP 2.3
package admission.rules.quality.documents

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("quality.documents")

passes if requirements.released("quality.documents")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	every statement in statements {
		is_array(statement.claims.documents)
		count(required) > 0
		count(required - {name | some name in statement.claims.documents}) == 0
	}
}

statements := evidence.of_model("documentation")

required := {name | some name in data.placet.documents.required}

report contains {"code": "evidence_missing", "kind": "documentation", "rejected": evidence.rejected("documentation")} if {
	asked
	count(statements) == 0
}

report contains {"code": "documents_missing", "documents": sort(lacking)} if {
	asked
	some statement in statements
	lacking := required - {name | some name in statement.claims.documents}
	count(lacking) > 0
}
