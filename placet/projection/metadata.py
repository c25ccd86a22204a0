"""Metadata that runs: labels and annotations that are no part of the projection unless a container gets them.

A variable and a file of a ``downwardAPI`` volume read them by ``fieldRef``: their values stand beside the pod spec's
fields then. The AppArmor annotation of a container becomes its ``appArmorProfile`` when a Pod is created. Works on pod
specs in projected form. Sources: kubernetes 1.37, pkg/fieldpath (``SplitMaybeSubscriptedPath``), pkg/registry/core/pod
(``applyAppArmorVersionSkew``), pkg/controller (which keys a controller writes into its Pods).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from placet.model import DOMAIN
from placet.projection.shapes import MistypedError, TextMap, key_step, kind_of

FIELD_VALUES: Final = "fieldValues"

_CONTAINER_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
_FIELDS: Final = {"metadata.annotations": "annotations", "metadata.labels": "labels"}

# Written over by the controller, so that what a template says there never runs. (field, key) by kind.
_REVISION: Final = ("labels", "controller-revision-hash")
_REPLICA_SET: Final = frozenset({("labels", "pod-template-hash")})
_JOB: Final = frozenset(
    {
        *(
            ("labels", f"{prefix}{key}")
            for prefix in ("", "batch.kubernetes.io/")
            for key in ("controller-uid", "job-name")
        ),
        *((field, "batch.kubernetes.io/job-completion-index") for field in ("annotations", "labels")),
        ("annotations", "batch.kubernetes.io/job-index-failure-count"),
        ("annotations", "batch.kubernetes.io/job-index-ignored-failure-count"),
    }
)
_WRITTEN: Final[dict[str, frozenset[tuple[str, str]]]] = {
    "Deployment": _REPLICA_SET,
    "ReplicaSet": _REPLICA_SET,
    "ReplicationController": frozenset(),
    "DaemonSet": frozenset({_REVISION, ("labels", "pod-template-generation")}),
    "StatefulSet": frozenset(
        {_REVISION, ("labels", "statefulset.kubernetes.io/pod-name"), ("labels", "apps.kubernetes.io/pod-index")}
    ),
    "Job": _JOB,
    "CronJob": _JOB,
}
# An admission plugin writes it, into Pods alone.
_WRITTEN_INTO_PODS: Final = frozenset({("annotations", "kubernetes.io/limit-ranger")})
_ALL_WRITTEN: Final = _WRITTEN_INTO_PODS.union(*_WRITTEN.values())

# Nobody writes over them in a Pod that is made by hand in a controller's name. An annotation can be any text, so in a
# Pod it is left out in the form alone that the controller writes; a label is a word, whoever chose it.
_COUNT: Final = re.compile("0|[1-9][0-9]{0,9}", re.ASCII)
_FORMS: Final = {
    "batch.kubernetes.io/job-completion-index": _COUNT,
    "batch.kubernetes.io/job-index-failure-count": _COUNT,
    "batch.kubernetes.io/job-index-ignored-failure-count": _COUNT,
    "kubernetes.io/limit-ranger": re.compile("LimitRanger plugin set: [A-Za-z0-9 ,;./_-]+", re.ASCII),
}

# Of a whole map only: who reads one of these by its key gets it.
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
_OURS: Final = (f"{DOMAIN}/approval.", f"{DOMAIN}/evidence.")
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
    re.ASCII,
)

APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_LOCALHOST: Final = "localhost/"
_PROFILES: Final = {"runtime/default": "RuntimeDefault", "unconfined": "Unconfined"}


def written_keys(kind: str, *, controller: str = "") -> frozenset[tuple[str, str]]:
    """The (field, key) pairs of a pod's metadata that machinery writes, and nobody's approval covers.

    Args:
        kind: of the object that holds the pod or its template.
        controller: kind of the Pod's parent where that is known; else a Pod may come from any.
    """
    if kind != "Pod":
        return _WRITTEN[kind]
    return _WRITTEN[controller] | _WRITTEN_INTO_PODS if controller else _ALL_WRITTEN


def with_field_values(
    spec: Mapping[str, Any], metadata: Any, written: frozenset[tuple[str, str]], *, in_pod: bool
) -> dict[str, Any]:
    """The pod spec with what its field references read of the pod's labels and annotations.

    Args:
        spec: in projected form.
        metadata: of the pod or of its template, not checked yet.
        written: what ``written_keys`` says.
        in_pod: whether it is a Pod's own, as a container gets it, and not a template's.

    Raises:
        MistypedError: metadata that is read is of another type than the API's.
    """
    if in_pod:
        written = written - _of_another_form(metadata)
    values = read_field_values(spec, metadata, written)
    return {**spec, FIELD_VALUES: values} if values else dict(spec)


def read_field_values(
    spec: Mapping[str, Any], metadata: Any, written: frozenset[tuple[str, str]] = frozenset()
) -> dict[str, Any]:
    """What field references read of labels and annotations, by the path that each one names.

    Args:
        spec: in projected form; references are found anywhere in it.
        metadata: not checked yet.
        written: (field, key) pairs that are left out.

    Raises:
        MistypedError: metadata that is read is of another type than the API's.
    """
    values: dict[str, Any] = {}
    paths: list[str] = []
    _find_field_paths(spec, paths)
    for path in dict.fromkeys(paths):
        base, key = _split(path)
        field = _FIELDS.get(base)
        if field is None or (field, key) in written:
            continue
        value = _whole(metadata, field, written) if key is None else _one(metadata, field, key)
        if value is not None:
            values[path] = value
    return values


def governed_metadata(metadata: Any, prefixes: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Labels and annotations that count for their own sake: AppArmor's, and those whose key begins as one of these.

    Args:
        metadata: not checked yet.
        prefixes: of keys that the controller of the kind obeys.

    Raises:
        MistypedError: such a value is no text, or labels or annotations are no object.
    """
    counted: dict[str, dict[str, str]] = {}
    for field in _FIELDS.values():
        entries = _entries(metadata, field)
        keys = [key for key in entries if isinstance(key, str) and key.startswith((APPARMOR, *prefixes))]
        found = {key: value for key in keys if (value := _one(metadata, field, key)) is not None}
        if found:
            counted[field] = found
    return counted


