"""``placet serve`` on a record in PostgreSQL: two replicas, a server that goes away and comes back, one log."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from placet.audit.stores.postgres.store import open_view
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.simulators.gate import review
from tests.simulators.postgres import running_server

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "llama-deployment.yaml"
ORIGIN = "placet.dev/log/e2e"


def _ask(team: Team, url: str, asked: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """Of a review the answer, else of /readyz."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cadata=team.certificate.ca_pem.decode())
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=20, context=context)
    try:
        if asked is None:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return answer.status, {"text": answer.read().decode()}
        body = json.dumps(asked)
        connection.request("POST", f"{parts.path}?timeout=10s", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        response: dict[str, Any] = json.loads(answer.read())["response"]
        return answer.status, response
    finally:
        connection.close()


def test_two_replicas_share_a_database_and_outlive_its_server(tmp_path: Path) -> None:
    team = Team.found(tmp_path)
    shutil.copyfile(EXAMPLE, team.folder / "deploy.yaml")
    team.approve("deploy.yaml", "technical", "security", "business", "executive")
    manifest = yaml.safe_load((team.folder / "deploy.yaml").read_text(encoding="utf-8"))
    with running_server() as server:
        database = server.make_record("record", origin=ORIGIN)
        team.configure({"record": {"store": str(database)}})
        allowed = []
        with team.webhook() as first, team.webhook() as second:
            for number in range(8):
                asked = review(manifest)
                assert _ask(team, (first, second)[number % 2], asked)[1]["allowed"] is True
                allowed.append(asked["request"]["uid"])
            again = review(manifest)
            again["request"]["uid"] = allowed[0]
            assert _ask(team, second, again)[1]["allowed"] is True  # of the other replica: answered from the record
            server.stop(signal.SIGKILL)
            refused = review(manifest)
            answer = _ask(team, first, refused)[1]
            assert answer["allowed"] is False
            assert "/store_unavailable" in answer["status"]["message"]
            assert poll_until(lambda: _ask(team, first)[0] != 200, 30)
            assert "record" in _ask(team, first)[1]["text"]
            server.start()
            assert poll_until(lambda: _ask(team, first)[0] == _ask(team, second)[0] == 200, 60)
            assert _ask(team, second, refused)[1]["allowed"] is True
            allowed.append(refused["request"]["uid"])
        with open_view(database) as reader:
            uids = [row.raw_columns[2] for row in reader.raw_rows() if row.raw_columns[0] == "decision"]
        assert sorted(uids) == sorted(allowed)  # nothing lost, nothing twice, not even what was asked for again
        assert f"{len(allowed)} allowed, 0 denied" in team.run(
            "audit", "verify", "--log-key", (team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
        ).stdout  # fmt: skip
        assert "record" in team.run("config", "check").stdout
    log = (team.folder / "webhook.log").read_text(encoding="utf-8")
    assert "Traceback" not in log
