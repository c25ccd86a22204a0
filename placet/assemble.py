"""From a configuration to the parts of a gate."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from placet.approvals.keyring import VerifiedKeyring
from placet.approvals.revocations import KeptRevocations
from placet.audit.log import AuditLog
from placet.audit.note import LogKey, load_log_key
from placet.audit.person_keys import PersonKeys
from placet.breakglass.record import Glass
from placet.cluster import ClusterFacts, KubernetesCluster, NoAutoscalers, UnknownCluster
from placet.config import Config
from placet.decide import Gate, History
from placet.environments import KubernetesNamespaces, Namespaces, NoNamespaces
from placet.errors import SigningKeyError
from placet.exemptions.folder import Exemptions, FolderExemptions, NoExemptions
from placet.informer.informer import Informer
from placet.parents import KubernetesParents, NoParents, Parents
from placet.policy.catalog import learn_rules
from placet.policy.chosen import choose_policies
from placet.policy.data import PolicyData, load_policy_data
from placet.policy.engine import PolicyEngine
from placet.policy.wasm import EmbeddedEngine
from placet.record import Recorder
from placet.residents import KubernetesResidents, NoResidents, Residents
from placet.spool.spool import Spool
from placet.trust import FileTrust

_MEBIBYTE: Final = 1024 * 1024
NEXT_LOG_KEY_PASSPHRASE: Final = "PLACET_NEXT_LOG_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
LOG_KEY_PASSPHRASE: Final = "PLACET_LOG_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
OPA_TOKEN: Final = "PLACET_OPA_TOKEN"  # noqa: S105 - the name of a variable


def load_own_log_key(config: Config) -> LogKey:
    """The key that signs this gate's checkpoints, with the one that is to take over where keys are being changed.

    Raises:
        SigningKeyError: a key can't be used, or both are the same.
    """
    key = _load_key(config.log_key, config.origin, LOG_KEY_PASSPHRASE)
    if config.next_log_key is None:
        return key
    successor = _load_key(config.next_log_key, config.origin, NEXT_LOG_KEY_PASSPHRASE)
    if successor.verifier == key.verifier:
        raise SigningKeyError(
            "record.next_log_key is the key that record.log_key has already",
            code="key_invalid",
            hint="Make a new one with `placet audit key FILE --name NAME --new`, or leave record.next_log_key out.",
        )
    return replace(key, successor=successor)


def _load_key(file: Path, origin: str, variable: str) -> LogKey:
    passphrase = os.environ.get(variable)
    return load_log_key(file, name=origin, passphrase=passphrase.encode() if passphrase is not None else None)


def open_own_record(config: Config) -> AuditLog:
    """The log to write to, with the key that signs its checkpoints.

    Raises:
        AuditError: it can't be opened or written.
        SigningKeyError: the log's key can't be used.
    """
    return AuditLog.open(config.store, origin=config.origin, key=load_own_log_key(config))


def open_persons(config: Config, *, writable: bool = True) -> PersonKeys | None:
    """The keys that names in the record are sealed with; None where they are kept as they are.

    Raises:
        AuditError, InputError: they can't be used.
    """
    persons = config.persons
    if persons.folder is None or persons.key_file is None:
        return None
    return PersonKeys.open(persons.folder, persons.key_file, writable=writable)


def load_policies(config: Config, *, now: datetime, newest_version: int = 0) -> tuple[PolicyData, int]:
    """The policies that the configuration names, with their data.

    Args:
        config: names them.
        now: aware UTC.
        newest_version: of the signed policies that were in force before.

    Returns:
        the data, which hold the policies, and the version that was signed; 0 where nobody has to sign.

    Raises:
        ConfigError, EngineError: they can't be used.
    """
    chosen = choose_policies(config.policy, now=now, newest_version=newest_version)
    learn_rules(chosen.bundle)
    return load_policy_data(config.policy.data, chosen.bundle), chosen.version


def find_readable_persons(config: Config) -> PersonKeys | None:
    """The same keys for whoever only looks; None also where they are not for this user to read.

    Raises:
        AuditError, InputError: they can be read, and can't be used.
    """
    persons = config.persons
    if persons.folder is None or persons.key_file is None:
        return None
    readable = os.access(persons.key_file, os.R_OK) and os.access(persons.folder, os.R_OK | os.X_OK)
    return open_persons(config, writable=False) if readable else None


def build_engine(
    config: Config, data: PolicyData, *, on_drift: Callable[[], None] = lambda: None, at_once: int | None = None
) -> PolicyEngine:
    """The policy engine that the configuration names, not yet prepared.

    When ``prepare`` raises and ``problem`` says why, the engine goes on trying: OPA may start after the gate does.

    Args:
        config: names it.
        data: the policy data that it judges by.
        on_drift: told of each time that OPA held other policies or data than the gate gave it.
        at_once: how many decisions are made at once; as many as the server makes without it.

    Raises:
        ConfigError: OPA's address, its authorities or the token in PLACET_OPA_TOKEN can't be used.
        EngineError: its bundle can't be used.
    """
    policy = config.policy
    if policy.engine == "opa":
        # Its HTTP client takes longer to import than everything else together, and few commands need it.
        from placet.policy.opa import OpaEngine  # noqa: PLC0415

        return OpaEngine(
            policy.opa_url,
            data,
            token=os.environ.get(OPA_TOKEN, ""),
            ca_file="" if policy.opa_ca is None else str(policy.opa_ca),
            push=policy.opa_bundle == "push",
            timeout_s=policy.opa_timeout_s,
            on_drift=on_drift,
        )
    return EmbeddedEngine.default(data, guests=at_once or config.server.threads)


def build_trust(
    config: Config,
    *,
    newest_version: int = 0,
    on_change: Callable[[VerifiedKeyring, datetime], None] | None = None,
    kept: KeptRevocations | None = None,
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
        kept=kept,
    )


def build_exemptions(config: Config) -> Exemptions:
    """Where exemptions come from."""
    return NoExemptions() if config.exemptions is None else FolderExemptions(config.exemptions)


def build_spool(config: Config) -> Spool | None:
    """Where denials wait while the store is away, begun; None where the configuration names no folder."""
    spool = config.spool
    if spool.folder is None:
        return None
    return Spool(spool.folder, max_bytes=spool.max_mebibytes * _MEBIBYTE, max_denials=spool.max_denials)


def build_cluster_facts(config: Config) -> ClusterFacts:
    """Where autoscaler ceilings come from."""
    if config.autoscalers == "lookup":
        return KubernetesCluster(None if config.kubeconfig is None else str(config.kubeconfig))
    return NoAutoscalers() if config.autoscalers == "none" else UnknownCluster()


def build_parents(config: Config) -> Parents:
    """Where the objects are looked up that others belong to."""
    if config.parents == "lookup":
        return KubernetesParents(None if config.kubeconfig is None else str(config.kubeconfig))
    return NoParents()


def build_informer(config: Config) -> Informer | None:
    """What remembers parents of parents, not started; None where nothing is to be remembered."""
    if config.lookups.cache != "informer":
        return None
    return Informer(None if config.kubeconfig is None else str(config.kubeconfig), max_age_s=config.lookups.max_age_s)


def build_residents(config: Config) -> Residents:
    """Who counts what runs in a namespace."""
    if config.namespaces == "lookup":
        return KubernetesResidents(None if config.kubeconfig is None else str(config.kubeconfig))
    return NoResidents()


def build_namespaces(config: Config) -> Namespaces:
    """Where the Namespace of a request is looked up."""
    if config.environments == "lookup":
        return KubernetesNamespaces(None if config.kubeconfig is None else str(config.kubeconfig))
    return NoNamespaces()


def build_gate(
    config: Config,
    *,
    trust: FileTrust,
    recorder: Recorder | None,
    history: History,
    cluster_facts: ClusterFacts,
    clock: Callable[[], datetime],
    data: PolicyData | None = None,
    engine: PolicyEngine | None = None,
    parents: Parents | None = None,
    residents: Residents | None = None,
    exemptions: Exemptions | None = None,
    namespaces: Namespaces | None = None,
    remembered: Parents | None = None,
    glass: Glass | None = None,
) -> Gate:
    """A gate that is ready to decide.

    Args:
        config: names everything that is not given.
        trust: keyring and revocations.
        recorder: keeps decisions.
        history: what the record knows.
        cluster_facts: what the cluster knows.
        clock: aware UTC.
        data: policy data that was read already.
        engine: an engine on these data, prepared; without one, one is made for one decision at a time.
        parents: where the objects are looked up that others belong to; None to judge each by itself.
        residents: who counts what runs in a namespace that is moved; None for nobody.
        exemptions: what needs no approval; None for those of the folder that the configuration names.
        namespaces: where the Namespace of a request is looked up; None to believe the path.
        remembered: a memory of what parents belong to; None for none.
        glass: what the record knows of break-glass; None to let nothing in by it.

    Raises:
        PlacetError: a part can't be used.
    """
    data = data or load_policies(config, now=clock())[0]
    if engine is None:
        engine = build_engine(config, data, at_once=1)
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
        parents=parents,
        residents=residents,
        exemptions=exemptions or build_exemptions(config),
        namespaces=namespaces,
        remembered=remembered,
        glass=glass,
    )
