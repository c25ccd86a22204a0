"""The Helm chart on a real API server with real controllers; a small kubelet runs what its Pods say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.chartcluster import CHART, CONFIGURATIONS, MODELS, ROOT, SYSTEM, TIMEOUT_S, ChartCluster
from tests.e2e.processes import poll_until
from tests.e2e.registration import registry_rules, workload_rules

ROLES = ("technical", "security", "business")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChartCluster]:
    """A cluster in which the chart was installed as README.txt of the folder says."""
    with ChartCluster.started(tmp_path_factory.mktemp("team")) as cluster:
        cluster.make_system()
        cluster.plane.create_namespace("mistyped", {"placet.dev/environment": "prodction"})  # refused afterwards
        cluster.install()
        yield cluster


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[ChartCluster]:
    """A cluster without placet."""
    with ChartCluster.started(tmp_path) as cluster:
        yield cluster


def pods(cluster: ChartCluster) -> set[str]:
    listed = cluster.plane.api.get(f"/api/v1/namespaces/{SYSTEM}/pods")["items"]
    return {
        pod["metadata"]["name"]
        for pod in listed
        if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "webhook"
        and "deletionTimestamp" not in pod["metadata"]
    }


def find_waiting(cluster: ChartCluster) -> set[str]:
    """Why containers of the webhook's Pods wait."""
    listed = cluster.plane.api.get(f"/api/v1/namespaces/{SYSTEM}/pods")["items"]
    statuses = [status for pod in listed for status in pod["status"].get("containerStatuses", ())]
    return {status["state"]["waiting"]["message"] for status in statuses if "waiting" in status["state"]}


def records(cluster: ChartCluster) -> list[dict[str, Any]]:
    store = cluster.kubelet.folder / "claims" / "placet-record" / "record.sqlite"
    listed = cluster.team.run("audit", "list", "--store", str(store), "-o", "json").stdout
    return [item["record"] for item in json.loads(listed)["records"]]


def approved(cluster: ChartCluster, name: str) -> str:
    """A copy of the example with another name and all approvals; gives its file."""
    file = cluster.folder / f"{name}.yaml"
    if not file.exists():
        shutil.copyfile(cluster.folder / "deploy.yaml", file)
        manifest = yaml.safe_load(file.read_text(encoding="utf-8"))
        manifest["metadata"]["name"] = name
        manifest["metadata"]["annotations"] = {
            key: value
            for key, value in manifest["metadata"]["annotations"].items()
            if not key.startswith("placet.dev/evidence")
        }
        file.write_text(yaml.safe_dump(manifest), encoding="utf-8")
        cluster.team.attest(file.name)
        cluster.team.approve(file.name, *ROLES)
    return file.name


def test_an_unapproved_model_is_refused_and_an_approved_one_admitted(installed: ChartCluster) -> None:
    refused = installed.apply("deploy.yaml")
    assert refused.returncode == 1
    assert 'admission webhook "production.placet.dev" denied the request: placet refuses' in refused.stderr
    assert "no valid security approval" in refused.stderr
    admitted = installed.apply(approved(installed, "admitted"))
    assert admitted.returncode == 0, admitted.stderr
    newest = [(record["name"], record["allowed"]) for record in records(installed) if record.get("type") == "decision"]
    assert ("admitted", True) in newest
    assert ("llama", False) in newest


def test_a_namespace_with_no_label_or_an_unknown_one_counts_as_production(installed: ChartCluster) -> None:
    for namespace in ("default", "mistyped"):
        refused = installed.run_check(namespace)
        assert 'admission webhook "other-namespaces.placet.dev" denied the request: placet refuses' in refused.stderr
        assert "for production" in refused.stderr
    installed.plane.create_namespace("trying", {"placet.dev/environment": "development"})
    assert '"development.placet.dev" denied' in installed.run_check("trying").stderr


def test_neither_kube_system_nor_its_own_namespace_is_asked_about(installed: ChartCluster) -> None:
    for namespace in ("kube-system", SYSTEM):
        assert installed.run_check(namespace).returncode == 0


