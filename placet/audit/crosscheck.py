"""Hold the record against an API server's audit log: two logs of one history, kept by different people.

1. each annotation of ours names a leaf: it is there, has that hash and that id, and is about that request;
2. each admission of a workload that the gate is asked about has a leaf that allows it, and no other admission has it;
3. each leaf that allows has its request, or a reason for having none.

Where somebody else writes the same object meanwhile, the API server asks again within one request and keeps the
annotations of the first answer. So a request may have a leaf that no annotation names: it is looked for by object, user
and time, and counts for that one request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.apiserver import from_microseconds
from placet.audit.doubts import CrossCheck, Doubts
from placet.audit.witness import BUILT_IN, PRUNED_ID, Period, Witness, target_of

_SECOND_US: Final = 1_000_000
# How far the clocks of gate and API server may be apart. What annotations name shows how far they are; beyond that, a
# leaf that they don't name may be this much away.
_MARKED_CLOCKS_US: Final = 300 * _SECOND_US
_CLOCKS_US: Final = 2 * _SECOND_US
_LONGEST_US: Final = 120 * _SECOND_US  # a request that takes longer is ended by the API server
_EDGE_US: Final = 60 * _SECOND_US  # a request is logged once it is answered
_FINE: Final = range(200, 300)

_REQUEST: Final = "r.id, r.file, r.line, r.user, r.grp, r.resource, r.subresource, r.namespace, r.name, r.kind, r.code, r.dry, r.received, r.ended"  # noqa: E501
_LEAF: Final = "l.idx, l.allowed, l.user, l.grp, l.subresource, l.namespace, l.name, l.kind, l.time"
_MARKED: Final = f"""\
SELECT m.webhook, m.idx, m.decision_id, m.hash, l.hash, l.decision_id, {_REQUEST}, {_LEAF}
FROM marks m JOIN requests r ON r.id = m.request LEFT JOIN leaves l ON l.idx = m.idx
WHERE m.idx IS NOT NULL ORDER BY m.idx, r.received, r.id"""  # noqa: S608 - our own names, here and below
# A leaf that is not what annotations say has been named: it is not looked for again.
_SPOILT: Final = """\
INSERT OR IGNORE INTO claims SELECT m.idx, m.request FROM marks m JOIN leaves l ON l.idx = m.idx
WHERE l.hash <> m.hash OR l.decision_id IS NOT m.decision_id"""
# One webhook may have allowed what another one of ours refused.
_UNSETTLE: Final = """\
DELETE FROM settled WHERE request IN (
  SELECT m.request FROM marks m JOIN leaves l ON l.idx = m.idx WHERE l.allowed = 0
)"""
_COUNT_SETTLED: Final = """\
SELECT count(*) FROM settled s JOIN requests r ON r.id = s.request WHERE r.code BETWEEN 200 AND 299 AND NOT r.dry"""
_UNSETTLED: Final = f"""\
SELECT {_REQUEST} FROM requests r LEFT JOIN settled s ON s.request = r.id
WHERE s.request IS NULL AND r.code BETWEEN 200 AND 299 AND NOT r.dry ORDER BY r.received, r.id"""  # noqa: S608
_UNCLAIMED: Final = f"""\
SELECT {_LEAF} FROM leaves l LEFT JOIN claims c ON c.idx = l.idx WHERE c.idx IS NULL AND l.allowed = 1 ORDER BY l.idx"""  # noqa: S608
_LEAVES_NEAR: Final = f"""\
SELECT {_LEAF} FROM leaves l LEFT JOIN claims c ON c.idx = l.idx
WHERE l.namespace = ? AND l.time BETWEEN ? AND ? AND l.allowed = 1 AND c.idx IS NULL ORDER BY l.idx"""  # noqa: S608
_REQUESTS_NEAR: Final = f"""\
SELECT {_REQUEST} FROM requests r
WHERE r.namespace = ? AND r.received BETWEEN ? AND ? AND r.ended >= ? AND NOT r.dry ORDER BY r.received, r.id"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class _Asked:
    """A row of ``_REQUEST``."""

    id: int
    file: int
    line: int
    user: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    kind: str
    code: int
    dry: int
    received: int
    ended: int

    @property
    def admitted(self) -> bool:
        """Whether it came in."""
        return self.code in _FINE and not self.dry


