"""A small kubelet, with scheduler and endpoints: runs the Pods of one namespace as processes of this machine.

It takes everything from the Pod in the API: command, arguments, environment, volumes, probes, grace period. What a
container would have of its own is stood in for: paths lie below a folder, ports are others (all Pods share one address
of the machine), and an image is a program that is built already. Resources and security contexts are not applied.

Example:
    >>> with Kubelet(plane, "placet-system", images={"placet": [sys.executable, "-m", "placet"]}) as kubelet:
    ...     plane.kubectl("rollout", "status", "deployment/placet", "-n", "placet-system")
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.e2e.apiclient import ControlPlaneError
from tests.e2e.controlplane import ControlPlane
from tests.e2e.endpoints import Endpoints
from tests.e2e.podfiles import ACCOUNT_FOLDER, MountError, PodFiles, field_of, provision_claims
from tests.e2e.processes import Process, ProcessError, clean_environment
from tests.simulators.ports import free_port

NODE: Final = "test-node"
POLL_S: Final = 0.1
FILES_S: Final = 1.0  # a real kubelet takes up to a minute to see a changed ConfigMap
PROBE_TIMEOUT_S: Final = 2.0
LONGEST_BACKOFF_S: Final = 16.0
PATIENCE_S: Final = 60.0  # with an API server that does not answer, or refuses, as a busy one does for a while

# Controllers that would do this kubelet's work, or undo it because there is no Node.
CONTROLLERS: Final = (
    "--controllers=*,-endpointslice-controller,-endpointslice-mirroring-controller,"
    "-node-lifecycle-controller,-pod-garbage-collector-controller,-taint-eviction-controller"
)
# Makes the API server resolve a Service to the addresses in its EndpointSlices.
APISERVER: Final = "--enable-aggregator-routing=true"


def own_address() -> str:
    """An address of this machine that is not loopback: EndpointSlices take no other.

    Raises:
        ProcessError: the machine has none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing
        except OSError as error:
            message = "this machine has no address but loopback; give it one: ip link add placet0 type dummy ..."
            raise ProcessError(message) from error
        return str(probe.getsockname()[0])


@dataclass
class _Container:
    """One container of a Pod, and its process."""

    spec: dict[str, Any]
    process: Process
    started: str
    restarts: int = 0
    again_at: float = 0.0


@dataclass
class _Pod:
    """One Pod that was placed here."""

    files: PodFiles
    ports: dict[int, int]
    root: Path
    containers: dict[str, _Container] = field(default_factory=dict)
    trouble: str = ""
    files_at: float = 0.0
    kill_at: float | None = None
    shown: str = ""


