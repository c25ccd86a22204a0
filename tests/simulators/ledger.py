"""Who let what in, and was it right: every decision of a gate desk's gates is counted and held against what was signed.

A test says what must be refused; this says, of each review that any test sends, whether an allow of it had a ground.
The comparison is that of ``tests.fuzz.naive``, not the product's. It looks at content: which roles signed, until when,
and up to which risk is what the tests themselves assert.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from placet.decide import Deadline, Gate
from placet.decision import Decision
from placet.policy.data import PolicyData
from placet.review import AdmissionRequest
from tests.fuzz.naive import content
from tests.simulators.spaces import NamespaceStore

Json = Mapping[str, Any]

_TEMPLATES: Final = {"Pod": (), "CronJob": ("spec", "jobTemplate", "spec", "template")}
_TEMPLATE: Final = ("spec", "template")
_BUILT_IN: Final = frozenset({"v1", "apps/v1", "batch/v1"})
_TOKEN: Final = re.compile(r"kube-api-access-[a-z0-9]{5}")
_INDEX: Final = "JOB_COMPLETION_INDEX"
# kind -> where its controller takes the pods from that it makes, [] for each element of a list
_COPIED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "Rollout": (("spec", "template"),),
    "JobSet": (("spec", "replicatedJobs", "[]", "template", "spec", "template"),),
    "LeaderWorkerSet": (
        ("spec", "leaderWorkerTemplate", "leaderTemplate"),
        ("spec", "leaderWorkerTemplate", "workerTemplate"),
    ),
}
# What these controllers write into pods: keys of metadata, and variables with what they may say of a set's name.
_KEYS: Final = re.compile(r"(leaderworkerset|jobset)\.sigs\.k8s\.io/.+|rollouts-pod-template-hash")
_WORD: Final = re.compile(r"[A-Za-z0-9._-]*")
_SET_VARIABLES: Final = {
    "LWS_LEADER_ADDRESS": r"{0}-\d+\.{0}(-\d+)?\.ml-serving",
    "LWS_GROUP_SIZE": r"\d+",
    "LWS_WORKER_INDEX": r"\d+",
}
_LABEL: Final = "placet.dev/model"
_MODEL: Final = frozenset({_LABEL, "placet.dev/model-version", "placet.dev/model-digest"})


@dataclass
class Tally:
    """What the gates of one test were asked.

    Attributes:
        tried: reviews.
        refused: of these.
        grounds: ground -> how many were allowed on it.
        wrong: sentence for each allow that has no ground.
    """

    tried: int = 0
    refused: int = 0
    grounds: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def take(self) -> Tally:
        """What was counted since the last time."""
        taken = Tally(self.tried, self.refused, self.grounds, self.wrong)
        self.__init__()  # type: ignore[misc]
        return taken


TALLY: Final = Tally()


@dataclass
class Ledger:
    """What was signed at one desk.

    Attributes:
        data: the policy data that the gate was given.
        spaces: the Namespaces that there are.
        signed: contents, in naive form.
        permitted: contents that a test lets in on another ground, which it names.
        copied: contents of pods that controllers of what was signed may make.
        owners: names of the custom resources that were signed.
    """

    data: PolicyData
    spaces: NamespaceStore
    signed: list[Any] = field(default_factory=list)
    permitted: list[tuple[Any, str]] = field(default_factory=list)
    copied: list[Any] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)

    def sign(self, manifest: Json) -> None:
        """Somebody approved this."""
        self.signed.append(reading(manifest))
        for steps in _COPIED.get(str(manifest.get("kind")), ()):
            self.owners.add(str(manifest["metadata"].get("name")))
            for template in _at(manifest, steps):
                self.copied.append(_made(template.get("spec"), template.get("metadata"), self.owners))

    def permit(self, manifest: Json, ground: str) -> None:
        """This may come in although nobody approved it, on a ground that the documents name."""
        self.permitted.append((reading(manifest), ground))

    def count(self, decision: Decision, asked: AdmissionRequest, environment: str) -> None:
        """Add one decision to the tally of the test."""
        TALLY.tried += 1
        if not decision.allowed:
            TALLY.refused += 1
            return
        ground = self.find_ground(decision, asked, environment)
        if ground is None:
            what = f"{asked.operation} {asked.kind}{asked.subresource and '/'}{asked.subresource} {asked.name}"
            TALLY.wrong.append(f"{what} in {asked.namespace!r} of {environment!r}")
        else:
            TALLY.grounds[ground] = TALLY.grounds.get(ground, 0) + 1

    def find_ground(self, decision: Decision, asked: AdmissionRequest, environment: str) -> str | None:
        """Why the request may be allowed; None where there is no ground.

        Of the decision only the object is taken that a Scale stands for: it was looked up in the test's own store.
        """
        if asked.operation == "DELETE":
            return "delete"
        known = self.data.value["environments"]
        if self.spaces.asked and self.spaces.belongs(asked.namespace, known) != environment:
            return None  # whatever is approved, it was not for here
        settings = self.data.value["environments"].get(environment, {})
        if settings.get("mode") != "enforce" or any(rule.get("mode") for rule in self.data.value["rules"].values()):
            return "not enforced"
        scaled = asked.subresource == "scale"
        new = decision.request.object if scaled else asked.object
        old = decision.request.old_object if scaled else asked.old_object
        if new is None or asked.operation == "CONNECT":
            return None
        if settings.get("coverage") != "strict" and not _names_model(new) and not _names_model(old):
            return "no model"
        told = reading(new)
        if told in self.signed:
            return "approved content"
        if self._is_copied(new):
            return "a template of an approved custom resource"
        same = asked.operation == "UPDATE" and old is not None and (told, _model(new)) == (reading(old), _model(old))
        if same and old is not None and _count(new) <= _count(old):
            return "unchanged or fewer"
        return next((ground for one, ground in self.permitted if one == told), None)

    def _is_copied(self, obj: Json) -> bool:
        """Whether it names a controller, and is a pod of something that was signed, or holds one as its template."""
        if obj.get("kind") not in {"Pod", "ReplicaSet", "Job", "StatefulSet"} or obj.get("apiVersion") not in _BUILT_IN:
            return False
        if not any(one.get("controller") is True for one in _objects(obj.get("metadata") or {}, "ownerReferences")):
            return False
        if obj["kind"] == "Pod":
            return _made(_as_asked_for(obj, obj.get("spec")), obj.get("metadata"), self.owners) in self.copied
        template = (obj.get("spec") or {}).get("template") or {}
        return _made(template.get("spec"), template.get("metadata"), self.owners) in self.copied


class WatchedGate(Gate):
    """A gate whose every answer is counted."""

    ledger: Ledger

    def decide(
        self, request: AdmissionRequest, *, environment: str, deadline: Deadline, caller_authenticated: bool = False
    ) -> Decision:
        """See the gate's own. A namespace that no test put there is one that the right entry selected."""
        self.ledger.spaces.select(request.namespace, environment)
        decision = super().decide(
            request, environment=environment, deadline=deadline, caller_authenticated=caller_authenticated
        )
        self.ledger.count(decision, request, environment)
        return decision


