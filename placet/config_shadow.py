"""Keys of the configuration that name policies which judge live reviews beside those in force, and decide nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from placet.config_parts import place, with_defaults
from placet.errors import InputError

if TYPE_CHECKING:
    from placet.settings_file import Settings

_PATH: Final[dict[str, Any]] = {"type": "string", "minLength": 1}

SHADOW_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "bundle": {
            **_PATH,
            "description": "Folder of the policies to try on live reviews, or a package of them; those in force "
            "without it. Signed as `policy.bundle_keys` asks, of any version.",
        },
        "source": {
            "type": "string",
            "pattern": "^(https?|oci|oci\\+http)://",
            "description": "Where newer ones are fetched from into the folder, as `policy.bundle_source`.",
        },
        "data": {**_PATH, "description": "The operator's policy data to try; `policy.data` without it."},
        "cpu_percent": {
            "type": "integer",
            "minimum": 1,
            "maximum": 100,
            "default": 25,
            "description": "The most of one processor that trying them takes.",
        },
        "max_waiting_reviews": {
            "type": "integer",
            "minimum": 1,
            "maximum": 4096,
            "default": 256,
            "description": "The most reviews that wait to be tried; more are not tried, and counted.",
        },
        "window_seconds": {
            "type": "integer",
            "minimum": 10,
            "maximum": 86400,
            "default": 3600,
            "description": "The same disagreement is recorded once in so many seconds, with how often it was seen.",
        },
    },
}


@dataclass(frozen=True, slots=True)
class ShadowConfig:
    """Policies that are tried on live reviews.

    Attributes:
        bundle: their folder or package; None for those in force.
        source: where newer ones are fetched from into ``bundle``; "" for nowhere.
        data: the operator's policy data to try; None for those in force.
        cpu_percent: the most of one processor that trying takes.
        max_waiting: reviews that wait to be tried.
        window_s: how long the same disagreement is recorded but once, seconds.
    """

    bundle: Path | None = None
    source: str = ""
    data: Path | None = None
    cpu_percent: int = 25
    max_waiting: int = 256
    window_s: int = 3600

    @property
    def wanted(self) -> bool:
        """Whether anything is to be tried."""
        return self.bundle is not None or self.data is not None


def build_shadow(value: dict[str, Any], folder: Path) -> ShadowConfig:
    """The section ``policy.shadow`` as it was written.

    Args:
        value: of the section; empty for none.
        folder: that paths are relative to.
    """
    told = with_defaults(SHADOW_SCHEMA, value)
    return ShadowConfig(
        bundle=place(folder, told.get("bundle")),
        source=told.get("source", ""),
        data=place(folder, told.get("data")),
        cpu_percent=told["cpu_percent"],
        max_waiting=told["max_waiting_reviews"],
        window_s=told["window_seconds"],
    )


def require_consistent_shadow(settings: Settings, policy: dict[str, Any]) -> None:
    """Keys of the section that only go together.

    Raises:
        ConfigError: with file and line.
    """
    from placet.policy.locations import parse_location  # noqa: PLC0415 - few need it

    shadow = policy.get("shadow")
    if shadow is None:
        return
    if not {"bundle", "data"} & shadow.keys():
        raise settings.error(
            ("policy", "shadow"),
            "there is nothing to try beside what is in force",
            hint="Name policies with `bundle`, policy data with `data`, or remove the section.",
        )
    if "source" not in shadow:
        return
    if "bundle" not in shadow:
        raise settings.error(
            ("policy", "shadow", "source"),
            "policies that are fetched need a folder",
            hint="Set `policy.shadow.bundle`.",
        )
    if "bundle_keys" not in policy:
        raise settings.error(
            ("policy", "shadow", "source"),
            "policies that are fetched must be signed",
            hint="Name who signs with `policy.bundle_keys`.",
        )
    try:
        parse_location(shadow["source"])
    except InputError as exc:
        raise settings.error(("policy", "shadow", "source"), str(exc), hint=exc.hint) from exc
