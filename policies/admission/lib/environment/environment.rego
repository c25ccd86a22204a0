# METADATA
# title: The settings of the request's environment
# description: Undefined where the environment is not in the policy data, so whatever builds on it proves nothing.
package admission.lib.environment

modes := {"enforce", "warn", "audit"}

settings := found if {
	found := data.placet.environments[input.environment]
	is_object(found)
}

known if is_array(settings.approvals)

default mode := "enforce"

mode := settings.mode if settings.mode in modes

bindings := {binding | some binding in settings.bindings} if {
	is_array(settings.bindings)
	count(settings.bindings) > 0
}