def test_the_webhook_is_asked_about_everything_that_decides_what_runs(installed: ChartCluster) -> None:
    (found,) = [
        item for item in installed.plane.api.get(CONFIGURATIONS)["items"] if item["metadata"]["name"] == "placet"
    ]
    assert found["webhooks"].pop()["name"] == "namespaces.placet.dev"  # test_namespace_guard.py
    for webhook in found["webhooks"]:
        rules = [{**rule, "resources": sorted(rule["resources"])} for rule in webhook["rules"]]
        wanted = (*workload_rules(), *registry_rules())
        assert sorted(rules, key=by_group) == sorted(
            ({**rule, "resources": sorted(rule["resources"])} for rule in wanted), key=by_group
        )
        facts = (webhook["failurePolicy"], webhook["matchPolicy"], webhook["sideEffects"], webhook["objectSelector"])
        assert facts == ("Fail", "Equivalent", "NoneOnDryRun", {})


def by_group(rule: dict[str, Any]) -> list[str]:
    return [*rule["apiGroups"], *rule["resources"]]


def test_the_canaries_of_the_chart_are_sent_and_refused_by_its_gate(installed: ChartCluster) -> None:
    """Each Pod says so once for each namespace; with the rights of its own service account alone."""
    places = ("development", "staging", "production", "other-namespaces")
    told = re.compile(r'"message": "canary", "canary": "placet-canary-([a-z-]+)".*"outcome": "refused_by_us"')
    assert poll_until(lambda: set(told.findall(installed.kubelet.log("placet"))) == set(places), TIMEOUT_S), (
        installed.kubelet.log("placet")[-2000:]
    )


def test_the_command_of_the_notes_is_refused(installed: ChartCluster) -> None:
    notes = installed.helm("get", "notes", "placet", "-n", SYSTEM)
    (command,) = [line.strip() for line in notes.splitlines() if "placet-check" in line]
    assert "denied the request: placet refuses" in installed.shell(f"! ( {command} ) 2>&1")
    (status,) = [line.strip() for line in notes.splitlines() if "rollout status" in line]
    assert "successfully rolled out" in installed.shell(status)


def test_helm_test_asks_the_api_server_and_leaves_no_rights_behind(installed: ChartCluster) -> None:
    assert "Succeeded" in installed.helm("test", "placet", "-n", SYSTEM)
    assert "is refused in namespace default" in installed.kubelet.log("placet-test")
    left = installed.plane.kubectl("get", "role,rolebinding", "-n", "default", "-o", "name").stdout
    assert "placet" not in left
    assert "placet-test" not in installed.plane.kubectl("get", "pods,serviceaccounts", "-n", SYSTEM).stdout


def test_helm_test_fails_where_a_model_would_be_admitted(installed: ChartCluster) -> None:
    text = installed.helm("upgrade", "placet", CHART, "-n", SYSTEM, "--reuse-values",
                          "--set", "webhook.enabled=false")  # fmt: skip
    assert "NOTHING IS GOVERNED YET" in text
    try:
        assert poll_until(lambda: installed.run_check("default").returncode == 0, TIMEOUT_S)
        installed.helm("test", "placet", "-n", SYSTEM, expect=1)
        assert "would be admitted" in installed.kubelet.log("placet-test")
    finally:
        installed.plane.kubectl("-n", SYSTEM, "delete", "pod", "placet-test", "--ignore-not-found")
        # The canary's Namespaces went with the webhook; what is being deleted takes nothing new.
        assert poll_until(lambda: not installed.ending_namespaces(), TIMEOUT_S)
        installed.install(command="upgrade")
    assert poll_until(lambda: installed.run_check("default").returncode == 1, TIMEOUT_S)


@pytest.mark.parametrize("section", ["A Deployment", "A Helm release"])
def test_the_commands_of_the_examples_do_what_they_say(installed: ChartCluster, section: str) -> None:
    text = (ROOT / "manifests" / "examples" / "README.md").read_text(encoding="utf-8")
    block = text.partition(f"## {section}\n")[2].partition("```sh\n")[2].partition("```")[0]
    for line in (line for line in block.splitlines() if line and "namespace ml-serving" not in line):
        command, _, claim = line.partition(" # ")
        if claim.startswith("refused"):
            said = installed.shell(f"! ( {command} ) 2>&1")
            assert "denied the request: placet refuses" in said
            assert "no valid security approval" in said
        else:
            said = installed.shell(command)
            assert claim in said
    installed.plane.kubectl("delete", "deployment", "llama", "-n", MODELS)


