package tests.lib.limits_test

import data.admission.lib.limits
import data.tests.governed

of(tables) := limit if {
	limit := limits.value("replicas") with input as governed.request with data.placet as {"limits": tables}
}

default_only := {"default": {"replicas": 1}, "environments": {}, "models": {}}

test_the_default_holds_where_nothing_else_is_said if {
	of(default_only) == 1
	of(object.union(default_only, {"environments": {"staging": {"replicas": 2}}, "models": {"other": {"replicas": 3}}})) == 1
}

test_the_environment_goes_before_the_default if {
	of(object.union(default_only, {"environments": {"production": {"replicas": 2}}})) == 2
}

test_the_model_goes_before_the_environment if {
	models := {"llama-3.1-70b": {"replicas": 3}}
	of(object.union(default_only, {"environments": {"production": {"replicas": 2}}, "models": models})) == 3
}

test_a_zero_of_the_model_is_a_limit if {
	of(object.union(default_only, {"models": {"llama-3.1-70b": {"replicas": 0}}})) == 0
}

test_a_limit_that_is_none_is_undefined if {
	every wrong in [-1, "1", null, true, [], {}] {
		not of(object.union(default_only, {"default": {"replicas": wrong}}))
		not of(object.union(default_only, {"models": {"llama-3.1-70b": {"replicas": wrong}}}))
	}
	not of(object.union(default_only, {"default": {"other": 1}})) == 0
	not of(object.remove(default_only, ["default"]))
}

test_a_table_that_is_no_object_leaves_no_limit if {
	every part in [{"default": 7}, {"environments": {"production": 7}}, {"models": {"llama-3.1-70b": []}}] {
		not of(object.union(default_only, part))
	}
}

test_a_missing_table_leaves_no_limit if {
	not of(object.remove(default_only, ["environments"]))
	not of(object.remove(default_only, ["models"]))
}

test_an_environment_or_a_model_without_a_name_has_no_limit if {
	every fields in [{"environment": 7}, {"environment": null}, {"model": {"name": 7}}, {"model": {"name": null}}] {
		not limits.value("replicas") with input as governed.changed(fields) with data.placet as {"limits": default_only}
	}
}
