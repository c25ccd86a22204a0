"""``placet demo``: the whole story with the real webhook, on one machine, without a cluster."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

import click

from placet.cli.output import style
from webhook.demo_stage import Stage

PEOPLE: Final = (("technical", "tara"), ("security", "sam"), ("business", "bea"))
ENVIRONMENT: Final = "production"


@click.command()
@click.option(
    "--keep",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Work in this new folder and leave everything there to look at.",
)
def demo(folder: Path | None) -> None:
    r"""Show a model refused, approved, admitted and proved.

    \b
    Examples:
      placet demo
      placet demo --keep /tmp/placet-demo

    Starts the real webhook with TLS on a free port of this machine, sends it reviews that a real API server wrote,
    and runs the same commands that a team would type. Needs no cluster.

    \b
    See also: placet init, placet serve
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=False)
        _play(folder)
        click.echo(f"\nEverything is in {folder}.")
        return
    with tempfile.TemporaryDirectory(prefix="placet-demo-") as temporary:
        _play(Path(temporary))


def _play(folder: Path) -> None:
    with Stage(folder) as stage:
        _prepare(stage)
        _refuse(stage)
        _approve(stage)
        _admit(stage)
        decision = _change(stage)
        _prove(stage, decision)
    _tamper(stage)
    click.echo(style("\nRefused, approved, admitted, proved.", "green", bold=True))


def _prepare(stage: Stage) -> None:
    stage.chapter("A platform team sets up a gate")
    stage.run("init", ".", "--cluster", "demo", "--no-passphrase", "--autoscalers", "none")
    stage.start_webhook()
    stage.tell(
        "The webhook listens with TLS. Two of three root keys signed the keyring; nobody else can grant anything."
    )
    stage.chapter("The build pipeline signs what it measured")
    stage.copy_manifest()
    common = ("-f", "deploy.yaml", "--key", "keys/pipeline.key", "--write")
    stage.run("evidence", "attest", "--parameters", "70600000000", "--data-classification", "confidential",
              "--rollback-minutes", "3", *common)  # fmt: skip
    stage.run("evidence", "attest", "--fact", "coverage", "--from", "coverage.json", *common)


def _refuse(stage: Stage) -> None:
    stage.chapter("The application team deploys")
    stage.apply("deploy.yaml", expect_allowed=False)
    stage.tell("The same answer, before asking the cluster:")
    stage.run("plan", "-f", "deploy.yaml", "--environment", ENVIRONMENT, "--record", "record.sqlite", expect=1)


def _approve(stage: Stage) -> None:
    stage.chapter("Three people sign, each with their own key")
    for place, (role, person) in enumerate(PEOPLE):
        stage.run("approve", "-f", "deploy.yaml", "--environment", ENVIRONMENT, "--role", role,
                  "--key", f"keys/{person}.key", "--record", "record.sqlite", "--yes",
                  last_lines=3 if place else None)  # fmt: skip


def _admit(stage: Stage) -> None:
    stage.chapter("The application team deploys again")
    stage.apply("deploy.yaml", expect_allowed=True)


def _change(stage: Stage) -> str:
    stage.chapter("Somebody changes one argument after the approvals")
    changed = (
        stage.path("deploy.yaml").read_text(encoding="utf-8").replace("--tensor-parallel-size=4", "--trust-remote-code")
    )
    stage.path("changed.yaml").write_text(changed, encoding="utf-8")
    return stage.apply("changed.yaml", expect_allowed=False)


def _prove(stage: Stage, refused: str) -> None:
    stage.stop_webhook()
    stage.chapter("The security team and the auditor look")
    stage.run("audit", "list", "--store", "record.sqlite")
    stage.run("audit", "show", refused, "--store", "record.sqlite")
    key = stage.log_verifier()
    stage.run("audit", "prove", stage.admitted, "--store", "record.sqlite", "--log-key", key, out="proof.json")
    stage.run("audit", "verify", "--proof", "proof.json", "--log-key", key,
              "--root-key", "roots", "--root-threshold", "2")  # fmt: skip
    stage.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)


def _tamper(stage: Stage) -> None:
    stage.chapter("Somebody turns the refusal into an admission, in a copy of the record, and recomputes its hash")
    copy = stage.path("tampered.sqlite")
    shutil.copyfile(stage.path("record.sqlite"), copy)
    connection = sqlite3.connect(copy)
    try:
        with connection:
            index, leaf = connection.execute("SELECT min(idx), leaf FROM leaves WHERE allowed = 0").fetchone()
            forged = leaf.replace(b'"allowed":false', b'"allowed":true')
            (guard,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'leaves_no_update'").fetchone()
            connection.execute("DROP TRIGGER leaves_no_update")
            connection.execute(
                "UPDATE leaves SET leaf = ?, leaf_hash = ?, allowed = 1 WHERE idx = ?",
                (forged, hashlib.sha256(b"\x00" + forged).digest(), index),
            )
            connection.execute(guard)
    finally:
        connection.close()
    if forged == leaf:
        raise click.ClickException("the copy was not changed, so nothing would be shown")
    stage.run("audit", "verify", "--store", "tampered.sqlite", "--log-key", stage.log_verifier(), expect=1)
