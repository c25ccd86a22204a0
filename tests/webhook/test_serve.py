"""The real process: what it refuses to start with, what it denies while running, and that it recovers."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from placet.audit.stores.file import open_readonly
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.simulators.gate import example, review

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "llama-deployment.yaml"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return Team.found(tmp_path_factory.mktemp("team"))


@pytest.fixture
def team(founded: Team, tmp_path: Path) -> Team:
    """A copy of one team's folder, so that each test has its own record."""
    folder = tmp_path / "team"
    shutil.copytree(founded.folder, folder)
    return Team(folder)


def post(team: Team, url: str, asked: dict[str, Any], *, path: str | None = None) -> dict[str, Any]:
    parts = urlsplit(url)
    context = ssl.create_default_context(cadata=team.certificate.ca_pem.decode())
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=20, context=context)
    try:
        connection.request(
            "POST", f"{path or parts.path}?timeout=10s", json.dumps(asked), {"Content-Type": "application/json"}
        )
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    response: dict[str, Any] = answer["response"]
    return response


def message(response: dict[str, Any]) -> str:
    assert response["allowed"] is False
    return str(response["status"]["message"])


def ready(team: Team, url: str) -> tuple[int, str]:
    parts = urlsplit(url)
    context = ssl.create_default_context(cadata=team.certificate.ca_pem.decode())
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=20, context=context)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda team: team.configure({"typo": 1}), "typo"),
        (lambda team: (team.folder / "placet.yaml").unlink(), "placet init"),
        (lambda team: (team.folder / "roots" / "root-2.pub").unlink(), "root-2.pub"),
        (lambda team: (team.folder / "tls" / "server.key").unlink(), "server.key"),
        (lambda team: (team.folder / "keys" / "log.key").unlink(), "log.key"),
        (lambda team: (team.folder / "policy-data.yaml").write_text("enviroments: {}"), "environments"),
        (lambda team: (team.folder / "record.sqlite").write_text("not a database" * 100), "not a database"),
        (lambda team: team.configure({"policy": {"engine": "opa", "opa_url": "http://127.0.0.1:9/x"}}), "OPA"),
    ],
    ids=["unknown key", "no file", "no root", "no tls key", "no log key", "policy data", "no record", "no opa address"],
)
def test_it_does_not_start_with_what_can_not_work(team: Team, break_it: Any, words: str) -> None:
    break_it(team)
    done = team.run("serve", expect=2)
    assert words.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert "\nerror: " in f"\n{done.stderr}"  # log lines may come before it


def test_without_opa_it_starts_and_refuses_and_is_not_ready(team: Team) -> None:
    team.configure({"policy": {"engine": "opa", "opa_url": "http://127.0.0.1:9"}})
    with team.webhook(ready=False) as url:
        assert "gate.policy/engine_unavailable" in message(post(team, url, review(example())))
        status, text = ready(team, url)
        assert (status, "engine: engine_unavailable" in text) == (503, True)


def test_a_port_in_use_is_one_sentence(team: Team) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = team.run("serve", "--port", str(taken.getsockname()[1]), expect=2)
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_reviews_are_refused_without_a_keyring_and_judged_once_it_is_there(team: Team) -> None:
    keyring = team.folder / "keyring.dsse.json"
    content = keyring.read_bytes()
    keyring.unlink()
    with team.webhook(ready=False) as url:
        assert "keyring_missing" in message(post(team, url, review(example())))
        assert ready(team, url)[0] == 503
        keyring.write_bytes(content)
        assert "approvals.required" in message(post(team, url, review(example())))
        poll_until(lambda: ready(team, url) == (200, "ok\n"), 30)


def test_an_older_keyring_stays_out_even_after_a_restart(team: Team) -> None:
    keyring = team.folder / "keyring.dsse.json"
    old = keyring.read_bytes()
    team.run("keyring", "renew", "--source", "keyring.yaml")
    keyring.unlink()
    for root in (1, 2):
        team.run("keyring", "sign", "--source", "keyring.yaml", "--key", f"keys/root-{root}.key",
                 "--out", "keyring.dsse.json")  # fmt: skip
    with team.webhook() as url:
        assert "approvals.required" in message(post(team, url, review(example())))
        keyring.write_bytes(old)
        assert "approvals.required" in message(post(team, url, review(example())))
        poll_until(lambda: "keyring_rollback" in ready(team, url)[1], 30)
        assert ready(team, url)[0] == 200
    with team.webhook(ready=False) as url:
        assert "keyring_rollback" in message(post(team, url, review(example())))


