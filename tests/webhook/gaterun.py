"""A team's folder and a runtime on it, in this process: background work happens when a test says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from placet.assemble import load_own_log_key
from placet.audit.location import open_store
from placet.audit.query import Query, find
from placet.audit.stores.file import open_readonly
from placet.config import Config, load_config
from tests.e2e.gateprocess import Team
from tests.simulators.faults import FaultyStore
from tests.simulators.gate import example, review
from webhook.measured import MeasuredLog
from webhook.runtime import Runtime

ROLES = ("technical", "security", "business", "executive")
EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "llama-deployment.yaml"
PATH = "/v1/admit/production"


@dataclass
class Clock:
    """The wall clock, and how far a test has moved it."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Gate:
    """A runtime, and what tests ask of it."""

    team: Team
    runtime: Runtime
    clock: Clock
    faults: FaultyStore | None = None
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.runtime.app.test_client()

    def ask(
        self, manifest: dict[str, Any] | None = None, *, path: str = PATH, callers: tuple[str, ...] = (), **terms: Any
    ) -> dict[str, Any]:
        """The response to a review."""
        answer = self.client.post(
            path,
            data=json.dumps(review(manifest or example(), **terms)),
            content_type="application/json",
            environ_overrides={"placet.caller_names": callers} if callers else {},
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)
        response: dict[str, Any] = answer.get_json()["response"]
        return response

    def refusal(self, manifest: dict[str, Any] | None = None, **terms: Any) -> str:
        """The message of a review that must be refused."""
        response = self.ask(manifest, **terms)
        assert response["allowed"] is False
        return str(response["status"]["message"])

    def ready(self, server: object | None = None) -> tuple[int, str]:
        """Status and text of /readyz, after a look."""
        self.runtime.look()
        overrides = {} if server is None else {"placet.server": server}
        answer = self.client.get("/readyz", environ_overrides=overrides)
        return answer.status_code, answer.get_data(as_text=True)

    def round(self) -> None:
        """What the background does once a second."""
        self.runtime.look_for_changes()
        self.runtime.look()

    def sign(self) -> None:
        """What the background does once a minute."""
        self.runtime.checkpointer.run_once(self.clock())

    def metric(self, name: str, **labels: str) -> float | None:
        """A sample of /metrics; None where there is none."""
        text = self.client.get("/metrics").get_data(as_text=True)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None

    def records(self, leaf_type: str) -> list[Mapping[str, Any]]:
        """Bodies of the leaves of a type, the oldest first."""
        with open_readonly(self.team.folder / "record.sqlite") as reader:
            return [one.body for one in reversed(find(reader, Query(type=leaf_type), limit=1000).found)]

    def policy_data(self, text: str) -> None:
        """Write the operator's policy data."""
        (self.team.folder / "policy-data.yaml").write_text(text, encoding="utf-8")


def copy_team(founded: Team, folder: Path) -> Team:
    """A team of the same keys with files of its own."""
    shutil.copytree(founded.folder, folder / "team")
    return Team(folder / "team")


def approved(team: Team, *roles: str) -> dict[str, Any]:
    """The example, approved."""
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    team.approve("deploy.yaml", *(roles or ROLES))
    manifest: dict[str, Any] = yaml.safe_load((team.folder / "deploy.yaml").read_text(encoding="utf-8"))
    return manifest


@contextmanager
def opened(
    team: Team,
    *,
    environment: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    faulty: bool = False,
    signed: bool = True,
    background: bool = False,
) -> Iterator[Gate]:
    """Open the runtime, and close it."""
    clock = clock or Clock()
    stores: list[FaultyStore] = []

    def open_log(config: Config) -> MeasuredLog:
        stores.append(FaultyStore(open_store(config.store, origin=config.origin)))
        return MeasuredLog(stores[-1], key=load_own_log_key(config))

    runtime = Runtime.open(
        load_config(team.folder / "placet.yaml"),
        environment=environment or {},
        clock=clock,
        open_log=open_log if faulty else None,
        background=background,
    )
    try:
        gate = Gate(team, runtime, clock, stores[0] if stores else None)
        if signed and not background:
            gate.sign()
            runtime.look()
        yield gate
    finally:
        runtime.close()
