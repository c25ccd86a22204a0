"""Which policies a gate has taken or refused, as Events on its Pod: what to say, and when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from placet.canonical import Digest
from placet.errors import PlacetError
from placet.policy.bundle import Bundle
from placet.policy.offer import NOTHING, Offer
from placet.publish.notices import REFUSED, TAKEN, UNREACHABLE, Notice, Notices

_OF_POLICIES: Final = ("bundle_", "candidate_", "wasm_")
_AWAY: Final = frozenset({"bundle_unreachable", "bundle_missing"})


class ToldPolicies:
    """Tells of the policies that judge, and of those that may not. Never in the way of either."""

    def __init__(self, notices: Notices | None, *, clock: Callable[[], datetime]) -> None:
        """Nothing is in force yet.

        Args:
            notices: where it is told; None for nowhere.
            clock: aware UTC.
        """
        self._notices = notices
        self._clock = clock
        self._in_force = ""

    def in_force(self, bundle: Bundle, version: int) -> None:
        """These policies judge from now on; said where others did before."""
        digest = str(Digest.of(bundle.load_manifest()))
        shown = f"version {version}, {digest}" if version else digest
        if shown == self._in_force:
            return
        former, self._in_force = self._in_force, shown
        before = f"; before: {former}" if former else ""
        self._tell(TAKEN, digest, f"policies in force: {shown}, with {len(bundle.rules)} rules{before}")

    def refused(self, error: PlacetError | OSError, offer: Offer = NOTHING) -> None:
        """Newer policies were not taken; what is no fault of policies is not said here."""
        code = error.code if isinstance(error, PlacetError) else "bundle_unwritable"
        if not code.startswith(_OF_POLICIES) and not offer.digest:
            return
        hint = error.hint if isinstance(error, PlacetError) else ""
        stays = f"; in force stays {self._in_force}" if self._in_force else ""
        reason = UNREACHABLE if code in _AWAY else REFUSED
        said = "can't be had" if reason == UNREACHABLE else "refused"
        self._tell(reason, f"{code} {offer.digest}", f"policies {said} ({code}): {error}{offer.shown}{stays}. {hint}")

    def _tell(self, reason: str, subject: str, message: str) -> None:
        if self._notices is not None:
            self._notices.tell(Notice(reason, subject, message.strip(), self._clock()))
