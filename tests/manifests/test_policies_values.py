"""Policies of the user's own in the chart: where they come from, who may sign them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from placet.config import Config, load_config
from tests.manifests.charts import BASE, PEM, SETS, merged, objects, one, refusal, template

SIGNERS: dict[str, Any] = {"keys": {"release.pub": PEM}}


def bundle(**values: Any) -> dict[str, Any]:
    return merged(BASE, {"policy": {"bundle": values}})


def policy_of(rendered: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(one(rendered, "ConfigMap", "placet-config")["data"]["placet.yaml"])["policy"]
    return found


def configuration(rendered: str, folder: Path) -> Config:
    """Of the rendered ConfigMap, as a Pod that has it mounted reads it."""
    folder.mkdir()
    for file, text in one(rendered, "ConfigMap", "placet-config")["data"].items():
        (folder / file).write_text(text, "utf-8")
    return load_config(folder / "placet.yaml")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"existingConfigMap": "p"}, "nobody may sign them: give the public keys in policy.bundle.signers.keys"),
        ({"existingConfigMap": "p", "url": "https://h/p", "signers": SIGNERS}, "choose one"),
        ({"existingConfigMap": "p", "existingSecret": "p", "signers": SIGNERS}, "choose one"),
        ({"signers": SIGNERS}, "go with policies of your own: name an object"),
        ({"rollbackTo": 3}, "go with policies of your own: name an object"),
        ({"existingConfigMap": "p", "signers": {**SIGNERS, "threshold": 2}}, "threshold is 2, and there are 1 keys"),
        ({"existingConfigMap": "p", "signers": {**SIGNERS, "existingSecret": "s", "files": ["a.pub"]}}, "choose one"),
        ({"existingConfigMap": "p", "signers": {"existingSecret": "s"}}, "which of the keys in it may sign"),
        ({"existingConfigMap": "p", "signers": {**SIGNERS, "files": ["a.pub"]}}, "goes with existingConfigMap"),
        (
            {"existingConfigMap": "p", "signers": SIGNERS, "credentials": {"tokenSecret": "t"}},
            "is for a web server, and policy.bundle.url names none",
        ),
        (
            {"url": "https://h/p", "signers": SIGNERS, "credentials": {"dockerConfigSecret": "t"}},
            "is for a registry, and policy.bundle.url names none",
        ),
        (
            {"url": "http://h/p", "signers": SIGNERS, "ca": {"existingConfigMap": "c"}},
            "is for a server that speaks TLS",
        ),
        ({"url": "oci://h:5000/p", "signers": SIGNERS}, "as in oci://registry.example.org/team/policies:stable"),
        ({"url": "ftp://h/p", "signers": SIGNERS}, "/policy/bundle/url"),
        ({"url": "https://user:secret@h/p", "signers": SIGNERS}, "/policy/bundle/url"),
        ({"existingConfigMap": "p", "signers": {"keys": {"release.txt": PEM}}}, "release.txt"),
        ({"existingConfigMap": "p", "signers": SIGNERS, "rollbackTo": -1}, "/policy/bundle/rollbackTo"),
        ({"folder": "p"}, "folder"),
        ({"rollbackTo": 3, "signers": SIGNERS}, "go with policies of your own"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_do(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    assert said in refusal(bundle(**values), tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"existingConfigMap": "p"}, "nobody may sign them: give the public keys in policy.bundle.signers.keys"),
        ({"existingConfigMap": "p", "url": "https://h/p"}, "policy.shadow.existingConfigMap and policy.shadow.url"),
        ({"url": "oci://h:5000/p"}, "policy.shadow.url is no reference of a registry"),
        ({"data": "environments: {}", "cpuPercent": 0}, "/policy/shadow/cpuPercent"),
        ({"folder": "p"}, "folder"),
    ],
)
def test_what_can_not_be_tried_is_refused_with_what_to_do(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in refusal(merged(BASE, {"policy": {"shadow": values}}), tmp_path)


def test_what_is_tried_comes_from_its_own_place_and_needs_nothing_in_force(tmp_path: Path) -> None:
    rendered = template(SETS["tried beside those that ship"], tmp_path)
    policy, config = policy_of(rendered), configuration(rendered, tmp_path / "mounted")
    assert "bundle" not in policy
    assert config.policy.shadow.bundle is not None
    assert config.policy.tried.data == tmp_path / "mounted" / "shadow-data.yaml"
    pod = one(rendered, "Deployment")["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert policy["shadow"]["bundle"] == f"..{mounts['shadow'].removeprefix('/placet')}/policies.tar.gz"
    assert "package" not in mounts
    (volume,) = [each for each in pod["volumes"] if each["name"] == "shadow"]
    assert volume["configMap"] == {
        "name": "next",
        "optional": True,
        "items": [{"key": "policies.tar.gz", "path": "policies.tar.gz"}],
    }


def test_policy_data_alone_is_tried_without_signers(tmp_path: Path) -> None:
    rendered = template(merged(BASE, {"policy": {"shadow": {"data": "environments: {}"}}}), tmp_path)
    config = configuration(rendered, tmp_path / "mounted")
    assert config.policy.shadow.wanted
    assert config.policy.tried.bundle is None


@pytest.mark.parametrize("name", ["policies in a ConfigMap", "policies in a registry"])
def test_the_configuration_is_one_that_placet_takes(name: str, tmp_path: Path) -> None:
    rendered = template(SETS[name], tmp_path)
    policy = policy_of(rendered)
    config = configuration(rendered, tmp_path / "mounted")
    assert [file.name for file in config.policy.bundle_keys] == [
        key.rpartition("/")[2] for key in policy["bundle_keys"]
    ]
    assert config.policy.bundle_threshold == len(policy["bundle_keys"])
    assert config.policy.bundle is not None


def test_a_package_that_is_not_there_keeps_no_pod_from_starting(tmp_path: Path) -> None:
    rendered = template(bundle(existingSecret="policies", key="p.tgz", signers=SIGNERS), tmp_path)
    volumes = {volume["name"]: volume for volume in one(rendered, "Deployment")["spec"]["template"]["spec"]["volumes"]}
    assert volumes["package"]["secret"] == {
        "secretName": "policies",
        "defaultMode": 0o440,
        "optional": True,
        "items": [{"key": "p.tgz", "path": "policies.tar.gz"}],
    }
    assert policy_of(rendered)["bundle_source"] == "file:../package/policies.tar.gz"
    assert volumes["signers"]["configMap"]["name"] == one(rendered, "ConfigMap", "placet-signers")["metadata"]["name"]


def test_only_events_may_be_written_and_only_where_the_pods_are(tmp_path: Path) -> None:
    rendered = template(bundle(existingConfigMap="p", signers=SIGNERS), tmp_path)
    role = one(rendered, "Role", "placet-policies")
    assert role["metadata"]["namespace"] == "placet-system"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["events"], "verbs": ["get", "create", "update"]}]
    names = {each["metadata"]["name"] for each in objects(template(bundle(existingConfigMap="p", events=False,
                                                                          signers=SIGNERS), tmp_path))}  # fmt: skip
    assert "placet-policies" not in names


def test_credentials_come_from_secrets_and_stand_in_no_configuration(tmp_path: Path) -> None:
    values = bundle(url="https://h/p", signers=SIGNERS, credentials={"tokenSecret": "pull", "tokenKey": "bearer"})
    rendered = template(values, tmp_path)
    container = one(rendered, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    (token,) = [item for item in container["env"] if item["name"] == "PLACET_BUNDLE_TOKEN"]
    assert token["valueFrom"] == {"secretKeyRef": {"name": "pull", "key": "bearer"}}
    registry = one(template(SETS["policies in a registry"], tmp_path), "Deployment")["spec"]["template"]["spec"]
    environment = {item["name"]: item.get("value") for item in registry["containers"][0]["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in registry["containers"][0]["volumeMounts"]}
    assert environment["DOCKER_CONFIG"] == mounts["registry"]
    (volume,) = [one for one in registry["volumes"] if one["name"] == "registry"]
    assert volume["secret"]["items"] == [{"key": ".dockerconfigjson", "path": "config.json"}]


def test_the_network_policy_lets_pods_reach_where_policies_are(tmp_path: Path) -> None:
    def ports(values: dict[str, Any]) -> set[int]:
        egress = one(template(values, tmp_path), "NetworkPolicy")["spec"]["egress"]
        return {port["port"] for rule in egress for port in rule["ports"]}

    quiet = {"parents": "none", "namespaces": "none", "environments": "none", "autoscalers": "none"}
    alone = merged(bundle(url="oci://h:5000/p:1", signers=SIGNERS, events=False), quiet, {"canary": {"enabled": False}})
    assert ports(merged(alone, {"networkPolicy": {"bundlePort": 5000}})) == {5000, 53}
    told = merged(alone, {"policy": {"bundle": {"events": True}}})
    assert ports(told) == {443, 6443, 53}
    within = one(template(SETS["policies in a registry"], tmp_path), "NetworkPolicy")["spec"]["egress"]
    assert {"ipBlock": {"cidr": "10.0.7.13/32"}} in [peer for rule in within for peer in rule.get("to", ())]
