# METADATA
# title: One person approves for one role only
# description: >-
#   A person who may sign for two roles counts for one of them. So for every choice of required roles there must be at
#   least as many different persons with a usable approval in it as these roles need together (Hall's condition).
# custom:
#   severity: high
#   solution: >-
#     Let a further person sign for one of the named roles: the same person was counted for more than one.
#   controls:
#     - NIST SP 800-53 AC-5
#     - ISO/IEC 27001:2022 A.5.3
package admission.rules.approvals.separation

import data.admission.lib.approvals
import data.admission.lib.change
import data.admission.lib.roles

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if {
	change.judged_anew
	count(roles.required) > 0
	roles.required == {role | some role, _ in approvals.threshold}
	count(choices) == product([2 | some _ in roles.required]) - 1
	count(short) == 0
}

passes if change.carried_forward

# Every non-empty set of required roles, with the persons it needs and has.
choices[choice] := {"needed": needed, "persons": count(persons)} if {
	some technical in [set(), {"technical"}]
	some security in [set(), {"security"}]
	some business in [set(), {"business"}]
	some executive in [set(), {"executive"}]
	choice := ((technical | security) | business) | executive
	count(choice) > 0
	count(choice - roles.required) == 0
	needed := sum([approvals.threshold[role] | some role in choice])
	persons := {person | some role in choice; some person in approvals.persons[role]}
}

short contains choice if {
	some choice, found in choices
	found.persons < found.needed
}

# A role that lacks approvals of its own is the business of approvals.required.
report contains {"code": "approvals_missing"} if count(roles.required - approvals.granted) > 0

report contains entry if {
	some choice in short
	count(choice - approvals.granted) == 0
	entry := {
		"code": "persons_too_few",
		"roles": [role | some role in roles.ordered; role in choice],
		"needed": choices[choice].needed,
		"persons": choices[choice].persons,
	}
}
