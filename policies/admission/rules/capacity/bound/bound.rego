# METADATA
# title: The replicas have a ceiling within the limit
# description: >-
#   How many replicas may ever run at once is known, autoscalers included, and within the limit. More replicas of what
#   runs are held to it as well; fewer, and what is rolled back without more, are not.
# custom:
#   severity: medium
#   solution: >-
#     Give the autoscaler a maximum, or the workload a number of replicas, within the limit that the refusal names.
#   controls:
#     - NIST SP 800-53 SC-5
#     - NIST SP 800-53 SC-6
#     - SOC 2 A1.1
#     - NIST AI RMF MANAGE 1.3
package admission.rules.capacity.bound

import data.admission.lib.change
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("capacity.bound")

passes if requirements.released("capacity.bound")

passes if {
	change.carried_forward
	not growing
}

passes if {
	asked
	change.carried_forward
	within
}

passes if {
	asked
	change.judged_anew
	within
}

# What a controller makes of an object was bound with the object.
growing if {
	input.change.kind in {"scaled", "rollback"}
	not steady
}

steady if input.change.scale in {"same", "down"}

within if {
	input.replicas.known == true
	is_number(input.replicas.ceiling)
	input.replicas.ceiling >= 0
	input.replicas.ceiling <= limits.value("replicas")
}

report contains {"code": "replicas_unknown"} if {
	asked
	input.replicas.known == false
}

report contains {"code": "replicas_many", "found": found, "limit": limit} if {
	asked
	input.replicas.known == true
	found := input.replicas.ceiling
	limit := limits.value("replicas")
	found > limit
}
