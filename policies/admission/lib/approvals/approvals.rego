# METADATA
# title: Approvals that count
# description: >-
#   An approval is usable when it is for a required role, is bound to all that the environment demands, covers the
#   assessed risk level and has not expired. Signatures, grants and revocations were checked before; they are facts here.
package admission.lib.approvals

import data.admission.lib.environment
import data.admission.lib.risk
import data.admission.lib.roles

# Places in input.approvals, for what is compared and counted below: sets of numbers cost less than sets of approvals.
offered contains at if {
	some at, approval in input.approvals
	approval.role in roles.required
}

bound contains at if {
	some at in offered
	bindings := input.approvals[at].bindings
	is_array(bindings)
	count(environment.bindings - {binding | some binding in bindings}) == 0
}

within_risk contains at if {
	some at in offered
	risk.rank[input.approvals[at].max_risk] >= risk.rank[input.risk.level]
}

usable contains at if {
	some at in (bound & within_risk)
	approval := input.approvals[at]
	is_string(approval.person)
	approval.person != ""
	is_number(approval.expires_s)
	is_number(input.time_s)
	approval.expires_s > input.time_s
}

persons[role] contains approval.person if {
	some at in usable
	approval := input.approvals[at]
	role := approval.role
}

# Persons needed for each required role; a role without a threshold of at least one has none.
threshold[role] := needed if {
	some role in roles.required
	needed := input.thresholds[role]
	is_number(needed)
	needed >= 1
}

granted contains role if {
	some role, needed in threshold
	count(persons[role]) >= needed
}
