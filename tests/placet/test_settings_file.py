"""A file of settings: every fault with its line, none with a value."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.config import load_config
from placet.config_schema import SCHEMA
from placet.errors import ConfigError
from placet.settings_file import load_settings, parse_settings, walk_keys

GOOD = """\
cluster: prod-eu-1
keyring:
  file: keyring.json
  roots: [a.pub]
  threshold: 1
record:
  store: record.sqlite
  log_key: log.key
server:
  port: 8443
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "placet.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text))
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("server:", "sever:", 9, "sever: there is no such key; did you mean server?"),
        ("  port: 8443", "  prt: 8443", 10, "server.prt: there is no such key; did you mean server.port?"),
        ("cluster: prod-eu-1", "cluster: prod-eu-1\nthreads: 4", 2, "did you mean server.threads?"),
        ("  port: 8443", "  zzz: 1", 10, "known here: host, port"),
        ("  port: 8443", "  port: 99999", 10, "server.port: must be at most 65535"),
        ("  port: 8443", "  port: https", 10, "server.port: must be a whole number"),
        ("  port: 8443", "  tls_minimum: 1.3", 10, 'must be "1.2" or "1.3", in quotes'),
        ("  port: 8443", "", 9, "server: must be a mapping"),
        ("  port: 8443", "  tls_cert: a", 10, "server.tls_cert: tls_cert goes with tls_key"),
        ("  port: 8443", "  port: 1\n  port: 2", 11, "the key 'port' is given twice"),
        ("  threshold: 1", "  threshold: 2", 5, "2 signatures can't come from 1 roots"),
        ("  threshold: 1\n", "", 2, "keyring: the key threshold is missing"),
        ("  roots: [a.pub]", "  roots: [a.pub", 5, "not YAML"),
        ("cluster: prod-eu-1", "cluster: prod-eu-1\n---\na: 1", 3, "a second document"),
        ("cluster: prod-eu-1", "\tcluster: x", 1, "not YAML"),
    ],
)
def test_a_fault_is_named_with_file_line_and_key(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    error = refused(tmp_path, GOOD.replace(old, new, 1))
    assert f"{tmp_path / 'placet.yaml'}:{line}: " in str(error)
    assert words in str(error)


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    error = refused(tmp_path, GOOD.replace("server:", "sever:").replace("prod-eu-1", "Prod EU"))
    assert len(error.problems) == 2
    assert all(problem in str(error) for problem in error.problems)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "word\n", "5\n", "null\n", "[]\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert str(tmp_path / "placet.yaml") in str(refused(tmp_path, text))


def test_no_message_quotes_a_value(tmp_path: Path) -> None:
    for old in ("prod-eu-1", "keyring.json", "[a.pub]", "8443"):
        for new in ("hunter2 X", "{hunter2: hunter2}", "[hunter2, hunter2]", "'hunter2"):
            text = GOOD.replace(old, new, 1)
            try:
                load_config(write(tmp_path, text))
            except ConfigError as error:
                assert "hunter2" not in str(error).replace(".hunter2: there is no such key", "")


def test_a_file_that_is_not_there_or_too_large_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_settings(tmp_path / "absent", SCHEMA)
    with pytest.raises(ConfigError, match="can't be read"):
        load_settings(tmp_path, SCHEMA)
    (tmp_path / "large").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="more than"):
        load_settings(tmp_path / "large", SCHEMA)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    try:
        settings = parse_settings(raw, file=Path("f"))
    except ConfigError:
        return
    assert isinstance(settings.value, dict)


def test_every_default_of_the_schema_is_the_one_in_force(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD.partition("server:")[0]))
    renamed = {
        "opa_timeout_seconds": "opa_timeout_s",
        "drain_seconds": "drain_s",
        "bundle_poll_seconds": "bundle_poll_s",
        "interval_seconds": "interval_s",
        "window_seconds": "window_s",
        "max_age_seconds": "max_age_s",
        "max_connections_per_address": "max_per_address",
        "max_waiting_reviews": "max_waiting",
        "max_body_mebibytes": "max_body_mib",
    }
    found = 0
    for path, part in walk_keys(SCHEMA):
        if "default" in part:
            value: object = config
            for step in path.removeprefix("record.").split("."):  # whose members stand in the configuration itself
                value = getattr(value, renamed.get(step, step))
            assert value == part["default"], path
            found += 1
    assert found >= 12
