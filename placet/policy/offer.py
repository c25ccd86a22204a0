"""What a package says of itself, for whoever reads that it was refused. Nothing of it is verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from placet.approvals.envelope import parse_envelope
from placet.canonical import Digest
from placet.errors import EngineError, FormatError
from placet.policy.bundle import MANIFEST
from placet.policy.package import parse_package
from placet.policy.signed import MAX_SIGNATURE_BYTES, SIGNATURE, read_bundle_statement


@dataclass(frozen=True, slots=True)
class Offer:
    """A package that was looked at.

    Attributes:
        digest: of its manifest; of the package where there is none, and "" where there is no package.
        version: that its signature states; 0 for none.
    """

    digest: str = ""
    version: int = 0

    @property
    def shown(self) -> str:
        """`` (offered: version 9, sha256:...)``, or nothing."""
        if not self.digest:
            return ""
        version = f"version {self.version}, " if self.version else ""
        return f" (offered: {version}{self.digest})"


NOTHING: Final = Offer()


def find_offer(raw: bytes) -> Offer:
    """What a package says of itself, as far as it can be read."""
    try:
        files = parse_package(raw)
    except EngineError:
        return Offer(str(Digest.of(raw)))
    digest = str(Digest.of(files[MANIFEST]))
    try:
        envelope = parse_envelope(files.get(SIGNATURE, b""), max_bytes=MAX_SIGNATURE_BYTES)
        return Offer(digest, read_bundle_statement(envelope.payload)[2])
    except FormatError:
        return Offer(digest)
