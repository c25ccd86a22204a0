"""What the record of a decision claims: when it fell, what was judged, and on what ground nothing had to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from placet.decision import GUARD

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_UNREADABLE: Final = (KeyError, TypeError, ValueError)
_SAME: Final = (  # member of the leaf, path in the input
    ("uid", ("uid",)),
    ("environment", ("environment",)),
    ("cluster", ("cluster",)),
    ("operation", ("operation",)),
    ("user", ("requester",)),
    ("projection", ("projection",)),
    ("namespace", ("workload", "namespace")),
    ("kind", ("workload", "kind")),
    ("group", ("workload", "group")),
)
_RISK: Final = ("score", "level", "factors", "inputs_digest")


def decision_time(body: Mapping[str, Any]) -> datetime:
    """When a decision fell, as its leaf has it.

    Raises:
        KeyError, TypeError, ValueError: it is no time.
    """
    text = body["time"]
    if _TIME.fullmatch(text):  # as every leaf of ours has it, read in a tenth of the time
        return datetime.fromisoformat(text)
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def find_input_differences(body: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """What an input says otherwise than the decision that it is kept with.

    Args:
        body: of the decision's leaf.
        document: what was judged.
    """
    # A subresource such as scale has a kind of its own, and the input is about the workload.
    whole = body.get("subresource") == ""
    different = [
        name
        for name, path in _SAME
        if _at(document, path) != body.get(name) and (whole or name not in {"kind", "group"})
    ]
    risk, said = document.get("risk"), body.get("risk")
    if not isinstance(risk, Mapping) or not isinstance(said, Mapping) or any(risk.get(n) != said.get(n) for n in _RISK):
        different.append("risk")
    if sorted(_ids(document.get("approvals"))) != sorted(_ids(body.get("approvals"))):
        different.append("approvals")
    try:
        if document["time_s"] != int(decision_time(body).timestamp()):
            different.append("time")
    except _UNREADABLE:
        different.append("time")
    return different


def find_ground(body: Mapping[str, Any]) -> str:
    """Why something was let in though the policies were not asked; "" where the record has no reason."""
    grounds = (
        ("exemption", body.get("exemption")),
        ("break_glass", body.get("break_glass")),
        ("deleted", body.get("operation") == "DELETE"),
        ("namespace", body.get("environment") == GUARD),
        ("not_governed", _at(body, ("coverage", "governed")) is False),
        ("unchanged", _at(body, ("change", "kind")) == "unchanged"),
    )
    return next((name for name, holds in grounds if holds), "")


def _ids(entries: Any) -> list[tuple[str, str, str]]:
    listed = entries if isinstance(entries, list) else []
    return [
        tuple(str(one.get(name)) for name in ("approval_id", "role", "statement"))  # type: ignore[misc]
        for one in listed
        if isinstance(one, Mapping)
    ]


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
