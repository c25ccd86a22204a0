"""A gate whose log has all that its decisions rest on; the policies are compiled once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from tests.simulators.cases import CaseDesk


@pytest.fixture(scope="package")
def engine() -> Iterator[EmbeddedEngine]:
    opened = EmbeddedEngine.default(load_policy_data(None))
    yield opened
    opened.close()


@pytest.fixture
def desk(tmp_path: Path, engine: EmbeddedEngine) -> Iterator[CaseDesk]:
    opened = CaseDesk.start(tmp_path, engine=engine)
    yield opened
    opened.log.close()
