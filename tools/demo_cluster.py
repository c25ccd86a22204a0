"""Tell the story of placet with kubectl and helm against a real control plane, then leave that running to play with.

    make demo-cluster                               # builds the programs first
    python tools/demo_cluster.py --no-wait          # end after the story, as continuous integration does
    python tools/demo_cluster.py --keep demo        # leave everything in demo/ to look at

The control plane is etcd, kube-apiserver and kube-controller-manager, built by tools/build.py; the chart's Pods run as
processes of this machine. All of it lives in one temporary folder and ends with this program, however it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the control plane is started by what the tests start it with

import click  # noqa: E402 - after the path is set

from placet.cli.output import say, style  # noqa: E402
from tests.e2e.apiclient import ControlPlaneError  # noqa: E402
from tests.e2e.controlplane import ControlPlane  # noqa: E402
from tests.e2e.kubelet import APISERVER, CONTROLLERS, Kubelet  # noqa: E402
from tests.e2e.processes import ProcessError, clean_environment, program_path  # noqa: E402
from tools.demo_cluster_stage import Stage, StoryError  # noqa: E402
from tools.demo_cluster_stop import Stopped, StopSignals  # noqa: E402
from tools.demo_cluster_story import DEPLOYER, MODELS, SYSTEM, play  # noqa: E402

PREFIX: Final = "placet-demo-cluster-"
LOOK_S: Final = 0.5
REMOVE_TIMEOUT_S: Final = 10.0
# Beside placet itself: what a user of a cluster has on PATH.
PROGRAMS: Final = ("kubectl", "helm")
PLACET_PROGRAMS: Final = ("placet", "kubectl-placet", "kubectl_complete-placet")


class _Program(Protocol):
    """What ended by itself."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> int | None: ...


class _Plane(Protocol):
    def find_ended(self) -> Sequence[_Program]: ...


class _Node(Protocol):
    restarted: list[str]

    @property
    def failure(self) -> BaseException | None: ...


@dataclass(frozen=True)
class Cluster:
    """What runs, as far as it is looked at while somebody plays with it."""

    plane: _Plane
    node: _Node


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.keep is not None and options.keep.exists():
        parser.error(f"{options.keep} is there already: --keep takes a new folder")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in order with stderr where both are one file
    try:
        with StopSignals() as signals, work_folder(signals, options.keep) as folder:
            return tell(signals, folder, kept=options.keep is not None, wait=options.wait)
    except Stopped as stopped:
        say("stopped; nothing is left running")
        return 128 + stopped.number


def tell(signals: StopSignals, folder: Path, *, kept: bool, wait: bool) -> int:
    """Start everything, tell the story, leave it running if wanted, end everything; gives the exit status."""
    try:
        with running(signals, folder) as (cluster, stage):
            play(stage, folder)
            click.echo(style("\nRefused, approved, admitted, scaled, rolled back, proved.", "green", bold=True))
            if wait:
                click.echo(render_invitation(folder))
                watch(cluster)
                say("\nending everything")
    except Exception as exc:
        say(f"\n{style('error', 'red', bold=True, err=True)}: {exc}")
        if place := folder if kept else save_logs(folder):
            say(f"the logs are in {place}")
        if isinstance(exc, (StoryError, ProcessError, ControlPlaneError)):
            return 1
        raise
    if kept:
        click.echo(f"\nEverything is in {folder}.")
    return 0


@contextlib.contextmanager
def work_folder(signals: StopSignals, keep: Path | None) -> Iterator[Path]:
    """A new folder that only this user can read; removed after the block unless it is to be kept."""
    if keep is not None:
        keep.mkdir(mode=0o700, parents=True)
        yield keep.resolve()
        return
    folder: Path | None = None
    try:
        with signals.held():
            folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        yield folder
    finally:
        signals.ignore()
        if folder is not None:
            remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder in which a program that was just killed may have written a moment ago."""
    end = time.monotonic() + REMOVE_TIMEOUT_S
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=time.monotonic() < end)


def save_logs(folder: Path) -> Path | None:
    """Copy the programs' logs, which hold no secrets, to a place that stays; None when nothing has run yet."""
    logs = [*folder.glob("cluster/*.log"), *folder.glob("node/logs/*.log")]
    if not logs:
        return None
    place = Path(tempfile.mkdtemp(prefix=f"{PREFIX}logs-"))
    for log in logs:
        shutil.copy(log, place)
    return place


@contextlib.contextmanager
def running(signals: StopSignals, folder: Path) -> Iterator[tuple[Cluster, Stage]]:
    """A control plane, a node for placet's own namespace, and a shell that knows them.

    Raises:
        ProcessError: a program is missing, or did not start.
        StoryError: this machine can't be a node.
    """
    say("starting etcd, kube-apiserver and kube-controller-manager; about 10 s")
    plane = ControlPlane(
        audit=True,
        controllers=True,
        apiserver_arguments=[APISERVER],
        controller_arguments=[CONTROLLERS],
        folder=_made(folder / "cluster"),
    )
    with contextlib.ExitStack() as stack:
        stack.callback(plane.stop)  # also when it is interrupted between its last line and the first of its block
        try:
            stage = Stage(folder, furnish(folder))
            stack.enter_context(plane)
            write_kubeconfig(folder / "kubeconfig", plane)
            with signals.held():
                node = stack.enter_context(_node(plane, _made(folder / "node")))
            yield Cluster(plane, node), stage
        finally:
            signals.ignore()


