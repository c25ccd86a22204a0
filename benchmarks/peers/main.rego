# The answer of an OPA server that is itself the webhook: POST / is answered with data.system.main.
package system

import data.guard

main := {
	"apiVersion": "admission.k8s.io/v1",
	"kind": "AdmissionReview",
	"response": {"uid": input.request.uid, "allowed": count(guard.violation) == 0, "status": {"message": message}},
}

message := concat("; ", {violation.msg | some violation in guard.violation})
