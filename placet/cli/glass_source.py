"""What both commands of ``placet break-glass`` begin and end with: one workload, a key, an annotation."""

from __future__ import annotations

import json
from pathlib import Path

import click

from placet.approvals.envelope import Envelope, render_annotation
from placet.approvals.key_files import load_private_pem
from placet.approvals.keys import parse_public_pem
from placet.approvals.signing import Signer, load_signer
from placet.audit.location import StoreLocation
from placet.cli.passphrase import secrets_from
from placet.cli.session import Session, open_session
from placet.cli.workloads import Source, write_annotations
from placet.decision import Decision
from placet.errors import InputError
from placet.judge import Situation
from placet.manifests import Manifest
from placet.messages import render_message
from placet.model import DOMAIN, Workload


def open_one(
    filenames: tuple[str, ...],
    namespace: str | None,
    environment: str,
    config_file: Path,
    record: StoreLocation | None,
    requester: str,
) -> tuple[Session, Manifest]:
    """A gate for the command line, and the one workload of the files.

    Raises:
        PlacetError: a file can't be used, or holds another number of workloads.
    """
    source = Source.of(filenames=filenames, targets=(), namespace=namespace, kubeconfig=None, context="")
    session = open_session(source, environment=environment, config_file=config_file, record=record, requester=requester)
    if len(session.manifests) != 1:
        raise InputError(
            f"{len(session.manifests)} workloads, and break-glass is for one", hint="Name a file with one workload."
        )
    return session, session.manifests[0]


def judged(manifest: Manifest, decision: Decision) -> tuple[Workload, Situation]:
    """What was judged, and in which situation.

    Raises:
        InputError: it can't be read, or is not governed.
    """
    if decision.workload is None or decision.situation is None:
        why = render_message(decision) or "it is not governed there and needs no approval"
        raise InputError(f"{manifest.file}:{manifest.line}: {why}")
    return decision.workload, decision.situation


def open_signer(key_uri: str, public_key: Path | None, passphrase_file: Path | None) -> Signer:
    """The key that the options name.

    Raises:
        SigningKeyError: it can't be used.
    """
    known = None if public_key is None else parse_public_pem(load_private_pem(public_key))
    return load_signer(key_uri, public_key=known, ask=secrets_from(passphrase_file))


def write_glass(manifest: Manifest, name: str, envelope: Envelope, form: str) -> None:
    """Write the annotation into the manifest, or a patch with it to stdout.

    Raises:
        InputError: the manifest can't be written.
    """
    annotations = {f"{DOMAIN}/{name}": render_annotation(envelope)}
    if form == "manifest":
        write_annotations(manifest, annotations)
    else:
        click.echo(json.dumps({"metadata": {"annotations": annotations}}, indent=2))
