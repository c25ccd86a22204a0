"""``--persons`` and ``--persons-key``: with which keys names in a record are opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from placet.assemble import open_persons
from placet.audit.location import StoreLocation, open_reader
from placet.audit.person_keys import Opener, PersonKeys
from placet.audit.persons import find_raw_nonce
from placet.audit.record import DECISION
from placet.cli.record_source import find_store, is_of_config
from placet.config import load_config
from placet.errors import InputError

PERSONS_VARIABLE: Final = "PLACET_AUDIT_PERSONS"
PERSONS_KEY_VARIABLE: Final = "PLACET_AUDIT_PERSONS_KEY"
_F = TypeVar("_F", bound=Callable[..., Any])


def persons_options(function: _F) -> _F:
    """``--persons`` and ``--persons-key``; the function gets ``persons`` and ``persons_key``."""
    folder = click.option(
        "--persons",
        envvar=PERSONS_VARIABLE,
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="Folder of the keys that open names of persons; that of the configuration where the record is.",
    )
    key = click.option(
        "--persons-key",
        envvar=PERSONS_KEY_VARIABLE,
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="File with the key of that folder.",
    )
    return folder(key(function))


def find_persons(
    store: StoreLocation | None, config_file: Path, persons: Path | None, persons_key: Path | None
) -> PersonKeys | None:
    """The keys that the options name, or the configuration whose record it is; None to leave names sealed.

    Raises:
        AuditError, InputError: they can't be used.
        ConfigError: the configuration can't be used.
    """
    if (persons is None) != (persons_key is None):
        raise click.UsageError("give --persons and --persons-key, or neither")
    if persons is not None and persons_key is not None:
        return PersonKeys.open(persons, persons_key)
    if not is_of_config(store):
        return None
    find_store(store, config_file)  # which says it better where there is no configuration
    return open_persons(load_config(config_file), writable=False)


def find_opener(
    store: StoreLocation | None,
    config_file: Path,
    persons: Path | None,
    persons_key: Path | None,
    *,
    published: bool = False,
) -> Opener | None:
    """What opens names; raises as ``find_persons``.

    Args:
        store: that is read.
        config_file: the configuration, whose record it may be.
        persons: the folder of keys.
        persons_key: the key of that folder.
        published: whether published files are read instead, for which no configuration needs to be there.
    """
    if published and persons is None and persons_key is None and not config_file.is_file():
        return None
    keys = find_persons(store, config_file, persons, persons_key)
    return None if keys is None else keys.opener()


def find_sealing(
    store: StoreLocation | None, config_file: Path, persons: Path | None, persons_key: Path | None
) -> PersonKeys | None:
    """What a leaf's names are to be sealed with; None in a record that keeps names as they are.

    Raises:
        AuditError, ConfigError, InputError: as ``find_persons``; or names in the record are sealed, by its newest
            decision, and no keys are named: a plain name in it would stand there for good.
    """
    keys = find_persons(store, config_file, persons, persons_key)
    if keys is not None:
        return keys
    with open_reader(find_store(store, config_file)) as reader:
        newest = reader.search({"type": DECISION}, before=None, limit=1)
    if newest and find_raw_nonce(newest[0].raw_leaf) is not None:
        raise InputError(
            "names in this record are sealed, and there are no keys at hand to seal this one with",
            hint="Name them with --persons and --persons-key, or the gate's configuration with --config.",
        )
    return None
