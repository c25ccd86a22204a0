"""What else in a cluster changes workloads: mutating admission."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from placet.doctor.entries import Asked, Entry
from placet.doctor.findings import Code, Finding
from placet.doctor.reading import Object, name_of


def check_mutators(webhooks: Sequence[Object], policies: Sequence[Object], asked: Sequence[Asked]) -> Iterator[Finding]:
    """Mutating webhooks and MutatingAdmissionPolicies whose rules name what the gate judges."""
    for item in webhooks:
        for raw in item.get("webhooks") or ():
            # Mutating webhooks that come later may have the earlier ones called again; the gate sees the result.
            touched = _touched(raw.get("rules") or (), asked)
            if touched:
                where = f"MutatingWebhookConfiguration/{name_of(item)} {raw.get('name')}"
                again = "; called again after others" if raw.get("reinvocationPolicy") == "IfNeeded" else ""
                yield Finding(Code.MUTATES_WORKLOADS, where, f"it may change {', '.join(touched)}{again}")
    for item in policies:
        constraints = (item.get("spec") or {}).get("matchConstraints") or {}
        touched = _touched(constraints.get("resourceRules") or (), asked)
        if touched:
            where = f"MutatingAdmissionPolicy/{name_of(item)}"
            yield Finding(Code.MUTATES_WORKLOADS, where, f"it may change {', '.join(touched)}")


def _touched(rules: Sequence[Object], asked: Sequence[Asked]) -> list[str]:
    entry = Entry("", "", {"rules": [{**rule, "apiVersions": ["*"]} for rule in rules]})
    return list(dict.fromkeys(one.resource for one in asked if not one.subresource and entry.matches(one, "*", ())))
