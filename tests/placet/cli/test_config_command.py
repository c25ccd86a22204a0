"""``placet config``: what a gate would find at start, found beforehand, and nothing changed by looking."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests
import yaml
from cryptography import x509

from placet.certificates import make_serving_certificate
from placet.cli.certificate_check import check_certificate
from placet.cli.config_checks import SOON, expiry
from placet.config import load_config
from placet.config_schema import SCHEMA
from placet.settings_file import walk_keys
from tests.e2e.gateprocess import Team
from tests.policies.programs import running_opa

Change = Callable[[Team], Any]


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return Team.found(tmp_path_factory.mktemp("team"))


@pytest.fixture
def team(founded: Team, tmp_path: Path) -> Team:
    folder = tmp_path / "team"
    shutil.copytree(founded.folder, folder)
    return Team(folder)


def state(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(file.relative_to(folder)): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def problems(team: Team, *, expect: int = 1) -> dict[str, str]:
    found = json.loads(team.run("config", "check", "-o", "json", expect=expect).stdout)
    assert found["schema"] == "placet.dev/config-check/v1"
    assert found["valid"] is (expect == 0)
    return {one["check"]: f"{one['place']} {one['sentence']}" for one in found["checks"] if one["status"] == "problem"}


def test_what_init_made_is_fine_and_looking_changes_nothing(team: Team) -> None:
    before = state(team.folder)
    done = team.run("config", "check")
    assert "a gate can start with this" in done.stdout
    assert "problem" not in done.stdout
    for part in ("configuration", "keys", "roots", "keyring", "revocations", "policy data", "policies", "log key"):
        assert re.search(rf"^fine     {part} ", done.stdout, re.MULTILINE), part
    assert "localhost" in done.stdout
    assert re.search(r"revision sha256:[0-9a-f]{64}", done.stdout)
    assert state(team.folder) == before


def test_it_runs_beside_a_gate_and_leaves_the_record_as_it_is(team: Team) -> None:
    with team.webhook():
        assert problems(team, expect=0) == {}
    before = state(team.folder)
    done = team.run("config", "check", "-o", "yaml")
    (record,) = [one for one in yaml.safe_load(done.stdout)["checks"] if one["check"] == "record"]
    assert re.search(r"record.sqlite: [1-9]\d* leaves", record["sentence"])
    assert state(team.folder) == before


def other_key(team: Team) -> None:
    (team.folder / "tls2").mkdir()
    make_serving_certificate(team.folder / "tls2", hosts=("other",))
    shutil.copyfile(team.folder / "tls2" / "server.key", team.folder / "tls" / "server.key")


def one_root_twice(team: Team) -> None:
    shutil.copyfile(team.folder / "roots" / "root-1.pub", team.folder / "roots" / "root-2.pub")
    team.configure({"keyring": {"threshold": 3}})


def old_keyring(team: Team) -> None:
    """The gate has seen version 2, and version 1 comes back."""
    first = (team.folder / "keyring.dsse.json").read_bytes()
    team.run("keyring", "renew")
    (team.folder / "keyring.dsse.json").unlink()
    for root in (1, 2):
        team.run("keyring", "sign", "--key", f"keys/root-{root}.key")
    with team.webhook():
        pass
    (team.folder / "keyring.dsse.json").write_bytes(first)


def foreign_record(team: Team) -> None:
    with team.webhook():
        pass
    team.configure({"record": {"origin": "placet.dev/log/other"}})


CASES: dict[str, tuple[Change, str, str]] = {
    "unknown key": (lambda team: team.configure({"servr": {}}), "configuration", "did you mean server?"),
    "keyring away": (lambda team: (team.folder / "keyring.dsse.json").unlink(), "keyring", "keyring.dsse.json"),
    "keyring tampered": (
        lambda team: (team.folder / "keyring.dsse.json").write_text("{}", encoding="utf-8"),
        "keyring",
        "can't be read",
    ),
    "older keyring": (old_keyring, "keyring", "version 2 was seen before"),
    "root away": (lambda team: (team.folder / "roots" / "root-2.pub").unlink(), "roots", "root-2.pub"),
    "one root twice": (
        one_root_twice,
        "roots",
        "3 signatures are wanted, of 2 distinct root keys",
    ),
    "open log key": (lambda team: (team.folder / "keys" / "log.key").chmod(0o644), "keys", "others have access"),
    "open TLS key": (lambda team: (team.folder / "tls" / "server.key").chmod(0o604), "keys", "others have access"),
    "log key away": (lambda team: (team.folder / "keys" / "log.key").unlink(), "log key", "log.key"),
    "log key of another kind": (
        lambda team: shutil.copyfile(team.folder / "tls" / "server.key", team.folder / "keys" / "log.key"),
        "log key",
        "not an Ed25519 key",
    ),
    "another certificate's key": (other_key, "certificate", "is not the key of"),
    "certificate away": (lambda team: (team.folder / "tls" / "server.crt").unlink(), "certificate", "server.crt"),
    "no certificate": (
        lambda team: (team.folder / "tls" / "server.crt").write_text("x", encoding="utf-8"),
        "certificate",
        "holds no certificate",
    ),
    "policy data": (
        lambda team: (team.folder / "policy-data.yaml").write_text("environmets: {}\n", encoding="utf-8"),
        "policy data",
        "policy-data.yaml:1: the key 'environmets' is not known here; did you mean 'environments'?",
    ),
    "a revocation by nobody": (
        lambda team: (team.folder / "revocations" / "a.dsse.json").write_text("{}", encoding="utf-8"),
        "revocations",
        "a.dsse.json",
    ),
    "no record": (
        lambda team: (team.folder / "record.sqlite").write_bytes(b"x" * 4096),
        "record",
        "not a",
    ),
    "record of another log": (foreign_record, "record", "and not of placet.dev/log/other"),
    "folder of the record away": (
        lambda team: team.configure({"record": {"store": "absent/record.sqlite"}}),
        "record",
        "absent is not there",
    ),
    "OPA away": (
        lambda team: team.configure({"policy": {"engine": "opa", "opa_url": "http://127.0.0.1:9"}}),
        "opa",
        "can't be reached",
    ),
    "client CA away": (
        lambda team: team.configure({"server": {"client_ca": "absent.crt", "client_names": ["a"]}}),
        "client CA",
        "absent.crt",
    ),
    "kubeconfig away": (lambda team: team.configure({"kubeconfig": "absent"}), "kubeconfig", "absent"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_would_keep_a_gate_from_its_work_is_found(team: Team, case: str) -> None:
    change, part, words = CASES[case]
    change(team)
    before = state(team.folder)
    found = problems(team)
    assert words in found[part], found
    assert set(found) <= {part, "keyring", "revocations"}, "one cause, and what follows from it"
    assert state(team.folder) == before


def test_a_problem_names_file_and_line_of_its_key(team: Team) -> None:
    (team.folder / "keys" / "log.key").unlink()
    lines = (team.folder / "placet.yaml").read_text(encoding="utf-8").splitlines()
    line = 1 + next(number for number, text in enumerate(lines) if "log_key" in text)
    assert problems(team)["log key"].startswith(f"placet.yaml:{line} ")


def test_an_encrypted_log_key_needs_its_passphrase(tmp_path: Path) -> None:
    team = Team.found(tmp_path)
    generate = (
        "from pathlib import Path; from placet.audit.note import generate_log_key;"
        "generate_log_key(Path('secret.key'), name='placet.dev/log/e2e', passphrase=b'correct horse')"
    )
    subprocess.run([sys.executable, "-c", generate], cwd=tmp_path, check=True, timeout=60)
    team.configure({"record": {"log_key": "secret.key"}})
    assert "can be opened" in problems(team)["log key"]
    os.environ["PLACET_LOG_KEY_PASSPHRASE"] = "correct horse"
    try:
        assert problems(team, expect=0) == {}
    finally:
        del os.environ["PLACET_LOG_KEY_PASSPHRASE"]


def test_a_real_opa_without_our_bundle_is_found_and_given_nothing(team: Team) -> None:
    with running_opa() as url:
        team.configure({"policy": {"engine": "opa", "opa_url": url, "opa_bundle": "pull"}})
        assert problems(team, expect=0) == {}
        assert "placet" not in requests.get(f"{url}/v1/data", timeout=5).json()["result"]


def test_a_configuration_that_can_not_be_read_is_not_a_verdict(tmp_path: Path) -> None:
    done = Team(tmp_path).run("config", "check", "--config", "absent.yaml", expect=2)
    assert done.stdout == ""
    assert "placet init" in done.stderr


def test_time_that_is_left_is_counted(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert expiry(now, now)[0] == "problem"
    assert expiry(now + SOON - timedelta(seconds=1), now)[0] == "warning"
    assert expiry(now + timedelta(days=30), now) == ("fine", "holds until 2026-12-22 12:00 UTC, 30 days from now")
    make_serving_certificate(tmp_path, hosts=("gate.svc", "10.0.0.1"))
    files = tmp_path / "server.crt", tmp_path / "server.key"
    end = x509.load_pem_x509_certificate(files[0].read_bytes()).not_valid_after_utc
    for moment, status in ((end, "problem"), (end - timedelta(days=1), "warning"), (end - timedelta(days=60), "fine")):
        (found,) = check_certificate(*files, now=moment)
        assert found[0] == status
        assert "gate.svc, 10.0.0.1" in found[1]
    early = next(iter(check_certificate(*files, now=end - timedelta(days=365))))
    assert early[0] == "problem"
    assert "holds only from" in early[1]


def test_the_schema_is_printed_and_is_one(team: Team) -> None:
    schema = json.loads(team.run("config", "schema").stdout)
    assert schema == SCHEMA
    jsonschema_rs.meta.validate(schema)
    assert yaml.safe_load(team.run("config", "schema", "-o", "yaml").stdout) == SCHEMA


def test_the_example_is_valid_and_has_every_key(team: Team, tmp_path: Path) -> None:
    text = team.run("config", "example").stdout
    file = tmp_path / "example.yaml"
    file.write_text(text, encoding="utf-8")
    load_config(file)
    full = re.sub(r"^( *)#(?=\S)", r"\1", text, flags=re.MULTILINE).replace("engine: embedded", "engine: opa")
    file.write_text(full, encoding="utf-8")
    load_config(file)
    value = yaml.safe_load(full)
    for path, part in walk_keys(SCHEMA):
        here = value
        for step in path.split("."):
            here = here[step]
        if "default" in part and path != "policy.engine":
            assert here == part["default"], path
        assert part["description"].split()[0] in text
