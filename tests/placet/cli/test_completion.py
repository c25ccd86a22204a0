"""Completion in a real shell: what bash offers when Tab is pressed, and what kubectl is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.gateprocess import Team
from tests.e2e.processes import program_path
from tests.simulators.tampering import build_log

BIN = Path(sys.executable).parent
# What bash itself does for Tab: find the function of the command, fill in its variables, call it, look at COMPREPLY.
PRESS_TAB = """
source <("$PLACET" completion bash) || exit 3
read -r -a COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
spec=$(complete -p placet) || exit 4
function=${spec#*-F }
"${function%% *}" placet "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    team = Team.found(tmp_path_factory.mktemp("team"))
    (team.folder / "policy-data.yaml").write_text(
        "environments:\n  moonbase: {approvals: [technical], max_level: high, images_pinned: true}\n", encoding="utf-8"
    )
    return team


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PLACET": str(BIN / "placet"), **more}


def press_tab(line: str, folder: Path, **more: str) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", PRESS_TAB, "bash", line],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("placet pl", {"plan"}),
        ("placet audit v", {"verify"}),
        ("placet help audit pro", {"prove"}),
        ("placet plan --kube", {"--kubeconfig"}),
        ("placet approve --role ", {"technical", "security", "business", "executive"}),
        ("placet plan -o s", {"sarif"}),
        ("placet plan dep", {"deployment/"}),
        ("placet plan roll", {"rollout/"}),
        ("placet plan job", {"job/", "jobset/", "jobs.batch.volcano.sh/"}),
        ("placet completion f", {"fish"}),
        ("placet audit list --violation images", {"images.pinned"}),
        ("placet plan -e ", {"development", "staging", "production"}),
    ],
)
def test_bash_offers_what_may_come_next(line: str, offered: set[str], tmp_path: Path) -> None:
    assert set(press_tab(line, tmp_path)) == offered


def test_all_commands_are_offered(tmp_path: Path) -> None:
    assert {"plan", "approve", "serve", "demo", "config", "completion"} <= set(press_tab("placet ", tmp_path))


def test_environments_are_those_of_the_operators_policy_data(team: Team, tmp_path: Path) -> None:
    assert press_tab("placet plan -e moon", team.folder) == []  # the data above lacks keys: it is not used
    data = "environments:\n  production:\n    max_level: high\n"
    (team.folder / "policy-data.yaml").write_text(data, encoding="utf-8")
    assert press_tab("placet plan -e pro", team.folder) == ["production"]
    elsewhere = f"placet plan --config {team.folder / 'placet.yaml'} -e stag"
    assert press_tab(elsewhere, tmp_path) == ["staging"]


def test_files_are_left_to_the_shell(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").touch()
    done = subprocess.run(
        [BIN / "placet"],
        cwd=tmp_path,
        env=environment(_PLACET_COMPLETE="bash_complete", COMP_WORDS="placet plan -f dep", COMP_CWORD="3"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith("file,")


def test_decisions_of_the_record_are_offered_newest_first_and_few(tmp_path: Path) -> None:
    store = build_log(tmp_path / "record.sqlite", size=45)
    offered = press_tab(f"placet audit show --store {store} ", tmp_path)
    assert len(offered) == 20
    numbers = [int(name.removeprefix("decision-")) for name in offered]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > 40
    assert press_tab(f"placet audit show {offered[0]}", tmp_path, PLACET_AUDIT_STORE=str(store)) == [offered[0]]
    assert set(press_tab(f"placet audit list --store {store} --name ", tmp_path)) == {"llama-0", "llama-1", "llama-2"}


def test_decisions_of_the_configurations_record_are_offered(team: Team, tmp_path: Path) -> None:
    build_log(team.folder / "record.sqlite", size=4)
    config = team.folder / "placet.yaml"
    assert press_tab(f"placet audit show --config {config} ", tmp_path) == ["decision-3", "decision-1", "decision-0"]
    assert press_tab("placet audit show decision-3", team.folder) == ["decision-3"]
    assert press_tab("placet audit show ", tmp_path) == []


def test_a_broken_configuration_breaks_no_line(tmp_path: Path) -> None:
    (tmp_path / "placet.yaml").write_text("\t{", encoding="utf-8")
    assert press_tab("placet plan -e ", tmp_path) == []
    assert press_tab("placet audit show --store placet.yaml ", tmp_path) == []
    assert press_tab("placet plan --kubeconfig placet.yaml --context ", tmp_path) == []


def test_contexts_are_those_of_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "kube").write_text("contexts: [{name: prod-eu-1, context: {}}, {name: staging}]\n", encoding="utf-8")
    assert press_tab("placet plan --context prod", tmp_path, KUBECONFIG=str(tmp_path / "kube")) == ["prod-eu-1"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_asks_placet(shell: str) -> None:
    done = subprocess.run(
        [BIN / "placet", "completion", shell], capture_output=True, text=True, check=True, timeout=60, env=environment()
    )
    assert f"_PLACET_COMPLETE={shell}_complete" in done.stdout
    assert "placet" in done.stdout


def test_the_script_is_one_to_bash() -> None:
    script = subprocess.run([BIN / "placet", "completion", "bash"], capture_output=True, check=True, timeout=60).stdout
    subprocess.run(["bash", "-n"], input=script, check=True, timeout=60)


def kubectl(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [program_path("kubectl"), *arguments],
        cwd=folder,
        env=environment(HOME=str(folder)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_kubectl_finds_the_plugin_and_speaks_of_it_by_its_name(tmp_path: Path) -> None:
    assert str(BIN / "kubectl-placet") in kubectl("plugin", "list", folder=tmp_path)
    shown = kubectl("placet", "plan", "--help", folder=tmp_path)
    assert shown.startswith("Usage: kubectl placet plan ")
    assert "\n    kubectl placet plan deployment/llama -n ml-serving" in shown
    assert "  placet plan" not in shown
    assert kubectl("placet", "--help", folder=tmp_path).startswith("Usage: kubectl placet ")


def test_kubectl_completes_the_plugin(tmp_path: Path) -> None:
    plan, directive = kubectl("__complete", "placet", "pla", folder=tmp_path).splitlines()
    assert plan.split("\t") == ["plan", "Say whether workloads would be admitted, and what is missing."]
    assert directive == ":4"
    assert kubectl("__complete", "placet", "plan", "-e", "prod", folder=tmp_path) == "production\n:4\n"
    assert kubectl("__complete", "placet", "plan", "-f", "", folder=tmp_path) == ":0\n"
    assert kubectl("__complete", "placet", "plan", "--", folder=tmp_path).startswith("--")


def test_help_and_completion_start_without_what_they_do_not_need() -> None:
    probe = (
        "import sys; from placet.cli import root; from click.testing import CliRunner;"
        "assert CliRunner().invoke(root, ['--help']).exit_code == 0;"
        "print(sorted({'kubernetes', 'cryptography', 'wasmtime', 'requests', 'aiohttp', 'flask', 'yaml', 'ruamel',"
        " 'jsonschema_rs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
    began = time.monotonic()
    subprocess.run([BIN / "placet", "--help"], capture_output=True, check=True, timeout=60)
    assert time.monotonic() - began < 5
