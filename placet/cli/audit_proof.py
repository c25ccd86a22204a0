"""``placet audit prove``, ``replay`` and ``verify --proof``: one decision, with everything that it rested on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from placet.approvals.keyring import load_keyring, load_roots
from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.cosignature import WitnessKey, require_witnesses
from placet.audit.location import StoreLocation
from placet.audit.note import VerifierKey
from placet.audit.proof import MAX_PROOF_BYTES, VerifiedInclusion, prove_consistency, prove_inclusion, verify_proof
from placet.audit.stores import Reader
from placet.audit.tile_folder import TileFolder
from placet.canonical import parse_json
from placet.cli.audit_tiles import open_tiles
from placet.cli.complete import complete_decision
from placet.cli.options import output_option
from placet.cli.output import EXIT_USAGE, EXIT_VIOLATIONS, print_result, safe, style
from placet.cli.persons_options import find_opener, persons_options
from placet.cli.record_source import (
    MAX_NOTE_BYTES,
    find_named,
    log_keys_option,
    open_record,
    read_keys,
    read_limited,
    record_options,
)
from placet.dossier.case import Case, open_case
from placet.dossier.file import MAX_FILE_BYTES, SCHEMAS, Dossier, render_file, verify_file
from placet.dossier.judge import Roots, judge_case, replay_case
from placet.dossier.leaves import Held, StoreLeaves
from placet.dossier.today import compare_today, read_newer_keyring
from placet.dossier.verdict import VERDICT_SCHEMA, Outcome, Verdict
from placet.errors import FormatError, InputError, TamperError

PROVED_SCHEMA: Final = "placet.dev/audit-proof-verification/v1"
REPLAY_SCHEMA: Final = "placet.dev/audit-replay/v1"
_EXITS: Final = {Outcome.PROVED: 0, Outcome.WRONG: EXIT_VIOLATIONS, Outcome.UNKNOWN: EXIT_USAGE}
_WORDS: Final = {
    Outcome.PROVED: ("VERIFIED", "green"),
    Outcome.WRONG: ("NOT VERIFIED", "red"),
    Outcome.UNKNOWN: ("PARTLY VERIFIED", "yellow"),
}
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Against:
    """What a proof is held against.

    Attributes:
        root_keys: PEM files or folders.
        root_threshold: how many of them must have signed; None for all.
        newer_keyring: file of a keyring of today; None for none.
        moment: now; only what is said of today hangs on it.
        witnesses: keys, and how many of them have to have cosigned the checkpoint; 0 for none.
    """

    root_keys: tuple[Path, ...]
    root_threshold: int | None
    newer_keyring: Path | None
    moment: datetime
    witnesses: tuple[Sequence[WitnessKey], int] = ((), 0)


def proof_options(function: _F) -> _F:
    """``--root-key``, ``--root-threshold`` and ``--newer-keyring``: what a proof is held against."""
    for option in (
        click.option(
            "--newer-keyring",
            type=click.Path(path_type=Path),
            help="A keyring of today: says beside the proof what has been revoked or has expired since.",
        ),
        click.option(
            "--root-threshold",
            type=click.IntRange(min=1),
            help="How many root keys must have signed the proof's keyring; all that are named by default.",
        ),
        click.option(
            "--root-key",
            "root_keys",
            multiple=True,
            type=click.Path(path_type=Path),
            help="PEM file of a root's public key, or a folder of them (repeatable): who may sign the proof's keyring.",
        ),
    ):
        function = option(function)
    return function


@click.command()
@record_options
@click.argument("record", required=False, shell_complete=complete_decision)
@click.option("--leaf-only", is_flag=True, help="Prove that the record is in the log, and nothing else.")
@click.option(
    "--consistency", type=click.Path(path_type=Path), help="Prove that the log extends this saved checkpoint instead."
)
@click.option(
    "--tiles",
    "folder",
    type=click.Path(path_type=Path),
    help="Prove from `placet audit tiles`' folder, with --leaf-only or --consistency: it has no attachments.",
)
@click.option(
    "--checkpoint",
    "cosigned",
    type=click.Path(path_type=Path),
    help="The published checkpoint to prove against, with the cosignatures that it carries.",
)
@log_keys_option(required=True)
@persons_options
@click.option("--sealed", is_flag=True, help="Leave names of persons sealed, though their keys are at hand.")
def prove(
    store: StoreLocation | None,
    config_file: Path,
    record: str | None,
    leaf_only: bool,
    consistency: Path | None,
    folder: Path | None,
    cosigned: Path | None,
    log_keys: tuple[str, ...],
    persons: Path | None,
    persons_key: Path | None,
    sealed: bool,
) -> None:
    r"""Write a file that proves a record and all that it rested on, to stdout.

    RECORD is a decision id, the uid of a request, or an index. The file has what was judged, the approvals and the
    evidence, the keyring, the policies and their data, each with its place in the log. It verifies alone: whoever has
    it, the log's verifier key and the public root keys needs nothing else, also years later.

    It names people, and holds the governed content without env values: hand it to those who may see that. Names that
    the record has sealed are opened in it, for ever, where their keys are at hand; without them who signed stays open.

    \b
    Examples:
      placet audit prove 0 --store record.sqlite --log-key keys/log.vkey > proof.json
      placet audit prove 0 --store record.sqlite --log-key keys/log.vkey --checkpoint cosigned.note > proof.json
      placet audit prove 0 --leaf-only --store record.sqlite --log-key keys/log.vkey > leaf.json
      placet audit prove --consistency saved.note --store record.sqlite --log-key keys/log.vkey > extends.json

    \b
    Environment:
      PLACET_AUDIT_STORE        the record, instead of --store
      PLACET_AUDIT_PERSONS      the folder of persons' keys, instead of --persons
      PLACET_AUDIT_PERSONS_KEY  the key of that folder, instead of --persons-key
      PLACET_CONFIG             the configuration file, instead of --config

    \b
    See also: placet audit verify, docs/auditors.md
    """
    if (record is None) == (consistency is None) or (leaf_only and record is None):
        raise click.UsageError("give RECORD or --consistency, one of them")
    if cosigned is not None and consistency is not None and folder is None:
        raise click.UsageError("--checkpoint goes with RECORD, or with --tiles")
    if folder is not None and record is not None and not leaf_only:
        raise click.UsageError("give --leaf-only with --tiles: what a decision rested on is not in tiles")
    keys = read_keys(log_keys)
    if folder is not None:
        click.echo(_prove_leaf(open_tiles(folder, cosigned), record, consistency, keys), nl=False)
        return
    published = None if cosigned is None else verify_checkpoint(read_limited(cosigned, MAX_NOTE_BYTES), keys)
    with open_record(store, config_file) as reader:
        if leaf_only or consistency is not None:
            raw = _prove_leaf(reader, record, consistency, keys, published)
        else:
            opener = None if sealed else find_opener(store, config_file, persons, persons_key)
            index = find_named(reader, record or "").index
            raw = render_file(reader, index, keys, opener=opener, published=published)
    click.echo(raw, nl=False)


def _prove_leaf(
    reader: Reader | TileFolder,
    record: str | None,
    consistency: Path | None,
    keys: Sequence[VerifierKey],
    published: VerifiedCheckpoint | None = None,
) -> bytes:
    if consistency is not None:
        return prove_consistency(reader, read_limited(consistency, MAX_NOTE_BYTES), keys)
    return prove_inclusion(reader, find_named(reader, record or ""), keys, published=published)


@click.command()
@record_options
@click.argument("record", shell_complete=complete_decision)
@output_option("json", "yaml")
def replay(store: StoreLocation | None, config_file: Path, record: str, output: str) -> None:
    r"""Let the policies of then judge a decision's input again, from the record alone.

    RECORD is a decision id, the uid of a request, or an index. Input, policies and policy data are those that the
    record kept; no configuration and nothing of this release has a part in it. Whose signatures counted is in the
    input; placet audit verify --proof verifies these too.

    \b
    Examples:
      placet audit replay 0 --store record.sqlite

    \b
    Exit codes:
      0  the same decision
      1  another one; what differs is shown
      2  it could not be told: something was not kept, or was erased

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet audit prove, docs/auditors.md
    """
    verdict = Verdict()
    with open_record(store, config_file) as reader:
        stored = find_named(reader, record)
        leaves = StoreLeaves(reader)
        case = open_case(leaves, leaves.at(stored.index) or Held(stored.index, {}))
    if case.input is None:
        raise InputError(f"there is nothing to replay: {_why_nothing(case)}", hint="placet audit show has the record.")
    answer = replay_case(case, verdict)
    value = {
        "schema": REPLAY_SCHEMA,
        "index": stored.index,
        "decision_id": case.body.get("decision_id"),
        "recorded": {"allowed": case.body.get("allowed"), "violations": _codes_of(case)},
        "replayed": None
        if answer is None
        else {"allowed": answer.allowed, "violations": [f"{rule}/{code}" for rule, code in answer.violations]},
        **verdict.render(),
    }
    if output != "text":
        print_result(value, output)
    else:
        for finding in verdict.findings:
            click.echo(safe(f"{finding.part}: {finding.sentence}"))
        same = {Outcome.PROVED: "THE SAME", Outcome.WRONG: "DIFFERENT", Outcome.UNKNOWN: "NOT REPLAYED"}
        click.echo(style(same[verdict.outcome], _WORDS[verdict.outcome][1], bold=True))
    _exit(verdict.outcome)


def verify_proof_file(
    path: Path,
    keys: Sequence[VerifierKey],
    *,
    against: Against,
    output: str,
) -> None:
    """Verify a file of ``placet audit prove``, of any version, and say what it proves. Ends the process with its code.

    Args:
        path: of the file.
        keys: trusted verifier keys of the log.
        against: what it is held against.
        output: form.

    Raises:
        FormatError, InputError, KeyringError: a file can't be used.
    """
    raw = read_limited(path, MAX_FILE_BYTES)
    roots = read_roots(against.root_keys, against.root_threshold)
    if against.newer_keyring is not None and not roots.keys:
        raise click.UsageError("--newer-keyring needs --root-key")
    newer = None if against.newer_keyring is None else read_newer_keyring(load_keyring(against.newer_keyring), roots)
    if _schema_of(raw) not in SCHEMAS:
        _verify_leaf(raw, keys, against.witnesses, output)
        return
    try:
        dossier = verify_file(raw, keys)
        require_witnesses(dossier.checkpoint.note.encode(), *against.witnesses)
    except TamperError as exc:
        verdict = Verdict()
        verdict.refute("log", exc.code, str(exc))
        _tell(verdict, None, output)
        return
    judged = judge_case(dossier.case, roots)
    verdict = judged.verdict
    if newer is not None:
        verdict.today += compare_today(judged.approvals, newer, against.moment)
    _tell(verdict, dossier, output)


def _tell(verdict: Verdict, dossier: Dossier | None, output: str) -> None:
    sentence = "a part of the file is not in the log that the key has signed"
    if dossier is not None:
        checkpoint, index = dossier.checkpoint, dossier.subject.index
        sentence = f"leaf {index} is in the log {checkpoint.origin} of {checkpoint.size} leaves"
        count = len(dossier.leaves.held)
        verdict.findings.insert(0, _log_finding(count, sentence))
    if output != "text":
        subject = {} if dossier is None else {"index": dossier.subject.index, "record": dossier.subject.body}
        print_result({"schema": VERDICT_SCHEMA, **verdict.render(), "sentence": sentence, **subject}, output)
    else:
        _print(verdict, dossier, sentence)
    _exit(verdict.outcome)


def _log_finding(count: int, sentence: str) -> Any:
    own = Verdict()
    own.prove("log", sentence if count == 1 else f"{sentence}, and so are the {count - 1} leaves that it rested on")
    return own.findings[0]


def _print(verdict: Verdict, dossier: Dossier | None, sentence: str) -> None:
    if dossier is not None and dossier.subject.type == "decision":
        body = dossier.subject.body
        word = "allowed" if body.get("allowed") else "refused"
        what = "/".join(str(body.get(name, "")) for name in ("namespace", "kind", "name"))
        click.echo(safe(f"{what} for {body.get('environment')}: {word} at {body.get('time')}"))
    for finding in verdict.findings:
        click.echo(safe(f"  {finding.outcome:8} {finding.part}: {finding.sentence}"))
    for limit in verdict.limits:
        click.echo(safe(f"  {'no proof':8} {limit}"))
    for one in verdict.today:
        click.echo(safe(f"  {'today':8} {one}"))
    word, colour = _WORDS[verdict.outcome]
    first = next(verdict.of(verdict.outcome), None)
    told = f" {first.code}: {first.part}: {first.sentence}" if first is not None and first.code else f" {sentence}"
    click.echo(style(word, colour, bold=True) + safe(told))


def _verify_leaf(
    raw: bytes, keys: Sequence[VerifierKey], witnesses: tuple[Sequence[WitnessKey], int], output: str
) -> None:
    """A file of version 1, or one of consistency."""
    if len(raw) > MAX_PROOF_BYTES:
        raise FormatError(f"{len(raw)} bytes, more than the {MAX_PROOF_BYTES} allowed", code="too_large")
    try:
        verified = verify_proof(raw, keys)
        newest = verified.checkpoint if isinstance(verified, VerifiedInclusion) else verified.new
        require_witnesses(newest.note.encode(), *witnesses)
    except TamperError as exc:
        if output != "text":
            print_result({"schema": PROVED_SCHEMA, "verified": False, "kind": exc.code, "sentence": str(exc)}, output)
        else:
            click.echo(f"{style('NOT VERIFIED', 'red', bold=True)} {safe(exc.code)}: {safe(exc)}")
        sys.exit(EXIT_VIOLATIONS)
    value: dict[str, Any] = {"schema": PROVED_SCHEMA, "verified": True}
    if isinstance(verified, VerifiedInclusion):
        checkpoint = verified.checkpoint
        sentence = f"leaf {verified.index} is in the log {checkpoint.origin} of {checkpoint.size} leaves"
        value |= {"sentence": sentence, "index": verified.index, "record": verified.leaf.body}
    else:
        sentence = f"the log {verified.new.origin} of {verified.new.size} leaves extends the one of {verified.old.size}"
        value |= {"sentence": sentence}
    if output != "text":
        print_result(value, output)
    else:
        click.echo(f"{style('VERIFIED', 'green', bold=True)} {safe(sentence)}")


def _schema_of(raw: bytes) -> object:
    document = parse_json(raw, max_bytes=MAX_FILE_BYTES)
    return document.get("schema") if isinstance(document, dict) else None


def read_roots(files: tuple[Path, ...], threshold: int | None) -> Roots:
    """The root keys that ``--root-key`` and ``--root-threshold`` gave.

    Raises:
        InputError: fewer keys than the threshold.
        KeyringError: a file is no key.
    """
    if not files:
        if threshold is not None:
            raise click.UsageError("--root-threshold needs --root-key")
        return Roots((), 0)
    keys = load_roots(files)
    distinct = len({key.fingerprint for key in keys})
    if threshold is not None and threshold > distinct:
        raise InputError(f"--root-threshold {threshold} of {distinct} root keys can't be")
    return Roots(keys, threshold or distinct)


def _why_nothing(case: Case) -> str:
    if case.subject.type != "decision":
        return "the record is not a decision"
    return case.missing.get("input", "the policies were not asked")


def _codes_of(case: Case) -> list[str]:
    listed = case.body.get("violations")
    return [f"{one.get('rule')}/{one.get('code')}" for one in (listed if isinstance(listed, list) else ())]


def _exit(outcome: Outcome) -> None:
    if _EXITS[outcome]:
        sys.exit(_EXITS[outcome])
