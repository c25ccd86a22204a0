"""Names of persons in the record of a decision: sealed, told to whoever may know, proved, and gone once erased."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from placet.audit.person_keys import PersonKeys
from placet.audit.persons import SEALED, find_nonce, find_sealed
from placet.audit.record import SEALED_SCHEMA
from placet.audit.stores.file import open_readonly
from placet.canonical import parse_json
from placet.dossier.file import render_file, verify_file
from placet.dossier.judge import judge_case
from placet.dossier.verdict import Outcome
from placet.errors import TamperError
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from tests.simulators.cases import KEYS, ROLES, CaseDesk, index_of
from tests.simulators.gate import example, review

ALICE = "alice@example.org"


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    opened = EmbeddedEngine.default(load_policy_data(None))
    yield opened
    opened.close()


@pytest.fixture
def keys(tmp_path: Path) -> PersonKeys:
    (tmp_path / "persons").mkdir()
    (tmp_path / "persons.key").write_bytes(base64.b64encode(bytes(range(32))))
    return PersonKeys.open(tmp_path / "persons", tmp_path / "persons.key", writable=True)


@pytest.fixture
def desk(tmp_path: Path, engine: EmbeddedEngine, keys: PersonKeys) -> Iterator[CaseDesk]:
    opened = CaseDesk.start(tmp_path, engine=engine, persons=keys)
    yield opened
    opened.log.close()


def stored(desk: CaseDesk, index: int) -> tuple[bytes, dict[str, Any]]:
    with open_readonly(desk.store) as reader:
        raw = next(reader.leaves(index, index + 1)).raw_leaf
        return raw, parse_json(reader.attachment(index, "input") or b"null", max_bytes=1 << 20)


def asked_by(name: str, manifest: dict[str, Any], **terms: Any) -> dict[str, Any]:
    made = review(manifest, **terms)
    made["request"]["userInfo"]["username"] = name
    return made


def test_smoke(desk: CaseDesk, keys: PersonKeys) -> None:
    decision = desk.decide(asked_by("zoe@example.org", desk.approve(example(), *ROLES)))
    assert decision.allowed, decision.violations
    raw, document = stored(desk, index_of(decision))
    print(raw.decode())
    print(document)
