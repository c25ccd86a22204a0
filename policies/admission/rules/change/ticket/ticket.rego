# METADATA
# title: An approved change ticket names this change
# description: >-
#   The system that keeps the tickets has signed that a ticket of the form that the policy data describe is approved,
#   about the very content that is deployed. A ticket on another content, a draft or a rejected one is none.
# custom:
#   severity: high
#   solution: >-
#     Open a change ticket for this content (`placet digest` prints its projection), have it approved, and put the
#     attestation of the ticket on the workload.
#   controls:
#     - NIST SP 800-53 CM-3
#     - SOC 2 CC8.1
#     - ISO/IEC 42001:2023 A.6.2.5
#     - ISO/IEC 27001:2022 A.8.32
package admission.rules.change.ticket

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("change.ticket")

passes if requirements.released("change.ticket")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	every statement in statements {
		well_formed(statement.claims.ticket)
		statement.claims.state == "approved"
	}
}

statements := evidence.of_projection("change_ticket")

well_formed(ticket) if {
	some prefix in data.placet.change.ticket.prefixes
	is_string(prefix)
	is_string(ticket)
	startswith(ticket, prefix)
	number := substring(ticket, count(prefix), -1)
	regex.match(`^[0-9]+$`, number)
	count(number) == data.placet.change.ticket.digits
}

report contains {"code": "evidence_missing", "kind": "change_ticket", "rejected": evidence.rejected("change_ticket")} if {
	asked
	count(statements) == 0
}

report contains {"code": "ticket_malformed", "ticket": ticket} if {
	asked
	some statement in statements
	ticket := object.get(statement.claims, "ticket", "")
	not well_formed(ticket)
}

report contains {"code": "ticket_not_approved", "ticket": ticket, "state": state} if {
	asked
	some statement in statements
	ticket := object.get(statement.claims, "ticket", "")
	state := object.get(statement.claims, "state", "")
	state != "approved"
}
