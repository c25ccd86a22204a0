"""The containers of an object, wherever it keeps them, with the fields that detection reads.

A field of another type than the API's is no sign of anything: the gate refuses such an object before, and the API
server before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.projection import find_kind

# Those that run beside each other; an init container has ended before, unless it is restarted always.
_RUNNING: Final = ("containers", "ephemeralContainers")
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS: Final = ("postStart", "preStop")
_ENDS: Final = frozenset({"Never", "OnFailure"})


@dataclass(frozen=True, slots=True)
class Container:
    """What is read of a container.

    Attributes:
        name: its name, hostile text.
        image: its reference as written.
        command: text of its command.
        arguments: text of its arguments.
        environment: name -> whether it has a value.
        scripts: values of the environment, and commands of hooks and probes.
        resources: names of what it asks for.
        mounts: paths.
        probes: paths that are asked by HTTP.
        listens: whether it names a port.
        starts_only: whether it is an init container, which has ended before the pod serves.
    """

    name: str
    image: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, bool]
    scripts: tuple[str, ...]
    resources: frozenset[str]
    mounts: tuple[str, ...]
    probes: tuple[str, ...]
    listens: bool
    starts_only: bool


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod or a template of one.

    Attributes:
        containers: in order.
        ends: whether its containers run to an end.
    """

    containers: tuple[Container, ...]
    ends: bool


def find_pods(obj: Mapping[str, Any]) -> list[Pod]:
    """The pod of a built-in kind, or whatever holds a list of containers in an object of another kind."""
    kind = find_kind(obj)
    if kind is None:
        return [_read_pod(spec) for spec in _walk(obj) if isinstance(spec.get("containers"), list)]
    spec: Any = obj
    for step in (*kind.template, "spec"):
        spec = spec.get(step) if isinstance(spec, dict) else None
    return [_read_pod(spec)] if isinstance(spec, dict) else []


def find_texts(obj: Mapping[str, Any]) -> Iterator[str]:
    """Every text in the object's spec but images, which are named after what they hold, not after what it runs."""
    for record in _walk({"spec": obj.get("spec")}):
        for key, value in record.items():
            if key != "image":
                yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))


def _walk(obj: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every JSON object in a value, in the order in which it stands there."""
    pending: list[Any] = [obj]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value
            pending.extend(reversed(value.values()))
        elif isinstance(value, list):
            pending.extend(reversed(value))


def _read_pod(spec: Mapping[str, Any]) -> Pod:
    found = [_read(raw) for field in _RUNNING for raw in _objects(spec.get(field))]
    found += [
        _read(raw, starts_only=raw.get("restartPolicy") != "Always") for raw in _objects(spec.get("initContainers"))
    ]
    return Pod(containers=tuple(found), ends=_text(spec.get("restartPolicy")) in _ENDS)


def _read(raw: Mapping[str, Any], *, starts_only: bool = False) -> Container:
    environment = {
        name: "valueFrom" in item or bool(_text(item.get("value")))
        for item in _objects(raw.get("env"))
        if (name := _text(item.get("name")))
    }
    resources = _record(raw.get("resources"))
    actions = [_record(raw.get(field)) for field in _PROBES] + [
        _record(_record(raw.get("lifecycle")).get(hook)) for hook in _HOOKS
    ]
    commands = [_texts(_record(action.get("exec")).get("command")) for action in actions]
    values = [value for item in _objects(raw.get("env")) if (value := _text(item.get("value")))]
    probes = [_record(_record(raw.get(field)).get("httpGet")).get("path") for field in _PROBES]
    return Container(
        name=_text(raw.get("name")),
        image=_text(raw.get("image")),
        command=_texts(raw.get("command")),
        arguments=_texts(raw.get("args")),
        environment=environment,
        scripts=(*values, *(" ".join(command) for command in commands if command)),
        resources=frozenset(name for field in ("limits", "requests") for name in _record(resources.get(field))),
        mounts=tuple(_text(item.get("mountPath")) for item in _objects(raw.get("volumeMounts"))),
        probes=tuple(_text(path) for path in probes),
        listens=bool(_objects(raw.get("ports"))),
        starts_only=starts_only,
    )


def _record(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