def test_what_is_there_is_not_installed_again(installed: ChartCluster) -> None:
    again = installed.helm("install", "placet", CHART, "-n", SYSTEM, "-f", installed.folder / "values.yaml", expect=1)
    assert "cannot reuse a name that is still in use" in again.replace("re-use", "reuse")
    elsewhere = installed.helm("install", "placet", CHART, "-n", "default-2", "--create-namespace",
                               "-f", installed.folder / "values.yaml", expect=1)  # fmt: skip
    assert "exists and cannot be imported into the current release" in elsewhere


def test_a_new_keyring_takes_effect_without_a_restart_or_a_refused_call(installed: ChartCluster) -> None:
    honest, revoked = approved(installed, "honest"), approved(installed, "revoked")
    assert installed.apply(revoked, "--dry-run=server").returncode == 0
    before = pods(installed)
    shown = json.loads(installed.team.run("verify", "-f", revoked, "-e", "production", "-o", "json", expect=0).stdout)
    source = installed.folder / "keyring.yaml"
    keyring = yaml.safe_load(source.read_text(encoding="utf-8"))
    keyring["version"] += 1
    keyring["revokedApprovals"] = [find_approval_id(shown)]
    source.write_text(yaml.safe_dump(keyring), encoding="utf-8")
    for number in (1, 2):
        installed.team.run("keyring", "sign", "--key", f"keys/root-{number}.key")
    with installed.honest_calls(honest) as failures:
        installed.install(
            "--set-file", f"keyring.envelope={installed.folder / 'keyring.dsse.json'}", command="upgrade", wait=False
        )
        assert poll_until(lambda: "revoked" in installed.apply(revoked, "--dry-run=server").stderr, TIMEOUT_S)
    assert failures == []
    assert pods(installed) == before


def find_approval_id(shown: Any) -> str:
    found = re.search(r'"approval_id": "([^"]+)"', json.dumps(shown))
    assert found is not None, shown
    return found[1]


def test_a_change_of_settings_replaces_every_pod_without_a_refused_call(installed: ChartCluster) -> None:
    honest = approved(installed, "honest")
    before, pair = pods(installed), serving_pair(installed)
    keyring = f"keyring.envelope={installed.folder / 'keyring.dsse.json'}"
    with installed.honest_calls(honest) as failures:
        installed.install("--set-file", keyring, "--set", "server.threads=2", command="upgrade")
        assert poll_until(lambda: not pods(installed) & before, TIMEOUT_S)
    assert failures == []
    assert serving_pair(installed) == pair, "the certificate that helm made was not kept"
    assert installed.kubelet.restarted == []


def serving_pair(cluster: ChartCluster) -> tuple[str, str]:
    secret = cluster.plane.api.get(f"/api/v1/namespaces/{SYSTEM}/secrets/placet-tls")
    (found,) = [item for item in cluster.plane.api.get(CONFIGURATIONS)["items"] if item["metadata"]["name"] == "placet"]
    assert {webhook["clientConfig"]["caBundle"] for webhook in found["webhooks"]} == {secret["data"]["ca.crt"]}
    return secret["data"]["tls.crt"], secret["data"]["ca.crt"]


