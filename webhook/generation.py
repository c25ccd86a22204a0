"""Everything that a new configuration replaces at once: policy data, engine, trust, cluster facts, the gate on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from placet.approvals.revocations import KeptRevocations
from placet.assemble import (
    build_cluster_facts,
    build_engine,
    build_exemptions,
    build_gate,
    build_namespaces,
    build_parents,
    build_residents,
    build_trust,
    load_policies,
)
from placet.audit.log import AuditLog
from placet.audit.person_keys import PersonKeys
from placet.breakglass.record import LogGlass
from placet.cluster import ClusterFacts
from placet.config import Config
from placet.decide import Gate
from placet.environments import Namespaces
from placet.errors import EngineError, KeyringError
from placet.exemptions.folder import Exemptions
from placet.informer.informer import Informer
from placet.parents import Parents
from placet.policy.bundle import MANIFEST, SOURCES, WASM
from placet.policy.data import PolicyData
from placet.policy.engine import PolicyEngine
from placet.policy.signed import SIGNATURE
from placet.record import LogRecorder
from placet.residents import Residents
from placet.spool.recorder import SpoolingRecorder
from placet.spool.spool import Spool
from placet.trust import FileTrust
from webhook.candidate import prove_candidate
from webhook.foundations import newest_keyring_version, newest_policy_version, record_keyring
from webhook.measured import MeasuredEngine
from webhook.metrics import Metrics
from webhook.selftest import self_test

_MAX_FILE_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Generation:
    """A gate and all that it rests on, but the record.

    Attributes:
        config: in force.
        data: merged policy data, and the policies that they are for.
        version: of the signed policies; 0 where nobody has to sign.
        engine: prepared, or on its way to it.
        trust: keyring and revocations.
        roots: digests of the root files that ``trust`` was made with.
        signers: digests of the files of those who may sign the policies.
        facts: what the cluster knows of autoscalers.
        parents: where objects are looked up that others belong to.
        residents: who counts what runs in a namespace.
        exemptions: what needs no approval.
        namespaces: where the Namespace of a request is looked up.
        gate: decides.
    """

    config: Config
    data: PolicyData
    version: int
    engine: PolicyEngine
    trust: FileTrust
    roots: tuple[str, ...]
    facts: ClusterFacts
    parents: Parents
    residents: Residents
    exemptions: Exemptions
    namespaces: Namespaces
    gate: Gate
    signers: tuple[str, ...] = ()


class GenerationBuilder:
    """Builds gates on one log."""

    def __init__(
        self,
        log: AuditLog,
        metrics: Metrics,
        *,
        kept: KeptRevocations,
        clock: Callable[[], datetime],
        informer: Informer | None = None,
        spool: Spool | None = None,
        persons: PersonKeys | None = None,
    ) -> None:
        self._log = log
        self._spool = spool
        self._persons = persons
        self._informer = informer
        self._metrics = metrics
        self._kept = kept
        self._clock = clock

    def build(self, config: Config, former: Generation | None) -> Generation:
        """Build aside, and test. Nothing of the former one is touched.

        The first of a process need not wait for an engine that goes on trying by itself, such as an OPA that starts
        later: it refuses meanwhile, and is tested before readiness says that it is there.

        Args:
            config: what to build from.
            former: what serves now; its trust is kept where nothing about it changed, so that it goes on refusing
                keyrings that are older than what it has seen.

        Raises:
            PlacetError: a part can't be used.
        """
        signers = tuple(digest_file(file) for file in _key_files(config.policy.bundle_keys))
        data, version = load_policies(config, now=self._clock(), newest_version=newest_policy_version(self._log))
        if former is not None and data.bundle != former.data.bundle:
            prove_candidate(config, data)  # in a process of its own: what it does to that does nothing to this one
        made = build_engine(config, data, on_drift=self._metrics.engine_drifted)
        engine = MeasuredEngine(made, self._metrics.policy_evaluated)
        try:
            waiting = _prepare(engine, may_wait=former is None)
            roots = tuple(digest_file(file) for file in _root_files(config))
            trust = self._trust(config, former, roots)
            facts, parents, residents, namespaces = self._cluster(config, former)
            exemptions = build_exemptions(config)
            recorder = self._recorder(config)
            gate = build_gate(
                config,
                trust=trust,
                recorder=recorder,
                history=recorder,
                cluster_facts=facts,
                clock=self._clock,
                data=data,
                engine=engine,
                parents=parents,
                residents=residents,
                exemptions=exemptions,
                namespaces=namespaces,
                remembered=self._remembered(config),
                glass=LogGlass(self._log, cluster=config.cluster, persons=self._persons),
            )
            if not waiting:
                self_test(config, data, engine, trust, self._clock)
        except BaseException:
            engine.close()
            raise
        return Generation(
            config,
            data,
            version,
            engine,
            trust,
            roots,
            facts,
            parents,
            residents,
            exemptions,
            namespaces,
            gate,
            signers,
        )

    def _trust(self, config: Config, former: Generation | None, roots: tuple[str, ...]) -> FileTrust:
        if former is not None and roots == former.roots and _trust_keys(config) == _trust_keys(former.config):
            return former.trust
        trust = build_trust(
            config,
            newest_version=newest_keyring_version(self._log),
            on_change=lambda keyring, moment: record_keyring(self._log, config.cluster, keyring, moment),
            # What is only tried out must not revoke anything for good.
            kept=self._kept if former is None else self._kept.apart(),
        )
        if former is not None and _is_trusted(former.trust, self._clock()):
            trust.load(self._clock())  # what can trust nothing does not replace what does
        return trust

    def _recorder(self, config: Config) -> LogRecorder:
        if self._spool is None:
            return LogRecorder(self._log, cluster=config.cluster, persons=self._persons)
        return SpoolingRecorder(
            self._log, cluster=config.cluster, spool=self._spool, clock=self._clock, persons=self._persons
        )

    def _remembered(self, config: Config) -> Informer | None:
        """The memory of the process, where it is one of the API server that this configuration names."""
        informer = self._informer
        if informer is None or config.parents != "lookup":
            return None
        return (
            informer if informer.kubeconfig == (None if config.kubeconfig is None else str(config.kubeconfig)) else None
        )

    def _cluster(
        self, config: Config, former: Generation | None
    ) -> tuple[ClusterFacts, Parents, Residents, Namespaces]:
        if former is not None and _cluster_keys(config) == _cluster_keys(former.config):
            return former.facts, former.parents, former.residents, former.namespaces
        return build_cluster_facts(config), build_parents(config), build_residents(config), build_namespaces(config)


def fingerprint(config_file: Path, config: Config) -> dict[str, str]:
    """Digests of the content of the files that a reload reads, by path.

    The content itself: Kubernetes replaces the files of a ConfigMap or Secret by another folder behind a symbolic link,
    and neither the time nor the inode of what a path leads to has to change for that.
    """
    optional = [file for file in (config.policy.data, config.next_log_key) if file is not None]
    if config.policy.bundle is not None:  # the manifest has the digests of all other files; these two judge
        optional += [config.policy.bundle / name for name in (MANIFEST, SIGNATURE, WASM, SOURCES)]
        optional += _key_files(config.policy.bundle_keys)
    files = [config_file, *_root_files(config), *optional, config.log_key]
    return {str(file): digest_file(file) for file in files}


def judges_otherwise(former: Generation, generation: Generation) -> bool:
    """Whether what is judged with differs."""
    return (former.config, former.data.digest, former.data.bundle, former.roots, former.signers) != (
        generation.config,
        generation.data.digest,
        generation.data.bundle,
        generation.roots,
        generation.signers,
    )


def digest_file(file: Path) -> str:
    """Hexadecimal SHA-256 of a file, or what keeps it from being read."""
    try:
        with file.open("rb") as content:
            return sha256(content.read(_MAX_FILE_BYTES)).hexdigest()
    except OSError as error:
        return f"unreadable {error.errno}"


def digest_log_keys(config: Config) -> dict[str, str]:
    """Key of the configuration -> digest of the private key's file, "" where there is none."""
    following = config.next_log_key
    return {
        "record.log_key": digest_file(config.log_key),
        "record.next_log_key": digest_file(following) if following is not None else "",
    }


def _prepare(engine: PolicyEngine, *, may_wait: bool) -> bool:
    """Prepare; whether the engine can't judge yet, and goes on trying."""
    try:
        engine.prepare()
    except EngineError:
        if not may_wait or not engine.problem():
            raise
        return True
    return False


def _root_files(config: Config) -> list[Path]:
    return _key_files(config.root_files)


def _key_files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        files += sorted([*path.glob("*.pub"), *path.glob("*.pem")]) if path.is_dir() else [path]
    return files


def _trust_keys(config: Config) -> tuple[object, ...]:
    return config.keyring_file, config.root_files, config.root_threshold, config.revocations


def _cluster_keys(config: Config) -> tuple[object, ...]:
    return config.autoscalers, config.parents, config.namespaces, config.environments, config.kubeconfig


def _is_trusted(trust: FileTrust, now: datetime) -> bool:
    try:
        trust.load(now)
    except KeyringError:
        return False
    return True
