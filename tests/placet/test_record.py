"""What the recorder asks the log, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from placet.audit.log import AuditLog
from placet.record import LogRecorder
from tests.simulators.tampering import ORIGIN, append, decision

CLUSTER = decision(0)["cluster"]
ENVIRONMENT = decision(0)["environment"]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    log = AuditLog.open(tmp_path / "record.db", origin=ORIGIN)
    yield log
    log.close()


def test_a_model_counts_as_seen_from_its_first_approval_on_and_is_then_not_asked_for_again(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = LogRecorder(log, cluster=CLUSTER)
    asked: list[tuple[str, str]] = []
    ask = log.model_seen

    def counted(cluster: str, environment: str, model: str) -> bool:
        asked.append((environment, model))
        return ask(cluster, environment, model)

    monkeypatch.setattr(log, "model_seen", counted)
    assert [recorder.model_seen(environment=ENVIRONMENT, model="m") for _ in range(2)] == [False, False]
    append(log, 0, model={"name": "m", "version": "1", "digest": ""}, allowed=True, approved=True)
    assert [recorder.model_seen(environment=ENVIRONMENT, model="m") for _ in range(3)] == [True] * 3
    assert asked == [(ENVIRONMENT, "m")] * 3
    assert recorder.model_seen(environment="elsewhere", model="m") is False
    assert recorder.model_seen(environment=ENVIRONMENT, model="other") is False


def test_models_that_were_seen_are_remembered_up_to_a_bound(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("placet.record._MAX_SEEN", 3)
    monkeypatch.setattr(log, "model_seen", lambda *_: True)
    recorder = LogRecorder(log, cluster=CLUSTER)
    for number in range(10):
        assert recorder.model_seen(environment=ENVIRONMENT, model=f"m-{number}") is True
        assert len(recorder._seen) <= 3
