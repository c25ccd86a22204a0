"""What is kept beside leaves, held against the digests in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from placet.audit.findings import Findings
from placet.audit.pruned import PrunedLeaves
from placet.audit.record import attachment_digests

# Beside a decision, or what it rests on, until it is erased.
KEPT: Final = frozenset(
    {"input", "content", "signed", "exemption", "envelope", "manifest", "wasm", "sources", "package", "report"}
)


class Attachments:
    """Walks the attachments beside the leaves, both in order of index."""

    def __init__(self, rows: Iterator[tuple[Any, Any, Any, Any]], findings: Findings, pruned: PrunedLeaves) -> None:
        self._rows = rows
        self._pruned = pruned
        self._findings = findings
        self._next: tuple[int, Any, Any, Any] | None = None
        self._advance()

    def check(self, index: int, body: Mapping[str, Any] | None) -> int:
        """Compare those of one leaf with the digests in it.

        Args:
            index: of the leaf.
            body: what it says; None where it can't be read.

        Returns:
            How many that could be there are not, and no prune has taken.
        """
        digests = attachment_digests(body) if body is not None else {}
        expected = {name for name in KEPT if name in digests}
        while self._next is not None and self._next[0] <= index:
            at, name, sha256, content = self._next
            self._advance()
            self._compare(at, name, sha256, content, digests if at == index else {})
            if at == index:
                expected.discard(name)
        return sum(not self._pruned.take_attachment(index, name) for name in sorted(expected))

    def skip_to(self, index: int) -> None:
        """Pass over those of earlier leaves, which were found to be changed: there is nothing to hold them against."""
        while self._next is not None and self._next[0] < index:
            self._advance()

    def finish(self) -> None:
        """What is left stands beside no leaf."""
        while self._next is not None:
            self._compare(*self._next, {})
            self._advance()

    def _advance(self) -> None:
        for row in self._rows:
            if isinstance(row[0], int):
                self._next = row
                return
            self._findings.add("attachment_changed", "an attachment stands beside no leaf")
        self._next = None

    def _compare(self, index: int, name: Any, sha256: Any, content: Any, digests: dict[str, str]) -> None:
        found = hashlib.sha256(content).digest() if isinstance(content, bytes) else None
        if found is None or sha256 != found or digests.get(name) != f"sha256:{found.hex()}":
            self._findings.add(
                "attachment_changed", f"the attachment {name!r} is not what the leaf has the digest of", index=index
            )
