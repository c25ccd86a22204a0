# METADATA
# title: Required approvals are there
# description: >-
#   Each role that the environment or the risk level asks for has approvals of as many persons as the keyring demands.
#   An unchanged workload is carried forward; when its approvals are no longer all there, the decision says so.
# custom:
#   severity: high
#   solution: >-
#     Ask someone who may sign for the missing role to review the workload and to run `placet approve` for it, then
#     apply the workload with the new annotation.
#   controls:
#     - NIST SP 800-53 CM-3
#     - NIST SP 800-53 CM-5
#     - ISO/IEC 27001:2022 A.8.32
package admission.rules.approvals.required

import data.admission.lib.approvals
import data.admission.lib.change
import data.admission.lib.roles

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if {
	change.judged_anew
	complete
}

passes if change.carried_forward

complete if {
	count(roles.required) > 0
	count(roles.required - approvals.granted) == 0
}

report contains entry if {
	some role in (roles.required - approvals.granted)
	some needed in [approvals.threshold[role]]
	entry := {
		"code": "role_missing",
		"role": role,
		"needed": needed,
		"persons": count(object.get(approvals.persons, role, set())),
		"rejected": sort({rejected.code | some rejected in input.rejected; rejected.role == role}),
	}
}

report contains {"code": "threshold_invalid", "role": role} if {
	some role in (roles.required - {role | some role, _ in approvals.threshold})
}

advice contains {"code": "approvals_expired", "role": role} if {
	change.carried_forward
	input.change.kind in {"unchanged", "scaled"}
	some role in (roles.required - approvals.granted)
}

advice contains {"code": "rolled_back", "decision_id": input.precedent.decision_id, "time_s": input.precedent.time_s} if {
	change.carried_forward
	input.change.kind == "rollback"
}
