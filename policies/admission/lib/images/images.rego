# METADATA
# title: The images of the workload
# description: >-
#   A workload has images, unless it is a custom resource that leaves them to a runtime or an operator, where the kind
#   registry says so: the Pods that come of it are judged themselves.
package admission.lib.images

named if count(input.images) > 0

named if chosen_elsewhere

chosen_elsewhere if {
	some kind in data.placet.kinds
	kind.images_elsewhere == true
	kind.group == input.workload.group
	kind.kind == input.workload.kind
	input.workload.version in kind.versions
}
