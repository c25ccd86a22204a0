"""Prune a record, so that it may be stopped at any moment and run again.

1. the record is verified; what is not what was signed is evidence, and nothing is taken from it;
2. what may go is found;
3. leaves of type ``prune`` that name it are appended;
4. a checkpoint signs for them: whoever holds a note from then on can tell that they were there before;
5. what signed leaves name, and no hold covers, is removed.

A run that was stopped after 3 left leaves that are still to be carried out: the next one carries them out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.findings import Verification
from placet.audit.holds import held_by
from placet.audit.location import StoreLocation, open_reader, open_store
from placet.audit.log import AuditLog
from placet.audit.note import VerifierKey
from placet.audit.person_keys import PersonKeys
from placet.audit.prune_plan import Plan, Progress, plan_prune
from placet.audit.pruning import Ledger, Prune, render_prune
from placet.audit.record import HOLD, PRUNE
from placet.audit.retention import Retention
from placet.audit.sealer import seal_event
from placet.audit.stores import Auditable
from placet.audit.stores.removal import remove
from placet.audit.verify import verify_file
from placet.errors import AuditError, TamperError

MAX_WORDS: Final = 500
_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Looked:
    """What there is to prune.

    Attributes:
        plan: what may go now.
        verification: of the record, without findings.
        announced: prunes that the record names already, signed or not.
    """

    plan: Plan
    verification: Verification
    announced: tuple[Prune, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went.

    Attributes:
        announced: leaves of type ``prune`` that were appended.
        unsigned: those, and earlier ones, that no checkpoint signs for yet, and that were not carried out.
        leaves: whose contents were removed.
        attachments: that were removed beside leaves that stay.
    """

    announced: tuple[int, ...]
    unsigned: tuple[int, ...]
    leaves: int
    attachments: int


def look(
    store: StoreLocation,
    keys: Sequence[VerifierKey],
    retention: Retention,
    *,
    now: datetime,
    end: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Looked:
    """Steps 1 and 2: nothing is changed.

    Args:
        store: the record.
        keys: verifier keys of the log.
        retention: the terms.
        now: aware UTC.
        end: only leaves before this one may go; without it, every one that a checkpoint signs for.
        progress: told leaves done and leaves there are.

    Raises:
        TamperError: ``not_verified``: the record is not what was signed.
        StoreUnavailable: it can't be read.
    """
    verification = verify_file(store, keys, progress=progress)
    if not verification.verified:
        raise TamperError(
            f"the record is not what was signed ({', '.join(verification.kinds)}): nothing is removed from it",
            index=verification.first_bad_index,
            code="not_verified",
            hint="Keep it as evidence; `placet audit verify` says what is wrong.",
        )
    signed = verification.signed_size
    with open_reader(store) as reader:
        limit = signed if end is None else min(end, signed)
        plan = plan_prune(reader, retention, now=now, end=limit, progress=progress)
        return Looked(plan, verification, tuple(load_ledger(reader).prunes))


def prune(
    store: StoreLocation,
    keys: Sequence[VerifierKey],
    looked: Looked,
    retention: Retention,
    *,
    by: str,
    reason: str,
    now: datetime,
    persons: PersonKeys | None = None,
    owner: StoreLocation | None = None,
    wait_s: float = 90.0,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Pruned:
    """Steps 3 to 5.

    Args:
        store: the record; of a database, as the role that may add to it.
        keys: verifier keys of the log.
        looked: what ``look`` has found.
        retention: the terms.
        by: who.
        reason: why; "" where the terms say all.
        now: aware UTC.
        persons: what names are sealed with; None to keep them as they are.
        owner: the database as its owner, who alone may remove; for a file it is not needed.
        wait_s: the longest that a checkpoint is waited for, seconds.
        clock: monotonic seconds.
        pause: waits so many seconds.

    Raises:
        StoreUnavailable: the store can't be written; what was removed until then stays removed.
        AuditError: a leaf could not be appended.
    """
    announced = _announce(store, looked, retention, by=by, reason=reason, now=now, persons=persons)
    give_up = clock() + wait_s
    while announced and _signed_size(store, keys) <= announced[-1] and clock() < give_up:
        pause(_POLL_S)
    signed = _signed_size(store, keys)
    leaves = attachments = 0
    with open_reader(store) as reader:
        ledger = load_ledger(reader)
    held = held_by(ledger.holds)
    for one in ledger.prunes:
        if one.index < signed:
            done = remove(owner or store, one.removal.without(held))
            leaves, attachments = leaves + done[0], attachments + done[1]
    unsigned = tuple(one.index for one in ledger.prunes if one.index >= signed)
    return Pruned(announced, unsigned, leaves, attachments)


def load_ledger(reader: Auditable) -> Ledger:
    """What the record says of prunes and holds, unverified."""
    return Ledger((stored.index, stored.raw_leaf) for kind in (HOLD, PRUNE) for stored in reader.of_type(kind, start=0))


def _announce(
    store: StoreLocation,
    looked: Looked,
    retention: Retention,
    *,
    by: str,
    reason: str,
    now: datetime,
    persons: PersonKeys | None,
) -> tuple[int, ...]:
    plan, verification = looked.plan, looked.verification
    removal = plan.removal
    for one in looked.announced:
        removal = removal.beyond(one.removal)
    if not removal:
        return ()
    with open_reader(store) as reader:
        latest = reader.latest_checkpoint(at_least=verification.signed_size)
    if latest is None:
        raise AuditError("the record's newest checkpoint is gone", code="rolled_back")
    bodies = [
        render_prune(
            part,
            before=plan.before,
            size=latest.size,
            root=latest.root,
            retention=retention,
            cutoffs=plan.cutoffs,
            by=by,
            reason=reason,
            now=now,
        )
        for part in removal.parts()
    ]
    known = () if persons is None else tuple(one.name for one in persons.all())
    log = AuditLog(open_store(store, origin=verification.origin, create=False))
    try:
        return tuple(log.append(seal_event(body, persons, known)).index for body in bodies)
    finally:
        log.close()


def _signed_size(store: StoreLocation, keys: Sequence[VerifierKey]) -> int:
    """Leaves under the newest checkpoint, which the log's key signed; 0 where there is none."""
    with open_reader(store) as reader:
        latest = reader.latest_checkpoint()
    return 0 if latest is None else verify_checkpoint(latest.raw_note, keys).size
