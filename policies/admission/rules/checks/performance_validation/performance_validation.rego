# METADATA
# title: The model's performance has been evaluated
# description: >-
#   Somebody whom the keyring trusts has signed how the model performed, about the digest of the model that is
#   deployed. Whether that is good enough is the business of quality.performance.
# custom:
#   severity: high
#   solution: >-
#     Evaluate the model and attest the result (`placet.dev/model-evaluation/v1`) about its digest; the workload must
#     name that digest in `placet.dev/model-digest`.
#   controls:
#     - NIST AI RMF MEASURE 2.3
#     - EU AI Act Article 15
#     - ISO/IEC 42001:2023 A.6.2.4
#     - NIST SP 800-53 SA-11
package admission.rules.checks.performance_validation

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("checks.performance_validation")

passes if requirements.released("checks.performance_validation")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
}

statements := evidence.of_model("performance")

report contains {"code": "evidence_missing", "kind": "performance", "rejected": evidence.rejected("performance")} if {
	asked
	count(statements) == 0
}
