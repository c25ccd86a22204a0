# METADATA
# title: Images are named by their digest
# description: >-
#   A tag can be moved to another image after the approval was given; a digest can't. Where the environment asks for it,
#   every image of every container is named by digest. A custom resource may leave its image to a runtime or an operator,
#   where the kind registry says so: the Pods that come of it are judged themselves.
# custom:
#   severity: high
#   solution: >-
#     Write each image as `name@sha256:...`; `crane digest` or `docker buildx imagetools inspect` print the digest of a tag.
#   controls:
#     - NIST SP 800-53 CM-14
#     - NIST SP 800-190 4.1.5
package admission.rules.images.pinned

import data.admission.lib.change
import data.admission.lib.digests
import data.admission.lib.environment
import data.admission.lib.images

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if {
	change.judged_anew
	environment.settings.pin_images == true
	is_array(input.images)
	images.named
	every at, _ in input.images {
		at in pinned
	}
}

passes if {
	change.judged_anew
	environment.settings.pin_images == false
}

passes if change.carried_forward

# Places in input.images, found once for what passes and for what is reported.
pinned contains at if {
	some at, image in input.images
	digests.well_formed(image.digest)
	endswith(image.reference, concat("@", ["", image.digest]))
}

report contains entry if {
	some at, image in input.images
	not at in pinned
	entry := {
		"code": "image_not_pinned",
		"container": object.get(image, "container", ""),
		"reference": object.get(image, "reference", ""),
	}
}

report contains {"code": "images_missing"} if not images.named
