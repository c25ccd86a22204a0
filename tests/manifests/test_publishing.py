"""What the chart lets the gate write, and only where it was told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.manifests.charts import BASE, merged, objects, one, refusal, template


def test_without_being_told_the_chart_gives_no_right_to_write(tmp_path: Path) -> None:
    rendered = objects(template(merged(BASE, {"canary": {"enabled": False}}), tmp_path))
    roles = [
        each
        for each in rendered
        if each["kind"] in {"ClusterRole", "Role"} and "helm.sh/hook" not in (each["metadata"].get("annotations") or {})
    ]
    assert {verb for role in roles for rule in role["rules"] for verb in rule["verbs"]} <= {"get", "list", "watch"}


def test_what_is_published_may_be_written_and_nothing_else(tmp_path: Path) -> None:
    def rights(**record: Any) -> dict[tuple[str, str], set[tuple[str, ...]]]:
        """Kind and namespace of the role -> group, resource, names and verbs."""
        found: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        for each in objects(template(merged(BASE, {"record": record}), tmp_path)):
            if each["kind"] in {"ClusterRole", "Role"} and each["metadata"]["name"].endswith(("-publish", "-export")):
                key = (each["kind"], each["metadata"].get("namespace", ""))
                found.setdefault(key, set()).update(
                    (rule["apiGroups"][0], resource, *rule.get("resourceNames", ()), *rule["verbs"])
                    for rule in each["rules"]
                    for resource in rule["resources"]
                )
        return found

    leases = {
        ("coordination.k8s.io", "leases", "create"),
        ("coordination.k8s.io", "leases", "placet-publisher", "get", "update"),
    }
    here = ("Role", "placet-decisions")
    written = ("get", "create", "update")
    assert rights(publish={"enabled": True}) == {
        ("ClusterRole", ""): {
            ("", "events", *written),
            ("openreports.io", "reports", *written),
            ("wgpolicyk8s.io", "policyreports", *written),
        },
        here: {*leases, ("", "configmaps", "get", "list", "create", "update", "delete")},
    }
    assert rights(publish={"enabled": True, "reports": False, "events": False, "decisions": 0}) == {here: leases}
    one_map = {("", "configmaps", "create"), ("", "configmaps", "placet-checkpoint", "get", "update")}
    assert rights(export={"enabled": True}) == {here: one_map}
    assert rights(export={"enabled": True, "namespace": "elsewhere"}) == {("Role", "elsewhere"): one_map}
    abroad = {"enabled": True, "namespace": "witness", "kubeconfigSecret": "other"}
    assert rights(export=abroad) == {}


def test_the_export_to_another_cluster_needs_a_namespace_of_it(tmp_path: Path) -> None:
    said = refusal(merged(BASE, {"record": {"export": {"enabled": True, "kubeconfigSecret": "other"}}}), tmp_path)
    assert "record.export.namespace is empty" in said


def test_what_is_published_and_exported_stands_in_the_configuration(tmp_path: Path) -> None:
    abroad = {"enabled": True, "namespace": "witness", "kubeconfigSecret": "other"}
    values = merged(BASE, {"record": {"publish": {"enabled": True, "decisions": 3}, "export": abroad}})
    rendered = template(values, tmp_path)
    config = yaml.safe_load(one(rendered, "ConfigMap", "placet-config")["data"]["placet.yaml"])["record"]
    assert (config["publish"]["namespace"], config["publish"]["decisions"]) == ("placet-decisions", 3)
    assert config["export"] == {
        "namespace": "witness",
        "config_map": "placet-checkpoint",
        "kubeconfig": "export.kubeconfig",
    }
    pod = one(rendered, "Deployment")["spec"]["template"]["spec"]
    projected = [
        item["path"]
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        for item in source.get("secret", {}).get("items", ())
    ]
    assert "export.kubeconfig" in projected
    assert pod["automountServiceAccountToken"] is True
    assert one(rendered, "Namespace", "placet-decisions")
