# METADATA
# title: Every image has been scanned
# description: >-
#   A scanner that the keyring trusts has signed what it found in each image of the workload. What it found is the
#   business of quality.vulnerabilities: this rule asks that there is a word on each image at all, about that very
#   digest.
# custom:
#   severity: high
#   solution: >-
#     Scan the image that the refusal names, by its digest, attest the result with `placet evidence` (or have the
#     scanner's own attestation of type vulns/v0.2 put on the workload), and apply the workload again.
#   controls:
#     - NIST SP 800-53 RA-5
#     - NIST SP 800-53 SA-11
#     - SOC 2 CC7.1
#     - EU AI Act Article 15
#     - ISO/IEC 42001:2023 A.6.2.4
package admission.rules.checks.security_scan

import data.admission.lib.change
import data.admission.lib.evidence
import data.admission.lib.images
import data.admission.lib.requirements

severity := rego.metadata.chain()[1].annotations.custom.severity

asked if requirements.asked("checks.security_scan")

passes if requirements.released("checks.security_scan")

passes if change.carried_forward

passes if {
	asked
	change.judged_anew
	evidence.sound
	is_array(input.images)
	images.named
	every image in input.images {
		scanned(image)
	}
}

scanned(image) if count(evidence.of_image("vulnerability_scan", image)) > 0

report contains entry if {
	asked
	some image in input.images
	not scanned(image)
	entry := {
		"code": "scan_missing",
		"container": object.get(image, "container", ""),
		"reference": object.get(image, "reference", ""),
		"rejected": evidence.rejected("vulnerability_scan"),
	}
}

report contains {"code": "images_missing"} if {
	asked
	not images.named
}
