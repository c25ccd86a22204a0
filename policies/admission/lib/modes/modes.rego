# METADATA
# title: In which mode a rule judges
# description: Its own in the policy data, else the environment's; a rule that is announced for a day warns until then.
package admission.lib.modes

import data.admission.lib.environment

# What is announced for a day to come warns until then, and audits where it audits already.
mode_of(rule) := "warn" if {
	rule in announced
	mode_given(rule) == "enforce"
} else := mode_given(rule)

mode_given(rule) := mode if {
	mode := data.placet.rules[concat(".", rule)].mode
	mode in environment.modes
} else := environment.mode

# A rule's effective_on, which the build of the bundle writes in seconds too. What is no number puts nothing off.
announced contains [category, name] if {
	some category, name
	from_s := data.admission.rules[category][name].effective_s
	is_number(from_s)
	is_number(now_s)
	from_s > now_s
}

# Another day than the request's is for trials (--effective-time): a gate never gives one.
now_s := data.placet.effective_time_s if {
	is_number(data.placet.effective_time_s)
} else := input.time_s