def reading(obj: Json) -> Any:
    """What of an object runs, in a form to be compared; of a kind that has no pod template its whole spec."""
    if obj.get("apiVersion") not in _BUILT_IN:
        spec = obj.get("spec")
        return {key: value for key, value in spec.items() if key != "replicas"} if isinstance(spec, Mapping) else spec
    holder: Any = obj
    for step in _TEMPLATES.get(str(obj.get("kind")), _TEMPLATE):
        holder = holder.get(step) if isinstance(holder, Mapping) else None
    if not isinstance(holder, Mapping):
        return None
    spec, metadata = holder.get("spec"), holder.get("metadata")
    if obj.get("kind") == "Pod":
        return content(_as_asked_for(obj, spec), metadata, made_by_job=True)
    return content(spec, metadata, made_by_job=obj.get("kind") in {"Job", "CronJob"})


def _at(value: Any, steps: tuple[str, ...]) -> Iterator[Any]:
    if not steps:
        yield from (value,) if isinstance(value, Mapping) else ()
    elif steps[0] == "[]":
        for one in value if isinstance(value, list) else ():
            yield from _at(one, steps[1:])
    elif isinstance(value, Mapping):
        yield from _at(value.get(steps[0]), steps[1:])


def _made(spec: Any, metadata: Any, owners: set[str]) -> Any:
    """A pod's content without what the controllers of custom resources write into it."""
    bare = json.loads(json.dumps(spec))
    if not isinstance(bare, dict):
        return bare
    names = "|".join(map(re.escape, sorted(owners)))
    for field_name in ("containers", "initContainers"):
        for container in _objects(bare, field_name):
            _keep(container, "env", lambda one: not _is_set(one, names))
    _keep(bare, "volumes", lambda one: not _is_claim_of(one, owners))
    kept = {
        name: {key: value for key, value in entries.items() if not (_KEYS.fullmatch(key) and _is_word(value))}
        for name in ("labels", "annotations")
        if isinstance(entries := (metadata or {}).get(name), Mapping)
    }
    return content(bare, kept, made_by_job=True)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _is_set(variable: Json, names: str) -> bool:
    form = _SET_VARIABLES.get(str(variable.get("name")))
    if form is None or variable.keys() != {"name", "value"}:
        return False
    return any(re.fullmatch(form.format(name), str(variable["value"])) for name in names.split("|"))


