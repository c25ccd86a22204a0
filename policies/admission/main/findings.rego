package admission.main

import data.admission.lib.environment

judged contains [category, name] if {
	some category, name
	data.admission.rules[category][name].report
}

passed contains [category, name] if {
	some category, name
	data.admission.rules[category][name].passes == true
}

lenient contains rule if {
	some rule in judged
	mode_of(rule) in {"warn", "audit"}
}

mode_of(rule) := mode if {
	mode := data.placet.rules[concat(".", rule)].mode
	mode in environment.modes
} else := environment.mode

# Nothing is said about rules that could not be judged for a problem of the gate's own.
findings contains stamped(rule, mode_of(rule), entry) if {
	count(problems) == 0
	some rule in (judged - passed)
	some entry in said(rule)
}

advice contains stamped(rule, "warn", entry) if {
	count(problems) == 0
	some rule in passed
	[category, name] := rule
	some entry in data.admission.rules[category][name].advice
}

# A rule without its proof that does not say why is undecided.
said([category, name]) := report if {
	report := data.admission.rules[category][name].report
	count(report) > 0
} else := {{"code": "undecided"}}

stamped(rule, mode, entry) := {
	"rule": concat(".", rule),
	"code": entry.code,
	"mode": mode,
	"severity": data.admission.rules[rule[0]][rule[1]].severity,
	"details": object.remove(entry, ["code"]),
}
