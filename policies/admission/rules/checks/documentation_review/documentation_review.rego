# METADATA
# title: The model's documentation has been reviewed
# description: >-
#   Somebody whom the keyring trusts has signed which documents there are for the model that is deployed, each with
#   its digest. Which ones there must be is the business of quality.documents.
# custom:
#   severity: high
#   solution: >-
#     Have the documents reviewed and attested (in-toto reference/v0.1) about the model's digest, then apply the
#     workload with the attestation.
#   controls:
#     - EU AI Act Article 11
#     - ISO/IEC 42001:2023 A.6.2.7
#     - NIST AI RMF MAP 2.3
#     - NIST SP 800-53 SA-5
package admission.rules.checks.documentation_review

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("checks.documentation_review")

passes if requirements.released("checks.documentation_review")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
}

statements := evidence.of_model("documentation")

report contains {"code": "evidence_missing", "kind": "documentation", "rejected": evidence.rejected("documentation")} if {
	asked
	count(statements) == 0
}
