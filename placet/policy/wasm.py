"""The embedded engine: the policies as Wasm, in this process, in a sandbox."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Final, Self

import wasmtime

from placet.canonical import render_canonical
from placet.errors import EngineError, EngineTimeout, EngineUnavailable
from placet.policy.bundle import Bundle
from placet.policy.data import PolicyData
from placet.policy.decision import PolicyDecision, parse_decision
from placet.policy.document import render_document
from placet.policy.guest import Guest, compile_module, wasm_engine

FUEL_PER_SECOND: Final = 100_000_000
"""Fuel a second of deadline buys. Any machine worth running on executes several times as many Wasm instructions in a
second, so the fuel ends before the deadline does; an ordinary decision needs under a hundredth of it."""
MAX_FUEL: Final = 5 * FUEL_PER_SECOND
"""Most fuel of one decision, however long the deadline."""
_MOST_KEPT: Final = 2  # the policies in force, and those that are tried out


class EmbeddedEngine:
    """Judges with the bundle's policy.wasm.

    Nothing is compiled before the first use, so that an engine made before a fork is compiled in each child. The
    module is shared by the threads of a process; each decision has a guest to itself, taken from those that are idle.
    """

    name = "embedded"

    def __init__(self, bundle: Bundle, data: PolicyData, *, guests: int = 1) -> None:
        """Read the artefact.

        Args:
            bundle: holds policy.wasm.
            data: the policy data to judge by.
            guests: how many ``prepare`` makes: as many as decisions are made at once, so that none waits for its own.

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
        self._guests = guests
        self._closed = False
        self._start_afresh()
        _ENGINES.add(self)

    @classmethod
    def default(cls, data: PolicyData, *, guests: int = 1) -> Self:
        """An engine on the bundle that the data are for: the one that ships with placet, if nobody chose another.

        Raises:
            EngineError: ``bundle_invalid``.
        """
        return cls(data.bundle, data, guests=guests)

    def prepare(self) -> None:
        """Compile, and make the guests.

        Raises:
            EngineError: ``bundle_invalid``, or ``engine_unavailable`` once closed.
        """
        while len(self._idle) < self._guests:
            self._idle.append(self._make_guest())

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
        fuel = min(MAX_FUEL, int(min(deadline_s, MAX_FUEL) * FUEL_PER_SECOND))
        idle = self._idle  # of this process: after a fork, or once closed, there is another list
        try:
            guest = idle.pop()  # atomic, and so no two threads have the same one
        except IndexError:
            guest = self._make_guest()
        answer = guest.evaluate(self._entry_point, document, fuel=fuel)
        # Not after an error: what a trap leaves behind in the guest's memory is nobody's business.
        idle.append(guest)
        return answer

    def close(self) -> None:
        """Let go of the module and the guests."""
        self._closed = True
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Guest] = []
        self._compiled: tuple[wasmtime.Engine, wasmtime.Module] | None = None

    def _make_guest(self) -> Guest:
        if self._closed:
            raise EngineUnavailable("the policy engine is closed")
        guest = Guest(*self._module(), self._data)
        if self._entry_point not in guest.entry_points:
            raise EngineError(f"policy.wasm has no entry point {self._entry_point}", code="bundle_invalid")
        return guest

    def _module(self) -> tuple[wasmtime.Engine, wasmtime.Module]:
        with self._lock:
            if self._compiled is None:
                self._compiled = _COMPILED.find(self._wasm)
            return self._compiled


class _Compiled:
    """The modules that were compiled last in this process, by their bytes: compiling takes most of a second of CPU.

    A reload with the same policies, and a gate that is built aside to be tested, have one already.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child has to."""
        self._lock = threading.Lock()
        self._kept: dict[bytes, tuple[wasmtime.Engine, wasmtime.Module]] = {}

    def find(self, wasm: bytes) -> tuple[wasmtime.Engine, wasmtime.Module]:
        """The module, compiled now if it was not before.

        Raises:
            EngineError: ``bundle_invalid``.
        """
        key = hashlib.sha256(wasm).digest()
        with self._lock:
            found = self._kept.pop(key, None)
            if found is None:
                engine = wasm_engine()
                found = (engine, compile_module(engine, wasm))
            self._kept[key] = found
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            return found


_COMPILED: Final = _Compiled()


def find_module(wasm: bytes) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """The compiled module of these bytes, one of the last few of this process or a new one.

    Raises:
        EngineError: ``bundle_invalid``.
    """
    return _COMPILED.find(wasm)


_ENGINES: Final[weakref.WeakSet[EmbeddedEngine]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    _COMPILED.forget()
    # A child compiles anew: a lock that another thread held, or a guest that was running, was forked in that state.
    for engine in list(_ENGINES):
        engine._start_afresh()  # noqa: SLF001 - the class's own fork hook


os.register_at_fork(after_in_child=_after_fork_in_child)
