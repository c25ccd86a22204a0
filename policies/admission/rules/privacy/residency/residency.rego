# METADATA
# title: The cluster stands where the model's data may be
# description: >-
#   The signed privacy assessment names the regions that the model's data may be in. The region of the cluster, by the
#   policy data, is one of them in every assessment that counts.
# custom:
#   severity: high
#   solution: >-
#     Deploy to a cluster in one of the regions that the assessment names, or have the assessment extended. A cluster
#     without a region is missing in `residency.clusters` of the policy data.
#   controls:
#     - EU AI Act Article 26
#     - NIST SP 800-53 SA-9
#     - NIST AI RMF MEASURE 2.10
#     - ISO/IEC 42001:2023 A.7.2
package admission.rules.privacy.residency

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("privacy.residency")

passes if requirements.released("privacy.residency")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	count(statements) > 0
	every statement in statements {
		evidence.is_names(statement.claims.regions)
		region in statement.claims.regions
	}
}

statements := evidence.of_model("privacy_assessment")

region := found if {
	found := data.placet.residency.clusters[input.cluster]
	is_string(found)
	found != ""
}

report contains {"code": "evidence_missing", "kind": "privacy_assessment", "rejected": evidence.rejected("privacy_assessment")} if {
	asked
	count(statements) == 0
}

report contains {"code": "region_unknown", "cluster": input.cluster} if {
	asked
	not region
}

report contains {"code": "region_not_allowed", "region": region, "allowed": allowed} if {
	asked
	some statement in statements
	allowed := object.get(statement.claims, "regions", [])
	not region in allowed
}
