"""Rendering the chart with helm, and the sets of values that its tests render."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e.processes import clean_environment, program_path

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "manifests" / "chart" / "placet"
NAMESPACE: Final = "placet-system"
PEM: Final = """\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA3tkduW87WsvDSYjEWrUtE8rnO3aUkm5uJ8eTdWpDI2k=
-----END PUBLIC KEY-----
"""

# What an installation must give, and a certificate that is not made anew at each rendering.
BASE: Final[dict[str, Any]] = {
    "cluster": "prod-eu-1",
    "keyring": {"envelope": '{"payload": "e30="}', "roots": {"root-1.pub": PEM, "root-2.pub": PEM}},
    "record": {"logKey": {"existingSecret": "placet-log-key"}},
    "tls": {"existingSecret": "placet-tls", "caBundle": "authority"},
}


def merged(*layers: dict[str, Any]) -> dict[str, Any]:
    """Values as helm merges them: mappings by key, everything else replaced."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


# name -> values that are installed like this somewhere
SETS: Final[dict[str, dict[str, Any]]] = {
    "as placet init": merged(BASE, {"tls": {"existingSecret": "", "caBundle": ""}}),
    "one replica without a volume": merged(BASE, {"replicaCount": 1, "record": {"persistence": {"enabled": False}}}),
    "opa beside": merged(
        BASE,
        {"policy": {"engine": "opa"}, "opa": {"token": {"value": "t" * 40}, "extraArgs": ["--log-level=debug"]}},
    ),
    "opa elsewhere": merged(
        BASE,
        {
            "policy": {"engine": "opa"},
            "opa": {
                "url": "https://opa.example.com",
                "bundle": "pull",
                "token": {"existingSecret": "opa"},
                "ca": {"existingConfigMap": "opa-ca"},
            },
        },
    ),
    "cert-manager": merged(BASE, {"certManager": {"enabled": True}, "tls": {"existingSecret": "", "caBundle": ""}}),
    "cert-manager with an issuer": merged(
        BASE,
        {
            "certManager": {"enabled": True, "issuerRef": {"name": "internal", "kind": "ClusterIssuer"}},
            "tls": {"existingSecret": "", "caBundle": ""},
        },
    ),
    "mutual tls": merged(
        BASE, {"server": {"clientCa": {"pem": "authority"}, "clientNames": ["kube-apiserver"]}, "parents": "none"}
    ),
    "objects of the user's": merged(
        BASE,
        {
            "keyring": {"envelope": "", "existingConfigMap": "keyring"},
            "server": {"clientCa": {"existingConfigMap": "client-ca"}, "clientNames": ["kube-apiserver"]},
            "record": {
                "logKey": {"passphraseSecret": "passphrase"},
                "persistence": {"existingClaim": "evidence", "accessMode": "ReadWriteOncePod"},
            },
            "serviceAccount": {"create": False, "name": "gate"},
            "rbac": {"create": False},
            "replicaCount": 1,
        },
    ),
    "a configuration of the user's": {
        "config": {"existingConfigMap": "placet-config"},
        "record": {"logKey": {"existingSecret": "placet-log-key"}},
        "tls": {"existingSecret": "placet-tls"},
    },
    "postgres": merged(
        BASE,
        {
            "replicaCount": 3,
            "record": {
                "postgres": {
                    "url": "postgresql://placet_gate@db.example.com/placet",
                    "existingSecret": "placet-postgres",
                    "passwordKey": "password",
                    "caKey": "ca.crt",
                }
            },
            "networkPolicy": {"postgresCidrs": ["10.0.7.12/32"]},
        },
    ),
    "policies in a ConfigMap": merged(
        BASE, {"policy": {"bundle": {"existingConfigMap": "policies", "signers": {"keys": {"release.pub": PEM}}}}}
    ),
    "tried beside those that ship": merged(
        BASE,
        {
            "policy": {
                "bundle": {"signers": {"keys": {"release.pub": PEM}}},
                "shadow": {"existingConfigMap": "next", "data": "environments: {production: {max_level: low}}"},
            }
        },
    ),
    "policies in a registry": merged(
        BASE,
        {
            "policy": {
                "bundle": {
                    "url": "oci://registry.example.org/team/policies:stable",
                    "signers": {"existingSecret": "signers", "files": ["alice.pub", "bob.pub"], "threshold": 2},
                    "credentials": {"dockerConfigSecret": "registry"},
                    "ca": {"existingConfigMap": "registry-ca"},
                }
            },
            "networkPolicy": {"bundleCidrs": ["10.0.7.13/32"]},
        },
    ),
    "archived": merged(
        BASE,
        {
            "record": {
                "archive": {
                    "enabled": True,
                    "url": "s3://records/prod",
                    "logKeys": ["placet.dev/log/prod-eu-1+0123abcd+AXm1Vi6P5lT5QLF4EuiptZQfhTrmlb/X4OORAwutlgRk"],
                    "endpointUrl": "https://s3.example.org",
                    "credentials": {"existingSecret": "bucket"},
                    "ca": {"existingConfigMap": "s3-ca"},
                }
            },
            "networkPolicy": {"enabled": True},
        },
    ),
    "postgres by certificates and services": merged(
        BASE,
        {
            "replicaCount": 1,
            "record": {
                "persistence": {"enabled": False, "accessMode": "ReadWriteOncePod"},
                "spool": {"existingClaim": "denials"},
                "checkpoints": {"existingClaim": "checkpoints"},
                "postgres": {
                    "url": "postgresql:///?service=record",
                    "existingSecret": "placet-postgres",
                    "caKey": "ca.crt",
                    "certKey": "tls.crt",
                    "privateKeyKey": "tls.key",
                    "serviceKey": "pg_service.conf",
                },
            },
        },
    ),
    "everything": merged(
        BASE,
        {
            "autoscalers": "lookup",
            "lookups": {"cache": "informer"},
            "commonLabels": {"team": "platform"},
            "podLabels": {"tier": "control"},
            "podAnnotations": {"example.com/owner": "platform"},
            "deploymentAnnotations": {"example.com/owner": "platform"},
            "image": {"registry": "registry.example.com", "digest": f"sha256:{'a' * 64}"},
            "imagePullSecrets": [{"name": "registry"}],
            "revocations": {"tara-7.dsse.json": "{}"},
            "exemptions": {"nginx.dsse.json": "{}"},
            "policy": {"data": "environments:\n  production:\n    max_level: high\n"},
            "record": {
                "logKey": {"existingSecret": "", "pem": PEM},
                "publish": {"enabled": True},
                "export": {"enabled": True, "namespace": "witness", "kubeconfigSecret": "other-cluster"},
            },
            "webhook": {
                "pathToken": "p" * 32,
                "namespaceSelector": {
                    "matchLabels": {"gate": "on"},
                    "matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}],
                },
                "matchConditions": [{"name": "not-nodes", "expression": "request.userInfo.username != 'x'"}],
                "annotations": {"example.com/owner": "platform"},
            },
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "control", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}, "podAffinity": {}},
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "placet"}},
                }
            ],
            "priorityClass": {"create": True},
            "podDisruptionBudget": {"enabled": True},
            "networkPolicy": {
                "apiServerCidrs": ["10.0.0.0/28"],
                "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
                "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": 8181}]}],
            },
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
            "extraArgs": ["--port", "8443"],
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        },
    ),
}


