"""Policy data files that ship besides the defaults: for an operator to keep and change, never in force alone."""

from __future__ import annotations

from typing import Final

from placet.policy.bundle import shipped_bundle

_FOLDER: Final = "profiles/"
_ENDING: Final = ".yaml"


def profile_names() -> tuple[str, ...]:
    """All that ship, sorted."""
    files = sorted(name for name in shipped_bundle().files if name.startswith(_FOLDER))
    return tuple(name.removeprefix(_FOLDER).removesuffix(_ENDING) for name in files)


def load_profile(name: str) -> bytes:
    """The file as it ships, comments and all.

    Args:
        name: one of :func:`profile_names`.

    Raises:
        EngineError: ``bundle_invalid``: it is missing, or not what the manifest names.
    """
    return shipped_bundle().load_file(f"{_FOLDER}{name}{_ENDING}")
