# METADATA
# title: Monitors and alert rules watch the workload
# description: >-
#   A signed statement about this content names the monitors that watch it and counts its alert rules, and every such
#   statement that counts has as many as the limits ask for.
# custom:
#   severity: medium
#   solution: >-
#     Add a ServiceMonitor or PodMonitor and alert rules for the workload, and have them attested
#     (`placet.dev/monitoring/v1`) about its projection.
#   controls:
#     - EU AI Act Article 72
#     - NIST SP 800-53 SI-4
#     - NIST SP 800-53 CA-7
#     - SOC 2 CC7.2
#     - NIST AI RMF MANAGE 4.1
#     - ISO/IEC 42001:2023 A.6.2.6
package admission.rules.monitoring.configured

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("monitoring.configured")

passes if requirements.released("monitoring.configured")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	every statement in statements {
		watched(statement)
		alerted(statement)
	}
}

statements := evidence.of_projection("monitoring")

watched(statement) if {
	evidence.is_names(statement.claims.monitors)
	count({monitor | some monitor in statement.claims.monitors; monitor != ""}) >= limits.value("monitors")
}

alerted(statement) if {
	is_number(statement.claims.alert_rules)
	statement.claims.alert_rules >= limits.value("alert_rules")
}

report contains {"code": "evidence_missing", "kind": "monitoring", "rejected": evidence.rejected("monitoring")} if {
	asked
	count(statements) == 0
}

report contains {"code": "monitors_few", "limit": limits.value("monitors")} if {
	asked
	some statement in statements
	not watched(statement)
}

report contains {"code": "alert_rules_few", "limit": limits.value("alert_rules")} if {
	asked
	some statement in statements
	not alerted(statement)
}
