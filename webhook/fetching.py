"""Policies from elsewhere: looked for now and then, verified, tried aside, and only then put where the gate looks."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from placet.canonical import Digest
from placet.config import Config
from placet.errors import EngineError, PlacetError
from placet.policy.bundle import MANIFEST
from placet.policy.chosen import ChosenPolicies, choose_policies
from placet.policy.data import load_policy_data
from placet.policy.locations import fetch_package, parse_location
from placet.policy.offer import NOTHING, Offer, find_offer
from placet.policy.package import parse_package, save_package
from placet.policy.signed import SIGNATURE
from webhook import logs
from webhook.candidate import prove_candidate
from webhook.readiness import Finding

AGAIN: Final = timedelta(seconds=60)
"""After which the same package is tried again: the clock, or a file beside it, may have been the cause."""
_STOP_S: Final = 5.0


class PolicyFetcher:
    """Fetches what one configuration names. Not thread-safe but for ``problem``.

    Attributes:
        problem: why the last look brought nothing that can be used; None when all was well.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        newest_version: Callable[[], int],
        refused: Callable[[PlacetError | OSError, Offer], None] = lambda _error, _offer: None,
    ) -> None:
        """Nothing is fetched yet.

        Args:
            clock: aware UTC.
            newest_version: of the signed policies that are in force.
            refused: is told of each look that brings nothing for another reason, or from another offer, than the last.
        """
        self._clock = clock
        self._newest_version = newest_version
        self._refused = refused
        self._source = ""
        self._tag = ""
        self._offer = NOTHING
        self._failed: _Failed | None = None
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
        self._offer = NOTHING
        try:
            result = self._fetch(config, policy.bundle)
        except (PlacetError, OSError) as error:
            code = error.code if isinstance(error, PlacetError) else "bundle_unwritable"
            found = Finding(code, f"{error}{self._offer.shown}; what was in force before stays so")
            if found != self.problem:
                logs.say(logging.ERROR, "policies not fetched", code=code, detail=logs.told(found.detail))
                self._refused(error, self._offer)
            self.problem = found
            return "refused"
        if self.problem is not None:
            logs.say(logging.INFO, "policies can be fetched again")
        self.problem = None
        return result

    def look_first(self, config: Config, kept: Callable[[], bytes | None]) -> None:
        """Before the first gate: fetch what is new. Another replica may have put newer policies in force meanwhile.

        Where the source has nothing that can be used, and neither has the folder, it is what was in force last, as the
        record keeps it: verified like any other.

        Args:
            config: to start with.
            kept: the package of the policies that were in force last, unverified; None for none.

        Raises:
            PlacetError: there are no policies, and none can be had.
        """
        policy = config.policy
        if not policy.bundle_source or policy.bundle is None:
            return
        self.look(config)
        fault = self._fault_of(config)
        if fault is None:
            return
        raw = kept()
        if raw is None:
            raise fault if self.problem is None else EngineError(self.problem.detail, code=self.problem.code)
        with _unpacked(raw) as tried:
            chosen = self._verify(config, tried)
        save_package(raw, policy.bundle)
        logs.say(
            logging.WARNING, "policies taken from the record", version=chosen.version, revision=chosen.bundle.revision
        )

    def _fetch(self, config: Config, folder: Path) -> str:
        policy = config.policy
        if policy.bundle_source != self._source:
            self._source, self._tag = policy.bundle_source, ""
        got = fetch_package(parse_location(policy.bundle_source), ca_file=policy.bundle_ca, tag=self._tag)
        if got.raw is None:
            return "unchanged"
        self._offer = find_offer(got.raw)
        self._raise_again(config, got.raw)
        files = parse_package(got.raw)
        if all(_read(folder / name) == files.get(name, b"") for name in (MANIFEST, SIGNATURE)):
            self._tag = got.tag
            return "unchanged"
        try:
            chosen = self._try(config, got.raw)
        except PlacetError as error:
            self._failed = _Failed(self._attempt(config, got.raw), error, self._clock())
            raise
        save_package(got.raw, folder)
        self._tag = got.tag
        logs.say(logging.INFO, "policies fetched", version=chosen.version, digest=str(Digest.of(files[MANIFEST])))
        return "fetched"

    def _try(self, config: Config, raw: bytes) -> ChosenPolicies:
        with _unpacked(raw) as tried:
            try:
                chosen = self._verify(config, tried)
                prove_candidate(config, load_policy_data(config.policy.data, chosen.bundle))
            except EngineError as error:  # where it was unpacked says nothing to anybody
                message = str(error).replace(str(tried), config.policy.bundle_source)
                raise EngineError(message, code=error.code, hint=error.hint) from error
        return chosen

    def _verify(self, config: Config, folder: Path) -> ChosenPolicies:
        policy = replace(config.policy, bundle=folder)
        return choose_policies(policy, now=self._clock(), newest_version=self._newest_version())

    def _fault_of(self, config: Config) -> PlacetError | None:
        """What keeps a gate from starting with what the folder holds."""
        try:
            choose_policies(config.policy, now=self._clock(), newest_version=self._newest_version())
        except PlacetError as error:
            return error
        return None

    def _attempt(self, config: Config, raw: bytes) -> tuple[object, ...]:
        return Digest.of(raw), config.policy, self._newest_version()

    def _raise_again(self, config: Config, raw: bytes) -> None:
        """What was refused a moment ago, and is asked about in the same way, is not tried again at each look."""
        failed = self._failed
        if failed is None or failed.attempt != self._attempt(config, raw):
            return
        if timedelta() <= self._clock() - failed.moment < AGAIN:
            raise failed.error


@dataclass(frozen=True, slots=True)
class _Failed:
    """An attempt that failed: with which bytes, keys and versions, how, and when."""

    attempt: tuple[object, ...]
    error: PlacetError
    moment: datetime


@contextlib.contextmanager
def _unpacked(raw: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="placet-policies-") as aside:
        tried = Path(aside) / "bundle"
        save_package(raw, tried)
        yield tried


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


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
