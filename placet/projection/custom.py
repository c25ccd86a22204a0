"""Workloads of kinds that a registry describes: custom resources, read so that nothing in them goes unseen.

Everything in such an object is governed as it stands, but for its metadata, its status and what the entry names as
ungoverned. Pods and parts of pods at the named places are read by the shapes of built-in pods, with every member that
those don't know. ADR 27 says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.errors import WorkloadError
from placet.images import ReadImage
from placet.model import Image, Reference
from placet.projection.children import Children
from placet.projection.metadata import FIELD_VALUES, governed_metadata, read_field_values
from placet.projection.paths import ANY, EACH, Node, Steps, find_values
from placet.projection.pods import CONTAINER, POD_SPEC, POD_TEMPLATE, RESOURCES
from placet.projection.shapes import MistypedError, Record, element_step, join_path, key_step, kind_of
from placet.projection.whole import read_members, read_open, read_whole, same_json

TEMPLATES: Final = "pod_templates"
SPECS: Final = "pod_specs"
CONTAINERS: Final = "containers"
SIZES: Final = "resources"
IMAGES: Final = "images"
MODELS: Final = "models"
WHOLE: Final = "whole"
UNGOVERNED: Final = "ungoverned"
# Places whose members a shape reads, so that an entry can only name others below them.
SHAPES: Final[Mapping[str, Record]] = {TEMPLATES: POD_TEMPLATE, SPECS: POD_SPEC, CONTAINERS: CONTAINER}
NOT_GOVERNED: Final = frozenset({"apiVersion", "kind", "metadata", "status"})
MAX_IMAGES: Final = 400

_ABSENT: Final = object()
_CONTAINER_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")
_MOST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ReplicaCount:
    """How many pods one part of an object runs at once.

    Attributes:
        at: where the part is; it counts once for each place where it is there.
        count: members below it, of which the highest counts.
        bound: the member without which there is no ceiling; () where there is always one.
        absent: what counts where no member does; None where that can't be known.
        times: members below it that multiply the count, 1 where they are absent.
    """

    at: Steps
    count: tuple[Steps, ...]
    bound: Steps = ()
    absent: int | None = None
    times: tuple[Steps, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomKind:
    """One entry of the registry.

    Attributes:
        key: what the registry calls it.
        group: API group.
        name: the kind's name.
        resource: its plural.
        versions: API versions whose objects have the same paths; the first names the form of the projection.
        tree: what the entry says about places in the object.
        metadata: beginnings of the label and annotation keys that count, because its controller obeys them.
        replicas: parts whose counts add up; empty where the ceiling can't be known.
        images_elsewhere: whether an object may name no image, because a runtime or an operator chooses it.
        children: what its controller makes of it by copying; None where that does not follow from the object.
        scale: where its ``/scale`` reads and writes replicas; () where there is none.
    """

    key: str
    group: str
    name: str
    resource: str
    versions: tuple[str, ...]
    tree: Node
    metadata: tuple[str, ...] = ()
    replicas: tuple[ReplicaCount, ...] = ()
    images_elsewhere: bool = False
    children: Children | None = None
    scale: Steps = ()

    @property
    def form(self) -> str:
        """``ray.io/v1 RayService``: which paths a projection was made by."""
        return f"{self.group}/{self.versions[0]} {self.name}"

    @property
    def api_versions(self) -> tuple[str, ...]:
        """``ray.io/v1`` and so on."""
        return tuple(f"{self.group}/{version}" for version in self.versions)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a custom object holds.

    Attributes:
        document: its projection, as a JSON value. Secret: see ``placet.model.Projection``.
        images: every image at the places that the entry names.
        references: what it says where its models come from.
    """

    document: dict[str, Any]
    images: tuple[Image, ...]
    references: tuple[Reference, ...]


