"""The process around a command: exit codes, streams, signals, locales. Each runs as a process of its own."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from placet.cli import main
from placet.cli.output import use_colour
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.simulators.tampering import LOG_KEY, build_log

EXAMPLE = Path(__file__).parents[3] / "manifests" / "examples" / "llama-deployment.yaml"
VKEY = str(LOG_KEY.verifier)
PLACET = [sys.executable, "-m", "placet"]


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Team:
    team = Team.found(tmp_path_factory.mktemp("team"))
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    (team.folder / "broken.yaml").write_text("apiVersion: v1\nkind: Pod\n\tx: 1\n", encoding="utf-8")
    (team.folder / "none.yaml").write_text("apiVersion: v1\nkind: Service\n", encoding="utf-8")
    (team.folder / "twice.yaml").write_text("cluster: a\ncluster: b\n", encoding="utf-8")
    build_log(team.folder / "log.sqlite")
    return team


def run(
    arguments: Sequence[str | bytes],
    folder: Path,
    *,
    stdout: int = subprocess.PIPE,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PLACET, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="strict",
        env={**os.environ, **(environment or {})},
        check=False,
        timeout=120,
    )


PROD = ("-e", "production")
# arguments, exit code, words that stand on stderr (2) or stdout (1)
TABLE: list[tuple[tuple[str, ...], int, str]] = [
    ((), 2, "Usage: placet"),
    (("nonsense",), 2, "No such command"),
    (("plan",), 2, "Name files with -f"),
    (("plan", "-f", "deploy.yaml", "deployment/x", *PROD), 2, "not both"),
    (("plan", "-f", "deploy.yaml"), 2, "where it is going is not said"),
    (("plan", "-f", "deploy.yaml", *PROD), 1, "would be refused"),
    (("plan", "-f", "deploy.yaml", *PROD, "-o", "pdf"), 2, "'pdf' is not one of"),
    (("plan", "-f", "deploy.yaml", "-e", "mars"), 2, "mars"),
    (("plan", "-f", "absent.yaml", *PROD), 2, "absent.yaml: No such file"),
    (("plan", "-f", "broken.yaml", *PROD), 2, "broken.yaml:3: "),
    (("plan", "-f", "none.yaml", *PROD), 2, "no workload in none.yaml"),
    (("plan", "-f", "deploy.yaml", *PROD, "--config", "twice.yaml"), 2, "twice.yaml:2: "),
    (("plan", "secret/x", *PROD, "--kubeconfig", "absent"), 2, "'secret' is no kind of workload"),
    (("plan", "x", *PROD), 2, "not of the form KIND/NAME"),
    (("plan", "pod/x", *PROD, "--kubeconfig", "absent"), 2, "no usable kubeconfig in absent"),
    (("plan", "pod/x", *PROD, "--kubeconfig", "broken.yaml"), 2, "no usable kubeconfig in broken.yaml"),
    (("score", "-f", "deploy.yaml", *PROD), 0, ""),
    (("score", "-f", "deploy.yaml", "-e", "mars"), 2, "mars"),
    (("score", "-f", "none.yaml", *PROD), 2, "no workload"),
    (("digest", "-f", "deploy.yaml"), 0, ""),
    (("digest", "-f", "broken.yaml"), 2, "broken.yaml:3: "),
    (("digest", "-f", "deploy.yaml", "--show-secrets"), 2, "--explain"),
    (("verify", "-f", "deploy.yaml", *PROD), 1, "no approvals"),
    (("verify", "-f", "deploy.yaml"), 2, "where it is going"),
    (("verify", "-f", "deploy.yaml", *PROD, "--config", "absent"), 2, "no keyring is named"),
    (("evidence", "verify", "-f", "deploy.yaml", *PROD), 1, "no evidence"),
    (("evidence", "verify", "-f", "absent", *PROD), 2, "absent"),
    (("evidence", "attest", "-f", "deploy.yaml", "--key", "keys/pipeline.key"), 2, "nothing to attest"),
    (("evidence", "attest", "-f", "deploy.yaml", "--key", "absent", "--strategy", "canary"), 2, "absent"),
    (("approve", "-f", "deploy.yaml", *PROD, "--role", "security", "--key", "absent"), 2, "absent"),
    (("approve", "-f", "deploy.yaml", *PROD, "--role", "king", "--key", "x"), 2, "'king' is not one of"),
    (("approve", "-f", "deploy.yaml", *PROD, "--role", "security", "--key", "keys/sam.key"), 2, "nobody is there"),
    (("revoke", "x y", "--role", "security", *PROD, "--key", "keys/sam.key"), 2, "can't be revoked"),
    (("revoke", "x", "--role", "security", *PROD, "--key", "absent"), 2, "absent"),
    (("keys", "show", "absent"), 2, "absent"),
    (("keys", "show", "deploy.yaml"), 2, "not a private key"),
    (("keys", "generate", "--out", "keys/sam.key", "--no-passphrase"), 2, "exists already"),
    (("keys", "generate", "--out", "absent/sam.key", "--no-passphrase"), 2, "absent/sam.key"),
    (("keyring", "show"), 0, ""),
    (("keyring", "show", "deploy.yaml"), 2, "not a signed keyring"),
    (("keyring", "verify", "--root", "roots", "--threshold", "2"), 0, ""),
    (("keyring", "verify", "--root", "roots", "--threshold", "3"), 1, "keyring_signatures"),
    (("keyring", "verify", "--root", "absent"), 2, "absent"),
    (("keyring", "verify", "absent", "--root", "roots"), 2, "absent"),
    (("keyring", "init"), 2, "keyring.yaml"),
    (("keyring", "add", "x@y", "--key", "absent"), 2, "absent"),
    (("keyring", "grant", "nobody", "--fact", "coverage"), 2, "no identity nobody"),
    (("keyring", "grant", "nobody"), 2, "--role or --fact"),
    (("keyring", "revoke-key", "00000000", "--as", "superseded"), 2, "0 keys"),
    (("keyring", "renew", "-f", "broken.yaml"), 2, "broken.yaml:3: "),
    (("keyring", "sign", "--key", "absent"), 2, "absent"),
    (("audit", "list"), 2, "--store"),
    (("audit", "list", "--store", "log.sqlite"), 0, ""),
    (("audit", "list", "--store", "deploy.yaml"), 2, "not a"),
    (("audit", "list", "--store", "log.sqlite", "--after", "x"), 2, "cursor"),
    (("audit", "show", "nobody", "--store", "log.sqlite"), 2, "no record 'nobody'"),
    (("audit", "verify", "--store", "log.sqlite", "--log-key", VKEY), 0, ""),
    (("audit", "verify", "--store", "log.sqlite", "--log-key", "absent"), 2, "absent"),
    (("audit", "verify", "--log-key", VKEY), 2, "SQLite file with --store"),
    (("audit", "verify", "--proof", "deploy.yaml", "--log-key", VKEY), 2, ""),
    (("audit", "prove", "--store", "log.sqlite", "--log-key", VKEY), 2, "one of them"),
    (("audit", "checkpoint", "--store", "log.sqlite"), 0, ""),
    (("audit", "key", "absent", "--name", "n"), 2, "absent"),
    (("config", "check"), 0, ""),
    (("config", "check", "--config", "twice.yaml"), 1, "twice.yaml:2: "),
    (("config", "check", "--config", "absent"), 2, "absent"),
    (("config", "schema"), 0, ""),
    (("config", "example"), 0, ""),
    (("completion", "tcsh"), 2, "'tcsh' is not one of"),
    (("init", ".", "--cluster", "x"), 0, ""),
    (("init", "new", "--cluster", "Prod EU", "--no-passphrase"), 2, "can't be the name of a cluster"),
    (("init", "deploy.yaml", "--cluster", "x", "--no-passphrase"), 2, "deploy.yaml"),
    (("init", "/proc/nowhere", "--cluster", "x", "--no-passphrase"), 2, "/proc/nowhere"),
    (("serve", "--config", "absent"), 2, "absent"),
    (("serve", "--port", "0"), 2, "--port"),
    (("demo", "--keep", "."), 2, "."),
    (("help",), 0, ""),
    (("help", "nonsense"), 2, "No such command"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), TABLE, ids=[" ".join(row[0])[:60] or "-" for row in TABLE])
def test_exit_codes(
    founded: Team,
    arguments: tuple[str, ...],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # The entry point itself, in this process: starting one for each would take minutes.
    monkeypatch.chdir(founded.folder)
    monkeypatch.setattr(sys, "argv", ["placet", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    assert ended.value.code == code, err
    assert words in (out if code == 1 else err)
    assert "Traceback" not in err
    assert "error: internal error" not in err
    if code == 2:
        assert out == ""


def test_a_reader_who_goes_away_is_no_error_and_no_answer(founded: Team, tmp_path: Path) -> None:
    store = build_log(tmp_path / "large.sqlite", size=900, signed=(900,))
    for arguments in (f"audit list --store {store} --limit 900 -o json", "config schema", "help"):
        line = f"set -o pipefail; {' '.join(PLACET)} {arguments} | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", line], cwd=founded.folder, capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stderr == ""
        # What is small may be in the pipe before the reader has gone.
        assert done.stdout.strip() in ({"141"} if "large" in arguments else {"141", "0"})


def test_a_full_disk_is_named(founded: Team) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(["config", "schema"], founded.folder, stdout=full.fileno())
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device\n"


def test_ctrl_c_ends_with_130_and_no_trace(founded: Team) -> None:
    process = subprocess.Popen(
        [*PLACET, "plan", "-f", "-", *PROD],
        cwd=founded.folder,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait = Path(f"/proc/{process.pid}/wchan")
    state = Path(f"/proc/{process.pid}/stat")
    assert wait.exists()
    opened = Path(f"/proc/{process.pid}/maps")
    # It reads standard input once the libraries of the engine are loaded; before that there is nothing to interrupt.
    poll_until(
        lambda: "wasmtime" in opened.read_text(encoding="utf-8") and state.read_text().split(") ")[1].startswith("S"),
        60,
    )
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip() == ""


# Takes its standard input for its controlling terminal and becomes the program: only such a one turns a key to Ctrl-C.
OF_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("key", [b"\x03", b"\x04"])
def test_a_question_that_is_interrupted_or_not_answered_signs_nothing(founded: Team, key: bytes) -> None:
    before = (founded.folder / "deploy.yaml").read_bytes()
    ours, theirs = pty.openpty()
    approve = ["approve", "-f", "deploy.yaml", *PROD, "--role", "security", "--key", "keys/sam.key"]
    process = subprocess.Popen(
        [sys.executable, "-c", OF_TERMINAL, *PLACET, *approve],
        cwd=founded.folder,
        stdin=theirs,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    assert process.stderr is not None
    asked = b""
    while b"Sign this?" not in asked:
        piece = os.read(process.stderr.fileno(), 4096)
        assert piece, asked
        asked += piece
    # The question is printed before the program waits for its answer. A key that comes between the two may be thrown
    # away, and an interrupt then is only heard with the next key: press again, as a person would.
    for _ in range(20):
        os.write(ours, key)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            continue
        break
    process.kill()
    rest = process.stderr.read()
    code = process.wait(60)
    os.close(ours)
    process.stderr.close()
    assert code == (130 if key == b"\x03" else 2)
    assert b"Traceback" not in rest
    assert (founded.folder / "deploy.yaml").read_bytes() == before


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_any_locale_and_any_file_name_work(founded: Team, tmp_path: Path, locale: dict[str, str]) -> None:
    for raw in ("größe-模型.yaml".encode(), b"caf\xe9.yaml", b"a\x1b[31mb.yaml"):
        name = os.fsencode(tmp_path) + b"/" + raw
        shutil.copyfile(os.fsencode(EXAMPLE), name)
        done = run(["digest", "-f", name], tmp_path, environment=locale)
        assert (done.returncode, done.stderr) == (0, "")
        for form in ("json", "yaml", "table"):
            done = run(["digest", "-f", name, "-o", form], tmp_path, environment=locale)
            assert done.returncode == 0
            if form == "json":
                json.loads(done.stdout)
            if form != "yaml":
                assert "\x1b" not in done.stdout
        absent = run(["digest", "-f", name + b"-absent"], tmp_path, environment=locale)
        assert absent.returncode == 2
        assert "\x1b" not in absent.stderr
        assert "No such file" in absent.stderr


def test_what_was_typed_can_not_drive_the_terminal(founded: Team) -> None:
    for arguments in (["\x1b[31m"], ["plan", "--\x1b[31m"], ["plan", "-f", "x", "-o", "\x1b[2J"], ["help", "\x1b["]):
        done = run(arguments, founded.folder)
        assert done.returncode == 2
        assert "\x1b" not in done.stderr + done.stdout


class Stream:
    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("environment", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, False, True),
        ({"CLICOLOR": "0"}, True, False),
        ({"CLICOLOR": "1"}, False, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colour_is_for_terminals_and_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: Any, coloured: Any
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert use_colour(Stream(terminal=terminal)) is coloured


def test_colour_reaches_a_pipe_when_it_is_forced_and_never_a_program(founded: Team) -> None:
    assert "\x1b[" in run(["config", "check"], founded.folder, environment={"FORCE_COLOR": "1"}).stdout
    assert "\x1b[" not in run(["config", "check"], founded.folder).stdout
    json.loads(run(["config", "check", "-o", "json"], founded.folder, environment={"FORCE_COLOR": "1"}).stdout)


def on_terminal(
    arguments: Sequence[str], folder: Path, columns: int = 80, program: Sequence[str] = tuple(PLACET)
) -> str:
    """What a terminal of that width shows of both streams."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [*program, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end has closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    done.wait(60)
    return shown.decode()


