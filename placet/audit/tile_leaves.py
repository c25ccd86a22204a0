"""The leaves of tiles, one by one or many at once: are they of the form that placet writes, and what do they say?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from placet.audit.certify import PLAIN_TYPES
from placet.audit.findings import Findings
from placet.audit.forms import TOGETHER, Forms
from placet.audit.merkle import hash_leaf
from placet.audit.pace import Pace
from placet.audit.patterns import ask_little
from placet.audit.pruned import PrunedLeaves
from placet.audit.record import DECISION, HEARTBEAT, parse_body, search_values
from placet.audit.stores.reader import COLUMNS
from placet.audit.witness import Witness
from placet.errors import FormatError

_ALLOWED: Final = COLUMNS.index("allowed")


class TileLeaves:
    """Leaves whose hashes are those of the log, in order of index.

    Attributes:
        types: leaf type -> how many.
        answers: 1 or 0 -> how many decisions allowed, or did not.
        pace: when they were written.
    """

    def __init__(self, findings: Findings, pruned: PrunedLeaves, witness: Witness | None) -> None:
        self._findings = findings
        self._pruned = pruned
        self._witness = witness
        self._forms = Forms(asked=ask_little)
        self.types: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.pace = Pace()

    def add_all(self, start: int, leaves: Sequence[bytes]) -> None:
        """Consecutive leaves whose hashes are right, a few dozen at a time."""
        for first in range(0, len(leaves), TOGETHER):
            part = leaves[first : first + TOGETHER]
            fitted, left = self._forms.fit(part)
            times = [""] * len(part)
            for one in fitted:
                form, groups = one.form, one.by_group()
                self.types[DECISION] += len(one.places)
                self.answers.update(form.answers(groups))
                if not form.spooled:
                    for place, time in zip(one.places, form.times(groups), strict=True):
                        times[place] = time
            intervals: dict[int, Any] = {}
            for place in left:
                times[place], interval_s = self._read(start + first + place, part[place])
                if interval_s is not None:
                    intervals[place] = interval_s
            self.pace.add_all(
                start + first, times, {place: said for place, said in intervals.items() if said is not None}
            )

    def add(self, index: int, raw: bytes) -> None:
        """The next leaf."""
        time, interval_s = self._read(index, raw)
        if time:
            self.pace.add(index, time, interval_s)

    def _read(self, index: int, raw: bytes) -> tuple[str, Any]:
        """Count a leaf that is read strictly; gives its time, and of a heartbeat the interval that it says.

        There is no time of one that can't be read, nor of one that was decided while the store was away.
        """
        try:
            body = parse_body(raw)
            values = search_values(body)
        except FormatError as exc:
            self._findings.add("leaf_malformed", str(exc), index=index)
            if self._witness is not None:
                self._witness.add_leaf(index, hash_leaf(raw), None)
            return "", None
        if self._witness is not None:
            self._witness.add_leaf(index, hash_leaf(raw), body)
        self._forms.learn(body)
        leaf_type, allowed = values[0], values[_ALLOWED]
        self.types[leaf_type] += 1
        self._pruned.meet(index, leaf_type, raw)
        if allowed is not None:
            self.answers[allowed] += 1
        interval_s = body.get("interval_s") if leaf_type == HEARTBEAT else None
        return "" if "spooled" in body else values[1], interval_s


class UnreadLeaves(TileLeaves):
    """The same where nothing is asked of leaves but their hashes: only those are read that tell of other leaves."""

    def add_all(self, start: int, leaves: Sequence[bytes]) -> None:
        """Consecutive leaves whose hashes are right."""
        kinds = [leaf.partition(b"\n")[0] for leaf in leaves]
        counts = Counter(kinds)
        for kind in counts.keys() & PLAIN_TYPES:
            self.types[kind.decode()] += counts[kind]
        if not counts.keys() <= PLAIN_TYPES:
            for place, kind in enumerate(kinds):
                if kind not in PLAIN_TYPES:
                    self._read(start + place, leaves[place])

    def add(self, index: int, raw: bytes) -> None:
        """The next leaf."""
        self.add_all(index, [raw])
