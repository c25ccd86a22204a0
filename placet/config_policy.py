"""Where policies are judged, in the configuration file: what the keys below ``policy`` mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from placet.config_bundle import place_source
from placet.config_parts import place
from placet.config_shadow import ShadowConfig, build_shadow

_NO_SHADOW: Final = ShadowConfig()


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Where policies are judged.

    Attributes:
        engine: ``embedded`` or ``opa``.
        opa_url: address of the OPA server, "" when embedded.
        opa_ca: authorities of its certificate; None for the system's.
        opa_bundle: ``push`` or ``pull``.
        opa_timeout_s: the longest that one answer may take.
        data: operator's policy data, or None.
        bundle: folder of the policies that judge; None for those that ship with placet.
        bundle_keys: files of the keys that may sign them; empty where no signature is asked for.
        bundle_threshold: how many of these must have signed.
        bundle_rollback_to: the one older version that is taken all the same; 0 for none.
        bundle_source: where newer ones are fetched from into ``bundle``; "" for nowhere.
        bundle_poll_s: seconds between looks there.
        bundle_ca: authorities of the certificate there; None for the system's.
        shadow: what is tried on live reviews beside all that.
    """

    engine: str
    opa_url: str
    opa_ca: Path | None
    opa_bundle: str
    opa_timeout_s: float
    data: Path | None
    bundle: Path | None = None
    bundle_keys: tuple[Path, ...] = ()
    bundle_threshold: int = 1
    bundle_rollback_to: int = 0
    bundle_source: str = ""
    bundle_poll_s: float = 60.0
    bundle_ca: Path | None = None
    shadow: ShadowConfig = _NO_SHADOW

    @property
    def tried(self) -> PolicyConfig:
        """What would be in force, were what ``shadow`` names in its place; fetched from where it says alone."""
        tried = self.shadow
        source = tried.source if tried.wanted else ""
        return replace(self, bundle=tried.bundle or self.bundle, data=tried.data or self.data, bundle_source=source)


def build_policy(policy: dict[str, Any], folder: Path) -> PolicyConfig:
    """The section ``policy``.

    Args:
        policy: the section, with its defaults.
        folder: that paths are relative to.
    """
    return PolicyConfig(
        engine=policy["engine"],
        opa_url=policy.get("opa_url", ""),
        opa_ca=place(folder, policy.get("opa_ca")),
        opa_bundle=policy["opa_bundle"],
        opa_timeout_s=float(policy["opa_timeout_seconds"]),
        data=place(folder, policy.get("data")),
        bundle=place(folder, policy.get("bundle")),
        bundle_keys=tuple(folder / key for key in policy.get("bundle_keys", ())),
        bundle_threshold=policy["bundle_threshold"],
        bundle_rollback_to=policy.get("bundle_rollback_to", 0),
        bundle_source=place_source(policy.get("bundle_source", ""), folder),
        bundle_poll_s=float(policy["bundle_poll_seconds"]),
        bundle_ca=place(folder, policy.get("bundle_ca")),
        shadow=build_shadow(policy.get("shadow", {}), folder),
    )
