"""From a configuration to the parts of a gate."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import Final

from placet.approvals.keyring import VerifiedKeyring
from placet.audit.log import AuditLog
from placet.audit.note import load_log_key
from placet.cluster import ClusterFacts, KubernetesCluster, NoAutoscalers, UnknownCluster
from placet.config import Config
from placet.decide import Gate, History
from placet.policy.data import PolicyData, load_policy_data
from placet.policy.engine import PolicyEngine
from placet.policy.opa import OpaEngine
from placet.policy.wasm import EmbeddedEngine
from placet.record import Recorder
from placet.trust import FileTrust

LOG_KEY_PASSPHRASE: Final = "PLACET_LOG_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable


def open_own_record(config: Config) -> AuditLog:
    """The log to write to, with the key that signs its checkpoints.

    Raises:
        AuditError: it can't be opened or written.
        SigningKeyError: the log's key can't be used.
    """
    passphrase = os.environ.get(LOG_KEY_PASSPHRASE)
    key = load_log_key(
        config.log_key, name=config.origin, passphrase=passphrase.encode() if passphrase is not None else None
    )
    return AuditLog.open(config.store, origin=config.origin, key=key)


def build_engine(config: Config, data: PolicyData) -> PolicyEngine:
    """The policy engine that the configuration names, not yet prepared.

    Raises:
        EngineError: its bundle can't be used.
    """
    if config.engine == "opa":
        return OpaEngine(config.opa_url, data)
    return EmbeddedEngine.default(data)


def build_trust(
    config: Config,
    *,
    newest_version: int = 0,
    on_change: Callable[[VerifiedKeyring, datetime], None] | None = None,
) -> FileTrust:
    """Keyring and revocations from the files that the configuration names.

    Raises:
        KeyringError, SigningKeyError: a root can't be used.
    """
    return FileTrust(
        keyring_file=config.keyring_file,
        root_files=config.root_files,
        threshold=config.root_threshold,
        revocations=config.revocations,
        newest_version=newest_version,
        on_change=on_change,
    )


def build_cluster_facts(config: Config) -> ClusterFacts:
    """Where autoscaler ceilings come from."""
    if config.autoscalers == "lookup":
        return KubernetesCluster(None if config.kubeconfig is None else str(config.kubeconfig))
    return NoAutoscalers() if config.autoscalers == "none" else UnknownCluster()


def build_gate(
    config: Config,
    *,
    trust: FileTrust,
    recorder: Recorder | None,
    history: History,
    cluster_facts: ClusterFacts,
    clock: Callable[[], datetime],
) -> Gate:
    """A gate that is ready to decide.

    Raises:
        PlacetError: a part can't be used.
    """
    data = load_policy_data(config.policy_data)
    engine = build_engine(config, data)
    engine.prepare()
    return Gate(
        cluster=config.cluster,
        policy_data=data,
        engine=engine,
        trust=trust,
        history=history,
        cluster_facts=cluster_facts,
        recorder=recorder,
        clock=clock,
    )
