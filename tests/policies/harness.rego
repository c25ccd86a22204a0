# METADATA
# title: Many cases in one question
# description: >-
#   For tests alone. The input is {cases: [{input, data}]}, and either engine answers for every case in order.
package harness

passed contains id if {
	some category, name
	data.admission.rules[category][name].passes == true
	id := concat(".", [category, name])
}

proofs := [found |
	some case in input.cases
	found := passed with input as case.input with data.placet as case.data
]

decisions := [found |
	some case in input.cases
	found := data.admission.main.decision with input as case.input with data.placet as case.data
]

risks := [[object.get(found, "score", -1), object.get(found, "level", "")] |
	some case in input.cases
	found := data.admission.lib.risk with input as case.input with data.placet as case.data
]
