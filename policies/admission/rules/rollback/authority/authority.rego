# METADATA
# title: Who rolls back may, and a rollback has been drilled
# description: >-
#   A rollback goes to what the record shows as admitted for this workload and to nothing else, and is made by
#   somebody whom the policy data name. What is deployed anew has a signed drill of its rollback that was quick and
#   recent enough: whoever has to roll back at night has no time to find out.
# custom:
#   severity: high
#   solution: >-
#     To roll back, ask one of those who may. To deploy, drill the rollback of this content in a rehearsal and have
#     the result attested with its minutes.
#   controls:
#     - NIST SP 800-53 CP-4
#     - NIST SP 800-53 AC-3
#     - NIST SP 800-53 CM-5
#     - SOC 2 CC7.5
#     - NIST AI RMF MANAGE 2.4
#     - EU AI Act Article 14
package admission.rules.rollback.authority

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("rollback.authority")

passes if requirements.released("rollback.authority")

passes if {
	change.carried_forward
	input.change.kind in {"unchanged", "scaled", "child"}
}

passes if {
	asked
	change.carried_forward
	input.change.kind == "rollback"
	authorised
}

passes if {
	asked
	change.judged_anew
	count(drills) > 0
	every drill in drills {
		quick(drill)
	}
}

quick(drill) if {
	is_number(drill.claims.minutes)
	drill.claims.minutes > 0
	drill.claims.minutes <= limits.value("rollback_minutes")
}

authorised if {
	is_string(input.requester)
	input.requester in data.placet.rollback.users
}

authorised if {
	some group in input.requester_groups
	is_string(group)
	group in data.placet.rollback.groups
}

drills := evidence.recent(evidence.of_projection("rollback_drill"), limits.value("drill_days") * 86400)

report contains {"code": "rollback_not_authorised", "requester": input.requester} if {
	asked
	input.change.kind == "rollback"
	not authorised
}

report contains {"code": "drill_missing", "rejected": evidence.rejected("rollback_drill")} if {
	asked
	change.judged_anew
	count(drills) == 0
}

report contains {"code": "drill_slow", "found": found, "limit": limit} if {
	asked
	change.judged_anew
	limit := limits.value("rollback_minutes")
	some drill in drills
	not quick(drill)
	found := object.get(drill.claims, "minutes", "")
}
