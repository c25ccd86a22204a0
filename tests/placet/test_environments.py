"""The Namespace of a request, and what the API server's answers and its silence come to."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet.assemble import build_namespaces
from placet.config import load_config
from placet.deadline import Deadline
from placet.decision import Decision
from placet.environments import (
    EnvironmentCheck,
    EnvironmentDisagrees,
    KubernetesNamespaces,
    NamespaceUnavailable,
    NoNamespaces,
)
from placet.policy.data import load_policy_data
from placet.review import parse_review
from tests.simulators.answers import Answer, Server, found, hang_up, reply
from tests.simulators.desk import NOON
from tests.simulators.gate import example, review
from tests.simulators.spaces import LABEL, NamespaceStore

HOME = "ml-serving"
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME, "labels": {LABEL: "staging"}}}


@pytest.fixture
def namespaces(kubeconfig: str) -> KubernetesNamespaces:
    return KubernetesNamespaces(kubeconfig)


def asked_on(path: str, **request: Any) -> Decision:
    asked = review(example())
    asked["request"] |= request
    return Decision(parse_review(json.dumps(asked).encode()), path, NOON, allowed=False)


def check(store: NamespaceStore, path: str, *, text: str = "", folder: Path | None = None) -> Decision:
    """What both steps make of a review of ``ml-serving`` on a path."""
    file = None
    if folder is not None:
        file = folder / "data.yaml"
        file.write_text(text, encoding="utf-8")
    decision = asked_on(path)
    for _, act in EnvironmentCheck(load_policy_data(file), store).steps:
        decision = act(decision, Deadline(5))
    return decision


def test_a_namespace_is_read_as_it_is_stored_and_each_time_anew(
    server: Server, namespaces: KubernetesNamespaces
) -> None:
    server.answers = [found(NAMESPACE)]
    assert namespaces.asked
    assert [namespaces.load(HOME, timeout_s=5) for _ in range(2)] == [NAMESPACE, NAMESPACE]
    # resourceVersion in the query would allow an answer from a copy
    assert server.asked == [f"/api/v1/namespaces/{HOME}"] * 2


def test_one_that_is_not_there_is_none(server: Server, namespaces: KubernetesNamespaces) -> None:
    server.answers = [found({"kind": "Status", "code": 404}, 404)]
    assert namespaces.load(HOME, timeout_s=5) is None


@pytest.mark.parametrize(
    "answer",
    [found({"kind": "Status"}, 403), found({}, 500), found({}, 429), reply(200, b"<html>"), found([]), hang_up],
)
def test_any_other_answer_is_none_that_counts_and_names_the_right_that_is_missing(
    server: Server, namespaces: KubernetesNamespaces, answer: Answer
) -> None:
    server.answers = [answer]
    with pytest.raises(NamespaceUnavailable) as caught:
        namespaces.load(HOME, timeout_s=5)
    assert caught.value.code == "namespace_unavailable"
    assert "may get namespaces" in caught.value.hint
    assert "secret" not in f"{caught.value}{caught.value.hint}"


def test_silence_ends_with_the_time_that_is_left(server: Server, namespaces: KubernetesNamespaces) -> None:
    def wait(_: BaseHTTPRequestHandler) -> None:
        server.released.wait(30)

    server.answers = [wait]
    with pytest.raises(NamespaceUnavailable):
        namespaces.load(HOME, timeout_s=0.2)
    assert len(server.asked) == 1


def test_without_time_nobody_is_asked() -> None:
    store = NamespaceStore()
    look = EnvironmentCheck(load_policy_data(None), store).steps[0][1]
    with pytest.raises(NamespaceUnavailable, match="no time is left"):
        look(asked_on("staging"), Deadline(0))
    assert store.looked_up == []


def test_where_nobody_is_to_be_asked_the_path_is_believed() -> None:
    nobody = NoNamespaces()
    assert not nobody.asked
    assert EnvironmentCheck(load_policy_data(None), nobody).steps == ()
    with pytest.raises(NamespaceUnavailable):
        nobody.load(HOME, timeout_s=1)


def test_the_setting_decides_who_is_asked(tmp_path: Path) -> None:
    text = "cluster: c\nkeyring: {file: k, roots: [r], threshold: 1}\nrecord: {store: s, log_key: l}\n"
    for more, kind in (
        ("", NoNamespaces),
        ("environments: none\n", NoNamespaces),
        ("environments: lookup\n", KubernetesNamespaces),
    ):
        file = tmp_path / "placet.yaml"
        file.write_text(text + more, encoding="utf-8")
        assert isinstance(build_namespaces(load_config(file)), kind)


def test_what_was_found_is_kept_with_the_decision() -> None:
    store = NamespaceStore()
    store.put(HOME, "staging")
    place = check(store, "staging").place
    assert place is not None
    assert (place.environment, place.label) == ("staging", "staging")
    assert place.uid


@pytest.mark.parametrize("label", [None, "", "prod"])
def test_the_default_environment_is_the_operators_to_name(tmp_path: Path, label: str | None) -> None:
    store = NamespaceStore()
    store.put(HOME, label)
    text = "namespaces: {default_environment: staging}"
    assert check(store, "staging", text=text, folder=tmp_path).place is not None
    with pytest.raises(EnvironmentDisagrees) as caught:
        check(store, "production", text=text, folder=tmp_path)
    assert "belongs to staging (it has" in str(caught.value)
    assert "/v1/admit/production" in caught.value.hint


def test_an_environment_of_ones_own_is_one_like_the_others(tmp_path: Path) -> None:
    store = NamespaceStore()
    store.put(HOME, "canary")
    production = load_policy_data(None).value["environments"]["production"]
    text = json.dumps({"environments": {"canary": production}})
    assert check(store, "canary", text=text, folder=tmp_path).place is not None
    with pytest.raises(EnvironmentDisagrees):
        check(store, "production", text=text, folder=tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(label=st.none() | st.text(max_size=63) | st.sampled_from(["production", "staging", "development"]))
def test_one_path_alone_is_right_whatever_the_label(label: str | None) -> None:
    store = NamespaceStore()
    store.put(HOME, label)
    right = []
    for path in load_policy_data(None).value["environments"]:
        try:
            check(store, path)
        except EnvironmentDisagrees:
            continue
        right.append(path)
    assert right == [label if label in {"production", "staging", "development"} else "production"]
