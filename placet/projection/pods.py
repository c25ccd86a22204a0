"""Pods and containers: which of their fields are governed, and which values equal absence.

Two lists name every field of the API's types at every depth, governed and not; a test walks the schema of the newest
Kubernetes release and fails for a field in neither. Governed is what decides which code runs on which data with which
rights. Not governed: how much, how often, where and when it runs, how it is watched, and what it writes at its end.
"""

from __future__ import annotations

from typing import Final

from placet.projection.shapes import Flag, Integer, Port, Record, Records, Scalars, Shape, Text
from placet.projection.volumes import CLAIM_SPEC, FIELD_REF, RESOURCE_FIELD_REF, TEXTS, VOLUME

_EITHER: Final = Flag(default=None)

_ENV: Final = Records(
    Record(
        "core.v1.EnvVar",
        {
            "name": Text(),
            "value": Text(),
            "valueFrom": Record(
                "core.v1.EnvVarSource",
                {
                    "configMapKeyRef": Record(
                        "core.v1.ConfigMapKeySelector",
                        {"key": Text(), "name": Text(), "optional": _EITHER},
                        chosen=True,
                    ),
                    "fieldRef": FIELD_REF,
                    "fileKeyRef": Record(
                        "core.v1.FileKeySelector",
                        {"key": Text(), "optional": Flag(), "path": Text(), "volumeName": Text()},
                        chosen=True,
                    ),
                    "resourceFieldRef": RESOURCE_FIELD_REF,
                    "secretKeyRef": Record(
                        "core.v1.SecretKeySelector",
                        {"key": Text(), "name": Text(), "optional": _EITHER},
                        chosen=True,
                    ),
                },
                chosen=True,
            ),
        },
    ),
    # The API takes a name twice (the last one wins), and real workloads do it: the order of the list is kept.
    key="name",
)

_ENV_FROM: Final = Records(
    Record(
        "core.v1.EnvFromSource",
        {
            "configMapRef": Record("core.v1.ConfigMapEnvSource", {"name": Text(), "optional": _EITHER}, chosen=True),
            "prefix": Text(),
            "secretRef": Record("core.v1.SecretEnvSource", {"name": Text(), "optional": _EITHER}, chosen=True),
        },
    )
)

_EXEC: Final = Record("core.v1.ExecAction", {"command": TEXTS}, chosen=True)

_HANDLER: Final = Record(
    "core.v1.LifecycleHandler",
    {
        "exec": _EXEC,
        "httpGet": Record(
            "core.v1.HTTPGetAction",
            {
                "host": Text(),
                "httpHeaders": Records(Record("core.v1.HTTPHeader", {"name": Text(), "value": Text()})),
                "path": Text(default="/"),
                "port": Port(),
                # Only Pods get it filled in, and only where the API server knows h2c.
                "protocol": Text(default="HTTP1"),
                "scheme": Text(default="HTTP"),
            },
            chosen=True,
        ),
        "sleep": Record("core.v1.SleepAction", {"seconds": Integer(default=0)}, chosen=True),
        "tcpSocket": Record("core.v1.TCPSocketAction", {"host": Text(), "port": Port()}, chosen=True),
    },
)

_LIFECYCLE: Final = Record(
    "core.v1.Lifecycle", {"postStart": _HANDLER, "preStop": _HANDLER}, ungoverned=frozenset({"stopSignal"})
)

# A probe that calls out shows whether the server is well; one that executes runs any command.
_PROBE: Final = Record(
    "core.v1.Probe",
    {"exec": _EXEC},
    ungoverned=frozenset(
        {
            "failureThreshold",
            "grpc",
            "httpGet",
            "initialDelaySeconds",
            "periodSeconds",
            "successThreshold",
            "tcpSocket",
            "terminationGracePeriodSeconds",
            "timeoutSeconds",
        }
    ),
)

# Sizes are not governed; which devices a container gets is.
RESOURCES: Final = Record(
    "core.v1.ResourceRequirements",
    {"claims": Records(Record("core.v1.ResourceClaim", {"name": Text(), "request": Text()}))},
    ungoverned=frozenset({"limits", "requests"}),
)

