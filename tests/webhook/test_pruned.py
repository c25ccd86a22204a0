"""A gate that starts on a pruned record answers as before: by precedents, by revocations, and it goes on signing."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

from placet.assemble import load_own_log_key
from placet.audit.log import AuditLog
from placet.audit.prune import look, prune
from placet.audit.retention import Retention
from placet.audit.verify import verify_file
from placet.config import load_config
from tests.e2e.gateprocess import Team
from tests.webhook.gaterun import opened

AT_ONCE = Retention(0, 0, 0)  # shorter than any configuration allows: everything but the newest leaf has had its time


def prune_everything(team: Team) -> int:
    """Prune what may go; gives how many leaves went."""
    config = load_config(team.folder / "placet.yaml")
    key = load_own_log_key(config)

    def sign(_seconds: float) -> None:
        log = AuditLog.open(config.store, origin=config.origin, key=key)
        log.checkpoint()
        log.close()

    sign(0)
    now = datetime.now(UTC)
    looked = look(config.store, key.verifiers, AT_ONCE, now=now)
    done = prune(config.store, key.verifiers, looked, AT_ONCE, by="sam", reason="", now=now, pause=sign)
    result = verify_file(config.store, key.verifiers)
    assert (result.findings, done.unsigned) == ((), ())
    return done.leaves


def without_approvals(manifest: dict[str, Any]) -> dict[str, Any]:
    bare = copy.deepcopy(manifest)
    names = bare["metadata"]["annotations"]
    for name in [one for one in names if one.startswith("placet.dev/approval.")]:
        del names[name]
    return bare


def changed(manifest: dict[str, Any]) -> dict[str, Any]:
    other = copy.deepcopy(manifest)
    other["spec"]["template"]["spec"]["containers"][0].setdefault("env", []).append({"name": "MORE", "value": "1"})
    return other


def test_a_gate_that_starts_on_a_pruned_record_answers_as_before(
    own_team: Team, approved_manifest: dict[str, Any]
) -> None:
    bare = without_approvals(approved_manifest)
    with opened(own_team) as gate:
        assert gate.ask(approved_manifest)["allowed"]
        denied = [gate.refusal(bare) for _ in range(3)]
    assert prune_everything(own_team) >= len(denied) - 1
    with opened(own_team) as gate:
        assert gate.ready()[0] == 200
        assert gate.ask(bare, old=changed(bare))["allowed"], "an earlier revision comes back"
        assert not gate.ask(changed(bare), old=bare)["allowed"]
        approval = json.loads(own_team.run("audit", "list", "-o", "json").stdout)["records"][-1]["record"]
        security = next(one["approval_id"] for one in approval["approvals"] if one["role"] == "security")
        own_team.run("revoke", security, "--role", "security", "-e", "production", "--key", "keys/sam.key",
                     "--out", "revocations/")  # fmt: skip
        assert "revoked by " in gate.refusal(approved_manifest)
    prune_everything(own_team)
    for file in (own_team.folder / "revocations").iterdir():
        file.unlink()
    with opened(own_team) as gate:
        assert "revoked by " in gate.refusal(approved_manifest), "a revocation has no end"
        assert not gate.ask(bare, old=changed(bare))["allowed"]
        gate.sign()
    prune_everything(own_team)
