"""Which signed policies a configuration has in force, and what its source would do to a gate that looked there now."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from placet.canonical import Digest
from placet.doctor.findings import Code, Finding
from placet.errors import PlacetError
from placet.policy.chosen import ChosenPolicies, choose_policies
from placet.policy.locations import fetch_package, parse_location
from placet.policy.offer import NOTHING, find_offer
from placet.policy.package import save_package

if TYPE_CHECKING:
    from placet.config_policy import PolicyConfig

_AWAY: Final = frozenset({"bundle_unreachable", "bundle_missing"})


def check_policies(policy: PolicyConfig, now: datetime) -> Iterator[Finding]:
    """What is in force by a configuration, and what its source offers. Nothing is compiled or judged by.

    Args:
        policy: of the configuration.
        now: aware UTC.
    """
    if policy.bundle is None:
        return
    where = f"policy.bundle {policy.bundle}"
    try:
        chosen = choose_policies(policy, now=now)
    except PlacetError as exc:
        yield Finding(Code.POLICIES_REFUSED, where, f"{exc} ({exc.code})")
        return
    if policy.bundle_keys:
        yield Finding(Code.POLICIES_OWN, where, _describe(chosen))
    else:
        yield Finding(Code.POLICIES_UNSIGNED, where, _describe(chosen))
    if policy.bundle_source:
        yield from _check_source(policy, chosen, now)


def _check_source(policy: PolicyConfig, in_force: ChosenPolicies, now: datetime) -> Iterator[Finding]:
    offer = NOTHING
    try:
        raw = fetch_package(parse_location(policy.bundle_source), ca_file=policy.bundle_ca).raw or b""
        offer = find_offer(raw)
        with tempfile.TemporaryDirectory(prefix="placet-doctor-") as aside:
            tried = Path(aside) / "bundle"
            save_package(raw, tried)
            found = choose_policies(replace(policy, bundle=tried), now=now, newest_version=in_force.version)
            same = found.bundle.load_manifest() == in_force.bundle.load_manifest()
            said = "" if same and found.version == in_force.version else _describe(found)
    except PlacetError as exc:
        code = Code.POLICIES_UNREACHABLE if exc.code in _AWAY else Code.POLICIES_REFUSED
        yield Finding(code, policy.bundle_source, f"{exc}{offer.shown} ({exc.code})")
        return
    if said:
        yield Finding(Code.POLICIES_OFFERED, policy.bundle_source, said)


def _describe(chosen: ChosenPolicies) -> str:
    version = f"version {chosen.version}, " if chosen.version else ""
    digest = Digest.of(chosen.bundle.load_manifest())
    return f"{version}{digest}, {len(chosen.bundle.rules)} rules, revision {chosen.bundle.revision}"
