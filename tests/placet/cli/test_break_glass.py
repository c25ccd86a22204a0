"""Break-glass as people type it: two persons sign, others don't, and somebody else reviews."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.gateprocess import Team

EXAMPLE = Path(__file__).parents[3] / "manifests" / "examples" / "llama-deployment.yaml"
PLACE = ("-f", "deploy.yaml", "-e", "production", "--yes")
WHY = ("--reason", "llama answers with garbage")
PEOPLE = {"gina": "break-glass", "hugo": "break-glass", "rita": "break-glass-review"}


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Team:
    team = Team.found(tmp_path_factory.mktemp("team"))
    for name, role in PEOPLE.items():
        team.run("keys", "generate", "--out", f"keys/{name}.key", "--no-passphrase")
        team.run("keyring", "add", f"{name}@example.com", "--person", name, "--key", f"keys/{name}.pub")
        grant = ("--role", role, "--environment", "production", "--max-risk", "critical")
        team.run("keyring", "grant", f"{name}@example.com", *grant)
    team.run("keyring", "renew")
    for root in ("root-1", "root-2"):
        team.run("keyring", "sign", "--key", f"keys/{root}.key")
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    return team


@pytest.fixture
def team(founded: Team, tmp_path: Path) -> Team:
    folder = tmp_path / "team"
    shutil.copytree(founded.folder, folder)
    return Team(folder)


def sign(team: Team, person: str, *more: str, expect: int = 0) -> str:
    done = team.run("break-glass", "sign", *PLACE, "--key", f"keys/{person}.key", *more, expect=expect)
    return done.stderr + done.stdout


def manifest(team: Team) -> str:
    return (team.folder / "deploy.yaml").read_text(encoding="utf-8")


def test_two_persons_sign_one_token_and_a_third_reviews_it(team: Team) -> None:
    assert "still missing: the signature of a second person" in sign(team, "gina", *WHY)
    assert "would be refused" in team.run("plan", *PLACE[:4], expect=1).stdout
    assert "it would be let in until" in sign(team, "hugo")
    planned = team.run("plan", *PLACE[:4])
    assert "break-glass: let in by token" in planned.stdout
    assert "without approvals; a review is due by" in planned.stdout
    told = json.loads(team.run("plan", *PLACE[:4], "-o", "json").stdout)["decisions"][0]
    assert told["break_glass"]["by"] == "token"
    done = team.run("break-glass", "review", *PLACE, "--conclusion", "right", "--key", "keys/rita.key")
    assert "placet.dev/break-glass-review" in manifest(team)
    assert "because     llama answers with garbage" in done.stderr


def test_a_token_needs_a_reason(team: Team) -> None:
    assert "needs a reason" in sign(team, "gina", expect=2)
    assert "needs a reason" in sign(team, "gina", "--reason", "  ", expect=2)


@pytest.mark.parametrize("person", ["tara", "rita", "pipeline"])
def test_who_may_not_break_the_glass_signs_nothing(team: Team, person: str) -> None:
    before = manifest(team)
    assert "this signature would not count" in sign(team, person, *WHY, expect=2)
    assert manifest(team) == before


def test_one_person_signs_once(team: Team) -> None:
    sign(team, "gina", *WHY)
    assert "you have signed this token already" in sign(team, "gina", expect=2)


def test_what_the_first_has_signed_is_not_changed_by_the_second(team: Team) -> None:
    sign(team, "gina", *WHY)
    assert "what it says is settled" in sign(team, "hugo", "--reason", "mine", expect=2)
    assert "what it says is settled" in sign(team, "hugo", "--minutes", "10", expect=2)


def test_no_token_is_longer_than_the_policy_gives(team: Team) -> None:
    assert "for 240 minutes at most" in sign(team, "gina", *WHY, "--minutes", "241", expect=2)


def test_who_signed_the_token_does_not_review_it(team: Team) -> None:
    team.run("keyring", "grant", "gina@example.com", "--role", "break-glass-review", "--environment", "production",
             "--max-risk", "critical")  # fmt: skip
    team.run("keyring", "renew")
    for root in ("root-1", "root-2"):
        team.run("keyring", "sign", "--key", f"keys/{root}.key")
    sign(team, "gina", *WHY)
    sign(team, "hugo")
    review = ("break-glass", "review", *PLACE, "--conclusion", "right", "--key")
    assert "signed the break-glass token" in team.run(*review, "keys/gina.key", expect=2).stderr
    assert "has no break-glass-review grant" in team.run(*review, "keys/tara.key", expect=2).stderr


def test_nothing_is_reviewed_where_nothing_was_let_in(team: Team) -> None:
    review = ("break-glass", "review", *PLACE, "--conclusion", "right", "--key", "keys/rita.key")
    assert "there is no break-glass token on" in team.run(*review, expect=2).stderr


def test_a_token_for_what_it_does_not_stand_in_for_is_not_made(team: Team) -> None:
    text = manifest(team)
    loose = text.replace("@sha256:8c1f0d7a5b3e4c2d9f6a7b8c1d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6", ":latest")
    assert loose != text
    (team.folder / "deploy.yaml").write_text(loose, encoding="utf-8")
    assert "does not stand in for images.pinned" in sign(team, "gina", *WHY, expect=2)
