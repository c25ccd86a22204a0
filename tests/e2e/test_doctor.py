"""`placet doctor` on a real API server with the chart installed: silent on a healthy one, and not on any other."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.chartcluster import CONFIGURATIONS, MODELS, ROOT, SYSTEM, TIMEOUT_S, ChartCluster
from tests.e2e.processes import poll_until

OURS = f"{CONFIGURATIONS}/placet"
READER, LOOKER = "rita@example.com", "luke@example.com"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChartCluster]:
    with ChartCluster.started(tmp_path_factory.mktemp("team")) as cluster:
        cluster.make_system()
        cluster.install()
        cluster.plane.kubeconfig_for(LOOKER)
        text = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
        role = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
        cluster.plane.api.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
        cluster.plane.grant(LOOKER, role["metadata"]["name"])
        yield cluster


def examine(cluster: ChartCluster, *more: str, user: str = "admin", expect: int) -> list[dict[str, Any]]:
    kubeconfig = str(cluster.plane.kubeconfig_path(user))
    done = cluster.team.run("doctor", "--kubeconfig", kubeconfig, "-o", "json", *more, expect=expect)
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return found


def faults(found: list[dict[str, Any]]) -> set[str]:
    return {one["code"] for one in found if one["severity"] != "note"}


def test_a_healthy_installation_has_no_holes_and_no_risks(installed: ChartCluster) -> None:
    found = examine(installed, "--config", str(installed.folder / "placet.yaml"), expect=0)
    assert faults(found) == set(), found
    # placet.yaml is for the folder; the chart's own configuration looks
    assert {"no_disruption_budget", "environment_believed"} <= {one["code"] for one in found}
    assert (
        "0 holes, 0 risks, 0 unknown"
        in installed.team.run("doctor", "--kubeconfig", str(installed.plane.kubeconfig_path()), expect=0).stdout
    )


def test_what_was_found_is_put_on_record_for_who_asks_years_later(installed: ChartCluster) -> None:
    team = installed.team
    options = ("--kubeconfig", str(installed.plane.kubeconfig_path()), "--config", "placet.yaml", "--put-on-record")
    done = team.run("doctor", *options, "-o", "json", expect=0)
    (told,) = json.loads(team.run("audit", "list", "--type", "scan", "-o", "json").stdout)["records"]
    assert done.stderr.endswith(f"leaf {told['index']} of the record has what was found\n")
    assert told["record"]["counts"] == json.loads(done.stdout)["counts"]
    assert "note/no_disruption_budget" in told["record"]["codes"]
    key = (team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
    team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)


@contextlib.contextmanager
def configuration(cluster: ChartCluster, change: Any) -> Iterator[None]:
    """The webhook configuration changed by hand, and put back."""
    before = cluster.plane.api.get(OURS)
    changed = json.loads(json.dumps(before))
    change(changed["webhooks"])
    cluster.plane.api.replace(OURS, changed)
    try:
        yield
    finally:
        newest = cluster.plane.api.get(OURS)
        cluster.plane.api.replace(OURS, {**newest, "webhooks": before["webhooks"]})


def _ignore(webhooks: list[Any]) -> None:
    webhooks[0]["failurePolicy"] = "Ignore"


def _exact(webhooks: list[Any]) -> None:
    webhooks[1]["matchPolicy"] = "Exact"


def _no_ephemeral(webhooks: list[Any]) -> None:
    webhooks[2]["rules"][0]["resources"].remove("pods/ephemeralcontainers")


def _star(webhooks: list[Any]) -> None:
    webhooks[0]["rules"][1]["resources"] = ["*"]


def _create_only(webhooks: list[Any]) -> None:
    webhooks[0]["rules"][2]["operations"] = ["CREATE"]


def _labels(webhooks: list[Any]) -> None:
    webhooks[0]["objectSelector"] = {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]}


def _without(webhooks: list[Any]) -> None:
    del webhooks[-2]


def _excluded(webhooks: list[Any]) -> None:
    for one in webhooks[:-1]:
        one["namespaceSelector"]["matchExpressions"][1]["values"].append(MODELS)


def _opt_out(webhooks: list[Any]) -> None:
    for one in webhooks[:-1]:
        one["namespaceSelector"]["matchExpressions"].append({"key": "skip", "operator": "DoesNotExist"})


def _twice(webhooks: list[Any]) -> None:
    del webhooks[-2]["namespaceSelector"]["matchExpressions"][0]


def _condition(webhooks: list[Any]) -> None:
    webhooks[0]["matchConditions"] = [{"name": "not-bob", "expression": "request.userInfo.username != 'bob'"}]


def _other_path(webhooks: list[Any]) -> None:
    webhooks[2]["clientConfig"]["service"]["path"] = "/v1/admit/development"


def _by_name(webhooks: list[Any]) -> None:
    """The path of development, asked about one namespace of production, which its own entry leaves out."""
    name = "kubernetes.io/metadata.name"
    for one in webhooks[:-1]:
        if one["name"].startswith("development"):
            one["namespaceSelector"] = {"matchExpressions": [{"key": name, "operator": "In", "values": [MODELS]}]}
        else:
            one["namespaceSelector"]["matchExpressions"][1]["values"].append(MODELS)


def _unknown_path(webhooks: list[Any]) -> None:
    webhooks[0]["clientConfig"]["service"]["path"] = "/v1/admit/playground"


def _long(webhooks: list[Any]) -> None:
    webhooks[0]["timeoutSeconds"] = 30


def _other_service(webhooks: list[Any]) -> None:
    webhooks[0]["clientConfig"]["service"]["name"] = "elsewhere"


def _no_guard(webhooks: list[Any]) -> None:
    del webhooks[-1]


def _half_a_guard(webhooks: list[Any]) -> None:
    webhooks[-1]["rules"][0]["resources"].remove("namespaces/status")


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (_ignore, {"fails_open"}),
        (_exact, {"matches_exactly"}),
        (_no_ephemeral, {"rules_missing"}),
        (_star, {"rules_missing"}),
        (_create_only, {"rules_missing"}),
        (_labels, {"object_selector"}),
        (_without, {"namespace_uncovered", "selector_gap", "rbac_ungoverned"}),
        (_excluded, {"namespace_uncovered", "rbac_ungoverned"}),
        (_opt_out, {"selector_opt_out"}),
        (_twice, {"namespace_twice", "selector_overlap", "environment_differs"}),
        (_condition, {"match_condition"}),
        (_other_path, {"environment_differs"}),
        (_by_name, {"environment_differs", "namespace_uncovered", "selector_gap"}),
        (_unknown_path, {"environment_unknown", "environment_without_entry", "environment_differs"}),
        (_long, {"timeout_odd"}),
        (_no_guard, {"guard_missing"}),
        (_half_a_guard, {"guard_incomplete"}),
        (_other_service, {"service_missing", "certificate_unseen", "servers_differ"}),
    ],
)
def test_each_way_to_break_the_configuration_is_found(installed: ChartCluster, change: Any, codes: set[str]) -> None:
    with configuration(installed, change):
        found = faults(examine(installed, "--config", str(installed.folder / "placet.yaml"), expect=1))
    # Somebody who may create workloads matters only where nobody judges them.
    assert found | {"rbac_ungoverned"} == codes | {"rbac_ungoverned"}


def test_who_may_work_in_a_namespace_that_is_meant_to_be_left_out_is_still_told(installed: ChartCluster) -> None:
    rule = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create"]}
    with configuration(installed, _excluded), granted(installed, MODELS, **rule):
        assert faults(examine(installed, "--excluded", MODELS, expect=1)) == {"rbac_ungoverned"}


def test_a_bundle_that_does_not_fit_is_found(installed: ChartCluster) -> None:
    other = base64.b64encode(installed.plane.authority.pem).decode()

    def change(webhooks: list[Any]) -> None:
        for one in webhooks:
            one["clientConfig"]["caBundle"] = other

    with configuration(installed, change):
        assert faults(examine(installed, expect=1)) == {"ca_misfit"}


RBAC = "/apis/rbac.authorization.k8s.io/v1"


@contextlib.contextmanager
def granted(cluster: ChartCluster, namespace: str, **rule: list[str]) -> Iterator[None]:
    """A tenant's role with one rule; everywhere where no namespace is named."""
    kind = "Role" if namespace else "ClusterRole"
    base = f"{RBAC}/namespaces/{namespace}" if namespace else RBAC
    paths = [f"{base}/{kind.lower()}s", f"{base}/{kind.lower()}bindings"]
    named = {"metadata": {"name": "tenant"}}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "tenant"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "tenants"}
    cluster.plane.api.create(paths[0], {**named, "rules": [rule]})
    cluster.plane.api.create(paths[1], {**named, "roleRef": reference, "subjects": [subject]})
    try:
        yield
    finally:
        for path in paths:
            cluster.plane.api.delete(f"{path}/tenant")


