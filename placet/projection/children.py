"""What custom controllers make of the pod templates in their objects, and what they add to them: registry data.

A controller adds labels, variables and volumes that nobody wrote. What an entry does not name stays and counts, and
what it names is taken off in the declared form alone. ADR 33 says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from placet.errors import WorkloadError
from placet.projection.paths import Steps, find_values
from placet.projection.shapes import MistypedError, join_path, kind_of

# kind -> apiVersion, of the children that hold a pod template
MADE: Final[Mapping[str, str]] = {
    "DaemonSet": "apps/v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
}
FIELDS: Final = ("annotations", "labels")
_CHANGED_LISTS: Final = ("containers", "initContainers")
_PERCENT: Final = re.compile(r"(0|[1-9][0-9]{0,2})%", re.ASCII)
_NUMBER: Final = "(?:0|[1-9][0-9]{0,8})"
_WORD: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?)?", re.ASCII)
_MOST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Surge:
    """How many more a rollout may run for a while.

    Attributes:
        at: the part that says it; no more where it is not there.
        member: of that part: a number, or a percentage of the count.
        absent: what counts where the part does not say.
    """

    at: Steps
    member: str
    absent: int | str


@dataclass(frozen=True, slots=True)
class Made:
    """One kind of children.

    Attributes:
        kind: a key of ``MADE``.
        at: the part of the object that they are made of; () for the object itself. All other paths begin there, but
            ``claims``.
        templates: each of the pod templates that such a child may hold.
        count: members of which the highest is how many replicas, or parallel Pods, one child may ask for.
        absent: what counts where none of them is there.
        less: what is taken off that, such as the leader of a group from its size.
        surge: what comes on top.
        claims: volume claim templates of the child, from the top of the object; () for none.
        by_pods: whether it belongs to a Pod that comes of another child of the object.
    """

    kind: str
    at: Steps
    templates: tuple[Steps, ...]
    count: tuple[Steps, ...]
    absent: int
    less: int = 0
    surge: Surge | None = None
    claims: Steps = ()
    by_pods: bool = False


@dataclass(frozen=True, slots=True)
class Copied:
    """A custom resource of the same group whose spec stands in the object.

    Attributes:
        kind: of the child.
        at: where its spec stands.
    """

    kind: str
    at: Steps


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that the controller sets in every container.

    Attributes:
        name: of the variable.
        forms: what it may say, with ``{name}`` and ``{namespace}`` of the custom resource, and ``{number}``.
        separator: between several such values; "" where there is one.
    """

    name: str
    forms: tuple[str, ...]
    separator: str = ""


@dataclass(frozen=True, slots=True)
class Children:
    """What the controller of a kind makes.

    Attributes:
        made: each kind of children that hold a pod template.
        copied: each kind of custom resources that are made of a part of it, with its labels and annotations.
        written: keys of labels and annotations that it writes over in children and their Pods.
        variables: that it sets in their Pods.
        claims: where the names of claims stand that it mounts as volumes, each as name and the object's name; () for
            none.
        keeps_revisions: whether children of an earlier content of the object run on beside the new ones.
    """

    made: tuple[Made, ...] = ()
    copied: tuple[Copied, ...] = ()
    written: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()
    claims: Steps = ()
    keeps_revisions: bool = False


