"""The gate in a cluster that lives: real controllers, Helm, kubectl, autoscalers, and people who try their luck."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.audit.note import load_log_key
from placet.audit.record import parse_leaf, render_leaf
from tests.e2e.clusterlife import (
    DATA,
    DEPLOYER,
    NAMESPACE,
    ROLES,
    Json,
    Release,
    children,
    decisions,
    get,
    helm,
    prepare,
    wait_for,
    without_decision,
)
from tests.e2e.controlplane import ControlPlane
from tests.e2e.exempting import add_exempter, exempt, exempt_for, proxy
from tests.e2e.gateprocess import Team
from tests.e2e.registration import Registration
from tests.simulators.tampering import cover_up, delete, put_leaf, raw_leaf, sign_anew, surgery

SELECTOR = {"matchLabels": {"placet.dev/environment": "production"}}
CONTROLLERS = "system:serviceaccount:kube-system:"


class World:
    """A cluster with controllers, behind a gate that looks parents up."""

    def __init__(self, plane: ControlPlane, team: Team) -> None:
        self.plane = plane
        self.team = team
        self.registration: Registration | None = None

    def release(self, name: str) -> Release:
        return Release(self.plane, self.team, name)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> Any:
        return self.plane.kubectl(*arguments, "-n", NAMESPACE, user=DEPLOYER, stdin=stdin, check=check)

    def newest(self, **wanted: Any) -> Json:
        return decisions(self.team, **wanted)[-1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ControlPlane(audit=True, controllers=True) as plane:
        kubeconfig = prepare(plane)
        team = Team.found(tmp_path_factory.mktemp("team"))
        (team.folder / "data.yaml").write_text(json.dumps(DATA), encoding="utf-8")
        looked_up = {"parents": "lookup", "autoscalers": "lookup", "environments": "lookup"}
        memory = {"lookups": {"cache": "informer"}, "kubeconfig": str(kubeconfig)}
        team.configure({**looked_up, **memory, "policy": {"data": "data.yaml"}})
        certificate = plane.serving_certificate(["127.0.0.1"])
        with team.webhook(certificate) as url:
            found = World(plane, team)
            found.registration = plane.install_webhook("gate", url, certificate.ca_pem, namespace_selector=SELECTOR)
            yield found
            pods = decisions(found.team, kind="Pod", allowed=True)
            assert any(parent.get("remembered") for one in pods for parent in one["parents"]), "nothing was remembered"
            key = (team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
            team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)


@pytest.fixture(scope="module")
def exempting(world: World) -> World:
    """The same world, with somebody in it who may exempt."""
    add_exempter(world.team)
    return world


def made_by(world: World, app: str, kind: str) -> list[Json]:
    """Decisions about what controllers made of a release."""
    found = decisions(world.team, kind=kind, operation="CREATE")
    return [one for one in found if one["name"].startswith(f"{app}-")]


def test_a_release_is_refused_approved_installed_upgraded_and_rolled_back(world: World) -> None:
    story = world.release("llama")
    story.set()
    refused = story.install()
    assert refused.returncode != 0
    planned = world.team.run("plan", "-f", story.file, "-e", "production", "--as", DEPLOYER,
                             "--kubeconfig", str(world.plane._kubeconfigs["placet-gate"]), expect=1)  # fmt: skip
    assert without_decision(refused.stderr) == without_decision(planned.stdout)
    assert "next, by someone who may sign as security: placet approve" in refused.stderr
    helm(world.plane, "uninstall", "llama", "--ignore-not-found")

    story.admitted()
    wait_for("two pods", lambda: len(children(world.plane, "pods", "llama")) == 2, world.team)
    (replica_set,) = made_by(world, "llama", "ReplicaSet")
    assert (replica_set["allowed"], replica_set["change"]["kind"]) == (True, "child")
    assert replica_set["user"] == f"{CONTROLLERS}deployment-controller"
    installed = world.newest(kind="Deployment", name="llama", approved=True)
    for pod in made_by(world, "llama", "Pod"):
        assert (pod["allowed"], pod["change"]["kind"]) == (True, "child")
        assert [parent["kind"] for parent in pod["parents"]] == ["ReplicaSet", "Deployment"]
        assert pod["parents"][1]["uid"] == story.live["metadata"]["uid"]
        assert pod["precedent"]["decision_id"] == installed["decision_id"]

    story.set(args=["--model=/models/llama-3.1-70b", "--trust-remote-code"])
    changed = story.upgrade()
    assert changed.returncode != 0
    assert "projection_differs" in changed.stderr
    story.admitted(args=["--model=/models/llama-3.1-70b", "--trust-remote-code"])
    wait_for("pods of both revisions", lambda: len(children(world.plane, "pods", "llama")) >= 3, world.team)
    assert not decisions(world.team, kind="Pod", allowed=False)

    back = helm(world.plane, "rollback", "llama", "1")
    back = back if back.returncode == 0 else helm(world.plane, "rollback", "llama")
    assert back.returncode == 0, back.stderr
    told = world.newest(kind="Deployment", name="llama", operation="UPDATE", user=DEPLOYER)
    assert (told["allowed"], told["change"]["kind"]) == (True, "rollback")
    assert told["precedent"]["decision_id"] == installed["decision_id"]
    assert "--trust-remote-code" not in story.live["spec"]["template"]["spec"]["containers"][0]["args"]
    story.remove()


def test_rollout_undo_goes_back_and_says_so(world: World) -> None:
    story = world.release("undo")
    story.admitted()
    first = world.newest(kind="Deployment", name="undo", approved=True)
    wait_for("a replica set", lambda: len(children(world.plane, "replicasets", "undo")) == 1)
    story.admitted(args=["--model=/models/other"])
    wait_for("two replica sets", lambda: len(children(world.plane, "replicasets", "undo")) == 2)
    undone = world.kubectl("rollout", "undo", "deployment/undo")
    assert "Warning: placet: approvals.required: rolled back to what was admitted on" in undone.stderr
    told = world.newest(kind="Deployment", name="undo", user=DEPLOYER)
    assert told["change"]["kind"] == "rollback"
    assert told["precedent"]["decision_id"] == first["decision_id"]

    world.kubectl("rollout", "restart", "deployment/undo")
    restarted = world.newest(kind="Deployment", name="undo", user=DEPLOYER)
    assert restarted["change"]["kind"] == "unchanged"
    wait_for("a new replica set", lambda: len(children(world.plane, "replicasets", "undo")) == 3, world.team)
    assert not [one for one in decisions(world.team, allowed=False) if one["name"].startswith("undo-")]
    story.remove()


def test_nothing_is_made_of_a_release_once_it_is_revoked(world: World) -> None:
    story = world.release("taken")
    story.admitted()
    wait_for("two pods", lambda: len(children(world.plane, "pods", "taken")) == 2, world.team)
    admitted = world.newest(kind="Deployment", name="taken", approved=True)
    security = next(item for item in admitted["approvals"] if item["role"] == "security")
    world.team.run("revoke", security["approval_id"], "--role", "security", "-e", "production",
                   "--key", "keys/sam.key", "--out", "revocations/")  # fmt: skip
    gone = children(world.plane, "pods", "taken")[0]["metadata"]["name"]
    world.kubectl("delete", "pod", gone, "--wait=false")
    wait_for("a refusal", lambda: any(not one["allowed"] for one in made_by(world, "taken", "Pod")), world.team)
    refused = next(one for one in made_by(world, "taken", "Pod") if not one["allowed"])
    assert {"rule": "gate.origin", "code": "precedent_withdrawn"} in refused["violations"]
    assert "revoked" in world.kubectl("scale", "deployment/taken", "--replicas=3", check=False).stderr
    world.kubectl("scale", "deployment/taken", "--replicas=0")
    wait_for("no pod", lambda: not children(world.plane, "pods", "taken"), world.team)
    story.remove()


def test_scaling_passes_within_the_approved_level_and_is_refused_beyond(world: World) -> None:
    story = world.release("scaled")
    # A model that ran before, without a rehearsed rollback: 6.75, high; with more than ten replicas 7.05, critical.
    story.admitted(rollback_minutes=None, roles=(*ROLES, "executive"))
    story.admitted(rollback_minutes=None, args=["--model=/models/llama-3.1-70b", "--seed=1"])
    approved = world.newest(kind="Deployment", name="scaled", approved=True)
    assert approved["risk"]["level"] == "high"

    world.kubectl("scale", "deployment/scaled", "--replicas=4")
    told = world.newest(subresource="scale", name="scaled")
    assert (told["kind"], told["change"]) == ("Deployment", {"kind": "scaled", "scale": "up"})
    wait_for("four pods", lambda: len(children(world.plane, "pods", "scaled")) >= 4, world.team)

    refused = world.kubectl("scale", "deployment/scaled", "--replicas=11", check=False)
    assert refused.returncode != 0
    assert "placet refuses to scale Deployment/scaled in namespace ml-serving to 11 replicas" in refused.stderr
    assert "no valid executive approval" in refused.stderr
    assert f"at risk high by decision {approved['decision_id']}; now it is critical" in refused.stderr
    assert story.live["spec"]["replicas"] == 4
    patched = world.kubectl("patch", "deployment/scaled", "--type=merge", "-p", '{"spec":{"replicas":11}}', check=False)
    assert "now it is critical" in patched.stderr

    world.kubectl("scale", "deployment/scaled", "--replicas=1")
    # Pods without a node are never ready, so one of each revision stays.
    wait_for("few pods", lambda: len(children(world.plane, "pods", "scaled")) <= 2, world.team)
    assert not [one for one in decisions(world.team, allowed=False) if one["name"].startswith("scaled-")]

    name = children(world.plane, "replicasets", "scaled")[0]["metadata"]["name"]
    beyond = world.kubectl("scale", f"replicaset/{name}", "--replicas=5", check=False)
    assert "parent_exceeded" in beyond.stderr
    story.remove()


def test_an_autoscaler_scales_within_the_approved_level(world: World) -> None:
    story = world.release("auto")
    story.admitted(replicas=1)
    world.kubectl("autoscale", "deployment/auto", "--min=3", "--max=5", "--cpu=50%")
    wait_for("three replicas", lambda: story.live["spec"]["replicas"] == 3, world.team)
    told = world.newest(subresource="scale", name="auto")
    assert told["user"] == f"{CONTROLLERS}horizontal-pod-autoscaler"
    assert (told["allowed"], told["change"]["kind"]) == (True, "scaled")
    wait_for("three pods", lambda: len(children(world.plane, "pods", "auto")) == 3, world.team)
    world.kubectl("delete", "hpa", "auto")
    story.remove()


PATCHES: dict[str, tuple[str, str]] = {
    "json": ("json", '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--evil"}]'),
    "merge": ("merge", '{"spec":{"template":{"spec":{"serviceAccountName":"default"}}}}'),
    "strategic": (
        "strategic",
        '{"spec":{"template":{"spec":{"containers":[{"name":"server","command":["/bin/sh"]}]}}}}',
    ),
}


def test_every_way_to_write_is_judged_by_content(world: World) -> None:
    story = world.release("written")
    story.admitted(replicas=1)
    for how, patch in PATCHES.values():
        refused = world.kubectl("patch", "deployment/written", f"--type={how}", "-p", patch, check=False)
        assert "projection_differs" in refused.stderr, how
    label = '{"metadata":{"labels":{"touched":"yes"}}}'
    for how in ("merge", "strategic"):
        world.kubectl("patch", "deployment/written", f"--type={how}", "-p", label)
    manifest = story.deployment_in_file()
    applied = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    world.kubectl(*applied, stdin=json.dumps(manifest))
    changed = copy.deepcopy(manifest)
    changed["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "HF_HOME", "value": "x"})
    refused = world.kubectl(*applied, stdin=json.dumps(changed), check=False)
    assert "projection_differs" in refused.stderr
    image = "registry.example.com/other@sha256:" + "0" * 64
    assert "projection_differs" in world.kubectl(
        "set", "image", "deployment/written", f"server={image}", check=False
    ).stderr  # fmt: skip

    before = len(decisions(world.team, name="written"))
    world.kubectl("label", "deployment/written", "dry=run", "--dry-run=server")
    dry = world.kubectl("set", "image", "deployment/written", f"server={image}", "--dry-run=server", check=False)
    assert "projection_differs" in dry.stderr
    assert "not in the record" in dry.stderr
    world.kubectl("scale", "deployment/written", "--replicas=2", "--dry-run=server", check=False)
    assert len(decisions(world.team, name="written")) == before
    story.remove()


def forged(world: World, victim: Release, kind: str) -> Json:
    """An object of the victim's own content with the victim's ownerReference and something added."""
    source = children(world.plane, "replicasets", victim.name)[0]
    pod = copy.deepcopy(source["spec"]["template"])
    pod["spec"]["containers"][0]["args"] = ["--model=/models/stolen"]
    owner = source if kind == "Pod" else victim.live
    reference = {
        "apiVersion": "apps/v1",
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    metadata = {"name": "forged", "namespace": NAMESPACE, "ownerReferences": [reference]}
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | {"labels": pod["metadata"]["labels"]},
                "spec": pod["spec"]}  # fmt: skip
    spec = {"replicas": 1, "selector": source["spec"]["selector"], "template": pod}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}


def test_a_stolen_owner_reference_gets_nothing_in(world: World) -> None:
    story = world.release("victim")
    story.admitted(replicas=1)
    wait_for("a pod", lambda: len(children(world.plane, "pods", "victim")) == 1, world.team)
    pod = world.kubectl("create", "-f", "-", stdin=json.dumps(forged(world, story, "Pod")), check=False)
    assert "gate.origin/content_differs" in pod.stderr
    made = world.kubectl("create", "-f", "-", stdin=json.dumps(forged(world, story, "ReplicaSet")), check=False)
    assert "gate.origin/parent_unapproved" in made.stderr
    other = forged(world, story, "Pod")
    other["metadata"]["ownerReferences"][0]["uid"] = "00000000-0000-0000-0000-000000000000"
    assert "gate.origin/parent_replaced" in world.kubectl(
        "create", "-f", "-", stdin=json.dumps(other), check=False
    ).stderr  # fmt: skip
    # Even by the account of a controller: who asks is no proof.
    thief = ("create", "-f", "-", "--as", f"{CONTROLLERS}replicaset-controller", "-n", NAMESPACE)
    stolen = world.plane.kubectl(*thief, stdin=json.dumps(forged(world, story, "Pod")), check=False)
    assert "gate.origin/content_differs" in stolen.stderr
    target = children(world.plane, "pods", "victim")[0]["metadata"]["name"]
    debug = world.plane.kubectl("debug", target, "-n", NAMESPACE, "--image=busybox", "--attach=false", check=False)
    assert "gate.origin/content_differs" in debug.stderr
    story.remove()


CRON_JOB: Json = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {
        "name": "evaluate",
        "namespace": NAMESPACE,
        "labels": {"placet.dev/model": "llama-3.1-70b"},
        "annotations": {
            "placet.dev/model-version": "1.4.0",
            "placet.dev/model-digest": "sha256:3f1d6a0c9c1be55d7e2ad0c2f6a9e5b7d4c8f0a1b2c3d4e5f60718293a4b5c6d",
        },
    },
    "spec": {
        "schedule": "0 3 1 1 *",
        "concurrencyPolicy": "Forbid",
        "jobTemplate": {
            "spec": {
                "completionMode": "Indexed",
                "completions": 2,
                "parallelism": 2,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [
                            {
                                "name": "evaluate",
                                "image": "registry.example.com/evaluate@sha256:" + "8" * 64,
                            }
                        ],
                    }
                },
            }
        },
    },
}


def test_a_job_of_an_approved_cron_job_runs(world: World) -> None:
    (world.team.folder / "cron.yaml").write_text(json.dumps(CRON_JOB), encoding="utf-8")
    world.team.approve("cron.yaml", *ROLES, "executive")
    world.kubectl("apply", "-f", str(world.team.folder / "cron.yaml"))
    world.kubectl("create", "job", "now", "--from=cronjob/evaluate")
    assert world.newest(kind="Job", name="now")["change"]["kind"] == "child"

    def pods() -> list[Json]:
        return [one for one in decisions(world.team, kind="Pod", operation="CREATE") if one["name"].startswith("now-")]

    wait_for("two pods of the job", lambda: len([one for one in pods() if one["allowed"]]) == 2, world.team)
    assert all([parent["kind"] for parent in one["parents"]] == ["Job", "CronJob"] for one in pods())
    other = get(world.plane, "job", "now")
    other["spec"]["template"]["spec"]["containers"][0]["command"] = ["/bin/sh"]
    for field in ("selector",):
        other["spec"].pop(field, None)
    labels = other["spec"]["template"]["metadata"].pop("labels", {})
    assert labels
    for field in ("uid", "resourceVersion", "creationTimestamp", "labels", "managedFields"):
        other["metadata"].pop(field, None)
    other["metadata"]["name"] = "forged"
    other.pop("status", None)
    refused = world.kubectl("create", "-f", "-", stdin=json.dumps(other), check=False)
    assert "gate.origin/parent_unapproved" in refused.stderr or "gate.origin/content_differs" in refused.stderr
    world.kubectl("delete", "cronjob", "evaluate")
    wait_for("no job", lambda: world.kubectl("get", "job", "now", check=False).returncode != 0, world.team)


STATEFUL_SET: Json = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "ranks", "namespace": NAMESPACE, "labels": {"placet.dev/model": "llama-3.1-70b"}},
    "spec": {
        "replicas": 2,
        "serviceName": "ranks",
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app.kubernetes.io/name": "ranks"}},
        "template": {
            # Here and not on the object, so that an undo takes them along.
            "metadata": {
                "labels": {"app.kubernetes.io/name": "ranks"},
                "annotations": CRON_JOB["metadata"]["annotations"],
            },
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "image": "registry.example.com/serving/vllm-openai@sha256:" + "8" * 64,
                        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                    }
                ]
            },
        },
        "volumeClaimTemplates": [
            {
                "metadata": {"name": "cache"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
        ],
    },
}


def test_a_stateful_set_has_its_pods_in_both_revisions_and_goes_back(world: World) -> None:
    file = world.team.folder / "ranks.yaml"
    file.write_text(json.dumps(STATEFUL_SET), encoding="utf-8")
    world.team.approve("ranks.yaml", *ROLES, "executive")
    world.kubectl("apply", "-f", str(file))
    wait_for("two pods", lambda: len(children(world.plane, "pods", "ranks")) == 2, world.team)
    first = world.newest(kind="StatefulSet", name="ranks", approved=True)
    for pod in made_by(world, "ranks", "Pod"):
        assert (pod["change"]["kind"], pod["precedent"]["decision_id"]) == ("child", first["decision_id"])

    changed = copy.deepcopy(STATEFUL_SET)
    changed["spec"]["template"]["spec"]["containers"][0]["args"] = ["--seed=1"]
    changed["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    file.write_text(json.dumps(changed), encoding="utf-8")
    world.team.approve("ranks.yaml", *ROLES, "executive")
    world.kubectl("apply", "-f", str(file))

    def args(number: int) -> Any:
        found = [one for one in children(world.plane, "pods", "ranks") if one["metadata"]["name"] == f"ranks-{number}"]
        return found[0]["spec"]["containers"][0].get("args") if found else "none"

    wait_for("the new revision", lambda: args(1) == ["--seed=1"], world.team)
    before = get(world.plane, "pod", "ranks-0")["metadata"]["uid"]
    world.kubectl("delete", "pod", "ranks-0", "--wait=false")
    wait_for(
        "a pod of the former revision",
        lambda: (
            args(0) is None and all(one["metadata"]["uid"] != before for one in children(world.plane, "pods", "ranks"))
        ),
        world.team,
    )
    world.kubectl("rollout", "undo", "statefulset/ranks")
    told = world.newest(kind="StatefulSet", name="ranks", user=DEPLOYER)
    assert (told["change"]["kind"], told["precedent"]["decision_id"]) == ("rollback", first["decision_id"])
    wait_for("the former revision", lambda: args(1) is None, world.team)
    assert not [one for one in decisions(world.team, allowed=False) if one["name"].startswith("ranks")]
    world.kubectl("delete", "statefulset", "ranks")
    wait_for("no pod", lambda: not children(world.plane, "pods", "ranks"), world.team)


def test_an_exempted_workload_comes_in_by_its_content_and_until_it_is_withdrawn(exempting: World) -> None:
    world = exempting
    good = proxy("pages", namespace=NAMESPACE)
    refused = world.kubectl("apply", "-f", "-", stdin=json.dumps(good), check=False)
    assert "placet refuses Deployment/pages" in refused.stderr
    file = exempt(world.team, good)
    world.kubectl("apply", "-f", "-", stdin=json.dumps(good))
    wait_for("a pod", lambda: len(children(world.plane, "pods", "pages")) == 1, world.team)
    for kind in ("Deployment", "ReplicaSet", "Pod"):
        told = [one for one in decisions(world.team, kind=kind, allowed=True) if one["name"].startswith("pages")]
        assert told[0]["exemption"]["persons"] == ["fay"], kind
        assert not any(one["approved"] for one in told)
    shown = world.team.run("audit", "show", told[0]["decision_id"], "--store", "record.sqlite").stdout
    assert f"{told[0]['exemption']['exemption_id']} by fay, until " in shown
    world.kubectl("scale", "deployment/pages", "--replicas=3")
    wait_for("three pods", lambda: len(children(world.plane, "pods", "pages")) == 3, world.team)
    changed = world.kubectl("set", "image", "deployment/pages", "nginx=registry.example/vllm:latest", check=False)
    assert "gate.origin/exemption_content_differs" in changed.stderr
    assert "placet exempt" in changed.stderr

    file.unlink()
    withdrawn = world.kubectl("scale", "deployment/pages", "--replicas=4", check=False)
    assert "placet refuses to scale Deployment/pages" in withdrawn.stderr
    world.kubectl("delete", "pod", children(world.plane, "pods", "pages")[0]["metadata"]["name"], "--grace-period=0")
    wait_for(
        "a pod that is refused",
        lambda: any(one["name"].startswith("pages") for one in decisions(world.team, kind="Pod", allowed=False)),
        world.team,
    )
    world.kubectl("delete", "deployment", "pages")


def test_an_exemption_ends_by_itself(exempting: World) -> None:
    world = exempting
    good = proxy("moment", namespace=NAMESPACE, replicas=0)
    file = exempt_for(world.team, good, timedelta(seconds=20))

    def tried() -> str:
        return str(world.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(good), check=False).stderr)

    assert "Warning: placet: gate.exemption: its exemption" in tried()
    wait_for("its end", lambda: "gate.origin/exemption_expired" in tried(), world.team)
    file.unlink()


def test_the_api_servers_own_log_witnesses_every_decision(world: World) -> None:
    story = world.release("witness")
    story.admitted(replicas=1)
    wait_for("a pod", lambda: len(children(world.plane, "pods", "witness")) == 1, world.team)
    mine = [one for one in decisions(world.team) if re.match("witness", one["name"])]
    assert {"Deployment", "ReplicaSet", "Pod"} <= {one["kind"] for one in mine}
    for one in mine:
        event = world.plane.wait_for_audit_event(
            lambda event, one=one: one["decision_id"] in (event.get("annotations") or {}).values()  # type: ignore[misc]
        )
        told = {key.rpartition("/")[2]: value for key, value in event["annotations"].items()}
        assert told["log-index"] == str(one["index"])
        assert told["leaf-hash"] == f"sha256:{one['leaf_hash']}"
        assert event["user"]["username"] == one["user"]
    story.remove()


def test_without_the_webhook_nothing_is_written_and_then_it_works_again(world: World, tmp_path: Path) -> None:
    team = Team.found(tmp_path)
    world.plane.create_namespace("away", {"gate": "away"})
    certificate = world.plane.serving_certificate(["127.0.0.1"])
    labelled = {"matchLabels": {"gate": "away"}}
    config_map = ("create", "deployment", "probe", "--image=x", "-n", "away", "--dry-run=server")
    with team.webhook(certificate) as url:
        registration = world.plane.install_webhook("away", url, certificate.ca_pem, namespace_selector=labelled)
        assert "placet refuses" in world.plane.kubectl(*config_map, check=False).stderr
    try:
        away = world.plane.kubectl(*config_map, check=False)
        assert away.returncode != 0
        assert 'failed calling webhook "away.placet.dev"' in away.stderr
        with team.webhook(certificate, port=int(url.split(":")[2].split("/")[0])):
            assert "placet refuses" in world.plane.kubectl(*config_map, check=False).stderr
    finally:
        registration.remove()


def test_two_persons_break_the_glass_for_one_release_and_a_third_reviews_it(world: World) -> None:
    team, place = world.team, ("-e", "production", "--yes")
    for name, role in (("gina", "break-glass"), ("hugo", "break-glass"), ("rita", "break-glass-review")):
        team.run("keys", "generate", "--out", f"keys/{name}.key", "--no-passphrase")
        team.run("keyring", "add", f"{name}@example.com", "--person", name, "--key", f"keys/{name}.pub")
        team.run("keyring", "grant", f"{name}@example.com", "--role", role, "--environment", "production",
                 "--max-risk", "critical")  # fmt: skip
    team.run("keyring", "renew")
    for root in ("root-1", "root-2"):
        team.run("keyring", "sign", "--key", f"keys/{root}.key")
    story = world.release("glass")
    story.set(annotations={}, replicas=1)
    manifest = story.deployment_in_file()
    manifest["spec"]["template"]["spec"]["serviceAccountName"] = (
        "default"  # that of the chart is not there without Helm
    )
    file = team.folder / "glass.json"
    file.write_text(json.dumps(manifest), encoding="utf-8")
    sign = ("break-glass", "sign", "-f", "glass.json", *place, "--key")
    team.run(*sign, "keys/gina.key", "--reason", "llama answers with garbage")
    alone = world.kubectl("apply", "-f", str(file), check=False)
    assert "gate.break_glass/too_few_persons" in alone.stderr

    team.run(*sign, "keys/hugo.key")
    applied = world.kubectl("apply", "-f", str(file))
    assert "Warning: placet: gate.break_glass: let in without approvals; a review is due by" in applied.stderr
    told = world.newest(kind="Deployment", name="glass")
    assert (told["allowed"], told["approved"], told["break_glass"]["by"]) == (True, False, "token")
    wait_for("a pod", lambda: len(children(world.plane, "pods", "glass")) == 1, team)
    gone = children(world.plane, "pods", "glass")[0]["metadata"]["name"]
    world.kubectl("delete", "pod", gone, "--wait=false")
    wait_for("another pod", lambda: len([one for one in made_by(world, "glass", "Pod") if one["allowed"]]) == 2, team)
    assert {one["break_glass"]["by"] for one in made_by(world, "glass", "Pod")} == {"parent"}

    assert "more_replicas" in world.kubectl("scale", "deployment/glass", "--replicas=2", check=False).stderr
    image = "registry.example.com/other@sha256:" + "0" * 64
    changed = world.kubectl("set", "image", "deployment/glass", f"server={image}", check=False)
    assert "projection_differs" in changed.stderr
    world.kubectl("rollout", "restart", "deployment/glass")
    planned = team.run("plan", "-f", "glass.json", "-e", "production", "--record", "record.sqlite")
    assert "because llama answers with garbage" in planned.stdout

    review = ("break-glass", "review", "-f", "glass.json", *place, "--record", "record.sqlite", "--conclusion", "right")
    assert "has no break-glass-review grant" in team.run(*review, "--key", "keys/gina.key", expect=2).stderr
    patch = team.run(*review, "--write", "patch", "--key", "keys/rita.key").stdout
    world.kubectl("patch", "deployment/glass", "--type=merge", "-p", patch)
    listed = json.loads(team.run("audit", "list", "--type", "break-glass", "-o", "json").stdout)["records"]
    assert [one["record"]["event"] for one in listed] == ["reviewed", "used"]
    assert listed[0]["record"]["person"] == "rita"
    world.kubectl("delete", "deployment/glass")
    wait_for("no pod", lambda: not children(world.plane, "pods", "glass"), team)


def crossed(world: World, folder: Path, store: Path | None = None, *, log: bool = True, expect: int = 0) -> Json:
    """What ``placet audit verify`` says of the record, or of a copy, beside the API server's log so far."""
    audit_log = folder / "audit.log"
    audit_log.write_text("".join(f"{json.dumps(event)}\n" for event in world.plane.audit_events()), encoding="utf-8")
    options = ("--apiserver-log", str(audit_log)) if log else ()
    done = world.team.run("audit", "verify", "--store", str(store or "record.sqlite"), "--log-key", "keys/log.vkey",
                          *options, "-o", "json", expect=expect)  # fmt: skip
    return dict(json.loads(done.stdout))


