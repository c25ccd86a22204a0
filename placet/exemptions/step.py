"""The step of a decision that asks whether a governed workload is exempted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from placet.approvals.bindings import plain
from placet.approvals.keyring import VerifiedKeyring
from placet.canonical import Digest
from placet.coverage import Coverage
from placet.decision import Decision, remark
from placet.detection import Rules, detect
from placet.exemptions.folder import Exemptions, SignedExemption, SignedExemptions
from placet.exemptions.survey import SOON
from placet.exemptions.verify import Exemption, ExemptionContext, Unfit, check_exemption, describe_end
from placet.model import ModelIdentity, Workload
from placet.policy.decision import Violation

_HINT: Final = "Whoever holds the grant `exempt` signs another one with `placet exempt`, or it is approved."
_MAX_TOLD: Final = 3


class ExemptionStep:
    """Asks, of each decision, whether an exemption lets its workload in. Thread-safe as far as its source is."""

    def __init__(self, source: Exemptions, *, cluster: str, data: Mapping[str, Any], rules: Rules) -> None:
        """Keep what does not change from one decision to the next.

        Args:
            source: where exemptions come from.
            cluster: this cluster's name.
            data: the policy data; names the limits.
            rules: tables of detection.
        """
        self._source = source
        self._cluster = cluster
        self._limits = ExemptionContext.limits(data)
        self._rules = rules

    def apply(self, decision: Decision, keyring: VerifiedKeyring) -> Decision:
        """Let a governed workload in that an exemption holds for; else say why the one that names it does not.

        Args:
            decision: on a workload that was read and traced.
            keyring: who may exempt what.
        """
        workload, lineage = decision.workload, decision.lineage
        if workload is None or not (named := _named(decision, workload, self._source.load(keyring))):
            return decision
        context = ExemptionContext(
            cluster=self._cluster,
            environment=decision.environment,
            namespace=workload.namespace,
            projection=workload.projection.digest,
            images=workload.images,
            grade=_grade(decision, workload, self._rules),
            requester=decision.request.username,
            now=decision.time,
            **self._limits,
        )
        made = lineage is not None
        found = [
            check_exemption(one, keyring=keyring, context=replace(context, projection=content), made_of_it=made)
            for one, content in named
        ]
        holding = [one for one in found if isinstance(one, Exemption)]
        if holding:
            longest = max(holding, key=lambda one: (one.expires, str(one.statement)))
            coverage = Coverage(governed=False, cause="exempted")
            told = () if made or decision.mode == "audit" else _warn(longest, decision.time)
            return replace(decision, allowed=True, exemption=longest, coverage=coverage, warnings=told)
        unfit = [(one, why) for (one, _), why in zip(named, found, strict=True) if isinstance(why, Unfit)][:_MAX_TOLD]
        return replace(decision, notes=(*decision.notes, *(_tell(one, why) for one, why in unfit)))


def _warn(exemption: Exemption, now: datetime) -> tuple[Violation, ...]:
    """What whoever deploys is told when there will soon be no exemption."""
    if exemption.expires - now > SOON:
        return ()
    sentence = f"its exemption {exemption.exemption_id} {describe_end(exemption.expires, now)}"
    details = {"sentence": sentence, "hint": ""}
    return (Violation("gate.exemption", "exemption_ends_soon", mode="warn", severity="low", details=details),)


def _tell(signed: SignedExemption, why: Unfit) -> Violation:
    said = signed.statement
    sentence = f"exemption {said.exemption_id} of {plain(said.workload)} does not hold: {why.sentence}"
    return remark(why.code, sentence, _HINT)


def _named(
    decision: Decision, workload: Workload, held: SignedExemptions
) -> tuple[tuple[SignedExemption, Digest], ...]:
    """Exemptions that name the workload, or one that it was made of, each with the content that it has to be for."""
    named = {workload.resource: workload.projection.digest}
    if decision.lineage is not None:
        named = {
            f"{one.kind}/{name}": one.content
            for one in decision.lineage.ancestors
            for name in one.names
            if one.content is not None
        }
    return tuple(
        (one, content)
        for name, content in named.items()
        for one in held.find(environment=decision.environment, namespace=workload.namespace, workload=name)
    )


def _grade(decision: Decision, workload: Workload, rules: Rules) -> str:
    """What detection makes of it now. What names a model serves one, whatever it runs.

    What a controller made holds the content of its root, whose detection was asked when that came: a Pod of a Job looks
    like a server where the Job does not.
    """
    lineage = decision.lineage
    if (workload.model if lineage is None else lineage.model) != ModelIdentity():
        return "serves_model"
    return "no" if lineage is not None else detect(decision.request.object or {}, rules).answer