@dataclass(frozen=True, slots=True)
class _Told:
    """A row of ``_LEAF``; None throughout where the leaf is no decision."""

    index: int
    allowed: int | None
    user: str | None
    group: str | None
    subresource: str | None
    namespace: str | None
    name: str | None
    kind: str | None
    time: int | None

    def differs(self, asked: _Asked, *, clocks_us: int) -> str:
        """In what the leaf is not about the request, "" where it is about it."""
        pairs = {
            "namespace": (self.namespace, asked.namespace),
            "subresource": (self.subresource, asked.subresource),
        }
        if self.user is not None or self.namespace is None:  # sealed, it can't be compared
            pairs["user"] = (self.user, asked.user)
        if self.name and asked.name:  # one that the API server makes stands in neither
            pairs["name"] = (self.name, asked.name)
        if asked.kind and not asked.subresource:  # a subresource has a kind of its own
            pairs["kind"] = (f"{self.group}/{self.kind}", f"{asked.group}/{asked.kind}")
        for what, (told, found) in pairs.items():
            if told != found:
                return f"its {what} is {told!r}"
        return "it is of another time" if self.away_us(asked) > clocks_us else ""

    def away_us(self, asked: _Asked) -> int:
        """How far its time is from that in which the request was answered."""
        if self.time is None:
            return _LONGEST_US + _MARKED_CLOCKS_US
        return max(asked.received - self.time, self.time - asked.ended, 0)


def check_witness(witness: Witness, *, governed: Sequence[str] = ()) -> CrossCheck:
    """Compare, once every leaf has been told to the witness.

    Args:
        witness: with its files loaded and all leaves.
        governed: namespaces that the gate is asked about, for all of the time; by default each one from the first
            request or leaf on that shows that it was.
    """
    witness.flush()
    return _Comparison(witness, governed).run()


