"""The clockwork of the log: heartbeats when it is silent, checkpoints and terms when there is enough new."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from placet.audit.log import Appended, AuditLog
from placet.audit.person_keys import PersonKeys
from placet.errors import AuditError

CHECKPOINT_EVERY_S: Final = 60
CHECKPOINT_LEAVES: Final = 1000
HEARTBEAT_EVERY_S: Final = 600
_LOOK_EVERY_S: Final = 1.0
_BLOCKS_A_LOOK: Final = 4  # 4,096 leaves a second; a longer backlog is caught up with, and never hurried


@dataclass(frozen=True, slots=True)
class Round:
    """What one look has done.

    Attributes:
        heartbeat: the heartbeat that was due, or None.
        checkpoint: the signed note that was due, or None.
    """

    heartbeat: Appended | None
    checkpoint: str | None


class Checkpointer:
    """Decides what is due; whoever calls ``run_once`` brings the time."""

    def __init__(
        self,
        log: AuditLog,
        *,
        checkpoint_every_s: int = CHECKPOINT_EVERY_S,
        checkpoint_leaves: int = CHECKPOINT_LEAVES,
        heartbeat_every_s: int = HEARTBEAT_EVERY_S,
        save: Callable[[str], None] | None = None,
        persons: PersonKeys | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            log: to append to and to sign.
            checkpoint_every_s: a new leaf is signed for after so many seconds.
            checkpoint_leaves: or once so many are new.
            heartbeat_every_s: between heartbeats.
            persons: what names are sealed with, so that they can be found; None where they are not.
            save: given each signed note, to be kept outside of the store; raises AuditError where it can't.
        """
        self._log = log
        self._persons = persons
        self._save = save
        self._unsaved = ""
        self._save_failure: AuditError | None = None
        self._checkpoint_every = timedelta(seconds=checkpoint_every_s)
        self._checkpoint_leaves = checkpoint_leaves
        self._heartbeat_every_s = heartbeat_every_s
        self._signed_at: datetime | None = None
        self._last_heartbeat: datetime | None = None

    @property
    def signed_at(self) -> datetime | None:
        """When this process last made or confirmed a checkpoint; None before the first."""
        return self._signed_at

    @property
    def save_failure(self) -> AuditError | None:
        """Why the last checkpoint could not be saved outside of the store; None where it is."""
        return self._save_failure

    def run_once(self, now: datetime) -> Round:
        """Do what is due.

        A checkpoint is due once so many leaves are new, once any is and the interval has passed, and at the first call:
        that one also checks the whole store against the last checkpoint. Heartbeats of other processes that write to
        the same log count.

        Args:
            now: aware UTC.

        Raises:
            StoreUnavailable: the store can't be read or written; the next call tries again.
            TamperError: the store is not what was signed; nothing is signed.
            AuditError: a checkpoint was signed, and could not be saved; the next call tries again.
        """
        heartbeat = self._log.heartbeat(now, interval_s=self._heartbeat_every_s) if self._heartbeat_due(now) else None
        if heartbeat is not None:
            self._last_heartbeat = now
        checkpoint = None
        if self._checkpoint_due(now):
            checkpoint = self._log.checkpoint()
            self._signed_at = now
            self._unsaved = checkpoint
        self._save_signed()
        self._log.index_blocks(_BLOCKS_A_LOOK)
        if self._persons is not None:
            self._log.index_persons(self._persons, _BLOCKS_A_LOOK)
        return Round(heartbeat, checkpoint)

    def finish(self) -> None:
        """Sign what there is, and save it.

        Raises:
            AuditError: as ``run_once`` does.
        """
        self._unsaved = self._log.checkpoint()
        self._save_signed()

    def _save_signed(self) -> None:
        if self._save is None or not self._unsaved:
            return
        try:
            self._save(self._unsaved)
        except AuditError as exc:
            self._save_failure = exc
            raise
        self._unsaved, self._save_failure = "", None

    def _heartbeat_due(self, now: datetime) -> bool:
        interval = timedelta(seconds=self._heartbeat_every_s)
        # A clock that was set back must not silence it until it has caught up.
        if self._last_heartbeat is not None and timedelta(0) <= now - self._last_heartbeat < interval:
            return False
        recorded = self._log.last_heartbeat()
        if recorded:
            self._last_heartbeat = datetime.fromisoformat(recorded)
        return not recorded or self._last_heartbeat is None or not timedelta(0) <= now - self._last_heartbeat < interval

    def _checkpoint_due(self, now: datetime) -> bool:
        if self._signed_at is None:
            return True
        new = self._log.size() - self._log.signed_size
        if new <= 0:
            return False
        # A clock that was set back must not put the next one off until it has caught up.
        return new >= self._checkpoint_leaves or not timedelta(0) <= now - self._signed_at < self._checkpoint_every


class CheckpointThread(threading.Thread):
    """Calls ``run_once`` each second until it is stopped.

    Args:
        checkpointer: what to call.
        failed: told each error; the thread goes on.
        clock: aware UTC.
        wait: waits so many seconds and says whether to stop; by default, until ``stop``.
    """

    def __init__(
        self,
        checkpointer: Checkpointer,
        *,
        failed: Callable[[AuditError], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        super().__init__(name="placet-checkpoints", daemon=True)
        self._stopping = threading.Event()
        self._checkpointer = checkpointer
        self._failed = failed
        self._clock = clock
        self._wait = wait or self._stopping.wait

    def run(self) -> None:
        """The thread."""
        while True:
            try:
                self._checkpointer.run_once(self._clock())
            except AuditError as exc:
                self._failed(exc)
            if self._wait(_LOOK_EVERY_S):
                return

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Let the round under way end, and end."""
        self._stopping.set()
        self.join(timeout_s)