def test_a_gate_that_may_not_read_namespaces_is_found_as_the_authorizer_says(installed: ChartCluster) -> None:
    role, account = f"{RBAC}/clusterroles/placet", f"system:serviceaccount:{SYSTEM}:placet"

    def may_look() -> bool:
        asked = installed.plane.kubectl("auth", "can-i", "get", "namespaces", f"--as={account}", check=False)
        return asked.stdout.strip() == "yes"

    assert may_look()
    before = installed.plane.api.get(role)
    rules = [rule for rule in before["rules"] if "namespaces" not in rule["resources"]]
    installed.plane.api.replace(role, {**before, "rules": rules})
    try:
        assert poll_until(lambda: not may_look(), TIMEOUT_S)
        (found,) = [one for one in examine(installed, expect=1) if one["severity"] != "note"]
        assert (found["code"], found["where"]) == ("environment_unchecked", f"Deployment/placet in {SYSTEM}")
        refused = installed.apply("deploy.yaml")
        assert "gate.environment/namespace_unavailable" in refused.stderr
        assert "may get namespaces" in refused.stderr
    finally:
        newest = installed.plane.api.get(role)
        installed.plane.api.replace(role, {**newest, "rules": before["rules"]})
    assert poll_until(may_look, TIMEOUT_S)


