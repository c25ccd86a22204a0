# METADATA
# title: Privacy controls are those of the data's classification
# description: >-
#   A signed privacy assessment says how the model's data are classified. By that the policy data ask for an impact
#   assessment of data protection, for masking, or for both. Where assessments, or the model's bill of materials,
#   classify the data differently, the controls of all of them are asked for.
# custom:
#   severity: critical
#   solution: >-
#     Have the privacy assessment of the model attested. Where the refusal names a missing control, make the impact
#     assessment or mask the data, and have the assessment signed again by the same attester.
#   controls:
#     - EU AI Act Article 10
#     - EU AI Act Article 26
#     - NIST AI RMF MEASURE 2.10
#     - ISO/IEC 42001:2023 A.5.4
#     - NIST SP 800-53 RA-8
#     - SOC 2 CC6.1
package admission.rules.privacy.assessed

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("privacy.assessed")

passes if requirements.released("privacy.assessed")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	count(unknown) == 0
	every statement in statements {
		count(missing(statement)) == 0
	}
}

statements := evidence.of_model("privacy_assessment")

classifications contains object.get(statement.claims, "classification", "") if some statement in statements

# What the model's bill of materials says of its data counts as well.
classifications contains statement.claims.classification if some statement in evidence.of_model("model_bom")

unknown := {classification | some classification in classifications; not known(classification)}

known(classification) if {
	is_boolean(data.placet.classifications[classification].dpia)
	is_boolean(data.placet.classifications[classification].masking)
}

needed contains control if {
	some classification in classifications
	some control in {"dpia", "masking"}
	data.placet.classifications[classification][control] == true
}

missing(statement) := {control | some control in needed; not satisfied(statement, control)}

satisfied(statement, "dpia") if evidence.is_digest(statement.claims.dpia)

satisfied(statement, "masking") if statement.claims.masking == true

report contains {"code": "evidence_missing", "kind": "privacy_assessment", "rejected": evidence.rejected("privacy_assessment")} if {
	asked
	count(statements) == 0
}

report contains {"code": "classification_unknown", "classification": classification} if {
	asked
	some classification in unknown
}

report contains {"code": "control_missing", "control": control, "classifications": sort(classifications)} if {
	asked
	some statement in statements
	some control in missing(statement)
}
