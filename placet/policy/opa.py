"""The engine that asks an OPA server."""

from __future__ import annotations

import logging
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from placet.errors import EngineAnswerError, EngineError, EngineTimeout
from placet.policy.bundle import Bundle
from placet.policy.contents import GIVE_S, LOST, Contents
from placet.policy.data import PolicyData
from placet.policy.decision import PolicyDecision, parse_decision
from placet.policy.document import render_document
from placet.policy.failures import FAILURES, failure, is_passing
from placet.policy.opa_server import OpaServer
from placet.policy.probe import INTERVAL_S, Probe
from placet.policy.sockets import Deadline

DEFAULT_TIMEOUT_S: Final = 2.0
_LOOK_S: Final = 5.0
_QUESTION: Final = b'{"uid":"prepare"}'
# Between attempts while OPA restarts. The first is at once: a kept connection was closed while it was idle.
_PAUSES_S: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.25, 0.25, 0.25)
_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]{1,32}", re.ASCII)
_LOG: Final = logging.getLogger("placet.policy")


@dataclass(slots=True)
class _ServerUse:
    """What the engines of this process share that use one server: before and after a reload there are two.

    Attributes:
        lock: held from looking what the server holds to asking it, so that no other engine gives it its own between.
        stamp: of what it was given last.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    stamp: str = ""


class OpaEngine:
    """Judges with an OPA server in its default mode, usually a sidecar, that holds our policies and nothing else.

    An answer counts only when the server names, in that answer, the version that compiled the policies, and proves
    which policies and data it judged by: pulled, by its bundle's revision and the digest of the data; pushed, by the
    one digest that stands for both. A server that lost its data or, pushed, its policies, as it does when it restarts,
    is given them again. What it holds is read back and compared before the first answer, whenever it was given
    something, and every few seconds by a probe.

    ``prepare`` need not succeed: when the server is not there yet, or is a wrong one, ``problem`` says so, the probe
    goes on looking, and decisions are refused until the server can be used.
    """

    name = "opa"
    _compared: bool
    _server_use: _ServerUse

    def __init__(
        self,
        url: str,
        data: PolicyData,
        *,
        bundle: Bundle | None = None,
        token: str = "",
        ca_file: str = "",
        push: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        interval_s: float = INTERVAL_S,
        on_drift: Callable[[], None] = lambda: None,
    ) -> None:
        """Read the address; nothing is sent yet.

        Args:
            url: ``http://127.0.0.1:8181`` or https, without a path.
            data: given to the server.
            bundle: whose policies, revision and compiler the server must have; by default that of the data.
            token: bearer token, when the server asks for one.
            ca_file: authorities for https; the system's when empty.
            push: whether the server is given the policies too, or has the bundle from elsewhere.
            timeout_s: the longest that one decision may take, all attempts together.
            interval_s: between looks of the probe.
            on_drift: told of each time that the server held other policies or data than it was given, and got ours
                again; from any thread.

        Raises:
            ConfigError: no such address, or one that can't be trusted.
            EngineError: ``bundle_invalid``.
        """
        bundle = bundle or data.bundle
        self.version = bundle.compiler
        self.revision = bundle.revision
        self._package, _, self._rule = bundle.entry_point.rpartition("/")
        self._expected_rules = len(bundle.rules)
        self._data_digest = str(data.digest)
        self._push = push
        self._timeout_s = timeout_s
        self._interval_s = interval_s
        self._contents = Contents(bundle, data, push=push)
        self._url = url
        self._server = OpaServer(url, token=token, ca_file=ca_file)
        self._closing = threading.Event()
        self.drifts = 0
        self._on_drift = on_drift
        self._start_afresh()
        _ENGINES.add(self)

    def prepare(self) -> None:
        """Compare what the server holds, give it what it lacks, and look again every few seconds from here on.

        Raises:
            EngineError: the server can't be reached or used now. The engine stays usable: ``problem`` says why, the
                probe goes on, and once it found all in order decisions are made.
        """
        try:
            self._probe.look()
        finally:
            self._probe.start()

    def identify(self) -> None:
        """Ask the server who it is, and give it nothing: version and bundle alone, for a look before the start.

        Raises:
            EngineError: the server can't be reached, or is not one that this engine could use.
        """
        self._query(_QUESTION, Deadline(min(self._timeout_s, _LOOK_S)))

    def problem(self) -> str:
        """Why it can't judge now, "" when it can; cached, never blocks."""
        problem = self._probe.problem
        return "" if problem is None else f"{problem.code}: {problem}"

    def decide(self, document: Mapping[str, Any], *, deadline_s: float) -> PolicyDecision:
        """Judge a document; see ``PolicyEngine.decide``.

        No more than the ``timeout_s`` of this engine is taken, whatever the deadline.
        """
        deadline = Deadline(min(deadline_s, self._timeout_s))
        try:
            value = self.evaluate(render_document(document), deadline)
            decision = parse_decision(
                value, uid=document["uid"], data_digest=self._contents.stamp, expected_rules=self._expected_rules
            )
        except EngineAnswerError as error:
            error.hint = error.hint or FAILURES[error.code].remedy
            raise
        except EngineError:
            self._probe.hurry()
            raise
        return replace(decision, data_digest=self._data_digest)

    def evaluate(self, document: bytes, deadline: Deadline) -> Any:
        """The raw answer of the policies to canonical bytes; for tests and measurements, ``decide`` reads it.

        A failure that may pass is met by asking again within the deadline: a query changes nothing.
        """
        problem = self._probe.problem
        if problem is not None and problem.code == "engine_drift":
            raise failure(problem.code, str(problem))
        # A server that is known to be away is asked, but nobody waits for it.
        known_away = problem is not None and problem.code != "engine_unprepared"
        pauses = list(_PAUSES_S[:1] if known_away else _PAUSES_S)
        seen: EngineError | None = None
        while True:
            try:
                return self._ask(document, deadline)
            except EngineTimeout as error:
                # What was seen before the time ran out tells more.
                raise (seen or error) from error
            except EngineError as error:
                seen = error
                if not pauses or not is_passing(error):
                    raise
                if (pause := pauses.pop(0)) >= deadline.remaining_s() or self._closing.wait(pause):
                    raise

    def close(self) -> None:
        """Stop looking, and close every connection."""
        self._closing.set()
        self._probe.stop()
        self._server.close()

    def _ask(self, document: bytes, deadline: Deadline) -> Any:
        if self._compared:
            value = self._query(document, deadline)
            if self._is_stamped(value):
                return value
        # Never compared yet, or a server that restarted: one that has lost everything has no stamp of ours. In one
        # thread: the others that saw the same wait, and find it mended.
        with self._alone(deadline):
            value = self._query(document, deadline) if self._compared else None
            if not self._is_stamped(value):
                self._compare(deadline)
                value = self._query(document, deadline)
        if value is None:
            raise failure("engine_answer_invalid", "the policies gave no answer")
        if not self._is_stamped(value):
            raise failure("engine_other_data", "OPA judged by other data than it was given")
        return value

    def _is_stamped(self, value: Any) -> bool:
        # Anything but an object is for the parser to refuse: giving the data again would not mend it.
        return value is not None and (not isinstance(value, dict) or value.get("data_digest") == self._contents.stamp)

    def _look(self) -> None:
        deadline, giving = Deadline(_LOOK_S), Deadline(GIVE_S)
        with self._alone(deadline):
            self._compare(deadline, giving)

    def _compare(self, deadline: Deadline, giving: Deadline | None = None) -> None:
        value = self._query(_QUESTION, deadline)  # version and bundle, before anything is read or given
        had_stamp = isinstance(value, dict) and self._is_stamped(value)
        changed = self._contents.ensure(self._server, deadline, giving)
        # Another engine of this process is the gate before a reload, or after it: that is no stranger.
        shared, self._server_use.stamp = self._server_use.stamp, self._contents.stamp
        if changed and (had_stamp or changed not in LOST) and shared in {"", self._contents.stamp}:
            self.drifts += 1
            self._on_drift()
            _LOG.warning("somebody changed what OPA holds, and it was given again: %s", changed)
        elif changed:
            _LOG.info("OPA was given what it lacked: %s", changed)
        if changed or not self._compared:
            self._require_stamp(giving or deadline)
        self._compared = True

    def _require_stamp(self, deadline: Deadline) -> None:
        value = self._query(_QUESTION, deadline)
        if not isinstance(value, dict) or value.get("data_digest") != self._contents.stamp:
            raise failure("engine_other_data", "OPA took the policies and the data, and judges by others")

    @contextmanager
    def _alone(self, deadline: Deadline) -> Iterator[None]:
        lock = self._server_use.lock
        if not lock.acquire(timeout=deadline.remaining_s()):
            raise failure("engine_timeout", "OPA was not given its policies in time")
        try:
            yield
        finally:
            lock.release()

    def _query(self, document: bytes, deadline: Deadline) -> Any:
        """The value of the entry point, None without one, from a server whose answer names our version and bundle."""
        answer = self._server.query(self._package, self._rule, document, deadline)
        if not isinstance(answer, dict) or not isinstance(provenance := answer.get("provenance"), dict):
            raise failure("engine_answer_invalid", "OPA's answer has no provenance")
        self._require_ours(provenance)
        if not self._push and "result" not in answer:
            raise failure("engine_answer_invalid", "the policies gave no answer")
        return answer.get("result")

    def _require_ours(self, provenance: dict[str, Any]) -> None:
        if (version := provenance.get("version")) != self.version:
            shown = version if isinstance(version, str) and _VERSION.fullmatch(version) else "unknown"
            raise failure(
                "engine_version_differs", f"OPA is version {shown}, and the policies were built by {self.version}"
            )
        bundles = provenance.get("bundles")
        if self._push:
            if bundles:
                raise failure("bundle_mismatch", "OPA has a bundle of its own, and the gate is to push the policies")
            return
        if not bundles:
            raise failure("bundle_missing", "OPA has no bundle")
        values = list(bundles.values()) if isinstance(bundles, dict) else []
        if [each.get("revision") if isinstance(each, dict) else None for each in values] != [self.revision]:
            raise failure(
                "bundle_mismatch", f"OPA has {len(values)} bundles, and not one alone with the revision {self.revision}"
            )

    def _start_afresh(self) -> None:
        self._compared = False
        self._server_use = _USES.setdefault(self._url, _ServerUse())
        self._server.start_afresh()
        self._probe = Probe(self._look, interval_s=self._interval_s)


_USES: Final[dict[str, _ServerUse]] = {}
_ENGINES: Final[weakref.WeakSet[OpaEngine]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # Locks and connections that another thread held were forked in that state, and the probe's thread was not at all.
    _USES.clear()
    for engine in list(_ENGINES):
        engine._start_afresh()  # noqa: SLF001 - the class's own fork hook


os.register_at_fork(after_in_child=_after_fork_in_child)
