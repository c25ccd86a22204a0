"""What docs/ says of the formats is what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from placet.approvals.rejections import render_meanings
from placet.approvals.statement import ApprovalStatement, RevocationStatement, parse_statement
from placet.evidence.kinds import TEST_RESULT_TYPE
from placet.evidence.predicates import read_predicate
from scorer import Rollback
from tests.simulators.desk import SHIPPED_KINDS

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def text() -> str:
    (file,) = [
        file
        for file in (DOCS / "formats-approvals.md", DOCS / "formats.md")
        if file.exists() and "# Approvals, evidence and keyrings" in file.read_text(encoding="utf-8")
    ]
    return file.read_text(encoding="utf-8")


def test_the_table_of_codes_is_generated(text: str) -> None:
    assert render_meanings() in text


def test_the_examples_are_read_by_the_verifier(text: str) -> None:
    blocks = [block.encode() for block in re.findall(r"```json\n(\{.*?)```", text, re.DOTALL)]
    statements = [parse_statement(block) for block in blocks if b"placet.dev/approval/v1" in block]
    assert [type(one) for one in statements] == [ApprovalStatement, RevocationStatement]
    (drill,) = [json.loads(block) for block in blocks if b"rollback-drill" in block]
    assert read_predicate(SHIPPED_KINDS, TEST_RESULT_TYPE, drill).facts == {
        "rollback": Rollback(available=True, minutes=3)
    }