def _is_claim_of(volume: Json, owners: set[str]) -> bool:
    return any(
        volume == {"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{owner}"}}
        for owner in owners
        for name in [volume.get("name")]
    )


def _as_asked_for(pod: Json, spec: Any) -> Any:
    """A Pod's spec without what the API server and controllers add (docs/formats-projection.md)."""
    if not isinstance(spec, Mapping):
        return spec
    bare = json.loads(json.dumps(spec))
    name = str((pod.get("metadata") or {}).get("name"))
    dropped = {one["name"] for one in _objects(bare, "volumes") if _is_added(one, name)}
    _keep(bare, "volumes", lambda one: one.get("name") not in dropped)
    tokens = {one for one in dropped if _TOKEN.fullmatch(one)}
    for field_name in ("containers", "initContainers"):
        for container in _objects(bare, field_name):
            _keep(container, "volumeMounts", lambda one: one.get("name") not in tokens)
            _keep(container, "env", lambda one: one.get("name") != _INDEX)
    return bare


def _is_added(volume: Json, pod_name: str) -> bool:
    claim = volume.get("persistentVolumeClaim")
    made = isinstance(claim, Mapping) and claim.get("claimName") == f"{volume.get('name')}-{pod_name}"
    return made or ("projected" in volume and _TOKEN.fullmatch(str(volume.get("name"))) is not None)


def _objects(holder: Any, name: str) -> Iterator[Any]:
    listed = holder.get(name)
    yield from (one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else ()


def _keep(holder: Any, name: str, wanted: Any) -> None:
    if isinstance(holder.get(name), list):
        holder[name] = [one for one in holder[name] if not isinstance(one, dict) or wanted(one)]
        if not holder[name]:
            del holder[name]


def _names_model(obj: Json | None) -> bool:
    """Whether the label stands anywhere in an object; a text that looks like it counts as well."""
    return obj is not None and f'"{_LABEL}"' in json.dumps(obj)


def _model(obj: Json) -> set[str]:
    """What the object says about its model, in its own metadata or its template's."""
    template = (obj.get("spec") or {}).get("template")
    places = [holder.get("metadata") for holder in (obj, template) if isinstance(holder, Mapping)]
    entries = [place.get(name) for place in places if isinstance(place, Mapping) for name in ("labels", "annotations")]
    said = [item for each in entries if isinstance(each, Mapping) for item in each.items()]
    return {f"{key}={value}" for key, value in said if key in _MODEL}


def _count(obj: Json) -> int:
    """How many pods the object asks for; those that ask for no number are never fewer than others."""
    spec = obj.get("spec")
    count = spec.get("replicas") if isinstance(spec, Mapping) else None
    return count if isinstance(count, int) else 1
