"""The newest signed checkpoint in a ConfigMap, best in another cluster: what notices that the record is yesterday's.

    data.checkpoint    the signed note of the largest checkpoint, byte for byte
    data.<size>        those before it, a few

As with a folder of saved checkpoints (``placet.audit.saved``) no smaller one is written over a larger, and none over
one that the record does not extend: two histories are shown to people, not made one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final
from urllib.parse import quote

from placet.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from placet.audit.merkle import Frontier
from placet.audit.note import VerifierKey
from placet.audit.saved import MAX_NOTE_BYTES, Misfit, find_given_up
from placet.audit.stores import Reader
from placet.errors import AuditError, FormatError, TamperError
from placet.publish.api import CREATED, UNCHANGED, UPDATED, Object, Objects

NEWEST: Final = "checkpoint"
HISTORY: Final = 10
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
Reading = Callable[[], AbstractContextManager[Reader]]


class ExportedCheckpoints:
    """One ConfigMap, for one process; not shared by threads."""

    def __init__(
        self, objects: Objects, *, namespace: str, name: str, keys: Sequence[VerifierKey], reading: Reading
    ) -> None:
        """Look at nothing yet.

        Args:
            objects: where the ConfigMap is.
            namespace: of the ConfigMap.
            name: of the ConfigMap.
            keys: verifier keys of the log.
            reading: opens a view of the record.
        """
        self._objects = objects
        self._collection = f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps"
        self._name = name
        self._namespace = namespace
        self._keys = keys
        self._reading = reading
        self._tree = Frontier()
        self._known: VerifiedCheckpoint | None = None  # of the record itself, and signed: it fits
        self.size = 0

    def compare(self) -> bool:
        """Hold the record against what was exported; whether there was something.

        Raises:
            TamperError: ``rolled_back`` or ``fork``, and nobody gave the exported one up; or
                ``exported_checkpoint_invalid``.
            ClusterUnavailable: the ConfigMap can't be read.
            AuditError: the record can't be read.
        """
        there = self._objects.find(f"{self._collection}/{self._name}")
        return self._exported(there) is not None

    def export(self) -> str:
        """Write the newest checkpoint of the record, if it is larger; what became of it.

        Raises:
            TamperError: as above; nothing was written.
            ClusterUnavailable: it may work later.
            AuditError: the record can't be read, or the ConfigMap not written.
        """
        with self._reading() as reader:
            stored = reader.latest_checkpoint()
        if stored is None:
            return UNCHANGED
        newest = verify_checkpoint(stored.raw_note, self._keys)
        if newest.size == self.size:
            return UNCHANGED
        self._known = self._known or newest

        def render(there: Object | None) -> Object | None:
            exported = self._exported(there)
            if exported is not None and exported.size >= newest.size:
                return None  # another replica was faster
            return self._render(there, newest, exported)

        outcome = self._objects.put(self._collection, self._name, render)
        if outcome not in {CREATED, UPDATED, UNCHANGED}:
            raise AuditError(
                f"the checkpoint of {newest.size} leaves can't be exported to ConfigMap {self._name}: {outcome}",
                code="checkpoint_unexported",
                hint="The account needs get, create and update of this ConfigMap in the namespace of record.export.",
            )
        self.size, self._known = newest.size, newest
        return outcome

    def _exported(self, there: Object | None) -> VerifiedCheckpoint | None:
        """The newest exported checkpoint that still counts; None where there is none.

        Raises:
            TamperError: as above.
        """
        text = _data(there).get(NEWEST)
        if there is None or text is None:
            return None
        try:
            exported = verify_checkpoint(str(text).encode()[:MAX_NOTE_BYTES], self._keys)
        except (FormatError, TamperError, UnicodeEncodeError) as exc:
            raise TamperError(
                f"ConfigMap {self._name} holds no checkpoint of this log: {exc}",
                code="exported_checkpoint_invalid",
                hint="Find out who wrote it, and keep a copy. Once it is deleted, the next checkpoint makes a new one.",
            ) from exc
        with self._reading() as reader:
            size = reader.state().size
            if exported.size <= size and self._root(reader, exported.size) == exported.root:
                return exported
            if (exported.size, exported.root.hex()) in find_given_up(reader):
                return None
        raise Misfit("", exported, size).error

    def _root(self, reader: Reader, size: int) -> bytes:
        """Root of the first leaves. Leaf hashes are read once: the tree grows with what others export."""
        if self._known is not None and self._known.size == size:
            return self._known.root
        if size < self._tree.size or not self._tree.size:
            self._tree = Frontier()
            for leaf_hash in reader.leaf_hashes(size):
                self._tree.append(leaf_hash)
        for stored in reader.leaves(self._tree.size, size):
            self._tree.append(stored.leaf_hash)
        return self._tree.root()

    def _render(self, there: Object | None, newest: VerifiedCheckpoint, exported: VerifiedCheckpoint | None) -> Object:
        """The ConfigMap with the newest, and some before it; what others wrote beside is left out."""
        kept = {} if exported is None else {exported.size: exported.note}
        sizes = sorted((int(key) for key in _data(there) if _SIZE.fullmatch(key)), reverse=True)
        for size in sizes[: 2 * HISTORY]:
            with contextlib.suppress(FormatError, TamperError, UnicodeEncodeError):  # not ours: it goes
                former = verify_checkpoint(str(_data(there)[str(size)]).encode()[:MAX_NOTE_BYTES], self._keys)
                kept[former.size] = former.note
        held = sorted((size for size in kept if size < newest.size), reverse=True)[:HISTORY]
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {"app.kubernetes.io/managed-by": "placet", "placet.dev/checkpoint": "true"},
                "annotations": {"placet.dev/size": str(newest.size)},
            },
            "data": {NEWEST: newest.note, **{str(size): kept[size] for size in held}},
        }


def _data(there: Object | None) -> Mapping[str, Any]:
    data = (there or {}).get("data")
    return data if isinstance(data, dict) else {}