def _node(plane: ControlPlane, folder: Path) -> Kubelet:
    try:
        return Kubelet(plane, SYSTEM, images={"placet": [sys.executable, "-m", "placet"]}, folder=folder)
    except OSError as exc:
        raise StoryError(
            f"this machine has no address but loopback ({exc}), and the API server calls no Service there: connect it "
            "to a network, any will do"
        ) from exc


def furnish(folder: Path) -> dict[str, str]:
    """Put what a user has at hand into the folder; gives the environment of their shell.

    Raises:
        ProcessError: a program has not been built.
    """
    programs = {name: program_path(name) for name in PROGRAMS}
    programs |= {name: Path(sys.executable).with_name(name) for name in PLACET_PROGRAMS}
    for name, path in programs.items():
        (_made(folder / "bin") / name).symlink_to(path)
    (folder / "manifests").symlink_to(ROOT / "manifests")
    (folder / "record").symlink_to(Path("node") / "claims" / "placet-record")
    (folder / "audit.log").symlink_to(Path("cluster") / "audit.log")
    clean = clean_environment(folder)
    return {
        **clean,
        "PATH": f"{folder / 'bin'}:{clean['PATH']}",
        "KUBECONFIG": str(folder / "kubeconfig"),
        "TMPDIR": str(_made(folder / "tmp")),
    }


def write_kubeconfig(file: Path, plane: ControlPlane) -> None:
    """One file with a context for each of the two who use the cluster."""
    plane.kubeconfig_for(DEPLOYER, ["developers"])
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": "platform"}
    merged |= {"clusters": [], "users": [], "contexts": []}
    for name, user in (("platform", "admin"), ("dora", DEPLOYER)):
        own = json.loads(plane.kubeconfig_path(user).read_text(encoding="utf-8"))
        merged["clusters"] = [{**own["clusters"][0], "name": "demo"}]
        merged["users"].append({**own["users"][0], "name": name})
        merged["contexts"].append({"name": name, "context": {"cluster": "demo", "user": name}})
    file.touch(mode=0o600)
    file.write_text(json.dumps(merged, indent=2), encoding="utf-8")


def render_invitation(folder: Path) -> str:
    """What somebody needs to play with the cluster."""
    return f"""
It runs until Ctrl-C. In another terminal:

   export KUBECONFIG={folder}/kubeconfig
   export PATH={folder}/bin:$PATH
   export PLACET_CONFIG={folder}/gate/placet.yaml PLACET_AUDIT_STORE={folder}/record/record.sqlite

   {folder}/gate/keys   keys of the example people: tara technical, sam security, bea business, eve executive
   {folder}/audit.log   the API server's own log

Three things to try, as the platform team; --context dora is somebody who may deploy and not approve:

   placet plan deployment/llama -n {MODELS}
   kubectl -n {MODELS} debug "$(kubectl -n {MODELS} get pods -o name | head -1)" --image=busybox --attach=false
   kubectl -n {SYSTEM} delete pods --all --wait=false && kubectl -n {MODELS} run model --image=x

Its certificates end after a day."""


def watch(cluster: Cluster) -> None:
    """Look after the cluster until a signal asks for the end; say when a webhook ended and was started again.

    Raises:
        StoryError: what nobody starts again has ended.
    """
    told = len(cluster.node.restarted)
    try:
        while True:
            for program in cluster.plane.find_ended():
                raise StoryError(f"{program.name} ended by itself with status {program.status}")
            if cluster.node.failure is not None:
                raise StoryError(f"nothing runs placet's Pods any more: {cluster.node.failure!r}")
            for restarted in cluster.node.restarted[told:]:
                say(f"a process of placet ended by itself and was started again: {restarted}")
                told += 1
            time.sleep(LOOK_S)
    except Stopped:
        return


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demo_cluster.py",
        description="Tell the story of placet with kubectl and helm against a real control plane, then leave that "
        "running until Ctrl-C.",
        epilog=(
            "examples:\n"
            "  make demo-cluster                             build the programs, tell the story, wait\n"
            "  make demo-cluster WAIT=no                     end after the story, as continuous integration does\n"
            "  make demo-cluster KEEP=demo                   leave keys, record and logs in demo/\n"
            "  python tools/demo_cluster.py --no-wait        with programs that are built already\n\n"
            "exit status: 0 told, 1 the story went another way than it must, 2 wrong usage, 130 interrupted"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--no-wait", dest="wait", action="store_false", help="end after the story")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="work in this new folder and leave everything there, private keys of the example people included",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
