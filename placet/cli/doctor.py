"""``placet doctor``: what in a running cluster leaves a hole."""

from __future__ import annotations

import functools
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from placet.audit.location import StoreLocation
from placet.cli.options import StoreParam, cluster_options, output_option
from placet.cli.output import EXIT_USAGE, EXIT_VIOLATIONS, say
from placet.config import CONFIG_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from placet.apiserver import ApiServer
    from placet.audit.log import AuditLog
    from placet.cli.live import LiveCluster
    from placet.config import Config
    from placet.doctor.examination import Local
    from placet.doctor.exempted import Exempted
    from placet.doctor.findings import Finding
    from placet.policy.data import PolicyData
    from placet.trust import FileTrust

_FILE = click.Path(path_type=Path)


@click.command()
@cluster_options
@click.option(
    "--config",
    "config_file",
    type=_FILE,
    envvar=CONFIG_VARIABLE,
    show_envvar=True,
    help="The gate's configuration, to compare its environments, look at its keyring and judge what runs.",
)
@click.option("--record", type=StoreParam(), help="A copy of the record, to know which models were there before.")
@click.option("-n", "--namespace", default="", help="Where placet runs; the namespace of its Service by default.")
@click.option(
    "--trusted",
    multiple=True,
    metavar="SUBJECT",
    help="Who may have rights that reach around the gate: group:NAME, user:NAME, serviceaccount:NAMESPACE:NAME "
    "(repeatable).",
)
@click.option(
    "--excluded", multiple=True, metavar="NAMESPACE", help="A namespace that is meant not to be governed (repeatable)."
)
@click.option(
    "--accepted",
    multiple=True,
    metavar="DEFINITION",
    help="A CustomResourceDefinition with Pods that is meant to have no entry in `kinds` (repeatable).",
)
@click.option(
    "--canary",
    "with_canary",
    is_flag=True,
    help="Also send the canaries of --config, as a dry run: needs its log key, and the right to create Deployments in "
    "their namespaces.",
)
@click.option(
    "--put-on-record",
    "recorded",
    is_flag=True,
    help="Also append what was found to the record of --config, as a leaf of type scan: needs its log key.",
)
@output_option("table", "json", "yaml", "junit")
def doctor(
    output: str,
    kubeconfig: Path | None,
    context: str,
    config_file: Path | None,
    record: StoreLocation | None,
    namespace: str,
    trusted: tuple[str, ...],
    excluded: tuple[str, ...],
    accepted: tuple[str, ...],
    *,
    with_canary: bool,
    recorded: bool,
) -> None:
    r"""Say what in a running cluster leaves a hole in the gate.

    Looks at the webhook configuration, its certificates, what answers behind it, who may change any of it, what else
    changes workloads, which kinds nobody judges, and, with --config, at what runs now and would be refused. Everything
    is read with your own rights, and nothing is written to the cluster; --canary alone asks for something, as a dry
    run. What you may not read is reported as unknown, with the right that is missing.

    \b
    Examples:
      placet doctor
      placet doctor --context prod-eu-1 --config gate/placet.yaml
      placet doctor --config gate/placet.yaml --canary
      placet doctor --config gate/placet.yaml --put-on-record
      placet doctor --trusted group:platform-team -o json

    \b
    Exit codes:
      0  nothing was found; there may be notes
      1  there are holes or risks
      2  something could not be looked at, and nothing was found in the rest

    \b
    Environment:
      PLACET_CONFIG              the configuration file
      PLACET_LOG_KEY_PASSPHRASE  opens the log's key, for --canary and --put-on-record
      KUBECONFIG                 clusters to ask, as for kubectl

    \b
    See also: placet plan, placet config check, docs/doctor.md
    """
    from placet.apiserver import ApiServer
    from placet.cli.doctor_view import print_findings
    from placet.cli.live import LiveCluster
    from placet.cli.progress import Progress
    from placet.cli.workloads import load_kinds
    from placet.doctor.examination import Examination
    from placet.doctor.findings import Severity
    from placet.doctor.powers import parse_subject
    from placet.doctor.reading import TIMEOUT_S, Reader
    from placet.doctor.report import record_scan

    subjects = [parse_subject(text) for text in trusted]
    began = datetime.now(UTC)
    log, of_cluster = _open_log(config_file) if recorded else (None, "")
    cluster = LiveCluster(kubeconfig, context)
    cluster.namespace()  # says what is wrong with a kubeconfig or a context
    api = ApiServer(cluster.files, context=context or None)
    api.get("/version", timeout_s=TIMEOUT_S, hint="Check the kubeconfig and --context.")
    local = None if config_file is None else _open_local(config_file, record, cluster)
    probe = _open_probe(config_file, api) if with_canary else None
    kinds = load_kinds(config_file)
    with Progress("workloads") as progress:
        spaces = {namespace} if namespace else set()
        found = Examination(
            Reader(api),
            local,
            subjects,
            spaces,
            excluded,
            began,
            progress,
            probe=probe,
            kinds=kinds,
            accepted=accepted,
        ).run()
    print_findings(found, output)
    if log is not None:
        index = record_scan(log, found, cluster=of_cluster, began=began, now=datetime.now(UTC))
        say(f"leaf {index} of the record has what was found")
    severities = {one.severity for one in found}
    if severities & {Severity.HOLE, Severity.RISK}:
        sys.exit(EXIT_VIOLATIONS)
    if Severity.UNKNOWN in severities:
        sys.exit(EXIT_USAGE)


