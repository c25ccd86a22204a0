"""What a deployment lacks is told in a sentence, whatever a rule reports."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import pytest

from placet.policy.bundle import shipped_bundle
from placet.shortfalls import SHORTFALLS, shortfall

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r'"code": "([a-z_]+)"')


def reported() -> dict[str, set[str]]:
    """Code -> names of the fields beside it, as the rules that an environment can require write them."""
    found: dict[str, set[str]] = {}
    for rule in shipped_bundle().rules:
        if rule.optional:
            folder = ROOT / "policies" / "admission" / "rules" / rule.id.replace(".", "/")
            text = (folder / f"{folder.name}.rego").read_text("utf-8")
            for entry in re.findall(r"\{\s*(\"code\": .*?)\}(?: if|\n)", text, re.DOTALL):
                (code,) = CODE.findall(entry)
                found.setdefault(code, set()).update(set(re.findall(r'"([a-z_]+)":', entry)) - {"code"})
    return found


def test_each_code_of_the_rules_has_its_sentence_and_no_other_has() -> None:
    assert set(reported()) == set(SHORTFALLS)


@pytest.mark.parametrize("code", SHORTFALLS)
def test_a_sentence_names_nothing_that_the_rule_does_not_report(code: str) -> None:
    named = {name for _, name, _, _ in string.Formatter().parse(SHORTFALLS[code]) if name}
    assert named <= reported()[code]


def test_a_value_that_is_missing_or_odd_still_gives_a_sentence() -> None:
    assert shortfall("evidence_missing", {"kind": "slo"}) == "no slo that counts is attested"
    assert shortfall("scan_missing", {}) == "no scan that counts of ?"
    assert "(offered, and not accepted: expired, untrusted)" in shortfall(
        "evidence_missing", {"kind": "slo", "rejected": ["expired", "untrusted"]}
    )


def test_a_time_is_shown_as_a_time() -> None:
    said = shortfall("soaking", {"before": "staging", "since_s": 1790000000, "hours": 24})
    assert said == "staging has had this content since 2026-09-21 14:13 UTC, 24 hours are asked for"


def test_text_of_a_tenant_cannot_steer_a_terminal() -> None:
    assert "\x1b" not in shortfall("ticket_malformed", {"ticket": "CHG-\x1b[2J"})
    assert len(shortfall("ticket_malformed", {"ticket": "x" * 10_000})) < 250


def test_every_rule_that_is_refused_in_the_golden_case_is_told() -> None:
    case = ROOT / "tests" / "golden" / "decisions" / "denied-without-evidence" / "decision.json"
    for item in json.loads(case.read_text("utf-8"))["violations"]:
        assert "?" not in shortfall(item["code"], item["details"]), item
