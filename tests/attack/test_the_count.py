"""The count of wrong allows can be other than zero: a gate that lets anything in is found out by the ledger alone."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from placet.review import parse_review
from tests.simulators.cluster import owned, pod, replica_set, review_of
from tests.simulators.gate import GateDesk, example, review
from tests.simulators.ledger import TALLY, Tally

Json = dict[str, Any]
ROLES = ("technical", "security", "business", "executive")


def let_in(desk: GateDesk, asked: Json, *, environment: str = "production") -> Tally:
    """What is counted when a gate allows this."""
    decision = desk.decide(asked, environment=environment)
    TALLY.take()
    request = parse_review(json.dumps(asked).encode())
    desk.ledger.count(replace(decision, allowed=True), request, environment)
    return TALLY.take()


def changed(manifest: Json, **server: Any) -> Json:
    other = copy.deepcopy(manifest)
    other["spec"]["template"]["spec"]["containers"][0] |= server
    return other


@pytest.mark.parametrize("server", [{"image": "busybox"}, {"command": ["sh"]}, {"args": [""]}, {"env": []}])
def test_content_that_nobody_signed_is_a_wrong_allow(desk: GateDesk, server: Json) -> None:
    signed = desk.approve(example(), *ROLES)
    assert let_in(desk, review(signed)).grounds == {"approved content": 1}
    for asked in (review(changed(signed, **server)), review(changed(signed, **server), old=signed)):
        counted = let_in(desk, asked)
        assert (counted.tried, counted.refused, len(counted.wrong)) == (1, 0, 1)


def test_what_was_never_signed_is_a_wrong_allow_unless_nothing_changes(desk: GateDesk) -> None:
    manifest = example()
    more = copy.deepcopy(manifest)
    more["spec"]["replicas"] += 1
    assert let_in(desk, review(manifest)).wrong == ["CREATE apps/v1 Deployment llama in 'ml-serving' of 'production'"]
    assert let_in(desk, review(manifest, old=manifest)).grounds == {"unchanged or fewer": 1}
    assert let_in(desk, review(manifest, old=more)).grounds == {"unchanged or fewer": 1}
    assert len(let_in(desk, review(more, old=manifest)).wrong) == 1
    assert len(let_in(desk, review(manifest, operation="CONNECT")).wrong) == 1


def test_an_environment_that_governs_models_alone_lets_in_what_names_none(desk: GateDesk) -> None:
    named, bare = example(), example()
    del bare["metadata"]["labels"]["placet.dev/model"]
    assert let_in(desk, review(bare), environment="development").grounds == {"no model": 1}
    assert len(let_in(desk, review(named), environment="development").wrong) == 1
    assert len(let_in(desk, review(bare, old=named), environment="development").wrong) == 1
    assert len(let_in(desk, review(bare)).wrong) == 1


def test_a_child_is_held_against_what_was_signed_and_not_against_its_owner(desk: GateDesk) -> None:
    parent = {**desk.approve(example(), *ROLES)}
    parent["metadata"]["uid"] = "1"
    made = replica_set(parent)
    made["metadata"]["uid"] = "2"
    child = pod(made)
    assert let_in(desk, review_of(child)).grounds == {"approved content": 1}
    child["spec"]["containers"][0]["command"] = ["sh"]
    assert len(let_in(desk, review_of(owned(child, made))).wrong) == 1


def test_a_test_can_name_another_ground(desk: GateDesk) -> None:
    desk.ledger.permit(example(), "a ground of its own")
    assert let_in(desk, review(example())).grounds == {"a ground of its own": 1}


def test_the_gates_own_answers_are_counted(desk: GateDesk) -> None:
    TALLY.take()
    desk.decide(review(example()))
    desk.decide(review(desk.approve(example(), *ROLES)))
    assert TALLY.take() == Tally(2, 1, {"approved content": 1}, [])
