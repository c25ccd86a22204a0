"""``placet digest`` as people type it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from placet.cli import root
from placet.manifests import load_manifests
from placet.projection import project

DATA = Path(__file__).resolve().parents[2] / "data" / "workloads"
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "projection"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama, namespace: ml}
spec:
  template:
    spec:
      containers:
      - name: server
        image: vllm/vllm-openai:v0.6.3
        env:
        - {name: HF_TOKEN, value: hunter2}
"""


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(root, ["digest", *map(str, arguments)], input=stdin, catch_exceptions=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "deploy.yaml"
    path.write_text(DEPLOYMENT, encoding="utf-8")
    return path


def expected(path: Path) -> str:
    (manifest,) = load_manifests([str(path)])
    return str(project(manifest.object).digest)


def test_prints_digest_and_workload(file: Path) -> None:
    done = run("-f", file)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{expected(file)}  Deployment/llama (namespace ml)\n"


def test_reads_standard_input() -> None:
    done = run("-f", "-", stdin=DEPLOYMENT)
    assert done.stdout.endswith("  Deployment/llama (namespace ml)\n")


def test_reads_folders_and_several_files(file: Path) -> None:
    done = run("-f", DATA, "-f", file)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == len(list(DATA.glob("*.yaml"))) + 1


def test_prints_the_golden_digests() -> None:
    lines = (GOLDEN / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    golden = {name: digest for digest, name in (line.split() for line in lines)}
    for path in sorted(DATA.glob("*.yaml")):
        assert run("-f", path).stdout.startswith(f"sha256:{golden[f'{path.stem}.json']}  ")


def test_explanation_hides_secrets(file: Path) -> None:
    for form in ("text", "json", "yaml"):
        done = run("-f", file, "--explain", "-o", form)
        assert "hunter2" not in done.output
        assert "HF_TOKEN" in done.stdout
    assert "redacted" in done.stdout


def test_explanation_with_secrets_is_the_exact_bytes(file: Path) -> None:
    done = run("-f", file, "--explain", "--show-secrets")
    assert "hunter2" in done.stdout
    line = done.stdout_bytes.removesuffix(b"\n")
    assert f"sha256:{hashlib.sha256(line).hexdigest()}" == expected(file)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_machines_get_lists(file: Path, form: str) -> None:
    done = run("-f", file, "-o", form)
    found = json.loads(done.stdout) if form == "json" else yaml.safe_load(done.stdout)
    (entry,) = found["workloads"]
    assert list(found) == ["schema", "workloads"]
    assert found["schema"] == "placet.dev/digest/v1"
    assert entry == {
        "file": str(file),
        "line": 1,
        "workload": "Deployment/llama",
        "namespace": "ml",
        "projection": expected(file),
    }


def test_lists_what_is_skipped_apart_from_the_output(file: Path) -> None:
    file.write_text(f"apiVersion: v1\nkind: ConfigMap\n---\n{DEPLOYMENT}", encoding="utf-8")
    done = run("-f", file)
    assert done.exit_code == 0
    assert done.stderr == f"skipped: {file}:1: v1 ConfigMap is no workload that placet digests\n"
    assert done.stdout.startswith("sha256:")


def test_fails_when_there_is_no_workload_at_all(file: Path) -> None:
    file.write_text("apiVersion: v1\nkind: ConfigMap\n", encoding="utf-8")
    done = run("-f", file)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no workload in" in done.stderr
    assert "Deployments" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("value: hunter2", "value: 1234567", 11, "env[HF_TOKEN].value: must be text"),
        ("      containers:", "      other:", 6, "containers"),
        ("spec:\n  template", "spec:\n  x: 1\n  x: 2\n  template", 6, "given twice"),
        ("apps/v1", "[apps", 2, ""),
    ],
)
def test_error_names_file_and_line_and_never_a_value(file: Path, old: str, new: str, line: int, words: str) -> None:
    file.write_text(DEPLOYMENT.replace(old, new, 1), encoding="utf-8")
    done = run("-f", file)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{file}:{line}: " in done.stderr
    assert words in done.stderr
    assert "1234567" not in done.stderr
    assert "hunter2" not in done.stderr


def test_warns_about_what_the_gate_will_refuse_whatever_the_digest(file: Path) -> None:
    file.write_text(DEPLOYMENT.replace("vllm/vllm-openai:v0.6.3", "YOUR_IMAGE"), encoding="utf-8")
    done = run("-f", file)
    assert done.exit_code == 0
    assert f"warning: {file}:8: spec.template.spec.containers[server]: " in done.stderr
    assert "the gate will refuse it" in done.stderr


@pytest.mark.parametrize("metadata", ["[]", "text", "{name: 5}", "{name: [a]}", "{namespace: {}}", "null"])
def test_odd_metadata_is_a_warning_and_no_crash(file: Path, metadata: str) -> None:
    file.write_text(DEPLOYMENT.replace("{name: llama, namespace: ml}", metadata), encoding="utf-8")
    done = run("-f", file)
    assert done.exit_code == 0
    assert "warning: " in done.stderr


def test_names_from_a_file_can_not_drive_the_terminal(file: Path) -> None:
    file.write_text(DEPLOYMENT.replace("name: llama", 'name: "a\\e[31m\\nb"'), encoding="utf-8")
    assert "\x1b" not in run("-f", file).output
    assert len(run("-f", file).stdout.splitlines()) == 1


def test_secrets_are_shown_with_an_explanation_alone(file: Path) -> None:
    done = run("-f", file, "--show-secrets")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--explain" in done.stderr


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    done = run("-f", tmp_path / "nowhere.yaml")
    assert done.exit_code == 2
    assert done.stderr == f"error: {tmp_path / 'nowhere.yaml'}: No such file or directory\n"


def test_help_has_examples() -> None:
    done = run("--help")
    assert "placet digest -f deploy.yaml --explain\n" in done.stdout
