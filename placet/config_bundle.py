"""Keys of the configuration that say which policies judge, who signs them, and where newer ones come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from placet.config_shadow import SHADOW_SCHEMA, require_consistent_shadow
from placet.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from placet.settings_file import Settings

_PATH: Final[dict[str, Any]] = {"type": "string", "minLength": 1}

BUNDLE_SCHEMA: Final[dict[str, Any]] = {
    "bundle": {
        **_PATH,
        "description": "Folder of the policies that judge, as `placet policy bundle pull` writes it; those that ship "
        "with placet without it. Changed content takes effect without a restart.",
    },
    "bundle_keys": {
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "uniqueItems": True,
        "items": _PATH,
        "description": "Public keys (PEM) of those who may sign the policies. Without them no signature is asked for.",
    },
    "bundle_threshold": {
        "type": "integer",
        "minimum": 1,
        "maximum": 16,
        "default": 1,
        "description": "How many of the keys must have signed.",
    },
    "bundle_rollback_to": {
        "type": "integer",
        "minimum": 1,
        "description": "The one version that is taken although a newer one was in force; recorded as a downgrade.",
    },
    "bundle_source": {
        "type": "string",
        "pattern": "^((https?|oci|oci\\+http)://|file:.)",
        "description": "Where newer policies are fetched from into the folder: a URL, oci://HOST/NAME:TAG, or "
        "file:PATH, a package that `placet policy bundle push` wrote, as in a mounted ConfigMap. Needs bundle_keys.",
    },
    "bundle_ca": {**_PATH, "description": "Authorities (PEM) of the certificate there; the system's without it."},
    "bundle_poll_seconds": {
        "type": "number",
        "minimum": 1,
        "maximum": 86400,
        "default": 60,
        "description": "Seconds between two looks there.",
    },
    "shadow": SHADOW_SCHEMA,
}


def place_source(text: str, folder: Path) -> str:
    """A source with the path of a file as it is from anywhere; others as they are."""
    from placet.policy.locations import FILE_SCHEME  # noqa: PLC0415 - few need it

    return f"{FILE_SCHEME}{folder / text.removeprefix(FILE_SCHEME)}" if text.startswith(FILE_SCHEME) else text


def require_consistent_bundle(settings: Settings, policy: dict[str, Any]) -> None:
    """Keys of policies that only go together.

    Raises:
        ConfigError: with file and line.
    """
    from placet.policy.locations import parse_location  # noqa: PLC0415 - few need it

    require_consistent_shadow(settings, policy)
    tried = "bundle" in policy.get("shadow", {})
    for key in ("bundle_keys", "bundle_rollback_to", "bundle_source"):
        if key in policy and "bundle" not in policy and not (key == "bundle_keys" and tried):
            raise settings.error(
                ("policy", key),
                f"{key} says something of policies in a folder, and none is named",
                hint="Set `policy.bundle`.",
            )
    keys = policy.get("bundle_keys", ())
    if policy["bundle_threshold"] > max(1, len(keys)):
        raise settings.error(
            ("policy", "bundle_threshold"),
            f"{policy['bundle_threshold']} signatures can't come from {len(keys)} keys",
            hint="Name more keys or lower the threshold.",
        )
    if "bundle_rollback_to" in policy and not keys:
        raise settings.error(
            ("policy", "bundle_rollback_to"),
            "policies that nobody signs have no version",
            hint="Name who signs with `policy.bundle_keys`.",
        )
    if "bundle_source" not in policy:
        return
    if not keys:
        raise settings.error(
            ("policy", "bundle_source"),
            "policies that are fetched must be signed",
            hint="Name who signs with `policy.bundle_keys`.",
        )
    try:
        parse_location(policy["bundle_source"])
    except InputError as exc:
        raise settings.error(("policy", "bundle_source"), str(exc), hint=exc.hint) from exc
