# METADATA
# title: The same content has run in the environment before
# description: >-
#   An environment may be promoted to from one other. The record must show that the same content was admitted there,
#   with every approval and without a rule that only warned, and that this was long enough ago.
# custom:
#   severity: high
#   solution: >-
#     Deploy the same content to the environment that the refusal names, let it run for the soak time, and then apply
#     it here. Content that was changed since has to start again.
#   controls:
#     - NIST SP 800-53 CM-4
#     - NIST SP 800-53 CM-3
#     - SOC 2 CC8.1
#     - ISO/IEC 42001:2023 A.6.2.5
#     - NIST AI RMF MANAGE 1.1
package admission.rules.promotion.staged

import data.admission.lib.change
import data.admission.lib.environment
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("promotion.staged")

passes if requirements.released("promotion.staged")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	input.history.known == true
	is_array(input.history.admitted)
	count(soaked) > 0
}

before := name if {
	name := environment.settings.promotes_from
	is_string(name)
	name != input.environment
}

admitted := {entry |
	some entry in input.history.admitted
	entry.environment == before
	is_string(entry.decision_id)
	entry.decision_id != ""
	is_number(entry.since_s)
}

soaked contains entry if {
	some entry in admitted
	is_number(input.time_s)
	input.time_s - entry.since_s >= limits.value("soak_hours") * 3600
}

report contains {"code": "history_unknown"} if {
	asked
	input.history.known == false
}

report contains {"code": "promotion_unset"} if {
	asked
	not before
}

report contains {"code": "not_staged", "before": before} if {
	asked
	input.history.known == true
	count(admitted) == 0
}

report contains {"code": "soaking", "before": before, "since_s": since_s, "hours": limits.value("soak_hours")} if {
	asked
	count(soaked) == 0
	since_s := min({entry.since_s | some entry in admitted})
}
