"""Proofs and state files of the record: each single change is found and named; see test_record_tampering."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from placet.audit.cosignature import require_witnesses
from placet.audit.cosigning import cosign_checkpoint, prove_by_tiles
from placet.audit.note import parse_vkey
from placet.audit.proof import find_leaf, prove_inclusion, verify_proof
from placet.audit.resume import Prefix, parse_state, render_state
from placet.audit.stores.file import open_readonly
from placet.audit.tile_writer import write_tiles
from placet.audit.verify import verify_file as verify_store_file
from placet.dossier.file import verify_file as verify_dossier
from placet.errors import PlacetError
from tests.golden.audit.build import WITNESS
from tests.golden.proofs.build import COSIGNED, FOLDER, PROOF
from tests.simulators.alterations import (
    JSON_CODES,
    NOTE_CODES,
    TRIED,
    Altered,
    alter_bytes,
    alter_json,
    alter_lines,
    refused,
)
from tests.simulators.tampering import (
    LOG_KEY,
    SIGNED,
    SIZE,
    START,
    build_log,
    fork,
    saved_notes,
)

KEYS: Final = [LOG_KEY.verifier]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another history by the same key: the same first leaves and sizes."""
    return fork(tmp_path_factory.mktemp("fork") / "record.db", at=4, size=SIZE, signed=SIGNED)


# --- proofs ----------------------------------------------------------------------------------------------------------

_OF_PROOFS: Final = (
    NOTE_CODES
    | JSON_CODES
    | {
        "proof_malformed",
        "proof_invalid",
        "proof_unrelated",
        "attachment_changed",
        "leaf_malformed",
        "index_outside",
    }
)


