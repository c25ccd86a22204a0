"""What the demo plays on: a folder, the real commands, the real webhook, and a stand-in for ``kubectl apply``.

The reviews that it sends were written by a real kube-apiserver for ``demo_data/deploy.yaml``; the only things that
change are the request's uid, the annotations that the commands wrote into the manifest, and what the story changes.
"""

from __future__ import annotations

import copy
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import uuid
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import click
import yaml

from placet.cli.output import style

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0
REVIEW_TIMEOUT_S: Final = 10
_DATA: Final = resources.files("webhook") / "demo_data"


class Stage:
    """A folder with a webhook that runs until the block is left.

    Example::

        with Stage(folder) as stage:
            stage.run("init", ".", "--cluster", "demo", "--no-passphrase")
            stage.start_webhook()
            stage.apply("deploy.yaml", expect_allowed=False)
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self._webhook: subprocess.Popen[bytes] | None = None
        self._chapters = 0
        self.admitted = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_webhook()

    def stop_webhook(self) -> None:
        """End the webhook; it signs a last checkpoint. Does nothing when none runs."""
        if self._webhook is None or self._webhook.poll() is not None:
            return
        self._webhook.send_signal(signal.SIGINT)  # as from a terminal: nobody has to learn that it goes away
        try:
            self._webhook.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._webhook.kill()
            self._webhook.wait()

    def path(self, name: str) -> Path:
        """A file of the demo's folder."""
        return self._folder / name

    def chapter(self, title: str) -> None:
        """Start the next part of the story."""
        self._chapters += 1
        click.echo(style(f"\n{self._chapters}. {title}", "cyan", bold=True))

    def tell(self, text: str) -> None:
        """A sentence between two commands."""
        click.echo(f"   {text}")

    def copy_manifest(self) -> None:
        """Put the application team's manifest, and the coverage report of its build, into the folder."""
        for name in ("deploy.yaml", "coverage.json"):
            self.path(name).write_text((_DATA / name).read_text(encoding="utf-8"), encoding="utf-8")

    def run(self, *arguments: str, expect: int = 0, out: str = "", last_lines: int | None = None) -> None:
        """Run a ``placet`` command and show it.

        Args:
            arguments: after ``placet``.
            expect: the exit code that the story needs.
            out: a file for its standard output.
            last_lines: show no more than these of what it says.

        Raises:
            click.ClickException: it ended with another exit code than the story needs.
        """
        click.echo(style(f"\n   $ placet {' '.join(arguments)}{f' > {out}' if out else ''}", "white", bold=True))
        done = subprocess.run(
            [sys.executable, "-m", "placet", *arguments],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if out else subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if out:
            self.path(out).write_text(done.stdout, encoding="utf-8")
        self._show(done.stderr if out else done.stdout, last_lines=last_lines)
        if done.returncode != expect:
            raise click.ClickException(f"placet {arguments[0]} ended with {done.returncode}, the demo expects {expect}")

    def start_webhook(self) -> None:
        """Start ``placet serve`` and wait until it is ready.

        Raises:
            click.ClickException: it ended, or was not ready in time.
        """
        self._port = _free_port()
        click.echo(style("\n   $ placet serve --config placet.yaml &", "white", bold=True))
        with self.path("webhook.log").open("wb") as log:
            self._webhook = subprocess.Popen(
                [sys.executable, "-m", "placet", "serve", "--config", "placet.yaml", "--port", str(self._port)],
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end and self._webhook.poll() is None:
            if self._ready():
                return
            time.sleep(0.1)
        raise click.ClickException(
            f"the webhook did not start:\n{self.path('webhook.log').read_text(encoding='utf-8')}"
        )

    def apply(self, name: str, *, expect_allowed: bool) -> str:
        """What ``kubectl apply`` makes the API server ask, and what it would print.

        Returns:
            the decision's id.

        Raises:
            click.ClickException: the answer is not the one that the story needs.
        """
        click.echo(style(f"\n   $ kubectl apply -f {name}", "white", bold=True))
        manifest = yaml.safe_load(self.path(name).read_text(encoding="utf-8"))
        review = _review_for(manifest)
        response = self._post(review)["response"]
        resource = f"{manifest['kind'].lower()}.apps/{manifest['metadata']['name']}"
        for warning in response.get("warnings", []):
            self._show(f"Warning: {warning}")
        if response["allowed"]:
            self._show(f"{resource} created")
            self.admitted = review["request"]["uid"]
        else:
            self._show(
                f'Error from server (Forbidden): error when creating "{name}": '
                f'admission webhook "production.placet.dev" denied the request: {response["status"]["message"]}'
            )
        if response["allowed"] != expect_allowed:
            raise click.ClickException(f"{name} was {'allowed' if response['allowed'] else 'refused'}")
        return str(review["request"]["uid"])

    def log_verifier(self) -> str:
        """The public key of the log, as ``placet init`` wrote it down."""
        return self.path("keys/log.vkey").read_text(encoding="utf-8").strip()

    def _show(self, text: str, *, last_lines: int | None = None) -> None:
        lines = text.rstrip("\n").split("\n") if text.strip() else []
        if last_lines is not None:
            lines = ["...", *lines[-last_lines:]]
        for line in lines:
            click.echo(f"   {line}")

    def _connection(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.path("tls/ca.crt")))
        return http.client.HTTPSConnection("localhost", self._port, timeout=REVIEW_TIMEOUT_S, context=context)

    def _ready(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _post(self, review: dict[str, Any]) -> dict[str, Any]:
        connection = self._connection()
        try:
            connection.request(
                "POST",
                f"/v1/admit/production?timeout={REVIEW_TIMEOUT_S}s",
                json.dumps(review).encode(),
                {"Content-Type": "application/json"},
            )
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "response" not in answer:
            raise click.ClickException(f"the webhook answered {answer}")
        return answer


def _review_for(manifest: dict[str, Any]) -> dict[str, Any]:
    """The captured review, with the manifest's annotations and its container's arguments of now."""
    review: dict[str, Any] = copy.deepcopy(json.loads((_DATA / "review.json").read_text(encoding="utf-8")))
    request = review["request"]
    request["uid"] = str(uuid.uuid4())
    request["object"]["metadata"]["annotations"] = dict(manifest["metadata"].get("annotations", {}))
    containers = request["object"]["spec"]["template"]["spec"]["containers"]
    containers[0]["args"] = manifest["spec"]["template"]["spec"]["containers"][0]["args"]
    return review


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
