"""Sends canaries, and says when one is not refused by this gate: what is wrong then is wrong outside of it (ADR 38)."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from placet.apiserver import ApiServer
from placet.canary import ADMITTED, REFUSED_BY_US, CanaryKey, Sender, Sighting, send_canary
from placet.config import Config
from webhook import logs
from webhook.metrics import Metrics

FIRST_S: Final = 5.0  # until the Service knows that this replica is ready
RETRY_S: Final = 10.0
JITTER: Final = 0.2
IDLE_S: Final = 10.0  # until the configuration is looked at again, where it names no canaries
_LEVELS: Final = {REFUSED_BY_US: logging.INFO, ADMITTED: logging.ERROR}


def connect(kubeconfig: Path | None) -> Sender:
    """The API server of the configuration."""
    return ApiServer(None if kubeconfig is None else str(kubeconfig))


class CanaryThread(threading.Thread):
    """Sends one canary into each configured namespace, at start and every interval; sooner where nothing is known.

    Args:
        config: what is in force now.
        key: of the gates of the record.
        metrics: are told of each.
        connect: opens the way to the API server.
        spread: a number from 0 to 1, so that replicas do not ask all at once.
        wait: waits so many seconds and says whether to stop; by default, until ``stop``.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        key: CanaryKey,
        metrics: Metrics,
        *,
        connect: Callable[[Path | None], Sender] = connect,
        spread: Callable[[], float] = random.random,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        super().__init__(name="placet-canary", daemon=True)
        self._config = config
        self._key = key
        self._metrics = metrics
        self._connect = connect
        self._spread = spread
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._sender: tuple[Path | None, Sender] | None = None
        self._said: dict[str, tuple[str, str]] = {}
        self._failed = ""
        self._attempts = 0

    def run(self) -> None:
        """The thread."""
        delay_s = FIRST_S
        while not self._wait(delay_s):
            try:
                delay_s = self.run_once()
            except Exception as error:  # noqa: BLE001 - a thread that ends would leave the last good word standing
                self._complain(error)
                delay_s = RETRY_S

    def run_once(self) -> float:
        """Send one canary into each namespace; gives how long to wait until the next, in seconds."""
        config = self._config()
        namespaces = config.canary.namespaces
        self._metrics.canaries(namespaces)
        if not namespaces:
            return IDLE_S
        known = True
        for namespace, environment in sorted(namespaces.items()):
            seen = send_canary(self._open(config.kubeconfig), self._key, namespace=namespace, environment=environment)
            self._metrics.canary_seen(seen.namespace, seen.environment, seen.outcome)
            self._say(seen)
            known = known and seen.outcome in {REFUSED_BY_US, ADMITTED}
        self._attempts = 0 if known else self._attempts + 1
        interval_s = config.canary.interval_s
        delay_s = interval_s if known else min(interval_s, RETRY_S * 2 ** min(self._attempts - 1, 10))
        return delay_s * (1 + JITTER * (self._spread() - 0.5))

    def stop(self) -> None:
        """End. A canary under way is not waited for: it changes nothing, and may take as long as a time-out."""
        self._stopping.set()

    def _open(self, kubeconfig: Path | None) -> Sender:
        if self._sender is None or self._sender[0] != kubeconfig:
            self._sender = (kubeconfig, self._connect(kubeconfig))
        return self._sender[1]

    def _say(self, seen: Sighting) -> None:
        """Each one that was admitted; of all others, each change."""
        told = (seen.outcome, seen.detail)
        before = self._said.get(seen.namespace)
        self._said[seen.namespace] = told
        if seen.outcome != ADMITTED and told == before:
            return
        logs.say(
            _LEVELS.get(seen.outcome, logging.WARNING),
            "canary",
            canary=seen.namespace,
            environment=logs.told(seen.environment),
            outcome=seen.outcome,
            detail=logs.told(seen.detail),
        )

    def _complain(self, error: Exception) -> None:
        """Once for the same fault again and again: the age of the last known answer tells the rest."""
        words = f"{type(error).__name__}: {error}"
        if words != self._failed:
            logs.say(logging.ERROR, "the canary failed and goes on", exc_info=True)
        self._failed = words
