"""Every value of the chart is documented, known to its schema, and does something; a wrong one is refused by name."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest
import yaml

from tests.manifests.charts import BASE, CHART, PEM, SETS, merged, refusal, template

VALUES: Final = (CHART / "values.yaml").read_text(encoding="utf-8")
DEFAULTS: Final[dict[str, Any]] = yaml.safe_load(VALUES)
SCHEMA: Final[dict[str, Any]] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
# Kubernetes' own objects: what is below them is Kubernetes' to describe.
FREE: Final = ("resources", "opa.resources", "record.archive.resources", "securityContext", "containerSecurityContext")
_KEY: Final = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]+):")

OPA: Final = SETS["opa beside"]
OPA_ELSEWHERE: Final = SETS["opa elsewhere"]
CERTIFICATES: Final = SETS["cert-manager"]
MTLS: Final = SETS["mutual tls"]
SEALED: Final = merged(BASE, {"record": {"persons": {"existingClaim": "persons", "keySecret": "persons"}}})
ELSEWHERE: Final = "tls.selfSigned.days"  # seen in the certificate alone: test_rendering.py reads it
TEXT: Final = "something-else"
MONITORED: Final = SETS["everything"]
POSTGRES: Final = SETS["postgres"]
CERTIFIED: Final = SETS["postgres by certificates and services"]
DATABASE: Final = "postgresql://placet_gate@db.example.com/placet"

IN_A_MAP: Final = SETS["policies in a ConfigMap"]
IN_A_REGISTRY: Final = SETS["policies in a registry"]
TRYING: Final = SETS["tried beside those that ship"]
IN_THE_WEB: Final = merged(
    IN_A_MAP,
    {
        "policy": {
            "bundle": {
                "existingConfigMap": "",
                "url": "https://files.example.org/p.tar.gz",
                "credentials": {"tokenSecret": "policies"},
            }
        }
    },
)
PUBLISHING = merged(BASE, {"record": {"publish": {"enabled": True}}})
ARCHIVING = SETS["archived"]
EXPORTING = merged(BASE, {"record": {"export": {"enabled": True, "namespace": "witness"}}})
# value -> another one; with the set of values in which it counts (BASE when not given), and what changes with it
CHANGES: Final[dict[str, Any]] = {
    "cluster": "prod-eu-2",
    "nameOverride": "gate",
    "fullnameOverride": "gate",
    "commonLabels": {"a": "b"},
    "replicaCount": 3,
    "revisionHistoryLimit": 5,
    "image.registry": "registry.example.com",
    "image.repository": "gate",
    "image.tag": "2",
    "image.digest": f"sha256:{'b' * 64}",
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "registry"}],
    "keyring.envelope": "{}",
    "keyring.roots": {"a.pub": PEM, "b.pub": PEM},
    "keyring.threshold": 1,
    "keyring.existingConfigMap": ("keyring", BASE, {"keyring": {"envelope": ""}}),
    "revocations": {"a.dsse.json": "{}"},
    "exemptions": {"a.dsse.json": "{}"},
    "policy.engine": ("opa", merged(BASE, {"opa": {"token": {"existingSecret": "opa"}}})),
    "policy.data": "environments: {production: {max_level: low}}",
    "policy.bundle.existingConfigMap": (TEXT, IN_A_MAP),
    "policy.bundle.existingSecret": (TEXT, IN_A_MAP, {"policy": {"bundle": {"existingConfigMap": ""}}}),
    "policy.bundle.key": ("other", IN_A_MAP),
    "policy.bundle.url": ("oci://registry.example.org/team/policies:7", IN_A_REGISTRY),
    "policy.bundle.pollSeconds": (5, IN_A_MAP),
    "policy.bundle.rollbackTo": (3, IN_A_MAP),
    "policy.bundle.events": (False, IN_A_MAP),
    "policy.bundle.signers.keys": ({"other.pub": PEM}, IN_A_MAP),
    "policy.bundle.signers.existingConfigMap": (
        TEXT,
        IN_A_REGISTRY,
        {"policy": {"bundle": {"signers": {"existingSecret": ""}}}},
    ),
    "policy.bundle.signers.existingSecret": (TEXT, IN_A_REGISTRY),
    "policy.bundle.signers.files": (["alice.pub", "carl.pub"], IN_A_REGISTRY),
    "policy.bundle.signers.threshold": (1, IN_A_REGISTRY),
    "policy.bundle.credentials.tokenSecret": (TEXT, IN_THE_WEB),
    "policy.bundle.credentials.tokenKey": (TEXT, IN_THE_WEB),
    "policy.bundle.credentials.dockerConfigSecret": (TEXT, IN_A_REGISTRY),
    "policy.bundle.credentials.dockerConfigKey": ("other", IN_A_REGISTRY),
    "policy.bundle.ca.existingConfigMap": (TEXT, IN_A_REGISTRY),
    "policy.bundle.ca.key": ("other.crt", IN_A_REGISTRY),
    "policy.shadow.existingConfigMap": (TEXT, TRYING),
    "policy.shadow.key": ("other", TRYING),
    "policy.shadow.url": (
        "oci://registry.example.org/team/policies:next",
        TRYING,
        {"policy": {"shadow": {"existingConfigMap": ""}}},
    ),
    "policy.shadow.data": ("environments: {production: {max_level: medium}}", TRYING),
    "policy.shadow.cpuPercent": (50, TRYING),
    "policy.shadow.maxWaitingReviews": (9, TRYING),
    "policy.shadow.windowSeconds": (60, TRYING),
    "opa.url": ("https://opa.example.com", OPA),
    "opa.bundle": ("push", OPA_ELSEWHERE),
    "opa.timeoutSeconds": (1, OPA),
    "opa.token.existingSecret": (TEXT, OPA),
    "opa.token.key": (TEXT, OPA_ELSEWHERE),
    "opa.token.value": ("u" * 40, OPA),
    "opa.ca.existingConfigMap": (TEXT, OPA_ELSEWHERE),
    "opa.ca.key": (TEXT, OPA_ELSEWHERE),
    "opa.image.registry": ("registry.example.com", OPA),
    "opa.image.repository": ("opa", OPA),
    "opa.image.tag": ("2", OPA),
    "opa.image.digest": (f"sha256:{'b' * 64}", OPA),
    "opa.image.pullPolicy": ("Always", OPA),
    "opa.extraArgs": (["--pprof"], OPA),
    "opa.resources": ({"limits": {"memory": "1Gi"}}, OPA),
    "autoscalers": "none",
    "parents": "none",
    "namespaces": "none",
    "environments": "none",
    "lookups.cache": "informer",
    "lookups.maxAgeSeconds": (30, merged(BASE, {"lookups": {"cache": "informer"}})),
    "record.origin": "example.com/log",
    "record.logKey.existingSecret": TEXT,
    "record.logKey.key": "other.key",
    "record.logKey.nextKey": "next.key",
    "record.logKey.pem": ("key", BASE, {"record": {"logKey": {"existingSecret": ""}}}),
    "record.logKey.passphraseSecret": TEXT,
    "record.logKey.passphraseKey": (TEXT, merged(BASE, {"record": {"logKey": {"passphraseSecret": TEXT}}})),
    "record.persistence.enabled": (False, merged(BASE, {"replicaCount": 1})),
    "record.persistence.existingClaim": TEXT,
    "record.persistence.accessMode": ("ReadWriteOncePod", merged(BASE, {"replicaCount": 1})),
    "record.persistence.storageClass": TEXT,
    "record.persistence.size": "20Gi",
    "record.persistence.keep": False,
    "record.persistence.annotations": {"a": "b"},
    "record.postgres.url": "postgresql://placet_gate@db.example.com/placet",
    "record.postgres.existingSecret": (TEXT, POSTGRES),
    "record.postgres.passwordKey": (TEXT, POSTGRES),
    "record.postgres.caKey": (TEXT, POSTGRES),
    "record.postgres.certKey": (TEXT, CERTIFIED),
    "record.postgres.privateKeyKey": (TEXT, CERTIFIED),
    "record.postgres.serviceKey": (TEXT, CERTIFIED),
    "record.spool.enabled": False,
    "record.spool.existingClaim": TEXT,
    "record.checkpoints.existingClaim": TEXT,
    "record.persons.existingClaim": (TEXT, merged(BASE, {"record": {"persons": {"keySecret": TEXT}}})),
    "record.persons.keySecret": ("another", SEALED),
    "record.persons.key": ("other.key", SEALED),
    "record.retention.modelArtifactsDays": 400,
    "record.retention.approvalRecordsDays": 400,
    "record.retention.auditLogsDays": 400,
    "record.publish.enabled": True,
    "record.archive.enabled": (True, merged(ARCHIVING, {"record": {"archive": {"enabled": False}}})),
    "record.archive.schedule": ("0 1 * * *", ARCHIVING),
    "record.archive.url": ("s3://other/log", ARCHIVING),
    "record.archive.endpointUrl": ("https://other.example.org", ARCHIVING),
    "record.archive.region": (TEXT, ARCHIVING),
    "record.archive.logKeys": (["other+89abcdef+AXm1Vi6P5lT5QLF4EuiptZQfhTrmlb/X4OORAwutlgRk"], ARCHIVING),
    "record.archive.lockDays": (30, ARCHIVING),
    "record.archive.credentials.existingSecret": (TEXT, ARCHIVING),
    "record.archive.credentials.accessKeyIdKey": ("other", ARCHIVING),
    "record.archive.credentials.secretAccessKeyKey": ("other", ARCHIVING),
    "record.archive.ca.existingConfigMap": (TEXT, ARCHIVING),
    "record.archive.ca.key": ("other.crt", ARCHIVING),
    "record.archive.serviceAccountAnnotations": ({"example.org/role": "writer"}, ARCHIVING),
    "record.archive.port": (9000, ARCHIVING),
    "record.archive.cidrs": (["192.0.2.0/24"], ARCHIVING),
    "record.archive.resources": ({"limits": {"memory": "1Gi"}}, ARCHIVING),
    "record.publish.namespace": (TEXT, PUBLISHING),
    "record.publish.events": (False, PUBLISHING),
    "record.publish.decisions": (0, PUBLISHING),
    "record.publish.maxConfigMaps": (50, PUBLISHING),
    "record.publish.reports": (False, PUBLISHING),
    "record.export.enabled": True,
    "record.export.namespace": (TEXT, EXPORTING),
    "record.export.configMap": ("other", EXPORTING),
    "record.export.kubeconfigSecret": (TEXT, EXPORTING),
    "record.export.kubeconfigKey": ("other", merged(EXPORTING, {"record": {"export": {"kubeconfigSecret": TEXT}}})),
    "config.existingConfigMap": (TEXT, BASE, {"cluster": "", "keyring": {"envelope": "", "roots": None}}),
    "server.host": "::",
    "server.tlsMinimum": "1.2",
    "server.threads": 8,
    "server.drainSeconds": 20,
    "server.clientCa.pem": ("another", MTLS),
    "server.clientCa.existingConfigMap": (TEXT, MTLS),
    "server.clientCa.key": (TEXT, SETS["objects of the user's"]),
    "server.clientNames": (["other"], MTLS),
    "server.clientSans": (["URI:spiffe://cluster/apiserver"], MTLS),
    "server.maxConnections": 100,
    "server.maxConnectionsPerAddress": 50,
    "server.maxWaitingReviews": 50,
    "server.maxBodyMebibytes": 128,
    "log.level": "debug",
    "log.format": "text",
    "webhook.enabled": False,
    "webhook.environments": ["production"],
    "webhook.defaultEnvironment": ("staging", BASE, {"policy": {"data": "namespaces: {default_environment: staging}"}}),
    "webhook.excludedNamespaces": [],
    "webhook.namespaceSelector": {"matchLabels": {"a": "b"}},
    "webhook.failurePolicy": "Ignore",
    "webhook.timeoutSeconds": 5,
    "webhook.matchConditions": [{"name": "a", "expression": "true"}],
    "webhook.extraRules": [
        {
            "apiGroups": ["example.com"],
            "apiVersions": ["*"],
            "resources": ["servers"],
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced",
        }
    ],
    "webhook.annotations": {"a": "b"},
    "webhook.pathToken": "p" * 32,
    "webhook.url": "https://gate.example.com:8443",
    "canary.enabled": False,
    "canary.intervalSeconds": 60,
    "canary.namespaceLabels": {"a": "b"},
    "service.port": 8443,
    "service.statusPort": 9090,
    "service.annotations": {"a": "b"},
    "certManager.enabled": (True, SETS["as placet init"]),
    "certManager.issuerRef": ({"name": "internal"}, CERTIFICATES),
    "certManager.duration": ("24h", CERTIFICATES),
    "certManager.renewBefore": ("8h", CERTIFICATES),
    "tls.existingSecret": TEXT,
    "tls.caBundle": "another",
    "serviceAccount.create": False,
    "serviceAccount.name": "gate",
    "serviceAccount.annotations": {"a": "b"},
    "rbac.create": False,
    "podLabels": {"a": "b"},
    "podAnnotations": {"a": "b"},
    "deploymentAnnotations": {"a": "b"},
    "resources": {"limits": {"memory": "2Gi"}},
    "securityContext": {"runAsUser": 1000},
    "containerSecurityContext": {"readOnlyRootFilesystem": False},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 1}],
    "priorityClassName": "system-cluster-critical",
    "priorityClass.create": True,
    "priorityClass.value": (5, MONITORED),
    "podDisruptionBudget.enabled": True,
    "podDisruptionBudget.minAvailable": ("50%", MONITORED),
    "networkPolicy.enabled": False,
    "networkPolicy.apiServerCidrs": ["10.0.0.0/8"],
    "networkPolicy.metricsFrom": [{"podSelector": {}}],
    "networkPolicy.postgresCidrs": (["10.0.0.0/8"], POSTGRES),
    "networkPolicy.postgresPort": (6432, POSTGRES),
    "networkPolicy.bundleCidrs": (["10.0.0.0/8"], IN_A_REGISTRY),
    "networkPolicy.bundlePort": (5000, IN_A_REGISTRY),
    "networkPolicy.extraEgress": [{"ports": [{"port": 1}]}],
    "serviceMonitor.enabled": True,
    "serviceMonitor.labels": ({"a": "b"}, MONITORED),
    "serviceMonitor.interval": ("5s", MONITORED),
    "prometheusRule.enabled": True,
    "prometheusRule.labels": ({"a": "b"}, MONITORED),
    "prometheusRule.keyringDays": (3, MONITORED),
    "prometheusRule.certificateDays": (3, MONITORED),
    "uninstallHook.enabled": False,
    "test.enabled": False,
    "test.namespace": "models",
    "extraArgs": ["--port", "1"],
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
}


def leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Paths of all values; a mapping that is empty, or Kubernetes' own, is one value."""
    found: list[str] = []
    for key, value in values.items():
        path = f"{prefix}{key}"
        found += leaves(value, f"{path}.") if isinstance(value, dict) and value and path not in FREE else [path]
    return found


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


