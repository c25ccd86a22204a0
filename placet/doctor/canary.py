"""The gate's canary, sent on demand: the one thing that the doctor asks for and does not only read (ADR 38)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from placet.canary import ADMITTED, REFUSED_BY_US, CanaryKey, Sender, send_canary
from placet.doctor.findings import Code, Finding


def check_canaries(sender: Sender, key: CanaryKey, namespaces: Mapping[str, str]) -> Iterator[Finding]:
    """A finding for each canary that a gate of this key did not refuse.

    Args:
        sender: to the API server, with the rights of whoever asks.
        key: of the gates of the record.
        namespaces: of the configuration, namespace -> environment.
    """
    for namespace, environment in sorted(namespaces.items()):
        seen = send_canary(sender, key, namespace=namespace, environment=environment)
        where = f"Namespace/{namespace} environment {environment}"
        if seen.outcome == ADMITTED:
            yield Finding(Code.CANARY_ADMITTED, where, seen.detail)
        elif seen.outcome != REFUSED_BY_US:
            yield Finding(Code.CANARY_UNDECIDED, where, f"{seen.outcome}: {seen.detail}")
