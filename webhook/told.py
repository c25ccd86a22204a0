"""Which policies a gate has taken or refused, as Events on its Pod: what to say, and when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from placet.canonical import Digest
from placet.errors import PlacetError
from placet.policy.bundle import Bundle
from placet.policy.offer import NOTHING, Offer
from placet.publish.notices import (
    REFUSED,
    SHADOW_REFUSED,
    SHADOW_UNREACHABLE,
    TAKEN,
    UNREACHABLE,
    Notice,
    Notices,
)

_OF_POLICIES: Final = ("bundle_", "candidate_", "policy_data_", "self_test_", "wasm_")
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
        code = _code_of(error)
        if not code.startswith(_OF_POLICIES) and not offer.digest:
            return
        stays = f"; in force stays {self._in_force}" if self._in_force else ""
        away = code in _AWAY
        self._tell_refusal(UNREACHABLE if away else REFUSED, "policies", error, offer, stays, away=away)

    def shadow_refused(self, error: PlacetError | OSError, offer: Offer = NOTHING) -> None:
        """What was to be tried on live reviews is not."""
        away = _code_of(error) in _AWAY
        reason = SHADOW_UNREACHABLE if away else SHADOW_REFUSED
        stays = "; reviews are decided as before, and nothing newer is tried on them"
        self._tell_refusal(reason, "the shadow's policies", error, offer, stays, away=away)

    def _tell_refusal(
        self, reason: str, what: str, error: PlacetError | OSError, offer: Offer, stays: str, *, away: bool
    ) -> None:
        code, hint = _code_of(error), error.hint if isinstance(error, PlacetError) else ""
        said = "can't be had" if away else "refused"
        self._tell(reason, f"{code} {offer.digest}", f"{what} {said} ({code}): {error}{offer.shown}{stays}. {hint}")

    def _tell(self, reason: str, subject: str, message: str) -> None:
        if self._notices is not None:
            self._notices.tell(Notice(reason, subject, message.strip(), self._clock()))


def _code_of(error: PlacetError | OSError) -> str:
    return error.code if isinstance(error, PlacetError) else "bundle_unwritable"
