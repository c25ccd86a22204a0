"""A refusal says what is lacking, who can give it and what to type, each once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from placet.canonical import Digest
from placet.decision import Decision
from placet.messages import render_refusal
from placet.model import Image
from placet.policy.decision import Violation
from placet.review import AdmissionRequest, GroupVersionKind
from tests.simulators.desk import sample_workload

REQUEST = AdmissionRequest(
    uid="u",
    kind=GroupVersionKind("apps", "v1", "Deployment"),
    subresource="",
    operation="CREATE",
    name="llama",
    namespace="ml",
    username="dora",
    groups=(),
    object={},
    old_object=None,
    dry_run=False,
    digest=Digest.of(b""),
)
APPROVE = "placet approve -f MANIFEST --namespace ml --environment production --role security --key KEY"
SLO = Violation("slo.declared", "evidence_missing", "enforce", "medium", {"kind": "slo", "rejected": []})


def told(*violations: Violation) -> list[str]:
    """The lines after the headline."""
    decision = Decision(REQUEST, "production", datetime.now(UTC), allowed=False, violations=violations)
    return render_refusal(decision).split("\n")[1:]


def test_missing_evidence_names_who_may_give_it_and_what_to_type() -> None:
    sentence, advice, command = told(SLO)
    assert sentence == "- slo.declared: no slo that counts is attested"
    assert advice.startswith("  Declare the objectives")
    assert command == (
        "  next, by someone who may attest slo: placet evidence make slo --claim latency_p95_ms=MS "
        "--claim availability_ppm=N --claim error_rate_ppm=N -f MANIFEST --key KEY --write"
    )


def test_evidence_of_a_teams_own_is_made_of_claims() -> None:
    own = Violation("team.red_team", "evidence_missing", "enforce", "high", {"kind": "red_team", "rejected": []})
    assert told(own)[-1] == (
        "  next, by someone who may attest red_team: placet evidence make red_team --claim CLAIM=VALUE "
        "-f MANIFEST --key KEY --write"
    )


def test_what_two_rules_lack_alike_is_advised_once() -> None:
    details = {"container": "server", "reference": "a@sha256:0", "rejected": []}
    scan = Violation("checks.security_scan", "scan_missing", "enforce", "high", details)
    lines = told(scan, replace(scan, rule="quality.vulnerabilities"))
    assert [line for line in lines if line.startswith("- ")] == [
        "- checks.security_scan: no scan that counts of a@sha256:0",
        "- quality.vulnerabilities: no scan that counts of a@sha256:0",
    ]
    assert len(lines) == 4
    assert "Rebuild the image" not in "\n".join(lines), "nothing was found in it yet"


def test_what_one_rule_lacks_twice_is_advised_once() -> None:
    weak = replace(SLO, code="objective_weak", details={"objective": "latency_p95_ms", "found": 9, "limit": 5})
    other = replace(weak, details={"objective": "error_rate_ppm", "found": 9, "limit": 5})
    lines = told(weak, other)
    assert [line.startswith("- ") for line in lines] == [True, False, False, True]


def test_an_image_is_named_where_there_are_several() -> None:
    first, second = (
        Image("server", f"registry.example/{name}@{Digest.of(b'x')}", f"registry.example/{name}", "", Digest.of(b"x"))
        for name in ("llama", "proxy")
    )
    scan = Violation(
        "checks.security_scan",
        "scan_missing",
        "enforce",
        "high",
        {"container": "c", "reference": second.reference, "rejected": []},
    )
    decision = Decision(REQUEST, "production", datetime.now(UTC), allowed=False, violations=(scan,))
    several = replace(decision, workload=sample_workload(images=(first, second)))
    assert "--from SCAN.json --image registry.example/proxy -f MANIFEST" in render_refusal(several)
    assert "--image" not in render_refusal(replace(decision, workload=sample_workload(images=(second,))))


@pytest.mark.parametrize(
    ("rule", "code", "details"),
    [
        ("rollback.authority", "rollback_not_authorised", {"requester": "dora"}),
        ("privacy.residency", "region_unknown", {"cluster": "prod"}),
        ("capacity.bound", "replicas_many", {"found": 9, "limit": 5}),
        ("change.window", "window_closed", {}),
    ],
)
def test_no_evidence_is_asked_for_where_none_helps(rule: str, code: str, details: dict[str, object]) -> None:
    lines = told(Violation(rule, code, "enforce", "high", details))
    assert len(lines) == 2
    assert not any("evidence make" in line for line in lines)


def missing(role: str, needed: int = 1) -> Violation:
    details = {"role": role, "needed": needed, "persons": 0, "rejected": []}
    return Violation("approvals.required", "role_missing", "enforce", "high", details)


def test_an_unbound_approval_is_told_once_with_the_command_that_signs_again() -> None:
    unbound = Violation(
        "approvals.binding", "binding_missing", "enforce", "critical", {"role": "security", "missing": ["model"]}
    )
    assert told(unbound, missing("security")) == [
        "- approvals.binding: the security approval does not name the model",
        f"  next, by someone who may sign as security: {APPROVE}",
    ]
    assert "- approvals.required: no valid business approval" in told(unbound, missing("business"))
    assert "- approvals.required: 0 of 2 security approvals" in told(unbound, missing("security", needed=2))


def test_a_refusal_never_goes_without_a_reason() -> None:
    """With approvals.required in the mode `warn`, separation is what refuses."""
    few = Violation("approvals.separation", "approvals_missing", "enforce", "high", {})
    assert told(few, missing("security"))[0].startswith("- approvals.required")
    (reason, advice) = told(few)
    assert reason.startswith("- approvals.separation: approvals are missing")
    assert advice
