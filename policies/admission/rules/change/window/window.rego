# METADATA
# title: A change window is open and nothing is frozen
# description: >-
#   Changes are made when people are there to look after them: in a window of the policy data that is open for this
#   environment, and never during a freeze. What is carried forward is no change.
# custom:
#   severity: medium
#   solution: >-
#     Wait for the next window, or for the end of the freeze that the refusal names. What can't wait goes by break-
#     glass, which two persons sign.
#   controls:
#     - NIST SP 800-53 CM-3
#     - SOC 2 CC8.1
#     - ISO/IEC 27001:2022 A.8.32
package admission.rules.change.window

import data.admission.lib.change
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("change.window")

passes if requirements.released("change.window")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	is_array(input.calendar.windows)
	is_array(input.calendar.freezes)
	count(input.calendar.windows) > 0
	count(input.calendar.freezes) == 0
}

report contains {"code": "window_closed"} if {
	asked
	count(input.calendar.windows) == 0
}

report contains {"code": "frozen", "freeze": freeze} if {
	asked
	some freeze in input.calendar.freezes
}
