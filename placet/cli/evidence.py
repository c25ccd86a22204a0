"""``placet evidence``: attest the facts that the risk is assessed from, and check such attestations."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from placet.approvals.envelope import render_annotation, render_envelope
from placet.approvals.in_toto import IMAGE_PREFIX, MODEL_PREFIX, PROJECTION_SUBJECT, Subject
from placet.approvals.keys import parse_public_pem
from placet.approvals.signing import load_signer, sign_statement
from placet.canonical import Digest
from placet.cli import clock
from placet.cli.evidence_make import make
from placet.cli.evidence_view import print_evidence
from placet.cli.group import Group
from placet.cli.options import (
    environment_option,
    filename_option,
    key_options,
    kinds_option,
    namespace_option,
    output_option,
    trust_options,
    workload_options,
)
from placet.cli.output import EXIT_VIOLATIONS
from placet.cli.passphrase import passphrase_option, secrets_from
from placet.cli.trust_options import load_trust
from placet.cli.workloads import (
    Found,
    Source,
    existing_config,
    load_gate_data,
    load_workloads,
    write_annotations,
)
from placet.errors import FormatError, InputError
from placet.evidence.adapters import MAX_REPORT_BYTES, parse_bom, parse_coverage_json
from placet.evidence.kinds import EvidenceKinds
from placet.evidence.predicates import CLASSIFICATIONS, STRATEGIES
from placet.evidence.statement import (
    PREDICATE_TYPES,
    coverage_predicate,
    model_predicate,
    plan_predicate,
    render_evidence,
    rollback_predicate,
)
from placet.evidence.verify import EvidenceContext, EvidenceFindings, check_evidence
from placet.model import DOMAIN, Workload


@click.group(cls=Group)
def evidence() -> None:
    r"""Attest what rules and the risk score ask for, and check such attestations.

    A fact that nobody attests is unknown, and what is unknown scores worst. Evidence is an in-toto statement, signed
    by a key that the keyring lets attest that kind, and carried by the workload as an annotation.

    \b
    Examples:
      placet evidence attest -f deploy.yaml --rollback-minutes 3 --key ci.key --write
      placet evidence make performance -f deploy.yaml --claim latency_p95_ms=850 --claim accuracy_permille=910 \
        --key ci.key --write
      placet evidence verify -f deploy.yaml -e production

    \b
    See also: placet score, docs/approvers.md
    """


@dataclass(frozen=True, slots=True)
class _Given:
    """What the command line says that is to be attested."""

    fact: str | None
    report: Path | None
    parameters: int | None
    classification: str | None
    minutes: int | None
    strategy: str | None
    images: tuple[str, ...]
    days: int
    kinds: EvidenceKinds


@evidence.command()
@filename_option(required=True)
@namespace_option
@kinds_option
@key_options
@click.option("--fact", type=click.Choice(["coverage", "model"]), help="What --from is a report of.")
@click.option(
    "--from", "report", type=click.Path(path_type=Path), help="JSON report of coverage.py, or a CycloneDX ML-BOM."
)
@click.option(
    "--image",
    "images",
    multiple=True,
    help="Which image the coverage is of, by its name without tag; needed where there are several (repeatable).",
)
@click.option("--parameters", type=click.IntRange(min=1), help="All parameters of the model.")
@click.option("--data-classification", "classification", type=click.Choice(CLASSIFICATIONS), help="Of its data.")
@click.option("--rollback-minutes", "minutes", type=click.IntRange(min=1), help="How long the drill just passed took.")
@click.option("--strategy", type=click.Choice(STRATEGIES), help="How this deployment is rolled out.")
@click.option(
    "--days", type=click.IntRange(1, 365), default=30, show_default=True, help="Life of coverage and strategy."
)
@click.option("--write", is_flag=True, help="Write it into the manifest, as annotations.")
@click.option("--out", type=click.Path(path_type=Path), help="A file for the envelope; stdout by default.")
@passphrase_option
def attest(
    filenames: tuple[str, ...],
    namespace: str | None,
    config_file: Path | None,
    key_uri: str,
    public_key: Path | None,
    *,
    write: bool,
    out: Path | None,
    passphrase_file: Path | None,
    **given: Any,
) -> None:
    r"""Sign facts about a workload: coverage, model, rollback drill, strategy.

    \b
    Examples:
      placet evidence attest -f deploy.yaml --fact coverage --from coverage.json --key ci.key --write
      placet evidence attest -f deploy.yaml --fact model --from mlbom.json --key ci.key --write
      placet evidence attest -f deploy.yaml --parameters 70600000000 --data-classification confidential \
        --rollback-minutes 3 --strategy blue_green --key ci.key --write

    Says nothing about whether the facts are true: whoever holds the key answers for that. Without --write the signed
    envelope goes to --out or to stdout, and the manifest stays as it is.

    \b
    Environment:
      PLACET_KEY_PASSPHRASE  opens the key
      PLACET_CONFIG          the configuration file

    \b
    See also: placet evidence verify, placet keyring grant
    """
    source = Source.of(filenames=filenames, targets=(), namespace=namespace, kubeconfig=None, context="")
    data = load_gate_data(config_file)
    found = load_workloads(source, data.kinds)
    if len(found) != 1:
        raise InputError(f"{len(found)} workloads; evidence is about one", hint="Name the file of one workload.")
    statements = _statements(_Given(**given, kinds=data.evidence), found[0].workload)
    if len(statements) > 1 and not write:
        raise InputError(f"{len(statements)} statements, one envelope", hint="Add --write, or attest them one by one.")
    named = None if public_key is None else parse_public_pem(_read(public_key))
    signer = load_signer(key_uri, public_key=named, ask=secrets_from(passphrase_file))
    envelopes = {name: sign_statement(signer, payload) for name, payload in statements.items()}
    if write:
        write_annotations(
            found[0].manifest,
            {f"{DOMAIN}/evidence.{name}": render_annotation(made) for name, made in envelopes.items()},
        )
        return
    content = render_envelope(next(iter(envelopes.values())))
    if out is None:
        click.echo(content.decode("utf-8"))
    else:
        out.write_bytes(content + b"\n")


def _statements(given: _Given, workload: Workload) -> dict[str, bytes]:
    """Name of the annotation -> payload."""
    now, lifetime = clock.now_utc(), timedelta(days=given.days)
    predicates: dict[str, Any] = {}
    if given.report is not None:
        if given.fact is None:
            raise InputError("what --from is a report of is not said", hint="Add --fact coverage or --fact model.")
        predicates[given.fact] = _from_report(given)
    elif given.fact is not None:
        raise InputError(f"--fact {given.fact} needs a report", hint="Name it with --from FILE.")
    if given.parameters is not None or given.classification is not None:
        if "model" in predicates:
            raise InputError("an ML-BOM says parameters and classification itself", hint="Drop the one or the other.")
        predicates["model"] = model_predicate(
            workload.model, parameters=given.parameters, classification=given.classification, made_at=now
        )
    if given.minutes is not None:
        predicates["rollback"] = rollback_predicate(given.minutes, finished_at=now)
    if given.strategy is not None:
        predicates["strategy"] = plan_predicate(given.strategy, issued_at=now, lifetime=lifetime)
    if not predicates:
        raise InputError(
            "nothing to attest",
            hint="--fact with --from, --parameters, --data-classification, --rollback-minutes or --strategy.",
        )
    return {
        _annotation_name(name, given, workload): _render(name, predicate, given, workload)
        for name, predicate in predicates.items()
    }


def _from_report(given: _Given) -> Any:
    if given.report is None:
        raise InputError("no report is named", hint="Name it with --from FILE.")
    raw = _read(given.report)
    try:
        if given.fact == "model":
            return parse_bom(raw)
        report = parse_coverage_json(raw)
    except FormatError as exc:
        raise InputError(f"{given.report} can't be used: {exc}") from exc
    return coverage_predicate(
        lines=report.lines,
        branches=report.branches,
        issued_at=report.measured_at or clock.now_utc(),
        lifetime=timedelta(days=given.days),
    )


def _render(name: str, predicate: Any, given: _Given, workload: Workload) -> bytes:
    subjects = {"coverage": _image_subjects, "model": _model_subject}.get(name, _projection_subject)(given, workload)
    try:
        return render_evidence(subjects, PREDICATE_TYPES[name], predicate, kinds=given.kinds)
    except FormatError as exc:
        raise InputError(f"this can't be attested: {exc}") from exc


def _projection_subject(_: _Given, workload: Workload) -> tuple[Subject, ...]:
    return (Subject(PROJECTION_SUBJECT, workload.projection.digest),)


def _model_subject(_: _Given, workload: Workload) -> tuple[Subject, ...]:
    if workload.model.digest is None:
        raise InputError(
            "the workload does not name its model's artifact", hint="Add the annotation placet.dev/model-digest."
        )
    return (Subject(MODEL_PREFIX + workload.model.name, workload.model.digest),)


def _pinned(workload: Workload) -> dict[str, Digest]:
    return {image.name: image.digest for image in workload.images if image.digest is not None}


def _image_subjects(given: _Given, workload: Workload) -> tuple[Subject, ...]:
    pinned = _pinned(workload)
    names = given.images or tuple(sorted(pinned))
    if (not given.images and len(names) != 1) or not set(names) <= set(pinned):
        raise InputError(
            "which image the coverage is of is not clear",
            hint=f"Name one with --image: {', '.join(sorted(pinned)) or 'none is pinned by a digest'}.",
        )
    return tuple(Subject(IMAGE_PREFIX + name, pinned[name]) for name in names)


def _annotation_name(name: str, given: _Given, workload: Workload) -> str:
    """Coverage of some of several images has a name of its own, so that one statement does not take another's place."""
    if name != "coverage" or not given.images or set(given.images) >= set(_pinned(workload)):
        return name
    return f"{name}-{min(given.images).rpartition('/')[2]}"


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_REPORT_BYTES + 1)
    except OSError as exc:
        raise InputError(f"can't read {file}: {exc.strerror or exc}") from exc