@pytest.mark.parametrize("path", sorted({*leaves(DEFAULTS)} - {ELSEWHERE}))
def test_every_value_changes_what_is_rendered(path: str, tmp_path: Path) -> None:
    change = CHANGES[path]
    value, base, *with_it = change if isinstance(change, tuple) else (change, BASE)
    changed = template(merged(base, *with_it, nested(path, value)), tmp_path)
    assert masked(changed) not in twice(json.dumps(base), tmp_path.parent)


@functools.cache
def twice(base: str, home: Path) -> set[str]:
    """What one set of values renders; two renderings that differ would make every comparison with them say nothing."""
    rendered = {masked(template(json.loads(base), home)) for _ in range(2)}
    assert len(rendered) == 1
    return rendered


def masked(rendered: str) -> str:
    """Without the bytes of certificates that helm makes, which differ each time."""
    return re.sub(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]+", "<made>", rendered)


def test_no_change_is_tested_of_a_value_that_is_gone() -> None:
    assert {*CHANGES, ELSEWHERE} == set(leaves(DEFAULTS))


def test_every_value_is_explained_where_it_stands() -> None:
    lines = VALUES.splitlines()
    unexplained, inside = [], None
    for number, line in enumerate(lines):
        match = _KEY.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        if inside is not None and indent > inside:
            continue
        inside = indent if match["key"] in {path.rpartition(".")[2] for path in FREE} else None
        is_section = line.rstrip().endswith(":") and inside is None
        if not lines[number - 1].lstrip().startswith("#") and not is_section:
            unexplained.append(line)
    assert unexplained == []