ADMISSION = "admissionregistration.k8s.io"


@pytest.mark.parametrize(
    ("namespace", "group", "resource", "verb", "code"),
    [
        ("", ADMISSION, "validatingwebhookconfigurations", "patch", "rbac_webhooks"),
        ("", "*", "*", "*", "rbac_everything"),
        (SYSTEM, "", "configmaps", "update", "rbac_gate"),
        (SYSTEM, "", "pods/exec", "create", "rbac_gate"),
        (MODELS, "", "namespaces", "patch", "rbac_namespaces"),
        ("", "", "namespaces/status", "update", "rbac_namespaces"),
        ("", "rbac.authorization.k8s.io", "clusterroles", "escalate", "rbac_escalation"),
        ("", "", "nodes/proxy", "get", "rbac_nodes"),
        ("", "apiextensions.k8s.io", "customresourcedefinitions", "update", "rbac_kinds"),
        ("", "", "persistentvolumes", "create", "rbac_volumes"),
        ("kube-system", "apps", "deployments", "create", "rbac_ungoverned"),
    ],
)
def test_a_tenant_with_a_right_around_the_gate_is_found(
    installed: ChartCluster, namespace: str, group: str, resource: str, verb: str, code: str
) -> None:
    with granted(installed, namespace, apiGroups=[group], resources=[resource], verbs=[verb]):
        found = examine(installed, expect=1)
        assert faults(examine(installed, "--trusted", "group:tenants", expect=0)) == set()
    assert {(one["code"], one["where"]) for one in found if one["severity"] != "note"} == {(code, "group:tenants")}


