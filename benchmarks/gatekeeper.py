"""Gatekeeper as its chart runs it, outside a cluster: beside a control plane, with one constraint of ours."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.load import BenchmarkError, Server, ask
from benchmarks.servers import PEERS, Site, is_ready, running
from tests.e2e.controlplane import ControlPlane
from tests.e2e.processes import clean_environment, poll_until, program_path
from tests.simulators.ports import free_port
from tools.build import TOOLS, find_go

NAMESPACE: Final = "gatekeeper-system"
IN_FORCE_TIMEOUT_S: Final = 60.0
_MODULE: Final = "github.com/open-policy-agent/gatekeeper/v3"


@contextlib.contextmanager
def running_gatekeeper(site: Site, plane: ControlPlane) -> Iterator[Server]:
    """Gatekeeper's webhook, once its constraint is there; whether it is in force is for the caller to ask."""
    plane.create_namespace(NAMESPACE)
    plane.kubectl("apply", "--server-side", "-f", str(custom_resource_definitions()))
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    plane.kubectl("apply", "-f", "-", stdin=render_template())
    certificates = site.folder / "gatekeeper-certificates"
    certificates.mkdir()
    shutil.copy(site.files.certificate, certificates / "tls.crt")
    shutil.copy(site.files.key, certificates / "tls.key")
    port, health, metrics = (free_port(site.address) for _ in range(3))
    command: list[str | Path] = [
        program_path("gatekeeper"),
        "--debug-use-fake-pod",
        "--disable-cert-rotation",
        f"--cert-dir={certificates}",
        f"--host={site.address}",
        f"--port={port}",
        f"--health-addr={site.address}:{health}",
        f"--prometheus-port={metrics}",
        "--metrics-backend=prometheus",
        # Both in one process, as the chart has it. Without generate nobody makes the constraint's kind.
        "--operation=webhook",
        "--operation=generate",
        f"--exempt-namespace={NAMESPACE}",
    ]
    environment = clean_environment(site.folder) | {
        "KUBECONFIG": str(plane.kubeconfig_for("gatekeeper", ["system:masters"])),
        "POD_NAMESPACE": NAMESPACE,
    }
    ready = partial(is_ready, site, health, tls=False)
    with running(site, "gatekeeper", command, ready, environment=environment) as process:
        constraint = str(PEERS / "constraint.yaml")
        process.wait_until(
            lambda: plane.kubectl("apply", "-f", constraint, check=False).returncode == 0,
            "able to take a constraint",
            IN_FORCE_TIMEOUT_S,
        )
        yield site.server("Gatekeeper", process, port, "/v1/admit")


def custom_resource_definitions() -> Path:
    """The folder with Gatekeeper's own resource definitions, in the module that its program was built from."""
    ran = subprocess.run(
        [find_go(), "mod", "download", "-json", _MODULE],
        cwd=TOOLS / "gatekeeper",
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(ran.stdout)["Dir"]) / "charts" / "gatekeeper" / "crds"


def render_template() -> str:
    """The constraint template with the rules in it, as JSON."""
    template: dict[str, Any] = yaml.safe_load((PEERS / "template.yaml").read_text(encoding="utf-8"))
    source = template["spec"]["targets"][0]["code"][0]["source"]
    source["rego"] = (PEERS / "guard.rego").read_text(encoding="utf-8")
    return json.dumps(template)


def wait_until_refusing(server: Server, bad: Mapping[str, Any]) -> None:
    """Wait until the constraint is in force: Gatekeeper admits everything for a moment after its start.

    Raises:
        BenchmarkError: it still admits what the constraint forbids.
    """
    if not poll_until(lambda: not ask(server, bad)["allowed"], IN_FORCE_TIMEOUT_S):
        raise BenchmarkError(f"{server.name} admits what its constraint forbids after {IN_FORCE_TIMEOUT_S:g} s")
