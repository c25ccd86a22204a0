"""What the chart renders is what Kubernetes 1.31 to 1.37 takes, and what placet reads."""

from __future__ import annotations

import base64
import functools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jsonschema_rs
import pytest
import yaml
from click.testing import CliRunner
from cryptography import x509
from kubernetes_validate import utils as kinds
from kubernetes_validate.utils import ValidationError

from placet import __version__
from placet.audit.location import DatabaseUrl
from placet.audit.retention import Retention
from placet.cli import root
from placet.config import load_config
from placet.config_server import SERVER_SCHEMA
from placet.informer.informer import FOLLOWED
from placet.parents import RESOURCES
from placet.policy.data import load_policy_data
from tests.e2e.processes import program_path
from tests.e2e.registration import registry_rules, workload_rules
from tests.manifests.charts import (
    BASE,
    CHART,
    NAMESPACE,
    PEM,
    ROOT,
    SETS,
    helm,
    merged,
    objects,
    one,
    refusal,
    template,
)
from tests.manifests.custom_kinds import SCHEMAS
from tools.manifests import INSTALL, OPA_RULES, render_install
from webhook.metric_list import METRICS

RELEASES = [f"1.{minor}" for minor in range(31, 38)]


@pytest.fixture(autouse=True, scope="module")
def _schemas_are_read_once() -> Iterator[None]:
    """Those of a release are a megabyte of JSON, and are read for each object otherwise."""
    with mock.patch.object(kinds, "schema_contents", functools.cache(kinds.schema_contents)):
        yield


def validate(found: dict[str, Any], release: str) -> None:
    """Strictly; kinds of other projects by schemas of our own."""
    own = SCHEMAS.get((found["apiVersion"], found["kind"]))
    if own is not None:
        problems = [error.message for error in jsonschema_rs.validator_for(own).iter_errors(found)]
        assert problems == [], found["kind"]
        return
    assert kinds.validate(found, release, strict=True) == release


