"""The real programs behind the tests of the policies: ``opa`` as a command, as a server, and as a compiler to Wasm."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import wasmtime
from opa_client.opa import OpaClient

from placet.canonical import render_canonical
from placet.policy.bundle import SHIPPED, shipped_bundle
from placet.policy.guest import Guest, compile_module, wasm_engine
from tests.simulators.ports import free_port
from tools.bundle import NOT_POLICY, find_opa

ROOT: Final = Path(__file__).resolve().parent.parent.parent
POLICIES: Final = ROOT / "policies"
HARNESS: Final = Path(__file__).resolve().parent / "harness.rego"
PLENTY: Final = 5_000_000_000


def run_opa(*arguments: str, given: str | None = None) -> str:
    """Standard output of ``opa``, run in the policies folder; it must succeed."""
    command = [find_opa(), *arguments]
    done = subprocess.run(command, cwd=POLICIES, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def eval_opa(query: str, given: Any, *, strict: bool = False) -> Any:
    """Value of a query over the policies and the harness."""
    options = ["--strict-builtin-errors"] if strict else []
    paths = ["--data", ".", "--data", str(HARNESS), *NOT_POLICY]
    answer = run_opa("eval", *options, *paths, "--stdin-input", "--format", "json", query, given=json.dumps(given))
    return json.loads(answer)["result"][0]["expressions"][0]["value"]


def compile_guest(entry_points: Sequence[str]) -> Guest:
    """Policies, their tests and the harness as Wasm, with the shipped defaults as data."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "tests.tar.gz"
        entries = [option for entry in entry_points for option in ("--entrypoint", entry)]
        run_opa("build", "--target", "wasm", *entries, "--output", str(output), *NOT_POLICY, ".", str(HARNESS))
        with tarfile.open(output) as archive:
            members = {name: archive.extractfile(name) for name in ("/policy.wasm", "/data.json")}
            wasm, data = (member.read() for member in members.values() if member is not None)
    engine = wasm_engine()
    return Guest(engine, compile_module(engine, wasm), data)


@functools.cache
def _shipped_module() -> tuple[wasmtime.Engine, wasmtime.Module]:
    engine = wasm_engine()
    return engine, compile_module(engine, shipped_bundle().load_file("policy.wasm"))


def shipped_guest(data: Any) -> Guest:
    """The shipped policy.wasm with any data at ``data.placet``; compiled once for all tests of a process."""
    return Guest(*_shipped_module(), render_canonical({"placet": data}))


@contextlib.contextmanager
def running_opa(bundle: Path = SHIPPED / "bundle.tar.gz", *, port: int = 0) -> Iterator[str]:
    """Address of an OPA server on loopback with the bundle; in its default mode."""
    port = port or free_port()
    address = f"127.0.0.1:{port}"
    command = [find_opa(), "run", "--server", "--addr", address, "--skip-version-check", "--log-level", "error"]
    with subprocess.Popen([*command, "--bundle", str(bundle)], stderr=subprocess.DEVNULL) as server:
        try:
            client = OpaClient(host="127.0.0.1", port=port, retries=0)
            client.wait_for_ready(timeout=30, interval=0.05)
            client.close_connection()
            yield f"http://{address}"
        finally:
            server.terminate()
