"""Who may say which environment a Namespace belongs to, on a real API server with the chart installed."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.chartcluster import CONFIGURATIONS, SYSTEM, TIMEOUT_S, ChartCluster
from tests.e2e.processes import poll_until

OURS: Final = f"{CONFIGURATIONS}/placet"
LABEL: Final = "placet.dev/environment"
TENANT: Final = "tina@example.com"
ARGO: Final = "system:serviceaccount:argocd:argocd-application-controller"
POLICY: Final = f"namespaces: {{labellers: {{users: ['{ARGO}']}}}}\n"
NAMESPACE_VERBS: Final = "get,list,create,update,patch,delete"
DELETED_IN: Final = "--timeout=60s"
Done = subprocess.CompletedProcess[str]


class Tenancy:
    """A cluster with the chart, a tenant who may edit Namespaces by RBAC, and a service account that labels them."""

    def __init__(self, cluster: ChartCluster) -> None:
        self.cluster = cluster
        self.plane = cluster.plane
        (cluster.folder / "policy-data.yaml").write_text(POLICY, encoding="utf-8")
        for user in (TENANT, ARGO):
            self.plane.kubeconfig_for(user, ["tenants"])
        self.plane.kubectl("create", "clusterrole", "namespace-editor", f"--verb={NAMESPACE_VERBS}",
                           "--resource=namespaces,namespaces/status,namespaces/finalize")  # fmt: skip
        self.plane.kubectl("create", "clusterrolebinding", "namespace-editors", "--clusterrole=namespace-editor",
                           "--group=tenants")  # fmt: skip

    def install(self, command: str = "install") -> str:
        """The chart, into a namespace that helm makes; with the log's key in the values, since nothing is there yet."""
        return self.cluster.install(
            "--create-namespace", "--set-file", f"policy.data={self.cluster.folder / 'policy-data.yaml'}",
            "--set", "record.logKey.existingSecret=", "--set-file",
            f"record.logKey.pem={self.cluster.folder / 'keys' / 'log.key'}", command=command,
        )  # fmt: skip

    def kubectl(self, *arguments: str, user: str = TENANT, stdin: str | None = None) -> Done:
        return self.plane.kubectl(*arguments, user=user, stdin=stdin, check=False)

    def make(self, name: str, value: str | None = None) -> str:
        self.plane.create_namespace(name, {} if value is None else {LABEL: value})
        return name

    def live(self, name: str) -> dict[str, Any]:
        return self.plane.api.get(f"/api/v1/namespaces/{name}")

    def labels(self, name: str) -> dict[str, str]:
        return dict(self.live(name)["metadata"]["labels"])

    def label(self, name: str, value: str, *, user: str = TENANT) -> Done:
        return self.kubectl("label", "namespace", name, f"{LABEL}={value}", "--overwrite", user=user)

    def write(self, way: str, name: str, key: str, value: str | None) -> Done:
        """Give a label a value, or take it away, in one of the ways there are."""
        patch = json.dumps({"metadata": {"labels": {key: value}}})
        pointer = f"/metadata/labels/{key.replace('/', '~1')}"
        step = {"op": "remove", "path": pointer} if value is None else {"op": "add", "path": pointer, "value": value}
        whole = self.live(name)
        whole["metadata"]["labels"].pop(key, None)
        whole["metadata"]["labels"] |= {} if value is None else {key: value}
        whole["metadata"].pop("managedFields", None)
        applied = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {key: value}}}
        patched = ("patch", "namespace", name)
        arguments: tuple[str, ...] = {
            "replace": ("replace", "-f", "-"),
            "merge patch": (*patched, "--type=merge", "-p", patch),
            "JSON patch": (*patched, "--type=json", "-p", json.dumps([step])),
            "strategic patch": (*patched, "--type=strategic", "-p", patch),
            "label": ("label", "namespace", name, f"{key}-" if value is None else f"{key}={value}", "--overwrite"),
            "server-side apply": ("apply", "--server-side", "--force-conflicts", "-f", "-"),
            "status": ("replace", "--raw", f"/api/v1/namespaces/{name}/status", "-f", "-"),
            "status patch": (*patched, "--subresource=status", "--type=merge", "-p", patch),
            "finalize": ("replace", "--raw", f"/api/v1/namespaces/{name}/finalize", "-f", "-"),
        }[way]
        return self.kubectl(*arguments, stdin=json.dumps(applied if way == "server-side apply" else whole))

    def records(self, kind: str = "Namespace") -> list[dict[str, Any]]:
        store = self.cluster.kubelet.folder / "claims" / "placet-record" / "record.sqlite"
        listed = self.cluster.team.run("audit", "list", "--store", str(store), "--limit", "1000", "-o", "json").stdout
        return [item["record"] for item in json.loads(listed)["records"] if item["record"].get("kind") == kind]

    def deploy(self, namespace: str, name: str = "web", *more: str) -> Done:
        """What development lets in, and no stricter environment: a workload that nobody approved."""
        made = ("create", "deployment", name, "--image=registry.example.com/web", "--replicas=0", *more)
        return self.plane.kubectl("-n", namespace, *made, check=False)

    def lets_in(self, namespace: str, name: str) -> bool:
        return self.deploy(namespace, name).returncode == 0

    @contextlib.contextmanager
    def sent_elsewhere(self, selected: str, environment: str) -> Iterator[None]:
        """The entry that selects namespaces of one environment asks by the path of another."""
        before = self.plane.api.get(OURS)
        changed = json.loads(json.dumps(before))
        for one in changed["webhooks"]:
            if one["name"] == f"{selected}.placet.dev":
                one["clientConfig"]["service"]["path"] = f"/v1/admit/{environment}"
        self.plane.api.replace(OURS, changed)
        try:
            yield
        finally:
            newest = self.plane.api.get(OURS)
            self.plane.api.replace(OURS, {**newest, "webhooks": before["webhooks"]})

    def show(self, decision_id: str) -> str:
        store = self.cluster.kubelet.folder / "claims" / "placet-record" / "record.sqlite"
        return self.cluster.team.run("audit", "show", decision_id, "--store", str(store)).stdout