def test_an_unreadable_revocation_refuses_everything(team: Team) -> None:
    with team.webhook() as url:
        (team.folder / "revocations" / "x.dsse.json").write_text("{}", encoding="utf-8")
        assert "revocations_unreadable" in message(post(team, url, review(example())))


def test_a_locked_store_refuses_and_recovers_without_a_restart(team: Team) -> None:
    with team.webhook() as url:
        blocker = sqlite3.connect(team.folder / "record.sqlite", isolation_level=None)
        try:
            blocker.execute("BEGIN EXCLUSIVE")
            answer = message(post(team, url, review(example())))
            assert "not in the record" in answer
            assert "gate.record/" in answer or "gate.request/" in answer
        finally:
            blocker.execute("ROLLBACK")
            blocker.close()
        assert "audit show" in message(post(team, url, review(example())))


def test_a_chunked_body_is_refused_with_411(team: Team) -> None:
    with team.webhook() as url:
        parts = urlsplit(url)
        context = ssl.create_default_context(cadata=team.certificate.ca_pem.decode())
        with (
            socket.create_connection((parts.hostname, parts.port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as stream,
        ):
            stream.sendall(
                b"POST /v1/admit/production HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
            )
            assert stream.recv(64).startswith(b"HTTP/1.1 411")


def test_approvers_see_what_changed_since_the_last_approval(team: Team) -> None:
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    team.approve("deploy.yaml", "technical", "security", "business", "executive")
    manifest = yaml.safe_load((team.folder / "deploy.yaml").read_text(encoding="utf-8"))
    with team.webhook() as url:
        assert post(team, url, review(manifest))["allowed"] is True
    text = (team.folder / "deploy.yaml").read_text(encoding="utf-8")
    (team.folder / "deploy.yaml").write_text(text.replace("--tensor-parallel-size=4", "--evil"), encoding="utf-8")
    asked = ("approve", "-f", "deploy.yaml", "-e", "production", "--role", "security", "--key", "keys/sam.key", "--yes")
    shown = team.run(*asked, "--record", "record.sqlite").stderr
    assert "changed since it was approved" in shown
    assert "args" in shown
    (team.folder / "deploy.yaml").write_text(text.replace("value: INFO", "value: hunter2"), encoding="utf-8")
    shown = team.run(*asked, "--record", "record.sqlite").stderr
    assert "env" in shown
    assert "hunter2" not in shown
    (team.folder / "deploy.yaml").write_text(text, encoding="utf-8")
    assert "nothing governed changed" in team.run(*asked, "--record", "record.sqlite").stderr


def test_what_a_lenient_mode_let_in_is_not_what_was_approved(team: Team) -> None:
    (team.folder / "policy-data.yaml").write_text("environments: {production: {mode: warn}}\n", encoding="utf-8")
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    manifest = yaml.safe_load((team.folder / "deploy.yaml").read_text(encoding="utf-8"))
    with team.webhook() as url:
        assert post(team, url, review(manifest))["allowed"] is True
    asked = ("approve", "-f", "deploy.yaml", "-e", "production", "--role", "security", "--key", "keys/sam.key", "--yes")
    assert "never approved in this environment" in team.run(*asked, "--record", "record.sqlite").stderr


def test_two_processes_on_one_record_lose_nothing(team: Team) -> None:
    with team.webhook() as first, team.webhook() as second:
        for number in range(20):
            post(team, (first, second)[number % 2], review(example()))
    key = (team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
    done = team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)
    assert "20 denied" in done.stdout


@pytest.mark.parametrize("after", [5, 20])
def test_every_allow_that_was_answered_is_in_the_record_after_a_kill(team: Team, after: int) -> None:
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    team.approve("deploy.yaml", "technical", "security", "business", "executive")
    manifest = yaml.safe_load((team.folder / "deploy.yaml").read_text(encoding="utf-8"))
    answered: list[str] = []

    def send(url: str) -> None:
        while len(answered) < after * 4:
            asked = review(manifest)
            try:
                response = post(team, url, asked)
            except (OSError, http.client.HTTPException):
                return
            assert response["allowed"] is True
            answered.append(asked["request"]["uid"])
            if len(answered) == after:
                assert team.process is not None
                os.killpg(team.process.pid, signal.SIGKILL)

    with team.webhook() as url, ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(send, url) for _ in range(4)]:
            done.result(timeout=60)
    with open_readonly(team.folder / "record.sqlite") as reader:
        assert after <= len(answered) < after * 4
        assert all(reader.find_uid(uid) is not None for uid in answered)
    key = (team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
    team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)
    with team.webhook() as url:
        assert post(team, url, review(manifest))["allowed"] is True