def test_it_waits_for_a_secret_and_an_uninstall_gives_the_cluster_back(bare: ChartCluster) -> None:
    early = bare.helm("install", "placet", CHART, "-n", SYSTEM, "-f", bare.folder / "values.yaml", expect=1)
    assert f'namespaces "{SYSTEM}" not found' in early
    bare.plane.kubectl("create", "namespace", SYSTEM)
    bare.helm("install", "placet", CHART, "-n", SYSTEM, "-f", bare.folder / "values.yaml",
              "--set", "server.drainSeconds=3")  # fmt: skip
    assert poll_until(lambda: find_waiting(bare) == {'secret "placet-log-key" not found'}, TIMEOUT_S)
    assert 'no endpoints available for service "placet"' in bare.apply("deploy.yaml").stderr
    bare.make_log_key()
    bare.plane.kubectl("-n", SYSTEM, "rollout", "status", "deployment/placet", f"--timeout={TIMEOUT_S:g}s",
                       timeout_s=TIMEOUT_S)  # fmt: skip
    assert "denied the request: placet refuses" in bare.apply("deploy.yaml").stderr
    refused = records(bare)

    with bare.honest_calls(approved(bare, "honest")) as failures:
        text = bare.helm("uninstall", "placet", "-n", SYSTEM, "--wait", f"--timeout={TIMEOUT_S:g}s")
        assert poll_until(lambda: pods(bare) == set(), TIMEOUT_S)
    assert failures == []
    assert "[PersistentVolumeClaim] placet-record" in text
    assert "placet" not in [item["metadata"]["name"] for item in bare.plane.api.get(CONFIGURATIONS)["items"]]
    assert bare.apply("deploy.yaml").returncode == 0
    left = bare.plane.kubectl("get", "clusterrole,clusterrolebinding,serviceaccount", "-n", SYSTEM, "-o", "name").stdout
    assert "placet" not in left
    bare.plane.kubectl("delete", "deployment", "llama", "-n", MODELS)

    bare.install()
    assert "denied the request: placet refuses" in bare.apply("deploy.yaml").stderr
    assert [item for item in records(bare) if item in refused] == refused, "the record does not go on"


def test_the_opa_beside_the_webhook_decides_the_same(bare: ChartCluster) -> None:
    bare.make_system()
    bare.install("--set", "policy.engine=opa", "--set", f"opa.token.value={'t' * 40}")
    refused = bare.apply("deploy.yaml")
    assert "no valid security approval" in refused.stderr
    admitted = bare.apply(approved(bare, "admitted"))
    assert admitted.returncode == 0, admitted.stderr
    assert bare.kubelet.restarted == []


def test_only_a_verified_api_server_that_knows_the_path_is_answered(tmp_path: Path) -> None:
    with ChartCluster.started(tmp_path, webhook_client="kube-apiserver") as cluster:
        cluster.make_system()
        authority = ("--set-file", f"server.clientCa.pem={cluster.plane.authority.path}")
        cluster.install(*authority, "--set", "server.clientNames={kube-apiserver}",
                        "--set", f"webhook.pathToken={'p' * 40}")  # fmt: skip
        assert "no valid security approval" in cluster.apply("deploy.yaml").stderr
        decision = next(item for item in records(cluster) if item.get("type") == "decision")
        assert decision["caller_authenticated"] is True
        cluster.install(*authority, "--set", "server.clientNames={somebody-else}", command="upgrade")
        refused = cluster.apply("deploy.yaml").stderr
        assert "failed calling webhook" in refused
        assert "placet refuses" not in refused


def test_the_commands_at_the_top_of_install_yaml_set_up_a_gate(bare: ChartCluster) -> None:
    text = (ROOT / "manifests" / "install.yaml").read_text(encoding="utf-8")
    commented = [line.removeprefix("#") for line in text.split("apiVersion", 1)[0].splitlines()]
    commands = "\n".join(line.strip() for line in commented if line.startswith("   "))
    before, _, after = commands.partition("kubectl -n placet-system create secret generic")
    # In the wrong order first: without the record's key the Pods wait, and nothing that is governed gets in.
    bare.shell(f"{before}{after.partition(chr(10))[2]}".replace("REGISTRY/placet", "registry.example.com/placet"))
    assert poll_until(lambda: find_waiting(bare) == {'secret "placet-log-key" not found'}, TIMEOUT_S)
    assert 'no endpoints available for service "placet"' in bare.apply("deploy.yaml").stderr
    bare.shell(next(line for line in commands.splitlines() if "secret generic" in line))
    bare.plane.kubectl("-n", SYSTEM, "rollout", "status", "deployment/placet", f"--timeout={TIMEOUT_S:g}s",
                       timeout_s=TIMEOUT_S)  # fmt: skip
    assert "no valid security approval" in bare.apply("deploy.yaml").stderr
    admitted = bare.apply(approved(bare, "admitted"))
    assert admitted.returncode == 0, admitted.stderr
