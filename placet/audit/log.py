"""The log as the rest of placet uses it: append before allow, ask what was decided, sign what there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from placet.audit.commit import GroupCommit, Pending
from placet.audit.indexing import add_blocks
from placet.audit.location import StoreLocation, open_store
from placet.audit.note import LogKey, VerifierKey
from placet.audit.person_keys import PersonKeys
from placet.audit.person_terms import add_person_terms
from placet.audit.record import HEARTBEAT, KEYRING, SCHEMA, attachment_digests, parse_leaf, render_leaf
from placet.audit.signer import CheckpointSigner
from placet.audit.stored import (
    Recorded,
    admitted_in,
    approved_elsewhere_in,
    approved_in,
    read_recorded,
    read_stored,
)
from placet.audit.stores import Reader, Store
from placet.audit.stores.failure import unavailable
from placet.canonical import Digest
from placet.errors import AuditError, StoreUnavailable, TamperError

DEADLINE_S: Final = 5.0
PROBE_DEADLINE_S: Final = 0.25
MAX_ATTACHMENT_BYTES: Final = 1024 * 1024
MAX_KEYRING_BYTES: Final = 4 * 1024 * 1024  # what a gate takes for a keyring, it has to be able to keep
_NOTHING: Final[Mapping[str, bytes]] = {}
_VERIFY: Final = "Run `placet audit verify` on this store."


@dataclass(frozen=True, slots=True)
class Appended:
    """A leaf that is durable.

    Attributes:
        index: its place in the log, 0 for the first.
        leaf_hash: its hash in the tree.
        size: leaves that the log has now, this one included.
        replayed: whether it was there before: the uid was sent again.
        leaf: its body. Where ``replayed``, the one that is in the log, not the one that was offered.
        checkpoint: the newest signed note when it was appended, not verified; "" where there was none.
    """

    index: int
    leaf_hash: Digest
    size: int
    replayed: bool
    leaf: Mapping[str, Any]
    checkpoint: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether records can be written now.

    Attributes:
        writable: whether the store takes a write transaction, and is what was written to it and signed.
        code: of the error where it is not, ``tampered`` kinds included; "" where it is.
        detail: a sentence for a person; "" where it is writable.
        size: leaves in the log, 0 when it can't be read.
        signed_size: leaves under the last stored checkpoint, 0 when there is none or it can't be read.
    """

    writable: bool
    code: str
    detail: str
    size: int
    signed_size: int


