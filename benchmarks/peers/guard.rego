# What OPA and Gatekeeper judge in the comparison: about as many rules as placet's own policies have, over the same
# Deployment, of the kind that teams write for both. The one line that differs between the two says where the request
# is: Gatekeeper has it at input.review, an OPA server as the body of the call at input.request.
package guard

request := input.review

deployment := request.object

pod := deployment.spec.template.spec

containers contains container if some container in pod.containers

containers contains container if some container in pod.initContainers

registries := ["registry.example.com/", "registry.internal.example.com/"]

labels := ["app.kubernetes.io/name", "placet.dev/model"]

annotations := {
	"placet.dev/model-version": `^[0-9]+\.[0-9]+\.[0-9]+$`,
	"placet.dev/model-digest": `^sha256:[0-9a-f]{64}$`,
	"placet.dev/change-ticket": `^CHG-[0-9]+$`,
}

roles := ["technical", "security", "business"]

volumes := {"persistentVolumeClaim", "configMap", "secret", "emptyDir", "projected"}

violation contains {"msg": msg} if {
	some container in containers
	not allowed_registry(container.image)
	msg := sprintf("container %s: image %s is not from an allowed registry", [container.name, container.image])
}

violation contains {"msg": msg} if {
	some container in containers
	not regex.match(`@sha256:[0-9a-f]{64}$`, container.image)
	msg := sprintf("container %s: image %s is not pinned by its digest", [container.name, container.image])
}

violation contains {"msg": msg} if {
	some label in labels
	not deployment.metadata.labels[label]
	msg := sprintf("label %s is missing", [label])
}

violation contains {"msg": msg} if {
	some name, pattern in annotations
	not regex.match(pattern, object.get(deployment.metadata.annotations, name, ""))
	msg := sprintf("annotation %s is missing or malformed", [name])
}

violation contains {"msg": msg} if {
	some role in roles
	not deployment.metadata.annotations[sprintf("placet.dev/approval.%s", [role])]
	msg := sprintf("the %s approval is missing", [role])
}

violation contains {"msg": msg} if {
	some container in containers
	not limited_memory(container)
	msg := sprintf("container %s: its memory is not limited, or to more than 512 GiB", [container.name])
}

violation contains {"msg": msg} if {
	some container in containers
	not hardened(container)
	msg := sprintf("container %s: its security context is not a restricted one", [container.name])
}

violation contains {"msg": "pods must not run as root"} if not pod.securityContext.runAsNonRoot

violation contains {"msg": msg} if {
	some name in ["hostNetwork", "hostPID", "hostIPC"]
	pod[name]
	msg := sprintf("%s is not allowed", [name])
}

violation contains {"msg": msg} if {
	some volume in pod.volumes
	kinds := object.keys(volume) - {"name"}
	count(kinds - volumes) > 0
	msg := sprintf("volume %s is of a kind that is not allowed", [volume.name])
}

violation contains {"msg": "more than 16 replicas need a ticket of their own"} if deployment.spec.replicas > 16

allowed_registry(image) if {
	some registry in registries
	startswith(image, registry)
}

limited_memory(container) if units.parse_bytes(container.resources.limits.memory) <= units.parse_bytes("512Gi")

hardened(container) if {
	container.securityContext.allowPrivilegeEscalation == false
	container.securityContext.readOnlyRootFilesystem == true
	"ALL" in container.securityContext.capabilities.drop
}
