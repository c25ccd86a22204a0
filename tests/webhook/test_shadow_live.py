"""The real process with policies to try: its answers are what they were, whatever becomes of those that are tried."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import ssl
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from placet.audit.stores.file import open_readonly
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.policies.programs import POLICIES
from tests.simulators.gate import review
from tests.webhook.test_serve import post
from tools import bundle as builder

LONG_S = 90.0
SLOW = """# METADATA
# title: Nothing is named loops
# description: A rule that takes longer than anybody waits for what is named so.
# custom:
#   severity: high
#   solution: Name it otherwise.
#   controls:
#     - NIST SP 800-53 AC-3
package admission.rules.team.slow

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if input.workload.name != "loops"

passes if {
	input.workload.name == "loops"
	digits := [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
	every a in digits {
		every b in digits {
			every c in digits {
				every d in digits {
					every e in digits {
						every f in digits {
							every g in digits {
								((((((a + b) + c) + d) + e) + f) + g) < 100
							}
						}
					}
				}
			}
		}
	}
}

report contains {"code": "named_loops"} if input.workload.name == "none"
"""
Told = Counter[tuple[str, bool, str]]


@pytest.fixture(scope="module")
def slow_policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ships, and a rule that loops for one name."""
    folder = tmp_path_factory.mktemp("policies")
    shutil.copytree(POLICIES, folder / "sources")
    rule = folder / "sources" / "admission" / "rules" / "team" / "slow" / "slow.rego"
    rule.parent.mkdir(parents=True)
    rule.write_text(SLOW, "utf-8")
    for name, content in builder.build(builder.find_opa(), folder / "sources").items():
        path = folder / "built" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "built"


def workloads(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """One that is approved, and two that are not, one of which sends the candidate into its loop."""
    others = [json.loads(json.dumps(manifest)) for _ in range(2)]
    for other, name in zip(others, ("loops", "other"), strict=True):
        other["metadata"]["name"] = name
    return [manifest, *others]


def ask_all(team: Team, url: str, manifests: list[dict[str, Any]], rounds: int) -> Told:
    """What a crowd is told: name, verdict and message without ids."""

    def ask(number: int) -> tuple[str, bool, str]:
        asked = review(manifests[number % len(manifests)])
        answer = post(team, url, asked)
        text = json.dumps([answer.get("status"), answer.get("warnings")], sort_keys=True)
        text = text.replace(asked["request"]["uid"], "ID")
        return asked["request"]["name"], answer["allowed"], re.sub(r"[0-9]{4}-[0-9-]+T[0-9:.]+Z", "TIME", text)

    with ThreadPoolExecutor(6) as pool:
        return Counter(pool.map(ask, range(rounds * len(manifests))))


def metric(team: Team, url: str, name: str) -> float:
    """Sum of the samples of a name and its labels as they begin."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cadata=team.certificate.ca_pem.decode())
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=20, context=context)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def judges_of(pid: int) -> list[int]:
    """Processes that judge for a gate."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid and b"webhook.shadow_judge" in words:
            found.append(int(folder.name))
    return found


@contextmanager
def trying(team: Team, **shadow: Any) -> Iterator[str]:
    """The gate with a candidate that is ready."""
    team.configure({"policy": {"shadow": {"cpu_percent": 50, "max_waiting_reviews": 16, **shadow}}})
    with team.webhook() as url:
        assert poll_until(lambda: metric(team, url, "placet_shadow_info{") == 1, LONG_S)
        yield url


def verify(team: Team) -> None:
    key = (team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
    team.run("audit", "verify", "--store", "record.sqlite", "--log-key", key)


def test_a_shadow_that_loops_or_is_killed_changes_no_answer(
    own_team: Team, approved_manifest: dict[str, Any], slow_policies: Path
) -> None:
    manifests = workloads(approved_manifest)
    with own_team.webhook() as url:
        ask_all(own_team, url, [approved_manifest], 1)  # a model that was admitted before scores less
        alone = ask_all(own_team, url, manifests, 10)
    assert {(name, allowed) for name, allowed, _ in alone} == {("llama", True), ("loops", False), ("other", False)}
    shutil.copytree(slow_policies, own_team.folder / "candidate.d")
    with trying(own_team, bundle="candidate.d") as url:
        assert own_team.process is not None
        assert ask_all(own_team, url, manifests, 10) == alone
        assert poll_until(lambda: metric(own_team, url, 'placet_shadow_reviews_total{outcome="error"}') >= 1, LONG_S)
        (judge,) = judges_of(own_team.process.pid)
        os.kill(judge, signal.SIGSTOP)
        assert ask_all(own_team, url, manifests, 10) == alone
        os.kill(judge, signal.SIGKILL)
        assert ask_all(own_team, url, manifests, 10) == alone
        assert metric(own_team, url, "placet_shadow_shed_total") > 0
        assert metric(own_team, url, "placet_ready") > 0
        assert poll_until(
            lambda: (found := judges_of(own_team.process.pid)) != [] and judge not in found,  # type: ignore[union-attr]
            LONG_S,
        )
    verify(own_team)
    told = json.loads(own_team.run("policy", "shadow", "-o", "json").stdout)
    assert told["changes"]["shadow_error"] >= 1
    assert told["counts"]["shed"] > 0
    own_team.run("policy", "shadow", "--fail-on", "error", expect=1)


def test_a_gate_that_is_killed_leaves_a_record_that_holds_and_no_process(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    (own_team.folder / "candidate.yaml").write_text("environments: {production: {max_level: medium}}\n", "utf-8")
    with trying(own_team, data="candidate.yaml") as url:
        assert own_team.process is not None
        pid = own_team.process.pid
        (judge,) = judges_of(pid)
        ask_all(own_team, url, [approved_manifest], 12)
        assert poll_until(lambda: metric(own_team, url, "placet_shadow_leaves_total") >= 2, LONG_S)
        os.kill(pid, signal.SIGKILL)
        own_team.process.wait()
        assert poll_until(lambda: not Path(f"/proc/{judge}").exists(), LONG_S)
    verify(own_team)
    with open_readonly(own_team.folder / "record.sqlite") as reader:
        bodies = [json.loads(one.raw_leaf.partition(b"\n")[2]) for one in reader.of_type("shadow", start=0)]
        assert [(one["event"], one.get("count")) for one in bodies] == [("begun", None), ("disagreement", 1)]
        assert reader.find_decision(bodies[1]["first"]["decision_id"]) is not None
    with trying(own_team, data="candidate.yaml") as url:
        assert ask_all(own_team, url, [approved_manifest], 1).total() == 1
    verify(own_team)
