"""Records that are quickly made, for measuring how they are found: small, and as unevenly spread as in a cluster.

Bytes, columns and terms of a leaf are written down directly, which takes a fifth of the time of making them as the gate
does; ``require_honest`` holds a block of them against what the gate's own code makes of the same leaves. What is made
for one of ``BASE`` is said again by each that stands so much later, at another time and under another uid.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import get_context
from typing import Any, Final

from benchmarks.load import BenchmarkError
from placet.audit.log import render_time
from placet.audit.merkle import hash_leaf
from placet.audit.person_terms import NAMED_IN_TEXTS, UNOPENED, UNOPENED_IN_TEXTS, number_of
from placet.audit.record import Columns, Leaf, parse_leaf
from placet.audit.segments import BLOCKS, SEGMENT, Segment, SegmentMaker
from placet.audit.stores import Entry
from placet.audit.terms import BLOCK, TermBlock, image_terms, make_block, render_members, term_of, text_terms
from tests.simulators.tampering import START

EVERY_S: Final = 30  # between two decisions: a year of them is about a million
RARE: Final = 1000  # one of so many says what hardly any says
CODES: Final = ("role_missing", "not_pinned", "expired", "risk_too_high", "evidence_missing", "window_closed")
DEPLOYER: Final = "system:serviceaccount:argocd:deployer"
_HUNT: Final = "the model has no valid approval of the role security"
_WORKLOADS: Final = 1999
BASE: Final = 8 * SEGMENT
_JOBS: Final = 2
_AHEAD: Final = 6


def digest_of(revision: int) -> str:
    """Of what was judged: 20 decisions in a row are of one revision."""
    return hashlib.sha256(str(revision).encode()).hexdigest()


def time_of(number: int) -> str:
    """When a decision was made."""
    return render_time(START + timedelta(seconds=EVERY_S * number))


@functools.lru_cache(maxsize=64)
def _revision(revision: int) -> tuple[str, str]:
    digest = digest_of(revision)
    return digest[:16], f"{digest[:8]}-{revision}"


def make_leaf(number: int) -> tuple[bytes, tuple[Any, ...], set[int]]:
    """Bytes, search values and terms of a decision."""
    mixed = number * 2654435761 % 2**32
    work = (mixed >> 3) % _WORKLOADS
    short, approval = _revision(number // 20)
    time = time_of(number)
    denied, rare = mixed % 12 == 0, number % RARE == RARE // 2
    name, code = f"llama-{work}", CODES[(mixed >> 7) % 6]
    space = f"team-{work % 7}" if work % 3 else f"team-{7 + work % 211}"
    kind = "StatefulSet" if work % 17 == 0 else "Deployment"
    environment = ("production", "staging", "production", "development")[work % 4]
    user = DEPLOYER if mixed % 5 else f"person-{mixed % 61}@example.org"
    person, model = f"person-{mixed % 41}", f"model-{work % 13}"
    ring = "blue" if work % 2 else "green"
    image = f"registry.example.com/serving/vllm-openai:v1.{number // 20 % 50}@sha256:{short}"
    message = f"{name} of {ring}: {_HUNT}" if denied else f"{name} of {ring} may run"
    projection, request = f"sha256:{short}", f"sha256:{number:064x}"
    uid, decision = f"u{number:09}", f"d{number:09}"
    advice = f'"advice":["renew what expires, ticket-{number}"],' if number % RARE == 0 else ""
    more = f',{{"approval_id":"x-{number // 20}","person":"cfo","role":"executive"}}' if rare else ""
    said = f'{{"code":"{code}","rule":"approvals.required"}}' if denied else ""
    raw = (
        f'decision\n{{{advice}"allowed":{"false" if denied else "true"},"approvals":[{{"approval_id":"{approval}",'
        f'"person":"{person}","role":"security"}}{more}],"approved":false,"cluster":"eu-1","decision_id":"{decision}",'
        f'"environment":"{environment}","images":["{image}"],"kind":"{kind}","message":"{message}",'
        f'"model":{{"name":"{model}"}},"name":"{name}","namespace":"{space}","projection":"{projection}",'
        f'"request_digest":"{request}","schema":"placet.dev/record/v1","time":"{time}","type":"decision","uid":"{uid}",'
        f'"user":"{user}","violations":[{said}]}}'
    ).encode()
    violations = (
        "|" + "|".join(sorted(("approvals.required", code, f"approvals.required:{code}"))) + "|" if denied else ""
    )
    values = (
        "decision", time, uid, decision, request, "eu-1", environment, space, kind, name, user, model, projection,
        int(not denied), 0, violations,
    )  # fmt: skip
    pairs = [
        ("type", "decision"), ("environment", environment), ("namespace", space), ("kind", kind), ("name", name),
        ("user", user), ("model", model), ("projection", projection), ("allowed", str(int(not denied))),
        ("role", "security"), ("person", person), ("approval", approval),
    ]  # fmt: skip
    if rare:
        pairs += [("role", "executive"), ("person", "cfo"), ("approval", f"x-{number // 20}")]
    if denied:
        pairs += [("violation", word) for word in ("approvals.required", code, f"approvals.required:{code}")]
    terms = {term_of(*pair) for pair in pairs} | image_terms(image) | text_terms(message)
    if advice:
        terms |= text_terms(f"renew what expires, ticket-{number}")
    return raw, values, terms


Row = tuple[bytes, bytes, tuple[Any, ...]]
Made = tuple[list[Row], TermBlock | None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The leaves of one block, and what is found by them.

    Attributes:
        start: index of the first.
        rows: of each its bytes, its hash and its search values.
        block: None where it is not whole.
        segment: the one that it completes.
    """

    start: int
    rows: list[Row]
    block: TermBlock | None
    segment: Segment | None


