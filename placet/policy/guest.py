"""A host for policies compiled by OPA to Wasm: one instance, run on wasmtime.

The ABI is OPA's own (https://www.openpolicyagent.org/docs/wasm, ABI 1.2 and later). No host builtin is offered, so all
that the guest can reach is its own memory, and all that it can do is answer, trap, or use up its fuel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import wasmtime

from placet.errors import EngineAnswerError, EngineError, EngineTimeout

MAX_PAGES: Final = 128
"""Most memory of one instance, in pages of 64 KiB: 8 MiB."""
_PAGE_BYTES: Final = 1 << 16
_SPARE_PAGES: Final = 8
_INPUT_STEP: Final = 4096
_LOAD_FUEL: Final = 1_000_000_000
_ABI: Final = (1, 2)


def wasm_engine() -> wasmtime.Engine:
    """A wasmtime engine that counts fuel.

    Compilation uses no thread pool: the threads of a pool are not there in a forked child, and a compilation that
    waits for them never ends.
    """
    config = wasmtime.Config()
    config.consume_fuel = True
    config.parallel_compilation = False
    return wasmtime.Engine(config)


def compile_module(engine: wasmtime.Engine, wasm: bytes) -> wasmtime.Module:
    """Compile the policy.

    Raises:
        EngineError: ``bundle_invalid`` when it is no Wasm module.
    """
    try:
        return wasmtime.Module(engine, wasm)
    except wasmtime.WasmtimeError as exc:
        raise EngineError(f"policy.wasm can't be compiled: {exc}", code="bundle_invalid") from exc


class Guest:
    """One instance of the policy with its data. One thread at a time has it, and after any error it is thrown away."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, data: bytes) -> None:
        """Instantiate, check what the module asks of its host, and load the data.

        Args:
            engine: of ``wasm_engine``.
            module: compiled by that engine.
            data: canonical JSON of the base document (``{"placet": ...}``).

        Raises:
            EngineError: ``bundle_invalid``: another ABI, a host builtin, or no such exports; ``engine_aborted``: the
                data does not fit into the guest.
        """
        self._store = wasmtime.Store(engine)
        self._store.set_fuel(_LOAD_FUEL)
        try:
            limits = wasmtime.Limits(_least_pages(module), MAX_PAGES)
            self._memory = wasmtime.Memory(self._store, wasmtime.MemoryType(limits))
            linker = wasmtime.Linker(engine)
            self._define_imports(linker)
            exports = linker.instantiate(self._store, module).exports(self._store)
            self._functions = {name: item for name, item in exports.items() if isinstance(item, wasmtime.Func)}
            _require_abi([exports[f"opa_wasm_abi_{part}version"] for part in ("", "minor_")], self._store)
            self.entry_points = self._read_entry_points()
            self._data = self._load(data)
            self._heap = self._call("opa_heap_ptr_get")
        except (wasmtime.WasmtimeError, wasmtime.Trap, KeyError, ValueError, TypeError, IndexError) as exc:
            raise EngineError(f"policy.wasm is not a policy that can be run: {exc}", code="bundle_invalid") from exc

    def evaluate(self, entry_point: str, document: bytes, *, fuel: int) -> Any:
        """The value at the entry point.

        The heap is set back to where it stood after the data was loaded, so nothing of one input is left for the next.

        Args:
            entry_point: ``admission/main/decision``.
            document: JSON bytes of our own serialiser: what the guest can't parse is undefined to it, without an error.
            fuel: most units of work, about one a Wasm instruction.

        Raises:
            EngineTimeout: the fuel was used up.
            EngineAnswerError: the entry point is undefined, or the answer can't be read.
            EngineError: ``engine_aborted``: the guest gave up or trapped.
        """
        self._store.set_fuel(fuel)
        # Written in whole steps: ctypes makes a new type for each length of buffer that it has not seen. The guest is
        # told the length, and its heap starts over the padding.
        padded = document.ljust(-(-len(document) // _INPUT_STEP) * _INPUT_STEP)
        self._reserve(self._heap + len(padded))
        self._memory.write(self._store, padded, self._heap)
        end = self._heap + len(document)
        address = self._call(
            "opa_eval", 0, self.entry_points[entry_point], self._data, self._heap, len(document), end, 0
        )
        try:
            answer = json.loads(self._text(address))
        except (ValueError, RecursionError) as exc:
            raise EngineAnswerError("the guest's answer is not JSON") from exc
        if (
            not isinstance(answer, list)
            or len(answer) != 1
            or not isinstance(answer[0], dict)
            or "result" not in answer[0]
        ):
            raise EngineAnswerError("the policies gave no answer")
        return answer[0]["result"]

    @property
    def fuel_left(self) -> int:
        """What the last evaluation left of its fuel."""
        return int(self._store.get_fuel())

    def _define_imports(self, linker: wasmtime.Linker) -> None:
        i32 = wasmtime.ValType.i32()
        linker.define(self._store, "env", "memory", self._memory)
        linker.define_func("env", "opa_abort", wasmtime.FuncType([i32], []), self._abort)
        linker.define_func("env", "opa_println", wasmtime.FuncType([i32], []), lambda _address: None)
        for arity in range(5):
            kind = wasmtime.FuncType([i32] * (arity + 2), [i32])
            linker.define_func("env", f"opa_builtin{arity}", kind, _refuse_builtin)

    def _read_entry_points(self) -> Mapping[str, int]:
        if builtins := self._dump("builtins"):
            raise ValueError(f"it needs host builtins: {', '.join(sorted(builtins))}")
        return self._dump("entrypoints")

    def _dump(self, export: str) -> dict[str, int]:
        value: dict[str, int] = json.loads(self._text(self._call("opa_json_dump", self._call(export))))
        return value

    def _load(self, content: bytes) -> int:
        address = self._call("opa_malloc", len(content))
        self._memory.write(self._store, content, address)
        if (value := self._call("opa_json_parse", address, len(content))) == 0:
            raise ValueError("it could not read the policy data")
        return value

    def _reserve(self, end: int) -> None:
        """Grow the memory until it holds ``end`` bytes; the guest grows it itself for what it computes."""
        if (missing := end - self._memory.data_len(self._store)) > 0:
            try:
                self._memory.grow(self._store, -(-missing // _PAGE_BYTES))
            except wasmtime.WasmtimeError as exc:
                raise EngineError(
                    "the policy input does not fit into the guest's memory", code="engine_aborted"
                ) from exc

    def _call(self, export: str, *arguments: int) -> int:
        try:
            # As values of their type: to find out what a plain number stands for takes longer than a short call.
            value: int = self._functions[export](self._store, *map(wasmtime.Val.i32, arguments))
        except wasmtime.Trap as trap:
            if trap.trap_code == wasmtime.TrapCode.OUT_OF_FUEL:
                raise EngineTimeout("the policies used up their fuel") from trap
            raise EngineError(f"the policies trapped: {trap.message}", code="engine_aborted") from trap
        return value

    def _text(self, address: int) -> bytes:
        """The zero-terminated text at an address of the guest's memory."""
        end = self._memory.data_len(self._store)
        size = 4096
        while True:
            found = bytes(self._memory.read(self._store, address, min(address + size, end)))
            if (stop := found.find(0)) >= 0:
                return found[:stop]
            if address + size >= end:
                raise EngineAnswerError("the guest's answer has no end")
            size *= 4

    def _abort(self, address: int) -> NoReturn:
        why = self._text(address)[:200].decode("ascii", "backslashreplace")
        raise EngineError(f"the policies gave up: {why}", code="engine_aborted")


def _least_pages(module: wasmtime.Module) -> int:
    """Pages that the module's own data needs.

    Some more than it says: OPA forgets a part of what it writes there, and a module whose data ends just behind a page
    says one page too few. Then it could not be instantiated at all. The heap begins behind all of it either way.
    """
    (least,) = (entry.type.limits.min for entry in module.imports if isinstance(entry.type, wasmtime.MemoryType))
    return min(int(least) + _SPARE_PAGES, MAX_PAGES)


def _require_abi(versions: Sequence[object], store: wasmtime.Store) -> None:
    major, minor = (int(version.value(store)) for version in versions if isinstance(version, wasmtime.Global))
    if major != _ABI[0] or minor < _ABI[1]:
        raise ValueError(f"its ABI is {major}.{minor}")


def _refuse_builtin(*_arguments: int) -> NoReturn:
    raise EngineError("the policies called a host builtin", code="engine_aborted")
