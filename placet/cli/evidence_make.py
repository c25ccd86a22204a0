"""``placet evidence make``: sign a statement of any kind that the policy data knows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from placet.approvals.envelope import render_annotation, render_envelope
from placet.approvals.in_toto import IMAGE_PREFIX, MODEL_PREFIX, PROJECTION_SUBJECT, Subject
from placet.approvals.keys import parse_public_pem
from placet.approvals.signing import load_signer, sign_statement
from placet.canonical import parse_json
from placet.cli import clock
from placet.cli.options import filename_option, key_options, kinds_option, namespace_option
from placet.cli.passphrase import passphrase_option, secrets_from
from placet.cli.workloads import Source, load_gate_data, load_workloads, write_annotations
from placet.errors import FormatError, InputError
from placet.evidence.adapters import MAX_REPORT_BYTES
from placet.evidence.claims import render_times
from placet.evidence.kinds import Claim, EvidenceKind, EvidenceKinds
from placet.evidence.statement import render_evidence
from placet.model import DOMAIN, Workload

_LISTS: Final = frozenset({"strings", "digests"})
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,50}[A-Za-z0-9])?", re.ASCII)
_TRUTH: Final[Mapping[str, bool]] = {"true": True, "false": False}


@click.command()
@click.argument("kind")
@filename_option(required=True)
@namespace_option
@kinds_option
@key_options
@click.option(
    "--claim",
    "claims",
    multiple=True,
    help="Name=value, as the kind's claims have it; a list takes one value at a time (repeatable).",
)
@click.option(
    "--from",
    "report",
    type=click.Path(path_type=Path),
    help="The predicate as JSON, for kinds whose form others laid down.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    help="Which image it is about, by its name without tag; needed where there are several (repeatable).",
)
@click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True, help="How long it holds.")
@click.option("--as", "name", help="Name of the annotation after evidence.; the kind without it.")
@click.option("--write", is_flag=True, help="Write it into the manifest, as an annotation.")
@click.option("--out", type=click.Path(path_type=Path), help="A file for the envelope; stdout by default.")
@passphrase_option
def make(
    kind: str,
    filenames: tuple[str, ...],
    namespace: str | None,
    config_file: Path | None,
    key_uri: str,
    public_key: Path | None,
    *,
    claims: tuple[str, ...],
    report: Path | None,
    images: tuple[str, ...],
    days: int,
    name: str | None,
    write: bool,
    out: Path | None,
    passphrase_file: Path | None,
) -> None:
    r"""Sign a statement about a workload, of any KIND of evidence that the policy data knows.

    \b
    Examples:
      placet evidence make performance -f deploy.yaml --claim latency_p95_ms=850 --claim accuracy_permille=910 \
        --key ci.key --write
      placet evidence make lineage -f deploy.yaml --claim datasets=sha256:... --claim licences=CC-BY-4.0 \
        --claim complete=true --key ci.key --write
      placet evidence make vulnerability_scan -f deploy.yaml --from scan.json --key scanner.key --write

    Kinds of your own are those of the policy data that --config names. Says nothing about whether it is true: whoever
    holds the key answers for that.

    \b
    Environment:
      PLACET_KEY_PASSPHRASE  opens the key
      PLACET_CONFIG          the configuration file

    \b
    See also: placet evidence verify, placet keyring grant, docs/policy-authors.md
    """
    if name is not None and _NAME.fullmatch(name) is None:
        raise InputError(f"{name[:64]!a} can't be the name of an annotation", hint="Letters, digits, - and a dot.")
    data = load_gate_data(config_file)
    known = _find_kind(kind, data.evidence)
    source = Source.of(filenames=filenames, targets=(), namespace=namespace, kubeconfig=None, context="")
    found = load_workloads(source, data.kinds)
    if len(found) != 1:
        raise InputError(f"{len(found)} workloads; evidence is about one", hint="Name the file of one workload.")
    subjects = _subjects(known, found[0].workload, images)
    payload = _payload(known, subjects, _predicate(known, claims, report, days), data.evidence)
    named = None if public_key is None else parse_public_pem(_read(public_key))
    signer = load_signer(key_uri, public_key=named, ask=secrets_from(passphrase_file))
    envelope = sign_statement(signer, payload)
    if write:
        key = f"{DOMAIN}/evidence.{name or _annotation_name(kind, images)}"
        write_annotations(found[0].manifest, {key: render_annotation(envelope)})
        return
    content = render_envelope(envelope)
    if out is None:
        click.echo(content.decode("utf-8"))
    else:
        out.write_bytes(content + b"\n")


def _annotation_name(kind: str, images: tuple[str, ...]) -> str:
    """One for each image, so that the scan of one does not take another's place."""
    name = kind.replace("_", "-")
    return f"{name}-{min(images).rpartition('/')[2]}" if images else name


