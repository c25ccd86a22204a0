"""Whether an allow is right, by another way than the gate's: the hard part of fuzzing the whole decision.

A crash shows itself; a wrong allow looks like a right one. So every allow is held against what the documents promise
(docs/architecture.md, docs/lookups.md, docs/formats-projection.md), over the naive reading of ``tests.fuzz.naive``
and the objects that people really signed in ``tests.fuzz.world``. Nothing here calls the gate, its projection, its
verification of approvals or its policies.

It may be stricter than the documents: each allow that it does not know a reason for stops the fuzzer, and somebody
looks. It is laxer in one thing: the old object is believed, as the API server is trusted to tell what is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from tests.fuzz.naive import content
from tests.fuzz.world import (
    APPROVAL,
    ENVIRONMENT,
    EVIDENCE,
    EXEMPTER,
    LABELS,
    LEVEL,
    MOST_REPLICAS,
    NAMESPACE,
    ROLES,
    Approved,
    World,
)

Json = dict[str, Any]

BREAK_GLASS: Final = "placet.dev/break-glass"

_LABELLED: Final = frozenset({"staging", "development"})
_DEFAULT: Final = ENVIRONMENT  # what a Namespace belongs to that names no environment
_SUBRESOURCES: Final = frozenset({"", "ephemeralcontainers", "resize"})
_MODEL: Final = {
    "labels": ("placet.dev/model",),
    "annotations": ("placet.dev/model-version", "placet.dev/model-digest"),
}
_MOST_SURGE: Final = 1  # a quarter of the four replicas that are stored
_KINDS: Final = {
    ("apps/v1", "Deployment"): ("apps", "v1"),
    ("apps/v1", "ReplicaSet"): ("apps", "v1"),
    ("v1", "Pod"): ("", "v1"),
}


class TwiceError(ValueError):
    """A key is given twice."""


def find_reason(environment: str, body: bytes, world: World) -> str | None:
    """Why this review may be allowed; None where no document says that it may.

    Args:
        environment: of the path.
        body: of the call, exactly.
        world: what was signed and stored.
    """
    try:
        request = json.loads(body, object_pairs_hook=_once)["request"]
    except TwiceError:
        return None
    if request["operation"] == "DELETE":
        return "a delete takes away"
    if environment != _home(request.get("namespace")):
        return None
    if environment in _LABELLED:
        return _in_a_labelled_environment(request)
    if environment != ENVIRONMENT or request.get("namespace") != NAMESPACE:
        return None
    if request["operation"] not in {"CREATE", "UPDATE"}:
        return None
    if request.get("subResource") == "scale":
        return _scaled(request, world)
    new = request.get("object")
    if (request.get("subResource") or "") not in _SUBRESOURCES or not _is_what_the_request_says(new, request):
        return None
    return (
        _unchanged(request, world)
        or _approved(request, world)
        or _returned(request, world)
        or _exempted(request, world)
        or _child(request, world)
        or _glassed(request, world)
    )


def _home(namespace: Any) -> str | None:
    """The environment of a namespace; None where there is no such."""
    if not isinstance(namespace, str) or namespace not in LABELS:
        return None
    label = LABELS[namespace]
    return label if label in _LABELLED else _DEFAULT


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TwiceError
    return found


def _is_what_the_request_says(new: Any, request: Json) -> bool:
    """Whether kind, namespace and name of the object are those of the request."""
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        return False
    kind, metadata = request["kind"], new["metadata"]
    named = _KINDS.get((new.get("apiVersion"), new.get("kind")))  # type: ignore[arg-type]
    return (
        named == (kind.get("group") or "", kind.get("version"))
        and new["kind"] == kind["kind"]
        and metadata.get("namespace") in {None, "", NAMESPACE}
        and (not request.get("name") or not metadata.get("name") or request["name"] == metadata["name"])
    )


# -- what an object says


def _template(obj: Any) -> Json:
    """What holds the pod spec and its metadata: the object itself, or its template."""
    if not isinstance(obj, dict):
        return {}
    if obj.get("kind") == "Pod":
        return obj
    spec = obj.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    return template if isinstance(template, dict) else {}


def _content(obj: Any) -> Any:
    template = _template(obj)
    return content(template.get("spec"), template.get("metadata"))


def _places(obj: Any) -> Iterator[Json]:
    """Every metadata in which the object may say something to us."""
    for holder in (obj, *([] if _template(obj) is obj else [_template(obj)])):
        metadata = holder.get("metadata") if isinstance(holder, dict) else None
        if isinstance(metadata, dict):
            yield metadata


def _said(obj: Any, field: str, key: str) -> set[str]:
    held = [place[field] for place in _places(obj) if isinstance(place.get(field), dict)]
    return {one[key] for one in held if isinstance(one.get(key), str)}


def _model(obj: Any) -> list[set[str]]:
    return [_said(obj, field, key) - {""} for field, keys in _MODEL.items() for key in keys]


def _under(obj: Any, prefix: str) -> dict[str, set[str]]:
    """Name of the annotation -> its values, of all that begin so."""
    found: dict[str, set[str]] = {}
    for place in _places(obj):
        annotations = place.get("annotations")
        for key, value in annotations.items() if isinstance(annotations, dict) else ():
            if key.startswith(prefix) and isinstance(value, str):
                found.setdefault(key, set()).add(value)
    return found


def _replicas(obj: Json) -> int:
    if obj.get("kind") == "Pod":
        return 1
    count = obj["spec"].get("replicas")
    return 1 if count is None else int(count)


def _strategy(obj: Any) -> str:
    spec = obj.get("spec") if isinstance(obj, dict) else None
    strategy = spec.get("strategy") if isinstance(spec, dict) else None
    return str((strategy.get("type") if isinstance(strategy, dict) else None) or "RollingUpdate")


def _named(obj: Json, world: World) -> list[Approved]:
    """What was signed of the content, the kind, the name and the model of the object."""
    return [
        one
        for one in world.approved
        if one.name == obj["metadata"].get("name")
        and one.obj["kind"] == obj.get("kind")
        and _content(one.obj) == _content(obj)
        and _model(one.obj) == _model(obj)
    ]


# -- the reasons


def _in_a_labelled_environment(request: Json) -> str | None:
    """Nothing is signed for these here: what says no model passes, and what changes nothing."""
    new, old = request.get("object"), request.get("oldObject") if request["operation"] == "UPDATE" else None
    if request.get("subResource") == "scale":
        return None
    says = [_said(one, "labels", "placet.dev/model") - {""} for one in (new, old)]
    if not any(says):
        return "it says of no model"
    return "unchanged" if _changes_nothing(new, old) and not _drops(new or {}, old or {}) else None


def _changes_nothing(new: Any, old: Any) -> bool:
    return (
        isinstance(new, dict)
        and isinstance(old, dict)
        and new.get("kind") == old.get("kind")
        and _content(new) == _content(old)
        and _model(new) == _model(old)
        and _strategy(new) == _strategy(old)
        and _replicas(new) <= _replicas(old)
    )


def _drops(new: Json, old: Json) -> bool:
    """Whether an approval is gone or is another one: a later revocation would miss it."""
    kept = _under(new, APPROVAL)
    return any(not values <= kept.get(key, set()) for key, values in _under(old, APPROVAL).items())


def _is_taken_back(obj: Json, old: Json, world: World) -> bool:
    values = set().union(*_under(old, APPROVAL).values(), *_under(obj, APPROVAL).values())
    for one in world.approved:
        if one.revoked and _content(one.obj) == _content(obj):
            same = one.name == obj["metadata"].get("name") and _model(one.obj) == _model(obj)
            if same or one.signed(APPROVAL)[f"{APPROVAL}{ROLES[1]}"] in values:
                return True
    return False


def _unchanged(request: Json, world: World) -> str | None:
    new: Json = request["object"]
    old: Json = request.get("oldObject") or {}
    if request["operation"] != "UPDATE" or not _changes_nothing(new, old):
        return None
    if old["metadata"].get("deletionTimestamp"):
        return "the last updates of what is being deleted"
    if _drops(new, old):
        return None
    if _is_taken_back(new, old, world) and _replicas(new) >= _replicas(old):
        return None
    return "unchanged"


def _approved(request: Json, world: World) -> str | None:
    new = request["object"]
    approvals, evidence = _under(new, APPROVAL), set().union(*_under(new, EVIDENCE).values())
    for one in _named(new, world):
        signed, attested = one.signed(APPROVAL), set(one.signed(EVIDENCE).values())
        if one.revoked or not set(signed) >= {f"{APPROVAL}{role}" for role in ROLES}:
            continue
        if not all(signed[f"{APPROVAL}{role}"] in approvals.get(f"{APPROVAL}{role}", set()) for role in ROLES):
            continue
        critical = f"{APPROVAL}executive" in signed and signed[f"{APPROVAL}executive"] in set().union(
            *approvals.values()
        )
        if request["userInfo"]["username"] in world.approvers:
            continue
        if critical or (attested <= evidence and _replicas(new) <= MOST_REPLICAS):
            return f"approved up to {'critical' if critical else LEVEL}"
    return None


def _returned(request: Json, world: World) -> str | None:
    """Back to what was admitted before, or more of it, within the level of then."""
    new, old = request["object"], request.get("oldObject")
    if request["operation"] != "UPDATE" or not isinstance(old, dict) or old.get("kind") != new.get("kind"):
        return None
    same = _content(new) == _content(old) and _model(new) == _model(old)
    if same and (_drops(new, old) or _strategy(new) != _strategy(old)):
        return None
    for one in _named(new, world):
        if one.admitted and not one.revoked and (_replicas(new) <= MOST_REPLICAS or one.name == "scout"):
            return "scaled" if same else "rolled back"
    return None


def _exempted(request: Json, world: World) -> str | None:
    """What somebody else than the one who asks signed for, and what names no model."""
    new = request["object"]
    if request["userInfo"]["username"] == EXEMPTER or any(_model(new)):
        return None
    return "exempted" if _is_exempted(new, new["metadata"].get("name"), new["kind"], world) else None


def _is_exempted(obj: Json, name: Any, kind: str, world: World) -> bool:
    """Whether the object holds what was signed for under the name of another, or its own."""
    return any(
        one["metadata"]["name"] == name and one["kind"] == kind and _content(one) == _content(obj)
        for one in world.exempted
    )


def _child(request: Json, world: World) -> str | None:
    new = request["object"]
    references = new["metadata"].get("ownerReferences")
    marked = [one for one in references or () if isinstance(one, dict) and one.get("controller") is True]
    if len(marked) != 1:
        return None
    (reference,) = marked
    parent = world.stored.get(str(reference.get("uid")))
    named = {"apiVersion": reference.get("apiVersion"), "kind": reference.get("kind")}
    if parent is None or named != {key: parent[key] for key in named}:
        return None
    if reference.get("name") != parent["metadata"]["name"] or (new["kind"], parent["kind"]) not in {
        ("Pod", "ReplicaSet"),
        ("ReplicaSet", "Deployment"),
    }:
        return None
    if not all(said <= known for said, known in zip(_model(new), _model(parent), strict=True)):
        return None
    if new["kind"] == "Pod":
        return "a Pod of its parent's content" if _content(new) == _content(parent) else None
    old = request.get("oldObject") if request["operation"] == "UPDATE" else None
    fewer = isinstance(old, dict) and _replicas(new) <= _replicas(old) and _content(new) == _content(old)
    if not fewer and _replicas(new) > _replicas(parent) + _MOST_SURGE:
        return None
    known = any(
        one.admitted
        and not one.revoked
        and one.name == parent["metadata"]["name"]
        and _content(one.obj) == _content(new)
        for one in world.approved
    )
    if _is_exempted(new, parent["metadata"]["name"], parent["kind"], world):
        return "a ReplicaSet of exempted content"
    return "a ReplicaSet of an admitted content" if known else None


def _glassed(request: Json, world: World) -> str | None:
    """What two persons let in: this content of this workload, as many as they signed for, and none of them asks."""
    new, one = request["object"], world.glassed
    same = (new["kind"], new["metadata"].get("name")) == (one["kind"], one["metadata"]["name"])
    token = one["metadata"]["annotations"][BREAK_GLASS]
    if not same or _content(new) != _content(one) or _model(new) != _model(one) or _replicas(new) > _replicas(one):
        return None
    if _said(new, "annotations", BREAK_GLASS) != {token} or request["userInfo"]["username"] in world.approvers:
        return None
    return "break-glass"


def _scaled(request: Json, world: World) -> str | None:
    """What is scaled is looked up by what the request says; the Scale must be one of it, by uid."""
    new, resource = request.get("object"), request.get("resource")
    if not isinstance(new, dict) or not isinstance(resource, dict) or request["operation"] != "UPDATE":
        return None
    found = world.stored.get(new.get("metadata", {}).get("uid"))
    wanted = {"Deployment": "deployments", "ReplicaSet": "replicasets"}
    if found is None or resource != {"group": "apps", "version": "v1", "resource": wanted[found["kind"]]}:
        return None
    if request["name"] != found["metadata"]["name"] or new["metadata"].get("namespace") != NAMESPACE:
        return None
    asked = new.get("spec", {}).get("replicas") or 0
    if asked <= _replicas(found):
        return "fewer of what runs"
    if _is_exempted(found, found["metadata"]["name"], found["kind"], world):
        return None if request["userInfo"]["username"] == EXEMPTER else "more of what is exempted"
    most = MOST_REPLICAS if found["kind"] == "Deployment" else _replicas(found) + _MOST_SURGE
    return "within the level" if asked <= most else None
