"""What decisions of a record were judged by: found among its leaves, taken from their attachments, held to digests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from placet.audit.pruning import Ledger
from placet.audit.record import CONFIGURATION, ERASURE, HOLD, POLICY, PRUNE, attachment_digests
from placet.audit.stores import Reader
from placet.dossier.leaves import Held, StoreLeaves, read_attachment
from placet.errors import EngineError, InputError
from placet.kept import INPUT
from placet.rehearsal.candidate import Candidate
from placet.replay import Policies, Replayer

_MOST_READY: Final = 4  # policies that are kept ready at once, 8 MiB each at most
_IN_FORCE: Final = "Give --bundle and --data, or a record of a gate that has recorded its policies."


class UnfoundError(Exception):
    """What a decision was judged by is not there.

    Attributes:
        code: ``pruned``, ``erased`` or ``missing``; or what the policies can't be run for.
        sentence: for a person.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The leaves that say what decisions were judged by, and what of the record was taken away.

    Attributes:
        policies: leaves of type ``policy``, in order.
        configurations: of type ``configuration``, in order.
        removals: index and bytes of each leaf that tells of prunes and holds.
        erased: index and name of attachments that an erasure names.
        erased_more: whether an erasure took more than it names.
    """

    policies: tuple[Held, ...]
    configurations: tuple[Held, ...]
    removals: tuple[tuple[int, bytes], ...]
    erased: frozenset[tuple[int, str]]
    erased_more: bool

    @classmethod
    def of(cls, reader: Reader) -> Catalogue:
        """Read them from a record.

        Raises:
            StoreUnavailable, TamperError: it can't be read, or is not what was hashed.
        """
        leaves = StoreLeaves(reader)
        erasures = [one.body for one in leaves.of_type(ERASURE)]
        places = [place for body in erasures for place in _listed(body.get("attachments"))]
        return cls(
            tuple(leaves.of_type(POLICY)),
            tuple(leaves.of_type(CONFIGURATION)),
            tuple((one.index, one.raw_leaf) for kind in (PRUNE, HOLD) for one in reader.of_type(kind, start=0)),
            frozenset((place["index"], place["name"]) for place in places if {"index", "name"} <= place.keys()),
            any(body.get("attachments_total", 0) > len(_listed(body.get("attachments"))) for body in erasures),
        )


class Past:
    """Everything that the decisions of one view of a record were judged by.

    Args:
        catalogue: of the record.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._ledger = Ledger(catalogue.removals)
        self._ready: dict[tuple[str, ...], Replayer | UnfoundError] = {}

    def input_of(self, leaves: StoreLeaves, held: Held) -> bytes:
        """What was judged: the attachment of the decision itself.

        Raises:
            UnfoundError: it was pruned, or erased.
            TamperError: it is not what the leaf has the digest of.
        """
        content = read_attachment(leaves, held, INPUT)
        if content is None:
            raise self._absent(held.index, INPUT, "its input")
        return content

    def policies_of(self, leaves: StoreLeaves, held: Held) -> Replayer:
        """The policies and the policy data that a decision names, ready to judge.

        Raises:
            UnfoundError: one of them is not there, or can't be run.
            TamperError: one is not what its leaf has the digest of.
        """
        named = held.body.get("policy")
        given = named if isinstance(named, Mapping) else {}
        key = tuple(str(given.get(name)) for name in ("revision", "data_digest", "engine", "engine_version"))
        found = self._ready.pop(key, None)
        if found is None:
            try:
                found = self._make(leaves, held.index, *key)
            except UnfoundError as exc:
                found = exc
        self._ready[key] = found  # the one that was used last is the last to go
        if len(self._ready) > _MOST_READY:
            del self._ready[next(iter(self._ready))]
        if isinstance(found, UnfoundError):
            raise UnfoundError(found.code, found.sentence)  # anew: one that is raised again keeps every earlier frame
        return found

    def in_force(self, leaves: StoreLeaves) -> Candidate:
        """The policies and the policy data that the newest configuration of the record names.

        Raises:
            InputError: it names none, or they are not there.
            TamperError: one is not what its leaf has the digest of.
        """
        newest = self._catalogue.configurations[-1:] or self._catalogue.policies[-1:]
        for one in newest:
            policy, digest = one.body.get("policy"), one.body.get("data_digest")
            known = self._catalogue.policies[-1].body.get("revision") if self._catalogue.policies else None
            revision = policy.get("revision") if isinstance(policy, Mapping) else known
            try:
                manifest, wasm, _ = self._find_bundle(leaves, one.index, str(revision), "", "")
                return Candidate(manifest, wasm, self._find_data(leaves, one.index, str(digest)))
            except UnfoundError as exc:
                raise InputError(
                    f"the policies in force are not in the record: {exc.sentence}", hint=_IN_FORCE
                ) from exc
        raise InputError("the record does not say which policies are in force", hint=_IN_FORCE)

    def _make(self, leaves: StoreLeaves, near: int, revision: str, digest: str, engine: str, version: str) -> Replayer:
        manifest, wasm, evaluation = self._find_bundle(leaves, near, revision, engine, version)
        data = self._find_data(leaves, near, digest)
        try:
            made = Replayer(Policies(manifest=manifest, wasm=wasm, data=data, evaluation=evaluation))
        except EngineError as exc:
            raise UnfoundError(exc.code, f"the policies that were kept can't be run: {exc}") from exc
        if made.revision != revision:
            raise UnfoundError("policies_differ", f"the policies that were kept are not {revision}")
        return made

    def _find_bundle(
        self, leaves: StoreLeaves, near: int, revision: str, engine: str, version: str
    ) -> tuple[bytes, bytes, str]:
        same = [one for one in self._catalogue.policies if one.body.get("revision") == revision]
        if engine == "embedded":  # an OPA server was asked by sources, whoever compiled the Wasm that is kept
            same = [one for one in same if one.body.get("compiler") == version]
        absent = UnfoundError("missing", f"no leaf of the policies {revision} is there")
        for one in _nearest(same, near):
            found = [self._take(leaves, one, name) for name in ("manifest", "wasm")]
            if found[0] is not None and found[1] is not None:
                return found[0], found[1], str(one.body.get("evaluation", ""))
            absent = self._absent(one.index, "manifest" if found[0] is None else "wasm", f"of the policies {revision}")
        raise absent

    def _find_data(self, leaves: StoreLeaves, near: int, digest: str) -> bytes:
        absent = UnfoundError("missing", f"no leaf of the policy data {digest} is there")
        same = [one for one in self._catalogue.configurations if one.body.get("data_digest") == digest]
        for one in _nearest(same, near):
            if (found := self._take(leaves, one, "data")) is not None:
                return found
            absent = self._absent(one.index, "data", f"of the policy data {digest}")
        raise absent

    @staticmethod
    def _take(leaves: StoreLeaves, held: Held, name: str) -> bytes | None:
        return read_attachment(leaves, held, name) if name in attachment_digests(held.body) else None

    def _absent(self, index: int, name: str, what: str) -> UnfoundError:
        """Why an attachment is not there, by what the record itself says."""
        where = f"attachment {name!r} of leaf {index}, {what},"
        if (prune := self._ledger.find_attachment(index, name)) is not None:
            return UnfoundError("pruned", f"the {where} was pruned by leaf {prune.index}")
        if (index, name) in self._catalogue.erased:
            return UnfoundError("erased", f"the {where} was erased")
        more = ", though an erasure names fewer than it took" if self._catalogue.erased_more else ""
        return UnfoundError("missing", f"the {where} is not there, and no leaf says why{more}")


def _nearest(candidates: list[Held], near: int) -> Iterator[Held]:
    """The newest before a leaf first, then the first after it: equal digests, so that any that is whole will do."""
    yield from sorted(candidates, key=lambda one: (one.index > near, abs(one.index - near)))


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
