"""Autoscaler ceilings."""

from __future__ import annotations

from typing import Any

import pytest

from placet.cluster import (
    Ceiling,
    ClusterUnavailable,
    KubernetesCluster,
    ManifestCluster,
    NoAutoscalers,
    UnknownCluster,
)

WHO = {"namespace": "ml", "kind": "Deployment", "name": "llama"}


def autoscaler(limit: Any, *, name: str = "llama", namespace: str = "ml", kind: str = "Deployment") -> dict[str, Any]:
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "any", "namespace": namespace},
        "spec": {"scaleTargetRef": {"kind": kind, "name": name}, "maxReplicas": limit},
    }


def test_nobody_to_ask_means_unknown() -> None:
    assert UnknownCluster().autoscaler_ceiling(**WHO) == Ceiling(known=False)


def test_an_operator_may_state_that_there_are_none() -> None:
    assert NoAutoscalers().autoscaler_ceiling(**WHO) == Ceiling(known=True)


def test_the_highest_autoscaler_of_exactly_this_workload_counts() -> None:
    cluster = ManifestCluster(
        [
            autoscaler(12),
            autoscaler(20),
            autoscaler(99, name="other"),
            autoscaler(99, namespace="elsewhere"),
            autoscaler(99, kind="StatefulSet"),
            {"kind": "Service", "metadata": {"name": "llama", "namespace": "ml"}},
        ]
    )
    assert cluster.autoscaler_ceiling(**WHO) == Ceiling(known=True, replicas=20)


@pytest.mark.parametrize("limit", [None, "20", True, 2.5])
def test_a_ceiling_that_is_no_number_is_unknown(limit: Any) -> None:
    assert ManifestCluster([autoscaler(limit)]).autoscaler_ceiling(**WHO) == Ceiling(known=False)


def test_a_kubeconfig_that_is_not_there_is_an_error_with_advice(tmp_path: Any) -> None:
    with pytest.raises(ClusterUnavailable) as caught:
        KubernetesCluster(str(tmp_path / "absent")).autoscaler_ceiling(**WHO)
    assert caught.value.code == "cluster_unavailable"
    assert caught.value.hint
