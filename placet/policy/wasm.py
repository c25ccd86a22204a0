"""The embedded engine: the policies as Wasm, in this process, in a sandbox."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Final, Self

import wasmtime

from placet.canonical import render_canonical
from placet.errors import EngineError, EngineTimeout, EngineUnavailable
from placet.policy.bundle import Bundle, shipped_bundle
from placet.policy.data import PolicyData
from placet.policy.decision import PolicyDecision, parse_decision
from placet.policy.document import render_document
from placet.policy.guest import Guest, compile_module, wasm_engine

FUEL_PER_SECOND: Final = 100_000_000
"""Fuel a second of deadline buys. Any machine worth running on executes several times as many Wasm instructions in a
second, so the fuel ends before the deadline does; an ordinary decision needs under a hundredth of it."""
MAX_FUEL: Final = 5 * FUEL_PER_SECOND
"""Most fuel of one decision, however long the deadline."""


class EmbeddedEngine:
    """Judges with the bundle's policy.wasm.

    Nothing is compiled before the first use, so that an engine made before a fork is compiled in each child. The
    module is shared by the threads of a process; each thread has a guest of its own.
    """

    name = "embedded"

    def __init__(self, bundle: Bundle, data: PolicyData) -> None:
        """Read the artefact.

        Raises:
            EngineError: ``bundle_invalid`` when policy.wasm is missing or is not the one in the manifest.
        """
        self.version = bundle.compiler
        self.revision = bundle.revision
        self._entry_point = bundle.entry_point
        self._expected_rules = len(bundle.rules)
        self._data_digest = str(data.digest)
        self._wasm = bundle.load_file("policy.wasm")
        self._data = render_canonical({"placet": data.stamped(expected_rules=self._expected_rules)})
        self._closed = False
        self._start_afresh()
        _ENGINES.add(self)

    @classmethod
    def default(cls, data: PolicyData) -> Self:
        """An engine on the bundle that ships with placet.

        Raises:
            EngineError: ``bundle_invalid``.
        """
        return cls(shipped_bundle(), data)

    def prepare(self) -> None:
        """Compile, and make this thread's guest.

        Raises:
            EngineError: ``bundle_invalid``, or ``engine_unavailable`` once closed.
        """
        self._guest()

    def problem(self) -> str:
        """Nothing: what keeps this engine from judging is no passing matter, and ``prepare`` raises it."""
        return ""

    def decide(self, document: Mapping[str, Any], *, deadline_s: float) -> PolicyDecision:
        """Judge a document; see ``PolicyEngine.decide``."""
        value = self.evaluate(render_document(document), deadline_s=deadline_s)
        return parse_decision(
            value, uid=document["uid"], data_digest=self._data_digest, expected_rules=self._expected_rules
        )

    def evaluate(self, document: bytes, *, deadline_s: float) -> Any:
        """The raw answer of the policies to canonical bytes; for tests and measurements, ``decide`` reads it."""
        if not deadline_s > 0:
            raise EngineTimeout("no time was left for the policies")
        guest = self._guest()
        fuel = min(MAX_FUEL, int(min(deadline_s, MAX_FUEL) * FUEL_PER_SECOND))
        try:
            return guest.evaluate(self._entry_point, document, fuel=fuel)
        except BaseException:
            # What a trap leaves behind in the guest's memory is nobody's business: the next decision gets a new one.
            self._local.guest = None
            raise

    def close(self) -> None:
        """Let go of the module and the guests."""
        self._closed = True
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._local = threading.local()
        self._compiled: tuple[wasmtime.Engine, wasmtime.Module] | None = None

    def _guest(self) -> Guest:
        guest: Guest | None = getattr(self._local, "guest", None)
        if guest is None:
            if self._closed:
                raise EngineUnavailable("the policy engine is closed")
            guest = Guest(*self._module(), self._data)
            if self._entry_point not in guest.entry_points:
                raise EngineError(f"policy.wasm has no entry point {self._entry_point}", code="bundle_invalid")
            self._local.guest = guest
        return guest

    def _module(self) -> tuple[wasmtime.Engine, wasmtime.Module]:
        with self._lock:
            if self._compiled is None:
                engine = wasm_engine()
                self._compiled = (engine, compile_module(engine, self._wasm))
            return self._compiled


_ENGINES: Final[weakref.WeakSet[EmbeddedEngine]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # A child compiles anew: a lock that another thread held, or a guest that was running, was forked in that state.
    for engine in list(_ENGINES):
        engine._start_afresh()  # noqa: SLF001 - the class's own fork hook


os.register_at_fork(after_in_child=_after_fork_in_child)