class _Comparison:
    """The state of one comparison."""

    def __init__(self, witness: Witness, governed: Sequence[str]) -> None:
        self._witness = witness
        self._database = witness.database
        self._clocks_us = _CLOCKS_US
        self._period: Period = witness.period or Period(0, 0)
        self._doubts: Doubts = witness.doubts
        self._given = tuple(governed)
        self._governed = dict.fromkeys(governed, 0) or self._find_governed()
        self._asked = self._find_asked()
        self._leaves = Counter({"admitted": 0, "refused_later": 0, "asked_again": 0, "outside": 0})
        self._admitted = 0
        self._pruned = 0
        self._never_asked: Counter[str] = Counter()

    def run(self) -> CrossCheck:
        """Steps 1 to 3."""
        for row in self._database.execute(_MARKED):
            self._hold_mark(row[:6], _Asked(*row[6:20]), row[20:])
        self._database.execute(_SPOILT)
        self._database.execute(_UNSETTLE)
        self._admitted = self._database.execute(_COUNT_SETTLED).fetchone()[0]
        for row in self._database.execute(_UNSETTLED):
            self._account_for_request(_Asked(*row))
        for row in self._database.execute(_UNCLAIMED):
            self._account_for_leaf(_Told(*row))
        count = self._database.execute("SELECT count(*), coalesce(sum(dry), 0) FROM requests").fetchone()
        return CrossCheck(
            files=tuple(self._witness.files),
            requests=count[0],
            first=from_microseconds(self._period.first_us),
            last=from_microseconds(self._period.last_us),
            namespaces=tuple(sorted(self._governed)),
            admitted=self._admitted,
            leaves=dict(self._leaves),
            dry_runs=count[1],
            counts=dict(sorted(self._doubts.counts.items())),
            findings=tuple(self._doubts.examples),
            first_bad_index=self._doubts.first_index,
            notes=tuple(self._notes()),
        )

    def _find_governed(self) -> dict[str, int]:
        """Namespace -> the first moment at which the gate was asked about something in it."""
        asked = """\
            SELECT namespace, min(moment) FROM (
              SELECT r.namespace, r.received AS moment FROM marks m JOIN requests r ON r.id = m.request
              WHERE m.idx IS NOT NULL UNION ALL SELECT namespace, time FROM leaves WHERE time IS NOT NULL
            ) WHERE namespace <> '' GROUP BY namespace"""
        return dict(self._database.execute(asked).fetchall())

    def _find_asked(self) -> dict[tuple[str, str], int]:
        """Custom resource -> the first moment at which the gate was asked about one."""
        asked = """\
            SELECT r.grp, r.resource, r.subresource, min(r.received) FROM marks m JOIN requests r ON r.id = m.request
            WHERE m.idx IS NOT NULL GROUP BY r.grp, r.resource, r.subresource"""
        found = self._database.execute(asked)
        return {(group, target_of(resource, part)): moment for group, resource, part, moment in found}

    # --- 1. what annotations name ------------------------------------------------------------------------------------

    def _hold_mark(self, mark: tuple[Any, ...], asked: _Asked, leaf: tuple[Any, ...]) -> None:
        _webhook, index, decision_id, leaf_hash, found_hash, found_id = mark
        where = self._where(asked)
        if found_hash is None:
            self._doubts.add(
                "leaf_missing", f"{where} has its leaf {index}, and the record has no such leaf", index=index
            )
            return
        if found_hash == leaf_hash and found_id == PRUNED_ID:
            self._pruned += 1  # the bytes are gone, and they were these
            self._database.execute("INSERT OR IGNORE INTO settled VALUES (?)", (asked.id,))
            return
        if found_hash != leaf_hash or found_id != decision_id:
            words = "another hash" if found_hash != leaf_hash else f"another decision than {decision_id}"
            self._doubts.add(
                "leaf_differs", f"{where} has its leaf {index}, which has {words} in the record", index=index
            )
            return
        told = _Told(*leaf)
        if other := told.differs(asked, clocks_us=_MARKED_CLOCKS_US):
            sentence = f"{where} names leaf {index}, which is about another request: {other}"
            self._doubts.add("admission_differs", sentence, index=index)
            return
        self._clocks_us = max(self._clocks_us, told.away_us(asked) + _CLOCKS_US)
        if not self._claim(told, asked):
            self._doubts.add("leaf_reused", f"{where} names leaf {index}, which another request has", index=index)

    def _claim(self, told: _Told, asked: _Asked) -> bool:
        claimed = self._database.execute("INSERT OR IGNORE INTO claims VALUES (?, ?)", (told.index, asked.id))
        if not claimed.rowcount:
            return False
        if told.allowed:
            self._leaves["admitted" if asked.admitted else "refused_later"] += 1
            self._database.execute("INSERT OR IGNORE INTO settled VALUES (?)", (asked.id,))
        return True

    # --- 2. what was admitted ----------------------------------------------------------------------------------------

    def _account_for_request(self, asked: _Asked) -> None:
        """A request that was admitted, and that no leaf allows which its annotations name."""
        marks = self._database.execute(
            "SELECT m.idx, l.allowed FROM marks m LEFT JOIN leaves l ON l.idx = m.idx WHERE m.request = ?", (asked.id,)
        ).fetchall()
        if not marks and not self._is_governed(asked):
            return
        self._admitted += 1
        if (told := self._find_leaf(asked)) is not None:
            self._claim(told, asked)
            return
        where = self._where(asked)
        if not marks:
            self._doubts.add("unasked", f"{where} was admitted, and the record has no leaf of it")
        elif any(index is None for index, _ in marks):
            self._doubts.add("unrecorded", f"{where} was admitted on an answer without a leaf")
        elif refused := [index for index, allowed in marks if allowed == 0]:
            sentence = f"{where} was admitted, and leaf {refused[0]} refused it"
            self._doubts.add("refused_admitted", sentence, index=refused[0])
        # Else the leaf that it names is not there or is another one, which has been said.

    def _is_governed(self, asked: _Asked) -> bool:
        since = self._governed.get(asked.namespace)
        if not asked.kind or since is None or asked.ended < since:
            return False
        resource = (asked.group, target_of(asked.resource, asked.subresource))
        if resource in BUILT_IN or self._given:
            return True
        first = self._asked.get(resource)
        if first is None:
            self._never_asked[f"{resource[1]}.{asked.group}"] += 1
        return first is not None and asked.ended >= first

    def _find_leaf(self, asked: _Asked) -> _Told | None:
        near = (asked.namespace, asked.received - self._clocks_us, asked.ended + self._clocks_us)
        for row in self._database.execute(_LEAVES_NEAR, near):
            told = _Told(*row)
            if not told.differs(asked, clocks_us=self._clocks_us):
                return told
        return None

    # --- 3. what was allowed -----------------------------------------------------------------------------------------

    def _account_for_leaf(self, told: _Told) -> None:
        """A leaf that allows, and that no request names or has been given."""
        if told.time is not None:
            first_us, last_us = told.time - self._clocks_us, told.time + self._clocks_us
            near = (told.namespace, first_us - _LONGEST_US, last_us, first_us)
            for row in self._database.execute(_REQUESTS_NEAR, near):
                asked = _Asked(*row)
                if not told.differs(asked, clocks_us=self._clocks_us):
                    self._leaves["asked_again" if asked.admitted else "refused_later"] += 1
                    return
            inside = self._period.first_us + _EDGE_US <= told.time <= self._period.last_us - _EDGE_US
            if not inside:
                self._leaves["outside"] += 1
                return
        what = f"{told.kind} {told.namespace}/{told.name} by {told.user or '(sealed)'}"
        moment = "no time" if told.time is None else from_microseconds(told.time)
        sentence = f"{what} of {moment} is allowed, and the API server's log has no such request"
        self._doubts.add("unwitnessed", sentence, index=told.index)

    def _where(self, asked: _Asked) -> str:
        place = f"{self._witness.files[asked.file]}:{asked.line}"
        what = target_of(asked.resource, asked.subresource)
        return f"{place}: {what} {asked.namespace}/{asked.name or '(name made)'} by {asked.user}"

    def _notes(self) -> Iterator[str]:
        for resource, count in sorted(self._never_asked.items()):
            yield f"{count} admissions of {resource}, which the gate was never asked about: see the webhook's rules"
        if self._pruned:
            yield f"{self._pruned} requests name leaves that were pruned, and whose hashes are theirs"
        if self._witness.torn:
            yield f"{self._witness.torn} files end within a line, which was passed over"
        if self._witness.sealed:
            yield f"{self._witness.sealed} leaves have the name of who asked sealed, which was not compared"
        if self._witness.repeated:
            yield f"{self._witness.repeated} events stand in two places and count once"
