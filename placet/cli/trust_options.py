"""What the options say is to be trusted: a configuration file's keyring, or one that is named with its roots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from placet.approvals.keyring import VerifiedKeyring, load_keyring, load_roots, verify_keyring
from placet.approvals.revocations import KeptRevocations, Revocation, Revocations, load_revocations
from placet.audit.location import is_here
from placet.config import load_config
from placet.errors import InputError
from placet.revoked import load_recorded


@dataclass(frozen=True, slots=True)
class Trust:
    """What a command verifies with.

    Attributes:
        keyring: verified.
        revocations: verified; with a configuration, also those that its record has on this machine.
        cluster: "" when it was not named.
    """

    keyring: VerifiedKeyring
    revocations: Revocations
    cluster: str


def load_trust(
    *,
    now: datetime,
    config_file: Path,
    keyring_file: Path | None,
    roots: tuple[Path, ...],
    threshold: int | None,
    revocations: Path | None,
    cluster: str,
) -> Trust:
    """Verify the keyring and the revocations that the options name.

    Raises:
        InputError: no keyring is named and there is no configuration.
        KeyringError: keyring or revocations can't be trusted or read.
        ConfigError: the configuration can't be used.
        AuditError: its record can't be read.
    """
    recorded: tuple[Revocation, ...] = ()
    if keyring_file is None:
        if not config_file.exists():
            raise InputError(
                f"no keyring is named, and there is no {config_file}",
                hint="Name one with --keyring FILE --root FILE, or a configuration with --config.",
            )
        config = load_config(config_file)
        keyring_file, roots, threshold = config.keyring_file, config.root_files, config.root_threshold
        revocations, cluster = revocations or config.revocations, cluster or config.cluster
        if is_here(config.store):
            recorded = load_recorded(config.store, cluster=config.cluster)
    pinned = load_roots(roots)
    keyring = verify_keyring(
        load_keyring(keyring_file),
        roots=pinned,
        threshold=threshold or len({root.fingerprint for root in pinned}),
        now=now,
    )
    kept = KeptRevocations(recorded)
    if revocations is not None:
        kept.add(load_revocations(revocations, keyring=keyring))
    return Trust(keyring, kept.now, cluster)
