"""The process: everything is opened here, after the server has forked, and closed when it ends."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Final

from flask import Flask

from placet.approvals.keyring import VerifiedKeyring
from placet.assemble import build_cluster_facts, build_engine, build_gate, build_trust, open_own_record
from placet.audit.checkpointer import Checkpointer, CheckpointThread
from placet.audit.log import AuditLog
from placet.config import CONFIG_VARIABLE, Config, load_config
from placet.errors import AuditError, KeyringError, PlacetError
from placet.policy.data import load_policy_data
from placet.record import LogRecorder, render_time
from placet.trust import FileTrust
from webhook.app import create_app

_LOG: Final = logging.getLogger("placet.webhook")


def now() -> datetime:
    """The wall clock, aware UTC."""
    return datetime.now(UTC)


def check_parts(config: Config) -> str:
    """Open everything once, so that what can't work is said before a port is opened.

    Returns:
        why every review will be refused for now, "" when the keyring can be trusted: a keyring may come or be renewed
        while the gate runs.

    Raises:
        PlacetError: a part can't be used, and no waiting will mend it.
    """
    waiting = ""
    trust = build_trust(config)
    try:
        trust.load(now())
    except KeyringError as error:
        waiting = f"{error} ({error.code})"
    engine = build_engine(config, load_policy_data(config.policy_data))
    engine.prepare()
    engine.close()
    open_own_record(config).close()
    return waiting


def create() -> Flask:
    """The WSGI application of ``placet serve``; the configuration file is named by the environment.

    Raises:
        PlacetError: a part can't be used.
    """
    config = load_config(Path(os.environ[CONFIG_VARIABLE]))
    log = open_own_record(config)
    trust = build_trust(
        config,
        newest_version=newest_keyring_version(log),
        on_change=lambda keyring, moment: record_keyring(log, config, keyring, moment),
    )
    recorder = LogRecorder(log, cluster=config.cluster)
    gate = build_gate(
        config,
        trust=trust,
        recorder=recorder,
        history=recorder,
        cluster_facts=build_cluster_facts(config),
        clock=now,
    )
    keeper = CheckpointThread(
        Checkpointer(log), failed=lambda error: _LOG.error("checkpoint: %s: %s", error.code, error), clock=now
    )
    keeper.start()
    # A worker is a multiprocessing child: its end runs finalizers, not atexit.
    Finalize(None, _end, args=(keeper, log), exitpriority=10)
    return create_app(gate, ready=lambda: find_problems(log, trust))


def _end(keeper: CheckpointThread, log: AuditLog) -> None:
    """Sign what there is, and close."""
    keeper.stop()
    try:
        log.checkpoint()
    except AuditError as error:
        _LOG.error("last checkpoint: %s: %s", error.code, error)
    log.close()


def newest_keyring_version(log: AuditLog) -> int:
    """The newest version that was ever in force here, 0 before the first."""
    newest = log.newest("keyring")
    return 0 if newest is None else int(newest["version"])


def record_keyring(log: AuditLog, config: Config, keyring: VerifiedKeyring, moment: datetime) -> None:
    """A keyring that comes into force is a record of its own: no older one is accepted after it.

    Raises:
        AuditError: it could not be recorded.
    """
    if keyring.version <= newest_keyring_version(log):
        return
    log.append(
        {
            "schema": "placet.dev/record/v1",
            "type": "keyring",
            "time": render_time(moment),
            "cluster": config.cluster,
            "version": keyring.version,
            "statement": str(keyring.digest),
            "expires": render_time(keyring.expires),
        }
    )


def find_problems(log: AuditLog, trust: FileTrust) -> dict[str, str]:
    """What keeps this gate from deciding rightly: part -> why; empty when it is ready."""
    problems: dict[str, str] = {}
    try:
        trust.load(now())
    except PlacetError as error:
        problems["keyring"] = f"{error.code}: {error}"
    health = log.health()
    if not health.writable:
        problems["record"] = f"{health.code}: {health.detail}"
    return problems