_SELINUX: Final = Record(
    # An empty one on a container takes the place of the pod's.
    "core.v1.SELinuxOptions",
    {"level": Text(), "role": Text(), "type": Text(), "user": Text()},
    chosen=True,
)
_SECCOMP: Final = Record("core.v1.SeccompProfile", {"localhostProfile": Text(), "type": Text()})
_APPARMOR: Final = Record("core.v1.AppArmorProfile", {"localhostProfile": Text(), "type": Text()})
_WINDOWS: Final = Record(
    "core.v1.WindowsSecurityContextOptions",
    {"gmsaCredentialSpec": Text(), "gmsaCredentialSpecName": Text(), "hostProcess": _EITHER, "runAsUserName": Text()},
)

_SECURITY_CONTEXT: Final = Record(
    "core.v1.SecurityContext",
    {
        "allowPrivilegeEscalation": _EITHER,
        "appArmorProfile": _APPARMOR,
        "capabilities": Record("core.v1.Capabilities", {"add": TEXTS, "drop": TEXTS}),
        "privileged": _EITHER,
        "procMount": Text(),
        "readOnlyRootFilesystem": _EITHER,
        "runAsGroup": Integer(),
        "runAsNonRoot": _EITHER,
        "runAsUser": Integer(),
        "seLinuxOptions": _SELINUX,
        "seccompProfile": _SECCOMP,
        "windowsOptions": _WINDOWS,
    },
)

_POD_SECURITY_CONTEXT: Final = Record(
    "core.v1.PodSecurityContext",
    {
        "appArmorProfile": _APPARMOR,
        "fsGroup": Integer(),
        "fsGroupChangePolicy": Text(),
        "runAsGroup": Integer(),
        "runAsNonRoot": _EITHER,
        "runAsUser": Integer(),
        "seLinuxChangePolicy": Text(),
        "seLinuxOptions": _SELINUX,
        "seccompProfile": _SECCOMP,
        "supplementalGroups": Scalars(Integer()),
        "supplementalGroupsPolicy": Text(),
        "sysctls": Records(Record("core.v1.Sysctl", {"name": Text(), "value": Text()})),
        "windowsOptions": _WINDOWS,
    },
)

_CONTAINER_GOVERNED: Final[dict[str, Shape]] = {
    "args": TEXTS,
    "command": TEXTS,
    "env": _ENV,
    "envFrom": _ENV_FROM,
    "image": Text(),
    "lifecycle": _LIFECYCLE,
    "livenessProbe": _PROBE,
    "name": Text(),
    "readinessProbe": _PROBE,
    "resources": RESOURCES,
    "securityContext": _SECURITY_CONTEXT,
    "startupProbe": _PROBE,
    # The kubelet mounts a file over it, so that it hides one of the image (pkg/kubelet/kuberuntime, makeMounts).
    "terminationMessagePath": Text(default="/dev/termination-log"),
    "volumeDevices": Records(Record("core.v1.VolumeDevice", {"devicePath": Text(), "name": Text()}), key="name"),
    "volumeMounts": Records(
        Record(
            "core.v1.VolumeMount",
            {
                "bindMountOptions": TEXTS,
                "mountPath": Text(),
                "mountPropagation": Text(default="None"),
                "name": Text(),
                "readOnly": Flag(),
                "recursiveReadOnly": Text(),
                "subPath": Text(),
                "subPathExpr": Text(),
            },
        ),
        key="name",
    ),
    "workingDir": Text(),
}
_CONTAINER_UNGOVERNED: Final = frozenset(
    {
        "imagePullPolicy",
        "ports",
        "resizePolicy",
        "restartPolicyRules",
        "stdin",
        "stdinOnce",
        "terminationMessagePolicy",
        "tty",
    }
)

