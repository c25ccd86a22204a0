from __future__ import annotations

from pathlib import Path

import pytest

from placet.exemptions.folder import FolderExemptions, SignedExemptions, load_exemptions
from tests.simulators.desk import ApprovalDesk, sample_workload
from tests.simulators.exemptions import add_exempters, exemption_of, sign_exemption

WORKLOAD = sample_workload()


@pytest.fixture
def desk() -> ApprovalDesk:
    made = ApprovalDesk.standard()
    add_exempters(made)
    return made


def count(found: SignedExemptions, workload: str = WORKLOAD.resource, environment: str = "production") -> int:
    return len(found.find(environment=environment, namespace=WORKLOAD.namespace, workload=workload))


def test_it_is_found_by_the_place_that_it_names_alone(desk: ApprovalDesk, tmp_path: Path) -> None:
    raw = sign_exemption(desk, exemption_of(desk, WORKLOAD))
    for name in ("a", "b"):
        (tmp_path / f"{name}.dsse.json").write_bytes(raw)
    (tmp_path / "README.md").write_text("not one of ours", encoding="utf-8")
    found = load_exemptions(tmp_path, keyring=desk.keyring)
    assert found.faults == ()
    assert (count(found), len(found.all)) == (1, 1)
    assert count(found, workload="Deployment/llama2") == 0
    assert count(found, environment="staging") == 0
    assert found.find(environment="production", namespace="other", workload=WORKLOAD.resource) == ()


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"{" * 70_000])
def test_a_bad_file_exempts_nothing_and_leaves_the_others(desk: ApprovalDesk, tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.dsse.json").write_bytes(raw)
    (tmp_path / "b.dsse.json").write_bytes(sign_exemption(desk, exemption_of(desk, WORKLOAD)))
    (tmp_path / "c.dsse.json").mkdir()
    found = load_exemptions(tmp_path, keyring=desk.keyring)
    assert [fault.file for fault in found.faults] == ["a.dsse.json", "c.dsse.json"]
    assert all(fault.why for fault in found.faults)
    assert count(found) == 1


def test_a_folder_that_is_not_there_exempts_nothing_and_says_so(desk: ApprovalDesk, tmp_path: Path) -> None:
    found = load_exemptions(tmp_path / "gone", keyring=desk.keyring)
    assert [fault.file for fault in found.faults] == ["gone"]
    assert found.all == ()


def test_files_count_and_stop_counting_without_a_restart(desk: ApprovalDesk, tmp_path: Path) -> None:
    source, file = FolderExemptions(tmp_path), tmp_path / "a.dsse.json"
    assert count(source.load(desk.keyring)) == 0
    file.write_bytes(sign_exemption(desk, exemption_of(desk, WORKLOAD)))
    first = source.load(desk.keyring)
    assert count(first) == 1
    assert source.load(desk.keyring) is first, "nothing changed, so nothing is read again"
    file.unlink()
    assert count(source.load(desk.keyring)) == 0


def test_another_keyring_verifies_anew(desk: ApprovalDesk, tmp_path: Path) -> None:
    source = FolderExemptions(tmp_path)
    (tmp_path / "a.dsse.json").write_bytes(sign_exemption(desk, exemption_of(desk, WORKLOAD)))
    assert count(source.load(desk.keyring)) == 1
    desk.document["identities"] = [one for one in desk.document["identities"] if "fay" not in one["id"]]
    desk.document["version"] += 1
    assert count(source.load(desk.keyring)) == 0
