"""What a record says of one candidate that was tried on live reviews."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from placet.errors import InputError
from placet.shadow.answer import Change
from placet.shadow.leaves import COUNTS, DISAGREEMENT, TALLY

MOST_EXAMPLES: Final = 3
_IDENTITY: Final = ("manifest", "data_digest")
_NAMED: Final = ("revision", "manifest", "data_digest")
_LEAST_NAMED: Final = 4


@dataclass(slots=True)
class Group:
    """Reviews of one namespace and one model that a candidate answered otherwise in one way.

    Attributes:
        change: see ``Change``.
        direction: see ``Direction``.
        environment, namespace, model: of the workloads.
        reviews: how many.
        workloads: kind and name of those that were named; what was seen again under another name is not.
        rules: ``rule/code`` that one of the two answered and the other did not, or the code of a fault.
        missing_roles: approvals that the candidate asks for and that are not there.
        first: time of the first review.
        last: of the last.
        examples: ids of decisions.
    """

    change: Change
    direction: str
    environment: str
    namespace: str
    model: str
    reviews: int = 0
    workloads: set[str] = field(default_factory=set)
    rules: dict[str, int] = field(default_factory=dict)
    missing_roles: set[str] = field(default_factory=set)
    first: str = ""
    last: str = ""
    examples: list[str] = field(default_factory=list)

    def add(self, body: Mapping[str, Any]) -> None:
        """Take in a leaf."""
        count = int(body["count"])
        self.reviews += count
        self.workloads.add(f"{body['kind']}/{body['name']}")
        for rule in find_rules(body):
            self.rules[rule] = self.rules.get(rule, 0) + count
        self.missing_roles.update(map(str, body["shadow"]["missing_roles"]))
        first, last = body["first"], body["last"]
        self.first = min(filter(None, (self.first, str(first["time"]))))
        self.last = max(self.last, str(last["time"]))
        for one in (first, last):
            known = str(one["decision_id"])
            if known not in self.examples and len(self.examples) < MOST_EXAMPLES:
                self.examples.append(known)

    def render(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "change": self.change.value,
            "direction": self.direction,
            "environment": self.environment,
            "namespace": self.namespace,
            "model": self.model,
            "reviews": self.reviews,
            "workloads": sorted(self.workloads),
            "rules": dict(sorted(self.rules.items())),
            "missing_roles": sorted(self.missing_roles),
            "first": self.first,
            "last": self.last,
            "decisions": self.examples,
        }


@dataclass(slots=True)
class Summary:
    """Of one candidate.

    Attributes:
        candidate: its digests.
        others: those of other candidates in the same time, the newest first.
        begun: time of the first leaf.
        ended: whether no process goes on, as far as the record says.
        counted_until: time of the last tally; "" where there is none yet.
        counts: of all tallies.
        groups: by change, namespace and model.
    """

    candidate: Mapping[str, Any]
    others: list[Mapping[str, Any]]
    begun: str = ""
    ended: bool = True
    counted_until: str = ""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    groups: list[Group] = field(default_factory=list)

    def reviews(self, *changes: Change) -> int:
        """How many were answered otherwise in one of these ways."""
        return sum(one.reviews for one in self.groups if one.change in changes)

    def directions(self) -> dict[str, int]:
        """Direction -> reviews."""
        found: dict[str, int] = {}
        for one in self.groups:
            found[one.direction] = found.get(one.direction, 0) + one.reviews
        return found

    def rules(self, change: Change) -> dict[str, int]:
        """``rule/code`` -> reviews, of one change; the most frequent first."""
        found: dict[str, int] = {}
        for one in self.groups:
            for rule, count in one.rules.items() if one.change is change else ():
                found[rule] = found.get(rule, 0) + count
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def summarise(bodies: Sequence[Mapping[str, Any]], *, named: str = "") -> Summary:
    """What leaves say of a candidate.

    Args:
        bodies: of leaves of type ``shadow``, in order.
        named: the beginning of one of the candidate's digests; the newest candidate where it is empty.

    Raises:
        InputError: there is none, or none of that name, or several.
    """
    candidates: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for body in reversed(bodies):
        candidates.setdefault(_identify(body), body["candidate"])
    chosen = _choose(candidates, named)
    ours = [body for body in bodies if _identify(body) == chosen]
    made = Summary(candidates.pop(chosen), list(candidates.values()), begun=str(ours[0]["time"]))
    groups: dict[tuple[str, ...], Group] = {}
    running: set[str] = set()
    for body in ours:
        running.add(str(body["run"]))
        match body["event"]:
            case "disagreement":
                _group_of(groups, body).add(body)
            case "tally":
                made.counted_until = str(body["time"])
                for name in COUNTS:
                    made.counts[name] += int(body["counts"].get(name, 0))
                if body["ended"]:
                    running.discard(str(body["run"]))
    made.ended = not running
    order = list(Change)
    made.groups = sorted(
        groups.values(), key=lambda one: (order.index(one.change), -one.reviews, one.namespace, one.model)
    )
    return made


def find_rules(body: Mapping[str, Any]) -> list[str]:
    """What one of the two answers of a leaf says and the other does not."""
    before, after = body["in_force"]["answer"], body["shadow"]
    if after["fault"]:
        return [str(after["fault"])]
    differing = {
        str(rule) for name in ("violations", "tolerated") for rule in {*before[name]} ^ {*after[name]} if rule != "..."
    }
    return sorted(differing)


def _group_of(groups: dict[tuple[str, ...], Group], body: Mapping[str, Any]) -> Group:
    texts = (str(body["environment"]), str(body["namespace"]), str(body["model"]["name"]))
    key = (str(body["change"]), str(body["direction"]), *texts)
    return groups.setdefault(key, Group(Change(str(body["change"])), str(body["direction"]), *texts))


def _identify(body: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(body["candidate"][name]) for name in _IDENTITY)


def _choose(candidates: Mapping[tuple[str, ...], Mapping[str, Any]], named: str) -> tuple[str, ...]:
    if not candidates:
        raise InputError(
            "the record says of no policies that were tried on live reviews in this time",
            code="no_shadow",
            hint="`policy.shadow` of the configuration names what a gate tries; --since may be too late.",
        )
    if not named:
        return next(iter(candidates))
    start = named if named.startswith("sha256:") else f"sha256:{named}"
    found = [
        key
        for key, one in candidates.items()
        if len(named) >= _LEAST_NAMED and any(str(one[name]).startswith(start) for name in _NAMED)
    ]
    if len(found) == 1:
        return found[0]
    told = ", ".join(describe_candidate(one) for one in candidates.values())
    raise InputError(
        f"{'several candidates have' if found else 'no candidate has'} a digest that begins with {named[:80]!r}",
        code="candidate_unknown",
        hint=f"In the record are: {told}.",
    )


def describe_candidate(candidate: Mapping[str, Any]) -> str:
    """Its digests, shortened, for a person."""
    version = f", version {candidate['version']}" if candidate.get("version") else ""
    policies, data = (str(candidate[name])[:19] for name in _IDENTITY)
    return f"policies {policies}, policy data {data}{version}"


def read_events(bodies: Iterable[Mapping[str, Any]], *, since: str = "", until: str = "") -> list[Mapping[str, Any]]:
    """Those of a time that this release reads; what it does not know, a newer one wrote."""
    return [
        body
        for body in bodies
        if str(body["time"]) >= since
        and (not until or str(body["time"]) < until)
        and body.get("event") in {"begun", DISAGREEMENT, TALLY}
    ]
