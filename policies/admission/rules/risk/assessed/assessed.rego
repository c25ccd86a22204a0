# METADATA
# title: The risk score is right
# description: >-
#   The score and the level of the request are those that its six factor scores give by the table in the policy data, so
#   an approval matrix is never entered by a level that nobody can compute again.
# custom:
#   severity: critical
#   solution: >-
#     This is a fault of the gate or of its policy data, not of the workload: check that both come from one release.
#   controls:
#     - NIST SP 800-53 RA-3
#     - NIST AI RMF MEASURE 1.1
package admission.rules.risk.assessed

import data.admission.lib.risk

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if {
	risk.score == input.risk.score
	risk.level == input.risk.level
}

report contains {"code": "factor_invalid", "factor": factor} if {
	some factor in (risk.factors - {factor | some factor, _ in risk.points})
}

report contains {"code": "score_differs", "computed": risk.score} if risk.score != input.risk.score

report contains {"code": "level_differs", "computed": risk.level} if risk.level != input.risk.level
