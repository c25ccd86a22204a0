# METADATA
# title: Approvals are bound to what they approve
# description: >-
#   An environment names what an approval must be bound to: the projection, the images, the model. An approval for a
#   required role that leaves one of them open could be used for another workload, so it refuses the request.
# custom:
#   severity: critical
#   solution: >-
#     Sign again with `placet approve` for this environment: it binds the approval to everything the environment asks for.
#   controls:
#     - NIST SP 800-53 SI-7
#     - NIST SP 800-53 CM-14
package admission.rules.approvals.binding

import data.admission.lib.approvals
import data.admission.lib.change
import data.admission.lib.environment
import data.admission.lib.roles

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if {
	change.judged_anew
	count(roles.required) > 0
	count(environment.bindings) > 0
	is_array(input.approvals)
	every at, approval in input.approvals {
		settled(at, approval)
	}
}

passes if change.carried_forward

settled(at, _) if at in approvals.bound

settled(_, approval) if approval.role in (roles.known - roles.required)

report contains {"code": "binding_missing", "role": approval.role, "missing": missing} if {
	some at in (approvals.offered - approvals.bound)
	approval := input.approvals[at]
	covered := {binding | some binding in object.get(approval, "bindings", [])}
	missing := sort(environment.bindings - covered)
}
