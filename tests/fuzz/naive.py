"""What of a pod runs, by another way than the product's: for the oracle of the whole decision.

Written from docs/formats-projection.md over the OpenAPI schema of Kubernetes, and calling nothing of
``placet.projection``. It may be *stricter*: where the document lets two spellings be one value and this does not know
it, an allow is looked at once more than needed. It must never be laxer: what it leaves out is listed here by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.placet.projection.schema import fields, json_type, referenced

Json = dict[str, Any]

_CONTAINER: Final = frozenset(
    {
        *("imagePullPolicy", "ports", "resizePolicy", "restartPolicyRules", "stdin", "stdinOnce"),
        *("terminationMessagePolicy", "tty"),
    }
)
UNGOVERNED: Final[Mapping[str, frozenset[str]]] = {
    "core.v1.PodSpec": frozenset(
        {
            *("activeDeadlineSeconds", "affinity", "evictionResponders", "hostname", "hostnameOverride"),
            *("imagePullSecrets", "nodeName", "nodeSelector", "os", "overhead", "preemptionPolicy", "priority"),
            *("priorityClassName", "readinessGates", "restartPolicy", "schedulerName", "schedulingGates"),
            *("schedulingGroup", "setHostnameAsFQDN", "subdomain", "terminationGracePeriodSeconds", "tolerations"),
            "topologySpreadConstraints",
        }
    ),
    "core.v1.Container": _CONTAINER,
    "core.v1.EphemeralContainer": _CONTAINER | {"restartPolicy"},
    "core.v1.Lifecycle": frozenset({"stopSignal"}),
    "core.v1.Probe": frozenset(
        {
            *("failureThreshold", "grpc", "httpGet", "initialDelaySeconds", "periodSeconds", "successThreshold"),
            *("tcpSocket", "terminationGracePeriodSeconds", "timeoutSeconds"),
        }
    ),
    "core.v1.ResourceRequirements": frozenset({"limits", "requests"}),
    "core.v1.ImageVolumeSource": frozenset({"pullPolicy"}),
    "core.v1.PersistentVolumeClaimSpec": frozenset({"resources"}),
    "core.v1.PersistentVolumeClaimTemplate": frozenset({"metadata"}),
}
# Values that are the same as absence, beside null. "" is for text, nowhere else.
ABSENT: Final[Mapping[tuple[str, str], tuple[Any, ...]]] = {
    ("core.v1.PodSpec", "dnsPolicy"): ("", "ClusterFirst"),
    ("core.v1.PodSpec", "enableServiceLinks"): (True,),
    ("core.v1.PodSpec", "hostIPC"): (False,),
    ("core.v1.PodSpec", "hostNetwork"): (False,),
    ("core.v1.PodSpec", "hostPID"): (False,),
    ("core.v1.PodSpec", "serviceAccountName"): ("", "default"),
    ("core.v1.Container", "terminationMessagePath"): ("", "/dev/termination-log"),
    ("core.v1.EphemeralContainer", "terminationMessagePath"): ("", "/dev/termination-log"),
    ("core.v1.ObjectFieldSelector", "apiVersion"): ("", "v1"),
    ("core.v1.ResourceFieldSelector", "divisor"): ("0", 0, "0.0"),
    ("core.v1.HTTPGetAction", "path"): ("", "/"),
    ("core.v1.HTTPGetAction", "scheme"): ("", "HTTP"),
    ("core.v1.HTTPGetAction", "protocol"): ("", "HTTP1"),
    ("core.v1.HTTPGetAction", "port"): ("", 0),
    ("core.v1.TCPSocketAction", "port"): ("", 0),
    ("core.v1.SleepAction", "seconds"): (0,),
    ("core.v1.VolumeMount", "mountPropagation"): ("", "None"),
    ("core.v1.VolumeMount", "readOnly"): (False,),
    ("core.v1.FileKeySelector", "optional"): (False,),
    ("core.v1.PersistentVolumeClaimVolumeSource", "readOnly"): (False,),
    ("core.v1.ConfigMapVolumeSource", "defaultMode"): (420,),
    ("core.v1.SecretVolumeSource", "defaultMode"): (420,),
    ("core.v1.ProjectedVolumeSource", "defaultMode"): (420,),
    ("core.v1.DownwardAPIVolumeSource", "defaultMode"): (420,),
}
# Types whose being there says something when they are empty: whatever ends so, and these.
_CHOSEN_ENDS: Final = ("VolumeSource", "Projection", "Selector", "EnvSource", "Action", "Reference")
_NOT_CHOSEN: Final = frozenset(
    {"core.v1.EmptyDirVolumeSource", "core.v1.VolumeProjection", "core.v1.LocalObjectReference"}
)
_CHOSEN: Final = frozenset({"core.v1.SELinuxOptions", "core.v1.EnvVarSource"})
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"


def governed(value: Any, definition: str = "core.v1.PodSpec", *, keep: frozenset[str] = frozenset()) -> Any:
    """The value with what is not governed, unknown or absent taken out, at every depth.

    Args:
        value: JSON of that type, or of another one: then it stays as it is, and equals nothing.
        definition: name of the API type.
        keep: fields of this object that are governed here although they are not elsewhere.
    """
    if not isinstance(value, dict):
        return value
    if definition == "core.v1.PodSpec":
        value = _one_account(value)
    known, left_out = fields(definition), UNGOVERNED.get(definition, frozenset()) - keep
    found: Json = {}
    for name, item in value.items():
        if name not in known or name in left_out or item is None:
            continue
        if definition == "core.v1.Container" and name == "restartPolicy" and "restartPolicy" not in keep:
            continue  # counts for init containers alone
        if any(item == one and type(item) is type(one) for one in ABSENT.get((definition, name), ())):
            continue
        inside = _inside(
            item, known[name], keep=frozenset({"restartPolicy"}) if name == "initContainers" else frozenset()
        )
        if inside is not None:
            found[name] = inside
    return found


def _inside(item: Any, schema: Json, *, keep: frozenset[str]) -> Any:
    """The governed form of a field's value; None where it is the same as absence."""
    kind = json_type(schema)
    if kind == "array":
        if item == []:
            return None
        element = referenced(schema["items"])
        is_list = isinstance(item, list) and element
        return [governed(one, element, keep=keep) for one in item] if is_list else item
    definition = referenced(schema)
    if definition and fields_of(definition):
        result = governed(item, definition)
        return None if result == {} and not _is_chosen(definition) else result
    if kind == "object":
        return None if item == {} else item
    return None if item == "" and kind == "string" and schema is not _storage_class() else item


