"""Step 6's input: what is known about a deployment, each fact with how it is known."""

from __future__ import annotations

from typing import Final

from placet.canonical import Digest, render_canonical
from placet.cluster import Ceiling
from placet.evidence.verify import VerifiedFacts
from placet.model import Workload
from scorer import Assessment, Claim, Fact, Facts, Provenance

SEEN_BY_THE_GATE: Final = frozenset({"deployment_scope", "change_magnitude"})
_MISSING: Final = Fact(None, Provenance.MISSING)


def collect_facts(
    workload: Workload,
    *,
    environment: str,
    verified: VerifiedFacts,
    ceiling: Ceiling,
    model_seen: bool | None,
) -> Facts:
    """Everything that the score is made of.

    Args:
        workload: the object, whose annotations may declare facts without proof.
        environment: where it is going.
        verified: facts from signed evidence.
        ceiling: how far autoscalers may go.
        model_seen: whether the record shows this model in this environment; None when there is no record to ask.
    """

    def claim(name: str, known: object | None, annotation: str) -> Claim:
        text = workload.declared.get(annotation)
        return Claim(
            known=_MISSING
            if known is None
            else Fact(known, Provenance.VERIFIED, source=str(verified.sources.get(name, ""))),
            declared=None if text is None else Fact(text, Provenance.DECLARED, source=f"placet.dev/{annotation}"),
        )

    return Facts(
        environment=environment,
        parameters=claim("parameters", verified.parameters, "parameters"),
        data_classification=claim("data_classification", verified.data_classification, "data-classification"),
        replicas=Claim(known=_replicas(workload, ceiling)),
        model_seen=model_seen,
        strategy=_strategy(workload, claim("strategy", verified.strategy, "deployment-strategy")),
        coverage=claim("coverage", verified.coverage, "test-coverage"),
        rollback=claim("rollback", verified.rollback, "rollback-minutes"),
    )


def replica_ceiling(workload: Workload, ceiling: Ceiling) -> int | None:
    """How many replicas may run at once; None where the object or the cluster can't say."""
    if workload.replicas is None or not ceiling.known:
        return None
    return max(workload.replicas, ceiling.replicas or 0)


def _replicas(workload: Workload, ceiling: Ceiling) -> Fact:
    highest = replica_ceiling(workload, ceiling)
    return _MISSING if highest is None else Fact(highest, Provenance.DERIVED, source="replicas ceiling")


def _strategy(workload: Workload, claim: Claim) -> Claim:
    if claim.known.provenance is Provenance.MISSING and workload.strategy:
        return Claim(known=Fact(workload.strategy, Provenance.DERIVED, source="spec.strategy"), declared=claim.declared)
    return claim


def digest_of_inputs(assessment: Assessment) -> Digest:
    """What an approver saw of the model itself: the scores of these factors and how each was known.

    Left out is what the gate sees for itself at each request: where it goes, how far it scales, whether it ran before.
    A renewed attestation with the same result changes nothing either.
    """
    return Digest.of(
        render_canonical(
            {
                "schema": "placet.dev/risk-inputs/v1",
                "factors": [
                    {"factor": item.factor, "score": item.score, "provenance": str(item.provenance)}
                    for item in assessment.contributions
                    if item.factor not in SEEN_BY_THE_GATE
                ],
            }
        )
    )