def _every_text(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each text and number of a document is."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, dict | list):
            yield from _every_text(item, (*path, key))
        else:
            yield (*path, key)


def _alter_values(document: Any) -> Iterator[Altered]:
    """Every value of a document another one, at its start, in its middle and at its end."""
    for path in list(_every_text(document)):
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        kept = holder[path[-1]]
        if isinstance(kept, int):
            others: list[Any] = [kept + 1, -kept - 1, str(kept)]
        else:
            places = sorted({0, len(kept) // 2, max(len(kept) - 8, 0)})
            others = [kept[:at] + ("A" if kept[at] != "A" else "B") + kept[at + 1 :] for at in places]
            others += [kept[4:], kept + kept[:4], ""]
        for changed in others:
            holder[path[-1]] = changed
            yield Altered(f"{path} is {str(changed)[:20]}", json.dumps(document).encode())
        holder[path[-1]] = kept


def test_a_change_of_a_proof_of_a_leaf_is_found_and_named(built: Path, other: Path) -> None:
    def proof(store: Path, wanted: str) -> bytes:
        with open_readonly(store) as reader:
            found = find_leaf(reader, wanted)
            assert found is not None
            return prove_inclusion(reader, found, KEYS)

    raw = proof(built, "uid-6")
    shifted = [
        *alter_bytes(raw, step=3),
        *_alter_values(json.loads(raw)),
        *alter_json(raw, proof(built, "uid-9")),
        *alter_json(raw, proof(other, "uid-6")),
    ]
    said = verify_proof(raw, KEYS)
    for altered in shifted:
        if _same_json(altered.raw, raw):
            continue  # white space between the members
        refused(lambda altered=altered: verify_proof(altered.raw, KEYS), altered.name, *_OF_PROOFS)  # type: ignore[misc]
        TRIED["proofs of leaves"] += 1
    assert verify_proof(raw, KEYS) == said


def _same_json(one: bytes, two: bytes) -> bool:
    try:
        pairs = [json.loads(raw, object_pairs_hook=tuple) for raw in (one, two)]
    except ValueError:
        return False
    return bool(pairs[0] == pairs[1])


@pytest.mark.parametrize("golden", [PROOF, COSIGNED], ids=["signed", "cosigned"])
def test_a_change_of_a_proof_of_a_decision_is_found_and_named(golden: Path) -> None:
    keys = [parse_vkey((FOLDER / "log.vkey").read_text(encoding="ascii"))]
    document = json.loads(gzip.decompress(golden.read_bytes()))

    def open_it(raw: bytes) -> None:
        found = verify_dossier(raw, keys)
        if golden == COSIGNED:
            require_witnesses(found.checkpoint.note.encode(), [WITNESS.verifier], 1)

    for leaf in document["leaves"]:  # the large ones take long to be read again and again: those of the policies
        leaf["attachments"].pop("wasm", None)
        leaf["attachments"].pop("sources", None)
    raw = json.dumps(document).encode()
    open_it(raw)
    codes = _OF_PROOFS | {"cosignature_invalid", "witness_missing"}
    for altered in _alter_values(document):
        refused(lambda altered=altered: open_it(altered.raw), altered.name, *codes)  # type: ignore[misc]
        TRIED["proofs of decisions"] += 1
    first, second, *rest = document["leaves"]
    for name, leaves in {
        "a leaf is there twice": [first, second, second, *rest],
        "there is none": [],
        "two have exchanged their attachments": [
            first,
            {**second, "attachments": rest[0]["attachments"]},
            {**rest[0], "attachments": second["attachments"]},
            *rest[1:],
        ],
        "two have exchanged their paths": [{**first, "hashes": second["hashes"]}, second, *rest],
        "another comes first": [second, first, *rest],
    }.items():
        altered_file = json.dumps({**document, "leaves": leaves}).encode()
        refused(lambda raw=altered_file: open_it(raw), name, *codes)  # type: ignore[misc]
        TRIED["proofs of decisions"] += 1


# --- states ----------------------------------------------------------------------------------------------------------


def _state(store: Path) -> bytes:
    kept: list[Prefix] = []
    assert verify_store_file(store, KEYS, keep=kept.append).verified
    return render_state(kept[-1])


def test_a_change_of_the_state_of_a_verification_is_found_and_named(built: Path, other: Path) -> None:
    raw = _state(built)
    codes = NOTE_CODES | JSON_CODES | {"state_invalid", "frontier_invalid"}
    for altered in [*alter_bytes(raw), *_alter_values(json.loads(raw)), *alter_json(raw, _state(other))]:
        if _same_json(altered.raw, raw):
            continue
        refused(lambda altered=altered: parse_state(altered.raw, KEYS), altered.name, *codes)  # type: ignore[misc]
        TRIED["states of verifications"] += 1
    # a whole one of another log is signed, and the store does not go on from it
    prefix = parse_state(_state(other), KEYS)
    result = verify_store_file(built, KEYS, prefix=prefix)
    assert not result.verified
    assert "fork" in result.kinds
    TRIED["states of verifications"] += 1


def test_a_change_of_a_witnesss_state_is_found_and_named(built: Path, other: Path, tmp_path: Path) -> None:
    with open_readonly(built) as reader:
        write_tiles(tmp_path / "tiles", reader, KEYS)
    newest = (tmp_path / "tiles" / "checkpoint").read_bytes()
    state = tmp_path / "w1.state"

    def cosign() -> bytes:
        return cosign_checkpoint(
            newest,
            log_keys=KEYS,
            cosigner=WITNESS,
            state=state,
            prove=prove_by_tiles(tmp_path / "tiles", newest),
            now=START + timedelta(hours=1),
        ).note

    raw = WITNESS.cosign(saved_notes(built)[0][1], moment=START)
    state.write_bytes(raw)
    honest = cosign()
    for altered in [*alter_bytes(raw), *alter_lines(raw)]:
        state.write_bytes(altered.raw)
        try:
            cosigned = cosign()
        except PlacetError as exc:
            assert exc.code in {"state_invalid", "clock_back", "too_large"}, (altered.name, exc.code)
            assert state.read_bytes() == altered.raw, "the evidence stays"
        else:
            assert altered.name in {"line 4 is there twice", "lines 4 and 5 are exchanged", "line 5 is there twice"}
            assert cosigned == honest
        TRIED["states of witnesses"] += 1
    state.write_bytes(WITNESS.cosign(saved_notes(other)[-1][1], moment=START))
    refused(cosign, "it is that of another history", "fork", "rolled_back", "proof_invalid")
    TRIED["states of witnesses"] += 1
