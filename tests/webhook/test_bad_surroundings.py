"""The real process in bad surroundings: a clear end at the start, or refusals with a code until the cause has gone."""

from __future__ import annotations

import contextlib
import datetime as dt
import resource
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.authority import Authority
from tests.e2e.gateprocess import Team
from tests.e2e.lifegate import PATIENCE_S, Replica, started
from tests.e2e.processes import poll_until
from tests.simulators.gate import example, review
from tests.simulators.serving import install
from tests.webhook.gaterun import opened
from webhook import runtime

# Root may write to everything; a server in a cluster may not.
_WITHOUT_RIGHTS: Final = """\
import ctypes, os, sys
if os.geteuid() == 0 and ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) != 0:  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    sys.exit("can't drop the right to write everywhere")
os.execv(sys.executable, [sys.executable, "-m", "placet", *sys.argv[1:]])
"""
_LENIENT: Final = "environments: {production: {mode: warn}}"
# A machine whose clock is wrong by as many seconds as a file says.
_SKEWED: Final = """\
import datetime, pathlib, sys
import webhook.runtime
ahead = pathlib.Path(sys.argv.pop(1))
def now():
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=float(ahead.read_text()))
webhook.runtime.Runtime.open.__func__.__kwdefaults__["clock"] = now
from placet.cli import main
main()
"""


def refusal(replica: Replica) -> str:
    response = replica.ask(review(example()))
    assert response["allowed"] is False
    return str(response["status"]["message"])


def until_refused_with(replica: Replica, code: str) -> None:
    assert poll_until(lambda: code in refusal(replica), PATIENCE_S), (refusal(replica), replica.log[-2000:])


def until_not_ready(replica: Replica, words: str) -> None:
    def found() -> bool:
        status, text = replica.look()
        return status == 503 and words in text

    assert poll_until(found, PATIENCE_S), replica.look()


def until_ready(replica: Replica) -> None:
    assert poll_until(lambda: replica.ready, PATIENCE_S), replica.look()


def decides(replica: Replica) -> bool:
    """Whether a review is judged by the policies, and recorded."""
    message = refusal(replica)
    return "approvals.required" in message and "not in the record" not in message


def failure(team: Team, *arguments: str) -> str:
    done = team.run("serve", *arguments, expect=2)
    assert "Traceback" not in done.stderr
    return done.stderr


def with_certificate(team: Team, folder: Path, **terms: Any) -> Callable[..., None]:
    """Let the team's gate serve with a certificate of our own; gives what puts another in its place."""
    authority = Authority(folder, "surroundings")
    tls = folder / "serving"
    tls.mkdir()

    def issue(**terms: Any) -> None:
        install(tls, authority.server(["localhost", "127.0.0.1"], **terms))

    issue(**terms)
    team.configure({"server": {"tls_cert": str(tls / "tls.crt"), "tls_key": str(tls / "tls.key")}})
    return issue


# -- the store


def test_a_record_that_may_not_be_written_is_refused_at_the_start(own_team: Team, tmp_path: Path) -> None:
    with started(own_team):
        pass
    record = own_team.folder / "record.sqlite"
    record.chmod(0o444)
    launch = (sys.executable, "-c", _WITHOUT_RIGHTS)
    replica = Replica(own_team, 2, launch=launch)
    assert poll_until(lambda: not replica.process.running, PATIENCE_S)
    assert replica.process.status == 2
    assert "can't be written to" in replica.log
    assert "Traceback" not in replica.log
    for file in own_team.folder.glob("record.sqlite*"):
        file.chmod(0o600)
    with started(own_team, launch=launch) as replica:
        assert decides(replica)


