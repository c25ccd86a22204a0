# METADATA
# title: Thresholds
# description: >-
#   The most specific one counts: that of the model before that of the environment, and that before the default. One
#   that is missing, no number or negative is undefined, and what compares with it proves nothing. A table that is no
#   object leaves none defined.
package admission.lib.limits

tables := [of_default, of_environment, of_model] if {
	of_default := data.placet.limits["default"]
	of_environment := object.get(data.placet.limits.environments, input.environment, {})
	of_model := object.get(data.placet.limits.models, input.model.name, {})
	is_string(input.environment)
	is_string(input.model.name)
	is_object(of_default)
	is_object(of_environment)
	is_object(of_model)
}

merged := object.union_n(tables)

value(name) := limit if {
	limit := merged[name]
	is_number(limit)
	limit >= 0
}