WAYS: Final = (
    "replace",
    "merge patch",
    "JSON patch",
    "strategic patch",
    "label",
    "server-side apply",
    "status",
    "status patch",
    "finalize",
)


@pytest.fixture(scope="module")
def tenancy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    with ChartCluster.started(tmp_path_factory.mktemp("team")) as cluster:
        found = Tenancy(cluster)
        found.install()
        yield found


def refused(done: Done, code: str) -> bool:
    told = 'admission webhook "namespaces.placet.dev" denied the request: placet refuses this change of Namespace/'
    return done.returncode != 0 and told in done.stderr and f"gate.namespace/{code}" in done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_a_tenant_can_not_set_change_or_remove_the_label(tenancy: Tenancy, way: str) -> None:
    slug = way.replace(" ", "-").lower()
    for name, before, after in (
        (f"{slug}-set", None, "development"),
        (f"{slug}-empty", None, ""),
        (f"{slug}-milder", "production", "development"),
        (f"{slug}-stricter", "development", "production"),
        (f"{slug}-remove", "staging", None),
    ):
        if way == "server-side apply" and after is None:
            continue  # what another owner wrote is not removed by leaving it out
        tenancy.make(name, before)
        done = tenancy.write(way, name, LABEL, after)
        assert refused(done, "labeller_required"), (way, after, done.stdout, done.stderr)
        assert tenancy.labels(name).get(LABEL) == before
        other = tenancy.write(way, name, "team", "a") if way != "server-side apply" else None
        assert other is None or other.returncode == 0, other.stderr
        assert other is None or tenancy.labels(name)["team"] == "a"


