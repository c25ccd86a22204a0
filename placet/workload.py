"""A Kubernetes object read as a workload: what runs, which model it says it serves, and what comes with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from placet.canonical import Digest
from placet.errors import FormatError, WorkloadError
from placet.images import IMAGE_INVALID, ReadImage, parse_image, take_image
from placet.model import BREAK_GLASS, BREAK_GLASS_REVIEW, DOMAIN, Image, ModelIdentity, Reference, Workload
from placet.projection import BUILT_IN, CustomKind, Kind, Kinds, project, project_custom, project_templates
from placet.projection.custom import count_pods
from placet.projection.shapes import element_step, kind_of

# What the API server allows for all annotations of an object together.
MAX_ANNOTATION_BYTES: Final = 256 * 1024
MAX_VERSION_CHARACTERS: Final = 256
DECLARED: Final = ("parameters", "data-classification", "test-coverage", "rollback-minutes", "deployment-strategy")

_OURS: Final = f"{DOMAIN}/"
_MOST_BYTES_OF_A_CHARACTER: Final = 4  # in UTF-8
_APPROVAL: Final = f"{DOMAIN}/approval."
_EVIDENCE: Final = f"{DOMAIN}/evidence."
_CONTAINER_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_DEFAULT_NAMESPACE: Final = "default"
_LONGEST_KEPT_PREFIX: Final = 58
_MADE_SUFFIX: Final = re.compile(r"[bcdfghjklmnpqrstvwxz2456789]{5}", re.ASCII)


def read_workload(
    obj: Mapping[str, Any],
    *,
    namespace: str | None = None,
    kinds: Kinds = BUILT_IN,
    read_image: ReadImage = parse_image,
) -> Workload:
    """Read one object as a workload.

    Args:
        obj: parsed JSON.
        namespace: the request's, which the object's must equal where it says one. None for an object from a file:
            its own then, or ``default``.
        kinds: the registry of custom resources; without it they are unknown.
        read_image: reads image references.

    Raises:
        WorkloadError: as ``placet.projection.project`` does, and for a name, namespace, label, annotation or replica
            count that can't be used; the message starts with the path where there is one.
    """
    kind = kinds.require(obj)
    metadata = _object_at(obj, "metadata")
    references: tuple[Reference, ...] = ()
    if isinstance(kind, CustomKind):
        projection, images, references = project_custom(obj, kind, read_image=read_image)
        version, replicas, strategy = str(obj["apiVersion"]).rpartition("/")[2], count_pods(obj, kind), ""
    else:
        projection = project(obj)
        images, version = tuple(_images(obj, kind, read_image)), kind.version
        replicas, strategy = _read_replicas(obj, kind), _read_strategy(obj, kind)
    labels = _collect(obj, kind, "labels")
    annotations = _collect(obj, kind, "annotations")
    name, generated = _read_name(metadata)
    placed = _read_namespace(metadata, namespace)
    templates: tuple[Digest, ...] = ()
    if isinstance(kind, CustomKind):
        templates = project_templates(obj, kind, name=_text(metadata, "name", "metadata"), namespace=placed)
    return Workload(
        group=kind.group,
        version=version,
        kind=kind.name,
        namespace=placed,
        name=name,
        generated=generated,
        uid=_text(metadata, "uid", "metadata"),
        model=_read_model(labels, annotations),
        images=images,
        projection=projection,
        replicas=replicas,
        strategy=strategy,
        approvals=_with_prefix(annotations, _APPROVAL),
        evidence=_with_prefix(annotations, _EVIDENCE),
        declared={key: annotations[full] for key in DECLARED if (full := f"{DOMAIN}/{key}") in annotations},
        change_ticket=annotations.get(f"{DOMAIN}/change-ticket", ""),
        references=references,
        break_glass=annotations.get(f"{DOMAIN}/{BREAK_GLASS}", ""),
        break_glass_review=annotations.get(f"{DOMAIN}/{BREAK_GLASS_REVIEW}", ""),
        templates=templates,
    )


def read_or_excuse(obj: Mapping[str, Any], *, namespace: str, kinds: Kinds) -> tuple[Workload, WorkloadError | None]:
    """Read one object as a workload, and what keeps it from being judged: an image that can't be told from another.

    Where nobody judges it, an image that still is ``$IMAGE`` is nothing to us: no runtime fetches that.

    Raises:
        WorkloadError: as ``read_workload`` does, for anything but an image.
    """
    try:
        return read_workload(obj, namespace=namespace, kinds=kinds), None
    except WorkloadError as error:
        if error.code != IMAGE_INVALID:
            raise
        return read_workload(obj, namespace=namespace, kinds=kinds, read_image=take_image), error


def _object_at(obj: Mapping[str, Any], *steps: str) -> Mapping[str, Any]:
    """The object at a path, an empty one where there is none."""
    current: Any = obj
    for step in steps:
        current = current.get(step)
        if current is None:
            return {}
        if not isinstance(current, dict):
            raise WorkloadError(f"{'.'.join(steps)}: must be an object, not {kind_of(current)}", code="field_mistyped")
    found: Mapping[str, Any] = current
    return found


def _text(record: Mapping[str, Any], field: str, path: str) -> str:
    value = record.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise WorkloadError(f"{path}.{field}: must be text, not {kind_of(value)}", code="field_mistyped")
    return value


def _read_name(metadata: Mapping[str, Any]) -> tuple[str, bool]:
    """The object's name, or ``prefix*`` where the API server makes or has just made the name.

    A review of a create shows the made name beside the prefix; an approval can only have been given for the prefix.
    """
    name, prefix = _text(metadata, "name", "metadata"), _text(metadata, "generateName", "metadata")
    if prefix and (not name or _is_made(name, prefix)):
        return f"{prefix}*", True
    if name:
        return name, False
    raise WorkloadError("metadata.name: the object has neither a name nor a generateName", code="name_missing")


def _is_made(name: str, prefix: str) -> bool:
    """Whether the API server would have made the name (k8s.io/apiserver, storage/names)."""
    kept = prefix[:_LONGEST_KEPT_PREFIX]
    return name.startswith(kept) and _MADE_SUFFIX.fullmatch(name[len(kept) :]) is not None


def _read_namespace(metadata: Mapping[str, Any], requested: str | None) -> str:
    own = _text(metadata, "namespace", "metadata")
    if requested and own and own != requested:
        raise WorkloadError(
            f"metadata.namespace: the object says {own[:64]!r}, the request {requested[:64]!r}",
            code="namespace_mismatch",
        )
    return requested or own or _DEFAULT_NAMESPACE


def _metadata_paths(kind: Kind | CustomKind) -> Iterator[tuple[str, ...]]:
    """Where the kind has metadata: the object, the pod template, and what lies between them.

    Of a custom resource only the object's own counts: its parts may be of several models.
    """
    yield ("metadata",)
    if isinstance(kind, CustomKind):
        return
    for length in range(1, len(kind.template) + 1):
        if kind.template[length - 1].lower().endswith("template"):
            yield (*kind.template[:length], "metadata")


def _collect(obj: Mapping[str, Any], kind: Kind | CustomKind, field: str) -> dict[str, str]:
    """Labels or annotations of our domain, from every metadata in the object; one key has one value."""
    found: dict[str, str] = {}
    for path in _metadata_paths(kind):
        where = ".".join((*path, field))
        entries = _object_at(obj, *path, field)
        if _are_too_large(entries):
            raise WorkloadError(f"{where}: more than {MAX_ANNOTATION_BYTES} bytes", code="too_large")
        for key, value in entries.items():
            if not isinstance(key, str) or not key.startswith(_OURS):
                continue
            if not isinstance(value, str):
                raise WorkloadError(f"{where}[{key[:64]}]: must be text, not {kind_of(value)}", code="field_mistyped")
            if found.setdefault(key, value) != value:
                raise WorkloadError(
                    f"{where}[{key[:64]}]: differs from the value of the same key in the object's other metadata",
                    code=f"{field[:-1]}_conflict",
                    hint="Keep one of the two, or make them equal.",
                )
    return found


def _are_too_large(entries: Mapping[str, Any]) -> bool:
    texts = [text for entry in entries.items() for text in entry if isinstance(text, str)]
    if sum(map(len, texts)) * _MOST_BYTES_OF_A_CHARACTER <= MAX_ANNOTATION_BYTES:
        return False
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) > MAX_ANNOTATION_BYTES


def _with_prefix(annotations: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in annotations.items() if key.startswith(prefix)}


def _read_model(labels: Mapping[str, str], annotations: Mapping[str, str]) -> ModelIdentity:
    name = labels.get(f"{DOMAIN}/model", "")
    if name and not _LABEL_VALUE.fullmatch(name):
        raise WorkloadError(f"the label {DOMAIN}/model is not a label value", code="model_invalid")
    version = annotations.get(f"{DOMAIN}/model-version", "")
    if len(version) > MAX_VERSION_CHARACTERS or not version.isprintable():
        raise WorkloadError(
            f"the annotation {DOMAIN}/model-version is not one line of at most {MAX_VERSION_CHARACTERS} characters",
            code="model_invalid",
        )
    raw_digest = annotations.get(f"{DOMAIN}/model-digest", "")
    try:
        digest = Digest.parse(raw_digest) if raw_digest else None
    except FormatError as exc:
        raise WorkloadError(f"the annotation {DOMAIN}/model-digest is {exc}", code="model_invalid") from exc
    return ModelIdentity(name=name, version=version, digest=digest)


def names_model(obj: Mapping[str, Any] | None, *, kinds: Kinds = BUILT_IN) -> bool:
    """Whether any metadata of the object names a model, also where the object can't be read as a workload."""
    kind = kinds.find(obj) if obj is not None else None
    for path in () if kind is None else _metadata_paths(kind):
        try:
            name = _object_at(obj or {}, *path, "labels").get(f"{DOMAIN}/model")
        except WorkloadError:
            continue
        if name:
            return True
    return False


