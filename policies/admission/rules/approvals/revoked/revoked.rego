# METADATA
# title: No approval has been revoked
# description: >-
#   A revocation says that what was approved must not run. It holds for an unchanged workload too, which no other
#   expired or missing approval stops.
# custom:
#   severity: critical
#   solution: >-
#     Find out why the approval was revoked. When the workload may run after all, have it approved anew and replace the
#     revoked approval.
#   controls:
#     - NIST SP 800-53 AC-2
#     - NIST SP 800-53 CM-5
package admission.rules.approvals.revoked

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if {
	is_array(input.rejected)
	every rejected in input.rejected {
		is_string(rejected.code)
		rejected.code != "revoked"
	}
}

report contains {"code": "revoked", "role": role, "approval_id": approval_id} if {
	some rejected in input.rejected
	rejected.code == "revoked"
	role := object.get(rejected, "role", "")
	approval_id := object.get(rejected, "approval_id", "")
}
