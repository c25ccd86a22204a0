"""A control plane, a kubelet and a team's folder: what a Helm chart is installed into."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import yaml

from tests.e2e.controlplane import ControlPlane
from tests.e2e.gateprocess import Team
from tests.e2e.kubelet import APISERVER, CONTROLLERS, Kubelet
from tests.e2e.processes import clean_environment, poll_until, program_path

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "manifests" / "chart" / "placet"
EXAMPLE: Final = ROOT / "manifests" / "examples" / "llama-deployment.yaml"
SYSTEM: Final = "placet-system"
MODELS: Final = "ml-serving"
TIMEOUT_S: Final = 90.0
CONFIGURATIONS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@dataclass
class ChartCluster:
    """One cluster with a folder of ``placet init``, whose ``deploy.yaml`` production may approve.

    Attributes:
        plane: etcd, API server, controllers.
        kubelet: runs the Pods of ``placet-system``.
        team: the folder.
    """

    plane: ControlPlane
    kubelet: Kubelet
    team: Team

    @classmethod
    @contextlib.contextmanager
    def started(cls, folder: Path, *, webhook_client: str | None = None, audit: bool = False) -> Iterator[Self]:
        """A cluster without placet: a namespace for models, and a folder.

        Args:
            folder: empty; ``placet init`` is run in it.
            webhook_client: common name of the certificate that the API server shows to webhooks.
            audit: whether the API server keeps an audit log.
        """
        team = Team.found(folder)
        shutil.copyfile(EXAMPLE, folder / "deploy.yaml")
        team.attest("deploy.yaml")
        images: dict[str, list[str | Path]] = {
            "placet": [sys.executable, "-m", "placet"],
            "docker.io/openpolicyagent/opa": [program_path("opa")],
        }
        arguments: dict[str, Any] = {"apiserver_arguments": [APISERVER], "controller_arguments": [CONTROLLERS]}
        arguments["webhook_client"] = webhook_client
        arguments["audit"] = audit
        with ControlPlane(controllers=True, **arguments) as plane, Kubelet(plane, SYSTEM, images=images) as kubelet:
            plane.create_namespace(MODELS, {"placet.dev/environment": "production"})
            yield cls(plane, kubelet, team)

    @property
    def folder(self) -> Path:
        """The team's."""
        return self.team.folder

    def helm(self, *arguments: str | Path, expect: int = 0) -> str:
        """Run helm as the administrator; gives what it printed, errors included."""
        kubeconfig = self.plane.kubeconfig_path()
        done = subprocess.run(
            [program_path("helm"), f"--kubeconfig={kubeconfig}", *arguments],
            capture_output=True,
            text=True,
            env=clean_environment(self.plane.folder),
            check=False,
            timeout=TIMEOUT_S + 30,
        )
        text = f"{done.stdout}{done.stderr}"
        assert done.returncode == expect, f"helm {arguments}: {done.returncode}\n{text}\n{self.kubelet.log('')[-4000:]}"
        return text

    def install(self, *more: str | Path, command: str = "install", wait: bool = True) -> str:
        """Install or upgrade the release ``placet`` from the folder's values, with a short drain."""
        waiting = ["--wait", f"--timeout={TIMEOUT_S:g}s"] if wait else []
        return self.helm(command, "placet", CHART, "-n", SYSTEM, "-f", self.folder / "values.yaml",
                         "--set", "server.drainSeconds=3", *waiting, *more)  # fmt: skip

    def make_system(self) -> None:
        """What README.txt of the folder says to do before helm."""
        self.plane.kubectl("create", "namespace", SYSTEM)
        self.make_log_key()

    def make_log_key(self) -> None:
        """The Secret with the record's key."""
        self.plane.kubectl("-n", SYSTEM, "create", "secret", "generic", "placet-log-key",
                           f"--from-file=log.key={self.folder / 'keys' / 'log.key'}")  # fmt: skip

    def apply(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        """``kubectl apply`` of a file of the folder."""
        return self.plane.kubectl("apply", "-f", str(self.folder / name), *more, check=False)

    def ending_namespaces(self) -> list[str]:
        """Namespaces that are being deleted."""
        found = self.plane.api.get("/api/v1/namespaces")["items"]
        return [one["metadata"]["name"] for one in found if "deletionTimestamp" in one["metadata"]]

    def run_check(self, namespace: str) -> subprocess.CompletedProcess[str]:
        """The command of NOTES.txt, which must be refused where placet governs."""
        return self.plane.kubectl(
            "-n", namespace, "run", "placet-check", "--image=registry.example.com/model",
            "--labels=placet.dev/model=check", "--dry-run=server", check=False,
        )  # fmt: skip

    def shell(self, script: str) -> str:
        """Run commands as people would, with kubectl and helm on PATH and manifests/ beside the folder ``gate``."""
        place = self.plane.folder / "shell"
        place.mkdir(exist_ok=True)
        for name, target in (("gate", self.folder), ("manifests", ROOT / "manifests")):
            if not (place / name).exists():
                (place / name).symlink_to(target)
        programs = f"{program_path('kubectl').parent}:{program_path('helm').parent}:{Path(sys.executable).parent}"
        environment = clean_environment(self.plane.folder)
        environment |= {"KUBECONFIG": str(self.plane.kubeconfig_path()), "PATH": f"{programs}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def honest_calls(self, name: str) -> Iterator[list[str]]:
        """Create an approved workload as a dry run, again and again; gives every answer that was not "created"."""
        manifest = yaml.safe_load((self.folder / name).read_text(encoding="utf-8"))
        path = f"/apis/apps/v1/namespaces/{MODELS}/deployments?dryRun=All"
        failures: list[str] = []
        ended = threading.Event()
        answered: list[int] = []

        def call() -> None:
            while not ended.is_set():
                status, body = self.plane.api.request("POST", path, manifest)
                answered.append(status)
                if status != 201:
                    failures.append(body.decode(errors="replace"))

        callers = [threading.Thread(target=call) for _ in range(2)]
        for caller in callers:
            caller.start()
        try:
            assert poll_until(lambda: len(answered) > 5, TIMEOUT_S)
            yield failures
            seen = len(answered)
            assert poll_until(lambda: len(answered) > seen + 20, TIMEOUT_S)
        finally:
            ended.set()
            for caller in callers:
                caller.join()