def _find_kind(name: str, kinds: EvidenceKinds) -> EvidenceKind:
    found = kinds.by_name.get(name)
    if found is None:
        close = difflib.get_close_matches(name, kinds.by_name, n=1)
        meant = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(kinds.by_name))}."
        raise InputError(f"the policy data knows no kind of evidence {name[:64]!a}", hint=meant)
    return found


def _predicate(kind: EvidenceKind, claims: tuple[str, ...], report: Path | None, days: int) -> Any:
    if kind.reader:
        if report is None or claims:
            raise InputError(
                f"{kind.name} is read from a predicate of the type {kind.predicate_type}",
                hint="Name a file with it: --from FILE, without --claim.",
            )
        try:
            return parse_json(_read(report), max_bytes=MAX_REPORT_BYTES, allow_floats=True)
        except FormatError as exc:
            raise InputError(f"{report} can't be used: {exc}") from exc
    if report is not None:
        raise InputError(f"{kind.name} is made of claims", hint=_listed(kind))
    return {**_read_claims(kind, claims), **render_times(clock.now_utc(), timedelta(days=days))}


def _read_claims(kind: EvidenceKind, given: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {name: [] for name, claim in kind.claims.items() if claim.type in _LISTS and claim.empty}
    for text in given:
        name, equals, value = text.partition("=")
        claim = kind.claims.get(name)
        if claim is None or not equals:
            raise InputError(f"{text[:64]!a} is no claim of {kind.name}", hint=_listed(kind))
        if claim.type in _LISTS:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise InputError(f"{name} is claimed twice")
        else:
            found[name] = _read_claim(name, claim, value)
    missing = [name for name, claim in kind.claims.items() if name not in found and not claim.optional]
    if missing:
        raise InputError(f"{kind.name} says nothing without {', '.join(missing)}", hint=_listed(kind))
    return found


def _read_claim(name: str, claim: Claim, text: str) -> Any:
    if claim.type == "integer":
        try:
            return int(text)
        except ValueError as exc:
            raise InputError(f"{name} is a whole number", hint="Ratios are in permille or ppm: 910, not 0.91.") from exc
    if claim.type == "boolean":
        if text not in _TRUTH:
            raise InputError(f"{name} is true or false")
        return _TRUTH[text]
    return text


def _listed(kind: EvidenceKind) -> str:
    each = (f"{name} ({claim.type}{', optional' if claim.optional else ''})" for name, claim in kind.claims.items())
    return f"Claims: {', '.join(each)}."


def _subjects(kind: EvidenceKind, workload: Workload, images: tuple[str, ...]) -> tuple[Subject, ...]:
    if images and kind.about != "image":
        raise InputError(f"{kind.name} is about the {kind.about}", hint="Drop --image.")
    if kind.about == "projection":
        return (Subject(PROJECTION_SUBJECT, workload.projection.digest),)
    if kind.about == "model":
        if workload.model.digest is None:
            raise InputError(
                "the workload does not name its model's artifact", hint="Add the annotation placet.dev/model-digest."
            )
        return (Subject(MODEL_PREFIX + workload.model.name, workload.model.digest),)
    pinned = {image.name: image.digest for image in workload.images if image.digest is not None}
    names = images or tuple(sorted(pinned))
    if (not images and len(names) != 1) or not set(names) <= set(pinned):
        raise InputError(
            "which image it is about is not clear",
            hint=f"Name one with --image: {', '.join(sorted(pinned)) or 'none is pinned by a digest'}.",
        )
    return tuple(Subject(IMAGE_PREFIX + one, pinned[one]) for one in names)


def _payload(kind: EvidenceKind, subjects: tuple[Subject, ...], predicate: Any, kinds: EvidenceKinds) -> bytes:
    try:
        return render_evidence(subjects, kind.predicate_type, predicate, kinds=kinds)
    except FormatError as exc:
        raise InputError(f"this can't be attested: {exc}") from exc


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_REPORT_BYTES + 1)
    except OSError as exc:
        raise InputError(f"can't read {file}: {exc.strerror or exc}") from exc
