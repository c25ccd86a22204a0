"""Honest deploys and model servers of a corpus through the whole gate in ``coverage: detect``: who gets in, who not.

The corpus is that of ``tools/detection.py``. Each object goes the way of a review in the running server, from the bytes
on. What serves no model is created, updated by a harmless change (a label, the annotation of ``kubectl rollout
restart``, a replica more), and followed to the Pods that the built-in controllers make of it: it has to be let in at
every step, but for the false alarms that ``make detection`` names. A model server is created, updated out of something
else and into something else: without approvals it has to be refused each time, but for the misses. Whatever else is
refused or let in is named with its code, and fails.

    python tools/honest.py corpus
    python tools/honest.py corpus --api-server     # a real API server with its controllers asks the running gate
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from placet.assemble import build_cluster_facts, build_gate, build_trust
from placet.audit.log import AuditLog
from placet.config import load_config
from placet.deadline import Deadline
from placet.decide import Gate
from placet.detection import Rules, detect, read_rules
from placet.policy.data import load_policy_data
from placet.projection import Kinds, find_kind
from placet.record import LogRecorder
from tests.e2e.gateprocess import Team
from tests.simulators.cluster import ObjectStore, owned, pod, replica_set, review_of
from tools.detection import LEFT_OUT, POSITIVE
from webhook.admission import review

NAMESPACE: Final = "honest"
ENVIRONMENT: Final = "production"
RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
PATIENCE_S: Final = 30.0
# A value of another type than the field's: an API server takes no such object, and asks nobody about it.
MISTYPED: Final = frozenset({"gate.workload/field_mistyped", "gate.workload/replicas_invalid"})
_DEPLOYER: Final = "dora@example.com"
_CODE_LENGTH: Final = 70

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the corpus.

    Attributes:
        id: in the corpus.
        shown: id, repository, path and name, for a person.
        serves: whether it is labelled as a model server.
        found: whether detection says so.
        object: in our namespace, with a name.
    """

    id: str
    shown: str
    serves: bool
    found: bool
    object: Json


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gate said at one step.

    Attributes:
        step: ``create``, ``update``, or the kind that a controller made.
        allowed: the answer.
        codes: ``rule/code`` of a refusal or a warning.
    """

    step: str
    allowed: bool
    codes: tuple[str, ...]

    @property
    def shown(self) -> str:
        """``create (gate.workload/image_invalid)``."""
        return f"{self.step} ({', '.join(self.codes)})" if self.codes else self.step


@dataclass
class Tally:
    """What came of the corpus.

    Attributes:
        asked: requests by label of the workload, step and answer.
        workloads: those that the gate was asked about.
        faults: a line each.
        named: false alarms and misses, a line each.
        unasked: kinds that are left out, with how many.
        why_unasked: why they are.
        turned_away: what the API server itself does not take, a line each.
        warned: how many honest workloads were let in with a warning.
    """

    asked: Counter[tuple[bool, str, bool]] = field(default_factory=Counter)
    workloads: Counter[bool] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    unasked: Counter[str] = field(default_factory=Counter)
    why_unasked: str = "kinds that the gate is not asked about"
    turned_away: list[str] = field(default_factory=list)
    warned: int = 0

    def take(self, entry: Entry, answers: Sequence[Answer]) -> None:
        """Count the answers about one workload, and hold them against what they should be."""
        if answers[0].codes and not answers[0].allowed and MISTYPED.issuperset(answers[0].codes):
            self.turned_away.append(f"{entry.shown}  {answers[0].shown}")
            return
        self.workloads[entry.serves] += 1
        for answer in answers:
            self.asked[entry.serves, answer.step, answer.allowed] += 1
        if entry.serves:
            wrong = [one for one in answers if one.allowed]
        else:
            wrong = [one for one in answers if not one.allowed]
            self.warned += any(one.allowed and one.codes for one in answers)
        if not wrong:
            return
        word = "ADMITTED" if entry.serves else "REFUSED"
        what = ", ".join(one.shown for one in wrong)
        line = f"{word}  {entry.shown}  {what}"
        if entry.serves == entry.found:
            self.faults.append(line)
        else:
            self.named.append(f"{line}  {'MISS' if entry.serves else 'FALSE ALARM'} of detection")


def read_corpus(lines: Iterable[str], rules: Rules) -> Iterator[Entry]:
    """The objects that can be right or wrong; the labels that detection leaves out are left out here too."""
    for line in lines:
        found: Json = json.loads(line)
        if found["label"] in LEFT_OUT:
            continue
        obj = place(found["object"])
        named = f"{obj['kind']}/{obj['metadata'].get('name') or obj['metadata'].get('generateName')}"
        shown = f"{found['label']}  {found['id']}  {found['repo']}  {found['path']}  {named}"
        yield Entry(
            str(found["id"]), shown, found["label"] == POSITIVE, detect(obj, rules).answer == "serves_model", obj
        )


def place(obj: Mapping[str, Any]) -> Json:
    """The object in our namespace, without what only a stored object has."""
    placed = copy.deepcopy(dict(obj))
    metadata = placed.get("metadata") or {}
    dropped = {"uid", "resourceVersion", "ownerReferences"}
    kept = {key: value for key, value in metadata.items() if key not in dropped and value is not None}
    placed["metadata"] = {**kept, "namespace": NAMESPACE}
    return placed


def is_asked(obj: Mapping[str, Any], kinds: Kinds) -> bool:
    """Whether the webhook configuration sends the kind: a built-in one, or one of the registry in any version."""
    group = str(obj.get("apiVersion")).rpartition("/")[0]
    return find_kind(obj) is not None or any((group, obj.get("kind")) == (one.group, one.name) for one in kinds.custom)


def touched(obj: Mapping[str, Any]) -> Json:
    """The object after a harmless change: a label; where there is a template, a restart; a replica more."""
    changed = copy.deepcopy(dict(obj))
    changed["metadata"]["labels"] = {**(changed["metadata"].get("labels") or {}), "honest": "touched"}
    spec = changed.get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("replicas"), int):
        spec["replicas"] += 1
    kind = find_kind(obj)
    if kind is not None and kind.template and kind.name != "Job":  # a Job's template can't be changed
        template = changed
        for step in kind.template:
            template = template[step]
        metadata = template["metadata"] = template.get("metadata") or {}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), RESTARTED_AT: "2026-11-22T18:00:00Z"}
    return changed


def disguised(obj: Mapping[str, Any]) -> Iterator[tuple[str, Json, Json]]:
    """A model server that was something else before, and one that becomes something else: what, new and old object."""
    kind = find_kind(obj)
    if kind is None:
        return
    other = copy.deepcopy(dict(obj))
    holder = other
    for step in kind.template:
        holder = holder[step]
    holder["spec"] = {"containers": [{"name": "web", "image": "nginx:1.29"}]}
    yield "becomes one", dict(obj), other
    yield "was one", other, dict(obj)


def made_of(obj: Json, store: ObjectStore) -> Iterator[Json]:
    """What the built-in controllers make of an object, the parent before its child."""
    stored = store.put(obj)
    if obj["kind"] == "Deployment":
        child = replica_set(stored, name=f"{obj['metadata']['name']}-7d9f8c6b5d")
    else:
        child = _job(stored) if obj["kind"] == "CronJob" else pod(stored)
    yield child
    if child["kind"] != "Pod":
        yield from made_of(child, store)


def _job(cron_job: Json) -> Json:
    """What the CronJob controller makes of its template."""
    template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
    name = f"{cron_job['metadata']['name']}-29384710"
    metadata = {**(template.get("metadata") or {}), "name": name, "namespace": NAMESPACE}
    return owned({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}, cron_job)


def defaulted(obj: Json) -> Json:
    """The object with those defaults of the API server that controllers go by."""
    kind = find_kind(obj)
    if kind is None or not kind.template:
        return obj
    if kind.name in {"Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"}:
        obj["spec"].setdefault("replicas", 1)
    template = obj
    for step in kind.template:
        template = template[step]
    template["metadata"] = {**(template.get("metadata") or {})}
    template["metadata"]["labels"] = template["metadata"].get("labels") or {}
    obj["metadata"].setdefault("name", f"{obj['metadata'].get('generateName', 'made-')}x7k2p")
    return obj


class Desk:
    """The gate as the server has it, without a socket."""

    def __init__(self, folder: Path) -> None:
        team = found_team(folder)
        config = load_config(team.folder / "placet.yaml")
        data = load_policy_data(config.policy.data)
        self._log = AuditLog.open(config.store, origin=config.origin)
        recorder = LogRecorder(self._log, cluster=config.cluster)
        self.store = ObjectStore()
        self._gate: Gate = build_gate(
            config,
            trust=build_trust(config),
            recorder=recorder,
            history=recorder,
            cluster_facts=build_cluster_facts(config),
            clock=lambda: datetime.now(UTC),
            data=data,
            parents=self.store,
        )

    def close(self) -> None:
        """Close the record."""
        self._log.close()

    def ask(self, step: str, obj: Json, *, old: Json | None = None, username: str = _DEPLOYER) -> Answer:
        """Send one review, as bytes."""
        raw = json.dumps(review_of(obj, old=old, username=username)).encode()
        deadline = Deadline(PATIENCE_S)
        answer = review(self._gate, raw, environment=ENVIRONMENT, deadline=deadline)["response"]
        causes = answer.get("status", {}).get("details", {}).get("causes", ())
        warnings = [warning[:_CODE_LENGTH] for warning in answer.get("warnings", ())]
        return Answer(step, answer["allowed"], tuple(cause["reason"] for cause in causes) or tuple(warnings))

    def life(self, obj: Json, *, serves: bool) -> list[Answer]:
        """Created, updated, and what is made of it."""
        stored = defaulted({**obj, "metadata": {**obj["metadata"], "uid": str(uuid.uuid4())}})
        answers = [self.ask("create", stored)]
        if serves:
            answers += [self.ask(step, new, old=old) for step, new, old in disguised(stored)]
        else:
            answers.append(self.ask("update", touched(stored), old=stored))
        if (kind := find_kind(obj)) is not None and kind.template:
            answers += [
                self.ask(child["kind"], child, username="system:controller") for child in made_of(stored, self.store)
            ]
        return answers


def found_team(folder: Path) -> Team:
    """A team whose only environment governs what serves a model."""
    team = Team.found(folder)
    data = {"environments": {ENVIRONMENT: {"coverage": "detect"}}}
    (folder / "detect.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    team.configure({"policy": {"data": "detect.yaml"}, "autoscalers": "none"})
    return team


def hold_in_process(entries: Iterable[Entry], folder: Path, kinds: Kinds) -> Tally:
    """Every workload through the gate itself."""
    tally, desk = Tally(), Desk(folder)
    try:
        for entry in entries:
            if is_asked(entry.object, kinds):
                tally.take(entry, desk.life(entry.object, serves=entry.serves))
            else:
                tally.unasked[f"{entry.object.get('apiVersion')} {entry.object['kind']}"] += 1
    finally:
        desk.close()
    return tally


def render_report(tally: Tally) -> list[str]:
    """The report, a line each."""
    lines = []
    for serves, what in ((False, "serve no model"), (True, "serve a model")):
        lines.append(f"{tally.workloads[serves]} workloads that {what}, admitted / refused:")
        steps = dict.fromkeys(step for one, step, _ in tally.asked if one == serves)
        lines += [f"  {step}: {tally.asked[serves, step, True]} / {tally.asked[serves, step, False]}" for step in steps]
    if tally.warned:
        lines.append(f"serve no model, and admitted with a warning: {tally.warned}")
    if tally.unasked:
        shown = ", ".join(f"{name} ({count})" for name, count in sorted(tally.unasked.items()))
        lines.append(f"{tally.why_unasked}: {shown}")
    if tally.turned_away:
        lines += [f"not taken by the API server itself: {len(tally.turned_away)}"]
        lines += [f"  {line}" for line in tally.turned_away]
    return [*lines, *tally.named, *(f"FAULT  {line}" for line in tally.faults), f"faults: {len(tally.faults)}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 1 where there is a fault, 2 where there is no corpus."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("corpus", type=Path, help="folder with objects.jsonl")
    parser.add_argument("--api-server", action="store_true", help="built-in kinds through a real API server, minutes")
    given = parser.parse_args(arguments)
    try:
        lines = (given.corpus / "objects.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        print(f"{given.corpus}/objects.jsonl can't be read: {exc.strerror}", file=sys.stderr)
        return 2
    data = load_policy_data(None)
    entries = list(read_corpus(lines, read_rules(data.value["detection"])))
    if {entry.serves for entry in entries if is_asked(entry.object, data.kinds)} != {True, False}:
        print(f"{given.corpus} has no workload that serves a model, or none that does not", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="placet-honest-") as folder:
        if given.api_server:
            from tools.honest_cluster import hold_on_api_server  # noqa: PLC0415 - needs the built programs

            tally = hold_on_api_server(entries, Path(folder))
        else:
            tally = hold_in_process(entries, Path(folder), data.kinds)
    print("\n".join(render_report(tally)))
    return int(bool(tally.faults))


if __name__ == "__main__":
    sys.exit(main())