def _open_log(config_file: Path | None) -> tuple[AuditLog, str]:
    """The gate's own log, and the name of its cluster. Opened first: a long examination must not end in vain.

    Raises:
        InputError: no configuration says which.
        PlacetError: it can't be opened or written.
    """
    from placet.assemble import open_own_record
    from placet.config import load_config
    from placet.errors import InputError

    if config_file is None:
        raise InputError("--put-on-record needs a configuration", hint="Name the gate's own with --config.")
    config = load_config(config_file)
    log = open_own_record(config)
    click.get_current_context().call_on_close(log.close)
    return log, config.cluster


def _open_probe(config_file: Path | None, api: ApiServer) -> Callable[[], Iterator[Finding]]:
    """What sends the canaries of a configuration.

    Raises:
        InputError: it names none.
        SigningKeyError: the log's key can't be used.
    """
    from placet.assemble import load_own_log_key
    from placet.canary import CanaryKey
    from placet.config import load_config
    from placet.doctor.canary import check_canaries
    from placet.errors import InputError

    config = None if config_file is None else load_config(config_file)
    if config is None or not config.canary.namespaces:
        raise InputError(
            "--canary needs a configuration with canary.namespaces", hint="Name the gate's own with --config."
        )
    key = CanaryKey.derive(load_own_log_key(config))
    return functools.partial(check_canaries, api, key, config.canary.namespaces)


def _open_local(config_file: Path, record: StoreLocation | None, cluster: LiveCluster) -> Local:
    """What the configuration adds; the gate itself is made only when it is needed."""
    from placet.assemble import build_gate, build_trust, load_policies
    from placet.audit.location import is_here
    from placet.cli import clock
    from placet.cluster import KubernetesCluster, NoAutoscalers
    from placet.config import load_config
    from placet.decide import Gate, NoHistory
    from placet.doctor.examination import Local
    from placet.doctor.policies import check_policies
    from placet.doctor.publishing import needed_rights
    from placet.errors import InputError
    from placet.stored_history import StoredHistory

    config = load_config(config_file)
    if record is not None and not is_here(record):
        raise InputError(f"there is no record {record}", hint="--record takes the SQLite file of a gate's record.")
    data, trust = load_policies(config, now=clock.now_utc())[0], build_trust(config)

    def open_judge() -> Gate:
        asked = KubernetesCluster(cluster.files, context=cluster.context or None)
        return build_gate(
            config,
            data=data,
            trust=trust,
            recorder=None,
            history=NoHistory() if record is None else StoredHistory(record, cluster=config.cluster),
            cluster_facts=NoAutoscalers() if config.autoscalers == "none" else asked,
            clock=lambda: datetime.now(UTC),
        )

    return Local(
        environments=frozenset(data.value["environments"]),
        default=str(data.value["namespaces"]["default_environment"]),
        looks=config.environments == "lookup",
        keys=trust,
        open_judge=open_judge,
        exempted=_load_exempted(config, data, trust),
        rights=needed_rights(config.publish, config.export),
        policies=tuple(check_policies(config.policy, clock.now_utc())),
    )


def _load_exempted(config: Config, data: PolicyData, trust: FileTrust) -> Exempted:
    """The exemptions of the folder; none where no keyring can be trusted, which is a finding of its own."""
    from placet.assemble import build_exemptions
    from placet.doctor.exempted import Exempted
    from placet.errors import PlacetError
    from placet.exemptions.survey import survey

    now = datetime.now(UTC)
    try:
        keyring, _ = trust.load(now)
    except PlacetError:
        return Exempted()
    held = build_exemptions(config).load(keyring)
    return Exempted(survey(held, keyring=keyring, cluster=config.cluster, data=data.value, now=now), held.faults)
