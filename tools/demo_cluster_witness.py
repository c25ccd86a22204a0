"""The API server's own audit log as a witness of the record: it was told of each decision with the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tools.demo_cluster_stage import StoryError

# The name of the webhook, and what it said; Kubernetes puts the first in front of the second.
_ANNOTATION: Final = re.compile(r"(?P<webhook>.+\.placet\.dev)/(?P<name>decision-id|log-index|leaf-hash)")
# What one request is about: it may be judged more than once.
_ACT: Final = ("kind", "name", "operation", "subresource", "user")


def read_audit_log(text: str) -> dict[str, tuple[str, str]]:
    """Decision id -> index and hash in the record, as the API server's audit log has them.

    Args:
        text: events, a JSON object a line; what stands behind the last line feed is still being written.
    """
    found: dict[str, tuple[str, str]] = {}
    for line in text.split("\n")[:-1]:
        for said in _by_webhook(json.loads(line).get("annotations") or {}).values():
            if "decision-id" in said:
                found[said["decision-id"]] = (said.get("log-index", ""), said.get("leaf-hash", ""))
    return found


def missing_in(logged: Mapping[str, tuple[str, str]], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Decisions that the API server's log should have and has not.

    When somebody else changes an object while a request for it is under way, the API server asks again, and keeps in
    its log what it was told first. So a decision may be missing when an earlier one about the same act is there.

    Args:
        logged: decision id -> index and hash, from the API server's log.
        records: as ``placet audit list -o json`` prints them.

    Raises:
        StoryError: there are no records, or the log has one with another index or hash.
    """
    if not records:
        raise StoryError("the record has no decision that the API server's log could have")
    witnessed: set[tuple[Any, ...]] = set()
    missing = []
    for found in sorted(records, key=lambda found: int(found["index"])):
        record = found["record"]
        decision, act = record["decision_id"], tuple(record[name] for name in _ACT)
        if decision not in logged:
            missing += [] if act in witnessed else [decision]
        elif logged[decision] != (str(found["index"]), f"sha256:{found['leaf_hash']}"):
            raise StoryError(f"the API server's log says otherwise about decision {decision}: {logged[decision]}")
        else:
            witnessed.add(act)
    return missing


def _by_webhook(annotations: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Webhook -> what it said."""
    found: dict[str, dict[str, str]] = {}
    for key, value in annotations.items():
        if match := _ANNOTATION.fullmatch(key):
            found.setdefault(match["webhook"], {})[match["name"]] = value
    return found