def make_stretches(records: int, *, base: int) -> Iterator[Stretch]:
    """All leaves, with every block and segment that can be there."""
    segments = _Segments(base)
    for number, (rows, block) in enumerate(make_rows(records, base=base)):
        yield Stretch(number * BLOCK, rows, block, None if block is None else segments.add(block))


def person_rows(records: int) -> Iterator[tuple[int, int, bytes]]:
    """Number, term and members of what a gate that seals names says of blocks without a sealed one, sorted."""
    nobody = render_members(())
    terms = sorted((UNOPENED, UNOPENED_IN_TEXTS, NAMED_IN_TEXTS))
    return ((number_of(block), term, nobody) for block in range(records // BLOCK - 1, -1, -1) for term in terms)


def make_leaves(number: int, end: int) -> Made:
    """Bytes, hash and values of the leaves of a block before ``end``, and what they are found by if all are there."""
    rows: list[Row] = []
    said: defaultdict[int, list[int]] = defaultdict(list)
    for index in range(number * BLOCK, min((number + 1) * BLOCK, end)):
        raw, values, terms = make_leaf(index)
        for term in terms:
            said[term].append(len(rows))
        rows.append((raw, hash_leaf(raw), values))
    if len(rows) < BLOCK:
        return rows, None
    members = tuple((term, _members(places)) for term, places in sorted(said.items()))
    return rows, TermBlock(number, rows[0][2][1], rows[-1][2][1], members)


def _members(places: list[int]) -> bytes:
    if 2 * len(places) < BLOCK // 8:
        return struct.pack(f">{len(places)}H", *places)
    return sum(1 << place for place in places).to_bytes(BLOCK // 8, "little")


def make_records(records: int, *, base: int = BASE) -> Iterator[tuple[list[Entry], TermBlock | None]]:
    """All leaves, block by block, as a store is given them."""
    return (_entries(number, made) for number, made in enumerate(make_rows(records, base=base)))


def make_rows(records: int, *, base: int = BASE) -> Iterator[Made]:
    """All leaves, block by block; the first ``base`` are made by other processes meanwhile."""
    known: list[Made] = []
    for made in _make_base(min(records, base)):
        yield made
        known.append(made)
    for number in range(len(known), -(-records // BLOCK)):
        rows, block = known[number % (base // BLOCK)]
        start = number * BLOCK
        place = start % base
        again = [_again(one, place + at, start - place) for at, one in enumerate(rows[: records - start])]
        times = (again[0][2][1], again[-1][2][1])
        whole = len(again) == BLOCK and block is not None
        yield again, TermBlock(number, *times, block.rows) if whole and block else None


def _make_base(records: int) -> Iterator[Made]:
    asked: deque[Future[Made]] = deque()
    with ProcessPoolExecutor(_JOBS, mp_context=get_context("spawn")) as pool:
        for number in range(-(-records // BLOCK)):
            asked.append(pool.submit(make_leaves, number, records))
            if len(asked) > _AHEAD:
                yield asked.popleft().result()
        while asked:
            yield asked.popleft().result()


def _again(row: Row, number: int, later: int) -> Row:
    """The leaf of a number as one that stands so much later says it."""
    raw, _, values = row
    uid, time = f"u{number + later:09}", time_of(number + later)
    raw = raw.replace(values[1].encode(), time.encode()).replace(values[2].encode(), uid.encode())
    decision = f"d{number + later:09}"
    raw = raw.replace(values[3].encode(), decision.encode())
    return raw, hash_leaf(raw), (values[0], time, uid, decision, *values[4:])


def _entries(number: int, made: Made) -> tuple[list[Entry], TermBlock | None]:
    rows, block = made
    start = number * BLOCK
    return [
        Entry(start + place, Leaf(raw, {}, Columns(*values)), leaf_hash, {})
        for place, (raw, leaf_hash, values) in enumerate(rows)
    ], block


def require_honest(rows: list[Row], block: TermBlock | None) -> None:
    """Hold a block against what the gate's own code makes of it.

    Raises:
        BenchmarkError: it is another one.
    """
    for raw, _, values in rows:
        if parse_leaf(raw).columns != Columns(*values):
            raise BenchmarkError("a leaf that was made quickly says something else")
    if block is None or make_block(block.number, (raw for raw, _, _ in rows)) != block:
        raise BenchmarkError("terms that were made quickly are others")


class _Segments:
    """Segments of blocks that come in order; those that say the same again are not merged again."""

    def __init__(self, base: int) -> None:
        self._every = base // SEGMENT
        self._known: list[Segment] = []
        self._some: list[TermBlock] = []

    def add(self, block: TermBlock) -> Segment | None:
        """Add the next block; gives the segment that it completes."""
        self._some.append(block)
        if len(self._some) < BLOCKS:
            return None
        some, self._some = self._some, []
        number = block.number // BLOCKS
        if number >= self._every:
            return replace(
                self._known[number % self._every],
                number=number,
                earliest=min(one.earliest for one in some),
                latest=max(one.latest for one in some),
            )
        maker, done = SegmentMaker(number), None
        for one in some:
            done = maker.add(one)
        if done is not None:
            self._known.append(done)
        return done
