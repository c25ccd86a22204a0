"""What ``placet audit`` reads: the record that the options name, the log's keys, and small files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from placet.audit.location import StoreLocation, is_here, open_reader
from placet.audit.note import VerifierKey, parse_vkey
from placet.audit.proof import find_leaf
from placet.audit.stores import Auditable, ProofSource, require_bytes
from placet.cli.options import StoreParam, config_option_for
from placet.config import load_config
from placet.errors import FormatError, InputError

MAX_NOTE_BYTES: Final = 64 * 1024
STORE_VARIABLE: Final = "PLACET_AUDIT_STORE"
_NAMED: Final = f"Name the record's SQLite file with --store or {STORE_VARIABLE}, or a configuration with --config."
_F = TypeVar("_F", bound=Callable[..., Any])


def record_options(function: _F) -> _F:
    """``--store`` and ``--config``: which record."""
    return _which_record(function, "It is not changed.")


def changing_record_options(function: _F) -> _F:
    """The same for a command that adds to the record, or removes from it."""
    return _which_record(function, "It must be the live one.")


def _which_record(function: _F, what: str) -> _F:
    store = click.option(
        "--store",
        envvar=STORE_VARIABLE,
        show_envvar=True,
        type=StoreParam(),
        help="SQLite file of the record, live or a copy, or the postgresql:// address of its database; the "
        f"configuration's by default. {what}",
    )
    return store(
        config_option_for("The gate's configuration, which names the record where --store does not.")(function)
    )


def log_keys_option(*, required: bool) -> Callable[[_F], _F]:
    """``--log-key``, repeatable."""
    return click.option(
        "--log-key",
        "log_keys",
        required=required,
        multiple=True,
        metavar="VKEY",
        help="Verifier key of the log, name+hash+base64, or a file with it. Give former keys after the present one.",
    )


def find_store(store: StoreLocation | None, config_file: Path) -> StoreLocation:
    """The record that the options of the running command name.

    What was typed counts before what the environment says, so ``--config`` also before ``PLACET_AUDIT_STORE``.

    Raises:
        InputError: none is named, or the configuration's is not there.
        ConfigError: the configuration can't be used.
    """
    typed_config = click.get_current_context().get_parameter_source("config_file") is ParameterSource.COMMANDLINE
    if store is not None and not is_of_config(store):
        return store
    if not typed_config and not config_file.exists():
        raise InputError(f"no record is named, and there is no {config_file}", hint=_NAMED)
    found = load_config(config_file).store
    if not is_here(found):
        raise InputError(
            f"{found}, the record of {config_file}, is not a file",
            hint=f"It is made when the gate first starts, and may be on another machine. {_NAMED}",
        )
    return found


def is_of_config(store: StoreLocation | None) -> bool:
    """Whether the record of the running command is that of the configuration, and not one that was named itself."""
    source = click.get_current_context().get_parameter_source
    typed_config = source("config_file") is ParameterSource.COMMANDLINE
    return store is None or (typed_config and source("store") is ParameterSource.ENVIRONMENT)


def open_record(store: StoreLocation | None, config_file: Path) -> AbstractContextManager[Auditable]:
    """One view of the record that the options name; raises as ``find_store`` and ``open_reader`` do."""
    return open_reader(find_store(store, config_file))


def find_named(reader: ProofSource, wanted: str) -> Any:
    """The leaf of a decision id, the uid of a request, or an index.

    Raises:
        InputError: there is none.
        AuditError: ``pruned``: its hash is there, and its contents are not.
    """
    stored = find_leaf(reader, wanted)
    if stored is None:
        raise InputError(
            f"no record {wanted!r}",
            hint="Name a decision id, the uid of a request, or an index; `placet audit list` has them.",
        )
    require_bytes(stored)
    return stored


def read_keys(texts: tuple[str, ...]) -> list[VerifierKey]:
    """The verifier keys that ``--log-key`` gave.

    Raises:
        InputError: one is no key, or a file that can't be read.
    """
    keys = []
    for text in texts:
        try:
            keys.append(
                parse_vkey(text if "+" in text else read_limited(Path(text), MAX_NOTE_BYTES).decode("utf-8", "replace"))
            )
        except FormatError as exc:
            raise InputError(
                f"--log-key: {exc}", hint="`placet audit key FILE --name NAME` prints the verifier key of a log's key."
            ) from exc
    return keys


def read_limited(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file that must be small.

    Raises:
        InputError: it can't be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as exc:
        raise InputError(f"{path} can't be read: {exc.strerror}") from exc
    if len(raw) > max_bytes:
        raise InputError(f"{path} has more than {max_bytes} bytes")
    return raw


def aware(moment: datetime | None) -> datetime | None:
    """A moment that somebody typed; UTC unless it says otherwise."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
