"""The entry that guards Namespaces: there, asked about every way to write a label, and about all that matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from placet.doctor.entries import NAME_LABEL, Asked, Entry, keys_of
from placet.doctor.findings import Code, Finding

_WRITES: Final = (
    Asked("", "namespaces", "", "CREATE"),
    Asked("", "namespaces", "", "UPDATE"),
    Asked("", "namespaces", "status", "UPDATE"),
    Asked("", "namespaces", "finalize", "UPDATE"),
)
# What the chart installs: writes that leave the label as it is pass unasked. A test holds it equal to the chart's.
CONDITION: Final = (
    "(has(object.metadata.labels) && 'placet.dev/environment' in object.metadata.labels "
    "? 'is ' + object.metadata.labels['placet.dev/environment'] : '') "
    "!= (oldObject != null && has(oldObject.metadata.labels) && 'placet.dev/environment' in oldObject.metadata.labels "
    "? 'is ' + oldObject.metadata.labels['placet.dev/environment'] : '')"
)


def check_guard(entries: Sequence[Entry]) -> Iterator[Finding]:
    """What is to be said of the guards among the entries of placet."""
    guards = [entry for entry in entries if entry.guards]
    where = f"ValidatingWebhookConfiguration/{entries[0].configuration}"
    if not guards:
        yield Finding(Code.GUARD_MISSING, where, "no entry asks on /v1/guard/namespaces")
        return
    missing = [one.shown for one in _WRITES if not any(entry.matches(one, "v1", (), cluster=True) for entry in guards)]
    if missing:
        yield Finding(Code.GUARD_INCOMPLETE, guards[0].where, f"no rule names {', '.join(missing)}")
    for entry in guards:
        keys = ", ".join(sorted(set(keys_of(entry.value.get("namespaceSelector"))) - {NAME_LABEL}))
        if keys:
            yield Finding(Code.SELECTOR_OPT_OUT, entry.where, f"its namespaceSelector looks at {keys}")
        for condition in entry.value.get("matchConditions") or ():
            if " ".join(str(condition.get("expression")).split()) != CONDITION:
                said = f"condition {condition.get('name')} is not the chart's: {condition.get('expression')}"
                yield Finding(Code.MATCH_CONDITION, entry.where, said)
