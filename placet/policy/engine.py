"""What every policy engine offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from placet.policy.decision import PolicyDecision


class PolicyEngine(Protocol):
    """Judges one input document.

    Attributes:
        name: ``embedded`` or ``opa``.
        version: of the OPA that compiled the policies or serves them, without the v.
        revision: of the policies, as in their bundle's manifest.
    """

    name: str
    version: str
    revision: str

    def prepare(self) -> None:
        """Get ready to judge: compile, connect, hand over the data. Called in the process that judges, after fork.

        Raises:
            EngineError: the engine can't be used now. Whether it may be later, ``problem`` says: when that is not
                empty, the engine goes on trying by itself, refuses meanwhile, and needs no second call.
        """

    def problem(self) -> str:
        """Why it can't judge now, "" when it can; cached, never blocks."""

    def decide(self, document: Mapping[str, Any], *, deadline_s: float) -> PolicyDecision:
        """Judge a document of ``policies/schemas/input.json``.

        Args:
            document: see ``placet.policy.document``.
            deadline_s: seconds that are left for this answer.

        Raises:
            EngineError: no decision could be made; the request is refused with the error's code.
        """

    def close(self) -> None:
        """Give up what is held. A closed engine judges no more."""
