"""The tests of policies through the embedded engine: all of them in one module, compiled once."""

from __future__ import annotations

import io
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import wasmtime

from placet.errors import EngineAnswerError, EngineError
from placet.policy.authoring.findings import of_opa_errors
from placet.policy.authoring.opa import Opa, Ran
from placet.policy.authoring.syntax import SyntaxFault
from placet.policy.authoring.tree import Tree
from placet.policy.guest import Guest, compile_module

_ASKED: Final = "placet_asked"
TEST_FUEL: Final = 500_000_000
"""Most fuel of one test: what the engine in a gate gives the longest decision."""


def build_wasm(opa: Opa, tree: Tree, folder: Path, asked: Sequence[str]) -> tuple[bytes, bytes]:
    """Compile what was laid out.

    Args:
        opa: compiles.
        tree: what was laid out.
        folder: where.
        asked: what the module is to answer, ``data.tests.risk.ceiling_test.test_passes``; each has an entry point, by
            its place: ``entry_point``.

    Returns:
        the module, and the data that ships, as JSON.

    Raises:
        SyntaxFault: it does not compile.
    """
    # Rules of a module of our own, and not the documents themselves: of entry points into a package that others walk
    # through, opa says that its functions are "used as reference, not called". Not beside the policies, since whoever
    # else reads the folder meanwhile would find it there.
    with tempfile.TemporaryDirectory(prefix="placet-wasm-") as elsewhere:
        questions, output = Path(elsewhere) / "asked.rego", Path(elsewhere) / "wasm.tar.gz"
        rules = (f"a{at} := {ref}\n" for at, ref in enumerate(asked))
        questions.write_text("\n".join([f"package {_ASKED}\n", *rules]), encoding="utf-8")
        options = [option for at in range(len(asked)) for option in ("--entrypoint", entry_point(at))]
        options += ["--target", "wasm", "--optimize", "0", "--output", str(output)]
        ran = opa.run("build", *options, ".", str(questions), folder=folder)
        raw = output.read_bytes() if ran.code == 0 else b""
    if not raw:
        # The command itself writes no JSON; what checks, names file and line.
        errors = opa.run("check", "--format", "json", ".", folder=folder).errors() or _said(ran)
        raise SyntaxFault(of_opa_errors(errors, tree.shown))
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        members = {name: archive.extractfile(name) for name in ("/policy.wasm", "/data.json")}
        wasm, data = (file.read() for file in members.values() if file is not None)
    return wasm, data


def entry_point(at: int) -> str:
    """The entry point of what was asked at this place of the list."""
    return f"{_ASKED}/a{at}"


def _said(ran: Ran) -> dict[str, Any]:
    said = (ran.stderr or ran.stdout).strip()[:1000]
    return {"errors": [{"message": said, "code": "rego_build_error"}]}


def quick_engine() -> wasmtime.Engine:
    """As the gate's own, compiled with less care: a module of tests is run once."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.parallel_compilation = True
    config.cranelift_opt_level = "none"
    return wasmtime.Engine(config)


class Answers:
    """What one module answers at each of its entry points.

    A guest that trapped is thrown away, and the next question gets another one: a test can't spoil the others.
    """

    def __init__(self, wasm: bytes, data: bytes) -> None:
        """Compile.

        Raises:
            EngineError: ``bundle_invalid``: it needs a builtin of its host, for one.
        """
        self._engine = quick_engine()
        self._module = compile_module(self._engine, wasm)
        self._data = data
        self._guest: Guest | None = None
        self.fuel_used = 0

    def ask(self, entry: str, document: bytes = b"{}", *, fuel: int = TEST_FUEL) -> Any:
        """The value at an entry point; None where it is undefined.

        Raises:
            EngineError: the guest trapped, gave up or used up its fuel.
        """
        if self._guest is None:
            self._guest = Guest(self._engine, self._module, self._data)
        guest, self._guest = self._guest, None
        try:
            value = guest.evaluate(entry, document, fuel=fuel)
        except EngineAnswerError:
            value = None
        except EngineError:
            self.fuel_used = fuel - guest.fuel_left
            raise
        self._guest = guest
        self.fuel_used = fuel - guest.fuel_left
        return value


@dataclass(frozen=True, slots=True)
class Answer:
    """What the embedded engine says of one test.

    Attributes:
        value: None where there is none.
        fault: why there is none; "" where there may be.
    """

    value: Any
    fault: str
    duration_s: float


def run_tests(answers: Answers, tests: Sequence[str]) -> dict[str, Answer]:
    """Each test, in the order that they were asked in."""
    found = {}
    for at, test in enumerate(tests):
        value, fault, began = None, "", time.perf_counter()
        try:
            value = answers.ask(entry_point(at))
        except EngineError as error:
            fault = f"{error} ({error.code})"
        found[test] = Answer(value, fault, time.perf_counter() - began)
    return found


def held(value: Any, parts: Mapping[str, bool]) -> bool:
    """Whether a test's value says that it passed.

    Args:
        value: the Wasm module's.
        parts: what OPA says of the cases of a test that has several, name -> passed.
    """
    if not parts:
        return value is True
    return isinstance(value, dict) and {name for name, passed in value.items() if passed is True} == set(parts)
