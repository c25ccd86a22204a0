"""What may be pruned now: what has had its time, is not held, and is needed by nothing that stays.

One pass over the signed leaves. What stays in spite of its age:

- what a hold in force covers;
- leaves that are kept for good, and whatever is of no known class;
- the newest revisions of each object that were approved, as many as a gate looks through, and the newest decision
  about each model: a gate asks for them however old they are. What any decision that stays came back to, or was made
  of, it rests on;
- what decisions that stay rest on: keyring, policies, policy data, the precedent, and attachments that they share.

No question is asked of a clock alone: the moment that terms are counted back from is never later than the newest
leaf's own time.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from placet.audit import spans
from placet.audit.holds import held_by, load_holds
from placet.audit.log import render_time
from placet.audit.pruning import Removal
from placet.audit.record import (
    CONFIGURATION,
    DECISION,
    KEYRING,
    POLICY,
    Leaf,
    find_attachments,
)
from placet.audit.retention import ATTACHMENTS, FOUNDATIONS, LEAVES, Retention, RetentionClass, is_classified
from placet.audit.stored import MAX_REVISIONS, read_stored
from placet.audit.stores import Auditable

Progress = Callable[[int, int], None]
_PROGRESS_EVERY: Final = 256

YOUNG: Final = "its term has not run out"
HELD: Final = "a hold covers it"
FOR_GOOD: Final = "leaves of its type are kept for good"
UNCLASSIFIED: Final = "it, or something kept beside it, is of no class"
ASKED_FOR: Final = "a gate may still ask for it"
RESTED_ON: Final = "what stays rests on it"


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go.

    Attributes:
        removal: what goes.
        before: the first leaf whose own time has not run out, or that is held.
        as_of: the moment that terms are counted back from.
        cutoffs: what they come to.
        types: leaf type -> how many of them go.
        attachments: name -> how many go while their leaf stays.
        kept: reason -> how many leaves stay for it.
    """

    removal: Removal
    before: int
    as_of: datetime
    cutoffs: Mapping[RetentionClass, datetime]
    types: Mapping[str, int]
    attachments: Mapping[str, int]
    kept: Mapping[str, int]


def plan_prune(
    reader: Auditable,
    retention: Retention,
    *,
    now: datetime,
    end: int,
    progress: Progress = lambda _done, _total: None,
) -> Plan:
    """Find what may go.

    Args:
        reader: one view of a record that was verified.
        retention: the terms.
        now: aware UTC.
        end: leaves under a checkpoint that was verified; none at or after it goes.
        progress: told leaves done and leaves there are.

    Raises:
        StoreUnavailable: the store can't be read.
        TamperError: what is stored is not what was hashed.
    """
    size = reader.state().size
    newest = next(reader.leaves(size - 1, size), None) if size else None
    if newest is not None and newest.raw_leaf:
        now = min(now, datetime.fromisoformat(read_stored(newest).columns.time))
    return _Planner(reader, retention, as_of=now, end=min(end, size)).run(size, progress)


@dataclass(slots=True)
class _Needs:
    """What decisions that stay rest on."""

    leaves: set[int] = field(default_factory=set)
    statements: set[Any] = field(default_factory=set)
    versions: set[Any] = field(default_factory=set)
    revisions: set[Any] = field(default_factory=set)
    data: set[Any] = field(default_factory=set)
    shared: dict[tuple[int, str], str] = field(default_factory=dict)  # attachment -> the latest that refers to it

    def add(self, body: Mapping[str, Any]) -> None:
        """The keyring, policies and policy data of a decision."""
        if isinstance(body.get("keyring"), str):
            self.statements.add(body["keyring"])
        else:  # of a release that named the version alone
            self.versions.add(_plain(body.get("keyring_version")))
        policy = body.get("policy")
        if isinstance(policy, Mapping):
            self.revisions.add(_plain(policy.get("revision")))
            self.data.add(_plain(policy.get("data_digest")))

    def share(self, body: Mapping[str, Any], index: int, time: str) -> None:
        """Attachments that a decision of ``time`` refers to beside leaf ``index`` or an earlier one."""
        for name, (place, _) in find_attachments(body, index).items():
            if place != index:
                self.leaves.add(place)
            self.shared[place, name] = max(self.shared.get((place, name), ""), time)

    def wants(self, leaf_type: str, body: Mapping[str, Any]) -> bool:
        """Whether a keyring, a policy or a configuration is needed."""
        if leaf_type == KEYRING:
            return _plain(body.get("statement")) in self.statements or _plain(body.get("version")) in self.versions
        if leaf_type == POLICY:
            return _plain(body.get("revision")) in self.revisions
        return _plain(body.get("data_digest")) in self.data