def _images(obj: Mapping[str, Any], kind: Kind, read_image: ReadImage) -> Iterator[Image]:
    """Every image that a pod of the workload would run or mount; the shapes were checked by the projection."""
    path = ".".join((*kind.template, "spec"))
    spec = _object_at(obj, *kind.template, "spec")
    for field in _CONTAINER_LISTS:
        for index, container in enumerate(spec.get(field) or ()):
            where = f"{path}.{field}{element_step(container, index)}"
            yield read_image(container.get("image") or "", container=where)
    for index, volume in enumerate(spec.get("volumes") or ()):
        if volume.get("image") is not None:
            where = f"{path}.volumes{element_step(volume, index)}.image"
            yield read_image(volume["image"].get("reference") or "", container=where)


def _count(record: Mapping[str, Any], field: str, path: str) -> int | None:
    """A count of pods, None where there is none."""
    value = record.get(field)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise WorkloadError(f"{path}.{field}: must be an integer, not {kind_of(value)}", code="replicas_invalid")
    if not 0 <= value < 2**31:
        raise WorkloadError(f"{path}.{field}: must be from 0 to 2**31 - 1", code="replicas_invalid")
    return value


def _read_replicas(obj: Mapping[str, Any], kind: Kind) -> int | None:
    """How many pods the object itself lets run at once at most; None where it does not say."""
    if kind.name == "Pod":
        return 1
    if kind.name == "DaemonSet":
        return None  # as many as there are nodes
    if kind.name == "Job":
        return parallel_pods(obj, "spec")
    if kind.name == "CronJob":
        # Allow, the default, starts the next Job beside those that still run: no number holds.
        if _text(_object_at(obj, "spec"), "concurrencyPolicy", "spec") not in {"Forbid", "Replace"}:
            return None
        return parallel_pods(obj, "spec", "jobTemplate", "spec")
    replicas = _count(_object_at(obj, "spec"), "replicas", "spec")
    return 1 if replicas is None else replicas


def parallel_pods(obj: Mapping[str, Any], *steps: str) -> int:
    """How many pods the Job spec at a path runs at once at most.

    Raises:
        WorkloadError: code ``replicas_invalid``.
    """
    spec, path = _object_at(obj, *steps), ".".join(steps)
    parallelism, completions = _count(spec, "parallelism", path), _count(spec, "completions", path)
    at_once = 1 if parallelism is None else parallelism
    return at_once if completions is None else min(at_once, completions)


def _read_strategy(obj: Mapping[str, Any], kind: Kind) -> str:
    """How the controller replaces pods after a change, where the object proves it.

    ``OnDelete`` is neither: old and new pods stand side by side until someone deletes the old ones by hand. The other
    kinds don't replace their pods after a change at all.
    """
    field = {"Deployment": "strategy", "StatefulSet": "updateStrategy", "DaemonSet": "updateStrategy"}.get(kind.name)
    if field is None:
        return ""
    strategy = _text(_object_at(obj, "spec", field), "type", f"spec.{field}") or "RollingUpdate"
    return {"RollingUpdate": "rolling", "Recreate": "recreate"}.get(strategy, "")