@dataclass(frozen=True, slots=True)
class Additions:
    """What a controller adds to what it makes of one object.

    Attributes:
        keys: of labels and annotations.
        variables: name -> what its value looks like.
        claims: names of the claims that are mounted.
        owner: the object's name.
        asked_for: whether it is the object's own template that is read, where what stands under the keys never runs.
    """

    keys: tuple[str, ...] = ()
    variables: Mapping[str, re.Pattern[str]] | None = None
    claims: tuple[str, ...] = ()
    owner: str = ""
    asked_for: bool = False

    def written(self, metadata: Any) -> frozenset[tuple[str, str]]:
        """The (field, key) pairs that count for nothing.

        An annotation can be any text, so in what a controller has made it is left out only where it is one word.
        """
        held = metadata.get("annotations") if isinstance(metadata, dict) else None
        annotations: Mapping[str, Any] = held if isinstance(held, dict) else {}
        return frozenset(
            (field, key)
            for key in self.keys
            for field in FIELDS
            if self.asked_for or field == "labels" or _is_word(annotations.get(key, ""))
        )

    def without(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """A pod spec in projected form without the variables and volumes that the controller adds."""
        result = dict(spec)
        for field in _CHANGED_LISTS:
            if field in result and self.variables:
                result[field] = [_kept(container, "env", self._is_added) for container in result[field]]
        added = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{self.owner}"}} for name in self.claims]
        return _kept(result, "volumes", lambda volume: volume in added) if added else result

    def _is_added(self, variable: Mapping[str, Any]) -> bool:
        form = (self.variables or {}).get(variable["name"])
        value = variable.get("value")
        return form is not None and variable.keys() == {"name", "value"} and form.fullmatch(value or "") is not None


NOTHING: Final = Additions()


@dataclass(frozen=True, slots=True)
class Template:
    """One pod template of an object, as the child that is made of it would hold it.

    Attributes:
        child: an object of the child's kind with nothing but what its content depends on.
        most: replicas, or parallel Pods, that one child may ask for.
    """

    child: Mapping[str, Any]
    most: int


def find_additions(obj: Mapping[str, Any], children: Children, *, name: str, namespace: str) -> Additions:
    """What the controller adds to what it makes of an object.

    Args:
        obj: of a kind with such children.
        children: of its entry.
        name: the object's own.
        namespace: where it is.

    Raises:
        WorkloadError: something else stands where claims should be.
    """
    claims = [_claim_name(value) for _, value in _values(obj, children.claims)] if children.claims else []
    return Additions(
        keys=children.written,
        variables={one.name: _pattern(one, name, namespace) for one in children.variables},
        claims=tuple(claims),
        owner=name,
    )


def find_templates(obj: Mapping[str, Any], children: Children, kind: str, *, by_pods: bool) -> Iterator[Template]:
    """Every pod template that a child of a kind may be made of.

    Raises:
        WorkloadError: something else stands at one of the entry's paths.
    """
    for made in children.made:
        if made.kind != kind or made.by_pods != by_pods:
            continue
        claims = next((value for _, value in _values(obj, made.claims)), None) if made.claims else None
        for _, part in _values(obj, made.at):
            for steps in made.templates:
                for _, template in _values(part, steps):
                    yield Template(_child(kind, template, claims), _most(part, made))


def find_copied(
    obj: Mapping[str, Any], children: Children, *, api_version: str, kind: str
) -> Iterator[Mapping[str, Any]]:
    """Every custom resource of a kind that is made of an object: its spec, and the object's labels and annotations.

    Raises:
        WorkloadError: something else stands at one of the entry's paths.
    """
    metadata = without_written(obj.get("metadata"), children, asked_for=True)
    for copied in children.copied:
        if copied.kind == kind:
            for _, spec in _values(obj, copied.at):
                yield {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def without_written(metadata: Any, children: Children, *, asked_for: bool = False) -> Any:
    """Labels and annotations alone, without those that the controller writes over."""
    if not isinstance(metadata, dict):
        return metadata
    written = Additions(keys=children.written, asked_for=asked_for).written(metadata)
    return {
        field: {key: value for key, value in entries.items() if (field, key) not in written}
        if isinstance(entries := metadata[field], dict)
        else entries
        for field in FIELDS
        if field in metadata
    }


def as_asked_for(additions: Additions) -> Additions:
    """The same, to read the object's own template by."""
    return replace(additions, asked_for=True)


def _child(kind: str, template: Any, claims: Any) -> dict[str, Any]:
    spec = {"template": template, **({} if claims is None else {"volumeClaimTemplates": claims})}
    return {"apiVersion": MADE[kind], "kind": kind, "metadata": {}, "spec": spec}


def _most(part: Any, made: Made) -> int:
    counts = [_number(value, where) for steps in made.count for where, value in _values(part, steps)]
    count = max(max(counts, default=made.absent) - made.less, 0)
    extra = 0
    if made.surge is not None:
        for where, holder in _values(part, made.surge.at):
            said = holder.get(made.surge.member) if isinstance(holder, dict) else None
            extra = max(extra, _surge(made.surge.absent if said is None else said, count, where))
    return min(count + extra, _MOST)


def _surge(value: Any, count: int, where: list[str]) -> int:
    percent = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if percent is not None:
        return -(-count * int(percent[1]) // 100)
    return _number(value, where)


def _number(value: Any, where: list[str]) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        path = join_path(where)
        raise WorkloadError(f"{path}: must be from 0 to 2**31 - 1, not {kind_of(value)}", code="replicas_invalid")
    return value


def _claim_name(value: Any) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _values(value: Any, steps: Steps) -> Iterator[tuple[list[str], Any]]:
    try:
        yield from find_values(value, steps)
    except MistypedError as exc:
        raise WorkloadError(f"{join_path(exc.path[::-1])}: {exc}", code=exc.code) from exc


def _pattern(variable: Variable, name: str, namespace: str) -> re.Pattern[str]:
    values = {"{name}": re.escape(name), "{namespace}": re.escape(namespace), "{number}": _NUMBER}
    forms = [
        "".join(values.get(part) or re.escape(part) for part in re.split(r"(\{[a-z]+\})", form))
        for form in variable.forms
    ]
    one = f"(?:{'|'.join(forms)})"
    return re.compile(f"{one}(?:{re.escape(variable.separator)}{one})*" if variable.separator else one, re.ASCII)


def _kept(record: Mapping[str, Any], field: str, is_added: Any) -> dict[str, Any]:
    """Without those elements of a list, and without the list where nothing is left of it."""
    kept = [element for element in record.get(field, ()) if not is_added(element)]
    result = {name: value for name, value in record.items() if name != field}
    return {**result, field: kept} if kept else result


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None