class _Planner:
    def __init__(self, reader: Auditable, retention: Retention, *, as_of: datetime, end: int) -> None:
        self._reader = reader
        self._as_of = as_of
        self._end = end
        self._cutoffs = retention.cutoffs(as_of)
        self._before = {one: render_time(moment) for one, moment in self._cutoffs.items()}
        self._held = held_by(load_holds(reader))
        self._needs = _Needs()
        self._kept: Counter[str] = Counter()
        self._old: dict[str, array[int]] = {}
        self._maybe = array("q")
        self._foundations: dict[int, Leaf] = {}
        self._blobs: dict[str, array[int]] = {}
        self._aged: dict[str, set[int]] = {}
        self._models: dict[tuple[str, str, str], int] = {}

    def run(self, size: int, progress: Progress) -> Plan:
        newest = {one: stored.index for one in FOUNDATIONS if (stored := self._reader.latest(one)) is not None}
        self._needs.leaves.update(newest.values())
        names = _Names(self._reader.attachment_names(size))
        first_young = self._end
        for index, leaf in self._leaves(size):
            reason = self._judge(index, leaf, names.beside(index))
            if reason in {YOUNG, HELD}:
                first_young = min(first_young, index)
            self._take(index, leaf, reason)
            if index % _PROGRESS_EVERY == 0:
                progress(index, size)
        progress(size, size)
        self._settle()
        gone = self._gone()
        every = {index for found in gone.values() for index in found}
        attachments = dict(self._gone_attachments(every))
        return Plan(
            removal=Removal(spans.of_indexes(every), {name: found for name, (found, _) in attachments.items()}),
            before=first_young,
            as_of=self._as_of,
            cutoffs=self._cutoffs,
            types={name: len(found) for name, found in sorted(gone.items()) if found},
            attachments={name: number for name, (_, number) in attachments.items()},
            kept=dict(sorted(self._kept.items())),
        )

    def _leaves(self, size: int) -> Iterator[tuple[int, Leaf]]:
        """Those whose bytes are there."""
        for stored in self._reader.leaves(0, size):
            if stored.raw_leaf:
                yield stored.index, read_stored(stored)

    def _judge(self, index: int, leaf: Leaf, names: list[str]) -> str:
        """Why a leaf stays; "" where nothing that it says itself keeps it."""
        for name in names:
            self._blobs.setdefault(name, array("q")).append(index)
        kept = LEAVES.get(leaf.type)
        if kept is None:
            return FOR_GOOD
        held = spans.covers(self._held, index)
        for name in names:
            term = ATTACHMENTS.get((leaf.type, name))
            if term is not None and not held and index < self._end and leaf.columns.time < self._before[term]:
                self._aged.setdefault(name, set()).add(index)
        if index >= self._end or leaf.columns.time >= self._before[kept]:
            return YOUNG
        if held:
            return HELD
        return "" if all(is_classified(leaf.type, name) for name in names) else UNCLASSIFIED

    def _take(self, index: int, leaf: Leaf, reason: str) -> None:
        said = leaf.columns
        if said.approved:
            self._models[said.cluster, said.environment, said.model] = index
        if reason:
            self._keep(index, leaf, reason)
        elif said.approved:
            self._maybe.append(index)
        else:
            self._age(index, leaf)

    def _age(self, index: int, leaf: Leaf) -> None:
        self._old.setdefault(leaf.type, array("q")).append(index)
        if leaf.type in FOUNDATIONS:
            self._foundations[index] = leaf

    def _keep(self, index: int, leaf: Leaf, reason: str) -> None:
        self._kept[reason] += 1
        if leaf.type == DECISION:
            self._needs.add(leaf.body)
            if reason != ASKED_FOR:
                self._rest(index, leaf)
        elif leaf.type == CONFIGURATION:
            policy = leaf.body.get("policy")
            self._needs.revisions.add(_plain(policy.get("revision") if isinstance(policy, Mapping) else None))

    def _settle(self) -> None:
        """What could not be said before the last leaf was seen."""
        for index in self._maybe:
            leaf = self._leaf(index)
            if self._asked_for(index, leaf):
                self._keep(index, leaf, ASKED_FOR)
            else:
                self._age(index, leaf)
        old = set(self._old.get(DECISION, ()))
        for index in self._needs.leaves & old:
            self._needs.add(self._leaf(index).body)

    def _leaf(self, index: int) -> Leaf:
        return read_stored(next(self._reader.leaves(index, index + 1)))

    def _rest(self, index: int, leaf: Leaf) -> None:
        """What a decision that stays for its own sake rests on, one step of precedents back."""
        self._needs.share(leaf.body, index, leaf.columns.time)
        precedent = leaf.body.get("precedent")
        wanted = precedent.get("decision_id") if isinstance(precedent, Mapping) else None
        stored = self._reader.find_decision(wanted) if isinstance(wanted, str) else None
        if stored is not None and stored.raw_leaf:
            body = read_stored(stored).body
            self._needs.leaves.add(stored.index)
            self._needs.add(body)
            self._needs.share(body, stored.index, leaf.columns.time)

    def _asked_for(self, index: int, leaf: Leaf) -> bool:
        """Whether a question that a gate can ask is answered with this decision."""
        said = leaf.columns
        if not said.approved:
            return False
        if self._models.get((said.cluster, said.environment, said.model)) == index:
            return True
        where = {
            "environment": said.environment,
            "namespace": said.namespace,
            "kind": said.kind,
            "name": said.object_name,
        }
        last = self._reader.last_approved(**where)
        found = self._reader.approved_of(cluster=said.cluster, limit=MAX_REVISIONS, **where)
        return index in {stored.index for stored in (*found, *([last] if last else []))}

    def _gone(self) -> dict[str, list[int]]:
        gone: dict[str, list[int]] = {}
        for leaf_type, indexes in self._old.items():
            for index in indexes:
                leaf = self._foundations.get(index)
                if index in self._needs.leaves or (leaf is not None and self._needs.wants(leaf.type, leaf.body)):
                    self._kept[RESTED_ON] += 1
                else:
                    gone.setdefault(leaf_type, []).append(index)
        return gone

    def _gone_attachments(self, gone: set[int]) -> Iterator[tuple[str, tuple[tuple[spans.Span, ...], int]]]:
        """Attachments whose own term has run out, and that of everything that shares them, beside leaves that stay.

        A range spans leaves that have no such attachment, so that there are few of them.
        """
        for name, aged in sorted(self._aged.items()):
            cutoff = self._before[ATTACHMENTS[DECISION, name]]
            found: list[spans.Span] = []
            number, open_range = 0, False
            for index in self._blobs[name]:
                goes = index in aged and self._needs.shared.get((index, name), "") < cutoff
                if goes and index not in gone:
                    number += 1
                    if open_range:
                        found[-1] = (found[-1][0], index + 1)
                    else:
                        found.append((index, index + 1))
                    open_range = True
                elif not goes:
                    open_range = False
            if found:
                yield name, (tuple(found), number)


class _Names:
    """Names of attachments, in step with the leaves."""

    def __init__(self, rows: Iterator[tuple[int, str]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def beside(self, index: int) -> list[str]:
        """Those of one leaf; indexes ascend from call to call."""
        found = []
        while self._next is not None and self._next[0] <= index:
            if self._next[0] == index:
                found.append(self._next[1])
            self._next = next(self._rows, None)
        return found


def _plain(value: Any) -> Any:
    """A value that can be an element of a set; None for what no leaf of ours says."""
    return value if isinstance(value, str | int) else None
