"""What the record knows of the past, as a decision asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from placet.canonical import Digest
from placet.precedent import Precedent
from placet.promotion import AdmittedElsewhere


class History(Protocol):
    """What the record knows of the past."""

    def model_seen(self, *, environment: str, model: str) -> bool | None:
        """Whether this model was approved and admitted here before; None when there is no record to ask."""

    def admitted(
        self, *, environment: str, namespace: str, kind: str, name: str, projection: Digest
    ) -> Sequence[Precedent] | None:
        """Decisions that admitted this content of the workload with every approval, the newest first, a few.

        None when there is no record to ask.

        Raises:
            AuditError: the record can't be read.
        """

    def admitted_with(
        self, *, environment: str, namespace: str, group: str, kind: str, name: str, template: Digest
    ) -> Sequence[Precedent] | None:
        """Decisions that admitted a custom resource, with every approval and this pod template in it; newest first.

        Only the newest few decisions about the object are looked through.

        Raises:
            AuditError: the record can't be read.
        """

    def admitted_elsewhere(self, *, environment: str, projection: Digest) -> Sequence[AdmittedElsewhere] | None:
        """Decisions that admitted this content in other environments with every approval, the earliest first, a few.

        Of any object and any cluster that this record is of. None when there is no record to ask.

        Raises:
            AuditError: the record can't be read.
        """


@dataclass(frozen=True, slots=True)
class NoHistory:
    """There is no record to ask."""

    def model_seen(self, *, environment: str, model: str) -> bool | None:  # noqa: ARG002 - the Protocol's names
        """Unknown."""
        return None

    def admitted(
        self,
        *,
        environment: str,  # noqa: ARG002 - the Protocol's names
        namespace: str,  # noqa: ARG002
        kind: str,  # noqa: ARG002
        name: str,  # noqa: ARG002
        projection: Digest,  # noqa: ARG002
    ) -> Sequence[Precedent] | None:
        """Unknown."""
        return None

    def admitted_with(
        self,
        *,
        environment: str,  # noqa: ARG002 - the Protocol's names
        namespace: str,  # noqa: ARG002
        group: str,  # noqa: ARG002
        kind: str,  # noqa: ARG002
        name: str,  # noqa: ARG002
        template: Digest,  # noqa: ARG002
    ) -> Sequence[Precedent] | None:
        """Unknown."""
        return None

    def admitted_elsewhere(
        self,
        *,
        environment: str,  # noqa: ARG002 - the Protocol's names
        projection: Digest,  # noqa: ARG002
    ) -> Sequence[AdmittedElsewhere] | None:
        """Unknown."""
        return None
