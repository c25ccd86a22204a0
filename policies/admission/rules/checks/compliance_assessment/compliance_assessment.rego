# METADATA
# title: The model has passed a compliance assessment
# description: >-
#   Somebody whom the keyring trusts has signed that the model was assessed and that it passed. One assessment that
#   failed refuses, whatever others say, until the same assessor says otherwise later.
# custom:
#   severity: high
#   solution: >-
#     Have the model assessed and the result attested (`placet.dev/compliance-assessment/v1`). Where an assessment
#     failed, mend what it found and have the same framework assessed again.
#   controls:
#     - EU AI Act Article 43
#     - NIST AI RMF GOVERN 1.1
#     - ISO/IEC 42001:2023 A.5.2
#     - NIST SP 800-53 CA-2
#     - SOC 2 CC4.1
package admission.rules.checks.compliance_assessment

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("checks.compliance_assessment")

passes if requirements.released("checks.compliance_assessment")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	every statement in statements {
		statement.claims.result == "passed"
	}
}

statements := evidence.of_model("compliance_assessment")

report contains {"code": "evidence_missing", "kind": "compliance_assessment", "rejected": evidence.rejected("compliance_assessment")} if {
	asked
	count(statements) == 0
}

report contains {"code": "assessment_failed", "framework": framework, "attester": statement.attester} if {
	asked
	some statement in statements
	statement.claims.result != "passed"
	framework := object.get(statement.claims, "framework", "")
}
