"""``placet audit tiles``, and verifying and proving from such a folder."""

from __future__ import annotations

from pathlib import Path

import click

from placet.audit.cosignature import WitnessKey
from placet.audit.depth import Depth
from placet.audit.findings import Verification
from placet.audit.location import StoreLocation
from placet.audit.note import VerifierKey
from placet.audit.tile_folder import CHECKPOINT, COSIGNED, TileFolder, read_note
from placet.audit.tile_writer import write_tiles
from placet.audit.tiles_verify import verify_tiles
from placet.audit.witness_check import Candidate, judge_witnesses
from placet.cli.audit_crosscheck import CrossOptions, open_witness
from placet.cli.options import output_option
from placet.cli.output import print_result
from placet.cli.progress import Progress
from placet.cli.record_source import log_keys_option, open_record, read_keys, record_options

PUBLISHED_SCHEMA = "placet.dev/audit-tiles/v1"


@click.command("tiles")
@record_options
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to publish into.")
@log_keys_option(required=True)
@output_option("json", "yaml")
def tiles(store: StoreLocation | None, config_file: Path, out: Path, log_keys: tuple[str, ...], output: str) -> None:
    r"""Publish the record as C2SP tlog-tiles: static files that any web server can serve.

    Goes on from what the folder has to the newest signed checkpoint. Run it as often as you like; it may be stopped at
    any moment. The entries are the records themselves: give them to those who may read the record.

    \b
    Examples:
      placet audit tiles --store record.sqlite --log-key keys/log.vkey --out tiles

    \b
    Exit codes:
      0  published
      2  not: the folder has another history, the record is not what was signed, or a file can't be written

    \b
    Environment:
      PLACET_AUDIT_STORE  the record, instead of --store
      PLACET_CONFIG       the configuration file, instead of --config

    \b
    See also: placet audit verify --tiles, placet audit witness, docs/operations.md
    """
    with open_record(store, config_file) as reader, Progress("leaves") as progress:
        done = write_tiles(out, reader, read_keys(log_keys), progress=progress)
    if output != "text":
        value = {
            "schema": PUBLISHED_SCHEMA,
            "origin": done.origin,
            "size": done.size,
            "before": done.before,
            "files": done.files,
            "checkpoints": done.checkpoints,
        }
        print_result(value, output)
        return
    if done.size == done.before and not done.checkpoints:
        click.echo(f"{done.size} leaves of {done.origin} are published already")
    else:
        click.echo(
            f"published {done.size} leaves of {done.origin}, {done.size - done.before} of them new, "
            f"and {done.checkpoints} checkpoints"
        )


def verify_published(
    folder: Path,
    keys: list[VerifierKey],
    saved: list[tuple[str, bytes]],
    witnesses: tuple[list[WitnessKey], int],
    asked: CrossOptions,
    depth: Depth,
) -> Verification:
    """Verify a folder of tiles as the options of ``placet audit verify`` say; raises as ``verify_tiles`` does."""
    with open_witness(asked, keys) as witness, Progress("leaves") as progress:
        result = verify_tiles(
            folder, keys, saved=saved, progress=progress, witness=witness, governed=asked.governed, depth=depth
        )
    if not witnesses[1]:
        return result
    own = read_note(folder / CHECKPOINT) or b""
    candidates = [Candidate(CHECKPOINT, own, result.size == result.signed_size)]
    cosigned = folder / COSIGNED
    for path in sorted(cosigned.iterdir()) if cosigned.is_dir() else ():
        name = f"{COSIGNED}/{path.name}"
        candidates.append(Candidate(name, read_note(path) or b"", name in result.saved))
    return judge_witnesses(result, [*candidates, *_saved_candidates(result, saved)], *witnesses)


def judge_saved(
    result: Verification, saved: list[tuple[str, bytes]], witnesses: tuple[list[WitnessKey], int]
) -> Verification:
    """The verification of a store with the witnesses that are asked for: they cosigned the saved checkpoints."""
    if not witnesses[1]:
        return result
    return judge_witnesses(result, _saved_candidates(result, saved), *witnesses)


def _saved_candidates(result: Verification, saved: list[tuple[str, bytes]]) -> list[Candidate]:
    return [Candidate(name, raw, name in result.saved) for name, raw in saved]


def open_tiles(folder: Path, cosigned: Path | None) -> TileFolder:
    """A folder of tiles, at the checkpoint that it has or at a saved one of it."""
    return TileFolder(folder, raw_note=None if cosigned is None else read_note(cosigned))