class Kubelet:
    """Runs Pods until the ``with`` block ends.

    Attributes:
        address: of every Pod.
        restarted: names of containers that ended by themselves and were started again, once for each time.
    """

    def __init__(
        self,
        plane: ControlPlane,
        namespace: str,
        *,
        images: Mapping[str, Sequence[str | Path]],
        folder: Path | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Describe the kubelet.

        Args:
            plane: with ``CONTROLLERS`` and ``APISERVER`` among its arguments.
            namespace: whose Pods are run.
            images: repository of an image -> its entry point on this machine.
            folder: an empty folder for what containers have, which stays; a temporary one by default.
            patience_s: how long calls of the API server may fail, one after the other, before it gives up.
        """
        self._plane = plane
        self._api = plane.api
        self._namespace = namespace
        self._base = f"/api/v1/namespaces/{namespace}"
        self._images = images
        self._given_folder = folder
        self._patience_s = patience_s
        self._pods: dict[str, _Pod] = {}
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self.address = own_address()
        self._endpoints = Endpoints(plane.api, namespace, self.address)
        self.restarted: list[str] = []

    def __enter__(self) -> Self:
        self.folder = self._given_folder or Path(tempfile.mkdtemp(prefix="placet-kubelet-"))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        if self._given_folder is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._failure is not None and error is None:
            raise self._failure

    @property
    def failure(self) -> BaseException | None:
        """Why it runs no Pods any more; None while it does, also while it waits for the API server."""
        return self._failure

    def pids(self, container: str) -> list[int]:
        """Processes that run as a container of this name, one a Pod."""
        found = [pod.containers[container].process for pod in list(self._pods.values()) if container in pod.containers]
        return [process.pid for process in found if process.running]

    def ports(self, container_port: int) -> list[int]:
        """Ports of this machine that stand in for one of the containers, one a Pod."""
        return [pod.ports[container_port] for pod in list(self._pods.values()) if container_port in pod.ports]

    def log(self, pod: str) -> str:
        """What all containers of a Pod have written, also of one that has ended; Pods by the start of their names."""
        files = sorted(self.folder.glob(f"logs/{pod}*.log"))
        return "\n".join(f"== {file.name}\n{file.read_text(encoding='utf-8', errors='replace')}" for file in files)

    def _run(self) -> None:
        try:
            failing_since: float | None = None
            while not self._ending.wait(POLL_S):
                try:
                    self._sync()
                except (OSError, http.client.HTTPException, ControlPlaneError):
                    # What was done stays done, and the next round does the rest: every step looks before it acts.
                    failing_since = failing_since or time.monotonic()
                    if time.monotonic() - failing_since > self._patience_s:
                        raise
                else:
                    failing_since = None
        except BaseException as failure:  # noqa: BLE001 - raised where the with block ends
            self._failure = failure
        finally:
            for pod in self._pods.values():
                for container in pod.containers.values():
                    container.process.stop(grace_s=0.5)

    def _sync(self) -> None:
        provision_claims(self._api, self._namespace, self.folder / "claims")
        self._endpoints.read_services()
        listed = {pod["metadata"]["uid"]: pod for pod in self._api.get(f"{self._base}/pods")["items"]}
        for uid in [uid for uid in self._pods if uid not in listed]:
            for container in self._pods.pop(uid).containers.values():
                container.process.stop(grace_s=0.5)
        for uid, pod in listed.items():
            self._sync_pod(uid, pod)
        self._endpoints.forget_all_but({pod["metadata"]["name"] for pod in listed.values()})

    def _sync_pod(self, uid: str, pod: dict[str, Any]) -> None:
        if "nodeName" not in pod["spec"]:
            self._bind(pod)
            return
        if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"} and "deletionTimestamp" not in pod["metadata"]:
            return
        if uid not in self._pods:
            self._pods[uid] = self._place(uid, pod)
        here = self._pods[uid]
        if "deletionTimestamp" in pod["metadata"]:
            self._end(uid, pod, here)
            return
        self._sync_files(here)
        if not here.trouble:
            self._start(pod, here)
        self._report(pod, here)

    def _bind(self, pod: Mapping[str, Any]) -> None:
        name = pod["metadata"]["name"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        }
        self._api.request("POST", f"{self._base}/pods/{name}/binding", binding)

    def _place(self, uid: str, pod: dict[str, Any]) -> _Pod:
        spec = pod["spec"]
        containers = [*spec.get("initContainers", ()), *spec["containers"]]
        exposed = [port["containerPort"] for container in containers for port in container.get("ports", ())]
        ports = {port: free_port("0.0.0.0") for port in exposed}  # noqa: S104 - the server will
        root = self.folder / uid
        root.mkdir()
        return _Pod(PodFiles(self._api, pod, root, self.folder / "claims", ports), ports, root)

    def _sync_files(self, here: _Pod) -> None:
        if time.monotonic() < here.files_at:
            return
        here.files_at = time.monotonic() + (POLL_S if here.trouble else FILES_S)
        try:
            here.files.sync()
            here.trouble = ""
        except MountError as error:
            # What runs keeps the files that it has.
            here.trouble = "" if here.containers else str(error)

    def _start(self, pod: Mapping[str, Any], here: _Pod) -> None:
        """Start what is not running: sidecars first, and the others when those are started."""
        spec = pod["spec"]
        sidecars = spec.get("initContainers", [])
        for container in [*sidecars, *spec["containers"]]:
            running = here.containers.get(container["name"])
            try:
                if running is None:
                    if container not in sidecars and not all(self._is_started(here, each) for each in sidecars):
                        return
                    here.containers[container["name"]] = self._launch(pod, here, container)
                elif running.process.status is not None and spec.get("restartPolicy") == "Always":
                    self._restart(pod, here, running)
            except MountError as error:
                here.trouble = str(error)
                return

    def _restart(self, pod: Mapping[str, Any], here: _Pod, ended: _Container) -> None:
        if not ended.again_at:
            ended.again_at = time.monotonic() + min(2**ended.restarts, LONGEST_BACKOFF_S)
        elif time.monotonic() > ended.again_at:
            fresh = self._launch(pod, here, ended.spec)
            fresh.restarts = ended.restarts + 1
            self.restarted.append(f"{pod['metadata']['name']}/{ended.spec['name']}: status {ended.process.status}")
            here.containers[ended.spec["name"]] = fresh

    def _launch(self, pod: Mapping[str, Any], here: _Pod, container: dict[str, Any]) -> _Container:
        name = container["image"].rpartition("@")[0] or container["image"].rpartition(":")[0]
        given = [*container.get("command", ()), *container.get("args", ())]
        command: list[str | Path] = list(given)
        if "command" not in container:
            command = [*self._images[name], *given]
        elif given[0] == "python":
            command = [sys.executable, *given[1:]]
        else:
            command = [*self._images[given[0]], *given[1:]]
        environment = {
            **clean_environment(here.root),
            **{item["name"]: here.files.rewrite(self._value(pod, item)) for item in container.get("env", ())},
        }
        account = here.files.path(ACCOUNT_FOLDER)
        if any(mount["mountPath"] == ACCOUNT_FOLDER for mount in container.get("volumeMounts", ())):
            environment["KUBECONFIG"] = str(self._kubeconfig(here, account))
        log = self.folder / "logs" / f"{pod['metadata']['name']}-{container['name']}.log"
        log.parent.mkdir(exist_ok=True)
        program = Path(command[0])
        arguments = [here.files.rewrite(str(each)) for each in command[1:]]
        process = Process(container["name"], [program, *arguments], log, environment)
        return _Container(container, process, _now())

    def _value(self, pod: Mapping[str, Any], item: Mapping[str, Any]) -> str:
        if "valueFrom" not in item:
            return str(item.get("value", ""))
        source = item["valueFrom"]
        if "fieldRef" in source:
            return str(field_of(pod, source["fieldRef"]["fieldPath"]))
        reference = source["secretKeyRef"]
        found = self._api.find(f"{self._base}/secrets/{reference['name']}")
        data = {} if found is None else found.get("data", {})
        if reference["key"] not in data:
            message = f"couldn't find key {reference['key']} in Secret {self._namespace}/{reference['name']}"
            raise MountError(message)
        return base64.b64decode(data[reference["key"]]).decode()

    def _kubeconfig(self, here: _Pod, account: Path) -> Path:
        """The service account as a kubeconfig: there is no 10.0.0.1 to reach, and no /var/run to write to."""
        file = here.root / "kubeconfig.json"
        cluster = {"server": self._plane.url, "certificate-authority": str(account / "ca.crt")}
        settings = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "in-cluster", "cluster": cluster}],
            "users": [{"name": "account", "user": {"tokenFile": str(account / "token")}}],
            "contexts": [{"name": "pod", "context": {"cluster": "in-cluster", "user": "account"}}],
            "current-context": "pod",
        }
        file.write_text(json.dumps(settings), encoding="utf-8")
        return file

    # --- status --------------------------------------------------------------------------------------------------

    def _is_started(self, here: _Pod, container: Mapping[str, Any]) -> bool:
        running = here.containers.get(container["name"])
        return (
            running is not None
            and running.process.running
            and self._probe(here, container, container.get("startupProbe"))
        )

    def _is_ready(self, here: _Pod, container: _Container) -> bool:
        return container.process.running and self._probe(here, container.spec, container.spec.get("readinessProbe"))

    def _probe(self, here: _Pod, container: Mapping[str, Any], probe: Mapping[str, Any] | None) -> bool:
        if probe is None:
            return True
        get = probe["httpGet"]
        named = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        port = here.ports[named.get(get["port"], get["port"])]
        connection = http.client.HTTPConnection(get.get("host", self.address), port, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", get["path"])
            return http.client.OK <= connection.getresponse().status < http.client.BAD_REQUEST
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _report(self, pod: dict[str, Any], here: _Pod) -> None:
        spec = pod["spec"]
        containers = list(here.containers.values())
        ended = [container.process.status for container in containers]
        phase = "Running" if containers else "Pending"
        if spec.get("restartPolicy") != "Always" and ended and all(status is not None for status in ended):
            phase = "Failed" if any(ended) else "Succeeded"
        ready = {container.spec["name"]: self._is_ready(here, container) for container in containers}
        all_ready = bool(ready) and len(ready) == len([*spec.get("initContainers", ()), *spec["containers"]])
        all_ready = all_ready and all(ready.values())
        condition = {"status": str(all_ready), "lastTransitionTime": _now()}
        status = {
            "phase": phase,
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "hostIP": self.address,
            "hostIPs": [{"ip": self.address}],
            "conditions": [{"type": kind, **condition} for kind in ("Initialized", "ContainersReady", "Ready")],
            "containerStatuses": [self._status(here, each, ready) for each in spec["containers"]],
            "initContainerStatuses": [self._status(here, each, ready) for each in spec.get("initContainers", ())],
        }
        shown = json.dumps([phase, all_ready, here.trouble, ended, ready])
        if shown != here.shown:
            wanted = {**pod, "status": {**pod.get("status", {}), **status}}
            answer, _ = self._api.request("PUT", f"{self._base}/pods/{pod['metadata']['name']}/status", wanted)
            if answer == http.client.OK:
                here.shown = shown
        self._endpoints.publish(pod, here.ports, ready=all_ready)

    def _status(self, here: _Pod, container: Mapping[str, Any], ready: Mapping[str, bool]) -> dict[str, Any]:
        name = container["name"]
        common = {"name": name, "image": container["image"], "imageID": "", "ready": ready.get(name, False)}
        running = here.containers.get(name)
        if running is None:
            waiting = {"reason": "ContainerCreating", "message": here.trouble}
            return {**common, "restartCount": 0, "state": {"waiting": waiting}}
        status = running.process.status
        state: dict[str, Any] = {"running": {"startedAt": running.started}}
        if status is not None:
            state = {"terminated": {"exitCode": abs(status), "reason": "Completed" if status == 0 else "Error"}}
        return {**common, "restartCount": running.restarts, "started": status is None, "state": state}

    # --- the end -------------------------------------------------------------------------------------------------

    def _end(self, uid: str, pod: Mapping[str, Any], here: _Pod) -> None:
        """SIGTERM at once and to all but sidecars, which follow; SIGKILL when the grace period is over."""
        self._endpoints.publish(pod, here.ports, ready=False, terminating=True)
        sidecars = {each["name"] for each in pod["spec"].get("initContainers", ())}
        running = {name: each.process for name, each in here.containers.items() if each.process.running}
        main = {name: process for name, process in running.items() if name not in sidecars}
        if here.kill_at is None:
            here.kill_at = time.monotonic() + pod["metadata"].get("deletionGracePeriodSeconds", 30)
            _signal(main or running, signal.SIGTERM)
        elif running and not main:
            _signal(running, signal.SIGTERM)
        elif time.monotonic() > here.kill_at:
            _signal(running, signal.SIGKILL)
        if running:
            return
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        self._api.request("DELETE", f"{self._base}/pods/{pod['metadata']['name']}", options)


def _signal(processes: Mapping[str, Process], number: signal.Signals) -> None:
    for process in processes.values():
        os.kill(process.pid, number)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
