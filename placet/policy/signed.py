"""Signed policy bundles: what a signature says of a bundle folder, and what has to hold before it is believed.

The signature is a DSSE envelope around an in-toto statement about ``manifest.json``, which has the digest of every
other file. Byte for byte: docs/formats-policies.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from placet.approvals.closed import ClosedObject
from placet.approvals.envelope import IN_TOTO_PAYLOAD_TYPE, Envelope, pae, parse_envelope
from placet.approvals.in_toto import Subject, parse_in_toto, render_in_toto
from placet.approvals.keys import PublicKey, check_signature
from placet.approvals.times import render_time
from placet.canonical import Digest
from placet.errors import EngineError, FormatError
from placet.policy.bundle import MANIFEST, Bundle, load_bundle

SIGNATURE: Final = "signature.dsse.json"
PREDICATE_TYPE: Final = "https://placet.dev/policy-bundle/v1"
MAX_VERSION: Final = 2**53 - 1
MAX_SIGNATURE_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 16
# Clocks of a build machine and of a gate differ a little.
_SKEW: Final = timedelta(minutes=5)
_SIGN: Final = "`placet policy bundle sign` signs it."


@dataclass(frozen=True, slots=True)
class SignedBundle:
    """A bundle whose signatures and files were checked.

    Attributes:
        bundle: its files are those that were signed, as far as they are loaded by it.
        digest: of its manifest: the name of the whole.
        version: counted up by whoever signs; an older one is a rollback.
        issued_at: when it was signed first; aware UTC.
        signers: fingerprints of the keys that count, sorted.
    """

    bundle: Bundle
    digest: Digest
    version: int
    issued_at: datetime
    signers: tuple[str, ...]


def render_bundle_statement(manifest: bytes, revision: str, *, version: int, issued_at: datetime) -> bytes:
    """Canonical bytes to sign.

    Args:
        manifest: bytes of ``manifest.json``.
        revision: of the policies, as the manifest has it.
        version: from 1 on, higher than that of every bundle that it replaces.
        issued_at: aware UTC.
    """
    predicate = {"version": version, "revision": revision, "issuedAt": render_time(issued_at)}
    return render_in_toto([Subject(MANIFEST, Digest.of(manifest))], PREDICATE_TYPE, predicate)


def load_signature(folder: Path) -> Envelope:
    """The envelope beside a manifest, unverified.

    Raises:
        EngineError: ``bundle_unsigned`` where there is none or it can't be read.
    """
    try:
        with (folder / SIGNATURE).open("rb") as file:
            return parse_envelope(file.read(MAX_SIGNATURE_BYTES + 1), max_bytes=MAX_SIGNATURE_BYTES)
    except FileNotFoundError as exc:
        raise EngineError(f"the policy bundle in {folder} is not signed", code="bundle_unsigned", hint=_SIGN) from exc
    except (OSError, FormatError) as exc:
        message = f"the signature of the policy bundle in {folder} can't be read: {exc}"
        raise EngineError(message, code="bundle_unsigned", hint=_SIGN) from exc


def verify_bundle(
    folder: Path, *, keys: Sequence[PublicKey], threshold: int, now: datetime, minimum_version: int = 0
) -> SignedBundle:
    """Check a bundle folder and give it as something to trust.

    Args:
        folder: unverified.
        keys: those that may sign; one that is listed twice counts once.
        threshold: how many distinct ones must have signed, 1 or more.
        now: aware UTC.
        minimum_version: of what is in force; an older one is refused.

    Raises:
        EngineError: ``bundle_keys``, ``bundle_invalid``, ``bundle_unsigned``, ``bundle_signatures``,
            ``bundle_not_yet_valid`` or ``bundle_rollback``.
    """
    pinned = {key.fingerprint: key for key in keys}
    if not 1 <= threshold <= len(pinned) <= MAX_KEYS:
        raise EngineError(
            f"{threshold} of {len(pinned)} keys can't verify a policy bundle",
            code="bundle_keys",
            hint=f"Name 1 to {MAX_KEYS} distinct keys and a threshold from 1 to their number.",
        )
    bundle = load_bundle(folder)
    manifest = bundle.load_manifest()
    for name in bundle.files:
        bundle.load_file(name)
    envelope = load_signature(folder)
    signers = _find_signers(envelope, pinned)
    if len(signers) < threshold:
        raise EngineError(
            f"{len(signers)} of the {threshold} signatures that are wanted verify on the policy bundle in {folder}",
            code="bundle_signatures",
            hint="Compare the keys that are named with those of whoever signs: `placet policy bundle show` lists them.",
        )
    version, issued_at = _read_payload(envelope.payload, Digest.of(manifest), bundle.revision)
    if issued_at > now + _SKEW:
        raise EngineError(
            "the policy bundle was signed in the future",
            code="bundle_not_yet_valid",
            hint="Compare this machine's clock with that of whoever signed.",
        )
    if version < minimum_version:
        raise EngineError(
            f"the policy bundle has version {version}, and version {minimum_version} was in force before",
            code="bundle_rollback",
            hint="Sign what is to be in force with a higher version.",
        )
    return SignedBundle(bundle, Digest.of(manifest), version, issued_at, signers)


def _find_signers(envelope: Envelope, pinned: Mapping[str, PublicKey]) -> tuple[str, ...]:
    if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
        return ()
    message = pae(envelope.payload_type, envelope.payload)
    return tuple(
        sorted(
            fingerprint
            for fingerprint, key in pinned.items()
            if any(check_signature(key, message, signature.sig) for signature in envelope.signatures)
        )
    )


def read_bundle_statement(payload: bytes) -> tuple[Digest, str, int, datetime]:
    """Digest of the manifest, revision, version and time of a statement, verified or not.

    Raises:
        FormatError: it is none about a policy bundle.
    """
    statement = parse_in_toto(payload, closed=True)
    if statement.predicate_type != PREDICATE_TYPE:
        raise FormatError("the statement is not about a policy bundle")
    if [subject.name for subject in statement.subjects] != [MANIFEST]:
        raise FormatError(f"the statement is not about {MANIFEST} alone")
    predicate = ClosedObject(statement.predicate, "predicate")
    version = predicate.integer("version", minimum=1, maximum=MAX_VERSION)
    revision, issued_at = str(predicate.digest("revision")), predicate.time("issuedAt")
    predicate.close()
    return statement.subjects[0].digest, revision, version, issued_at


def _read_payload(payload: bytes, manifest: Digest, revision: str) -> tuple[int, datetime]:
    try:
        signed, named, version, issued_at = read_bundle_statement(payload)
    except FormatError as exc:
        raise EngineError(f"what was signed can't be read: {exc}", code="bundle_signatures") from exc
    if signed != manifest or named != revision:
        raise EngineError(
            "the signature is of another policy bundle",
            code="bundle_signatures",
            hint="A bundle that was built again is signed again. " + _SIGN,
        )
    return version, issued_at
