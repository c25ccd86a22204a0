"""The demo in a cluster: what holds its steps, what ends it, and what it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools import demo_cluster
from tools.demo_cluster import Cluster, save_logs, tell, watch, work_folder
from tools.demo_cluster_stage import Stage, StoryError, excerpt
from tools.demo_cluster_stop import Stopped, StopSignals
from tools.demo_cluster_witness import missing_in, read_audit_log

PATIENCE_S = 20.0


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, {"PATH": os.environ["PATH"]})


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


def ends(pid: int) -> bool:
    end = time.monotonic() + PATIENCE_S
    while runs(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# --- steps -----------------------------------------------------------------------------------------------------------


def test_a_step_is_shown_as_it_is_run_with_both_streams(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    said = stage.run("echo fine; echo but >&2; exit 3", expect=3, says=["fine", "but"])
    assert said == "fine\nbut\n"
    assert capsys.readouterr().out == "   $ echo fine; echo but >&2; exit 3\n   fine\n   but\n"


@pytest.mark.parametrize("command", ["exit 1", "false; true", "false | true", "echo $undefined"])
def test_a_step_that_fails_ends_the_story(stage: Stage, command: str) -> None:
    with pytest.raises(StoryError, match="ended with 1, and the story needs 0"):
        stage.run(command)


def test_a_step_that_should_fail_and_does_not_ends_the_story(stage: Stage) -> None:
    with pytest.raises(StoryError, match=r"ended with 0, and the story needs 1\. It said:\ncreated"):
        stage.run("echo created", expect=1)


def test_a_step_that_says_something_else_ends_the_story_even_where_little_is_shown(stage: Stage) -> None:
    with pytest.raises(StoryError, match="did not say 'refused'"):
        stage.run("echo denied for another reason", says=["refused"], only=["nothing"])


def test_what_is_asked_behind_the_scenes_must_succeed_and_keeps_warnings_apart(stage: Stage) -> None:
    assert stage.ask("echo '[]'; echo warning >&2") == "[]\n"
    with pytest.raises(StoryError, match="oh no"):
        stage.ask("echo 'oh no' >&2; exit 1")


def test_what_does_not_happen_in_time_ends_the_story(stage: Stage) -> None:
    with pytest.raises(StoryError, match=r"four Pods: not after 0\.3 s"):
        stage.wait_for("four Pods", lambda: False, 0.3)


def test_exported_variables_reach_the_commands_that_follow(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.export(GREETING="good day")
    assert stage.ask('echo "$GREETING"') == "good day\n"
    assert "$ export GREETING='good day'" in capsys.readouterr().out


def test_commands_see_no_more_of_the_environment_than_they_are_given(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somebody/else/cluster")
    assert stage.ask("echo ${KUBECONFIG:-none}") == "none\n"


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    hasty = Stage(tmp_path, {"PATH": os.environ["PATH"]}, timeout_s=1)
    with pytest.raises(StoryError, match="did not end within 1 s"):
        hasty.run("sleep 300 & echo $! > child; wait")
    assert ends(int((tmp_path / "child").read_text(encoding="utf-8")))


def test_a_signal_ends_a_command_with_all_it_started(stage: Stage, tmp_path: Path) -> None:
    child = tmp_path / "child"

    def interrupt() -> None:
        while not (child.exists() and child.read_text(encoding="utf-8").endswith("\n")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    with StopSignals():
        interrupter.start()
        with pytest.raises(Stopped):
            stage.run("sleep 300 & echo $! > child; wait")
    interrupter.join()
    assert ends(int(child.read_text(encoding="utf-8")))


def test_an_excerpt_is_made_of_the_lines_that_were_asked_for() -> None:
    lines = ["NAME: llama", "", "STATUS: deployed", "NOTES:"]
    assert excerpt(lines, ["STATUS"]) == ["STATUS: deployed"]
    assert excerpt(lines, []) == ["NAME: llama", "STATUS: deployed", "NOTES:"]


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_stops_and_later_ones_interrupt_nothing(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with StopSignals():
        with pytest.raises(Stopped) as stopped:
            signal.raise_signal(number)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.number == number
    assert capfd.readouterr().err.count("ending already") == 2
    assert signal.getsignal(number) == before


def test_a_signal_waits_for_the_end_of_what_must_be_whole() -> None:
    done = []

    def make(signals: StopSignals) -> None:
        with signals.held():
            signal.raise_signal(signal.SIGTERM)
            done.append("made known to who removes it")

    with StopSignals() as signals, pytest.raises(Stopped):
        make(signals)
    assert done


def test_an_error_within_what_must_be_whole_leaves_signals_working() -> None:
    with StopSignals() as signals:
        with pytest.raises(OSError, match="no route"), signals.held():
            raise OSError("no route")
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_is_for_its_user_alone_and_goes_with_what_is_in_it(temporary: Path) -> None:

    def work(signals: StopSignals) -> None:
        with work_folder(signals, None) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "gate").mkdir()
            (folder / "gate" / "sam.key").touch()
            signal.raise_signal(signal.SIGINT)

    with StopSignals() as signals, pytest.raises(Stopped):
        work(signals)
    assert list(temporary.iterdir()) == []


def test_a_folder_to_keep_stays(tmp_path: Path) -> None:
    with StopSignals() as signals, work_folder(signals, tmp_path / "new" / "demo") as folder:
        (folder / "record").touch()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (tmp_path / "new" / "demo" / "record").exists()


def test_a_folder_that_is_there_is_not_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        demo_cluster.main(["--keep", str(tmp_path)])
    assert ended.value.code == 2
    assert "--keep takes a new folder" in capsys.readouterr().err


@dataclass
class Runs:
    """Stands for what is started: it says when it is ended."""

    ended: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self, signals: StopSignals, folder: Path) -> Iterator[tuple[Cluster, Stage]]:
        (folder / "cluster").mkdir()
        (folder / "cluster" / "etcd.log").write_text("what happened", encoding="utf-8")
        (folder / "cluster" / "admin.key").touch()
        try:
            yield living(), Stage(folder, {"PATH": os.environ["PATH"]})
        finally:
            signals.ignore()
            signal.raise_signal(signal.SIGINT)  # an impatient second Ctrl-C
            self.ended.append("all")


def told(monkeypatch: pytest.MonkeyPatch, play: Any, *, wait: bool = False, keep: Path | None = None) -> int:
    """Exit status of a demo with another story; what was started must have been ended."""
    runs = Runs()
    monkeypatch.setattr(demo_cluster, "running", runs.running)
    monkeypatch.setattr(demo_cluster, "play", play)
    try:
        with StopSignals() as signals, work_folder(signals, keep) as folder:
            return tell(signals, folder, kept=keep is not None, wait=wait)
    finally:
        assert runs.ended == ["all"]


def test_a_story_that_goes_another_way_leaves_the_logs_and_no_key(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(stage: Stage, _: Path) -> None:
        stage.run("echo created", expect=1)

    assert told(monkeypatch, play) == 1
    (left,) = temporary.iterdir()
    assert [file.name for file in left.iterdir()] == ["etcd.log"]
    said = capsys.readouterr()
    assert "error: `echo created` ended with 0, and the story needs 1" in said.err
    assert f"the logs are in {left}" in said.err
    assert "proved" not in said.out


def test_a_fault_of_the_demo_itself_shows_where_and_leaves_the_logs(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(*_: object) -> None:
        raise KeyError("change")

    with pytest.raises(KeyError, match="change"):
        told(monkeypatch, play)
    (left,) = temporary.iterdir()
    assert [file.name for file in left.iterdir()] == ["etcd.log"]


def test_a_signal_in_the_story_ends_it_with_nothing_left(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stopped):
        told(monkeypatch, lambda *_: signal.raise_signal(signal.SIGTERM))
    assert list(temporary.iterdir()) == []


def test_it_waits_only_when_wanted(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(monkeypatch, lambda *_: None) == 0
    assert "export KUBECONFIG" not in capsys.readouterr().out
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    monkeypatch.setattr(demo_cluster, "LOOK_S", 0.05)
    with StopSignals():
        assert told(monkeypatch, lambda *_: None, wait=True) == 0
    said = capsys.readouterr().out
    assert "export KUBECONFIG=" in said
    assert "\x1b[" not in said
    assert list(temporary.iterdir()) == []


def test_saved_logs_are_of_every_program(temporary: Path) -> None:
    folder = temporary / "work"
    for name in (
        "cluster/etcd.log",
        "cluster/audit.log",
        "node/logs/placet-1-webhook.log",
        "cluster/certificate-1.key",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    saved = save_logs(folder)
    assert saved is not None
    assert sorted(file.name for file in saved.iterdir()) == ["audit.log", "etcd.log", "placet-1-webhook.log"]


def test_there_is_no_place_for_logs_when_nothing_has_run(temporary: Path) -> None:
    assert save_logs(temporary / "work") is None
    assert list(temporary.iterdir()) == []


# --- while somebody plays --------------------------------------------------------------------------------------------


@dataclass
class Plane:
    ended: list[Any] = field(default_factory=list)

    def find_ended(self) -> list[Any]:
        return self.ended


@dataclass
class Node:
    restarted: list[str] = field(default_factory=list)
    failure: BaseException | None = None


def living() -> Cluster:
    return Cluster(Plane(), Node())


def test_it_says_when_the_api_server_is_gone() -> None:
    plane = Plane([SimpleNamespace(name="kube-apiserver", status=-9)])
    with pytest.raises(StoryError, match="kube-apiserver ended by itself with status -9"):
        watch(Cluster(plane, Node()))


def test_it_says_when_nothing_runs_the_webhook_any_more() -> None:
    with pytest.raises(StoryError, match=r"nothing runs placet's Pods any more: OSError\('refused'\)"):
        watch(Cluster(Plane(), Node(failure=OSError("refused"))))


def test_it_says_once_when_a_webhook_ended_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node(["placet-0/webhook: status 1"])  # of the story; known already
    looks = [False, True]

    def look(_: float) -> None:
        if not looks:
            raise Stopped(signal.SIGINT)
        if looks.pop():
            node.restarted.append("placet-1/webhook: status -9")

    monkeypatch.setattr("time.sleep", look)
    watch(Cluster(Plane(), node))
    said = capsys.readouterr().err
    assert said == "a process of placet ended by itself and was started again: placet-1/webhook: status -9\n"


# --- the witness -----------------------------------------------------------------------------------------------------


def record(index: int, decision: str, name: str = "llama") -> dict[str, Any]:
    body = {"kind": "Deployment", "name": name, "operation": "UPDATE", "subresource": "", "user": "dora"}
    return {"index": index, "leaf_hash": f"{index:064x}", "record": {**body, "decision_id": decision}}


def logged(*decisions: tuple[str, int]) -> dict[str, tuple[str, str]]:
    return {decision: (str(index), f"sha256:{index:064x}") for decision, index in decisions}


def test_the_audit_log_is_read_without_the_line_that_is_being_written() -> None:
    said = {"decision-id": "d1", "log-index": "7", "leaf-hash": "sha256:aa", "risk": "6.65 high"}
    event = {"annotations": {f"production.placet.dev/{key}": value for key, value in said.items()}}
    other = {"annotations": {"authorization.k8s.io/decision": "allow"}}
    text = "\n".join([json.dumps(event), json.dumps(other), json.dumps({}), '{"annotations": {"prod'])
    assert read_audit_log(text) == {"d1": ("7", "sha256:aa")}


def test_a_decision_that_the_log_does_not_have_is_missing() -> None:
    assert missing_in(logged(("d1", 1)), [record(1, "d1"), record(2, "d2", name="other")]) == ["d2"]


def test_a_decision_that_repeats_one_in_the_log_is_not_missing() -> None:
    assert missing_in(logged(("d1", 1)), [record(2, "d2"), record(1, "d1")]) == []
    assert missing_in(logged(("d2", 2)), [record(2, "d2"), record(1, "d1")]) == ["d1"]


@pytest.mark.parametrize("said", [("2", f"sha256:{1:064x}"), ("1", f"sha256:{2:064x}"), ("", "")])
def test_a_log_that_says_otherwise_ends_the_story(said: tuple[str, str]) -> None:
    with pytest.raises(StoryError, match="says otherwise about decision d1"):
        missing_in({"d1": said}, [record(1, "d1")])


def test_no_records_are_no_agreement() -> None:
    with pytest.raises(StoryError, match="no decision"):
        missing_in({}, [])