def test_tables_are_cut_to_a_terminal_and_to_nothing_else(founded: Team) -> None:
    cut = on_terminal(["audit", "list", "--store", "log.sqlite"], founded.folder, columns=60)
    lines = [line for line in cut.splitlines() if line.strip()]
    assert len(lines) > 10
    assert all(len(line) <= 60 for line in lines)
    assert lines[1].endswith("\u2026")
    whole = run(["audit", "list", "--store", "log.sqlite"], founded.folder).stdout
    assert "\u2026" not in whole
    assert max(map(len, whole.splitlines())) > 100


def test_long_work_shows_how_far_it_is_on_a_terminal_alone(founded: Team, tmp_path: Path) -> None:
    store = build_log(tmp_path / "large.sqlite", size=6000, signed=(6000,))
    arguments = ["audit", "verify", "--store", str(store), "--log-key", VKEY]
    assert run(arguments, tmp_path).stderr == ""
    # The bar waits for a moment, as most work is over by then; here it does not.
    at_once = "import placet.cli, placet.cli.progress as p; p.PATIENCE_S = 0.0; placet.cli.main()"
    shown = on_terminal(arguments, tmp_path, program=[sys.executable, "-c", at_once])
    assert "leaves" in shown
    assert "100%" in shown
    assert "VERIFIED" in shown