def test_a_tenant_with_all_rights_in_their_own_namespace_is_none(installed: ChartCluster) -> None:
    with granted(installed, MODELS, apiGroups=["apps", "batch"], resources=["*"], verbs=["*"]):
        assert faults(examine(installed, expect=0)) == set()


def test_what_runs_and_would_be_refused_is_counted(installed: ChartCluster) -> None:
    with configuration(installed, _excluded):
        assert poll_until(lambda: installed.apply("deploy.yaml").returncode == 0, TIMEOUT_S)
    try:
        (found,) = [
            one
            for one in examine(installed, "--config", str(installed.folder / "placet.yaml"), expect=1)
            if one["severity"] != "note"
        ]
    finally:
        installed.plane.kubectl("delete", "deployment", "llama", "-n", MODELS)
    assert found["code"] == "would_be_refused"
    assert found["where"] == "environment production"
    assert "1 of 1 workloads: Deployment/llama in ml-serving (approvals.required/" in found["found"]


def test_a_custom_workload_that_runs_and_would_be_refused_is_counted(installed: ChartCluster) -> None:
    definition = ROOT / "tests" / "e2e" / "crds" / "rollouts.argoproj.io.yaml"
    manifest = yaml.safe_load((ROOT / "tests" / "data" / "kinds" / "rollout.yaml").read_text(encoding="utf-8"))
    manifest["metadata"]["namespace"] = MODELS
    name = manifest["metadata"]["name"]
    create = ("create", "-f", "-")
    installed.plane.kubectl("create", "-f", str(definition))
    try:
        with configuration(installed, _excluded):
            made = json.dumps(manifest)
            assert poll_until(
                lambda: installed.plane.kubectl(*create, stdin=made, check=False).returncode == 0, TIMEOUT_S
            )
        found = examine(installed, "--config", str(installed.folder / "placet.yaml"), expect=1)
    finally:
        installed.plane.kubectl("delete", "-f", str(definition))
    (refused,) = [one for one in found if one["severity"] != "note"]
    assert refused["code"] == "would_be_refused"
    assert f"1 of 1 workloads: Rollout/{name} in {MODELS} (approvals.required/" in refused["found"]
    (absent,) = [one["found"] for one in found if one["code"] == "kind_absent"]
    assert "rollouts.argoproj.io" not in absent
    assert "inferenceservices.serving.kserve.io" in absent


def test_who_may_read_little_is_told_what_is_not_known_and_which_right_is_missing(installed: ChartCluster) -> None:
    installed.plane.kubeconfig_for(READER)
    found = examine(installed, user=READER, expect=2)
    assert {one["severity"] for one in found} == {"unknown", "note"}
    unread = {one["where"]: one["found"] for one in found if one["code"] == "not_read"}
    assert {"validatingwebhookconfigurations.admissionregistration.k8s.io", "namespaces"} <= unread.keys()
    assert (
        "it needs the verb list on clusterroles.rbac.authorization.k8s.io"
        in (unread["clusterroles.rbac.authorization.k8s.io"])
    )


def test_the_role_in_the_documentation_reads_all_but_the_certificate(installed: ChartCluster) -> None:
    found = examine(installed, "--config", str(installed.folder / "placet.yaml"), user=LOOKER, expect=2)
    assert {one["code"] for one in found if one["severity"] != "note"} == {"certificate_unseen"}
    with configuration(installed, _ignore):
        found = examine(installed, user=LOOKER, expect=1)
    assert faults(found) == {"certificate_unseen", "fails_open"}


