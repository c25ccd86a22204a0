"""A gate for each test; the policies are compiled once. Every review is counted, and every allow needs a ground."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from placet.parents import NoParents, Parents
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from tests.simulators.alterations import TRIED as ALTERED
from tests.simulators.cluster import ObjectStore
from tests.simulators.gate import GateDesk
from tests.simulators.ledger import TALLY, Tally

GROUPS: Final[dict[str, list[Tally]]] = {}


@pytest.fixture(scope="session")
def engine() -> Iterator[EmbeddedEngine]:
    opened = EmbeddedEngine.default(load_policy_data(None))
    yield opened
    opened.close()


@pytest.fixture
def store() -> ObjectStore:
    """The objects that the cluster holds; a file whose gate looks parents up in it says so by ``parents``."""
    return ObjectStore()


@pytest.fixture
def parents() -> Parents:
    return NoParents()


@pytest.fixture
def desk(tmp_path: Path, engine: EmbeddedEngine, parents: Parents) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path, engine=engine, parents=parents)
    yield opened
    opened.log.close()


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test whose gate lets something in on no ground fails, whatever the test looked at."""
    TALLY.take()
    yield
    taken = TALLY.take()
    GROUPS.setdefault(request.path.stem.removeprefix("test_").replace("_", " "), []).append(taken)
    assert taken.wrong == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """``make attack``: how much was tried, and on which grounds anything came in."""
    if not GROUPS:
        return  # the processes of xdist count for themselves
    terminalreporter.section("attacks")
    for name, count in sorted(ALTERED.items()):
        terminalreporter.write_line(f"{name:<26} {count:>6} tried")
    for name, tallies in sorted(GROUPS.items()):
        tried, refused = sum(one.tried for one in tallies), sum(one.refused for one in tallies)
        if not tried:
            continue
        wrong = sum(len(one.wrong) for one in tallies)
        grounds = sum((Counter(one.grounds) for one in tallies), Counter[str]())
        shown = ", ".join(f"{count} {ground}" for ground, count in grounds.most_common())
        told = f" ({shown})" if shown else ""
        terminalreporter.write_line(
            f"{name:<26} {tried:>6} tried {refused:>6} refused {tried - refused - wrong:>5} allowed{told}"
        )
    every = [one for tallies in GROUPS.values() for one in tallies]
    wrong_allows = [sentence for one in every for sentence in one.wrong]
    for sentence in wrong_allows:
        terminalreporter.write_line(f"WRONG ALLOW: {sentence}", red=True)
    if ALTERED:
        terminalreporter.write_line(f"changes and crashes of the record tried: {sum(ALTERED.values())}")
    terminalreporter.write_line(f"cases tried: {sum(one.tried for one in every)}")
    terminalreporter.write_line(f"wrong allows: {len(wrong_allows)}")