def with_apparmor(spec: Mapping[str, Any], metadata: Any) -> dict[str, Any]:
    """The pod spec with the AppArmor annotations of containers as the fields that the API server makes of them.

    As there, a container's own field wins, and what the pod says for all of its containers is not said again.

    Raises:
        MistypedError: a value that is no profile; code ``field_invalid``.
    """
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if not isinstance(annotations, dict):
        return dict(spec)  # whoever reads the metadata for its own sake refuses it
    inherited = spec.get("securityContext", {}).get("appArmorProfile")

    def fold(container: dict[str, Any]) -> dict[str, Any]:
        context = container.get("securityContext", {})
        key = f"{APPARMOR}{container['name']}"
        annotation = annotations.get(key)
        if annotation is None or annotation == "" or "appArmorProfile" in context:
            return container
        try:
            profile = _profile(annotation)
        except MistypedError as exc:
            exc.path += [key_step(key), "annotations", "metadata"]
            raise
        if profile == inherited:
            return container
        return {**container, "securityContext": {**context, "appArmorProfile": profile}}

    lists = {field: [fold(container) for container in spec[field]] for field in _CONTAINER_LISTS if field in spec}
    return {**spec, **lists}


def _profile(annotation: Any) -> dict[str, str]:
    if not isinstance(annotation, str):
        raise MistypedError(f"must be text, not {kind_of(annotation)}")
    if annotation in _PROFILES:
        return {"type": _PROFILES[annotation]}
    name = annotation.removeprefix(_LOCALHOST)
    if name and name != annotation:
        return {"localhostProfile": name, "type": "Localhost"}
    raise MistypedError("must be runtime/default, unconfined, or localhost/ and a name", "field_invalid")


def _find_field_paths(value: Mapping[str, Any] | list[Any], paths: list[str]) -> None:
    """Add every ``fieldRef.fieldPath``, wherever a pod spec has one, in the order of the spec."""
    if isinstance(value, list):
        inside = value
    else:
        reference = value.get("fieldRef")
        if isinstance(reference, dict) and isinstance(reference.get("fieldPath"), str):
            paths.append(reference["fieldPath"])
        inside = list(value.values())
    for child in inside:
        if isinstance(child, dict | list):
            _find_field_paths(child, paths)


def _split(path: str) -> tuple[str, str | None]:
    """``metadata.labels['app']`` as field and key; the key is None where there is none."""
    if path.endswith("']"):
        field, found, key = path.removesuffix("']").partition("['")
        if field and found:
            return field, key
    return path, None


def _of_another_form(metadata: Any) -> frozenset[tuple[str, str]]:
    """Annotations that hold what no controller or plugin would have written there."""
    entries = metadata.get("annotations") if isinstance(metadata, dict) else None
    if not isinstance(entries, dict):
        return frozenset()  # whoever reads the metadata for its own sake refuses it
    held = ((key, form, entries[key]) for key, form in _FORMS.items() if key in entries)
    return frozenset(
        ("annotations", key) for key, form, value in held if not isinstance(value, str) or not form.fullmatch(value)
    )


def _entries(metadata: Any, field: str) -> Any:
    """Labels or annotations, still to be checked; an empty object where there are none."""
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise _at(MistypedError(f"must be an object, not {kind_of(metadata)}"), "metadata")
    entries = metadata.get(field)
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        raise _at(MistypedError(f"must be an object, not {kind_of(entries)}"), field, "metadata")
    return entries


def _one(metadata: Any, field: str, key: str) -> str | None:
    entries = _entries(metadata, field)
    if key not in entries:
        return None
    value = entries[key]
    if not isinstance(value, str):
        raise _at(MistypedError(f"must be text, not {kind_of(value)}"), key_step(key), field, "metadata")
    return value


def _whole(metadata: Any, field: str, written: frozenset[tuple[str, str]]) -> dict[str, str] | None:
    entries = _entries(metadata, field)
    try:
        found = TextMap().read(entries) or {}
    except MistypedError as exc:
        raise _at(exc, field, "metadata") from exc
    kept = {
        key: value
        for key, value in found.items()
        if (field, key) not in written and not (field == "annotations" and _is_passing(key, value))
    }
    return kept or None


def _is_passing(key: str, value: str) -> bool:
    """Whether an annotation comes and goes with applying, restarting or approving."""
    if key == _RESTARTED_AT:
        return _TIMESTAMP.fullmatch(value) is not None
    return key == _LAST_APPLIED or key.startswith(_OURS)


def _at(error: MistypedError, *steps: str) -> MistypedError:
    """With the steps to the value, from the innermost outwards."""
    error.path += steps
    return error