CONTAINER: Final = Record("core.v1.Container", _CONTAINER_GOVERNED, _CONTAINER_UNGOVERNED | {"restartPolicy"})
# With restartPolicy Always an init container is a sidecar: it runs beside the server rather than before it.
INIT_CONTAINER: Final = Record(
    "core.v1.Container", {**_CONTAINER_GOVERNED, "restartPolicy": Text()}, _CONTAINER_UNGOVERNED
)
EPHEMERAL_CONTAINER: Final = Record(
    "core.v1.EphemeralContainer",
    {**_CONTAINER_GOVERNED, "targetContainerName": Text()},
    _CONTAINER_UNGOVERNED | {"restartPolicy"},
)

POD_SPEC: Final = Record(
    "core.v1.PodSpec",
    {
        "automountServiceAccountToken": _EITHER,
        "containers": Records(CONTAINER, key="name", unique=True),
        "dnsConfig": Record(
            "core.v1.PodDNSConfig",
            {
                "nameservers": TEXTS,
                "options": Records(Record("core.v1.PodDNSConfigOption", {"name": Text(), "value": Text()})),
                "searches": TEXTS,
            },
        ),
        "dnsPolicy": Text(default="ClusterFirst"),
        # It puts variables into the environment. Only Pods get it filled in.
        "enableServiceLinks": Flag(default=True),
        "ephemeralContainers": Records(EPHEMERAL_CONTAINER, key="name", unique=True),
        "hostAliases": Records(Record("core.v1.HostAlias", {"hostnames": TEXTS, "ip": Text()})),
        "hostIPC": Flag(),
        "hostNetwork": Flag(),
        "hostPID": Flag(),
        "hostUsers": _EITHER,
        "initContainers": Records(INIT_CONTAINER, key="name", unique=True),
        "resourceClaims": Records(
            Record(
                "core.v1.PodResourceClaim",
                {"name": Text(), "resourceClaimName": Text(), "resourceClaimTemplateName": Text()},
            ),
            key="name",
            unique=True,
        ),
        "resources": RESOURCES,
        "runtimeClassName": Text(),
        "securityContext": _POD_SECURITY_CONTEXT,
        # "default" is filled in on Pods. serviceAccount, its deprecated twin, is folded into it before reading.
        "serviceAccountName": Text(default="default"),
        "serviceAccount": Text(),
        "shareProcessNamespace": _EITHER,
        "volumes": Records(VOLUME, key="name", unique=True),
    },
    ungoverned=frozenset(
        {
            "activeDeadlineSeconds",
            "affinity",
            "evictionResponders",
            "hostname",
            "hostnameOverride",
            "imagePullSecrets",
            "nodeName",
            "nodeSelector",
            "os",
            "overhead",
            "preemptionPolicy",
            "priority",
            "priorityClassName",
            "readinessGates",
            "restartPolicy",
            "schedulerName",
            "schedulingGates",
            "schedulingGroup",
            "setHostnameAsFQDN",
            "subdomain",
            "terminationGracePeriodSeconds",
            "tolerations",
            "topologySpreadConstraints",
        }
    ),
)

_OBJECT: Final = frozenset({"apiVersion", "kind", "metadata", "status"})
POD_TEMPLATE: Final = Record("core.v1.PodTemplateSpec", {"spec": POD_SPEC}, ungoverned=frozenset({"metadata"}))

CLAIM_TEMPLATE: Final = Record(
    "core.v1.PersistentVolumeClaim",
    {
        "metadata": Record(
            "apimachinery.pkg.apis.meta.v1.ObjectMeta",
            {"name": Text()},
            ungoverned=frozenset(
                {
                    "annotations",
                    "creationTimestamp",
                    "deletionGracePeriodSeconds",
                    "deletionTimestamp",
                    "finalizers",
                    "generateName",
                    "generation",
                    "labels",
                    "managedFields",
                    "namespace",
                    "ownerReferences",
                    "resourceVersion",
                    "selfLink",
                    "uid",
                }
            ),
        ),
        "spec": CLAIM_SPEC,
    },
    ungoverned=frozenset({"apiVersion", "kind", "status"}),
)
