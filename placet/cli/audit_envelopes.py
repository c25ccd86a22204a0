"""``placet audit envelopes``: the approvals of a proof as files that other programs verify."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from placet.approvals.bundle import render_bundle
from placet.approvals.envelope import Envelope, parse_annotation, render_envelope
from placet.approvals.keyring import verify_keyring
from placet.approvals.keys import PublicKey
from placet.approvals.verify import VerifiedApproval
from placet.cli.audit_proof import read_roots
from placet.cli.options import output_option
from placet.cli.output import print_result, safe
from placet.cli.record_source import log_keys_option, read_keys, read_limited
from placet.dossier.case import Case
from placet.dossier.claims import decision_time
from placet.dossier.file import MAX_FILE_BYTES, verify_file
from placet.dossier.judge import Roots, judge_case
from placet.errors import InputError
from placet.kept import parse_signed

ENVELOPES_SCHEMA: Final = "placet.dev/audit-envelopes/v1"
_KEY_CHARS: Final = 12


@dataclass(frozen=True, slots=True)
class _Taken:
    """One person's approval, and what is written of it; the last three are names of files.

    Attributes:
        index: of the decision that it counted for.
        projection: digest that its statement names as a subject.
    """

    index: int
    role: str
    person: str
    approval_id: str
    projection: str
    envelope: str
    public_key: str
    bundle: str


@click.command("envelopes")
@click.argument("proof", type=click.Path(path_type=Path))
@log_keys_option(required=True)
@click.option(
    "--root-key",
    "root_keys",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="PEM file of a root's public key, or a folder of them (repeatable): who may sign the proof's keyring.",
)
@click.option(
    "--root-threshold",
    type=click.IntRange(min=1),
    help="How many root keys must have signed the proof's keyring; all that are named by default.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="New or empty folder to write into."
)
@output_option("json", "yaml")
def envelopes(
    proof: Path,
    log_keys: tuple[str, ...],
    root_keys: tuple[Path, ...],
    root_threshold: int | None,
    out: Path,
    output: str,
) -> None:
    r"""Write the approvals in a proof as files that cosign and other programs verify.

    PROOF is a file of placet audit prove. Of each approval that counted and holds: the DSSE envelope, the public key of
    whoever signed, as the keyring in the proof has it, and both as a Sigstore bundle. Nothing is written of a proof
    that is not in the log, or whose keyring the root keys have not signed.

    \b
    Examples:
      placet audit envelopes proof.json --log-key log.vkey --root-key roots --out approvals

    \b
    See also: placet audit verify --proof, docs/auditors.md
    """
    dossier = verify_file(read_limited(proof, MAX_FILE_BYTES), read_keys(log_keys))
    roots = read_roots(root_keys, root_threshold)
    files: dict[str, bytes] = {}
    taken = [
        one for case in (dossier.case, dossier.case.precedent) if case is not None for one in _take(case, roots, files)
    ]
    if not taken:
        raise InputError(
            f"{proof} has no approval that holds",
            hint="`placet audit verify --proof` says what the proof shows, and why an approval does not hold.",
        )
    _write(out, files)
    if output != "text":
        print_result({"schema": ENVELOPES_SCHEMA, "approvals": [asdict(one) for one in taken]}, output)
        return
    for one in taken:
        click.echo(
            safe(f"{one.envelope}: {one.role} by {one.person}, signed with {one.public_key}, for {one.projection}")
        )


def _take(case: Case, roots: Roots, files: dict[str, bytes]) -> Iterator[_Taken]:
    """The approvals of a decision that hold; their files are added."""
    approvals = judge_case(case, roots).approvals
    if not approvals or case.signed is None or case.keyring_envelope is None:
        return
    keyring = verify_keyring(
        case.keyring_envelope, roots=roots.keys, threshold=roots.threshold, now=decision_time(case.body)
    )
    signed = {role: parse_annotation(text) for role, text in parse_signed(case.signed)[0].items()}
    for one in approvals:
        found = keyring.find_key(one.key)
        if found is not None:
            yield _add(one, case, signed[one.role], found[1].public_key, files)


def _add(approval: VerifiedApproval, case: Case, envelope: Envelope, key: PublicKey, files: dict[str, bytes]) -> _Taken:
    name = f"{case.subject.index}-{approval.role}"
    mine = f"{name}-{approval.key[:_KEY_CHARS]}"
    taken = _Taken(
        index=case.subject.index,
        role=approval.role,
        person=approval.person,
        approval_id=approval.approval_id,
        projection=str(case.body.get("projection")),
        envelope=f"{name}.dsse.json",
        public_key=f"{mine}.pub",
        bundle=f"{mine}.bundle.json",
    )
    files[taken.envelope] = render_envelope(envelope)
    files[taken.public_key] = key.pem.encode("ascii")
    files[taken.bundle] = render_bundle(envelope, key)
    return taken


def _write(out: Path, files: dict[str, bytes]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise InputError(f"{out} is not empty", hint="Name a folder that is new: files in it would be mistaken.")
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as exc:
        raise InputError(f"{out} can't be written to: {exc.strerror}") from exc
