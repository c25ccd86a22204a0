"""Rights that the gate's account needs to show what it records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from placet.config_publish import ExportConfig, PublishConfig
from placet.doctor.access import find_grants
from placet.doctor.findings import Code
from placet.doctor.publishing import check_publishing, needed_rights
from tests.manifests.charts import BASE, NAMESPACE, merged, objects, template
from tests.placet.doctor.samples import deployment

PUBLISH = PublishConfig(namespace="placet-decisions", events=True, decisions=10, max_config_maps=500, reports=True)
EXPORT = ExportConfig(namespace="placet-decisions", config_map="placet-checkpoint", kubeconfig=None)
OFF = (PublishConfig("", True, 10, 500, True), ExportConfig("", "placet-checkpoint", None))  # noqa: FBT003
VALUES = {"record": {"publish": {"enabled": True}, "export": {"enabled": True}}}


def missing(rendered: list[dict[str, Any]], rights: Any) -> list[str]:
    """What is said of the chart's gate."""
    of = {kind: [one for one in rendered if one["kind"] == kind] for kind in ("ClusterRole", "Role")}
    bound = {kind: [one for one in rendered if one["kind"] == f"{kind}Binding"] for kind in of}
    grants = list(
        find_grants(
            cluster_roles=of["ClusterRole"],
            roles=of["Role"],
            cluster_bindings=bound["ClusterRole"],
            bindings=bound["Role"],
        )
    )
    gate = deployment()
    gate["spec"]["template"]["spec"]["serviceAccountName"] = "placet"
    found = list(check_publishing([(NAMESPACE, gate)], grants, rights))
    assert {one.code for one in found} <= {Code.PUBLISHING_FORBIDDEN}
    return [one.sentence for one in found]


def test_the_chart_gives_every_right_that_is_needed_and_only_when_it_is(tmp_path: Path) -> None:
    rights = needed_rights(PUBLISH, EXPORT)
    assert missing(objects(template(merged(BASE, VALUES), tmp_path)), rights) == []
    (said,) = missing(objects(template(BASE, tmp_path)), rights)
    assert "get, create, update leases.coordination.k8s.io in placet-decisions" in said
    assert "get, create, update events" in said
    assert "reports.openreports.io" in said


def test_a_right_for_one_namespace_is_not_one_for_all(tmp_path: Path) -> None:
    rendered = objects(template(merged(BASE, VALUES), tmp_path))
    for one in rendered:
        if one["kind"] == "ClusterRoleBinding" and one["metadata"]["name"].endswith("-publish"):
            one["kind"] = "RoleBinding"
            one["metadata"]["namespace"] = "ml"
    (said,) = missing(rendered, needed_rights(PUBLISH, EXPORT))
    assert "get, create, update events" in said


def test_nothing_is_needed_where_nothing_is_published_here() -> None:
    assert needed_rights(*OFF) == ()
    assert needed_rights(OFF[0], ExportConfig("witness", "placet-checkpoint", Path("other"))) == ()
