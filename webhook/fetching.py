"""Policies from elsewhere: looked for now and then, verified, tried aside, and only then put where the gate looks."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from placet.canonical import Digest
from placet.config import Config
from placet.errors import EngineError, PlacetError
from placet.policy.bundle import MANIFEST
from placet.policy.chosen import choose_policies
from placet.policy.data import load_policy_data
from placet.policy.locations import fetch_package, parse_location
from placet.policy.package import parse_package, save_package
from placet.policy.signed import SIGNATURE
from webhook import logs
from webhook.candidate import prove_candidate
from webhook.readiness import Finding

_STOP_S: Final = 5.0


class PolicyFetcher:
    """Fetches what one configuration names. Not thread-safe but for ``problem``.

    Attributes:
        problem: why the last look brought nothing that can be used; None when all was well.
    """

    def __init__(self, *, clock: Callable[[], datetime], newest_version: Callable[[], int]) -> None:
        """Nothing is fetched yet.

        Args:
            clock: aware UTC.
            newest_version: of the signed policies that are in force.
        """
        self._clock = clock
        self._newest_version = newest_version
        self._source = ""
        self._tag = ""
        self.problem: Finding | None = None

    def look(self, config: Config) -> str:
        """Fetch what is new, and put it into the folder that the configuration names.

        Returns:
            ``unchanged``, ``fetched`` or ``refused``; "" where nothing is to be fetched.
        """
        policy = config.policy
        if not policy.bundle_source or policy.bundle is None:
            self.problem = None
            return ""
        try:
            result = self._fetch(config, policy.bundle)
        except (PlacetError, OSError) as error:
            code = error.code if isinstance(error, PlacetError) else "bundle_unwritable"
            found = Finding(code, f"{error}; what was in force before stays so")
            if found != self.problem:
                logs.say(logging.ERROR, "policies not fetched", code=code, detail=str(error))
            self.problem = found
            return "refused"
        if self.problem is not None:
            logs.say(logging.INFO, "policies can be fetched again")
        self.problem = None
        return result

    def _fetch(self, config: Config, folder: Path) -> str:
        policy = config.policy
        if policy.bundle_source != self._source:
            self._source, self._tag = policy.bundle_source, ""
        got = fetch_package(parse_location(policy.bundle_source), ca_file=policy.bundle_ca, tag=self._tag)
        if got.raw is None:
            return "unchanged"
        files = parse_package(got.raw)
        manifest = files[MANIFEST]
        if all(_read(folder / name) == files.get(name, b"") for name in (MANIFEST, SIGNATURE)):
            self._tag = got.tag
            return "unchanged"
        with tempfile.TemporaryDirectory(prefix="placet-policies-") as aside:
            tried = Path(aside) / "bundle"
            save_package(got.raw, tried)
            chosen = choose_policies(
                replace(policy, bundle=tried), now=self._clock(), newest_version=self._newest_version()
            )
            prove_candidate(config, load_policy_data(policy.data, chosen.bundle))
        save_package(got.raw, folder)
        self._tag = got.tag
        logs.say(logging.INFO, "policies fetched", version=chosen.version, digest=str(Digest.of(manifest)))
        return "fetched"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def fetch_first(config: Config, *, clock: Callable[[], datetime], newest_version: Callable[[], int]) -> None:
    """Before the first gate: fetch what is new. Another replica may have put newer policies in force meanwhile.

    Where there are policies already, a source that can't be reached is no reason not to start.

    Raises:
        EngineError: there are none, and none can be had.
    """
    policy = config.policy
    if not policy.bundle_source or policy.bundle is None:
        return
    fetcher = PolicyFetcher(clock=clock, newest_version=newest_version)
    fetcher.look(config)
    if fetcher.problem is not None and not (policy.bundle / MANIFEST).exists():
        raise EngineError(fetcher.problem.detail, code=fetcher.problem.code)


class FetcherThread(threading.Thread):
    """Looks every so many seconds, in a thread of its own: a registry may take its time."""

    def __init__(self, fetcher: PolicyFetcher, config: Callable[[], Config], done: Callable[[str], None]) -> None:
        """Not started.

        Args:
            fetcher: looks.
            config: in force now.
            done: told of each result of a look.
        """
        super().__init__(name="placet-policies", daemon=True)
        self._fetcher = fetcher
        self._config = config
        self._done = done
        self._stopping = threading.Event()

    def run(self) -> None:
        """The thread."""
        while not self._stopping.wait(self._config().policy.bundle_poll_s):
            if result := self._fetcher.look(self._config()):
                self._done(result)

    def stop(self) -> None:
        """Look no more; a look under way is not waited for long."""
        self._stopping.set()
        if self.is_alive():
            self.join(_STOP_S)