def test_a_record_that_becomes_read_only_refuses_until_it_can_be_written(own_team: Team, tmp_path: Path) -> None:
    record = own_team.folder / "record.sqlite"
    with started(own_team, launch=(sys.executable, "-c", _WITHOUT_RIGHTS)) as replica:
        assert decides(replica)
        # A volume that comes back read-only: the same content behind the same name, and nobody may write.
        with (
            contextlib.closing(sqlite3.connect(record)) as source,
            contextlib.closing(sqlite3.connect(tmp_path / "copy")) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = WAL")
        (tmp_path / "copy").chmod(0o444)
        for name in ("record.sqlite-wal", "record.sqlite-shm"):
            (own_team.folder / name).unlink()
        (tmp_path / "copy").rename(record)
        until_refused_with(replica, "gate.record/store_readonly")
        until_not_ready(replica, "record: store_readonly")
        assert replica.metric('placet_gate_denials_total{code="store_readonly"}') >= 1
        assert replica.metric('placet_audit_write_failures_total{code="store_readonly"}') >= 1
        for file in own_team.folder.glob("record.sqlite*"):  # SQLite made those beside it as unwritable
            file.chmod(0o600)
        until_ready(replica)
        assert decides(replica)


def test_a_record_that_can_not_grow_refuses_until_it_can(own_team: Team) -> None:
    with started(own_team) as replica:
        assert decides(replica)
        largest = max(file.stat().st_size for file in own_team.folder.glob("record.sqlite*"))
        # Nothing may grow; what the kernel answers then is a failed write, as of a quota that is used up.
        hard = resource.prlimit(replica.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(replica.process.pid, resource.RLIMIT_FSIZE, (min(largest, 4096), hard))
        until_refused_with(replica, "gate.record/store_")
        until_not_ready(replica, "record: store_")
        assert sum(
            replica.metric(f'placet_audit_write_failures_total{{code="{code}"}}')
            for code in ("store_full", "store_unavailable")
        )
        resource.prlimit(replica.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        until_ready(replica)
        assert decides(replica)
    key = (own_team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
    own_team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)


def test_a_store_that_stays_locked_takes_readiness_away_until_it_is_free(own_team: Team) -> None:
    with started(own_team) as replica:
        with contextlib.closing(sqlite3.connect(own_team.folder / "record.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            until_not_ready(replica, "record: store_locked")
            assert "not in the record" in refusal(replica)
            assert replica.metric('placet_ready{part="record"}') == 0
            other.execute("ROLLBACK")
        until_ready(replica)
        assert decides(replica)


def test_a_record_of_a_newer_version_is_left_alone(own_team: Team) -> None:
    with started(own_team):
        pass
    record = own_team.folder / "record.sqlite"
    with contextlib.closing(sqlite3.connect(record, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 9")
    content = record.read_bytes()
    said = failure(own_team)
    assert "record of version 9" in said
    assert "or a newer one" in said
    assert record.read_bytes() == content


# -- certificates and clocks


def test_an_expired_certificate_is_refused_at_the_start(own_team: Team, tmp_path: Path) -> None:
    with_certificate(own_team, tmp_path, lifetime=dt.timedelta(minutes=-1))
    said = failure(own_team)
    assert "expired at" in said
    assert "Renew it" in said


def test_a_key_that_is_not_the_certificates_is_refused_at_the_start(own_team: Team, tmp_path: Path) -> None:
    issue = with_certificate(own_team, tmp_path)
    key = (tmp_path / "serving" / "tls.key").read_bytes()
    issue()
    (tmp_path / "serving" / "tls.key").resolve().write_bytes(key)
    said = failure(own_team)
    assert "is not the key of" in said


def test_a_certificate_that_expires_takes_readiness_away_until_it_is_renewed(own_team: Team, tmp_path: Path) -> None:
    begun = time.monotonic()
    issue = with_certificate(own_team, tmp_path, lifetime=dt.timedelta(seconds=12))
    with started(own_team) as replica:
        assert time.monotonic() - begun < 12, "the start took longer than the certificate holds"
        assert decides(replica)
        until_not_ready(replica, "certificate: certificate_expired")
        assert replica.metric('placet_ready{part="certificate"}') == 0
        issue()
        until_ready(replica)
        assert replica.metric('placet_server_events_total{event="certificate_reloaded"}') == 1


def test_a_clock_that_is_wrong_refuses_until_it_is_right(own_team: Team, tmp_path: Path) -> None:
    ahead = tmp_path / "ahead"
    ahead.write_text("0", encoding="utf-8")
    with started(own_team, launch=(sys.executable, "-c", _SKEWED, str(ahead))) as replica:
        assert decides(replica)
        for seconds, code in ((3 * 366 * 86400, "keyring_expired"), (-86400, "keyring_not_yet_valid")):
            ahead.write_text(str(seconds), encoding="utf-8")
            until_refused_with(replica, code)
            until_not_ready(replica, f"keyring: {code}")
            assert replica.metric(f'placet_gate_denials_total{{code="{code}"}}') >= 1
            ahead.write_text("0", encoding="utf-8")
            until_ready(replica)
            assert decides(replica)


# -- files and ports


def test_a_status_port_in_use_is_one_sentence(own_team: Team) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        own_team.configure({"server": {"status_port": taken.getsockname()[1]}})
        said = failure(own_team)
    assert "Address already in use" in said
    assert str(taken) not in said


@pytest.mark.parametrize("name", ["placet.yaml", "policy-data.yaml"])
def test_an_unknown_key_in_a_file_leaves_the_old_one_in_force_and_is_shown(own_team: Team, name: str) -> None:
    file = own_team.folder / name
    text = file.read_text(encoding="utf-8")
    with started(own_team) as replica:
        file.write_text(f"{text}\nlatency_budget: 5\n", encoding="utf-8")
        assert poll_until(lambda: "warning configuration: " in replica.look()[1], PATIENCE_S)
        status, shown = replica.look()
        assert (status, "latency_budget" in shown) == (200, True)
        assert replica.metric('placet_stale{part="configuration"}') == 1
        assert decides(replica)
        file.write_text(text, encoding="utf-8")
        assert poll_until(lambda: replica.look() == (200, "ok\n"), PATIENCE_S)
        assert replica.metric('placet_stale{part="configuration"}') == 0


def test_a_file_that_is_emptied_before_it_is_written_does_not_count_in_between(
    own_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a shell's ``>`` does: for a moment there is an empty file, and that is valid policy data."""
    own_team.folder.joinpath("policy-data.yaml").write_text(_LENIENT, encoding="utf-8")
    with opened(own_team) as gate:
        gate.policy_data("")
        monkeypatch.setattr(runtime, "pause", lambda _: gate.policy_data(f"{_LENIENT}\n"))
        gate.round()
        assert gate.ask()["allowed"] is True
        assert len(gate.records("configuration")) == 1
        monkeypatch.setattr(runtime, "pause", lambda _: None)
        gate.round()
        gate.policy_data("")
        gate.round()
        assert gate.ask()["allowed"] is False  # it was meant


def test_a_hangup_while_it_starts_does_not_end_it(own_team: Team) -> None:
    replica = Replica(own_team, 1)
    try:
        replica.process.wait_until(lambda: _runs_python(replica.process.pid), "running", PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while not replica.ready:
            assert replica.process.running, replica.log
            assert time.monotonic() < deadline
            replica.signal(signal.SIGHUP)
            time.sleep(0.02)
        assert decides(replica)
    finally:
        if replica.process.running:
            replica.signal(signal.SIGINT)
        replica.process.stop(grace_s=15)


def _runs_python(pid: int) -> bool:
    """Whether ``placet`` itself has begun to open what it needs."""
    return any("record.sqlite" in str(_target(entry)) for entry in Path(f"/proc/{pid}/fd").iterdir())


def _target(entry: Path) -> str:
    with contextlib.suppress(OSError):
        return str(entry.readlink())
    return ""
