"""placet exempt, run as a person runs it, and the gate's answer to what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from placet.cli import clock, root
from tests.simulators.desk import NOON, ApprovalDesk
from tests.simulators.exemptions import add_exempters

IMAGE = f"registry.example/nginx@sha256:{'ab' * 32}"
PROXY = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: proxy, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: proxy}}}}
  template:
    metadata: {{labels: {{app: proxy}}}}
    spec:
      containers:
        - {{name: nginx, image: "{IMAGE}"}}
"""
SERVER = PROXY.replace("registry.example/nginx", "docker.io/vllm/vllm-openai")
Run = Callable[..., Result]


class Team:
    """A folder with a configuration, keys and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOON
        self.desk = ApprovalDesk.standard()
        add_exempters(self.desk)
        self.desk.write(folder)
        (folder / "exemptions").mkdir()
        (folder / "proxy.yaml").write_text(PROXY, encoding="utf-8")
        (folder / "server.yaml").write_text(SERVER, encoding="utf-8")
        roots = [f"roots/root-{number}.pub" for number in (1, 2, 3)]
        config = {
            "cluster": self.desk.cluster,
            "keyring": {
                "file": "keyring.dsse.json",
                "roots": roots,
                "threshold": 2,
                "exemptions": "exemptions",
            },
            "record": {"store": "record.sqlite", "log_key": "keys/alice.key"},
        }
        (folder / "placet.yaml").write_text(json.dumps(config), encoding="utf-8")

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "exemptions").iterdir())


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    made = Team(tmp_path)
    monkeypatch.setattr(clock, "now_utc", lambda: made.now)
    monkeypatch.setattr("placet.cli.session.datetime", SimpleNamespace(now=lambda _: made.now))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def run(team: Team) -> Run:
    assert team.now == NOON

    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(root, list(arguments), catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return invoke


SIGN = ("exempt", "-f", "proxy.yaml", "-e", "production", "--reason", "static pages", "--key", "keys/fay.key", "--yes")


def listed(run: Run, code: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("exempt", "--list", "-o", "json", code=code).stdout)["exemptions"]
    return found


def test_what_was_refused_is_admitted_with_the_exemption_and_the_plan_says_so(team: Team, run: Run) -> None:
    assert "would be refused" in run("plan", "-f", "proxy.yaml", "-e", "production", code=1).output
    said = run(*SIGN).output
    assert "Deployment/proxy in namespace shop needs no approval" in said
    assert len(team.files) == 1
    planned = run("plan", "-f", "proxy.yaml", "-e", "production").output
    assert "exempted by p-fay, until 2026-12-22 12:00 UTC" in planned
    assert "would be admitted" in planned
    decision = json.loads(run("plan", "-f", "proxy.yaml", "-e", "production", "-o", "json").stdout)["decisions"][0]
    assert decision["exemption"]["persons"] == ["p-fay"]
    (team.folder / "proxy.yaml").write_text(PROXY.replace("ab" * 32, "cd" * 32), encoding="utf-8")
    assert "exemption_content_differs" in run("plan", "-f", "proxy.yaml", "-e", "production", code=1).output


def test_the_list_says_how_each_one_stands(team: Team, run: Run) -> None:
    run(*SIGN, "--days", "60")
    assert [(one["workload"], one["state"]) for one in listed(run)] == [("Deployment/proxy", "in_force")]
    assert "in force" in run("exempt", "--list").output
    team.now += timedelta(days=50)
    assert [one["state"] for one in listed(run)] == ["ends_soon"]
    team.now += timedelta(days=10)
    assert [one["state"] for one in listed(run, code=1)] == ["ended"]
    assert "ended 0 s ago" in run("exempt", "--list", code=1).output
    (team.folder / "exemptions" / "x.dsse.json").write_text("{}", encoding="utf-8")
    assert "x.dsse.json: can't be used" in run("exempt", "--list", code=1).output


def test_a_model_server_wants_a_word_and_a_second_person(team: Team, run: Run) -> None:
    sign = [word.replace("proxy.yaml", "server.yaml") for word in SIGN]
    refused = run(*sign, code=2).output
    assert "would not count" in refused
    assert "--knowing serves_model" in refused
    assert team.files == []
    assert "1 of the 2 persons" in run(*sign, "--knowing", "serves_model").output
    run("plan", "-f", "server.yaml", "-e", "production", code=1)
    (file,) = team.files
    run("exempt", "--sign", str(file), "--key", "keys/gus.key", "--yes")
    assert "exempted by p-fay, p-gus" in run("plan", "-f", "server.yaml", "-e", "production").output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--key", "keys/bob.key"), "holds no grant exempt"),
        (("--days", "91"), "more than the 90 days"),
    ],
)
def test_what_would_not_count_is_not_written(team: Team, run: Run, words: tuple[str, ...], why: str) -> None:
    said = run(*SIGN, *words, code=2).output
    assert why in said
    assert "Nothing was written" in said
    assert team.files == []


def test_a_tag_wants_a_word_of_its_own(team: Team, run: Run) -> None:
    (team.folder / "proxy.yaml").write_text(PROXY.replace(IMAGE, "registry.example/nginx:1.27"), encoding="utf-8")
    assert "--accept-tags" in run(*SIGN, code=2).output
    run(*SIGN, "--accept-tags")
    run("plan", "-f", "proxy.yaml", "-e", "production")


def test_nobody_signs_unasked(team: Team, run: Run) -> None:
    assert "nobody is there to be asked" in run(*SIGN[:-1], code=2).output
    assert team.files == []


@pytest.mark.parametrize(
    "words",
    [
        ("exempt",),
        ("exempt", "--list", "-f", "proxy.yaml"),
        ("exempt", "-f", "proxy.yaml", "-e", "production", "--reason", "x"),
        ("exempt", "-f", "proxy.yaml", "-e", "production", "--key", "keys/fay.key"),
        ("exempt", "-f", "proxy.yaml", "--reason", "x", "--key", "keys/fay.key"),
        ("exempt", "--sign", "proxy.yaml", "--key", "keys/fay.key", "--yes"),
    ],
)
def test_wrong_usage_is_told(team: Team, run: Run, words: tuple[str, ...]) -> None:
    assert run(*words, code=2).output
    assert team.files == []


def test_config_check_names_a_file_that_exempts_nothing(team: Team, run: Run) -> None:
    (team.folder / "exemptions" / "x.dsse.json").write_text("{}", encoding="utf-8")
    said = CliRunner().invoke(root, ["config", "check"]).output
    assert "x.dsse.json exempts nothing" in said
