"""What a candidate says to a recorded input, and when its answer is none to what was recorded."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from placet.canonical import render_canonical
from placet.errors import EngineError
from placet.policy.bundle import Bundle, load_bundle, shipped_bundle
from placet.policy.data import load_policy_data
from placet.policy.document import INPUT_SCHEMA, render_document
from placet.policy.upgrade import upgrade_document
from placet.rehearsal.candidate import Candidate, CandidateJudge, Opinion
from tests.policies.documents import passing_request
from tests.policies.programs import POLICIES
from tools import bundle

Json = dict[str, Any]
V1: Final = "placet.dev/policy-input/v1"
V2: Final = "placet.dev/policy-input/v2"
MORE: Final = ("calendar", "evidence", "evidence_rejected", "history", "replicas", "requester_groups")
MAIN: Final = Path("admission/main/main.rego")
RULE: Final = Path("admission/rules/images/pinned/pinned.rego")


def build(folder: Path, file: Path, change: Mapping[str, str]) -> Bundle:
    """The policies with something in a file replaced; each pattern must be there."""
    policies = folder / "policies"
    shutil.copytree(POLICIES, policies)
    text = (policies / file).read_text("utf-8")
    for old, new in change.items():
        text, count = re.subn(old, new, text)
        assert count
    (policies / file).write_text(text, "utf-8")
    for name, content in bundle.build(bundle.find_opa(), policies).items():
        (folder / "bundle" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "bundle" / name).write_bytes(content)
    return load_bundle(folder / "bundle")


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Policies that know version 2 of the input alone."""
    return build(tmp_path_factory.mktemp("later"), MAIN, {r"policy-input/v\d": "policy-input/v2"})


def old_input() -> Json:
    """What a gate of the first release recorded."""
    return {**{name: value for name, value in passing_request().items() if name not in MORE}, "schema": V1}


def ask(made: Bundle, document: Json) -> Opinion:
    return CandidateJudge(Candidate.of(made, load_policy_data(None))).judge(render_canonical(document), document)


def test_an_older_input_is_judged_with_nothing_known_and_its_answer_is_marked(later: Bundle) -> None:
    opinion = ask(later, old_input())
    assert (opinion.incomparable, opinion.unknown) == ("older_input", MORE)
    assert opinion.decision is not None
    assert opinion.decision.allowed


def test_a_candidate_is_asked_once_whether_it_knows_a_version(later: Bundle) -> None:
    judge = CandidateJudge(Candidate.of(later, load_policy_data(None)))
    document = old_input()
    first, second = (judge.judge(render_canonical(document), document) for _ in range(2))
    assert first == second


def test_a_newer_input_is_never_made_older(tmp_path: Path) -> None:
    older = build(tmp_path, MAIN, {r"policy-input/v\d": "policy-input/v1"})
    upgraded = upgrade_document(old_input())
    assert upgraded is not None
    opinion = ask(older, dict(upgraded.document))
    assert (opinion.incomparable, opinion.unknown) == ("schema_unknown", ())
    assert not opinion.allowed


def test_an_upgrade_says_that_nothing_is_known_and_changes_nothing_else() -> None:
    document = old_input()
    before = copy.deepcopy(document)
    upgraded = upgrade_document(document)
    assert upgraded is not None
    assert document == before
    assert upgraded.unknown == MORE
    assert {name: value for name, value in upgraded.document.items() if name not in MORE} == {**before, "schema": V2}
    assert upgraded.document["history"] == {"known": False, "admitted": []}
    assert upgraded.document["replicas"] == {"known": False, "ceiling": 0}


def test_what_a_document_says_already_is_not_unknown() -> None:
    upgraded = upgrade_document({**old_input(), "evidence": [{"kind": "security_scan"}]})
    assert upgraded is not None
    assert "evidence" not in upgraded.unknown
    assert upgraded.document["evidence"] == [{"kind": "security_scan"}]


def test_every_upgrade_ends_in_the_version_that_ships_and_is_of_its_schema() -> None:
    document: Mapping[str, Any] = old_input()
    while document["schema"] != INPUT_SCHEMA:
        upgraded = upgrade_document(document)
        assert upgraded is not None, f"there is no way from {document['schema']} to {INPUT_SCHEMA}"
        document = upgraded.document
    render_document(document)


def test_an_unknown_version_has_no_next_one() -> None:
    for schema in ("", "placet.dev/policy-input/v9", None, 7):
        assert upgrade_document({"schema": schema}) is None


def test_what_the_guard_refuses_for_its_data_is_no_answer_about_the_workload() -> None:
    data = load_policy_data(None)
    request = passing_request()
    for value, code in (
        ({**data.value, "schema": "other"}, "data_unknown"),
        ({**data.value, "kinds": {}}, "data_unknown"),
    ):
        judge = CandidateJudge(Candidate.of(shipped_bundle(), replace(data, value=value)))
        opinion = judge.judge(render_canonical(request), request)
        assert (opinion.incomparable, opinion.allowed) == (code, False)


def test_an_environment_that_the_candidate_does_not_have_is_a_refusal() -> None:
    opinion = ask(shipped_bundle(), {**passing_request(), "environment": "moon"})
    assert (opinion.incomparable, opinion.allowed) == ("", False)
    assert opinion.codes == ("admission.main/environment_unknown",)


def test_policies_that_give_no_decision_refuse_with_a_fault_and_judge_the_next_input(tmp_path: Path) -> None:
    """A candidate that answers about another request for one model, as a gate would read it."""
    silent = build(tmp_path, MAIN, {'"uid": input.uid,': '"uid": concat("", [input.uid, odd]),', r"\Z": ODD})
    judge = CandidateJudge(Candidate.of(silent, load_policy_data(None)))
    good, odd = passing_request(), {**passing_request(), "requester": "odd"}
    for document, allowed in ((good, True), (odd, False), (good, True)):
        opinion = judge.judge(render_canonical(document), document)
        assert opinion.allowed is allowed
        assert bool(opinion.fault) is not allowed
        assert ("engine_other_request" in opinion.fault) is not allowed


ODD: Final = '\ndefault odd := ""\n\nodd := "x" if input.requester == "odd"\n'


def test_the_bundle_must_be_that_of_its_manifest() -> None:
    honest = Candidate.of(shipped_bundle(), load_policy_data(None))
    with pytest.raises(EngineError) as caught:
        CandidateJudge(replace(honest, wasm=honest.wasm + b"\0"))
    assert caught.value.code == "bundle_invalid"
    assert json.dumps(honest.name)
