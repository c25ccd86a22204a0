"""What decisions rest on, as records of their own: the keyring and the policies, with their content.

Leaves of type ``keyring`` and ``policy``: docs/formats-audit.md. Each is recorded before the first decision that rests
on it, so that any decision can be looked into again with nothing but the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from placet.approvals.keyring import VerifiedKeyring
from placet.audit.log import MAX_ATTACHMENT_BYTES, AuditLog
from placet.audit.record import CONFIGURATION, KEYRING, POLICY, SCHEMA, attachment_digests
from placet.audit.stored import read_stored
from placet.canonical import Digest
from placet.errors import EngineError
from placet.policy.bundle import MANIFEST, SOURCES, WASM, Bundle
from placet.policy.package import parse_package, render_package
from placet.record import render_time
from placet.replay import EVALUATION

ENVELOPE: Final = "envelope"
MANIFEST_ATTACHMENT: Final = "manifest"
SOURCES_ATTACHMENT: Final = "sources"
WASM_ATTACHMENT: Final = "wasm"
PACKAGE_ATTACHMENT: Final = "package"


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


def record_policies(log: AuditLog, cluster: str, bundle: Bundle, moment: datetime, *, version: int = 0) -> None:
    """The policies, with all that it takes to judge by them again; each bundle once in a log.

    Which one is in force when, leaves of type ``configuration`` say, and each decision. Of signed ones the package is
    kept too, with its signatures: a gate that has nothing else to start from takes it from there.

    Args:
        log: to append to.
        cluster: of the gate.
        bundle: of the engine.
        moment: aware UTC.
        version: that was signed; 0 where nobody has to sign.

    Raises:
        AuditError: it could not be recorded.
        EngineError: the bundle can't be read.
    """
    content = {
        MANIFEST_ATTACHMENT: bundle.load_manifest(),
        SOURCES_ATTACHMENT: bundle.load_file(SOURCES),
        WASM_ATTACHMENT: bundle.load_file(WASM),
    }
    if version:
        content |= _package(bundle, content[MANIFEST_ATTACHMENT])
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
        **({"version": version} if version else {}),
        **digests,
    }
    log.append(body, attachments=content)


def find_package(log: AuditLog) -> bytes | None:
    """The package of the signed policies that were in force last, unverified; None where it was not kept.

    Raises:
        AuditError: the record can't be read.
    """
    newest = log.newest(CONFIGURATION) or {}
    in_force = newest.get("policy", {})
    version, revision = in_force.get("version", 0), in_force.get("revision")
    if not version:
        return None
    with log.reading() as reader:
        for stored in reversed(list(reader.of_type(POLICY, start=0))):
            body = read_stored(stored).body
            if (body.get("version"), body.get("revision")) != (version, revision):
                continue
            content = reader.attachment(stored.index, PACKAGE_ATTACHMENT)
            if content is not None and body.get(f"{PACKAGE_ATTACHMENT}_digest") == str(Digest.of(content)):
                return bytes(content)
    return None


def _package(bundle: Bundle, manifest: bytes) -> dict[str, bytes]:
    """The package of a folder, where it is no larger than what the record keeps beside a leaf."""
    package = render_package(bundle.folder)
    if parse_package(package)[MANIFEST] != manifest:
        raise EngineError("the policies were replaced while they were recorded", code="bundle_invalid")
    return {PACKAGE_ATTACHMENT: package} if len(package) <= MAX_ATTACHMENT_BYTES else {}


def _is_kept(log: AuditLog, digests: Mapping[str, str], content: Mapping[str, Any]) -> bool:
    with log.reading() as reader:
        for stored in reader.of_type(POLICY, start=0):
            body = read_stored(stored).body
            same = all(body.get(name) == digest for name, digest in digests.items())
            if same and all(reader.attachment(stored.index, name) is not None for name in content):
                return True
    return False
