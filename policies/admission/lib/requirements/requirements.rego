# METADATA
# title: Which rules the environment asks for
# description: >-
#   A rule that the environment does not require passes, and says so by `released`. What a list that is missing or
#   malformed requires is not known: then no rule is asked for and none is released, so none passes.
package admission.lib.requirements

import data.admission.lib.environment

listed := {rule | some rule in environment.settings.requires} if {
	is_array(environment.settings.requires)
	every rule in environment.settings.requires {
		is_string(rule)
	}
}

asked(rule) if rule in listed

released(rule) if {
	rules := listed
	not rule in rules
}
