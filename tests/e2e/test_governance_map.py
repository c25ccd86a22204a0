"""Each part of the governance framework's map: refused by exactly its rule, and let in once what it asks for is there.

A real API server asks the real gate. The profile ``governance`` is in force, with a team's own values; the workload has
everything but one thing, which is then made with the commands that a person would type.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import timedelta

import pytest
import yaml

from placet.cli.clock import now_utc
from placet.evidence.commands import JUDGES
from placet.policy.profiles import load_profile
from tests.e2e.governance_cases import CASES
from tests.e2e.governance_map import EVIDENCE
from tests.e2e.governanceworld import DEPLOYER, MODEL, ON_CALL, PEOPLE, GovernanceWorld, compile_policies, governed

FREEZE = {"environments": ["production"], "from": "2020-01-01T00:00", "to": "2100-01-01T00:00", "timezone": "UTC"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GovernanceWorld]:
    with governed(tmp_path_factory.mktemp("team")) as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_by_exactly_its_rule_and_let_in_with_its_evidence(world: GovernanceWorld, name: str) -> None:
    case = CASES[name]
    world.draw("deploy", case.environment, *case.without)
    if case.worse:
        with world.ago(days=case.days, minutes=case.minutes):
            world.sign("deploy", case.worse)
    refused(world, case.rule, case.says, case.environment)
    if case.environment == "production":
        assert world.lacking("deploy") == set(case.items)
    world.attest("deploy", case.mended)
    admitted(world, case.environment)
    if case.environment == "production":
        assert world.lacking("deploy") == set()
    world.remove(case.environment)


# For the workload of these tests alone: the gate tries new policies aside, and takes none that weigh all otherwise.
ONCE = 'count([1 | input.workload.name == "llama"])'
NEXT = re.compile(r"next, by someone who may (attest|sign as) (\w+): placet (.*)")


def test_a_developer_gets_there_by_what_kubectl_prints(world: GovernanceWorld) -> None:
    """With nothing at all on the workload; each command that the refusal prints is typed, as a process of its own."""
    bare = world.draw("deploy", "production", *EVIDENCE, approved=False)
    create = ("create", "-n", "production", "-f", str(bare))
    first = world.plane.kubectl(*create, user=DEPLOYER, check=False)
    required = yaml.safe_load(load_profile("governance"))["environments"]["production"]["requires"]
    by_others = {"capacity.bound", "change.window", "promotion.staged"}
    named = set(re.findall(r"^- ([a-z.]+[a-z_]*): ", first.stderr, re.MULTILINE))
    assert named == {"approvals.required", *required} - by_others, first.stderr
    told = NEXT.findall(first.stderr)
    assert {kind for what, kind, _ in told if what == "attest"} == set(JUDGES.values())
    for _, kind, command in told:
        if kind in EVIDENCE:
            assert {word for word in command.split() if word[0] == "-"} >= {
                word for word in EVIDENCE[kind] if word[0] == "-"
            }
            world.team.run("evidence", *EVIDENCE[kind], "-f", bare.name, "--key", "keys/pipeline.key", "--write")
    second = world.plane.kubectl(*create, user=DEPLOYER, check=False)
    approvals = NEXT.findall(second.stderr)
    assert {what for what, _, _ in approvals} == {"sign as"}, second.stderr
    for _, role, command in approvals:
        typed = command.replace("MANIFEST", bare.name).replace("KEY", f"keys/{PEOPLE[role]}.key")
        world.team.run(*shlex.split(typed), "--yes")
    done = world.plane.kubectl(*create, user=DEPLOYER)
    assert done.stdout == "deployment.apps/llama created\n"
    world.remove("production")


def refused(world: GovernanceWorld, rule: str, says: str, environment: str = "production") -> None:
    answer = world.deploy("deploy", environment)
    assert answer.rules == {rule}, answer.message
    assert says in answer.message, answer.message


def admitted(world: GovernanceWorld, environment: str = "production", *, user: str = DEPLOYER) -> None:
    answer = world.deploy("deploy", environment, user=user)
    assert answer.admitted, answer.message


@pytest.fixture
def _afterwards(world: GovernanceWorld) -> Iterator[None]:
    """Nothing stays in the way of the next one."""
    yield
    for environment in ("production", "lab"):
        world.remove(environment)


@pytest.mark.usefixtures("_afterwards")
@pytest.mark.parametrize("role", ["technical", "security", "business"])
def test_an_approval_gate_opens_with_the_command_that_the_refusal_prints(world: GovernanceWorld, role: str) -> None:
    world.draw("deploy", "production")
    with world.edited("deploy") as manifest:
        del manifest["metadata"]["annotations"][f"placet.dev/approval.{role}"]
    answer = world.deploy("deploy", "production")
    assert answer.rules == {"approvals.required"}, answer.message
    (command,) = re.findall(r"next, by someone who may sign as (\w+): placet (.*)", answer.message)
    assert command[0] == role
    typed = command[1].replace("MANIFEST", "deploy.yaml").replace("KEY", f"keys/{PEOPLE[role]}.key")
    assert world.lacking("deploy") == {f"{role}_approval"}
    world.placet(*shlex.split(typed), "--yes")
    assert world.lacking("deploy") == set()
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_an_approval_of_last_quarter_no_longer_counts(world: GovernanceWorld) -> None:
    world.draw("deploy", "production")
    then = now_utc() - timedelta(days=31)
    world.approve_otherwise("deploy", "security", issued_at=then, not_before=then, expires=then + timedelta(days=30))
    refused(world, "approvals.required", "(expired)")
    world.approve("deploy", "production", "security")
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_an_approval_is_bound_to_what_it_approves(world: GovernanceWorld) -> None:
    world.draw("deploy", "production")
    subjects = world.approval("deploy", "security").subjects
    world.approve_otherwise("deploy", "security", subjects=subjects[:-1])
    refused(world, "approvals.binding", "the security approval does not name the model")
    world.approve("deploy", "production", "security")
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_one_person_does_not_stand_for_two_roles(world: GovernanceWorld) -> None:
    world.draw("deploy", "production")
    world.approve("deploy", "production", "security", by="tara")
    refused(world, "approvals.separation", "one person counts for one role")
    world.approve("deploy", "production", "security")
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_what_was_revoked_does_not_go_on(world: GovernanceWorld) -> None:
    world.draw("deploy", "production")
    world.approve("deploy", "production", "security")
    admitted(world)
    world.placet("revoke", world.approval("deploy", "security").approval_id, "--role", "security", "-e", "production",
                 "--key", "keys/sam.key", "--out", "revocations/")  # fmt: skip
    with world.edited("deploy") as manifest:
        manifest["metadata"]["labels"]["touched"] = "yes"
    refused(world, "approvals.revoked", "was revoked")
    world.approve("deploy", "production", "security")
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_an_approver_agrees_to_the_level(world: GovernanceWorld) -> None:
    world.draw("deploy", "production")
    world.approve_otherwise("deploy", "security", max_risk="medium")
    refused(world, "approvals.required", "covers risk up to medium, and the risk is high (risk_above)")
    world.approve("deploy", "production", "security")
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_the_risk_is_within_what_the_environment_takes(world: GovernanceWorld) -> None:
    world.draw("deploy", "lab", "model_bom", "coverage", "rollback_drill")
    refused(world, "risk.ceiling", "the risk is critical; lab takes no more than high", "lab")
    world.attest("deploy", "model_bom", "coverage", "rollback_drill")
    admitted(world, "lab")


@pytest.mark.usefixtures("_afterwards")
def test_an_image_is_named_by_its_digest(world: GovernanceWorld) -> None:
    world.draw("deploy", "lab")
    world.sign("deploy", ("attest", "--parameters", "7000000000", "--data-classification", "internal"))
    with world.edited("deploy") as manifest:
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        pinned = container["image"]
        container["image"] = "registry.example.com/serving/vllm-openai:v1"
    world.attest("deploy", "rollback_drill", "deployment_plan")
    world.approve("deploy", "lab", *PEOPLE)
    refused(world, "images.pinned", "is not named by digest", "lab")
    with world.edited("deploy") as manifest:
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = pinned
    world.attest("deploy", "rollback_drill", "deployment_plan")
    world.approve("deploy", "lab", *PEOPLE)
    admitted(world, "lab")


@pytest.mark.usefixtures("_afterwards")
def test_the_workload_says_which_model_it_serves(world: GovernanceWorld) -> None:
    world.draw("deploy", "lab")
    with world.edited("deploy") as manifest:
        version = manifest["metadata"]["annotations"].pop("placet.dev/model-version")
    answer = world.deploy("deploy", "lab")
    assert "model.identified: the workload has no annotation placet.dev/model-version" in answer.message
    # Nobody can approve what does not say what it serves, so no approval counts either; nothing else is lacking.
    assert answer.rules == {"model.identified", "approvals.required"}, answer.message
    told = world.placet("approve", "-f", "deploy.yaml", "-n", "lab", "-e", "lab", "--role", "security",
                        "--key", "keys/sam.key", "--yes", code=2)  # fmt: skip
    assert "Add the label placet.dev/model and the annotation placet.dev/model-version" in told
    with world.edited("deploy") as manifest:
        manifest["metadata"]["annotations"]["placet.dev/model-version"] = version
    admitted(world, "lab")


@pytest.mark.usefixtures("_afterwards")
def test_the_replicas_have_a_ceiling(world: GovernanceWorld) -> None:
    world.draw("deploy", "production")
    with world.edited("deploy") as manifest:
        manifest["spec"]["replicas"] = 101
    refused(world, "capacity.bound", "up to 101 replicas may run, the limit is 100")
    with world.edited("deploy") as manifest:
        manifest["spec"]["replicas"] = 100
    admitted(world)


def anew(world: GovernanceWorld, argument: str, model: str = MODEL) -> None:
    """Another content with everything on it for production but a word of the record."""
    world.draw("deploy", "production")
    with world.edited("deploy") as manifest:
        manifest["metadata"]["labels"]["placet.dev/model"] = model
        manifest["spec"]["template"]["spec"]["containers"][0]["args"].append(argument)
    world.attest("deploy", *EVIDENCE)
    world.approve("deploy", "production", *PEOPLE)


def stage(world: GovernanceWorld) -> None:
    """Admit the same content to staging."""
    world.write("staged", world.read("deploy"))
    world.approve("staged", "staging", *PEOPLE)
    answer = world.deploy("staged", "staging")
    assert answer.admitted, answer.message


@pytest.mark.usefixtures("_afterwards")
def test_staging_comes_before_production(world: GovernanceWorld) -> None:
    anew(world, "--seed=1")
    refused(world, "promotion.staged", "the record does not show this content admitted to staging")
    stage(world)
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_staging_has_it_for_the_soak_time(world: GovernanceWorld) -> None:
    anew(world, "--seed=2", model="llama-soaking")
    stage(world)
    refused(world, "promotion.staged", "24 hours are asked for")
    world.reload("deploy", "production", admits=True, limits={"models": {"llama-soaking": {"soak_hours": 0}}})
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_a_change_waits_for_its_window(world: GovernanceWorld) -> None:
    world.draw("deploy", "production")
    later = f"{now_utc() + timedelta(days=3):%A}".lower()
    world.reload("deploy", "production", admits=False, change={"windows": {"any-time": {"days": [later]}}})
    refused(world, "change.window", "no change window is open")
    assert "change" in world.lacking("deploy")
    world.reload("deploy", "production", admits=True)
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_a_freeze_holds_until_it_is_over(world: GovernanceWorld) -> None:
    world.draw("deploy", "production")
    world.reload("deploy", "production", admits=False, change={"freezes": {"year-end": FREEZE}})
    refused(world, "change.window", "the freeze year-end is in force")
    world.reload("deploy", "production", admits=True)
    admitted(world)


@pytest.mark.usefixtures("_afterwards")
def test_those_roll_back_who_may(world: GovernanceWorld) -> None:
    world.draw("deploy", "production")
    admitted(world)
    anew(world, "--seed=3")
    stage(world)
    admitted(world)
    world.draw("deploy", "production")
    refused(world, "rollback.authority", "dora@example.com is not among those who may roll back")
    admitted(world, user=ON_CALL)


@pytest.mark.usefixtures("_afterwards")
def test_a_score_that_the_policies_do_not_come_to_is_refused(world: GovernanceWorld) -> None:
    """Policies of another release that weigh otherwise: no workload can mend that, those who run the gate can."""
    world.draw("deploy", "production")
    settings = world.team.folder / "placet.yaml"
    before = settings.read_text(encoding="utf-8")
    sum_of = "score := sum([value | some value in points])"
    compile_policies(world.team.folder / "policies.d", "admission/lib/risk/risk.rego", sum_of, f"{sum_of} + {ONCE}")
    world.team.configure({"policy": {"bundle": "policies.d"}})
    world.wait_until("deploy", "production", admits=False)
    refused(world, "risk.assessed", "This is a fault of the gate or of its policy data, not of the workload")
    assert "risk" in world.lacking("deploy")
    settings.write_text(before, encoding="utf-8")
    world.wait_until("deploy", "production", admits=True)
    admitted(world)
