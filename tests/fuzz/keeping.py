"""Targets: what keeps a record for long: archive manifests, holds, prunes, keys of persons, terms, sealed leaves."""

from __future__ import annotations

import contextlib
import functools
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from placet.audit.archive.layout import parse_attachment_path, parse_manifest, parse_manifest_path, render_manifest
from placet.audit.holds import read_holds
from placet.audit.naming import Narrowing, named_by
from placet.audit.person_keys import Opener, Person, PersonKeys, parse_person, render_person
from placet.audit.person_terms import is_members, make_rows
from placet.audit.persons import SEALED_WORD, find_nonce, find_sealed, mask
from placet.audit.pruning import Ledger
from placet.audit.record import BREAK_GLASS, HOLD, REVOCATION, parse_leaf, render_leaf
from placet.audit.stores import Key
from placet.audit.terms import BLOCK, make_block, read_members, render_members
from placet.audit.tile_listing import Listing
from placet.audit.tiles import parse_bundle, parse_hashes, render_bundle
from placet.breakglass.state import Use, parse_event
from placet.canonical import render_canonical
from placet.errors import AuditError, FormatError, TamperError
from placet.revoked import SOMEBODY, parse_revocation
from tests.fuzz.documents import TESTS
from tests.fuzz.target import require
from tests.simulators.tampering import decision

_GOLDEN: Final = TESTS / "golden" / "audit"
_WRAPPING: Final = AESGCM(bytes(32))
_PATH: Final = Path("0" * 64 + ".person")
_MAGIC: Final = b"placet.dev/person-key/v1\n"
_EVENTS: Final = ("used", "reviewed", "exemption", "revocation", "hold", "prune")
_ALL: Final = (1 << BLOCK) - 1


@functools.cache
def _persons() -> tuple[Person, ...]:
    return tuple(PersonKeys.open(_GOLDEN / "persons", _GOLDEN / "persons.key").all())


def run_manifest(raw: bytes) -> None:
    """A manifest of an archive, its checkpoints, and names of objects."""
    text = raw[:512].decode("utf-8", "replace")
    parse_manifest_path(text)
    parse_attachment_path(text)
    try:
        manifest = parse_manifest(raw)
    except FormatError:
        return
    require(render_manifest(manifest) == raw, "a manifest has one form")
    require(0 <= manifest.before <= manifest.size, "and is of leaves that there are")
    try:
        checkpoints = list(manifest.checkpoints([]))
    except TamperError:
        return
    require(not checkpoints, "without a key no checkpoint is one")


def run_explained(raw: bytes) -> None:
    """Leaves of holds and prunes, an entry a line of a bundle: what they explain, and what they keep."""
    try:
        leaves = parse_bundle(raw)
    except FormatError:
        leaves = [raw]
    ledger = Ledger(enumerate(leaves))
    for prune in ledger.prunes:
        require(prune.before <= prune.size <= prune.index, "a prune is of what was there before it")
        require(all(span[1] <= prune.size for span in prune.removal.leaves), "and of nothing else")
        ledger.is_held(prune, 0)
    for hold in ledger.holds:
        ends = [start for start, end in hold.covered if end > hold.placed]
        require(ends, "a hold covers what comes after it, understood or not")


def run_person(raw: bytes) -> None:
    """The file of a person, as it is, and with the same bytes as what its key opens."""
    sealed = _MAGIC + bytes(12) + _WRAPPING.encrypt(bytes(12), raw, _MAGIC + _PATH.name.encode())
    for content in (raw, sealed):
        try:
            person = parse_person(content, _WRAPPING, _PATH)
        except FormatError:
            continue
        again = parse_person(render_person(person, _WRAPPING), _WRAPPING, _PATH)
        require(again == person, "a person that is written again is the same")
        require(len(person.key) == 32, "and has a whole key")
        require(isinstance(person.name, str) and isinstance(person.key_id, str), "and a name")


def run_terms(raw: bytes) -> None:
    """Members of a term, and rows of terms as a database may have them."""
    require(is_members(raw) or raw != b"", "an empty list is one")
    try:
        bits = read_members(raw)
    except FormatError:
        return
    require(0 <= bits <= _ALL, "places are within their block")
    places = [place for place in range(BLOCK) if bits >> place & 1]
    require(read_members(render_members(places)) == bits, "what is written again is the same")

    class Rows:
        def members_at(self, keys: Sequence[Key]) -> dict[Key, bytes]:
            return dict.fromkeys(keys, raw)

    narrowing = Narrowing(Rows(), named_by({"user": "a"}, ("b",), ()))
    require(narrowing.bits({0: [0, 0]}) == {0: bits}, "and what is looked at is what it says")


