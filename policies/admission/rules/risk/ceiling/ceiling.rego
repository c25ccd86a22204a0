# METADATA
# title: The risk is within what is allowed and approved
# description: >-
#   The level is not above the highest one that the environment lets in, nor above the highest one that an approver of a
#   required role agreed to.
# custom:
#   severity: high
#   solution: >-
#     Lower the risk (`placet score` shows the smallest change that drops a level), or have it approved up to this level.
#   controls:
#     - NIST SP 800-53 RA-7
#     - NIST AI RMF MANAGE 1.2
package admission.rules.risk.ceiling

import data.admission.lib.approvals
import data.admission.lib.change
import data.admission.lib.environment
import data.admission.lib.risk
import data.admission.lib.roles

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if {
	change.judged_anew
	risk.rank[input.risk.level] <= risk.rank[environment.settings.max_level]
	is_array(input.approvals)
	every at, approval in input.approvals {
		settled(at, approval)
	}
}

passes if change.carried_forward

settled(at, _) if at in approvals.within_risk

settled(_, approval) if approval.role in (roles.known - roles.required)

report contains {"code": "level_above_environment", "level": input.risk.level, "max_level": max_level} if {
	max_level := environment.settings.max_level
	risk.rank[input.risk.level] > risk.rank[max_level]
}

report contains {"code": "level_above_approval", "role": approval.role, "max_risk": approval.max_risk} if {
	some at in (approvals.offered - approvals.within_risk)
	approval := input.approvals[at]
}

# Not a refusal: the approver agreed to a level, and the level still holds though its inputs moved.
advice contains {"code": "risk_inputs_differ", "role": approval.role} if {
	some at in approvals.usable
	approval := input.approvals[at]
	approval.risk_inputs_match == false
}
