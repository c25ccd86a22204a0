"""Every built-in kind and subresource, and every verb of kubectl that writes, on a real API server with controllers.

What is refused is refused with a code and what to do next, what is honest gets in, and the record says the same.
`docs/kubectl.md` has the table of what these tests hold.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import subprocess
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tests.e2e.builtin import IMAGE, KINDS, MODEL, NAMESPACE, OTHER, SCALED, VERSION, containers, path, with_image
from tests.e2e.builtin import workload as unapproved
from tests.e2e.clusterlife import DEPLOYER, Json, decisions, prepare, wait_for
from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.processes import clean_environment, program_path
from tests.e2e.verbworld import DATA, DETECTING, MISSING, NEXT, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ControlPlane(controllers=True) as plane:
        kubeconfig = prepare(plane)
        plane.create_namespace(DETECTING, {"placet.dev/environment": "staging"})
        # A daemon set makes pods for nodes; nobody has to run them.
        plane.api.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}})
        for kind in (*SCALED, "CronJob", "Pod"):
            former = unapproved(kind, f"former-{kind.lower()}")
            plane.api.create(path(former), former)
        plane.grant(DEPLOYER, "cluster-admin")  # what RBAC keeps from people is not what is tested
        team = Team.found(tmp_path_factory.mktemp("team"))
        (team.folder / "lax.yaml").write_text(json.dumps(DATA), encoding="utf-8")
        lookups = {"parents": "lookup", "autoscalers": "lookup", "kubeconfig": str(kubeconfig)}
        team.configure({**lookups, "policy": {"data": "lax.yaml"}})
        certificate = plane.serving_certificate(["127.0.0.1"])
        with team.webhook(certificate) as url:
            for environment in ("production", "staging"):
                selector = {"matchLabels": {"placet.dev/environment": environment}}
                asked = url.replace("/production", f"/{environment}")
                plane.install_webhook(environment, asked, certificate.ca_pem, namespace_selector=selector)
            yield World(plane, team)
            key = (team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
            team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)


# --- kinds and subresources ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_refused_unapproved_admitted_approved_and_refused_after_a_governed_change(
    world: World, kind: str
) -> None:
    name = f"each-{kind.lower()}"
    obj = unapproved(kind, name)
    status, answer = world.send("POST", path(obj), obj)
    assert status == HTTPStatus.FORBIDDEN
    assert "no valid technical approval" in answer["message"]
    assert NEXT in answer["message"]
    told = world.newest(kind=kind, name=name)
    assert (told["allowed"], told["change"]["kind"]) == (False, "new")

    (approved,) = world.approve(obj)
    status, live = world.send("POST", path(obj), approved)
    assert status == HTTPStatus.CREATED, live
    assert world.newest(kind=kind, name=name, operation="CREATE")["approved"] is True

    # What the API server lets nobody change in a Job comes as a new one of that name, which is judged before the
    # name is found to be taken.
    method, where, subject = ("POST", path(obj), approved) if kind == "Job" else ("PUT", path(obj, name), live)
    status, answer = world.send(method, where, without_version(with_image(subject)))
    assert status == HTTPStatus.FORBIDDEN, answer
    assert "projection_differs" in answer["message"]
    assert NEXT in answer["message"]
    touched = without_version(live)
    touched["metadata"]["labels"]["touched"] = "yes"
    status, answer = world.send("PUT", path(obj, name), touched)
    assert status == HTTPStatus.OK, answer
    assert world.newest(kind=kind, name=name, user="admin", operation="UPDATE")["change"]["kind"] == "unchanged"


def without_version(obj: Json) -> Json:
    """To be written whatever its controller wrote meanwhile."""
    copied = copy.deepcopy(obj)
    copied["metadata"].pop("resourceVersion", None)
    return copied


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"Pod", "CronJob"}])
def test_what_controllers_make_of_an_approved_workload_gets_in(world: World, kind: str) -> None:
    name = f"maker-{kind.lower()}"
    obj = unapproved(kind, name)
    if kind == "Job":
        obj["spec"]["template"]["metadata"] = {"labels": {"app": name}}
    if kind == "DaemonSet":
        obj["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]  # the node is never ready
    world.admit(obj)
    wait_for("a pod", lambda: bool(world.pods(name)), world.team)
    made = [one for one in decisions(world.team, kind="Pod", operation="CREATE") if one["name"].startswith(name)]
    assert made
    for one in made:
        assert (one["allowed"], one["change"]["kind"]) == (True, "child")
        assert one["parents"][-1]["kind"] == kind
        assert one["user"].startswith("system:serviceaccount:kube-system:")
    world.must("delete", kind, name)


@pytest.mark.parametrize("kind", SCALED)
def test_a_scale_is_refused_of_what_nobody_approved_and_passes_of_what_somebody_did(world: World, kind: str) -> None:
    former, name = f"former-{kind.lower()}", f"scaled-{kind.lower()}"
    message = world.refused(MISSING, "scale", f"{kind}/{former}", "--replicas=3")
    assert f"placet refuses to scale {kind}/{former} in namespace {NAMESPACE} to 3 replicas" in message
    assert NEXT in message
    world.must("scale", f"{kind}/{former}", "--replicas=0")
    assert world.newest(name=former, subresource="scale")["change"] == {"kind": "unchanged", "scale": "down"}
    live = world.admit(unapproved(kind, name))
    world.must("scale", f"{kind}/{name}", "--replicas=2")
    assert world.newest(name=name, subresource="scale")["change"] == {"kind": "scaled", "scale": "up"}
    wait_for("two pods", functools.partial(has_pods, world, name, 2), world.team)
    assert not [one for one in decisions(world.team, allowed=False) if one["name"].startswith(f"{name}-")]
    stranger = {"replicas": 3}
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": stranger}
    scale["metadata"] = {"name": name, "namespace": NAMESPACE, "uid": "00000000-0000-0000-0000-000000000000"}
    status, answer = world.send("PUT", path(live, name, "scale"), scale)
    assert status in {HTTPStatus.CONFLICT, HTTPStatus.FORBIDDEN}, answer  # another one's uid
    world.must("delete", kind, name)


def has_pods(world: World, app: str, count: int) -> bool:
    return len(world.pods(app)) >= count


def test_a_resize_changes_sizes_and_nothing_else(world: World) -> None:
    obj = unapproved("Pod", "resized")
    containers(obj)[0]["resources"] = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    live = world.admit(obj)
    grown = with_image(live)  # what else a resize says is dropped by the API server
    containers(grown)[0]["resources"]["limits"]["cpu"] = "3"
    status, answer = world.send("PUT", path(obj, "resized", "resize"), without_version(grown))
    assert status == HTTPStatus.OK, answer
    assert containers(answer)[0]["resources"]["limits"]["cpu"] == "3"
    assert containers(answer)[0]["image"] == IMAGE
    told = world.newest(name="resized", subresource="resize")
    assert (told["allowed"], told["change"]["kind"]) == (True, "unchanged")


# --- verbs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(world: World) -> Json:
    """An approved Deployment for verbs to act on, which leave its content as it is."""
    (approved,) = world.approve(unapproved("Deployment", "served"))
    world.must("apply", "--server-side", "--field-manager=team", "-f", "-", stdin=json.dumps(approved))
    wait_for("a pod", lambda: bool(world.pods("served")), world.team)
    return approved


REFUSED_OF_SERVED = {
    "set image": ("set", "image", "deployment/served", f"server={OTHER}"),
    "set env": ("set", "env", "deployment/served", "HF_HUB_OFFLINE=0"),
    "set serviceaccount": ("set", "serviceaccount", "deployment/served", "default2"),
    "patch, JSON": (
        "patch", "deployment/served", "--type=json",
        "-p", '[{"op":"add","path":"/spec/template/spec/hostNetwork","value":true}]',
    ),
    "patch, merge": (
        "patch", "deployment/served", "--type=merge", "-p", '{"spec":{"template":{"spec":{"hostPID":true}}}}',
    ),
    "patch, strategic": (
        "patch", "deployment/served",
        "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"server","command":["sh"]}]}}}}',
    ),
}  # fmt: skip
ADMITTED_OF_SERVED = {
    "label": ("label", "deployment/served", "team=serving"),
    "label, off": ("label", "deployment/served", "team-"),
    "annotate": ("annotate", "deployment/served", "note=none"),
    "set resources": ("set", "resources", "deployment/served", "--limits=cpu=2"),
    "patch, JSON": (
        "patch", "deployment/served", "--type=json",
        "-p", '[{"op":"add","path":"/metadata/labels/patched","value":"json"}]',
    ),
    "patch, merge": ("patch", "deployment/served", "--type=merge", "-p", '{"spec":{"minReadySeconds":1}}'),
    "patch, strategic": ("patch", "deployment/served", "-p", '{"spec":{"progressDeadlineSeconds":601}}'),
    "rollout pause": ("rollout", "pause", "deployment/served"),
    "rollout resume": ("rollout", "resume", "deployment/served"),
    "rollout restart": ("rollout", "restart", "deployment/served"),
}  # fmt: skip


def test_a_governed_change_is_refused_by_whatever_verb(world: World, served: Json) -> None:
    for verb, arguments in REFUSED_OF_SERVED.items():
        message = world.refused("projection_differs", *arguments)
        assert NEXT in message, verb
        told = world.newest(name="served", user=DEPLOYER)
        assert (told["operation"], told["change"]["kind"]) == ("UPDATE", "changed"), verb


def test_an_honest_change_gets_in_by_whatever_verb(world: World, served: Json) -> None:
    for verb, arguments in ADMITTED_OF_SERVED.items():
        world.must(*arguments)
        told = world.newest(name="served", user=DEPLOYER)
        assert (told["allowed"], told["change"]["kind"]) == (True, "unchanged"), verb
    sets = ("get", "replicasets", "-l", "app=served", "-o", "name")
    wait_for("the replica sets of resources and restart", lambda: len(world.must(*sets).split()) >= 2, world.team)
    assert not [one for one in decisions(world.team, allowed=False) if one["name"].startswith("served-")]


def test_server_side_apply_is_judged_by_what_comes_of_it(world: World, served: Json) -> None:
    def apply(manager: str, obj: Json, *more: str) -> tuple[str, ...]:
        return ("apply", "--server-side", f"--field-manager={manager}", "-f", "-", *more)

    world.must(*apply("team", served), stdin=json.dumps(served))
    head = {key: served[key] for key in ("apiVersion", "kind")}
    named = {"name": "served", "namespace": NAMESPACE}
    other = {**head, "metadata": {**named, "labels": {"owner": "platform"}}}
    world.must(*apply("platform", other), stdin=json.dumps(other))
    added = {"name": "side", "image": OTHER}
    other["spec"] = {"template": {"spec": {"containers": [added]}}}
    world.refused("projection_differs", *apply("platform", other), stdin=json.dumps(other))
    other["spec"] = {"template": {"spec": {"containers": [{"name": "server", "image": OTHER}]}}}
    before = len(decisions(world.team, name="served"))
    conflict = world.kubectl(*apply("platform", other), stdin=json.dumps(other))
    assert "conflict" in conflict.stderr
    assert len(decisions(world.team, name="served")) == before, "the API server settles conflicts by itself"
    forced = apply("platform", other, "--force-conflicts")
    world.refused("projection_differs", *forced, stdin=json.dumps(other))
    # A manager that lets go of a field that nobody else has takes it out: that is a change like any other.
    less = copy.deepcopy(served)
    del less["metadata"]["annotations"]["placet.dev/approval.technical"]
    world.refused(MISSING, *apply("team", less), stdin=json.dumps(less))


def test_replace_and_its_force_are_judged_as_update_and_as_new(world: World) -> None:
    (approved,) = world.approve(unapproved("Deployment", "replaced"))
    world.must("create", "-f", "-", stdin=json.dumps(approved))

    def replaced() -> bool:  # unless a controller wrote in between
        done = world.kubectl("replace", "-f", "-", stdin=json.dumps(approved))
        assert done.returncode == 0 or "(Conflict)" in done.stderr, done.stderr
        return bool(done.returncode == 0)

    wait_for("a replacement", replaced)
    world.refused("projection_differs", "replace", "-f", "-", stdin=json.dumps(with_image(approved)))
    world.must("replace", "--force", "-f", "-", stdin=json.dumps(approved))
    told = world.newest(name="replaced", user=DEPLOYER)
    assert (told["operation"], told["allowed"], told["approved"]) == ("CREATE", True, True)
    # Deleting is nobody's approval, so by then it is gone: docs/kubectl.md says to try it as a dry run.
    world.refused("projection_differs", "replace", "--force", "-f", "-", stdin=json.dumps(with_image(approved)))
    assert world.kubectl("get", "deployment", "replaced").returncode != 0


def test_edit_is_judged_by_what_the_editor_leaves(world: World, served: Json) -> None:
    def edit(script: str) -> subprocess.CompletedProcess[str]:
        editor = world.team.folder / "editor.sh"
        editor.write_text(f"#!/bin/sh\nsed -i '{script}' \"$1\"\n", encoding="utf-8")
        editor.chmod(0o755)
        kubeconfig = str(world.plane.kubeconfig_path(DEPLOYER))
        return subprocess.run(
            [program_path("kubectl"), "--kubeconfig", kubeconfig, "-n", NAMESPACE, "edit", "deployment", "served"],
            env={**clean_environment(world.plane.folder), "KUBE_EDITOR": str(editor), "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    done = edit("s/minReadySeconds: 1$/minReadySeconds: 2/")
    assert done.returncode == 0, done.stderr
    done = edit(f"s#image: {IMAGE}#image: {OTHER}#")
    assert done.returncode != 0
    assert "projection_differs" in done.stderr
    assert world.newest(name="served", user=DEPLOYER)["allowed"] is False


def test_undo_and_restart_of_the_other_kinds_with_revisions(world: World) -> None:
    for kind in ("DaemonSet", "StatefulSet"):
        obj = unapproved(kind, f"revised-{kind.lower()}")
        for holder in (obj, obj["spec"]["template"]):  # what an undo brings back with the template
            holder["metadata"].setdefault("annotations", {}).update(VERSION)
        first = world.admit(obj)
        changed = with_image(without_version(first), IMAGE.replace("8" * 64, "9" * 64))
        (approved,) = world.approve(changed)
        status, answer = world.send("PUT", path(obj, obj["metadata"]["name"]), approved)
        assert status == HTTPStatus.OK, answer
        subject = f"{kind.lower()}/{obj['metadata']['name']}"
        wait_for("two revisions", lambda subject=subject: "2" in world.must("rollout", "history", subject))  # type: ignore[misc]
        world.must("rollout", "undo", subject)
        told = world.newest(kind=kind, name=obj["metadata"]["name"], user=DEPLOYER)
        assert (told["allowed"], told["change"]["kind"]) == (True, "rollback")
        world.must("rollout", "restart", subject)
        told = world.newest(kind=kind, name=obj["metadata"]["name"], user=DEPLOYER)
        assert (told["allowed"], told["change"]["kind"]) == (True, "unchanged")
        world.must("delete", subject)


def test_run_is_refused_and_gets_in_with_an_approval_of_what_it_makes(world: World) -> None:
    labels = ",".join(f"{key}={value}" for key, value in MODEL.items())
    versions = [f"--annotations={key}={value}" for key, value in VERSION.items()]
    run = ("run", "once", f"--image={IMAGE}", f"--labels={labels}", *versions)
    message = world.refused(MISSING, *run)
    assert "placet refuses Pod/once" in message
    assert NEXT in message
    (approved,) = world.approve(json.loads(world.must(*run, "--dry-run=client", "-o", "json")))
    approval = approved["metadata"]["annotations"]["placet.dev/approval.technical"]
    world.must(*run, f"--annotations=placet.dev/approval.technical={approval}")
    assert world.newest(kind="Pod", name="once")["approved"] is True


def test_a_debugging_container_needs_an_approval_of_its_own(world: World, served: Json) -> None:
    target = world.pods("served")[0]["metadata"]["name"]
    debug = ("debug", target, "--image=busybox:1.37", "--container=debugger", "--attach=false")
    world.refused("gate.origin/content_differs", *debug)
    world.refused("images.pinned/image_not_pinned", "debug", "former-pod", *debug[2:])
    copied = world.refused(MISSING, *debug, "--copy-to=copied")
    assert "placet refuses Pod/copied" in copied

    # Approved: the pod as it is with the container that kubectl is going to add.
    pinned = ("debug", "former-pod", f"--image={OTHER}", "--container=debugger", "--attach=false", "--profile=general")
    plain = unapproved("Pod", "former-pod", namespace="default")
    world.plane.api.create(path(plain), plain)
    world.plane.kubectl(*pinned, "-n", "default")
    added = json.loads(world.plane.kubectl("get", "pod", "former-pod", "-n", "default", "-o", "json").stdout)
    live = json.loads(world.must("get", "pod", "former-pod", "-o", "json"))
    wanted = {**live, "spec": {**live["spec"], "ephemeralContainers": added["spec"]["ephemeralContainers"]}}
    (approved,) = world.approve(wanted)
    approval = approved["metadata"]["annotations"]["placet.dev/approval.technical"]
    world.refused(MISSING, *pinned)
    world.must("annotate", "pod", "former-pod", f"placet.dev/approval.technical={approval}")
    world.must(*pinned)
    told = world.newest(name="former-pod", subresource="ephemeralcontainers")
    assert (told["allowed"], told["approved"], told["change"]["kind"]) == (True, True, "changed")


def test_a_job_of_a_cron_job_is_as_approved_as_the_cron_job(world: World) -> None:
    message = world.refused(
        "gate.origin/parent_unapproved", "create", "job", "early", "--from=cronjob/former-cronjob"
    )  # fmt: skip
    assert "Have CronJob/former-cronjob approved with `placet approve`" in message
    world.admit(unapproved("CronJob", "nightly"))
    world.must("create", "job", "now", "--from=cronjob/nightly")
    assert world.newest(kind="Job", name="now")["change"]["kind"] == "child"
    world.must("delete", "cronjob", "nightly")


def test_what_is_no_workload_is_not_asked_about(world: World, served: Json) -> None:
    before = len(decisions(world.team, user=DEPLOYER))
    world.must("expose", "deployment", "served", "--port=80")
    world.must("autoscale", "deployment", "served", "--min=1", "--max=2", "--cpu=50%")
    world.must("create", "configmap", "settings", "--from-literal=a=b")
    world.must("delete", "service,hpa", "served")
    assert len(decisions(world.team, user=DEPLOYER)) == before


# --- coverage: detect ------------------------------------------------------------------------------------------------


def web(name: str, image: str = "nginx:1.29") -> Json:
    """A Deployment that says nothing of models."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": DETECTING}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def test_where_models_are_detected_a_server_is_refused_and_all_else_gets_in_with_its_children(world: World) -> None:
    server = web("llm", IMAGE)
    message = world.refused(MISSING, "apply", "-f", "-", stdin=json.dumps(server), namespace=DETECTING)
    assert NEXT in message
    for name, image in (("shop", "nginx:1.29"), ("unset", "$IMAGE")):
        world.must("apply", "-f", "-", stdin=json.dumps(web(name, image)), namespace=DETECTING)
        told = world.newest(kind="Deployment", name=name)
        assert (told["allowed"], told["coverage"]["cause"]) == (True, "not_detected")
        pods = ("get", "pods", "-l", f"app={name}", "-o", "name")
        wait_for("a pod", lambda pods=pods: bool(world.must(*pods, namespace=DETECTING)), world.team)  # type: ignore[misc]
    world.must("scale", "deployment/shop", "--replicas=2", namespace=DETECTING)
    world.must("rollout", "restart", "deployment/shop", namespace=DETECTING)


def test_what_becomes_a_model_server_is_refused_and_taking_the_sign_off_is_no_way_out(world: World) -> None:
    world.must("apply", "-f", "-", stdin=json.dumps(web("turned")), namespace=DETECTING)
    becoming = ("set", "image", "deployment/turned", f"web={IMAGE}")
    world.refused(MISSING, *becoming, namespace=DETECTING)
    assert world.newest(name="turned")["coverage"]["object"] == "new"

    server = web("known", IMAGE)
    server["metadata"]["annotations"] = dict(VERSION)
    server["metadata"]["labels"] = dict(MODEL)
    (approved,) = world.approve(server, environment="staging")
    world.must("apply", "-f", "-", stdin=json.dumps(approved), namespace=DETECTING)
    for off in (
        ("label", "deployment/known", "placet.dev/model-"),
        ("set", "image", "deployment/known", f"web={OTHER}"),
    ):
        world.refused("projection_differs" if off[0] == "set" else MISSING, *off, namespace=DETECTING)
        assert world.newest(name="known", user=DEPLOYER)["coverage"]["governed"] is True
    running = ("get", "pods", "-l", "app=known", "-o", "name")
    wait_for("a pod", lambda: bool(world.must(*running, namespace=DETECTING)), world.team)
