# METADATA
# title: No image has more critical vulnerabilities than allowed
# description: >-
#   Each image has a scan that says how many critical vulnerabilities there are, and every scan of it that counts
#   stays within the limit. Where scanners disagree, the worst one counts; a newer scan by the same attester with the
#   same scanner replaces its older one.
# custom:
#   severity: critical
#   solution: >-
#     Rebuild the image with the fixed packages and scan it again. Where the finding is wrong, correct it at the
#     scanner and have the same attester sign the new scan: it replaces the old one.
#   controls:
#     - NIST SP 800-53 RA-5
#     - NIST SP 800-53 SI-2
#     - SOC 2 CC7.1
#     - EU AI Act Article 15
package admission.rules.quality.vulnerabilities

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.images
import data.admission.lib.limits
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("quality.vulnerabilities")

passes if requirements.released("quality.vulnerabilities")

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
	statements := evidence.of_image("vulnerability_scan", image)
	count(statements) > 0
	every statement in statements {
		enough(statement)
	}
}

enough(statement) if {
	critical := statement.claims.critical
	is_number(critical)
	critical >= 0
	critical <= limits.value("critical_vulnerabilities")
}

report contains {"code": "scan_missing", "container": container, "reference": reference, "rejected": rejected} if {
	asked
	some image in input.images
	count(evidence.of_image("vulnerability_scan", image)) == 0
	container := object.get(image, "container", "")
	reference := object.get(image, "reference", "")
	rejected := evidence.rejected("vulnerability_scan")
}

report contains {"code": "vulnerabilities_critical", "reference": reference, "critical": critical, "limit": limit} if {
	asked
	limit := limits.value("critical_vulnerabilities")
	some image in input.images
	some statement in evidence.of_image("vulnerability_scan", image)
	not enough(statement)
	critical := object.get(statement.claims, "critical", "")
	reference := object.get(image, "reference", "")
}
