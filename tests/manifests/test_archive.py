"""The CronJob of the archive: it may do nothing in the cluster, and no secret is in the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.manifests.charts import BASE, merged, objects, refusal, template

VKEY: Final = "placet.dev/log/prod-eu-1+0123abcd+AXm1Vi6P5lT5QLF4EuiptZQfhTrmlb/X4OORAwutlgRk"
ON: Final[dict[str, Any]] = {"enabled": True, "url": "s3://records/prod", "logKeys": [VKEY]}
FULL: Final[dict[str, Any]] = ON | {
    "endpointUrl": "https://s3.example.org",
    "region": "eu-central-1",
    "credentials": {"existingSecret": "bucket"},
    "ca": {"existingConfigMap": "s3-ca"},
    "cidrs": ["192.0.2.0/24"],
}


def rendered(folder: Path, **record: Any) -> dict[tuple[str, str], Any]:
    made = objects(template(merged(BASE, {"record": record, "networkPolicy": {"enabled": True}}), folder))
    return {(each["kind"], each["metadata"]["name"]): each for each in made}


def test_nothing_of_it_is_there_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert not [name for kind, name in rendered(tmp_path) if name.endswith("-archive") or kind == "CronJob"]


def test_it_has_no_right_no_token_and_only_what_it_needs(tmp_path: Path) -> None:
    made = rendered(tmp_path, archive=FULL)
    (job,) = [each for (kind, _), each in made.items() if kind == "CronJob"]
    name = job["metadata"]["name"]
    account = made["ServiceAccount", name]
    pod = job["spec"]["jobTemplate"]["spec"]["template"]
    spec = pod["spec"]
    assert (account["automountServiceAccountToken"], spec["automountServiceAccountToken"]) == (False, False)
    assert spec["serviceAccountName"] == name
    bound = [one for each in made.values() for one in each.get("subjects", []) if one["name"] == name]
    assert bound == [], "no role is bound to it"
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["command"] == ["placet"]
    assert container["args"] == [
        "audit", "archive", "s3://records/prod", "--store=/placet/record/record.sqlite", f"--log-key={VKEY}",
        "--lock-days=3653", "--endpoint-url=https://s3.example.org", "--region=eu-central-1",
        "--ca-file=/placet/archive-ca/ca.crt",
    ]  # fmt: skip
    secrets = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"] if "valueFrom" in one}
    assert secrets == {
        "AWS_ACCESS_KEY_ID": {"name": "bucket", "key": "access-key-id"},
        "AWS_SECRET_ACCESS_KEY": {"name": "bucket", "key": "secret-access-key"},
    }
    assert {one["name"] for one in spec["volumes"]} == {"tmp", "record", "archive-ca"}, "not the log's private key"
    assert "podAffinity" in spec["affinity"]


def test_its_network_reaches_the_server_and_names_alone(tmp_path: Path) -> None:
    made = rendered(tmp_path, archive=FULL)
    (policy,) = [each["spec"] for (kind, name), each in made.items() if kind == "NetworkPolicy" and "archive" in name]
    assert policy["ingress"] == []
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [[443], [53, 53]]
    assert policy["egress"][0]["to"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    (job,) = [each for (kind, _), each in made.items() if kind == "CronJob"]
    labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    (gate,) = [each["spec"] for (kind, name), each in made.items() if kind == "Service" for name in [name]][:1]
    assert not gate["selector"].items() <= labels.items(), "and no request is sent to it"


def test_a_record_in_a_database_is_read_as_the_gate_reads_it(tmp_path: Path) -> None:
    database = {"url": "postgresql://placet_gate@db/placet", "existingSecret": "db", "passwordKey": "p", "caKey": "ca"}
    made = rendered(tmp_path, archive=FULL, postgres=database)
    (job,) = [each for (kind, _), each in made.items() if kind == "CronJob"]
    spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    environment = {one["name"] for one in spec["containers"][0]["env"]}
    assert {"PGPASSWORD", "PGSSLROOTCERT"} <= environment
    assert "PLACET_LOG_KEY_PASSPHRASE" not in environment
    assert {one["name"] for one in spec["volumes"]} == {"tmp", "postgres", "archive-ca"}
    assert "affinity" not in spec


def test_the_gates_configuration_names_the_archive_so_that_prune_asks_it(tmp_path: Path) -> None:
    made = rendered(tmp_path, archive=FULL)
    (config,) = [
        yaml.safe_load(each["data"]["placet.yaml"])
        for (kind, _), each in made.items()
        if kind == "ConfigMap" and "placet.yaml" in each.get("data", {})
    ]
    assert config["record"]["archive"] == {
        "url": "s3://records/prod",
        "endpoint_url": "https://s3.example.org",
        "region": "eu-central-1",
        "ca_file": "archive-ca.crt",
    }


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"archive": {"enabled": True, "logKeys": [VKEY]}}, "without record.archive.url"),
        ({"archive": {"enabled": True, "url": "s3://a/b"}}, "without record.archive.logKeys"),
        ({"archive": ON, "persistence": {"enabled": False}}, "no other Pod could read the record"),
        ({"archive": ON, "persistence": {"accessMode": "ReadWriteOncePod"}}, "could not mount the record"),
        ({"archive": ON | {"url": "records"}}, "url"),
        ({"archive": ON | {"secretAccessKey": "x"}}, "secretAccessKey"),
    ],
)
def test_what_can_not_work_is_refused(record: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in refusal(merged(BASE, {"replicaCount": 1, "record": record}), tmp_path)
