"""The tutorial for policy authors, told to its end: its files and commands in their order, and a real gate."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from placet.policy.bundle import load_bundle
from tests.e2e.gateprocess import Team
from tests.policies.programs import ROOT
from tests.simulators.gate import review
from tests.webhook.test_serve import post
from tools.docs import find_blocks, refresh

PAGE = ROOT / "docs" / "policy-authors.md"
TEAMS_OWN = {"our-policies/config", "our-policies/rules"}


@dataclass(frozen=True)
class Story:
    """What is left when the tutorial was gone through.

    Attributes:
        folder: it was empty.
        told: the section as the page has it.
        happened: the section with what the commands printed.
        before: what placet is installed from, before; and ``after``.
    """

    folder: Path
    told: str
    happened: str
    before: str
    after: str


def installed() -> str:
    """A digest of everything that ships."""
    files = (path for top in ("placet", "policies", "webhook", "scorer") for path in (ROOT / top).rglob("*"))
    kept = sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts)
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in kept)).hexdigest()


def section() -> str:
    page = PAGE.read_text("utf-8")
    found = re.search(r"^## Tutorial: .*?(?=^## )", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("tutorial")
    told, before = section(), installed()
    happened = refresh(told, folder, apart=True)
    return Story(folder, told, happened, before, installed())


def test_the_commands_print_what_the_page_shows(story: Story) -> None:
    assert story.happened == story.told, "run `make docs` and look at the difference"
    shown = [block for block in find_blocks(story.told) if block.is_run]
    assert len(shown) >= 6, "the story is told in commands"


def test_a_team_edits_two_folders_and_nothing_that_ships(story: Story) -> None:
    assert story.after == story.before
    written = {block.file for block in find_blocks(story.told) if block.file}
    assert {Path(name).parts[:2] for name in written} == {Path(name).parts for name in TEAMS_OWN} | {("deploy.yaml",)}
    assert {
        path.relative_to(story.folder).as_posix() for path in (story.folder / "our-policies").iterdir()
    } == TEAMS_OWN


def test_what_ships_is_all_there_in_the_bundle_with_the_rule_beside_it(story: Story) -> None:
    own, shipped = load_bundle(story.folder / "policies.d"), load_bundle()
    assert {rule.id for rule in own.rules} == {rule.id for rule in shipped.rules} | {"redteam.recent"}
    modules = own.load_modules()
    assert {name: text for name, text in modules.items() if "redteam" not in name} == shipped.load_modules()
    assert {name for name in own.files if name.startswith("defaults/")} == {
        name for name in shipped.files if name.startswith("defaults/")
    }


@pytest.fixture(scope="module")
def served(story: Story) -> Iterator[tuple[Team, str]]:
    team = Team(story.folder / "gate")
    with team.webhook() as address:
        yield team, address


def test_a_gate_refuses_by_the_rule_alone_and_admits_once_the_evidence_is_there(
    story: Story, served: tuple[Team, str]
) -> None:
    team, address = served
    without, complete = (
        yaml.safe_load((story.folder / name).read_text("utf-8")) for name in ("without-report.yaml", "deploy.yaml")
    )
    refused = post(team, address, review(without))
    assert refused["allowed"] is False
    message = refused["status"]["message"]
    assert re.findall(r"^- ([a-z_.]+):", message, re.MULTILINE) == ["redteam.recent"]
    assert "placet evidence make red_team_report" in message
    assert post(team, address, review(complete))["allowed"] is True
    (block,) = [block for block in find_blocks(story.told) if block.words[:2] == ("console", "served")]
    decision = re.search(r"^decision ([0-9a-f-]{36})", message, re.MULTILINE)
    assert decision is not None
    asked = block.body.replace("DECISION", decision[1])
    text = f"```console run apart volatile exit=1\n{asked}```\n"
    assert refresh(text, story.folder, apart=True) == text
