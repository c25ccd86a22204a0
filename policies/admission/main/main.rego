# METADATA
# title: The policies can judge the request
# description: >-
#   Every package under admission.rules is a rule, and a request is allowed only when each rule in force proves that it
#   passes. What keeps the policies from judging at all is refused here, in every mode.
# custom:
#   severity: critical
#   solution: >-
#     This is a fault of the gate's configuration, not of the workload: check the environment's name, the policy data and
#     that the policies and placet come from one release.
#   controls:
#     - NIST SP 800-53 CM-3
package admission.main

import data.admission.lib.approvals
import data.admission.lib.environment
import data.admission.lib.modes
import data.admission.lib.roles

default decision := {"schema": "placet.dev/policy-decision/v1", "uid": "", "data_digest": "", "allowed": false}

decision := {
	"schema": "placet.dev/policy-decision/v1",
	"uid": input.uid,
	"data_digest": data.placet.digest,
	"allowed": allowed,
	"mode": environment.mode,
	"rules_judged": count(judged),
	"rules_passed": count(passed),
	"tolerated": sort({concat(".", rule) | some rule in lenient}),
	"required_roles": roles.ordered,
	"granted_roles": [role | some role in roles.ordered; role in approvals.granted],
	"violations": sort(problems | {finding | some finding in findings; finding.mode == "enforce"}),
	"warnings": sort(advice | {finding | some finding in findings; finding.mode == "warn"}),
	"notes": sort({finding | some finding in findings; finding.mode == "audit"}),
}

default allowed := false

# Proofs alone are counted: what a rule reports only explains.
allowed if {
	input_known
	data_known
	rules_complete
	environment.known
	count(unproved - lenient) == 0
}

parts := [
	"break_glass", "change", "classifications", "documents", "evidence", "exemptions", "kinds", "licences", "limits",
	"namespaces", "residency", "rollback",
]

input_known if input.schema == "placet.dev/policy-input/v2"

data_known if {
	data.placet.schema == "placet.dev/policy-data/v1"
	is_object(data.placet.rules)
	every part in parts {
		is_object(data.placet[part])
		count(data.placet[part]) > 0
	}
}

# Python stamps the number of rules in the bundle's manifest into the data: none can vanish unseen.
rules_complete if data.placet.expected_rules == count(judged)

problems contains problem("schema_unknown") if not input_known

problems contains problem("data_unknown") if not data_known

problems contains problem("rules_missing") if not rules_complete

problems contains problem("environment_unknown") if not environment.known

problem(code) := {"rule": "admission.main", "code": code, "mode": "enforce", "severity": "critical", "details": {}}

# Not in a file of its own: OPA's REST API refuses a module that names what another of its package has yet to bring.
judged contains [category, name] if {
	some category, name
	data.admission.rules[category][name].report
}

passed contains [category, name] if {
	some category, name
	data.admission.rules[category][name].passes == true
}

unproved := judged - passed

lenient contains rule if {
	some rule in unproved
	modes.mode_of(rule) in {"warn", "audit"}
}

# Nothing is said about rules that could not be judged for a problem of the gate's own.
findings contains stamped(rule, modes.mode_of(rule), entry) if {
	count(problems) == 0
	some rule in unproved
	some entry in said(rule)
}

advice contains stamped([category, name], "warn", entry) if {
	count(problems) == 0
	some category, name
	some entry in data.admission.rules[category][name].advice
	[category, name] in passed
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