def helm(*arguments: str | Path, values: dict[str, Any] | None = None, home: Path) -> subprocess.CompletedProcess[str]:
    """Run helm with values on its standard input.

    Args:
        arguments: of helm.
        values: given as ``-f -`` when not None.
        home: a folder for helm's own files.
    """
    more = [] if values is None else ["--values", "-"]
    return subprocess.run(
        [program_path("helm"), *arguments, *more],
        input=None if values is None else json.dumps(values),
        stdin=subprocess.DEVNULL if values is None else None,
        capture_output=True,
        text=True,
        env=clean_environment(home),
        check=False,
        timeout=60,
    )


def template(values: dict[str, Any], home: Path, *, namespace: str = NAMESPACE) -> str:
    """What the chart renders, hooks and test included."""
    done = helm("template", "placet", CHART, "--namespace", namespace, values=values, home=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(values: dict[str, Any], home: Path, *, namespace: str = NAMESPACE) -> str:
    """What helm says to values that can't be installed."""
    done = helm("template", "placet", CHART, "--namespace", namespace, values=values, home=home)
    assert done.returncode != 0, done.stdout
    return done.stderr


def objects(text: str) -> list[dict[str, Any]]:
    """The objects of a rendering."""
    return [found for found in yaml.safe_load_all(text) if found]


def one(text: str, kind: str, name: str = "placet") -> dict[str, Any]:
    """The one object of a kind and a name."""
    (found,) = [each for each in objects(text) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found
