"""A record of many years: what is in it, and how old each leaf is, is fixed.

Its newest leaf is of ``NOW``; ``OLD`` is longer ago than any term, ``MIDDLE`` longer than that of model artifacts and
audit logs only, ``YOUNG`` shorter than any::

    log = build_aged(tmp_path / "record.db")
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from placet.audit.location import StoreLocation
from placet.audit.log import AuditLog, render_time
from placet.audit.record import SCHEMA
from placet.canonical import Digest
from tests.simulators.tampering import LOG_KEY, ORIGIN, decision, policy_input_of

OLD: Final = datetime(2014, 3, 1, tzinfo=UTC)
MIDDLE: Final = datetime(2018, 3, 1, tzinfo=UTC)
YOUNG: Final = datetime(2026, 3, 1, tzinfo=UTC)
NOW: Final = datetime(2026, 11, 22, 18, tzinfo=UTC)
CONTENT: Final = b'{"content":1}'
_L = TypeVar("_L", bound=StoreLocation)

# index -> what is there; see ``build_aged``
OLD_KEYRING, OLD_POLICY, OLD_CONFIGURATION, HEARTBEATS = 0, 1, 2, range(3, 6)
DENIALS, REVOCATION, ADMISSIONS, USED = range(6, 16), 16, range(17, 37), 37
NEW_KEYRING, NEW_POLICY, NEW_CONFIGURATION, AGED_INPUT, SHARING, RECENT, LAST = 38, 39, 40, 41, 42, 43, 44
SIZE: Final = 45


def other(leaf_type: str, moment: datetime, **members: Any) -> dict[str, Any]:
    """Body of a leaf that is no decision."""
    return {"schema": SCHEMA, "type": leaf_type, "time": render_time(moment), "cluster": "prod-eu-1", **members}


def append_aged(
    log: AuditLog, number: int, moment: datetime, attachments: dict[str, bytes] | None = None, **changes: Any
) -> int:
    """Append a decision of some time, with its input and what else is kept beside it."""
    beside = {"input": policy_input_of(number), **(attachments or {})}
    digests = {f"{name}_digest": str(Digest.of(raw)) for name, raw in beside.items()}
    body = decision(number, time=render_time(moment), **digests, **changes)
    return log.append(body, uid=body["uid"], attachments=beside).index


def foundations(log: AuditLog, version: int, moment: datetime) -> None:
    """A keyring, policies and a configuration."""
    envelope, data = f'{{"keyring":{version}}}'.encode(), f'{{"data":{version}}}'.encode()
    keyring = {"version": version, "statement": f"statement-{version}", "envelope_digest": str(Digest.of(envelope))}
    log.append(other("keyring", moment, **keyring), attachments={"envelope": envelope})
    log.append(other("policy", moment, revision=f"revision-{version}"))
    configuration = {"data_digest": str(Digest.of(data)), "policy": {"revision": f"revision-{version}"}}
    log.append(other("configuration", moment, **configuration), attachments={"data": data})


def rests_on(version: int) -> dict[str, Any]:
    """What a decision says of ``foundations``."""
    data = str(Digest.of(f'{{"data":{version}}}'.encode()))
    return {
        "keyring": f"statement-{version}",
        "keyring_version": version,
        "policy": {"revision": f"revision-{version}", "data_digest": data},
    }


def build_aged(location: _L, *, sign: bool = True) -> _L:
    """Make the record, with a checkpoint over all of it; closed."""
    log = AuditLog.open(location, origin=ORIGIN, key=LOG_KEY)
    foundations(log, 1, OLD)
    for _ in HEARTBEATS:
        log.heartbeat(OLD)
    for number in DENIALS:
        append_aged(log, number, OLD, allowed=False, approved=False, **rests_on(1))
    log.append(other("revocation", OLD, approval_id="a-1", role="technical", environment="production"))
    for number in ADMISSIONS:
        approved = {"name": "llama", "allowed": True, "approved": True, "projection": f"sha256:{number:064x}"}
        beside = {"content": CONTENT} if number == ADMISSIONS[0] else {}
        append_aged(log, number, OLD, beside, **approved, **rests_on(1))
    log.append(other("break-glass", OLD, event="used", token_id="t-1"))
    foundations(log, 2, MIDDLE)
    append_aged(log, AGED_INPUT, MIDDLE, {"content": b'{"content":2}'}, name="other", **rests_on(2))
    shared: dict[str, Any] = {"kept_before": {"content": {"index": ADMISSIONS[0], "digest": str(Digest.of(CONTENT))}}}
    append_aged(log, SHARING, MIDDLE, name="another", **shared, **rests_on(2))
    append_aged(log, RECENT, YOUNG, name="recent", **shared, **rests_on(2))
    log.heartbeat(NOW)
    if sign:
        log.checkpoint()
    log.close()
    return location
