# METADATA
# title: The tests of every image cover enough
# description: >-
#   Each image has a signed report of its tests' coverage, as counts of lines and not as a rounded share, and every
#   report that counts reaches the limit.
# custom:
#   severity: medium
#   solution: >-
#     Add tests, and have the build attest the coverage of the image that is deployed. `placet evidence` shows what an
#     attestation says.
#   controls:
#     - NIST SP 800-53 SA-11
#     - ISO/IEC 42001:2023 A.6.2.4
#     - SOC 2 CC8.1
#     - NIST AI RMF MEASURE 2.3
package admission.rules.quality.coverage

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.images
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("quality.coverage")

passes if requirements.released("quality.coverage")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	evidence.sound
	is_array(input.images)
	images.named
	every image in input.images {
		shown(image)
	}
}

shown(image) if {
	statements := evidence.of_image("coverage", image)
	count(statements) > 0
	every statement in statements {
		enough(statement)
	}
}

enough(statement) if {
	covered := statement.claims.lines_covered
	total := statement.claims.lines_total
	is_number(covered)
	is_number(total)
	total > 0
	covered <= total
	covered * 1000 >= limits.value("coverage_permille") * total
}

report contains {"code": "coverage_missing", "reference": reference, "rejected": evidence.rejected("coverage")} if {
	asked
	some image in input.images
	count(evidence.of_image("coverage", image)) == 0
	reference := object.get(image, "reference", "")
}

report contains {"code": "coverage_low", "reference": reference, "covered": covered, "total": total, "limit": limit} if {
	asked
	limit := limits.value("coverage_permille")
	some image in input.images
	some statement in evidence.of_image("coverage", image)
	not enough(statement)
	covered := object.get(statement.claims, "lines_covered", "")
	total := object.get(statement.claims, "lines_total", "")
	reference := object.get(image, "reference", "")
}
