"""Exemptions that end, let nothing in, or are for nothing that runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from placet.doctor.exempted import Exempted, check_exempted
from placet.doctor.running import Form, Running
from placet.exemptions.folder import Fault
from placet.exemptions.survey import survey
from placet.policy.data import load_policy_data
from placet.workload import read_workload
from tests.simulators.desk import ApprovalDesk
from tests.simulators.exemptions import ExemptionShelf, add_exempters, exemption_of, sign_exemption

KIND = Form("apps", "v1", "Deployment", "deployments")


def proxy(image: str = f"registry.example/nginx@sha256:{'ab' * 32}") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "proxy", "namespace": "shop"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "nginx", "image": image}]}}},
    }


@pytest.fixture
def desk() -> ApprovalDesk:
    made = ApprovalDesk.standard()
    add_exempters(made)
    return made


def found(
    desk: ApprovalDesk, running: list[dict[str, Any]] | None, *, by: str = "fay", later: timedelta = timedelta()
) -> list[tuple[str, str]]:
    shelf = ExemptionShelf({"a.dsse.json": sign_exemption(desk, exemption_of(desk, read_workload(proxy())), by=by)})
    now = desk.now + later
    data = load_policy_data(None).value
    standings = survey(shelf.load(desk.keyring), keyring=desk.keyring, cluster=desk.cluster, data=data, now=now)
    workloads = None if running is None else [Running(KIND, one) for one in running]
    return [(one.code.value, one.sentence) for one in check_exempted(Exempted(standings), workloads, now)]


def test_one_that_holds_for_what_runs_is_nothing_to_speak_of(desk: ApprovalDesk) -> None:
    assert found(desk, [proxy()]) == []


def test_one_that_ends_soon_or_has_ended_is_told(desk: ApprovalDesk) -> None:
    days = timedelta(days=1)
    assert found(desk, [proxy()], later=20 * days) == [("exemption_ends", "it ends in 10 days (a.dsse.json)")]
    assert found(desk, [proxy()], later=31 * days) == [("exemption_ends", "it ended 24 h ago (a.dsse.json)")]


def test_one_that_counts_for_nothing_is_told(desk: ApprovalDesk) -> None:
    ((code, sentence),) = found(desk, [proxy()], by="bob")
    assert code == "exemption_unusable"
    assert "holds no grant exempt" in sentence


def test_one_for_nothing_that_runs_is_told(desk: ApprovalDesk) -> None:
    assert [code for code, _ in found(desk, [])] == ["exemption_unused"]
    other = proxy(f"registry.example/nginx@sha256:{'cd' * 32}")
    assert [said for _, said in found(desk, [other])] == ["other content runs under that name (a.dsse.json)"]


def test_what_is_unused_is_not_known_where_not_all_could_be_read(desk: ApprovalDesk) -> None:
    assert found(desk, None) == []


def test_a_file_that_cannot_be_read_is_told(desk: ApprovalDesk) -> None:
    (told,) = check_exempted(Exempted(faults=(Fault("x.dsse.json", "it is torn"),)), [], desk.now)
    assert (told.code.value, told.where, told.sentence) == ("exemption_unusable", "x.dsse.json", "it is torn")
