"""The configuration file: every mistake is named before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.config import load_config
from placet.errors import ConfigError

MINIMAL = """\
cluster: prod-eu-1
keyring:
  file: keyring.json
  roots: [a.pub, b.pub, c.pub]
  threshold: 2
record:
  store: record.sqlite
  log_key: log.key
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "placet.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_the_cautious_ones(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.policy.engine == "embedded"
    assert config.autoscalers == "unknown"
    assert config.server.host == "127.0.0.1"
    assert config.origin == "placet.dev/log/prod-eu-1"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.keyring_file == tmp_path / "keyring.json"
    assert config.root_files[2] == tmp_path / "c.pub"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("threshold: 2", "threshold: 0"), "keyring.threshold"),
        (("threshold: 2", "threshold: 4"), "4 signatures can't come from 3 roots"),
        (("threshold: 2", "threshold: two"), "keyring.threshold"),
        (("roots: [a.pub, b.pub, c.pub]", "roots: []"), "keyring.roots"),
        (("roots: [a.pub, b.pub, c.pub]", "roots: [a.pub, a.pub]"), "keyring.roots"),
        (("cluster: prod-eu-1", "cluster: Prod EU"), "cluster"),
        (("cluster: prod-eu-1\n", ""), "cluster"),
        (("record:", "recrod:"), "recrod"),
        (("  log_key: log.key\n", ""), "log_key"),
        (("cluster: prod-eu-1", "cluster: prod-eu-1\npolicy: {engine: opa}"), "opa_url"),
        (("cluster: prod-eu-1", "cluster: prod-eu-1\npolicy: {engine: rego}"), "policy.engine"),
        (("cluster: prod-eu-1", "cluster: prod-eu-1\nserver: {tls_cert: a.crt}"), "tls_key"),
        (("cluster: prod-eu-1", "cluster: prod-eu-1\nserver: {port: 70000}"), "server.port"),
        (("cluster: prod-eu-1", "cluster: prod-eu-1\nserver: {client_ca: ca.crt}"), "client_names or client_sans"),
        (("cluster: prod-eu-1", "cluster: prod-eu-1\nserver: {client_sans: ['DNS:a']}"), "client_ca"),
        (("cluster: prod-eu-1", "cluster: prod-eu-1\nserver: {client_ca: a, client_sans: [a]}"), "client_sans"),
        (("cluster: prod-eu-1", "cluster: prod-eu-1\nserver: {client_ca: a, client_sans: ['IP:::01']}"), "::01"),
        (("cluster: prod-eu-1", "cluster: prod-eu-1\nserver: {max_body_mebibytes: 15}"), "max_body_mebibytes"),
        (("cluster: prod-eu-1", "cluster: [unclosed"), "not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    file = write(tmp_path, MINIMAL.replace(*change))
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(file) in str(caught.value)
    assert words in str(caught.value)


def test_paths_survive_a_change_of_a_mounted_config_map(tmp_path: Path) -> None:
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        write(tmp_path / version, MINIMAL)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "placet.yaml").symlink_to("..data/placet.yaml")
    before = load_config(tmp_path / "placet.yaml")
    (tmp_path / "next").symlink_to("..2")
    (tmp_path / "next").rename(tmp_path / "..data")
    assert before.keyring_file == tmp_path / "keyring.json"
    assert load_config(tmp_path / "placet.yaml") == before


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "absent.yaml")
    assert "placet init" in caught.value.hint


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_config_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.mktemp("config") / "placet.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError):
        load_config(file)
