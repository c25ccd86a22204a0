"""Lines: one a decision, harmless whatever a user is called, and nothing of an object's content in any."""

from __future__ import annotations

import io
import json
import logging
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.stores.failure import unavailable
from placet.config import LogConfig
from tests.e2e.gateprocess import Team
from tests.simulators.gate import example
from tests.webhook.gaterun import Gate, opened
from webhook import logs

SECRET = "hunter2-value"


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    logs.configure(LogConfig(level="info", format="json"), stream=stream)
    return stream


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def ask(gate: Gate, **terms: Any) -> list[dict[str, Any]]:
    """What one review logs."""
    stream = io.StringIO()
    logs.configure(gate.runtime.config.log, stream=stream)
    manifest = example()
    manifest["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "TOKEN", "value": SECRET}]
    gate.ask(manifest, **terms)
    assert SECRET not in stream.getvalue()
    return read(stream)


def test_a_decision_is_one_line_that_names_its_record(own_team: Team) -> None:
    with opened(own_team) as gate:
        (line,) = ask(gate, uid="7f3c")
        record = gate.records("decision")[0]
        assert (line["level"], line["logger"], line["message"]) == ("info", "placet.webhook", "decision")
        assert (line["uid"], line["decision_id"]) == (record["uid"], record["decision_id"]) == ("7f3c", "7f3c")
        assert (line["environment"], line["mode"], line["decision"]) == ("production", "enforce", "deny")
        assert line["codes"][0] == "approvals.required/role_missing"
        assert line["risk"].endswith("critical")
        assert line["user"] == "deployer@example.org"
        assert line["log_index"] == gate.runtime._log.size() - 1
        assert line["latency_us"] > 0
        assert line["time"].endswith("Z")


def test_a_dry_run_has_no_index_and_is_no_error(own_team: Team) -> None:
    with opened(own_team) as gate:
        (line,) = ask(gate, dry_run=True)
        assert (line["level"], line["dry_run"], line["log_index"]) == ("info", True, None)


def test_a_resent_review_is_marked(own_team: Team) -> None:
    with opened(own_team) as gate:
        ask(gate, uid="again")
        (line,) = ask(gate, uid="again")
        assert line["replayed"] is True


def test_a_user_can_not_write_lines_of_his_own(own_team: Team) -> None:
    name = 'eve"\n{"message": "decision"}\r\x1b[31m\u202e\u2028'
    with opened(own_team) as gate:
        (line,) = ask(gate, username=name)
        assert line["user"] == 'eve"\\u000a{"message": "decision"}\\u000d\\u001b[31m\\u202e\\u2028'
        own_team.configure({"log": {"format": "text"}})
        gate.round()
        stream = io.StringIO()
        logs.configure(gate.runtime.config.log, stream=stream)
        gate.ask(username=name)
        (text,) = stream.getvalue().splitlines()
        assert text.isprintable()
        assert "INFO    placet.webhook: decision decision_id=" in text


def test_a_denial_without_a_record_is_an_error_with_all_that_a_record_needs(own_team: Team) -> None:
    with opened(own_team, faulty=True) as gate:
        assert gate.faults is not None
        gate.faults.fail("commit", after=False, error=unavailable("store_full", "injected"))
        failed, line = ask(gate, uid="lost")
        assert (failed["level"], failed["message"], failed["code"]) == ("error", "append failed", "store_full")
        assert failed["detail"] == "the record's store is full: injected", "what users don't read stands here"
        assert (line["level"], line["message"], line["uid"]) == ("error", "denied without a record", "lost")
        assert "gate.record/store_full" in line["codes"]
        assert line["log_index"] is None
        assert line["request_digest"].startswith("sha256:")
        assert line["projection"].startswith("sha256:")
        assert line["model"].startswith("llama-3.1-70b")
        assert line["required_roles"] == ["technical", "security", "business", "executive"]
        assert line["keyring_version"] == 1
        assert line["reasons"] == ["the record's store is full"]


def test_what_is_left_is_an_error_with_its_trace(own_team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("what\nnobody thought of")

    with opened(own_team) as gate:
        monkeypatch.setattr(gate.runtime.generation.gate, "decide", broken)
        (line,) = ask(gate)
        assert (line["level"], line["message"]) == ("error", "denied without a decision")
        assert "RuntimeError" in line["exc_info"]
        assert line["codes"] == ["gate.internal/internal_error"]
        assert gate.metric("placet_gate_denials_total", code="internal_error") == 1


def test_a_fault_in_counting_changes_no_answer(own_team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("count")

    with opened(own_team) as gate:
        monkeypatch.setattr(gate.runtime.metrics, "_child", broken)
        decision, fault = ask(gate)
        assert decision["message"] == "decision"
        assert fault["message"] == "a decision could not be counted"
        assert gate.records("decision")[0]["allowed"] is False


def test_the_life_of_a_gate_is_told(own_team: Team, capfd: pytest.CaptureFixture[str]) -> None:
    with opened(own_team) as gate:
        gate.runtime.drain()
    told = [json.loads(line)["message"] for line in capfd.readouterr().err.splitlines()]
    for message in ("configuration in force", "keyring in force", "ready", "draining", "stopped"):
        assert message in told


def test_levels_hold_for_ours_and_libraries_are_heard_from_warnings_on() -> None:
    stream = io.StringIO()
    logs.configure(LogConfig(level="error", format="text"), stream=stream)
    logs.say(logging.WARNING, "not heard")
    logs.say(logging.ERROR, "heard", code="x y", empty="")
    assert stream.getvalue().endswith(' placet.webhook: heard code="x y" empty=""\n')
    logs.configure(LogConfig(level="debug", format="text"), stream=stream)
    stream.truncate(0)
    logging.getLogger("somebody.else").info("not heard")
    logging.getLogger("somebody.else").warning("heard")
    logs.say(logging.DEBUG, "heard")
    assert stream.getvalue().count("heard") == 2


def test_setting_up_again_replaces_what_was_there(lines: io.StringIO) -> None:
    again = io.StringIO()
    logs.configure(LogConfig(level="info", format="json"), stream=again)
    logs.say(logging.INFO, "once")
    assert lines.getvalue() == ""
    assert len(read(again)) == 1


def test_warnings_of_the_interpreter_are_lines(lines: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    (line,) = read(lines)
    assert line["logger"] == "py.warnings"
    assert "old thing" in line["message"]


@given(text=st.text(max_size=600))
def test_no_text_makes_more_than_one_printable_line(text: str) -> None:
    for form in ("json", "text"):
        stream = io.StringIO()
        logs.configure(LogConfig(level="info", format=form), stream=stream)
        logs.say(logging.INFO, "decision", user=logs.told(text))
        assert stream.getvalue().count("\n") == 1
        assert stream.getvalue().rstrip("\n").isprintable()
        assert stream.getvalue().isascii() or form == "text"