@pytest.mark.parametrize("name", SETS)
def test_helm_lint_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    done = helm("lint", "--strict", CHART, "--namespace", NAMESPACE, values=SETS[name], home=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "0 chart(s) failed" in done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", SETS)
def test_every_object_is_valid_for_every_release(name: str, tmp_path: Path) -> None:
    rendered = objects(template(SETS[name], tmp_path))
    for release in RELEASES:
        for found in rendered:
            validate(found, release)


def test_a_misspelt_field_would_be_noticed(tmp_path: Path) -> None:
    for name, kind in (("everything", "Deployment"), ("everything", "ServiceMonitor"), ("cert-manager", "Certificate")):
        found = one(template(SETS[name], tmp_path), kind)
        found["spec"]["replicaz"] = 1
        with pytest.raises((ValidationError, AssertionError)):
            validate(found, RELEASES[-1])


def test_the_single_file_install_is_what_the_chart_renders() -> None:
    assert INSTALL.read_text(encoding="utf-8") == render_install(program_path("helm")), "run `make manifests`"


@pytest.mark.parametrize("release", RELEASES)
def test_the_single_file_install_is_valid(release: str) -> None:
    rendered = objects(INSTALL.read_text(encoding="utf-8"))
    assert {"Namespace", "Deployment", "Service", "ValidatingWebhookConfiguration"} <= {
        each["kind"] for each in rendered
    }
    for found in rendered:
        validate(found, release)


def test_the_chart_has_the_rules_of_opa_as_they_are() -> None:
    assert (CHART / "files" / "authz.rego").read_text(encoding="utf-8") == OPA_RULES.read_text(encoding="utf-8")


def test_the_opa_beside_the_webhook_is_the_one_that_compiled_the_policies() -> None:
    manifest = json.loads((ROOT / "placet" / "_bundle" / "manifest.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert values["opa"]["image"]["tag"] == f"{manifest['compiler']}-static"


def test_the_documented_rights_are_those_of_the_chart(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "lookups.md").read_text(encoding="utf-8")
    documented = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    given = one(
        template(merged(BASE, {"autoscalers": "lookup", "lookups": {"cache": "informer"}}), tmp_path), "ClusterRole"
    )

    def rights(role: dict[str, Any]) -> set[tuple[str, ...]]:
        return {
            (rule["apiGroups"][0], resource, *rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]
        }

    assert rights(given) == rights(documented)


def test_a_template_makes_one_kind(tmp_path: Path) -> None:
    kinds: dict[str, set[str]] = {}
    for values in SETS.values():
        for part in re.split(r"^---$", template(values, tmp_path), flags=re.MULTILINE):
            source = re.search(r"^# Source: (\S+)$", part, re.MULTILINE)
            if source is not None and (found := yaml.safe_load(part)):
                kinds.setdefault(source[1], set()).add(found["kind"])
    assert {source: made for source, made in kinds.items() if len(made) != 1} == {}


@pytest.mark.parametrize("name", [name for name in SETS if "config" not in SETS[name]])
def test_placet_reads_the_configuration_that_is_rendered(name: str, tmp_path: Path) -> None:
    config_map = one(template(SETS[name], tmp_path), "ConfigMap", "placet-config")
    folder = tmp_path / "config"
    folder.mkdir()
    for file, text in config_map["data"].items():
        (folder / file).write_text(text, encoding="utf-8")
    config = load_config(folder / "placet.yaml")
    assert config.cluster == "prod-eu-1"
    assert config.parents == SETS[name].get("parents", "lookup")
    assert all(file.read_text(encoding="utf-8") == PEM for file in config.root_files)
    if address := SETS[name].get("record", {}).get("postgres", {}).get("url"):
        assert config.store == DatabaseUrl(address)
    else:
        assert isinstance(config.store, Path)
        assert config.store.resolve() == tmp_path / "record" / "record.sqlite"


def _variables(deployment: dict[str, Any]) -> dict[str, Any]:
    (webhook,) = (one for one in deployment["spec"]["template"]["spec"]["containers"] if one["name"] == "webhook")
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in webhook["env"]}


def test_replicas_of_a_record_in_postgresql_run_apart_and_share_no_volume(tmp_path: Path) -> None:
    rendered = template(SETS["postgres"], tmp_path)
    assert [found for found in objects(rendered) if found["kind"] == "PersistentVolumeClaim"] == []
    deployment = one(rendered, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert [
        volume for volume in pod["volumes"] if volume["name"] == "record" or "persistentVolumeClaim" in volume
    ] == []
    assert "podAffinity" not in pod["affinity"]
    (term,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budget = one(rendered, "PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["selector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]
    egress = one(rendered, "NetworkPolicy")["spec"]["egress"]
    assert {"ports": [{"port": 5432, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.0.7.12/32"}}]} in egress
    assert {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]} in egress


def test_a_single_replica_may_be_alone_and_a_file_keeps_its_rules(tmp_path: Path) -> None:
    alone = template(SETS["postgres by certificates and services"], tmp_path)
    assert [found for found in objects(alone) if found["kind"] == "PodDisruptionBudget"] == []
    strategy = one(alone, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}, "there is no volume that only one Pod can have"
    file = template(BASE, tmp_path)
    assert "podAffinity" in one(file, "Deployment")["spec"]["template"]["spec"]["affinity"]
    assert [found["kind"] for found in objects(file)].count("PersistentVolumeClaim") == 1
    assert [found for found in objects(file) if found["kind"] == "PodDisruptionBudget"] == []
    assert 5432 not in [port["port"] for rule in one(file, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]


def test_what_connecting_takes_comes_from_the_secret_and_stands_nowhere_else(tmp_path: Path) -> None:
    by_password = template(SETS["postgres"], tmp_path)
    variables = _variables(one(by_password, "Deployment"))
    assert variables["PGPASSWORD"] == {"secretKeyRef": {"name": "placet-postgres", "key": "password"}}
    assert variables["PGSSLROOTCERT"] == "/placet/postgres/ca.crt"
    assert {"PGSSLCERT", "PGSSLKEY", "PGSERVICEFILE"}.isdisjoint(variables)
    assert "db.example.com" not in json.dumps(
        [found for found in objects(by_password) if found["metadata"]["name"] != "placet-config"]
    )
    deployment = one(template(SETS["postgres by certificates and services"], tmp_path), "Deployment")
    variables = _variables(deployment)
    assert "PGPASSWORD" not in variables
    files = {name: variables[name] for name in ("PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSERVICEFILE")}
    pod = deployment["spec"]["template"]["spec"]
    (volume,) = (one for one in pod["volumes"] if one["name"] == "postgres")
    (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "postgres")
    assert (mount["mountPath"], mount["readOnly"]) == ("/placet/postgres", True)
    assert volume["secret"]["secretName"] == "placet-postgres"
    assert volume["secret"]["defaultMode"] == 0o440
    assert {f"/placet/postgres/{item['path']}" for item in volume["secret"]["items"]} == set(files.values())


def test_the_configuration_of_placet_init_says_the_same(tmp_path: Path) -> None:
    made = CliRunner().invoke(root, ["init", str(tmp_path / "gate"), "--cluster", "2026", "--no-passphrase"])
    assert made.exit_code == 0, made.output
    folder = tmp_path / "gate"
    values = yaml.safe_load((folder / "values.yaml").read_text(encoding="utf-8"))
    config_map = one(template(values, tmp_path), "ConfigMap", "placet-config")
    rendered = yaml.safe_load(config_map["data"]["placet.yaml"])
    written = yaml.safe_load((folder / "in-cluster.yaml").read_text(encoding="utf-8"))
    for key in ("tls_minimum", "threads", *(name for name in SERVER_SCHEMA["properties"] if name.startswith("max_"))):
        assert rendered["server"].pop(key) == SERVER_SCHEMA["properties"][key]["default"]
    assert Retention(**rendered["record"].pop("retention")) == Retention()
    assert rendered == written
    assert config_map["data"]["keyring.dsse.json"].strip() == (folder / "keyring.dsse.json").read_text().strip()
    assert config_map["data"]["policy-data.yaml"] == (folder / "policy-data.yaml").read_text(encoding="utf-8")


def test_every_namespace_is_asked_about_exactly_once_but_two(tmp_path: Path) -> None:
    webhooks = workload_entries(template(BASE, tmp_path))
    labels: list[dict[str, str]] = [{}, *({"placet.dev/environment": value} for value in
                                          ("development", "staging", "production", "prodction", ""))]  # fmt: skip
    for given in labels:
        for name in ("default", "kube-system", NAMESPACE):
            namespace = {**given, "kubernetes.io/metadata.name": name}
            asked = [item for item in webhooks if selects(item["namespaceSelector"], namespace)]
            assert len(asked) == (1 if name == "default" else 0), namespace
            if asked:
                known = given.get("placet.dev/environment", "")
                expected = known if known in {"development", "staging"} else "production"
                assert asked[0]["clientConfig"]["service"]["path"] == f"/v1/admit/{expected}"


def workload_entries(rendered: str) -> list[dict[str, Any]]:
    """All entries but that of the Namespaces, which comes last."""
    entries: list[dict[str, Any]] = one(rendered, "ValidatingWebhookConfiguration")["webhooks"]
    guard = entries.pop()
    assert guard["name"] == "namespaces.placet.dev"
    return entries


@pytest.mark.parametrize("token", ["", "p" * 32])
def test_every_way_to_write_a_namespace_is_asked_about_whatever_it_is_called_or_labelled(
    tmp_path: Path, token: str
) -> None:
    given: dict[str, Any] = {
        "failurePolicy": "Ignore",
        "pathToken": token,
        "excludedNamespaces": ["kube-system", "other"],
    }
    given |= {
        "namespaceSelector": {"matchLabels": {"a": "b"}},
        "matchConditions": [{"name": "a", "expression": "true"}],
    }
    values = merged(BASE, {"webhook": given})
    guard = one(template(values, tmp_path), "ValidatingWebhookConfiguration")["webhooks"][-1]
    assert guard["rules"] == [
        {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "scope": "Cluster",
            "resources": ["namespaces", "namespaces/status", "namespaces/finalize"],
        }
    ]
    assert (guard["namespaceSelector"], guard.get("objectSelector", {})) == ({}, {})
    facts = (guard["failurePolicy"], guard["matchPolicy"], guard["sideEffects"])
    assert facts == ("Fail", "Equivalent", "NoneOnDryRun")
    assert [condition["name"] for condition in guard["matchConditions"]] == ["environment-label-changes"]
    path = f"/v1/guard/namespaces/{token}" if token else "/v1/guard/namespaces"
    assert guard["clientConfig"]["service"]["path"] == path


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """As Kubernetes evaluates In and NotIn."""
    for term in selector["matchExpressions"]:
        inside = labels.get(term["key"]) in term["values"]
        if inside != (term["operator"] == "In"):
            return False
    return True


def test_the_rules_are_those_that_the_gate_is_tested_with(tmp_path: Path) -> None:
    for webhook in workload_entries(template(BASE, tmp_path)):
        ours = {(rule["apiGroups"][0], *sorted(rule["resources"])) for rule in webhook["rules"]}
        built_in = {(rule["apiGroups"][0], *sorted(rule["resources"])) for rule in workload_rules()}
        assert ours - built_in == {(rule["apiGroups"][0], *sorted(rule["resources"])) for rule in registry_rules()}
        assert built_in <= ours
        assert {tuple(rule["apiVersions"]) for rule in webhook["rules"] if "." in rule["apiGroups"][0]} == {("*",)}
        assert {(*rule["operations"], rule["scope"]) for rule in webhook["rules"]} == {
            ("CREATE", "UPDATE", "Namespaced")
        }


def test_rules_of_ones_own_come_last(tmp_path: Path) -> None:
    rule = {**registry_rules()[0], "apiGroups": ["example.com"], "resources": ["servers"]}
    for webhook in workload_entries(template(merged(BASE, {"webhook": {"extraRules": [rule]}}), tmp_path)):
        assert webhook["rules"][-1] == rule


@pytest.mark.parametrize("name", SETS)
def test_every_pod_meets_the_restricted_standard(name: str, tmp_path: Path) -> None:
    rendered = objects(template(SETS[name], tmp_path))
    pods = [each["spec"]["template"]["spec"] for each in rendered if each["kind"] in {"Deployment", "Job"}]
    pods += [each["spec"] for each in rendered if each["kind"] == "Pod"]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", SETS)
def test_secrets_are_mounted_for_the_group_of_the_pod_alone(name: str, tmp_path: Path) -> None:
    pod = one(template(SETS[name], tmp_path), "Deployment")["spec"]["template"]["spec"]
    private = [
        volume.get("projected") or volume["secret"]
        for volume in pod["volumes"]
        if "secret" in volume or any("secret" in source for source in volume.get("projected", {}).get("sources", ()))
    ]
    assert private, "the log's key and the server's are mounted"
    assert {volume.get("defaultMode") for volume in private} == {0o440}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_no_token_is_mounted_and_no_right_given_without_look_ups_and_canaries(tmp_path: Path) -> None:
    values = {"parents": "none", "namespaces": "none", "environments": "none", "canary": {"enabled": False}}
    rendered = template(merged(BASE, values), tmp_path)
    assert one(rendered, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert "placet" not in [each["metadata"]["name"] for each in objects(rendered) if each["kind"] == "ClusterRole"]
    assert one(rendered, "NetworkPolicy")["spec"]["egress"] == []
    assert "placet-canary" not in rendered


def test_canaries_may_be_sent_into_namespaces_of_their_own_and_nothing_else(tmp_path: Path) -> None:
    rendered = template(merged(BASE, {"parents": "none", "namespaces": "none"}), tmp_path)
    assert one(rendered, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
    assert one(rendered, "NetworkPolicy")["spec"]["egress"] != []
    made = [each for each in objects(rendered) if "-canary" in str(each["metadata"].get("namespace"))]
    roles = [each for each in made if each["kind"] == "Role"]
    assert [each["rules"] for each in roles] == [
        [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create"]}]
    ] * 4
    quotas = {each["metadata"]["namespace"]: each["spec"] for each in made if each["kind"] == "ResourceQuota"}
    assert list(quotas.values()) == [{"hard": {"pods": "0"}}] * 4
    subjects = [each["subjects"] for each in made if each["kind"] == "RoleBinding"]
    assert subjects == [[{"kind": "ServiceAccount", "name": "placet", "namespace": NAMESPACE}]] * 4


def test_each_entry_of_the_webhook_has_a_canary_that_it_selects(tmp_path: Path) -> None:
    selector = {"matchLabels": {"tier": "models"}}
    rendered = template(merged(BASE, {"webhook": {"namespaceSelector": selector}}), tmp_path)
    config = yaml.safe_load(one(rendered, "ConfigMap", "placet-config")["data"]["placet.yaml"])
    spaces = {each["metadata"]["name"]: each for each in objects(rendered) if each["kind"] == "Namespace"}
    assert config["canary"]["namespaces"].keys() == spaces.keys()
    for entry in workload_entries(rendered):
        environment = entry["clientConfig"]["service"]["path"].rpartition("/")[2]
        (name,) = [
            name
            for name, space in spaces.items()
            if selects(entry["namespaceSelector"], {**space["metadata"]["labels"], "kubernetes.io/metadata.name": name})
        ]
        assert config["canary"]["namespaces"][name] == environment


def test_look_ups_may_read_and_nothing_else(tmp_path: Path) -> None:
    rules = one(template(merged(BASE, {"autoscalers": "lookup"}), tmp_path), "ClusterRole")["rules"]
    allowed = {(rule["apiGroups"][0], resource, *rule["verbs"]) for rule in rules for resource in rule["resources"]}
    kinds = {
        "": ("replicationcontrollers",),
        "apps": ("deployments", "statefulsets", "daemonsets", "replicasets"),
        "batch": ("jobs", "cronjobs"),
    }
    read = {(group, kind, "get") for group, names in kinds.items() for kind in names}
    listed = {("", "pods", "list"), *((group, kind, "list") for group, kind, _ in read)}
    registry = load_policy_data(None).kinds.custom
    custom = {(kind.group, kind.resource, "get") for kind in registry if kind.children is not None or kind.scale}
    assert {resource for _, resource, _ in custom} == {
        "jobsets",
        "leaderworkersets",
        "models",
        "rayclusterfleets",
        "rayjobs",
        "rayservices",
        "rollouts",
        "stormservices",
    }
    read |= {*custom, ("", "pods", "get")}
    looked_up = {("autoscaling", "horizontalpodautoscalers", "list"), ("", "namespaces", "get")}
    assert allowed == {*read, *listed, *looked_up}
    without = one(template(merged(BASE, {"namespaces": "none"}), tmp_path), "ClusterRole")["rules"]
    assert {verb for rule in without for verb in rule["verbs"]} == {"get"}
    believing = one(template(merged(BASE, {"environments": "none"}), tmp_path), "ClusterRole")["rules"]
    assert not any("namespaces" in rule["resources"] for rule in believing)
    watching = merged(BASE, {"namespaces": "none", "lookups": {"cache": "informer"}})
    rules = one(template(watching, tmp_path), "ClusterRole")["rules"]
    followed = {(rule["apiGroups"][0], *rule["resources"]) for rule in rules if rule["verbs"] == ["list", "watch"]}
    assert followed == {(key[0].partition("/")[0], RESOURCES[key]) for key in FOLLOWED}
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}


def test_nothing_is_remembered_of_what_is_not_looked_up(tmp_path: Path) -> None:
    said = refusal(merged(BASE, {"parents": "none", "lookups": {"cache": "informer"}}), tmp_path)
    assert "nothing is looked up that could be remembered" in said


def test_the_grace_period_is_longer_than_the_drain_and_the_last_review(tmp_path: Path) -> None:
    values = merged(BASE, {"server": {"drainSeconds": 22.5}, "webhook": {"timeoutSeconds": 30}})
    pod = one(template(values, tmp_path), "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 22.5 + 30


def test_replicas_stay_on_one_node_whatever_affinity_is_given(tmp_path: Path) -> None:
    mine = {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"app": "prometheus"}}}
    given = {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [mine]}}}
    pod = one(template(merged(BASE, given), tmp_path), "Deployment")["spec"]["template"]["spec"]
    terms = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms[0] == mine
    assert terms[1]["topologyKey"] == "kubernetes.io/hostname"
    assert terms[1]["labelSelector"] == one(template(BASE, tmp_path), "Deployment")["spec"]["selector"]


def test_the_keyring_changes_no_pod_and_a_setting_does(tmp_path: Path) -> None:
    def pods(values: dict[str, Any]) -> Any:
        return one(template(merged(BASE, values), tmp_path), "Deployment")["spec"]["template"]

    assert pods({"keyring": {"envelope": "{}"}, "revocations": {"a.dsse.json": "{}"}}) == pods({})
    assert pods({"exemptions": {"a.dsse.json": "{}"}}) == pods({})
    assert pods({"server": {"threads": 2}}) != pods({})


def test_the_certificate_that_helm_makes_is_the_one_that_is_trusted(tmp_path: Path) -> None:
    rendered = template(merged(SETS["as placet init"], {"tls": {"selfSigned": {"days": 30}}}), tmp_path)
    secret = one(rendered, "Secret", "placet-tls")
    webhooks = one(rendered, "ValidatingWebhookConfiguration")["webhooks"]
    assert {webhook["clientConfig"]["caBundle"] for webhook in webhooks} == {secret["data"]["ca.crt"]}
    authority = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["ca.crt"]))
    serving = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
    assert {(each.not_valid_after_utc - each.not_valid_before_utc).days for each in (authority, serving)} == {30}
    serving.verify_directly_issued_by(authority)
    names = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "placet.placet-system.svc" in names.get_values_for_type(x509.DNSName)


def test_secrets_are_made_only_from_values_that_were_given(tmp_path: Path) -> None:
    assert [each for each in objects(template(BASE, tmp_path)) if each["kind"] == "Secret"] == []
    log_key = {"existingSecret": "", "pem": "key"}
    given = merged(BASE, {"record": {"logKey": log_key}, "webhook": {"pathToken": "p" * 32}})
    rendered = template(given, tmp_path)
    made = {each["metadata"]["name"]: each["data"] for each in objects(rendered) if each["kind"] == "Secret"}
    assert {name: {key: base64.b64decode(value) for key, value in data.items()} for name, data in made.items()} == {
        "placet-log-key": {"log.key": b"key"},
        "placet-path-token": {"token": b"p" * 32},
    }
    paths = {
        webhook["clientConfig"]["service"]["path"].rpartition("/")[2]
        for webhook in one(rendered, "ValidatingWebhookConfiguration")["webhooks"]
    }
    assert paths == {"p" * 32}


def test_alerts_speak_of_metrics_that_exist(tmp_path: Path) -> None:
    rules = one(template(SETS["everything"], tmp_path), "PrometheusRule")["spec"]["groups"][0]["rules"]
    exposed = {metric.exposed_name for metric in METRICS} | {f"{metric.exposed_name}_bucket" for metric in METRICS}
    used = {name for rule in rules for name in re.findall(r"placet_[a-z_]+", rule["expr"])}
    assert used
    assert used <= exposed


def test_operations_say_what_each_alert_means_and_no_other(tmp_path: Path) -> None:
    rules = one(template(SETS["everything"], tmp_path), "PrometheusRule")["spec"]["groups"][0]["rules"]
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(Placet\w+)` \| ..* \| ..* \|$", operations, re.MULTILINE)
    assert sorted(explained) == sorted(rule["alert"] for rule in rules)


def test_the_image_is_named_in_parts(tmp_path: Path) -> None:
    def image(**parts: str) -> str:
        pod = one(template(merged(BASE, {"image": parts}), tmp_path), "Deployment")["spec"]["template"]["spec"]
        return str(pod["containers"][0]["image"])

    digest = f"sha256:{'a' * 64}"
    assert image() == "placet:0.1.0"
    assert image(registry="registry.example.com", tag="2") == "registry.example.com/placet:2"
    assert image(repository="platform/placet", tag="2", digest=digest) == f"platform/placet@{digest}"


def test_the_chart_can_be_packaged_and_installed_from_the_package(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "placet")
    packed = helm("package", tmp_path / "placet", "--destination", tmp_path, home=tmp_path)
    assert packed.returncode == 0, packed.stderr
    shutil.rmtree(tmp_path / "placet")
    command = ("template", "placet", tmp_path / "placet-0.1.0.tgz", "--namespace", NAMESPACE)
    done = helm(*command, values=SETS["opa beside"], home=tmp_path)
    assert done.stdout == template(SETS["opa beside"], tmp_path)


def test_the_version_is_that_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == chart["version"] == __version__
    assert ROOT in CHART.parents