def read_custom(obj: Mapping[str, Any], kind: CustomKind, *, schema: str, read_image: ReadImage) -> Reading:
    """Read an object of a registered kind.

    Args:
        obj: parsed JSON.
        kind: its entry.
        schema: mark of the projection's form.
        read_image: reads image references.

    Raises:
        WorkloadError: something is not of the type that the entry expects there, an image can't be read, a name is
            given twice, or there is too much; the message starts with the path.
    """
    reader = _Reader(kind.metadata, read_image)
    try:
        content = {
            name: read
            for name, value in obj.items()
            if name not in NOT_GOVERNED
            and (read := reader.read(value, kind.tree.children.get(name), [name])) is not _ABSENT
        }
        document = {"schema": schema, "form": kind.form, "object": content}
        metadata = reader.metadata(obj.get("metadata"), content)
    except MistypedError as exc:
        raise WorkloadError(f"{join_path(exc.path[::-1])}: {exc}", code=exc.code) from exc
    if metadata:
        document["metadata"] = metadata
    return Reading(document, tuple(reader.images), tuple(reader.references))


def count_pods(obj: Mapping[str, Any], kind: CustomKind) -> int | None:
    """How many pods the object lets run at once at most; None where it does not say.

    Raises:
        WorkloadError: code ``replicas_invalid``.
    """
    if not kind.replicas:
        return None
    total = 0
    try:
        for part in kind.replicas:
            for where, found in find_values(obj, part.at):
                pods = _pods_of(found, part, where)
                if pods is None:
                    return None
                total += pods
    except MistypedError as exc:
        raise WorkloadError(f"{join_path(exc.path[::-1])}: {exc}", code="replicas_invalid") from exc
    return min(total, _MOST)


def _pods_of(found: Any, part: ReplicaCount, where: list[str]) -> int | None:
    counts = [number for steps in part.count for number in _numbers(found, steps, where)]
    if part.bound and not any(_numbers(found, part.bound, where)):
        return None
    pods = max(counts, default=part.absent)
    if pods is None:
        return None
    for steps in part.times:
        for number in _numbers(found, steps, where):
            pods *= number
    return pods


def _numbers(found: Any, steps: Steps, where: list[str]) -> list[int]:
    numbers = []
    for place, value in find_values(found, steps, where):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
            error = MistypedError(f"must be an integer from 0 to 2**31 - 1, not {kind_of(value)}")
            error.path += place[::-1]
            raise error
        numbers.append(value)
    return numbers


