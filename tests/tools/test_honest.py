"""The report on honest deploys: it fails where it must, and names what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

TOOL: Final = Path(__file__).parents[2] / "tools" / "honest.py"


def entry(number: int, label: str, image: str, kind: str = "Deployment", **fields: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "a", "image": image, **fields}]}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod}
    spec = {
        "Deployment": {"selector": {"matchLabels": {"app": "a"}}, "template": template},
        "CronJob": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}},
        "Volcano": {"template": template},
    }[kind]
    version = {"Deployment": "apps/v1", "CronJob": "batch/v1", "Volcano": "volcano.example/v1"}[kind]
    obj = {"apiVersion": version, "kind": kind, "metadata": {"name": f"a-{number}", "labels": None}, "spec": spec}
    return {"id": number, "repo": "team/a", "path": "a.yaml", "label": label, "object": obj}


SERVER: Final = entry(1, "M", "ollama/ollama:1")
HONEST: Final = (entry(2, "O", "nginx:1"), entry(3, "T", "$IMAGE", "CronJob"), entry(4, "O", "nginx:1", "Volcano"))


def run(folder: Path, *entries: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    if entries:
        (folder / "objects.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in entries), encoding="utf-8")
    return subprocess.run([sys.executable, TOOL, folder], capture_output=True, text=True, check=False)


def test_honest_workloads_are_let_in_at_every_step_and_a_model_server_at_none(tmp_path: Path) -> None:
    done = run(tmp_path, SERVER, *HONEST, entry(5, "X", "ollama/ollama:1"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "2 workloads that serve no model, admitted / refused:",
        "  create: 2 / 0",
        "  update: 2 / 0",
        "  ReplicaSet: 1 / 0",
        "  Pod: 2 / 0",
        "  Job: 1 / 0",
        "1 workloads that serve a model, admitted / refused:",
        "  create: 0 / 1",
        "  becomes one: 0 / 1",
        "  was one: 0 / 1",
        "  ReplicaSet: 0 / 1",
        "  Pod: 0 / 1",
        "kinds that the gate is not asked about: volcano.example/v1 Volcano (1)",
        "faults: 0",
    ]


def test_what_detection_gets_wrong_is_named_and_any_other_wrong_answer_is_a_fault(tmp_path: Path) -> None:
    nameless = entry(9, "O", "nginx:1")
    nameless["object"]["metadata"]["name"] = ""
    done = run(tmp_path, SERVER, entry(7, "O", "ollama/ollama:1"), entry(8, "M", "nginx:1"), nameless)
    assert done.returncode == 1
    alarm, miss, fault, count = done.stdout.splitlines()[-4:]
    assert alarm.startswith("REFUSED  O  7  team/a  a.yaml  Deployment/a-7  create (approvals.required/role_missing")
    assert alarm.endswith("FALSE ALARM of detection")
    steps = "create, becomes one, was one, ReplicaSet, Pod"
    assert miss == f"ADMITTED  M  8  team/a  a.yaml  Deployment/a-8  {steps}  MISS of detection"
    assert fault.startswith("FAULT  REFUSED  O  9  team/a  a.yaml")
    assert "create (gate.workload/name_missing)" in fault
    assert count == "faults: 1"


@pytest.mark.parametrize("entries", [(), (SERVER,), HONEST])
def test_no_corpus_can_pass_for_a_good_one(tmp_path: Path, entries: tuple[dict[str, Any], ...]) -> None:
    done = run(tmp_path, *entries)
    assert done.returncode == 2
    assert done.stderr