EMBEDS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.tests.example.com}
spec:
  group: tests.example.com
  scope: Namespaced
  names: {plural: rollouts, singular: rollout, kind: Rollout, listKind: RolloutList}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                template:
                  type: object
                  properties:
                    containers:
                      type: array
                      items: {type: object, properties: {name: {type: string}, image: {type: string}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: injector}
webhooks:
  - name: injector.example.com
    clientConfig: {url: "https://127.0.0.1:1/"}
    failurePolicy: Ignore
    sideEffects: None
    admissionReviewVersions: [v1]
    namespaceSelector: {matchLabels: {inject: "yes"}}
    rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
"""


def test_what_else_makes_or_changes_pods_is_noted(installed: ChartCluster) -> None:
    installed.plane.kubectl("create", "-f", "-", stdin=EMBEDS)
    try:
        found = {one["code"]: one["found"] for one in examine(installed, expect=0)}
        accepted = examine(installed, "--accepted", "rollouts.tests.example.com", expect=0)
        assert "kind_unregistered" not in {one["code"] for one in accepted}
    finally:
        installed.plane.kubectl("delete", "-f", "-", stdin=EMBEDS)
    assert found["kind_unregistered"] == "Rollout holds containers at spec.template"
    assert found["kind_absent"].startswith("not in this cluster: ")
    assert found["mutates_workloads"] == "it may change pods"


def test_the_canary_on_demand_says_what_the_gate_does(installed: ChartCluster) -> None:
    """The namespaces are those of the chart, and the log's key is that which the gate's Secret was made from."""
    file = installed.folder / "in-cluster.yaml"
    places = yaml.safe_load(file.read_text(encoding="utf-8"))["canary"]
    installed.team.configure({"canary": places})
    asked = ("--config", str(installed.folder / "placet.yaml"), "--canary")
    assert faults(examine(installed, *asked, expect=0)) == set()
    with configuration(installed, _excluded_canary):
        assert poll_until(lambda: "canary_admitted" in faults(examine(installed, *asked, expect=1)), TIMEOUT_S)
    installed.plane.kubeconfig_for(READER)
    found = examine(installed, *asked, user=READER, expect=2)
    assert [one["severity"] for one in found if one["code"] == "canary_undecided"] == ["unknown"] * len(
        places["namespaces"]
    )


def _excluded_canary(webhooks: list[Any]) -> None:
    for one in webhooks[:-1]:
        one["namespaceSelector"]["matchExpressions"][1]["values"].append("placet-canary-production")


def test_a_canary_needs_a_configuration_that_names_some(installed: ChartCluster) -> None:
    done = installed.team.run("doctor", "--kubeconfig", str(installed.plane.kubeconfig_path()), "--canary", expect=2)
    assert "--canary needs a configuration with canary.namespaces" in done.stderr


def test_nothing_is_written(installed: ChartCluster) -> None:
    before = installed.plane.api.get(OURS)["metadata"]["resourceVersion"]
    examine(installed, expect=0)
    assert installed.plane.api.get(OURS)["metadata"]["resourceVersion"] == before


def test_a_cluster_that_can_not_be_reached_is_one_clear_error(installed: ChartCluster, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    shutil.copyfile(installed.plane.kubeconfig_path(), file)
    value = json.loads(file.read_text(encoding="utf-8"))
    value["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    file.write_text(json.dumps(value), encoding="utf-8")
    done = installed.team.run("doctor", "--kubeconfig", str(file), expect=2)
    assert "the API server can't be asked" in done.stderr
    assert done.stdout == ""


def test_without_the_gate_nothing_is_asked(installed: ChartCluster) -> None:
    before = installed.plane.api.get(OURS)
    installed.plane.api.delete(OURS)
    try:
        found = examine(installed, "-n", SYSTEM, expect=1)
    finally:
        kept = {key: value for key, value in before["metadata"].items() if key in {"name", "labels", "annotations"}}
        installed.plane.api.create(CONFIGURATIONS, {**before, "metadata": kept})
    assert "no_configuration" in faults(found)
