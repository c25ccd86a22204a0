"""From a configuration to an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from placet.assemble import build_engine, build_residents
from placet.config import Config, load_config
from placet.errors import ConfigError
from placet.policy.data import load_policy_data
from placet.policy.opa import OpaEngine
from placet.policy.wasm import EmbeddedEngine
from tests.e2e.authority import Authority

DATA = load_policy_data(None)
CONFIG = """
cluster: prod-eu-1
keyring: {file: keyring.json, roots: [root.pub], threshold: 1}
record: {store: record.sqlite, log_key: log.key}
"""


def configured(folder: Path, policy: str = "") -> Config:
    file = folder / "placet.yaml"
    file.write_text(CONFIG + policy, "utf-8")
    return load_config(file)


def opa(folder: Path, policy: str) -> Any:
    engine = build_engine(configured(folder, policy), DATA)
    assert isinstance(engine, OpaEngine)
    return engine


def test_the_engine_in_the_process_is_the_default_and_has_no_problem(tmp_path: Path) -> None:
    engine = build_engine(configured(tmp_path), DATA)
    assert isinstance(engine, EmbeddedEngine)
    assert engine.problem() == ""
    engine.close()


def test_opa_gets_its_mode_time_token_and_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Authority(tmp_path, "opa")
    monkeypatch.setenv("PLACET_OPA_TOKEN", "a-token")
    engine = opa(
        tmp_path,
        "policy: {engine: opa, opa_url: 'https://opa:8443', opa_ca: ca.crt, opa_bundle: push, "
        "opa_timeout_seconds: 0.5}",
    )
    assert (engine._push, engine._timeout_s) == (True, 0.5)
    arguments = engine._server._arguments
    assert (arguments["token"], arguments["ssl"], arguments["port"]) == ("a-token", str(tmp_path / "ca.crt"), 8443)


def test_opa_is_pulled_from_without_a_token_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLACET_OPA_TOKEN", raising=False)
    engine = opa(tmp_path, "policy: {engine: opa, opa_url: 'http://127.0.0.1:8181'}")
    assert (engine._push, engine._timeout_s, engine._server._arguments["token"]) == (False, 2.0, None)
    assert engine.problem().startswith("engine_unprepared: ")


def test_an_opa_that_anybody_on_the_way_could_be_is_refused_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="plain http to another machine"):
        opa(tmp_path, "policy: {engine: opa, opa_url: 'http://opa:8181'}")


def test_what_runs_in_a_namespace_is_counted_only_where_that_is_asked_for(tmp_path: Path) -> None:
    assert not build_residents(configured(tmp_path)).asked
    assert build_residents(configured(tmp_path, "namespaces: lookup")).asked
