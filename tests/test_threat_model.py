"""The threat model names the tests that hold it: a row whose test is gone is a claim without ground."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
DOCUMENT: Final = ROOT / "docs" / "threat-model.md"
_CITED: Final = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_CITED_HERE: Final = sorted(
    set(_CITED.findall(DOCUMENT.read_text(encoding="utf-8"))) - {("tests/test_threat_model.py", "")}
)


@pytest.mark.parametrize(("file", "name"), _CITED_HERE)
def test_every_cited_test_exists(file: str, name: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {name}\(" if name else r"^def test_", text, re.MULTILINE)


def test_every_threat_names_a_test_or_says_that_there_is_none() -> None:
    rows = [
        line
        for section in DOCUMENT.read_text(encoding="utf-8").split("## Threats")[1:]
        for line in section.splitlines()
        if line.startswith("| ") and not line.startswith(("| threat", "|---"))
    ]
    assert len(rows) > 10
    silent = [row for row in rows if not _CITED.search(row) and not re.search(r"none yet|not prevented|not yet", row)]
    assert silent == []


def test_every_threat_of_the_general_model_has_its_row() -> None:
    """SIG Security's threats have numbers: none is left out, none stands twice."""
    section = DOCUMENT.read_text(encoding="utf-8").split("## Threats of admission control in general")[1]
    assert [int(number) for number in re.findall(r"^\| (\d+)\. ", section, re.MULTILINE)] == list(range(1, 19))