def test_a_tenant_makes_a_namespace_without_the_label_and_not_with_it(tenancy: Tenancy) -> None:
    plain = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "made-by-tina", "labels": {"team": "a"}}}
    assert tenancy.kubectl("create", "-f", "-", stdin=json.dumps(plain)).returncode == 0
    for number, value in enumerate(("development", "production", "moon", "", None)):
        metadata = {"name": f"made-by-tina-{number}", "labels": {LABEL: value}}
        done = tenancy.kubectl("create", "-f", "-", stdin=json.dumps({**plain, "metadata": metadata}))
        assert refused(done, "labeller_required"), done.stderr
        generated = {**plain, "metadata": {"generateName": "tina-", "labels": {LABEL: value}}}
        done = tenancy.kubectl("create", "-f", "-", stdin=json.dumps(generated))
        assert refused(done, "labeller_required"), done.stderr
    applied = {**plain, "metadata": {"name": "applied-by-tina", "labels": {LABEL: "development"}}}
    done = tenancy.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(applied))
    assert refused(done, "labeller_required"), done.stderr


def test_an_administrator_who_acts_as_a_tenant_is_one(tenancy: Tenancy) -> None:
    name = tenancy.make("impersonated", "production")
    done = tenancy.kubectl("label", "namespace", name, f"{LABEL}=development", "--overwrite", "--as", TENANT,
                           "--as-group=tenants", user="admin")  # fmt: skip
    assert refused(done, "labeller_required"), done.stderr


@pytest.mark.parametrize("user", ["admin", ARGO])
def test_a_labeller_may_set_change_and_remove_the_label_of_what_is_known(tenancy: Tenancy, user: str) -> None:
    name = tenancy.make(f"labelled-{'admin' if user == 'admin' else 'argo'}")
    for value in ("development", "production"):
        assert tenancy.label(name, value, user=user).returncode == 0
        assert tenancy.labels(name)[LABEL] == value
    done = tenancy.label(name, "prodction", user=user)
    assert refused(done, "environment_unknown"), done.stderr
    assert "Known: development, production, staging." in done.stderr
    assert tenancy.kubectl("label", "namespace", name, f"{LABEL}-", user=user).returncode == 0
    assert LABEL not in tenancy.labels(name)


def test_a_dry_run_is_answered_like_the_real_one(tenancy: Tenancy) -> None:
    name = tenancy.make("dry", "production")
    done = tenancy.kubectl("label", "namespace", name, f"{LABEL}=staging", "--overwrite", "--dry-run=server")
    assert refused(done, "labeller_required"), done.stderr
    assert tenancy.plane.kubectl("label", "namespace", name, f"{LABEL}=staging", "--overwrite", "--dry-run=server")
    assert tenancy.labels(name)[LABEL] == "production"
    assert [one for one in tenancy.records() if one["name"] == name and one["operation"] == "UPDATE"] == []


def test_no_namespace_takes_the_name_of_one_that_is_left_out(tenancy: Tenancy) -> None:
    name = tenancy.make("kube-system-too", "production")
    for way in ("merge patch", "status patch", "finalize"):
        tenancy.write(way, name, "kubernetes.io/metadata.name", "kube-system")
        assert tenancy.labels(name)["kubernetes.io/metadata.name"] == name, way


def test_a_move_with_workloads_says_how_many_nobody_judged(tenancy: Tenancy) -> None:
    name = tenancy.make("moving", "development")
    tenancy.plane.kubectl("-n", name, "create", "deployment", "web", "--image=registry.example.com/web", "--replicas=2")
    pods = f"/api/v1/namespaces/{name}/pods"
    assert poll_until(lambda: len(tenancy.plane.api.get(pods)["items"]) == 2, TIMEOUT_S)
    done = tenancy.label(name, "staging", user=ARGO)
    assert done.returncode == 0, done.stderr
    assert "Warning: placet: gate.namespace: 1 workload here that nobody judged for staging" in done.stderr
    tenancy.plane.kubectl("-n", name, "delete", "deployment", "web", "--cascade=foreground", DELETED_IN)
    done = tenancy.label(name, "development", user=ARGO)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_decision_is_a_record_that_says_what_became_of_the_label(tenancy: Tenancy) -> None:
    name = tenancy.make("recorded", "staging")
    assert tenancy.label(name, "development").returncode != 0
    assert tenancy.kubectl("label", "namespace", name, "team=a").returncode == 0
    assert tenancy.label(name, "production", user=ARGO).returncode == 0
    newest = [one for one in tenancy.records() if one["name"] == name]
    assert [(one["user"], one["allowed"], one["label"]) for one in newest] == [
        (ARGO, True, {"before": "staging", "after": "production"}),
        (TENANT, False, {"before": "staging", "after": "development"}),
        ("admin", True, {"before": None, "after": "staging"}),
    ]
    shown = tenancy.show(newest[1]["decision_id"])
    assert '"staging" -> "development"' in shown
    assert "labeller_required" in shown


