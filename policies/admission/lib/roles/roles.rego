# METADATA
# title: Roles whose approval is required
# description: >-
#   The union of two tables: by environment and by risk level. A level that is not known asks for every role. A table
#   without an entry, an empty entry or a role that nobody knows leaves the set undefined, so nothing passes.
package admission.lib.roles

import data.admission.lib.environment

known := {role | some role in data.placet.roles}

by_environment := {role | some role in environment.settings.approvals}

by_level := {role | some role in data.placet.risk_approvals[input.risk.level]} if {
	input.risk.level in data.placet.levels
} else := known

required := union if {
	count(by_environment) > 0
	count(by_level) > 0
	union := by_environment | by_level
	count(union - known) == 0
}

# In the order in which the data lists the roles.
ordered := [role | some role in data.placet.roles; role in required]
