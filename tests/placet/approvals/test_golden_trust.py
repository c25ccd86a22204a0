from __future__ import annotations

import json

import pytest

from tests.golden.trust import FOLDER, RANDOM, all_cases, judge_approval, judge_evidence, judge_keyring

CASES = all_cases()


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_today_is_what_is_kept(name: str) -> None:
    kept = {file.name: file.read_bytes() for file in (FOLDER / name).iterdir()}
    assert dict(CASES[name]) == kept


def test_no_case_is_kept_that_is_no_longer_made() -> None:
    kept = {
        f"{area}/{case.name}" for area in ("approvals", "evidence", "keyring") for case in (FOLDER / area).iterdir()
    }
    assert kept == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_what_older_releases_wrote_is_read_as_it_was(name: str) -> None:
    folder = FOLDER / name
    expected = json.loads((folder / "expected.json").read_text())
    if name.startswith("keyring/"):
        assert judge_keyring((folder / "keyring.dsse.json").read_bytes()) == expected
    elif name.startswith("evidence/"):
        assert judge_evidence((folder / "annotation.txt").read_text()) == expected
    else:
        assert judge_approval((folder / "annotation.txt").read_text()) == expected


@pytest.mark.parametrize("scheme", RANDOM)
def test_signatures_that_differ_each_time_still_verify(scheme: str) -> None:
    expected = json.loads((FOLDER / f"approvals/good-{scheme}" / "expected.json").read_text())
    assert [one["person"] for one in expected["verified"]] == [f"p-{scheme}"]
