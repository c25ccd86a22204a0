"""Who of several replicas publishes, and up to which index everything is: a Lease with the index beside the holder.

Only one publishes at a time, so that nothing is done twice for nothing. That nothing is shown twice or falls back does
not rest on it: every object says up to which index it goes, and a write over somebody else's write fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from placet.errors import PlacetError
from placet.publish.api import CREATED, UPDATED, Object, Objects

LEASE_NAME: Final = "placet-publisher"
LEASE_S: Final = 15.0
RENEW_S: Final = 5.0
SIZE: Final = "placet.dev/published-size"
ORIGIN: Final = "placet.dev/log-origin"


class LostLease(PlacetError):
    """Another replica publishes from now on."""

    code = "lease_lost"


class LeaseUnwritable(PlacetError):
    """The Lease may not be written, so nobody publishes."""

    code = "lease_unwritable"


class PublisherLease:
    """One Lease, as one process sees it; not shared by threads.

    Attributes:
        size: leaves that are published, as it says; None where it says nothing about this log.
    """

    def __init__(
        self,
        objects: Objects,
        *,
        namespace: str,
        name: str,
        origin: str,
        identity: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet.

        Args:
            objects: where the Lease is.
            namespace: of the Lease.
            name: of the Lease.
            origin: of the log; what the Lease says of another log counts for nothing.
            identity: of this process, of it alone.
            clock: aware UTC, for people who read the Lease.
            clock_s: seconds that only grow; how long others were silent is measured by it alone.
        """
        self._objects = objects
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._name = name
        self._origin = origin
        self._identity = identity
        self._clock = clock
        self._clock_s = clock_s
        self._seen = ""
        self._seen_s = clock_s()
        self._renewed_s = float("-inf")
        self.size: int | None = None

    def hold(self) -> bool:
        """Take the Lease, or keep it; whether this process has it.

        Raises:
            LeaseUnwritable: this account may not.
            ClusterUnavailable: no answer.
        """
        if self._clock_s() - self._renewed_s < RENEW_S:
            return True
        return self._write(None)

    def keep(self) -> None:
        """Renew it where that is due.

        Raises:
            LostLease: another has it.
            LeaseUnwritable, ClusterUnavailable: as above.
        """
        if not self.hold():
            raise LostLease("another replica publishes from now on")

    def advance(self, size: int) -> None:
        """All leaves before this one are published.

        Raises:
            LostLease: another has it, and publishes them again, which changes nothing.
            LeaseUnwritable, ClusterUnavailable: as above.
        """
        if not self._write(size):
            raise LostLease("another replica publishes from now on")

    def release(self) -> None:
        """Let another replica have it at once.

        Raises:
            LeaseUnwritable, ClusterUnavailable: it has to wait until the Lease has run out.
        """
        if self._renewed_s > float("-inf"):
            self._renewed_s = float("-inf")
            self._put(lambda there: self._render(there, self.size, holder="") if self._is_ours(there) else None)

    def _write(self, size: int | None) -> bool:
        held = False

        def render(there: Object | None) -> Object | None:
            nonlocal held
            held = self._is_ours(there) or self._is_free(there)
            if not held:
                return None
            self.size = self._published(there) if size is None else size
            return self._render(there, self.size, holder=self._identity)

        begun_s = self._clock_s()
        outcome = self._put(render)
        held = held and outcome in {CREATED, UPDATED}
        self._renewed_s = begun_s if held else float("-inf")
        return held

    def _put(self, render: Callable[[Object | None], Object | None]) -> str:
        outcome = self._objects.put(self._collection, self._name, render)
        if outcome not in {CREATED, UPDATED, "unchanged"}:
            raise LeaseUnwritable(
                f"the Lease {self._name} can't be written ({outcome}), so nothing is published",
                hint="The gate's account needs get, create and update of leases in the namespace of record.publish.",
            )
        return outcome

    def _is_ours(self, there: Object | None) -> bool:
        return there is not None and _spec(there).get("holderIdentity") == self._identity

    def _is_free(self, there: Object | None) -> bool:
        """Whether nobody has it, or nobody has touched it for so long that its holder is gone."""
        if there is None or not _spec(there).get("holderIdentity"):
            return True
        version = str((there.get("metadata") or {}).get("resourceVersion", ""))
        if version != self._seen:
            self._seen, self._seen_s = version, self._clock_s()
        return self._clock_s() - self._seen_s > LEASE_S

    def _published(self, there: Object | None) -> int | None:
        noted = ((there or {}).get("metadata") or {}).get("annotations") or {}
        text = str(noted.get(SIZE, ""))
        ours = noted.get(ORIGIN) == self._origin
        return int(text) if ours and text.isascii() and text.isdigit() and len(text) < len(str(2**63)) else None

    def _render(self, there: Object | None, size: int | None, *, holder: str) -> Object:
        now = self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = _spec(there or {})
        taken = before.get("holderIdentity") != holder
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._name,
                "annotations": {ORIGIN: self._origin, **({} if size is None else {SIZE: str(size)})},
                "labels": {"app.kubernetes.io/managed-by": "placet"},
            },
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": int(LEASE_S),
                "acquireTime": now if taken or not before.get("acquireTime") else before["acquireTime"],
                "renewTime": now,
                "leaseTransitions": _transitions(before) + (1 if taken and holder else 0),
            },
        }


def _spec(lease: Object) -> Mapping[str, Any]:
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}


def _transitions(spec: Mapping[str, Any]) -> int:
    found = spec.get("leaseTransitions")
    return found if isinstance(found, int) else 0
