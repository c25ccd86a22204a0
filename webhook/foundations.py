"""What decisions rest on, as records of their own: the keyring and the policies, with their content.

Leaves of type ``keyring`` and ``policy``: docs/formats-audit.md. Each is recorded before the first decision that rests
on it, so that any decision can be looked into again with nothing but the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring
from placet.audit.log import AuditLog
from placet.audit.record import CONFIGURATION, KEYRING, POLICY, SCHEMA, attachment_digests
from placet.audit.stored import read_stored
from placet.canonical import Digest
from placet.policy.bundle import SOURCES, WASM, Bundle
from placet.record import render_time
from placet.replay import EVALUATION

ENVELOPE: Final = "envelope"
MANIFEST_ATTACHMENT: Final = "manifest"
SOURCES_ATTACHMENT: Final = "sources"
WASM_ATTACHMENT: Final = "wasm"


def newest_keyring_version(log: AuditLog) -> int:
    """The newest version that was ever in force here, 0 before the first.

    Raises:
        AuditError: the record can't be read.
    """
    newest = log.newest(KEYRING)
    return 0 if newest is None else int(newest["version"])


def newest_policy_version(log: AuditLog) -> int:
    """The version of the signed policies that were in force last, 0 where none were.

    Raises:
        AuditError: the record can't be read.
    """
    newest = log.newest(CONFIGURATION) or {}
    return int(newest.get("policy", {}).get("version", 0))


def record_keyring(log: AuditLog, cluster: str, keyring: VerifiedKeyring, moment: datetime) -> None:
    """A keyring that comes into force is a record of its own: no older one is accepted after it.

    One of the same version that says something else is a record too, and so is one whose envelope an earlier release
    has not kept.

    Raises:
        AuditError: it could not be recorded.
    """
    newest = log.newest(KEYRING)
    if newest is not None:
        version = int(newest["version"])
        known = newest.get("statement") == str(keyring.digest) and ENVELOPE in attachment_digests(newest)
        if keyring.version < version or (keyring.version == version and known):
            return
    log.append(
        {
            "schema": SCHEMA,
            "type": KEYRING,
            "time": render_time(moment),
            "cluster": cluster,
            "version": keyring.version,
            "statement": str(keyring.digest),
            "expires": render_time(keyring.expires),
            "envelope_digest": str(Digest.of(keyring.envelope)),
        },
        attachments={ENVELOPE: keyring.envelope},
    )


def record_policies(log: AuditLog, cluster: str, bundle: Bundle, moment: datetime) -> None:
    """The policies, with all that it takes to judge by them again; each bundle once in a log.

    Which one is in force when, leaves of type ``configuration`` say, and each decision.

    Args:
        log: to append to.
        cluster: of the gate.
        bundle: of the engine.
        moment: aware UTC.

    Raises:
        AuditError: it could not be recorded.
        EngineError: the bundle can't be read.
    """
    content = {
        MANIFEST_ATTACHMENT: bundle.load_manifest(),
        SOURCES_ATTACHMENT: bundle.load_file(SOURCES),
        WASM_ATTACHMENT: bundle.load_file(WASM),
    }
    digests = {f"{name}_digest": str(Digest.of(raw)) for name, raw in content.items()}
    if _is_kept(log, digests, content):
        return
    body = {
        "schema": SCHEMA,
        "type": POLICY,
        "time": render_time(moment),
        "cluster": cluster,
        "revision": bundle.revision,
        "compiler": bundle.compiler,
        "entry_point": bundle.entry_point,
        "rules": len(bundle.rules),
        "evaluation": EVALUATION,
        **digests,
    }
    log.append(body, attachments=content)


def _is_kept(log: AuditLog, digests: Mapping[str, str], content: Mapping[str, Any]) -> bool:
    with log.reading() as reader:
        for stored in reader.of_type(POLICY, start=0):
            body = read_stored(stored).body
            same = all(body.get(name) == digest for name, digest in digests.items())
            if same and all(reader.attachment(stored.index, name) is not None for name in content):
                return True
    return False