def fields_of(definition: str) -> bool:
    """Whether the type is an object with fields, and not a quantity or a time."""
    try:
        return bool(fields(definition))
    except KeyError:
        return False


def _storage_class() -> Json:
    found: Json = fields("core.v1.PersistentVolumeClaimSpec")["storageClassName"]
    return found


def _is_chosen(definition: str) -> bool:
    return definition in _CHOSEN or (definition.endswith(_CHOSEN_ENDS) and definition not in _NOT_CHOSEN)


def _one_account(spec: Json) -> Json:
    """The deprecated ``serviceAccount`` stands in where its successor is empty, and is dropped."""
    twin = spec.get("serviceAccount")
    rest = {key: value for key, value in spec.items() if key != "serviceAccount"}
    if twin is not None and rest.get("serviceAccountName") in {None, ""}:
        rest["serviceAccountName"] = twin
    return rest


def content(spec: Any, metadata: Any, *, made_by_job: bool = False) -> Any:
    """All of a pod that an approval covers: its governed fields, and the metadata that its containers get.

    Args:
        spec: of the pod or of its template.
        metadata: that stands beside it.
        made_by_job: whether a Job writes its index over what is said there.
    """
    seen = metadata if isinstance(metadata, dict) else {}
    held = seen.get("annotations")
    annotations = held if isinstance(held, dict) else {}
    paths = sorted(set(_field_paths(spec)))
    read = {path: _value_at(seen, path) for path in paths if not (made_by_job and _is_index(seen, path))}
    profiles = {
        key: value for key, value in annotations.items() if key.startswith(_APPARMOR) and value not in {"", None}
    }
    return {"spec": governed(spec), "read": read, "profiles": profiles}


def _field_paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        reference = value.get("fieldRef")
        if isinstance(reference, dict) and isinstance(reference.get("fieldPath"), str):
            yield reference["fieldPath"]
        for child in value.values():
            yield from _field_paths(child)
    elif isinstance(value, list):
        for child in value:
            yield from _field_paths(child)


def _value_at(metadata: Json, path: str) -> Any:
    """The text that a path reads, or the whole map without what comes and goes with applying and approving."""
    field, bracket, key = path.removeprefix("metadata.").partition("['")
    held = metadata.get(field) if field in {"labels", "annotations"} else None
    if not isinstance(held, dict):
        return held
    if bracket:
        return held.get(key.removesuffix("']"))
    if field == "labels":
        return held or None
    return {name: value for name, value in held.items() if not _comes_and_goes(name, value)} or None


def _comes_and_goes(name: str, value: Any) -> bool:
    if name == "kubectl.kubernetes.io/restartedAt":
        return isinstance(value, str) and _TIME.fullmatch(value) is not None
    return name == "kubectl.kubernetes.io/last-applied-configuration" or name.startswith(
        ("placet.dev/approval.", "placet.dev/evidence.")
    )


def _is_index(metadata: Json, path: str) -> bool:
    """Whether a Job's index is read, and what stands there is a number, as a Job writes it, or nothing."""
    if path not in {
        f"metadata.{field}['batch.kubernetes.io/job-completion-index']" for field in ("labels", "annotations")
    }:
        return False
    value = _value_at(metadata, path)
    return value is None or re.fullmatch("0|[1-9][0-9]{0,9}", str(value), re.ASCII) is not None
