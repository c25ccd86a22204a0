"""Which policies judge: those that ship with placet, or those of a folder, signed by whom the configuration names."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from placet.approvals.keyring import load_roots
from placet.errors import ConfigError, EngineError, KeyringError
from placet.policy.bundle import Bundle, load_bundle, shipped_bundle
from placet.policy.document import INPUT_SCHEMA
from placet.policy.signed import verify_bundle

if TYPE_CHECKING:
    from placet.config_policy import PolicyConfig

_OTHER_RELEASE: Final = "Build them with the `placet` of this release, or go to the release that they were built with."


@dataclass(frozen=True, slots=True)
class ChosenPolicies:
    """The policies of a configuration.

    Attributes:
        bundle: read, and verified where signatures are asked for.
        version: that was signed; 0 where nobody has to sign.
    """

    bundle: Bundle
    version: int = 0


def choose_policies(policy: PolicyConfig, *, now: datetime, newest_version: int = 0) -> ChosenPolicies:
    """Read the policies that a configuration names.

    Args:
        policy: of the configuration.
        now: aware UTC.
        newest_version: of the signed policies that were in force before; older ones are refused.

    Raises:
        ConfigError: a key that may sign can't be read.
        EngineError: they can't be read, are not signed as is asked for, are older than what was in force, or are for
            another release.
    """
    if policy.bundle is None:
        return ChosenPolicies(shipped_bundle())
    if not policy.bundle_keys:
        bundle = load_bundle(policy.bundle)
        _require_fitting(bundle)
        return ChosenPolicies(bundle)
    try:
        keys = load_roots(policy.bundle_keys)
    except KeyringError as exc:
        fault = str(exc).replace("root key", "key")
        raise ConfigError(f"policy.bundle_keys: {fault}", hint="`placet keys generate` makes a pair.") from exc
    signed = verify_bundle(policy.bundle, keys=keys, threshold=policy.bundle_threshold, now=now)
    if signed.version < newest_version and signed.version != policy.bundle_rollback_to:
        raise EngineError(
            f"the policies have version {signed.version}, and version {newest_version} was in force before",
            code="bundle_rollback",
            hint=f"Sign them with a higher version, or set policy.bundle_rollback_to: {signed.version}.",
        )
    _require_fitting(signed.bundle)
    return ChosenPolicies(signed.bundle, signed.version)


def _require_fitting(bundle: Bundle) -> None:
    """What the policies expect to be given is what this release gives.

    Raises:
        EngineError: ``bundle_invalid``.
    """
    if bundle.entry_point != shipped_bundle().entry_point or _input_schema(bundle) != INPUT_SCHEMA:
        raise EngineError(
            f"the policies in {bundle.folder} are for another release of placet",
            code="bundle_invalid",
            hint=_OTHER_RELEASE,
        )


def _input_schema(bundle: Bundle) -> str:
    return _read_const(bundle.load_file("schemas/input.json"))


@functools.lru_cache(maxsize=4)
def _read_const(raw: bytes) -> str:
    try:
        return str(json.loads(raw)["properties"]["schema"]["const"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
