"""What a process records with: the log, the checkpoints that are saved outside of it, the spool."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from placet.assemble import build_spool, load_own_log_key, open_persons
from placet.audit.location import open_store
from placet.audit.note import VerifierKey
from placet.audit.person_keys import PersonKeys
from placet.audit.saved import SavedCheckpoints
from placet.config import Config
from placet.errors import PlacetError
from placet.spool.spool import Spool
from webhook import logs
from webhook.measured import MeasuredLog
from webhook.publishing import compare_exported


@dataclass(frozen=True, slots=True)
class Recording:
    """See the module.

    Attributes:
        log: open.
        saved: folder of checkpoints that the log was compared with, or None.
        spool: open, or None.
        persons: what names are sealed with, or None.
        keys: verifier keys of the log.
    """

    log: MeasuredLog
    saved: SavedCheckpoints | None
    spool: Spool | None
    persons: PersonKeys | None
    keys: Sequence[VerifierKey]

    def save(self, note: str) -> None:
        """Keep a signed checkpoint outside of the store, where there is a place for that.

        Raises:
            AuditError: it could not be kept.
        """
        if self.saved is not None:
            self.saved.save(note)

    def close(self) -> None:
        """Let go of everything. Never raises."""
        if self.spool is not None:
            self.spool.close()
        self.log.close()


def open_recording(config: Config, open_log: Callable[[Config], MeasuredLog] | None) -> Recording:
    """Open the log, and compare it with what was saved: one that was rolled back takes no record from here on.

    Args:
        config: names the store, the checkpoints and the spool.
        open_log: instead of opening the store.

    Raises:
        PlacetError: the log can't be used, or is not the one that the saved checkpoints are of.
    """
    persons = open_persons(config)
    log = (open_log or _open_log)(config)
    try:
        saved, keys = None, load_own_log_key(config).verifiers
        if config.checkpoints is not None:
            saved = SavedCheckpoints.open(config.checkpoints, keys, log.reading)
            if not saved.compared and log.latest_checkpoint() is not None:
                logs.say(logging.WARNING, "no saved checkpoint to compare the record with")
        compare_exported(config, log, keys)
        return Recording(log, saved, build_spool(config), persons, keys)
    except BaseException:
        log.close()
        raise


def _open_log(config: Config) -> MeasuredLog:
    store = open_store(config.store, origin=config.origin)
    try:
        return MeasuredLog(store, key=load_own_log_key(config))
    except PlacetError:
        store.close()
        raise
