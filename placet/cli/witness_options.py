"""``--witness-key`` and ``--witnesses``: who besides the log has to have signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from placet.audit.cosignature import WitnessKey, parse_witness_vkey
from placet.cli.record_source import MAX_NOTE_BYTES, read_limited
from placet.errors import FormatError, InputError

_F = TypeVar("_F", bound=Callable[..., Any])


def witness_options(function: _F) -> _F:
    """Both options, as ``witness_keys`` and ``witnesses``."""
    keys = click.option(
        "--witness-key",
        "witness_keys",
        multiple=True,
        metavar="VKEY",
        help="Verifier key of a witness, name+hash+base64, or a file with it; repeatable.",
    )
    count = click.option(
        "--witnesses",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many of them have to have cosigned; all by default.",
    )
    return keys(count(function))


def read_witnesses(texts: tuple[str, ...], threshold: int | None) -> tuple[list[WitnessKey], int]:
    """The keys, and how many of them are needed; no keys and 0 where none is given.

    Raises:
        InputError: one is no witness's key, or more are needed than there are.
    """
    keys = []
    for text in texts:
        try:
            keys.append(
                parse_witness_vkey(
                    text if "+" in text else read_limited(Path(text), MAX_NOTE_BYTES).decode("utf-8", "replace")
                )
            )
        except FormatError as exc:
            hint = "`placet audit witness-key FILE --name NAME` prints the verifier key of a witness."
            raise InputError(f"--witness-key: {exc}", hint=hint) from exc
    different = len({key.public for key in keys})
    needed = different if threshold is None else threshold
    if needed > different:
        raise InputError(
            f"--witnesses {needed}, and {different} different witnesses are given",
            hint="Give a --witness-key for each.",
        )
    return keys, needed