@evidence.command()
@workload_options
@environment_option(required=False)
@trust_options
@output_option("table", "json", "yaml")
def verify(
    *,
    filenames: tuple[str, ...],
    targets: tuple[str, ...],
    namespace: str | None,
    kubeconfig: Path | None,
    context: str,
    environment: str | None,
    output: str,
    **trusted: Any,
) -> None:
    r"""Show which facts are attested, and why other evidence does not count.

    Needs no policy and, for files, no cluster. What the facts do to the risk is told by `placet score`.

    \b
    Examples:
      placet evidence verify -f deploy.yaml -e production
      placet evidence verify -f deploy.yaml -e production --keyring keyring.dsse.json --root roots/ --threshold 2
      placet evidence verify deployment/llama -n ml-serving -o table

    \b
    Exit codes:
      0  every workload has evidence, and each piece of it counts
      1  a piece of evidence does not count, or a workload has none
      2  it could not be told

    \b
    Environment:
      PLACET_CONFIG  the configuration file
      KUBECONFIG     clusters to ask, as for kubectl

    \b
    See also: placet evidence attest, placet score
    """
    source = Source.of(
        filenames=filenames,
        targets=targets,
        namespace=namespace,
        kubeconfig=kubeconfig,
        context=context,
        config_file=existing_config(trusted),
    )
    now = clock.now_utc()
    trust = load_trust(now=now, **trusted)
    where = source.environment(environment)
    results: list[tuple[Found, EvidenceFindings]] = []
    data = load_gate_data(existing_config(trusted))
    for found in load_workloads(source, data.kinds):
        workload = found.workload
        one = EvidenceContext(
            environment=where,
            cluster=trust.cluster,
            namespace=workload.namespace,
            projection=workload.projection.digest,
            images=workload.images,
            model=workload.model,
            now=now,
            kinds=data.evidence,
        )
        results.append((found, check_evidence(workload.evidence, keyring=trust.keyring, context=one)))
    print_evidence(results, output)
    if any(findings.rejected or not findings.statements for _, findings in results):
        sys.exit(EXIT_VIOLATIONS)


evidence.add_command(make)
