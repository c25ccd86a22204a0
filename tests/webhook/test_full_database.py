"""The gate while its database server's disk is full: allows refused, denials kept and recorded later, never ready."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from placet.audit.location import DatabaseUrl, open_reader
from placet.audit.query import Query, find
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.simulators.gate import review
from tests.simulators.postgres import running_server
from tests.simulators.smalldisk import SmallDisk
from tests.webhook.gaterun import PATH, Gate, opened

ORIGIN: Final = "placet.dev/log/e2e"
MOST: Final = 1500
SETTINGS: Final = "min_wal_size = 2MB\nmax_wal_size = 64MB\n"


def records(url: DatabaseUrl, leaf_type: str) -> list[Mapping[str, Any]]:
    with open_reader(url) as reader:
        return [one.body for one in find(reader, Query(type=leaf_type), limit=2 * MOST).found]


def ask_until(gate: Gate, manifest: dict[str, Any], enough: Callable[[dict[str, Any]], bool]) -> dict[str, str]:
    """Uid -> allowed or refused, of every request up to the first whose answer is that."""
    told: dict[str, str] = {}
    for _ in range(MOST):
        asked = review(manifest)
        answer = gate.client.post(PATH, json=asked).get_json()["response"]
        told[asked["request"]["uid"]] = "allowed" if answer["allowed"] else "refused"
        if enough(answer):
            return told
    pytest.fail("it never came to that")


@pytest.mark.parametrize(("part", "mebibytes"), [("data", 64), ("wal", 10)])
def test_a_full_disk_of_the_database_lets_nothing_in_and_loses_nothing(
    own_team: Team, approved_manifest: dict[str, Any], part: str, mebibytes: int
) -> None:
    disk = SmallDisk(part, mebibytes=mebibytes)
    with running_server(settings=SETTINGS, disk=disk) as server:
        url = server.make_record("record", origin=ORIGIN)
        own_team.configure({"record": {"store": str(url), "spool": {"folder": "spool"}}})
        with opened(own_team) as gate:
            assert gate.runtime.draining is not None
            told = ask_until(gate, approved_manifest, lambda answer: bool(answer["allowed"]))
            disk.fill()
            told |= ask_until(gate, approved_manifest, lambda answer: not answer["allowed"])
            for _ in range(3):
                gate.ready()
                status, text = gate.ready()
                assert (status, text.startswith("record: store_")) == (503, True), text
                assert "warning record: spool_waiting" in text
                message = gate.refusal(approved_manifest)
                assert "gate.request/store_" in message or "gate.record/store_" in message
                assert message.endswith("to be recorded once the store of the record is back")
            gate.runtime.draining.run_once()
            assert gate.metric("placet_spool_waiting") == 4
            disk.free()
            assert poll_until(lambda: gate.ready()[0] == 200, 60), gate.ready()
            gate.runtime.draining.run_once()
            assert gate.metric("placet_spool_waiting") == 0
            assert gate.metric("placet_unrecorded_denials_total") == 0
            told |= ask_until(gate, approved_manifest, lambda answer: bool(answer["allowed"]))
            assert gate.ready() == (200, "ok\n")
        decisions = records(url, "decision")
        assert set(Counter(body["uid"] for body in decisions).values()) == {1}
        kept = {body["uid"]: "allowed" if body["allowed"] else "refused" for body in decisions}
        assert {uid: kept[uid] for uid in told} == told
        assert len(kept) == len(told) + 3
        (outage,) = records(url, "outage")
        assert (outage["spooled"], outage["recorded"], outage["lost"]) == (4, 4, 0)
        key = (own_team.folder / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
        allowed = sum(body["allowed"] for body in decisions)
        said = own_team.run("audit", "verify", "--log-key", key).stdout
        assert f"{allowed} allowed, {len(decisions) - allowed} denied" in said
