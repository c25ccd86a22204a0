"""The report over a corpus: it fails where it must, and names what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

TOOL: Final = Path(__file__).parents[2] / "tools" / "detection.py"


def entry(number: int, label: str, image: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "a", "image": image}]}
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{number}"}, "spec": spec}
    return {"id": number, "repo": f"team/{number % 3}", "path": "a.yaml", "label": label, "object": obj}


def run(folder: Path, *entries: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    if entries:
        text = "".join(f"{json.dumps(one)}\n" for one in entries)
        (folder / "objects.jsonl").write_text(text, encoding="utf-8")
    return subprocess.run([sys.executable, TOOL, folder], capture_output=True, text=True, check=False)


def test_a_corpus_that_is_judged_right_passes(tmp_path: Path) -> None:
    done = run(tmp_path, entry(1, "M", "ollama/ollama:1"), entry(2, "O", "nginx:1"), entry(3, "X", "ollama/ollama:1"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 objects of 2 repositories: precision 1.0000  recall 1.0000")
    assert "MISS" not in done.stdout
    assert "FALSE" not in done.stdout


@pytest.mark.parametrize(
    ("wrong", "word"),
    [(entry(7, "M", "nginx:1"), "MISS  M  7"), (entry(7, "RT", "ollama/ollama:1"), "FALSE ALARM  RT  7")],
)
def test_a_miss_and_a_false_alarm_are_named_and_fail(tmp_path: Path, wrong: dict[str, Any], word: str) -> None:
    done = run(tmp_path, entry(1, "M", "ollama/ollama:1"), wrong)
    assert done.returncode == 1
    assert word in done.stdout
    assert "Pod/pod-7" in done.stdout


@pytest.mark.parametrize("entries", [(), (entry(1, "O", "nginx:1"),)])
def test_no_corpus_can_pass_for_a_good_one(tmp_path: Path, entries: tuple[dict[str, Any], ...]) -> None:
    done = run(tmp_path, *entries)
    assert done.returncode == 2
    assert done.stderr