class _Reader:
    """One reading: the projection is returned, images and references are gathered on the way."""

    def __init__(self, prefixes: tuple[str, ...], read_image: ReadImage) -> None:
        self.prefixes = prefixes
        self.read_image = read_image
        self.images: list[Image] = []
        self.references: list[Reference] = []

    def read(self, value: Any, node: Node | None, where: list[str]) -> Any:
        """The value in projected form; ``_ABSENT`` where it says nothing that is governed."""
        if node is None:
            return _at(where, read_whole, value)
        if node.use == UNGOVERNED and _is_single(value):
            return _ABSENT
        read = None if value is None else self._read(value, node, where)
        return _ABSENT if any(same_json(read, default) for default in node.defaults) else read

    def _read(self, value: Any, node: Node, where: list[str]) -> Any:
        if node.use in SHAPES:
            return self._shaped(value, node, where)
        if node.use == SIZES:
            sizes = _at(where, read_open, RESOURCES, value)
            return _ABSENT if sizes is None else sizes
        if node.use == IMAGES:
            self._add_image(_image_text(value, where), where)
        elif node.use == MODELS:
            self._add_reference(value, where)
        return self._inside(value, node, where)

    def metadata(self, metadata: Any, content: Any) -> dict[str, Any]:
        """What counts of the metadata beside ``content``."""
        counted = governed_metadata(metadata, self.prefixes)
        values = read_field_values(content, metadata)
        return {**counted, **({FIELD_VALUES: values} if values else {})}

    def _inside(self, value: Any, node: Node, where: list[str]) -> Any:
        if not node.children:
            return _at(where, read_whole, value)
        if EACH in node.children:
            _require(list, value, where)
            read = [
                self.read(item, node.children[EACH], [*where, element_step(item, index)])
                for index, item in enumerate(value)
            ]
            return [None if item is _ABSENT else item for item in read]
        _require(dict, value, where)
        _at(where, read_whole, dict.fromkeys(value))
        free = node.children.get(ANY)
        result = {}
        for name, item in value.items():
            step = name if free is None else key_step(name)
            read = self.read(item, free or node.children.get(name), [*where, step])
            if read is not _ABSENT:
                result[name] = read
        return result

    def _shaped(self, value: Any, node: Node, where: list[str]) -> dict[str, Any]:
        _require(dict, value, where)
        result: dict[str, Any] = {}
        for name, child in node.children.items():
            if name in value and (read := self.read(value[name], child, [*where, name])) is not _ABSENT:
                result[name] = read
        rest = {name: item for name, item in value.items() if name not in node.children}
        result |= _at(where, read_members, SHAPES[node.use], rest)
        if node.use == TEMPLATES:
            metadata = _at(where, self.metadata, value.get("metadata"), result)
            self._add_pod(rest.get("spec"), [*where, "spec"])
            return {**result, "metadata": metadata} if metadata else result
        if node.use == SPECS:
            self._add_pod(rest, where)
        elif rest.get("image"):
            self._add_image(rest["image"], where)
        return result

    def _add_pod(self, spec: Mapping[str, Any] | None, where: list[str]) -> None:
        """The images of a pod whose shape was read already."""
        for field, index, item in _elements(spec or {}):
            image = item.get("image")
            place = [*where, f"{field}{element_step(item, index)}"]
            if field == "volumes" and isinstance(image, dict):
                self._add_image(image.get("reference"), [*place, "image"])
            elif image:
                self._add_image(image, place)

    def _add_image(self, reference: Any, where: list[str]) -> None:
        if len(self.images) >= MAX_IMAGES:
            raise WorkloadError(f"{join_path(where)}: more than {MAX_IMAGES} images", code="too_many")
        self.images.append(self.read_image(reference, container=join_path(where)))

    def _add_reference(self, value: Any, where: list[str]) -> None:
        if not isinstance(value, str):
            error = MistypedError(f"must be text, not {kind_of(value)}")
            error.path += where[::-1]
            raise error
        self.references.append(Reference(join_path(where), value))


def _is_single(value: Any) -> bool:
    """Whether it is one value, or a list of such: nothing that could hold a pod."""
    items = value if isinstance(value, list) else [value]
    return not any(isinstance(item, dict | list) for item in items)


def _elements(spec: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    for field in (*_CONTAINER_LISTS, "volumes"):
        for index, item in enumerate(spec.get(field) or ()):
            yield field, index, item


def _image_text(value: Any, where: list[str]) -> Any:
    """A reference, or the text that ``repository`` and ``tag`` make, as operators put them together."""
    if not isinstance(value, dict):
        return value
    repository, tag = value.get("repository"), value.get("tag")
    if not isinstance(repository, str) or not isinstance(tag, str | None):
        error = MistypedError("must be an image, or an object with repository and tag")
        error.path += where[::-1]
        raise error
    return f"{repository}:{tag}" if tag else repository


def _require(wanted: type, value: Any, where: list[str]) -> None:
    if not isinstance(value, wanted):
        error = MistypedError(f"must be {'a list' if wanted is list else 'an object'}, not {kind_of(value)}")
        error.path += where[::-1]
        raise error


def _at(where: list[str], read: Any, *arguments: Any) -> Any:
    """What a function gives; a path in its error begins where the value stands."""
    try:
        return read(*arguments)
    except MistypedError as exc:
        exc.path += where[::-1]
        raise