class AuditLog:
    """One log. Threads share it; a process that forks opens it after the fork."""

    def __init__(
        self,
        store: Store,
        *,
        key: LogKey | None = None,
        former_keys: Sequence[VerifierKey] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if key is not None and key.name != store.origin:
            raise AuditError(f"the key is of the log {key.name}, the store of {store.origin}", code="origin_differs")
        self._store = store
        self._clock = clock
        self._commit = GroupCommit(store, clock=clock)
        self._signer = CheckpointSigner(store, key, former_keys=former_keys) if key else None
        self._append_failure: AuditError | None = None
        self._sign_failure: AuditError | None = None

    @classmethod
    def open(
        cls,
        path: StoreLocation,
        *,
        origin: str,
        key: LogKey | None = None,
        former_keys: Sequence[VerifierKey] = (),
        create: bool = True,
        deadline_s: float = DEADLINE_S,
    ) -> AuditLog:
        """Open the log in a SQLite file, or in a database whose tables are there.

        Args:
            path: of the file, or the address of the database; a file is made when it is missing and
                ``create`` is set. Its folder must be there.
            origin: name of the log, ``placet.dev/log/<cluster>``; the first line of its checkpoints.
            key: signs checkpoints; its name is the origin. None where this process does not sign.
            former_keys: verifier keys of this log from before a change of keys.
            create: whether a missing file is made.
            deadline_s: seconds to wait for another process that holds the file.

        Raises:
            StoreUnavailable: the file can't be opened or written.
            AuditError: the file is no record, that of another log, or open since before a fork.
        """
        return cls(
            open_store(path, origin=origin, create=create, deadline_s=deadline_s),
            key=key,
            former_keys=former_keys,
        )

    @property
    def origin(self) -> str:
        """Name of the log."""
        return self._store.origin

    def append(
        self,
        leaf: Mapping[str, Any],
        *,
        uid: str = "",
        request_digest: Digest | None = None,
        attachments: Mapping[str, bytes] = _NOTHING,
        deadline_s: float = DEADLINE_S,
    ) -> Appended:
        """Make a record durable. Returns after it is, or raises.

        Args:
            leaf: body of the leaf, JSON without floats; its ``type`` says what it is.
            uid: of the admission request; a decision's body has the same, other types have none.
            request_digest: of the request; a decision's body has the same.
            attachments: name -> bytes to keep beside the leaf; the body has the digest of each as ``<name>_digest``.
            deadline_s: seconds after which the caller no longer waits for its turn. A sync under way is not cut short
                for the caller that does it.

        Raises:
            StoreUnavailable: it is not known to be durable: nothing may be allowed on it.
            AuditError: ``record_invalid``, ``record_too_large``, or ``uid_reused``: the uid is that of another request.
            TamperError: the store is not what this process wrote.
        """
        rendered = render_leaf(leaf)
        if (rendered.columns.uid or "") != uid:
            raise AuditError("the record is not of the uid that it is appended under", code="record_invalid")
        if request_digest is not None and rendered.columns.request_digest != str(request_digest):
            raise AuditError("the record is not of the request that it is appended for", code="record_invalid")
        _require_attachments(leaf, attachments)
        try:
            done = self._commit.append(Pending(rendered, attachments, give_up=self._clock() + deadline_s))
        except (StoreUnavailable, TamperError) as exc:
            self._append_failure = exc
            raise
        self._append_failure = None
        if done.outcome is None:  # ``append`` raises instead
            raise unavailable("store_unavailable")
        body = parse_leaf(done.outcome.raw_leaf).body if done.replayed else leaf
        leaf_hash = Digest(done.outcome.leaf_hash.hex())
        return Appended(done.outcome.index, leaf_hash, done.size, done.replayed, body, done.checkpoint)

    def heartbeat(self, now: datetime, *, interval_s: int = 600) -> Appended:
        """Append a sign of life.

        Args:
            now: aware UTC.
            interval_s: when the next one is due at the latest, seconds; a verifier takes longer silence as evidence.
        """
        body = {"schema": SCHEMA, "type": HEARTBEAT, "time": render_time(now), "interval_s": interval_s}
        return self.append(body)

    def find_uid(self, uid: str) -> Recorded | None:
        """The decision that answers a request that was sent before.

        Raises:
            StoreUnavailable: the store can't be read.
            TamperError: what is stored is not what was hashed.
        """
        with self._store.reading() as reader:
            stored = reader.find_uid(uid)
        return None if stored is None else read_recorded(stored)

    def model_seen(self, cluster: str, environment: str, model_name: str) -> bool:
        """Whether a decision has admitted the model, as approved, to the environment of the cluster before."""
        with self._store.reading() as reader:
            return reader.model_seen(cluster=cluster, environment=environment, model=model_name)

    def last_approved(self, environment: str, namespace: str, kind: str, name: str) -> Mapping[str, Any] | None:
        """Body of the newest decision that admitted the object, fully approved; None where there is none."""
        with self._store.reading() as reader:
            stored = reader.last_approved(environment=environment, namespace=namespace, kind=kind, name=name)
        return None if stored is None else read_recorded(stored).leaf

    def admitted(
        self, *, cluster: str, environment: str, namespace: str, kind: str, name: str, projection: Digest
    ) -> list[Mapping[str, Any]]:
        """Bodies of the decisions that admitted this content of an object, approved then; newest first, a few."""
        with self._store.reading() as reader:
            return admitted_in(
                reader,
                cluster=cluster,
                environment=environment,
                namespace=namespace,
                kind=kind,
                name=name,
                projection=projection,
            )

    def approved(
        self, *, cluster: str, environment: str, namespace: str, kind: str, name: str
    ) -> list[Mapping[str, Any]]:
        """Bodies of the decisions that admitted an object, approved then; newest first, a few."""
        with self._store.reading() as reader:
            return approved_in(
                reader, cluster=cluster, environment=environment, namespace=namespace, kind=kind, name=name
            )

    def approved_elsewhere(self, *, environment: str, projection: Digest) -> list[Mapping[str, Any]]:
        """Bodies of the decisions that admitted this content in other environments, approved then; earliest first."""
        with self._store.reading() as reader:
            return approved_elsewhere_in(reader, environment=environment, projection=projection)

    def reading(self) -> AbstractContextManager[Reader]:
        """A view of what is stored, that does not change."""
        return self._store.reading()

    def newest(self, leaf_type: str) -> Mapping[str, Any] | None:
        """Body of the newest leaf of a type; None where there is none.

        Raises:
            StoreUnavailable: the store can't be read.
            TamperError: what is stored is not what was hashed.
        """
        with self._store.reading() as reader:
            stored = reader.latest(leaf_type)
        return None if stored is None else read_stored(stored).body

    def since(self, leaf_type: str, start: int) -> list[tuple[int, Mapping[str, Any]]]:
        """Index and body of each leaf of a type from an index on, in order; ``leaf_type`` is any but ``decision``.

        Raises:
            StoreUnavailable: the store can't be read.
            TamperError: what is stored is not what was hashed.
        """
        with self._store.reading() as reader:
            return [(stored.index, read_stored(stored).body) for stored in reader.of_type(leaf_type, start=start)]

    def newest_attachment(self, leaf_type: str, name: str) -> bytes | None:
        """What is kept beside the newest leaf of a type; None where there is none, it was erased, or it is not it.

        Raises:
            StoreUnavailable: the store can't be read.
            TamperError: the leaf is not what was hashed.
        """
        with self._store.reading() as reader:
            stored = reader.latest(leaf_type)
            content = None if stored is None else reader.attachment(stored.index, name)
        if stored is None or content is None:
            return None
        digests = attachment_digests(read_stored(stored).body)
        return content if digests.get(name) == str(Digest.of(content)) else None

    def last_heartbeat(self) -> str:
        """Time of the newest heartbeat as recorded; "" where there is none.

        Raises:
            StoreUnavailable: the store can't be read.
            TamperError: the leaf is not what was hashed.
        """
        with self._store.reading() as reader:
            stored = reader.latest(HEARTBEAT)
        return "" if stored is None else read_stored(stored).columns.time

    def size(self) -> int:
        """Leaves in the log."""
        with self._store.reading() as reader:
            return reader.state().size

    def index_blocks(self, most: int) -> int:
        """Add what leaves are found by; see ``placet.audit.indexing``."""
        return add_blocks(self._store, most)

    def index_persons(self, keys: PersonKeys, most: int) -> int:
        """Add what persons are found by; see ``placet.audit.person_terms``."""
        return add_person_terms(self._store, keys, most)

    def checkpoint(self) -> str:
        """Sign what is committed now, keep it, and return the signed note.

        Raises:
            AuditError: ``no_key`` when the log was opened without its key.
            TamperError: the store does not extend what was signed before; nothing is signed.
            StoreUnavailable: the store can't be read or written.
        """
        if self._signer is None:
            raise AuditError("the log was opened without its key", code="no_key")
        try:
            signed = self._signer.sign()
        except TamperError as exc:
            self._sign_failure = exc
            raise
        self._sign_failure = None
        return signed.note

    @property
    def signed_size(self) -> int:
        """Leaves under the last checkpoint that this process made or confirmed; 0 before the first."""
        return self._signer.signed_size if self._signer else 0

    def latest_checkpoint(self) -> str | None:
        """The last signed note in the store, not verified; None where there is none."""
        with self._store.reading() as reader:
            stored = reader.latest_checkpoint()
        return None if stored is None else stored.raw_note.decode()

    def health(self) -> Health:
        """Ask the store; never raises for its sake."""
        size = signed_size = 0
        failure = self._sign_failure
        try:
            with self._store.reading() as reader:
                size = reader.state().size
                latest = reader.latest_checkpoint()
                signed_size = latest.size if latest else 0
            # Once an append has failed, only a durable write shows that the next one will not; without it a server
            # that is taken out of service for a full disk would never hear that there is space again.
            self._commit.probe(deadline_s=PROBE_DEADLINE_S, durably=self._append_failure is not None)
            self._append_failure = None
        except AuditError as exc:
            failure = exc
        if failure is not None:
            return Health(writable=False, code=failure.code, detail=str(failure), size=size, signed_size=signed_size)
        return Health(writable=True, code="", detail="", size=size, signed_size=signed_size)

    def close(self) -> None:
        """Release the store. Never raises."""
        self._store.close()


def render_time(moment: datetime) -> str:
    """An aware time as leaves write it: UTC, microseconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _require_attachments(leaf: Mapping[str, Any], attachments: Mapping[str, bytes]) -> None:
    if not attachments:
        return
    digests = attachment_digests(leaf)
    for name, content in attachments.items():
        if digests.get(name) != str(Digest.of(content)):
            raise AuditError(f"the record does not have the digest of its attachment {name!r}", code="record_invalid")
        most = MAX_KEYRING_BYTES if leaf.get("type") == KEYRING else MAX_ATTACHMENT_BYTES
        if len(content) > most:
            raise AuditError(f"the attachment {name!r} has more than {most} bytes", code="record_too_large")
