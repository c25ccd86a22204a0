"""What an OPA server decided is judged again from the record alone, by the same policies as WebAssembly."""

from __future__ import annotations

import copy
import json
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner

from placet.cli import root
from placet.dossier.verdict import Outcome
from placet.policy.data import load_policy_data
from placet.policy.opa import OpaEngine
from tests.policies.programs import running_opa
from tests.simulators.cases import ROLES, CaseDesk, index_of
from tests.simulators.gate import example, review


def test_decisions_of_an_opa_server_replay_to_the_same(tmp_path: Path) -> None:
    with running_opa() as address, closing(OpaEngine(address, load_policy_data(None))) as engine:
        engine.prepare()
        desk = CaseDesk.start(tmp_path, engine=engine)
        allowed = desk.decide(review(desk.approve(copy.deepcopy(example()), *ROLES)))
        refused = desk.decide(review(example()))
    assert (allowed.allowed, refused.allowed) == (True, False)
    for decision in (allowed, refused):
        assert decision.recorded is not None
        policy = decision.recorded.leaf["policy"]
        assert (policy["engine"], policy["engine_version"]) == ("opa", engine.version)
        judged = desk.judge(desk.prove(decision))
        assert judged.verdict.outcome is Outcome.PROVED, judged.verdict.findings
        assert judged.answer is not None
        assert judged.answer.allowed is decision.allowed
    desk.log.close()
    asked = ["audit", "replay", str(index_of(refused)), "--store", str(desk.store), "-o", "json"]
    done = CliRunner().invoke(root, asked, catch_exceptions=False)
    value = json.loads(done.stdout)
    assert (done.exit_code, value["outcome"]) == (0, "proved")
    assert value["recorded"] == value["replayed"]
    assert value["recorded"]["violations"]