def tampered(world: World, path: Path, change: Callable[[sqlite3.Connection], object]) -> Path:
    """A copy of the record in which something was changed, all else made to agree with it, and signed by its key."""
    with contextlib.closing(sqlite3.connect(world.team.folder / "record.sqlite")) as database:
        database.execute("VACUUM INTO ?", (str(path),))
    with surgery(path) as database:
        change(database)
        cover_up(database)
        sign_anew(database, load_log_key(world.team.folder / "keys" / "log.key", name="placet.dev/log/e2e"))
    return path


def test_the_api_servers_log_shows_what_the_record_leaves_out_or_says_wrongly(world: World, tmp_path: Path) -> None:
    story = world.release("crossed")
    story.admitted(replicas=1)
    wait_for("a pod", lambda: len(children(world.plane, "pods", "crossed")) == 1, world.team)
    honest = crossed(world, tmp_path)
    assert honest["verified"], honest
    told = honest["apiserver"]
    assert told["namespaces"] == [NAMESPACE]
    assert told["leaves"]["admitted"] >= 3  # a Deployment, its ReplicaSet and its Pod
    index = decisions(world.team, kind="Deployment", name="crossed", allowed=True)[0]["index"]
    end = honest["size"]

    gone = tampered(world, tmp_path / "gone.sqlite", lambda database: delete(database, index, index + 1))
    assert crossed(world, tmp_path, gone, log=False)["verified"]
    found = crossed(world, tmp_path, gone, expect=1)["apiserver"]
    assert next(one["index"] for one in found["findings"] if one["kind"] == "leaf_differs") == index
    assert found["counts"]["leaf_missing"] == 1
    assert next(one["index"] for one in found["findings"] if one["kind"] == "leaf_missing") <= end - 1

    def rewrite(database: sqlite3.Connection) -> None:
        body = dict(parse_leaf(raw_leaf(database, index)).body) | {"user": "somebody@example.com"}
        put_leaf(database, index, render_leaf(body).raw)

    other = tampered(world, tmp_path / "other.sqlite", rewrite)
    assert crossed(world, tmp_path, other, log=False)["verified"]
    found = crossed(world, tmp_path, other, expect=1)["apiserver"]
    assert found["counts"] == {"leaf_differs": 1}
    (named,) = found["findings"]
    assert named["index"] == index
    assert f"deployments {NAMESPACE}/crossed by {DEPLOYER}" in named["sentence"]

    assert world.registration is not None
    world.registration.remove()
    world.kubectl("create", "deployment", "unseen", "--image=registry.example/model:1")
    world.plane.wait_for_audit_event(lambda event: event["objectRef"].get("name") == "unseen")
    bypassed = crossed(world, tmp_path, expect=1)
    assert set(bypassed["apiserver"]["counts"]) == {"unasked"}
    sentences = [one["sentence"] for one in bypassed["apiserver"]["findings"]]
    assert any(f"deployments {NAMESPACE}/unseen by {DEPLOYER} was admitted" in sentence for sentence in sentences)
    assert bypassed["findings_total"] == 0