DISAGREES: Final = "gate.environment/environment_disagrees"


def test_an_entry_with_a_wrong_path_lets_nothing_in(tenancy: Tenancy) -> None:
    """Before: what a namespace of production asked by the path of development was judged by development."""
    strict, mild = tenancy.make("wrong-strict", "production"), tenancy.make("wrong-mild", "development")
    plain = tenancy.make("wrong-plain")
    assert "approvals.required" in tenancy.deploy(strict).stderr
    with tenancy.sent_elsewhere("production", "development"):
        assert poll_until(lambda: DISAGREES in tenancy.deploy(strict).stderr, TIMEOUT_S)
        for more in ((), ("--dry-run=server",)):
            done = tenancy.deploy(strict, "web", *more)
            assert done.returncode != 0
            assert f"the namespace {strict} belongs to production, and the request came by the path of" in done.stderr
            assert "`placet doctor` names that entry" in done.stderr
        assert tenancy.deploy(mild).returncode == 0
        found = tenancy.cluster.team.run("doctor", "--kubeconfig", str(tenancy.plane.kubeconfig_path()), expect=1)
        assert "environment_differs  ValidatingWebhookConfiguration/placet production.placet.dev" in found.stdout
    newest = next(one for one in tenancy.records("Deployment") if one["namespace"] == strict)
    assert (newest["environment"], newest["allowed"], newest["place"]["label"]) == ("development", False, "production")
    assert {"rule": "gate.environment", "code": "environment_disagrees"} in newest["violations"]
    with tenancy.sent_elsewhere("other-namespaces", "development"):
        assert poll_until(lambda: DISAGREES in tenancy.deploy(plain).stderr, TIMEOUT_S)
        assert f"it has no label {LABEL}" in tenancy.deploy(plain).stderr
    assert poll_until(lambda: "approvals.required" in tenancy.deploy(strict).stderr, TIMEOUT_S)
    assert tenancy.plane.api.get(f"/apis/apps/v1/namespaces/{strict}/deployments")["items"] == []


def test_from_the_moment_that_a_label_is_stored_nothing_comes_in_by_the_old_one(tenancy: Tenancy) -> None:
    """The API server selects by labels that it has seen; the gate reads what is stored."""
    name = tenancy.make("moved-under-way", "development")
    assert tenancy.deploy(name, "before").returncode == 0
    for turn in range(5):
        tenancy.plane.kubectl("label", "namespace", name, f"{LABEL}=production", "--overwrite")
        done = tenancy.deploy(name, f"after-{turn}")
        assert done.returncode != 0
        assert DISAGREES in done.stderr or "approvals.required" in done.stderr
        tenancy.plane.kubectl("label", "namespace", name, f"{LABEL}=development", "--overwrite")
        assert poll_until(functools.partial(tenancy.lets_in, name, f"back-{turn}"), TIMEOUT_S)


