"""Write the golden decisions: one folder a case, with the input, the operator's data where there is any, the decision.

    python -m tests.golden.decisions.build

The decisions come from the embedded engine; a test holds both engines to them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.policy.bundle import shipped_bundle
from placet.policy.data import load_policy_data
from placet.policy.document import render_document
from tests.policies.documents import (
    GOVERNANCE,
    NOW_S,
    Json,
    approval,
    governed_request,
    image,
    passing_request,
    scan,
    unchanged_request,
)
from tests.policies.programs import PLENTY, shipped_guest

FOLDER: Final = Path(__file__).resolve().parent
_ALL_ROLES: Final = ("technical", "security", "business", "executive")


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    input: Json
    operator_data: str = ""


def cases() -> Iterator[Case]:
    """Every case, by a name that says what happens."""
    yield Case("allowed-in-production", passing_request())
    yield Case("allowed-unchanged-with-expired-approvals", unchanged_request())
    yield Case("allowed-rolled-back", _carried("rollback"))
    yield Case("allowed-scaled", _carried("scaled"))
    yield Case("allowed-made-by-a-controller", _carried("child", operation="CREATE", level="low"))
    yield Case("allowed-adopted", _adopted())
    yield Case("allowed-scaled-down-though-revoked", _revoked(_scaled_down()))
    yield Case("denied-rolled-back-above-its-level", _carried("rollback", level="medium"))
    yield Case("denied-scaled-above-its-level", _carried("scaled", level="medium"))
    yield Case("denied-rolled-back-by-a-create", _carried("rollback", operation="CREATE"))
    yield Case("denied-made-by-a-controller-without-a-precedent", _carried("child", decision_id=""))
    yield Case("denied-made-by-a-controller-of-what-was-revoked", _revoked(_carried("child")))
    yield Case("denied-adopted-without-approvals", _adopted() | {"approvals": []})
    yield Case("allowed-critical-with-four-roles", _critical(_ALL_ROLES))
    yield Case("allowed-in-development-with-a-tag", _development())
    yield Case("allowed-with-moved-risk-inputs", _first_approval(risk_inputs_match=False))
    yield Case("allowed-by-a-mode-that-warns", _without("security"), "environments: {production: {mode: warn}}\n")
    yield Case("allowed-by-a-mode-that-audits", _without("security"), "environments: {production: {mode: audit}}\n")
    yield Case("denied-role-missing", _without("security"))
    yield Case("denied-no-approvals", {**passing_request(), "approvals": []})
    yield Case("denied-critical-without-executive", _critical(_ALL_ROLES[:3]))
    yield Case("denied-one-person-for-two-roles", _with_people("p-1", "p-1", "p-3"))
    yield Case(
        "denied-threshold-of-two",
        {**passing_request(), "thresholds": {**passing_request()["thresholds"], "security": 2}},
    )
    yield Case(
        "denied-threshold-of-zero",
        {**passing_request(), "thresholds": {**passing_request()["thresholds"], "security": 0}},
    )
    yield Case("denied-not-bound-to-the-model", _first_approval(bindings=["images", "projection"]))
    yield Case("denied-approved-up-to-medium", _first_approval(max_risk="medium"))
    yield Case("denied-expired-at-this-second", _first_approval(expires_s=1790000000))
    yield Case("denied-image-with-a-tag", _tagged(passing_request()))
    yield Case(
        "denied-model-without-digest", {**passing_request(), "model": {"name": "llama", "version": "1", "digest": ""}}
    )
    yield Case("denied-model-unknown", {**passing_request(), "model": {"name": "", "version": "", "digest": ""}})
    yield Case("denied-score-differs", _risk(score=545))
    yield Case("denied-level-differs", _risk(level="medium"))
    yield Case("denied-above-the-environment", passing_request(), "environments: {production: {max_level: medium}}\n")
    yield Case("denied-unchanged-but-revoked", _revoked(unchanged_request()))
    yield Case("denied-unchanged-but-key-compromised", _revoked(unchanged_request(), code="key_compromised"))
    yield Case("denied-environment-unknown", {**passing_request(), "environment": "moon"})
    governance = GOVERNANCE.read_text("utf-8")
    yield Case("allowed-with-all-evidence", governed_request(), governance)
    yield Case("allowed-rolled-back-by-one-who-may", _rolled_back("sre-on-call"), governance)
    yield Case("denied-rolled-back-by-somebody", _rolled_back("system:authenticated"), governance)
    yield Case("denied-without-evidence", _bare(governed_request()), governance)
    yield Case("denied-by-the-worst-of-two-scans", _rescanned(NOW_S - 900, scanner="b"), governance)
    yield Case("allowed-by-a-newer-scan", _rescanned(NOW_S - 900), governance)
    yield Case("allowed-without-evidence-in-what-ships", _bare(governed_request()))
    yield Case(
        "denied-by-a-rule-with-a-mode-of-its-own",
        _without("security"),
        "environments: {production: {mode: audit}}\nrules: {approvals.required: {mode: enforce}}\n",
    )


def _bare(request: Json) -> Json:
    return request | {
        "evidence": [],
        "history": {"known": True, "admitted": []},
        "calendar": {"windows": [], "freezes": []},
        "replicas": {"known": False, "ceiling": 0},
    }


def _rolled_back(group: str) -> Json:
    return (
        _bare(governed_request())
        | _carried("rollback")
        | {
            "requester_groups": [group],
            "change": {"kind": "rollback", "model_seen": True, "scale": "same"},
        }
    )


def _rescanned(issued_s: int, scanner: str = "https://scanner.example/a") -> Json:
    """A scan of the first image with a critical finding, besides the one without."""
    request = governed_request()
    found = scan(request["images"][0]["digest"], critical=1, scanner=scanner) | {"issued_s": issued_s}
    return request | {"evidence": [*request["evidence"], found]}


def _carried(kind: str, *, operation: str = "UPDATE", level: str = "high", decision_id: str = "earlier") -> Json:
    request = unchanged_request() | {"operation": operation}
    request["change"] |= {"kind": kind, "scale": "up"}
    request["precedent"] = {"decision_id": decision_id, "time_s": 1780000000, "level": level}
    return request


def _adopted() -> Json:
    request = passing_request() | {"operation": "UPDATE"}
    request["change"] |= {"kind": "adopted", "scale": "same"}
    return request


def _scaled_down() -> Json:
    request = unchanged_request()
    request["change"]["scale"] = "down"
    return request


def _without(role: str) -> Json:
    request = passing_request()
    request["approvals"] = [each for each in request["approvals"] if each["role"] != role]
    request["rejected"] = [{"role": role, "code": "expired", "approval_id": "a-2"}]
    return request


def _with_people(*people: str) -> Json:
    roles = ("technical", "security", "business")
    return {**passing_request(), "approvals": [approval(*pair) for pair in zip(roles, people, strict=True)]}


def _first_approval(**fields: Any) -> Json:
    request = passing_request()
    request["approvals"][0] |= fields
    return request


def _risk(**fields: Any) -> Json:
    request = passing_request()
    request["risk"] |= fields
    return request


def _critical(roles: tuple[str, ...]) -> Json:
    request = _risk(score=725, level="critical")
    scores = (8, 9, 8, 9, 2, 2)
    request["risk"]["factors"] = dict(zip(request["risk"]["factors"], scores, strict=True))
    request["approvals"] = [approval(role, role) | {"max_risk": "critical"} for role in roles]
    return request


def _development() -> Json:
    request = _tagged(passing_request())
    return request | {"environment": "development", "model": {"name": "llama", "version": "1", "digest": ""}}


def _tagged(request: Json) -> Json:
    loose = image("fetch", "a") | {"reference": "registry.example.org/fetch:1.0", "digest": ""}
    return request | {"images": [*request["images"], loose]}


def _revoked(request: Json, code: str = "revoked") -> Json:
    return request | {"rejected": [{"role": "security", "code": code, "approval_id": "a-2"}]}


def render(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def data_of(case: Path) -> Json:
    """What an engine has at ``data.placet`` in a case on disk."""
    operator = case / "data.yaml"
    data = load_policy_data(operator if operator.exists() else None)
    return data.stamped(expected_rules=len(shipped_bundle().rules))


def decide(case: Path) -> Any:
    """The embedded engine's raw answer to a case on disk."""
    document = render_document(json.loads((case / "input.json").read_text("utf-8")))
    return shipped_guest(data_of(case)).evaluate(shipped_bundle().entry_point, document, fuel=PLENTY)


def main() -> None:
    for stale in FOLDER.iterdir():
        if stale.is_dir() and not stale.name.startswith("__"):
            shutil.rmtree(stale)
    for case in cases():
        folder = FOLDER / case.name
        folder.mkdir()
        (folder / "input.json").write_text(render(case.input), "utf-8")
        if case.operator_data:
            (folder / "data.yaml").write_text(case.operator_data, "utf-8")
        (folder / "decision.json").write_text(render(decide(folder)), "utf-8")


if __name__ == "__main__":
    main()
