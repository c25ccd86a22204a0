# METADATA
# title: No approval has been revoked
# description: >-
#   A revocation says that what was approved must not run, and nothing counts that a compromised key ever signed. Both
#   hold for an unchanged workload too, which no other expired or missing approval stops. Only running fewer replicas of
#   it, with nothing else changed, is always allowed.
# custom:
#   severity: critical
#   solution: >-
#     Find out why the approval was revoked. When the workload may run after all, have it approved anew and replace the
#     revoked approval.
#   controls:
#     - NIST SP 800-53 AC-2
#     - NIST SP 800-53 CM-5
package admission.rules.approvals.revoked

import data.admission.lib.change

severity := rego.metadata.chain()[1].annotations.custom.severity

taken_back := {"revoked", "key_compromised"}

passes if {
	is_array(input.rejected)
	every rejected in input.rejected {
		is_string(rejected.code)
		count({rejected.code} & taken_back) == 0
	}
}

passes if change.scaled_down

report contains {"code": "revoked", "cause": rejected.code, "role": role, "approval_id": approval_id} if {
	some rejected in input.rejected
	rejected.code in taken_back
	role := object.get(rejected, "role", "")
	approval_id := object.get(rejected, "approval_id", "")
}
