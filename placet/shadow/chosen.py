"""Which policies are tried: those of a folder or a package, signed as policies in force are, or those in force."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from placet.policy.chosen import ChosenPolicies, choose_policies
from placet.policy.package import MAX_PACKAGE_BYTES, save_package

if TYPE_CHECKING:
    from placet.config_policy import PolicyConfig


@contextlib.contextmanager
def choosing(policy: PolicyConfig, *, now: datetime) -> Iterator[ChosenPolicies]:
    """The policies that ``policy.shadow`` of a configuration names; their files are there for as long as this lasts.

    Args:
        policy: of the configuration.
        now: aware UTC.

    Raises:
        ConfigError, EngineError: as :func:`choose_policies`; any version is taken.
        OSError: a package can't be read.
    """
    tried = policy.tried
    if tried.bundle is None or not tried.bundle.is_file():
        yield choose_policies(tried, now=now)
        return
    with tempfile.TemporaryDirectory(prefix="placet-shadow-") as aside:
        folder = Path(aside) / "bundle"
        with tried.bundle.open("rb") as content:
            save_package(content.read(MAX_PACKAGE_BYTES + 1), folder)  # which refuses what is too large
        yield choose_policies(replace(tried, bundle=folder), now=now)
