"""Leaves with their attachments, wherever they come from: a store, or a file that stands for a part of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from placet.audit.record import DECISION, find_attachments
from placet.audit.stored import read_stored
from placet.audit.stores import Reader, StoredLeaf
from placet.canonical import Digest
from placet.errors import TamperError


@dataclass(frozen=True, slots=True)
class Held:
    """A leaf that was found.

    Attributes:
        index: in the log.
        body: of the leaf.
    """

    index: int
    body: Mapping[str, Any]

    @property
    def type(self) -> str:
        """``decision`` and so on."""
        return str(self.body["type"])


class Leaves(Protocol):
    """Where leaves are looked for."""

    def at(self, index: int) -> Held | None:
        """The leaf of that index."""

    def decision(self, decision_id: str) -> Held | None:
        """The decision of that id."""

    def of_type(self, leaf_type: str) -> Iterator[Held]:
        """Leaves of a type, any but ``decision``, in order."""

    def attachment(self, index: int, name: str) -> bytes | None:
        """What is kept beside a leaf; None where it is not there."""


class StoreLeaves:
    """Leaves of a store, each compared with the hash that it was written with."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def at(self, index: int) -> Held | None:
        """See :class:`Leaves`."""
        return _held(next(self._reader.leaves(index, index + 1), None))

    def decision(self, decision_id: str) -> Held | None:
        """See :class:`Leaves`."""
        return _held(self._reader.find_decision(decision_id))

    def of_type(self, leaf_type: str) -> Iterator[Held]:
        """See :class:`Leaves`."""
        for stored in self._reader.of_type(leaf_type, start=0):
            yield Held(stored.index, read_stored(stored).body)

    def attachment(self, index: int, name: str) -> bytes | None:
        """See :class:`Leaves`."""
        return self._reader.attachment(index, name)


def _held(stored: StoredLeaf | None) -> Held | None:
    """The leaf; None where there is none, or its bytes were pruned: what rested on it is told without it."""
    return None if stored is None or not stored.raw_leaf else Held(stored.index, read_stored(stored).body)


@dataclass(frozen=True, slots=True)
class ListedLeaves:
    """Leaves that were read from a file.

    Attributes:
        held: index -> leaf.
        attachments: index and name -> bytes, compared with their digests already.
    """

    held: Mapping[int, Held]
    attachments: Mapping[tuple[int, str], bytes]

    def at(self, index: int) -> Held | None:
        """See :class:`Leaves`."""
        return self.held.get(index)

    def decision(self, decision_id: str) -> Held | None:
        """See :class:`Leaves`."""
        for one in self.held.values():
            if one.type == DECISION and one.body.get("decision_id") == decision_id:
                return one
        return None

    def of_type(self, leaf_type: str) -> Iterator[Held]:
        """See :class:`Leaves`."""
        return (self.held[index] for index in sorted(self.held) if self.held[index].type == leaf_type)

    def attachment(self, index: int, name: str) -> bytes | None:
        """See :class:`Leaves`."""
        return self.attachments.get((index, name))


def read_attachment(leaves: Leaves, held: Held, name: str) -> bytes | None:
    """An attachment of a leaf, which may be kept beside an earlier one.

    Raises:
        TamperError: ``attachment_changed``: what is there is not what the leaf has the digest of.
    """
    place = find_attachments(held.body, held.index).get(name)
    if place is None:
        return None
    index, digest = place
    content = leaves.attachment(index, name)
    if content is not None and str(Digest.of(content)) != digest:
        message = f"the attachment {name!r} of leaf {index} is not what leaf {held.index} has the digest of"
        raise TamperError(message, index=index, code="attachment_changed")
    return content
