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
	count((judged - passed) - lenient) == 0
}

input_known if input.schema == "placet.dev/policy-input/v1"

data_known if {
	data.placet.schema == "placet.dev/policy-data/v1"
	is_object(data.placet.rules)
}

# Python stamps the number of rules in the bundle's manifest into the data: none can vanish unseen.
rules_complete if data.placet.expected_rules == count(judged)

problems contains problem("schema_unknown") if not input_known

problems contains problem("data_unknown") if not data_known

problems contains problem("rules_missing") if not rules_complete

problems contains problem("environment_unknown") if not environment.known

problem(code) := {"rule": "admission.main", "code": code, "mode": "enforce", "severity": "critical", "details": {}}