def test_the_schema_knows_every_value_and_the_defaults_are_valid() -> None:
    assert list(jsonschema_rs.validator_for(SCHEMA).iter_errors(DEFAULTS)) == []
    assert known(SCHEMA) - {"global"} >= set(leaves(DEFAULTS))


def known(schema: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key, part in schema.get("properties", {}).items():
        resolved = SCHEMA["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        found |= {f"{prefix}{key}"} | known(resolved, f"{prefix}{key}.")
    return found


def test_no_object_of_the_schema_takes_what_it_does_not_know() -> None:
    def open_objects(part: Any, path: str) -> list[str]:
        if isinstance(part, list):
            return [found for item in part for found in open_objects(item, path)]
        if not isinstance(part, dict):
            return []
        own = [path] if "properties" in part and part.get("additionalProperties") is not False else []
        return own + [found for key, value in part.items() for found in open_objects(value, f"{path}/{key}")]

    assert open_objects(SCHEMA, "") == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicaCout": 3}, "replicaCout"),
        ({"webhook": {"failurPolicy": "Ignore"}}, "failurPolicy"),
        ({"webhook": {"failurePolicy": "ignore"}}, "/webhook/failurePolicy"),
        ({"webhook": {"timeoutSeconds": 31}}, "/webhook/timeoutSeconds"),
        ({"webhook": {"pathToken": "short"}}, "/webhook/pathToken"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"record": {"persistence": {"accessMode": "ReadWriteMany"}}}, "/record/persistence/accessMode"),
        ({"record": {"postgres": {"url": "mysql://db.example.com/placet"}}}, "/record/postgres/url"),
        ({"record": {"postgres": {"password": "hunter2"}}}, "password"),
        ({"networkPolicy": {"postgresPort": 0}}, "/networkPolicy/postgresPort"),
        ({"replicaCount": "2"}, "/replicaCount"),
        ({"keyring": {"roots": {"../../etc/passwd": "x"}}}, "keyring"),
        ({"revocations": {"a.json": "{}"}}, "revocations"),
        ({"opa": {"token": {"value": "short"}}}, "/opa/token/value"),
    ],
)
def test_a_typo_is_refused_by_name(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    said = refusal(merged(BASE, values), tmp_path)
    assert "don't meet the specifications of the schema" in said
    assert words in said.replace(".", "/") or words in said


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cluster": ""}, "cluster is empty"),
        ({"keyring": {"envelope": ""}}, "there is no keyring, so nobody could approve anything"),
        ({"keyring": {"existingConfigMap": "a"}}, "keyring.envelope and keyring.existingConfigMap are both given"),
        ({"keyring": {"roots": None}}, "keyring.roots is empty"),
        ({"keyring": {"threshold": 3}}, "keyring.threshold is 3, and there are 2 roots"),
        (
            {"webhook": {"defaultEnvironment": "staging"}},
            "webhook.defaultEnvironment is staging, and the policy data says",
        ),
        ({"policy": {"data": "namespaces: {default_environment: staging}"}}, "and the policy data says staging"),
        ({"record": {"logKey": {"existingSecret": ""}}}, "create secret generic placet-log-key"),
        ({"record": {"logKey": {"pem": "x"}}}, "record.logKey.existingSecret and record.logKey.pem are both given"),
        ({"record": {"persistence": {"enabled": False}}}, "each replica would write a record of its own"),
        ({"record": {"persistence": {"accessMode": "ReadWriteOncePod"}}}, "the second replica could not mount"),
        ({"record": {"postgres": {"existingSecret": "x"}}}, "go with record.postgres.url"),
        ({"record": {"postgres": {"passwordKey": "x"}}}, "go with record.postgres.url"),
        ({"record": {"postgres": {"url": DATABASE, "passwordKey": "x"}}}, "create secret generic placet-postgres"),
        ({"record": {"postgres": {"url": DATABASE, "existingSecret": "x"}}}, "existingSecret without any key in it"),
        (
            {"record": {"postgres": {"url": DATABASE, "existingSecret": "x", "certKey": "x"}}},
            "record.postgres.certKey and record.postgres.privateKeyKey go together",
        ),
        ({"record": {"postgres": {"url": "postgresql://gate:pw@db/placet"}}}, "record.postgres.url holds a password"),
        ({"record": {"postgres": {"url": f"{DATABASE}?password=pw"}}}, "record.postgres.url holds a password"),
        (
            {"record": {"postgres": {"url": DATABASE}, "spool": {"existingClaim": "x"}}},
            "record.spool.existingClaim is one volume for replicas on several nodes",
        ),
        ({"certManager": {"enabled": True}}, "certManager.enabled and tls.existingSecret are both given"),
        ({"tls": {"existingSecret": ""}}, "tls.caBundle goes with tls.existingSecret"),
        ({"tls": {"caBundle": ""}}, "tls.existingSecret without tls.caBundle"),
        ({"server": {"clientCa": {"pem": "x"}}}, "server.clientCa without server.clientNames or server.clientSans"),
        ({"server": {"clientSans": ["DNS:x"]}}, "server.clientNames or server.clientSans without server.clientCa"),
        ({"server": {"clientNames": ["x"]}}, "server.clientNames or server.clientSans without server.clientCa"),
        ({"policy": {"engine": "opa"}}, "there is no token between the webhook and OPA"),
        ({"policy": {"engine": "opa"}, "opa": {"bundle": "pull", "token": {"existingSecret": "x"}}}, "opa.bundle pull"),
        ({"opa": {"url": "http://127.0.0.1:8181"}}, "opa.url goes with policy.engine: opa"),
        ({"config": {"existingConfigMap": "x"}}, "cluster has no effect with config.existingConfigMap"),
    ],
)
def test_what_can_not_work_is_refused_with_what_to_do(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    said = refusal(merged(BASE, values), tmp_path)
    assert "placet can't be installed like this:" in said
    assert words in said


@pytest.mark.parametrize("namespace", ["default", "kube-system"])
def test_a_namespace_of_others_is_refused(namespace: str, tmp_path: Path) -> None:
    said = refusal(BASE, tmp_path, namespace=namespace)
    assert "install into one of its own (-n placet-system --create-namespace)" in said


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    said = refusal({}, tmp_path)
    assert len(re.findall(r"^- ", said, re.MULTILINE)) == 4
    assert "`placet init` writes a values.yaml to start from" in said
