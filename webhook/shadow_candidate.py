"""What ``policy.shadow`` names: fetched, verified as policies in force are, and started in a process of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from placet.canonical import Digest
from placet.config import Config
from placet.config_shadow import ShadowConfig
from placet.errors import PlacetError
from placet.policy.bundle import MANIFEST, SOURCES, WASM
from placet.policy.offer import NOTHING, Offer, find_offer
from placet.policy.signed import SIGNATURE
from placet.shadow.chosen import choosing
from webhook import logs
from webhook.fetching import PolicyFetcher
from webhook.generation import digest_file
from webhook.readiness import Finding
from webhook.shadow_metrics import ShadowCounts
from webhook.shadow_process import JudgeProcess

SETTLED_S: Final = 0.2
_RETRY_S: Final = 300.0
_FIRST_RETRY_S: Final = 1.0
_LONG_ENOUGH_S: Final = 60.0
"""A process that judged for so long is started again at once."""

pause = time.sleep  # tests write to files meanwhile


class CandidateLoader:
    """Looks at what is configured, and hands over a process that judges by it. One thread at a time looks.

    Attributes:
        problem: why the newest candidate is not tried; None when all is well.
    """

    def __init__(
        self,
        put: Callable[[JudgeProcess | None, ShadowConfig], None],
        counts: ShadowCounts,
        *,
        clock: Callable[[], datetime],
        refused: Callable[[PlacetError | OSError, Offer], None],
    ) -> None:
        """Nothing is looked at yet.

        Args:
            put: takes a process that is ready, or None where nothing is to be tried any more.
            counts: what became of candidates.
            clock: aware UTC.
            refused: is told of each candidate that can't be had or tried, once for each cause.
        """
        self._put = put
        self._counts = counts
        self._clock = clock
        self._told = refused
        self._fetcher = PolicyFetcher(clock=clock, newest_version=lambda: 0, refused=refused)
        self._seen: dict[str, str] | None = None
        self._refused: Finding | None = None
        self._retry_s = float("inf")
        self._fetch_s = float("-inf")
        self._backoff_s = _FIRST_RETRY_S
        self._begun_s = float("-inf")

    @property
    def problem(self) -> Finding | None:
        """See the class."""
        refused, fetching = self._refused, self._fetcher.problem
        if refused is None or fetching is None:
            return refused or fetching
        return replace(refused, also=fetching)

    def look(self, config: Config) -> None:
        """Begin, replace or end what is tried, as the configuration and the files that it names say."""
        shadow = config.policy.shadow
        if not shadow.wanted:
            if self._seen is not None:
                self._put(None, shadow)
            self._seen, self._refused, self._retry_s = None, None, float("inf")
            self._fetch(config)
            return
        self._fetch(config)
        found = fingerprint(config)
        if found == self._seen and time.monotonic() < self._retry_s:
            return
        if found != self._seen:
            pause(SETTLED_S)  # editors empty a file before they fill it
            if fingerprint(config) != found:
                return
        self._load(config, found)

    def lost(self, code: str) -> None:
        """The process that was handed over is no more; a later look starts another one."""
        now_s = time.monotonic()
        if now_s - self._begun_s > _LONG_ENOUGH_S:
            self._backoff_s = _FIRST_RETRY_S
        self._refused = Finding(code, "the process that tries policies on live reviews is started again")
        self._retry_s = now_s + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, _RETRY_S)
        self._counts.loaded("judge_lost")
        logs.say(logging.WARNING, "the shadow's process was lost", code=code)

    def _load(self, config: Config, found: dict[str, str]) -> None:
        self._retry_s = float("inf")
        try:
            judge = _start(config, self._clock())
        except (PlacetError, OSError) as error:
            self._seen = found
            self._refuse(error, _offered(config))
            return
        if fingerprint(config) != found:
            judge.close()  # half of one state and half of the next: soon again
            return
        self._seen, self._refused, self._begun_s = found, None, time.monotonic()
        self._put(judge, config.policy.shadow)

    def _refuse(self, error: PlacetError | OSError, offer: Offer) -> None:
        code = error.code if isinstance(error, PlacetError) else "bundle_unreadable"
        refused = Finding(code, f"{error}; policies in force judge as before")
        if refused != self._refused:
            logs.say(logging.ERROR, "shadow refused", code=code, detail=logs.told(error))
            self._counts.loaded("refused")
            if self._fetcher.problem is None:  # else that is the cause, and told already
                self._told(error, offer)
        self._refused = refused
        self._retry_s = time.monotonic() + _RETRY_S

    def _fetch(self, config: Config) -> None:
        now_s = time.monotonic()
        source = bool(config.policy.shadow.source)
        if source and now_s < self._fetch_s:
            return
        self._fetch_s = now_s + config.policy.bundle_poll_s
        if result := self._fetcher.look(replace(config, policy=config.policy.tried)):
            self._counts.fetched(result)


def fingerprint(config: Config) -> dict[str, str]:
    """Digests of all that makes a candidate, by path."""
    policy = config.policy.tried
    files = [*policy.bundle_keys, *filter(None, [policy.data])]
    if policy.bundle is not None:
        is_file = policy.bundle.is_file()
        files += [policy.bundle] if is_file else [policy.bundle / name for name in (MANIFEST, SIGNATURE, WASM, SOURCES)]
    return {"": repr((policy.shadow, policy.bundle_threshold)), **{str(file): digest_file(file) for file in files}}


def _offered(config: Config) -> Offer:
    """What a package says of itself; a folder is named where it lies."""
    bundle = config.policy.tried.bundle
    try:
        return NOTHING if bundle is None or not bundle.is_file() else find_offer(bundle.read_bytes())
    except OSError:  # gone meanwhile: the next look says so
        return NOTHING


def _start(config: Config, now: datetime) -> JudgeProcess:
    with choosing(config.policy, now=now) as chosen:
        manifest = str(Digest.of(chosen.bundle.load_manifest()))
        return JudgeProcess.start(
            chosen.bundle.folder, config.policy.tried.data, manifest=manifest, version=chosen.version
        )
