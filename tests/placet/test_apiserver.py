"""What the API server's answers, and its silence, come to."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from placet.apiserver import ApiServer, ClusterUnavailable
from placet.cluster import KubernetesCluster
from placet.parents import KubernetesParents, NoParents, ParentUnavailable
from tests.simulators.answers import Answer, Server, found, hang_up, reply

DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "llama"}}
WHO = {"api_version": "apps/v1", "kind": "Deployment", "namespace": "ml", "name": "llama"}


def test_an_object_is_found_where_it_is_called(server: Server, kubeconfig: str) -> None:
    server.answers = [found(DEPLOYMENT)]
    assert KubernetesParents(kubeconfig).find(**WHO, timeout_s=5) == DEPLOYMENT
    core = found({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {}})
    server.answers = [core]
    asked = {**WHO, "api_version": "v1", "kind": "ReplicationController", "name": "a/../b"}
    KubernetesParents(kubeconfig).find(**asked, timeout_s=5)
    assert server.asked == [
        "/apis/apps/v1/namespaces/ml/deployments/llama",
        "/api/v1/namespaces/ml/replicationcontrollers/a%2F..%2Fb",
    ]


def test_a_kind_of_the_registry_is_asked_for_by_the_plural_that_it_has_there(server: Server, kubeconfig: str) -> None:
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {}}
    server.answers = [found(rollout), found({**rollout, "kind": "Status"})]
    asked = {**WHO, "api_version": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts"}
    assert KubernetesParents(kubeconfig).find(**asked, timeout_s=5) == rollout
    assert server.asked == ["/apis/argoproj.io/v1alpha1/namespaces/ml/rollouts/llama"]
    with pytest.raises(ParentUnavailable, match="something else"):
        KubernetesParents(kubeconfig).find(**asked, timeout_s=5)


def test_the_token_of_the_kubeconfig_is_shown(server: Server, kubeconfig: str) -> None:
    seen: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("Authorization"))
        found(DEPLOYMENT)(handler)

    server.answers = [answer]
    KubernetesParents(kubeconfig).find(**WHO, timeout_s=5)
    assert seen == ["Bearer secret"]


def test_what_is_not_there_is_none(server: Server, kubeconfig: str) -> None:
    server.answers = [found({"kind": "Status", "code": 404}, 404)]
    assert KubernetesParents(kubeconfig).find(**WHO, timeout_s=5) is None


@pytest.mark.parametrize(
    "answer",
    [
        found({"kind": "Status"}, 403),
        found({"kind": "Status"}, 401),
        found({"kind": "Status"}, 500),
        found({"kind": "Status"}, 429),
        reply(302, b""),
        reply(200, b"<html>"),
        reply(200, b""),
        found([DEPLOYMENT]),
        found({**DEPLOYMENT, "kind": "DeploymentList"}),
        found({**DEPLOYMENT, "apiVersion": "apps/v1beta1"}),
        hang_up,
    ],
)
def test_any_other_answer_is_none_that_counts(server: Server, kubeconfig: str, answer: Answer) -> None:
    server.answers = [answer]
    with pytest.raises(ParentUnavailable) as caught:
        KubernetesParents(kubeconfig).find(**WHO, timeout_s=5)
    assert caught.value.code == "parent_unavailable"
    assert "secret" not in f"{caught.value}{caught.value.hint}"


def test_a_connection_that_was_closed_meanwhile_is_opened_again(server: Server, kubeconfig: str) -> None:
    server.answers = [hang_up, found(DEPLOYMENT)]
    assert KubernetesParents(kubeconfig).find(**WHO, timeout_s=5) == DEPLOYMENT
    assert len(server.asked) == 2


def test_silence_ends_with_the_time_that_is_left_and_is_not_asked_again(server: Server, kubeconfig: str) -> None:
    def wait(_: BaseHTTPRequestHandler) -> None:
        server.released.wait(30)

    server.answers = [wait]
    with pytest.raises(ParentUnavailable):
        KubernetesParents(kubeconfig).find(**WHO, timeout_s=0.2)
    assert len(server.asked) == 1


def test_no_time_left_asks_nobody(server: Server, kubeconfig: str) -> None:
    with pytest.raises(ParentUnavailable, match="no time"):
        KubernetesParents(kubeconfig).find(**WHO, timeout_s=0.0)
    assert server.asked == []


def test_nobody_listening_is_an_error_with_advice(server: Server, kubeconfig: str) -> None:
    server.http.server_close()
    with pytest.raises(ParentUnavailable) as caught:
        KubernetesParents(kubeconfig).find(**WHO, timeout_s=2)
    assert "deployments" in caught.value.hint


def test_a_kubeconfig_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnavailable):
        ApiServer(str(tmp_path / "absent")).get("/version", timeout_s=1, hint="")


def test_where_nobody_is_to_be_asked_nobody_is() -> None:
    assert not NoParents().asked
    with pytest.raises(ParentUnavailable) as caught:
        NoParents().find(**WHO, timeout_s=1)
    assert caught.value.code == "parents_not_looked_up"


@pytest.mark.parametrize("answer", [{}, {"items": None}, {"items": ["x"]}, {"items": {}}])
def test_autoscalers_that_are_no_list_are_unknown(server: Server, kubeconfig: str, answer: Any) -> None:
    server.answers = [found(answer)]
    with pytest.raises(ClusterUnavailable):
        KubernetesCluster(kubeconfig).autoscaler_ceiling(namespace="ml", kind="Deployment", name="llama")


def test_autoscalers_of_the_namespace_are_read(server: Server, kubeconfig: str) -> None:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "llama"}, "maxReplicas": 12}
    server.answers = [found({"items": [{"spec": spec}]})]
    asked = KubernetesCluster(kubeconfig).autoscaler_ceiling(namespace="ml", kind="Deployment", name="llama")
    assert asked.replicas == 12
    assert server.asked == ["/apis/autoscaling/v2/namespaces/ml/horizontalpodautoscalers"]
