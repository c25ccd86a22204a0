# METADATA
# title: Rules about rules
# description: >-
#   Read over the parsed annotations and the names of the tests, when the bundle is built and in CI. `input` is
#   {rules: [{id, file, defines, title, description, custom, asks}], tests: [{package, name}], controls: {identifier: title}}.
#   `asks` are the rules that the rule's source names to lib.requirements.
package checks.conventions

severities := {"critical", "high", "medium", "low", "info"}

violations contains {"rule": rule.id, "code": "text_missing", "field": field} if {
	some rule in input.rules
	some field in ["title", "description"]
	blank(object.get(rule, field, ""))
}

violations contains {"rule": rule.id, "code": "text_missing", "field": "solution"} if {
	some rule in input.rules
	blank(object.get(rule, ["custom", "solution"], ""))
}

violations contains {"rule": rule.id, "code": "severity_unknown", "field": "severity"} if {
	some rule in input.rules
	severity := object.get(rule, ["custom", "severity"], "")
	not severity in severities
}

violations contains {"rule": rule.id, "code": "controls_missing", "field": "controls"} if {
	some rule in input.rules
	count(object.get(rule, ["custom", "controls"], [])) == 0
}

violations contains {"rule": rule.id, "code": "control_unknown", "field": control} if {
	some rule in input.rules
	some control in object.get(rule, ["custom", "controls"], [])
	not input.controls[control]
}

# A rule that asked whether another one is required would pass where nobody released it.
violations contains {"rule": rule.id, "code": "requirement_of_another", "field": asked} if {
	some rule in input.rules
	some asked in object.get(rule, "asks", [])
	asked != rule.id
}

violations contains {"rule": rule.id, "code": "duplicate_id", "field": "id"} if {
	some position, rule in input.rules
	some other in array.slice(input.rules, position + 1, count(input.rules))
	other.id == rule.id
}

violations contains {"rule": rule.id, "code": "no_test", "field": verb} if {
	some rule in input.rules
	some verb in ["passes", "fails"]
	count(tests_of(rule, verb)) == 0
}

# Without a report it is not counted as a rule, and what it reports is lost without a severity.
violations contains {"rule": rule.id, "code": "part_missing", "field": part} if {
	some rule in input.rules
	some part in ["passes", "report", "severity"]
	not part in rule.defines
}

blank(text) if not is_string(text)

blank(text) if trim_space(text) == ""

tests_of(rule, verb) := {test.name |
	some test in input.tests
	test.package == $"tests.{rule.id}_test"
	startswith(test.name, $"test_{verb}_")
}