def test_a_namespace_that_goes_away_lets_go_of_what_it_held(tenancy: Tenancy) -> None:
    name = tenancy.make("held", "development")
    assert tenancy.deploy(name).returncode == 0
    held = ("patch", "deployment", "web", "-n", name, "--type=merge", "-p")
    tenancy.plane.kubectl(*held, json.dumps({"metadata": {"finalizers": ["example.com/hold"]}}))
    tenancy.plane.kubectl("delete", "namespace", name, "--wait=false")
    going = f"/apis/apps/v1/namespaces/{name}/deployments/web"
    assert poll_until(lambda: "deletionTimestamp" in tenancy.plane.api.get(going)["metadata"], TIMEOUT_S)
    assert tenancy.live(name)["status"]["phase"] == "Terminating"
    tenancy.plane.kubectl(*held, json.dumps({"metadata": {"finalizers": None}}))
    assert poll_until(lambda: not tenancy.plane.api.exists(f"/api/v1/namespaces/{name}"), TIMEOUT_S)


def test_the_deletion_of_a_namespace_completes(tenancy: Tenancy) -> None:
    for name, value in (("going-labelled", "production"), ("going-plain", None)):
        tenancy.make(name, value)
        done = tenancy.kubectl("delete", "namespace", name, DELETED_IN)
        assert done.returncode == 0, done.stderr
        assert not tenancy.plane.api.exists(f"/api/v1/namespaces/{name}")


def test_while_the_gate_is_away_the_label_stands_still_and_all_else_goes_on(tenancy: Tenancy) -> None:
    name = tenancy.make("orphaned", "production")
    tenancy.plane.kubectl("-n", SYSTEM, "scale", "deployment", "placet", "--replicas=0")
    assert poll_until(lambda: "denied the request: placet" not in tenancy.label(name, "staging").stderr, TIMEOUT_S)
    for user in (TENANT, ARGO, "admin"):
        for way in ("set", "remove"):
            label = f"{LABEL}=development" if way == "set" else f"{LABEL}-"
            done = tenancy.kubectl("label", "namespace", name, label, "--overwrite", user=user)
            assert done.returncode != 0
            assert 'failed calling webhook "namespaces.placet.dev"' in done.stderr
    assert tenancy.labels(name)[LABEL] == "production"
    assert tenancy.kubectl("label", "namespace", name, "team=a").returncode == 0
    assert tenancy.kubectl("create", "namespace", "made-meanwhile").returncode == 0
    for gone in ("made-meanwhile", name):
        assert tenancy.kubectl("delete", "namespace", gone, DELETED_IN).returncode == 0
    tenancy.plane.kubectl("-n", SYSTEM, "scale", "deployment", "placet", "--replicas=2")
    tenancy.make("back")
    assert poll_until(lambda: tenancy.label("back", "staging", user=ARGO).returncode == 0, TIMEOUT_S)


def test_the_chart_is_upgraded_uninstalled_and_installed_again(tenancy: Tenancy) -> None:
    tenancy.install("upgrade")
    assert refused(tenancy.label("default", "development"), "labeller_required")
    for _ in range(2):
        tenancy.cluster.helm("uninstall", "placet", "-n", SYSTEM, "--wait", f"--timeout={TIMEOUT_S:g}s")
        assert tenancy.label("default", "development").returncode == 0, "nothing guards after the uninstall"
        assert tenancy.label("default", "moon").returncode == 0
        tenancy.install()
        # What was written while nothing guarded stays as it is, and can only be changed by a labeller now.
        assert refused(tenancy.label("default", "development"), "labeller_required")
        assert tenancy.kubectl("label", "namespace", "default", f"{LABEL}-", user=ARGO).returncode == 0


def test_a_namespace_that_helm_makes_for_a_tenants_release_is_no_matter(tenancy: Tenancy, tmp_path: Path) -> None:
    chart = tmp_path / "tenant"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: tenant\nversion: 1.0.0\n", encoding="utf-8")
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: tenant\n"
    (chart / "templates" / "config.yaml").write_text(config, encoding="utf-8")
    tenancy.cluster.helm("install", "tenant", chart, "-n", "made-by-helm", "--create-namespace")
    assert LABEL not in tenancy.labels("made-by-helm")
