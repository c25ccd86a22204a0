"""Capture what a real API server sends to webhooks: test data that nobody made up.

    python -m tests.e2e.capture -f manifest.yaml -o reviews
    python -m tests.e2e.capture -f v1.yaml --update-with v2.yaml --operation create --operation update -o reviews

Each review becomes ``<kind>-<name>-<operation>.json``, byte for byte as it came, and ``.pretty.json``, the same with
line breaks and the order of its fields kept. The files are applied by ``kubectl apply``, as users do it; namespaces
that they name are made first.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.e2e.apiclient import ControlPlaneError
from tests.e2e.controlplane import ControlPlane
from tests.e2e.processes import ProcessError, poll_until
from tests.e2e.registration import PROBE_NAME, workload_rules
from tests.e2e.reviewserver import ReviewServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPERATIONS: Final = ("dry-run", "create", "update", "scale", "delete")
CAPTURED_BY_RULES: Final = ("CREATE", "UPDATE", "DELETE")
CONTROLLERS_TIMEOUT_S: Final = 20.0
# Touched when an update is asked for and no other manifest is given.
TOUCHED_ANNOTATION: Final = "capture.example/touched=yes"
SCALABLE: Final = frozenset({"Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"})


def documents(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The objects in manifest files; those of a List one by one."""
    for file in files:
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            if document:
                yield from document["items"] if document["kind"] == "List" else [document]


def make_namespaces(plane: ControlPlane, objects: Sequence[dict[str, Any]]) -> None:
    """Make every namespace that the objects are in or are, with the labels that the manifests give it."""
    labels: dict[str, dict[str, str]] = {}
    for each in objects:
        metadata = each["metadata"]
        if each["kind"] == "Namespace":
            labels[metadata["name"]] = metadata.get("labels", {})
        elif metadata.get("namespace", "default") != "default":
            labels.setdefault(metadata["namespace"], {})
    for name, given in labels.items():
        plane.create_namespace(name, given)


def perform(plane: ControlPlane, operation: str, options: argparse.Namespace) -> None:
    """Make the API server send reviews of one operation."""
    files = _file_arguments(options.filename)
    user = options.user
    match operation:
        case "dry-run":
            plane.kubectl("apply", "--dry-run=server", *files, user=user)
        case "create":
            plane.kubectl("apply", *files, user=user)
        case "update" if options.update_with:
            plane.kubectl("apply", *_file_arguments(options.update_with), user=user)
        case "update":
            plane.kubectl("annotate", "--overwrite", *files, TOUCHED_ANNOTATION, user=user)
        case "scale":
            for each in documents(options.filename):
                if each["kind"] in SCALABLE:
                    _scale(plane, each, options)
        case _:
            plane.kubectl("delete", "--wait=false", *files, user=user)


def _scale(plane: ControlPlane, manifest: dict[str, Any], options: argparse.Namespace) -> None:
    metadata = manifest["metadata"]
    target = f"{manifest['kind'].lower()}/{metadata['name']}"
    namespace = f"--namespace={metadata.get('namespace', 'default')}"
    plane.kubectl("scale", target, namespace, f"--replicas={options.replicas}", user=options.user)


def _file_arguments(files: Sequence[Path]) -> list[str]:
    return [argument for file in files for argument in ("-f", str(file))]


def wait_for_controllers(plane: ControlPlane) -> None:
    """Wait until every Deployment has said that its controller has seen it and made its replicas' pods.

    Raises:
        ControlPlaneError: that did not happen in time.
    """

    def settled() -> bool:
        items = plane.api.get("/apis/apps/v1/deployments")["items"]
        pairs = [(item["spec"]["replicas"], item.get("status", {}).get("replicas", 0)) for item in items]
        return all(wanted == made for wanted, made in pairs)

    if not poll_until(settled, CONTROLLERS_TIMEOUT_S):
        message = f"the controllers did not make all replicas in {CONTROLLERS_TIMEOUT_S:g} s"
        raise ControlPlaneError(message)


def write_reviews(reviews: Sequence[bytes], folder: Path) -> list[Path]:
    """Write reviews to files and return the paths of the exact ones, without the control plane's own probes."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for raw in reviews:
        request = json.loads(raw)["request"]
        if request.get("name") == PROBE_NAME:
            continue
        path = _free_path(folder, _stem(request), written)
        path.write_bytes(raw)
        # Python keeps the order of fields, and numbers in reviews are integers, so only white space changes.
        pretty = json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
        path.with_suffix(".pretty.json").write_text(f"{pretty}\n", encoding="utf-8")
        written.append(path)
    return written


def _stem(request: dict[str, Any]) -> str:
    shown = request.get("object") or request.get("oldObject") or {}
    name = request.get("name") or shown.get("metadata", {}).get("generateName", "unnamed").rstrip("-")
    kind = request["requestKind"]["kind"]
    part = request.get("requestSubResource", "")
    resource = f"{request['requestResource']['resource']}-{part}" if part else kind
    suffix = "-dry-run" if request.get("dryRun") else ""
    return f"{resource}-{name}-{request['operation']}{suffix}".lower()


def _free_path(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    path = folder / f"{stem}.json"
    number = 2
    while path in taken:
        path = folder / f"{stem}-{number}.json"
        number += 1
    return path


def capture(options: argparse.Namespace) -> list[Path]:
    """Run a control plane, do what the options say, and write the reviews that came."""
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(controllers=options.controllers))
        server = stack.enter_context(ReviewServer(plane.serving_certificate(["127.0.0.1"])))
        plane.install_webhook("capture", server.url, plane.authority.pem, workload_rules(CAPTURED_BY_RULES))
        if options.user != "admin":
            plane.kubeconfig_for(options.user, options.group)
            plane.grant(options.user, "cluster-admin")
        make_namespaces(plane, list(documents(options.filename)))
        for operation in sorted(set(options.operation or ["create"]), key=OPERATIONS.index):
            perform(plane, operation, options)
            if options.controllers and operation != "dry-run":
                wait_for_controllers(plane)
        return write_reviews(server.reviews, options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.capture",
        description="Capture the AdmissionReviews that a real API server sends for manifests.",
        epilog=(
            "example:\n  python -m tests.e2e.capture -f deployment.yaml --operation dry-run --operation create "
            "--operation update -o reviews\n\nexit status: 0 captured, 1 failed, 2 wrong usage"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-f", "--filename", type=Path, nargs="+", action="extend", required=True, help="manifests")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the reviews go")
    parser.add_argument(
        "--operation", choices=OPERATIONS, action="append", help="repeatable; done in this order (default: create)"
    )
    parser.add_argument(
        "--update-with", type=Path, nargs="+", metavar="FILE", help="manifests to apply for update (default: annotate)"
    )
    parser.add_argument("--replicas", type=int, default=3, help="for scale (default: 3)")
    parser.add_argument("--controllers", action="store_true", help="real controllers too: their reviews are captured")
    parser.add_argument("--user", default="admin", help="who does it (default: admin)")
    parser.add_argument("--group", action="append", default=[], help="a group of that user; repeatable")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        written = capture(options)
    except (ControlPlaneError, ProcessError, OSError, yaml.YAMLError) as error:
        sys.stderr.write(f"capture: {error}\n")
        return 1
    for path in written:
        sys.stdout.write(f"{path}\n")
    return 0 if written else 1


if __name__ == "__main__":
    sys.exit(main())
