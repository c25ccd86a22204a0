"""Targets: what auditors read: signed notes and checkpoints, proofs, leaves."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from placet.approvals.envelope import parse_annotation
from placet.audit.checkpoint import parse_checkpoint, verify_checkpoint
from placet.audit.note import parse_note, parse_vkey, verify_note
from placet.audit.proof import VerifiedInclusion, verify_proof
from placet.audit.record import parse_leaf, search_columns
from placet.audit.stores.file import open_readonly
from placet.canonical import render_canonical
from placet.dossier.file import render_file, verify_file
from placet.dossier.judge import Roots, judge_case
from placet.errors import FormatError, TamperError
from placet.kept import parse_signed
from tests.fuzz.documents import TESTS
from tests.fuzz.target import require
from tests.simulators.tampering import LOG_KEY, SIZE, build_log, decision, raw_leaf, saved_notes, surgery

_GOLDEN: Final = TESTS / "golden" / "audit"
_KEYS: Final = [LOG_KEY.verifier]


@functools.cache
def _log() -> tuple[frozenset[str], frozenset[bytes]]:
    """All texts that the log's key has signed, and all leaves."""
    with tempfile.TemporaryDirectory() as folder:
        store = build_log(Path(folder) / "record.db")
        notes = [raw for _, raw in saved_notes(store)]
        with surgery(store) as database:
            leaves = frozenset(raw_leaf(database, index) for index in range(SIZE))
    return frozenset(parse_note(raw)[0] for raw in notes), leaves


def run_note(raw: bytes) -> None:
    """A signed note, its text as a checkpoint, and a verifier key."""
    texts, _ = _log()
    try:
        text, signatures = parse_note(raw)
    except FormatError:
        pass
    else:
        require(signatures, "a note has a signature")
        try:
            checkpoint = parse_checkpoint(text)
        except FormatError:
            pass
        else:
            require(text.startswith(f"{checkpoint.origin}\n{checkpoint.size}\n"), "a checkpoint is what stands there")
    for verify in (verify_note, verify_checkpoint):
        try:
            verify(raw, _KEYS)
        except (FormatError, TamperError):
            continue
        require(parse_note(raw)[0] in texts, "only what the log's key has signed verifies")
    try:
        key = parse_vkey(raw.decode("utf-8", "replace"))
    except FormatError:
        return
    require(parse_vkey(str(key)) == key, "a key that is written again is the same")


def run_proof(raw: bytes) -> None:
    """A proof file: it proves what is in the log, or nothing."""
    texts, leaves = _log()
    try:
        proved = verify_proof(raw, _KEYS)
    except (FormatError, TamperError):
        return
    if isinstance(proved, VerifiedInclusion):
        require(proved.leaf.raw in leaves, "only a leaf of the log is proved")
        require(proved.checkpoint.render() in texts, "by a checkpoint of the log")
        return
    require(proved.old.render() in texts and proved.new.render() in texts, "only checkpoints of the log are connected")


def run_dossier(raw: bytes) -> None:
    """A proof file of version 2: it proves what is in the log, or nothing, and judging it stops nobody."""
    texts, leaves = _log()
    try:
        dossier = verify_file(raw, _KEYS)
    except (FormatError, TamperError):
        return
    require(dossier.checkpoint.render() in texts, "by a checkpoint of the log")
    for held in dossier.leaves.held.values():
        own = f"{held.type}\n".encode() + render_canonical(held.body)
        require(own in leaves, "only leaves of the log are proved")
    require(judge_case(dossier.case, Roots((), 0)).verdict.outcome, "and what was found out is said")


def run_signed(raw: bytes) -> None:
    """Envelopes as they are kept beside a decision."""
    try:
        approvals, evidence = parse_signed(raw)
    except FormatError:
        return
    for text in (*approvals.values(), *evidence.values()):
        parse_annotation(text)  # what is given back can be read as what stood on the workload


def run_leaf(raw: bytes) -> None:
    """The bytes of a leaf."""
    try:
        leaf = parse_leaf(raw)
    except FormatError:
        return
    require(leaf.raw == raw, "a leaf keeps its bytes")
    require(raw == f"{leaf.type}\n".encode() + render_canonical(leaf.body), "and they are canonical")
    try:
        search_columns(leaf.body)
    except FormatError:
        return


def notes() -> Iterator[bytes]:
    """Every checkpoint, and the key."""
    yield (_GOLDEN / "checkpoint.note").read_bytes()
    yield (_GOLDEN / "log.vkey").read_bytes()


def proofs() -> Iterator[bytes]:
    """One of each schema."""
    yield (_GOLDEN / "inclusion.json").read_bytes()
    yield (_GOLDEN / "consistency.json").read_bytes()


@functools.cache
def _dossiers() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        store = build_log(Path(folder) / "record.db")
        with open_readonly(store) as reader:
            return tuple(render_file(reader, index, _KEYS) for index in (2, 4, 5))


def dossiers() -> Iterator[bytes]:
    """Of a heartbeat or a decision, with what is kept beside it."""
    yield from _dossiers()


def signed_envelopes() -> Iterator[bytes]:
    """An approval and evidence of a golden proof."""
    document = json.loads(gzip.decompress((TESTS / "golden" / "proofs" / "v2.json.gz").read_bytes()))
    found = [leaf["attachments"]["signed"] for leaf in document["leaves"] if "signed" in leaf["attachments"]]
    for kept in (json.loads(base64.b64decode(one)) for one in found):
        for part in ("approvals", "evidence"):
            for name in sorted(kept[part])[:1]:
                yield render_canonical({**kept, "approvals": {}, "evidence": {}, part: {name: kept[part][name]}})


def leaves() -> Iterator[bytes]:
    """Decisions."""
    yield (_GOLDEN / "leaf").read_bytes()
    yield b"decision\n" + json.dumps(decision(3)).encode()


RUNS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]]] = {
    "note": (run_note, notes),
    "proof": (run_proof, proofs),
    "dossier": (run_dossier, dossiers),
    "signed": (run_signed, signed_envelopes),
    "leaf": (run_leaf, leaves),
}
