"""Targets: what operators write: the configuration, policy data, and the API server's ``timeout`` parameter."""

from __future__ import annotations

import functools
import math
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from placet.canonical import render_canonical
from placet.cli.config_example import render_example
from placet.config import load_config
from placet.config_schema import SCHEMA
from placet.errors import ConfigError, EngineError, ReviewError
from placet.policy.data import PolicyData, load_policy_data
from placet.settings_file import parse_settings
from tests.fuzz.documents import TESTS
from tests.fuzz.target import require
from webhook.app import _timeout, budget_s
from webhook.settings import HttpSettings

_MINIMAL: Final = """\
cluster: prod-eu-1
keyring: {file: keyring.json, roots: [a.pub, b.pub, c.pub], threshold: 2}
record: {store: record.sqlite, log_key: log.key}
"""
_MODES: Final = {"enforce", "warn", "audit"}


def run_config(raw: bytes) -> None:
    """A configuration file."""
    try:
        parse_settings(raw, file=Path("placet.yaml"))
    except ConfigError as error:
        require(error.problems, "a refusal names what is wrong")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "placet.yaml"
        file.write_bytes(raw)
        try:
            config = load_config(file)
        except ConfigError:
            return
    require(config.origin and config.cluster, "a configuration names its log and its cluster")


_LONGEST_SEED: Final = 8 * 1024


@functools.cache
def _shipped() -> PolicyData:
    return load_policy_data(None)


def run_policydata(raw: bytes) -> None:
    """An operator's policy data over ours."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.yaml"
        file.write_bytes(raw)
        try:
            data = load_policy_data(file)
        except EngineError as error:
            require(error.code == "policy_data_invalid" and error.hint, "a refusal has the documented code and a hint")
            return
    shipped = _shipped()
    for name, settings in data.value["environments"].items():
        require(settings["mode"] in _MODES, f"{name} has a mode that is known")
        require(settings["approvals"], f"{name} asks for approvals")
    for name in ("risk", "levels", "roles"):
        require(data.value[name] == shipped.value[name], f"{name} is not an operator's to change")
    require(render_canonical(data.value), "policy data has a digest")


def run_timeout(raw: bytes) -> None:
    """The query of an admission call."""
    query, limits = raw.decode("latin-1"), HttpSettings()
    environ: dict[str, Any] = {"QUERY_STRING": query}
    try:
        budget = budget_s(_timeout(environ), limits)
    except ReviewError as error:
        require((error.status, error.code) == (400, "review_timeout"), "a refusal has the documented code")
        return
    require(math.isfinite(budget), "a budget is a number")
    require(0 <= budget <= limits.longest_timeout_s, "within what any caller is given")


def configs() -> Iterator[bytes]:
    """Files as they are shipped or documented."""
    example = render_example(SCHEMA)
    yield example.encode()
    yield re.sub(r"(?m)^( *)#(?=[a-z_]+:)", r"\1", example).encode()  # with every key that may be left out
    yield _MINIMAL.encode()


def policy_data() -> Iterator[bytes]:
    """Ours, and an operator's."""
    for file in sorted((TESTS.parent / "placet" / "_bundle" / "defaults").glob("*.yaml")):
        if len(raw := file.read_bytes()) <= _LONGEST_SEED:
            yield raw
    yield b'detection: {images: {acme-server: server}, words: {mistral: "off"}, mounts: {/weights: model}}\n'
    yield (
        b"kinds: {servers.example.com: {group: example.com, kind: Server, resource: servers, versions: [v1], "
        b"pod_templates: [spec.template], ungoverned: [spec.paused], replicas: [{at: spec, count: [replicas]}]}}\n"
    )
    yield b"environments: {production: {mode: warn}}\nrules: {approvals.separation: {mode: audit}}\n"
    yield b"risk_approvals:\n  low: [technical, security]\n"


def timeouts() -> Iterator[bytes]:
    """As Go writes durations."""
    yield from (b"timeout=10s", b"timeout=1m30s", b"timeout=500ms", b"timeout=0s", b"timeout=1.5s", b"timeout=", b"a=b")
    yield from (b"timeout=10s&timeout=1s", b"timeout=%31s", b"&" * 20 + b"timeout=1s", b"timeout=9999m999999.9s")


RUNS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]]] = {
    "config": (run_config, configs),
    "policydata": (run_policydata, policy_data),
    "timeout": (run_timeout, timeouts),
}