def run_sealed(raw: bytes) -> None:
    """A leaf with sealed names: it is opened, masked, and read again by who acts on it."""
    try:
        leaf = parse_leaf(raw)
    except FormatError:
        return
    opener = Opener(list(_persons()))
    nonce = find_nonce(leaf.body)
    opened, masked = opener.open(leaf.body), mask(leaf.body, SEALED_WORD)
    require(nonce is not None or opened == leaf.body == masked, "what seals nothing stays as it is")
    require(nonce is None or not any(find_sealed(masked, nonce)), "and what is sealed is not shown")
    make_rows(0, [raw], opener)
    make_block(0, [raw] * 2)
    read_holds([(0, leaf.body)] if leaf.type == HOLD else [], opener)
    for kind, read in ((BREAK_GLASS, parse_event), (REVOCATION, parse_revocation)):
        if leaf.type != kind:
            continue
        try:
            found = read(leaf.body)
        except FormatError:
            continue
        if isinstance(found, Use):
            found.opened(opener)
        elif kind == REVOCATION and nonce is not None:
            told = str(leaf.body["person"])
            require(not any(find_sealed(told, nonce)) or SOMEBODY in repr(found), "nobody's sealed name is a name")
    try:
        require(render_leaf(leaf.body).raw == raw, "what was read is written alike")
    except AuditError:
        return


def run_tiles(raw: bytes) -> None:
    """Entry bundles and tiles of hashes, and names of files in a folder of tiles."""
    try:
        leaves = parse_bundle(raw)
        require(render_bundle(leaves) == raw, "a bundle has one form")
    except FormatError:
        pass
    with contextlib.suppress(FormatError):
        require(b"".join(parse_hashes(raw)) == raw, "a tile is its hashes")
    listing = Listing()
    for line in raw[:4096].decode("utf-8", "replace").splitlines():
        listing.add(line)
    require(all(index >= 0 for index in listing.kept), "what was kept of a pruned bundle has an index")


def manifests() -> Iterator[bytes]:
    """The golden one."""
    yield (TESTS / "golden" / "archive" / "manifest.json").read_bytes()


def explained() -> Iterator[bytes]:
    """A hold, a prune, both, sealed or not."""
    found = [(_GOLDEN / f"{name}.leaf").read_bytes() for name in ("hold", "prune", "sealed-hold", "sealed-prune")]
    yield from found
    filler = [b"heartbeat\n{}"] * 12
    yield render_bundle([*filler, *found])


def persons() -> Iterator[bytes]:
    """A file, and what is in one."""
    person = Person("0" * 32, "alice@example.org", bytes(range(32)), _PATH)
    content = {"id": person.key_id, "key": person.key.hex(), "name": "YWxpY2VAZXhhbXBsZS5vcmc="}
    yield render_canonical(content)
    yield _MAGIC + bytes(12) + _WRAPPING.encrypt(bytes(12), render_canonical(content), _MAGIC + _PATH.name.encode())
    yield json.dumps(content).encode()


def members() -> Iterator[bytes]:
    """A list and a bitmap."""
    yield struct.pack(">3H", 0, 7, 1023)
    yield render_members(range(0, BLOCK, 3))
    yield render_members([])


def sealed_leaves() -> Iterator[bytes]:
    """One of each type."""
    yield (_GOLDEN / "sealed.leaf").read_bytes()
    yield (_GOLDEN / "erasure.leaf").read_bytes()
    for name in _EVENTS:
        yield (_GOLDEN / f"sealed-{name}.leaf").read_bytes()


def tiles() -> Iterator[bytes]:
    """A bundle, hashes, and names."""
    yield render_bundle([render_leaf(decision(number)).raw for number in range(3)])
    yield bytes(range(64))
    yield b"tile/0/x001/000\ntile/entries/000.p/5\nkept/7\nkept/-1\ncheckpoints/000018\ncheckpoint"


RUNS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]]] = {
    "manifest": (run_manifest, manifests),
    "explained": (run_explained, explained),
    "person": (run_person, persons),
    "terms": (run_terms, members),
    "sealed": (run_sealed, sealed_leaves),
    "tiles": (run_tiles, tiles),
}
