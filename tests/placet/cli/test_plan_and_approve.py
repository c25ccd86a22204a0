"""init, plan, score and approve as people type them: once right, and in every wrong way that is likely."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateprocess import Team

EXAMPLE = Path(__file__).parents[3] / "manifests" / "examples" / "llama-deployment.yaml"
PLAN = ("plan", "-f", "deploy.yaml", "-e", "production")


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Team:
    team = Team.found(tmp_path_factory.mktemp("team"))
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    return team


@pytest.fixture
def team(founded: Team, tmp_path: Path) -> Team:
    folder = tmp_path / "team"
    shutil.copytree(founded.folder, folder)
    return Team(folder)


def approve(role: str, person: str, *more: str) -> tuple[str, ...]:
    return ("approve", "-f", "deploy.yaml", "-e", "production", "--role", role, "--key", f"keys/{person}.key", *more)


def deploy(team: Team) -> str:
    return (team.folder / "deploy.yaml").read_text(encoding="utf-8")


def test_init_twice_changes_nothing(team: Team) -> None:
    before = {file: file.read_bytes() for file in team.folder.rglob("*") if file.is_file()}
    again = team.run("init", ".", "--cluster", "other", "--no-passphrase")
    assert "nothing was changed" in again.stderr
    assert {file: file.read_bytes() for file in team.folder.rglob("*") if file.is_file()} == before


def test_init_overwrites_nothing_in_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    done = Team(tmp_path).run("init", ".", "--cluster", "demo", "--no-passphrase", expect=2)
    assert "nothing that exists is overwritten" in done.stderr


def test_init_explains_every_file_that_it_makes(team: Team) -> None:
    text = (team.folder / "README.txt").read_text(encoding="utf-8")
    for file in team.folder.iterdir():
        if file.name not in {"README.txt", "deploy.yaml"}:
            assert file.name in text


def test_private_keys_are_encrypted_unless_one_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text("correct horse\n", encoding="utf-8")
    team = Team(tmp_path)
    team.run("init", "gate", "--cluster", "demo", "--passphrase-file", "phrase")
    assert "ENCRYPTED" in (tmp_path / "gate" / "keys" / "sam.key").read_text(encoding="utf-8")
    assert (tmp_path / "gate" / "keys" / "sam.key").stat().st_mode & 0o077 == 0


def test_the_whole_way_on_the_command_line(team: Team) -> None:
    assert "would be refused" in team.run(*PLAN, expect=1).stdout
    for role, person in (("technical", "tara"), ("security", "sam"), ("business", "bea"), ("executive", "eve")):
        team.run(*approve(role, person, "--yes"))
    done = team.run(*PLAN)
    assert "would be admitted" in done.stdout
    assert deploy(team).startswith("# A 70-billion-parameter model")
    assert "# which model this workload serves" in deploy(team)


def test_machine_output_is_alone_on_stdout_and_says_all(team: Team) -> None:
    done = team.run(*PLAN, "-o", "json", expect=1)
    found = json.loads(done.stdout)
    (decision,) = found["decisions"]
    assert decision["allowed"] is False
    assert decision["required_roles"] == ["technical", "security", "business", "executive"]
    assert decision["risk"]["score"] == 855  # nothing is known: not even how far an autoscaler may go
    assert len(found["assumptions"]) == 3


def test_a_plan_says_why_a_workload_is_governed_where_detection_decides(team: Team) -> None:
    data = "environments: {production: {coverage: detect}}\n"
    (team.folder / "policy-data.yaml").write_text(data, encoding="utf-8")
    gpu = ", resources: {limits: {nvidia.com/gpu: 1}}"
    for name, image, more in (("a", "ollama/ollama:1", ""), ("b", "nginx:1", ""), ("c", "acme.example/x:1", gpu)):
        pod = f"{{containers: [{{name: main, image: '{image}'{more}}}]}}"
        text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: {pod}\n"
        (team.folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    files = ("plan", "-f", "a.yaml", "-f", "b.yaml", "-f", "c.yaml", "-e", "production")
    shown = team.run(*files, expect=1).stdout
    assert "  governed: it serves a model (images 'ollama' in container main)\n" in shown
    assert "  not governed: nothing in it is known to serve a model\n" in shown
    assert "  not governed: it may serve a model (resources 'nvidia.com/gpu' in container main)\n" in shown
    assert "gate.coverage: it may serve a model" in shown
    found = json.loads(team.run(*files, "-o", "json", expect=1).stdout)["decisions"]
    causes = [(one["allowed"], one["coverage"]["cause"]) for one in found]
    assert causes == [(False, "detected"), (True, "not_detected"), (True, "suspected")]


def test_approve_shows_what_is_signed_before_it_asks(team: Team) -> None:
    shown = team.run(*approve("security", "sam"), expect=2).stderr
    for words in ("Deployment/llama", "llama-3.1-70b", "sha256:", "vllm-openai", "as security, until ", "8.55"):
        assert words in shown
    assert "add --yes" in shown
    assert "approval.security" not in deploy(team)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (approve("security", "tara", "--yes"), "not_granted"),
        (approve("security", "absent", "--yes"), "absent.key"),
        (approve("security", "sam", "--yes", "--write", "manifest", "--max-risk", "low"), "risk_above"),
        (("plan", "-f", "deploy.yaml", "-e", "moon"), "production"),
        (("plan", "-f", "absent.yaml", "-e", "production"), "absent.yaml"),
        (("plan", "-f", "placet.yaml", "-e", "production"), "placet.yaml"),
        (("plan", "-f", "broken.yaml", "-e", "production"), "broken.yaml:3"),
        (("plan", "-f", "service.yaml", "-e", "production"), "no workload"),
        ((*PLAN, "--record", "absent.sqlite"), "absent.sqlite"),
        ((*PLAN, "--kubeconfig", "absent"), "kubeconfig"),
        ((*PLAN, "--config", "absent.yaml"), "placet init"),
    ],
)
def test_what_can_not_work_is_one_clear_error_and_nothing_is_written(
    team: Team, arguments: tuple[str, ...], words: str
) -> None:
    (team.folder / "broken.yaml").write_text("apiVersion: v1\nkind: Pod\n\tmetadata: {}\n", encoding="utf-8")
    (team.folder / "service.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", encoding="utf-8")
    before = deploy(team)
    done = team.run(*arguments, expect=2)
    assert words in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert deploy(team) == before


def test_a_patch_an_envelope_and_a_bundle_leave_the_manifest_alone(team: Team) -> None:
    before = deploy(team)
    patch = json.loads(team.run(*approve("security", "sam", "--yes", "--write", "patch")).stdout)
    assert list(patch["metadata"]["annotations"]) == ["placet.dev/approval.security"]
    envelope = json.loads(team.run(*approve("security", "sam", "--yes", "--write", "envelope")).stdout)
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    team.run(*approve("security", "sam", "--yes", "--write", "bundle", "--out", "approval.json"))
    bundle = json.loads((team.folder / "approval.json").read_bytes())
    assert bundle["mediaType"].startswith("application/vnd.dev.sigstore.bundle")
    assert deploy(team) == before


def test_what_changed_since_an_earlier_manifest_is_shown_without_env_values(team: Team) -> None:
    shutil.copyfile(team.folder / "deploy.yaml", team.folder / "old.yaml")
    text = deploy(team).replace("value: INFO", "value: hunter2").replace("tensor-parallel-size=4", "trust-remote-code")
    (team.folder / "deploy.yaml").write_text(text, encoding="utf-8")
    shown = team.run(*approve("security", "sam", "--yes", "--against", "old.yaml")).stderr
    assert "changed since old.yaml" in shown
    assert "args" in shown
    assert "env" in shown
    assert "hunter2" not in shown


def test_a_workload_that_names_no_model_can_not_be_approved(team: Team) -> None:
    text = deploy(team).replace("    placet.dev/model: llama-3.1-70b # which model this workload serves\n", "")
    (team.folder / "deploy.yaml").write_text(text, encoding="utf-8")
    done = team.run(*approve("security", "sam", "--yes"), expect=2)
    assert "placet.dev/model" in done.stderr


@pytest.mark.parametrize(
    ("cut", "left", "said"),
    [
        (r"@sha256:[0-9a-f]{64}", ":v1", "does not name the images"),
        (r"\n *placet\.dev/model-digest: .*", "", "does not name the model"),
    ],
)
def test_an_approval_that_can_not_be_bound_is_not_given(team: Team, cut: str, left: str, said: str) -> None:
    text, changed = re.subn(cut, left, deploy(team))
    assert changed
    (team.folder / "deploy.yaml").write_text(text, encoding="utf-8")
    told = team.run(*approve("security", "sam", "--yes"), expect=2).stderr
    assert f"this approval would not count: the security approval {said}" in told
    assert "Nothing was written. Mend the workload first: " in told
    assert deploy(team) == text


def test_standard_input_is_planned_but_not_written_into(team: Team) -> None:
    text = deploy(team)
    assert "would be refused" in team.run("plan", "-f", "-", "-e", "production", expect=1, stdin=text).stdout
    arguments: list[Any] = ["-" if item == "deploy.yaml" else item for item in approve("security", "sam", "--yes")]
    assert "standard input" in team.run(*arguments, expect=2, stdin=text).stderr


def test_autoscalers_beside_the_workload_count(team: Team) -> None:
    team.configure({"autoscalers": "none"})
    asked = (*PLAN, "-f", "hpa.yaml", "-o", "json")
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "llama", "namespace": "ml-serving"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "llama"}, "maxReplicas": 10},
    }
    found = []
    for most in (10, 11):
        scaler["spec"]["maxReplicas"] = most  # type: ignore[index]
        (team.folder / "hpa.yaml").write_text(json.dumps(scaler), encoding="utf-8")
        (decision,) = json.loads(team.run(*asked, expect=1).stdout)["decisions"]
        found.append(decision["risk"]["factors"]["deployment_scope"])
    assert found == [6, 8]


def test_score_shows_the_table_and_its_assumptions(team: Team) -> None:
    shown = team.run("score", "-f", "deploy.yaml", "-e", "production").stdout
    assert "Risk 8.55 critical" in shown
    assert "assumed: " in shown
    assert json.loads(team.run("score", "-f", "deploy.yaml", "-e", "staging", "-o", "json").stdout)["scores"]


def test_a_second_person_of_a_role_adds_a_signature_to_the_same_approval(team: Team) -> None:
    source = team.folder / "keyring.yaml"
    source.write_text(source.read_text(encoding="utf-8").replace("security: 1", "security: 2"), encoding="utf-8")
    team.run("keys", "generate", "--out", "keys/sue.key", "--no-passphrase")
    team.run("keyring", "add", "sue@example.com", "--person", "sue", "--key", "keys/sue.pub")
    team.run("keyring", "grant", "sue@example.com", "--role", "security", "--environment", "production",
             "--max-risk", "critical", "--model", "*", "--namespace", "*")  # fmt: skip
    team.run("keyring", "renew")
    (team.folder / "keyring.dsse.json").unlink()
    for root in (1, 2):
        team.run("keyring", "sign", "--key", f"keys/root-{root}.key", "--out", "keyring.dsse.json")
    first = team.run(*approve("security", "sam", "--yes")).stderr
    assert "still missing: technical, security" in first
    second = team.run(*approve("security", "sue", "--yes")).stderr
    assert "beside who has signed already" in second
    assert "still missing: technical, business" in second
    (decision,) = json.loads(team.run(*PLAN, "-o", "json", expect=1).stdout)["decisions"]
    assert decision["granted_roles"] == ["security"]


@pytest.mark.parametrize(("answer", "signed"), [("y", True), ("n", False), ("", False)])
def test_on_a_terminal_it_asks_and_signs_only_after_a_yes(team: Team, answer: str, *, signed: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [sys.executable, "-m", "placet", *approve("security", "sam")],
            cwd=team.folder,
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Sign this?" in done.stderr
    assert ("approval.security" in deploy(team)) is signed
    assert done.returncode == (0 if signed else 2)
