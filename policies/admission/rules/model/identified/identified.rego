# METADATA
# title: The workload says which model it serves
# description: >-
#   An approval is for a model of a name and a version. Where the environment binds approvals to the model, its digest
#   must be known too, or another model could be served under the same name.
# custom:
#   severity: medium
#   solution: >-
#     Add the label `placet.dev/model` and the annotations `placet.dev/model-version` and `placet.dev/model-digest` to the
#     workload.
#   controls:
#     - NIST SP 800-53 CM-8
#     - NIST AI RMF MAP 2.1
package admission.rules.model.identified

import data.admission.lib.change
import data.admission.lib.digests
import data.admission.lib.environment

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if {
	change.judged_anew
	count(fields) > 0
	every field in fields {
		field in known
	}
}

passes if change.carried_forward

# Undefined where the environment's bindings are not known.
fields := {"name", "version"} | {"digest" | some binding in environment.bindings; binding == "model"} if {
	count(environment.bindings) > 0
}

known contains field if {
	some field in {"name", "version"}
	is_string(input.model[field])
	input.model[field] != ""
}

known contains "digest" if digests.well_formed(input.model.digest)

report contains {"code": "model_unknown", "field": field} if some field in (fields - known)
