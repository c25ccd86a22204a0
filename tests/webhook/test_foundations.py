"""Keyring and policies are records with their content, each before the first decision that rests on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from placet.audit.log import AuditLog, render_time
from placet.audit.record import KEYRING, POLICY
from placet.audit.stores.file import open_readonly
from placet.canonical import Digest
from placet.cli import root
from placet.errors import EngineError
from placet.policy.bundle import SHIPPED, load_bundle, shipped_bundle
from tests.e2e.gateprocess import Team
from tests.simulators.desk import ApprovalDesk
from tests.simulators.tampering import ORIGIN, surgery
from tests.webhook.gaterun import opened
from webhook.foundations import newest_keyring_version, record_keyring, record_policies

CLUSTER = "prod-eu-1"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    log = AuditLog.open(tmp_path / "record.db", origin=ORIGIN)
    yield log
    log.close()


def bodies(log: AuditLog, leaf_type: str) -> list[Any]:
    return [body for _, body in log.since(leaf_type, 0)]


def test_a_keyring_is_recorded_once_with_its_envelope(log: AuditLog) -> None:
    desk = ApprovalDesk.standard()
    for version in (1, 1, 2, 1):
        desk.document["version"] = version
        record_keyring(log, CLUSTER, desk.keyring, desk.now)
    first, second = bodies(log, KEYRING)
    assert (first["version"], second["version"], newest_keyring_version(log)) == (1, 2, 2)
    assert log.newest_attachment(KEYRING, "envelope") is not None
    assert second["envelope_digest"] == str(Digest.of(log.newest_attachment(KEYRING, "envelope") or b""))


def test_another_keyring_of_the_same_version_is_a_record_of_its_own(log: AuditLog) -> None:
    desk = ApprovalDesk.standard()
    record_keyring(log, CLUSTER, desk.keyring, desk.now)
    desk.document["thresholds"]["security"] = 2
    record_keyring(log, CLUSTER, desk.keyring, desk.now)
    assert [body["version"] for body in bodies(log, KEYRING)] == [1, 1]


def test_a_keyring_whose_envelope_an_earlier_release_did_not_keep_is_recorded_again(log: AuditLog) -> None:
    desk = ApprovalDesk.standard()
    old = {
        "schema": "placet.dev/record/v1",
        "type": "keyring",
        "time": render_time(desk.now),
        "cluster": CLUSTER,
        "version": 1,
        "statement": str(desk.keyring.digest),
        "expires": render_time(desk.keyring.expires),
    }
    log.append(old)
    for _ in range(2):
        record_keyring(log, CLUSTER, desk.keyring, desk.now)
    assert [("envelope_digest" in body) for body in bodies(log, KEYRING)] == [False, True]


def test_a_keyring_of_the_largest_size_can_be_kept(log: AuditLog) -> None:
    desk = ApprovalDesk.standard()
    large = replace(desk.keyring, envelope=b" " * (4 * 1024 * 1024))
    record_keyring(log, CLUSTER, large, desk.now)
    assert len(bodies(log, KEYRING)) == 1


def test_a_bundle_is_recorded_once_with_its_content(log: AuditLog, tmp_path: Path) -> None:
    moment = ApprovalDesk.standard().now
    for _ in range(2):
        record_policies(log, CLUSTER, shipped_bundle(), moment)
    (body,) = bodies(log, POLICY)
    assert body["revision"] == shipped_bundle().revision
    for name, file in (("wasm", "policy.wasm"), ("sources", "bundle.tar.gz"), ("manifest", "manifest.json")):
        content = log.newest_attachment(POLICY, name)
        assert content == (SHIPPED / file).read_bytes()
        assert body[f"{name}_digest"] == f"sha256:{hashlib.sha256(content or b'').hexdigest()}"
    with surgery(tmp_path / "record.db") as database:
        database.execute("DELETE FROM blobs WHERE name = 'wasm'")
    record_policies(log, CLUSTER, shipped_bundle(), moment)
    assert len(bodies(log, POLICY)) == 2


def test_a_manifest_that_was_changed_under_the_gate_is_not_recorded(log: AuditLog, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    manifest = json.loads((SHIPPED / "manifest.json").read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    bundle = load_bundle(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"compiler": "9.9.9"}))
    with pytest.raises(EngineError):
        record_policies(log, CLUSTER, bundle, ApprovalDesk.standard().now)
    assert bodies(log, POLICY) == []


def run(*arguments: object) -> Any:
    return CliRunner().invoke(root, ["audit", *map(str, arguments)])


def test_a_decision_of_a_served_gate_is_proved_replayed_and_verified_from_published_files_alone(
    own_team: Team, approved_manifest: dict[str, Any], tmp_path: Path
) -> None:
    with opened(own_team) as gate:
        assert gate.ask(approved_manifest)["allowed"]
        assert not gate.ask()["allowed"]
        gate.sign()
    store, key = own_team.folder / "record.sqlite", own_team.folder / "keys" / "log.vkey"
    published = tmp_path / "published"
    (own_team.folder / "roots").rename(published)
    with open_readonly(store) as reader:
        (admitted, refused) = (one.index for one in reader.leaves(0, 100) if one.raw_leaf.startswith(b"decision"))
    for index, word in ((admitted, "allowed"), (refused, "refused")):
        made = run("prove", index, "--store", store, "--log-key", key)
        assert made.exit_code == 0, made.stderr
        proof = published / f"{index}.json"
        proof.write_bytes(made.stdout_bytes)
        against = ("--proof", proof, "--log-key", key, "--root-key", published, "--root-threshold", "2")
        told = run("verify", *against)
        assert (told.exit_code, told.stdout.splitlines()[-1].partition(" ")[0]) == (0, "VERIFIED"), told.stdout
        assert f": {word} at " in told.stdout
        value = json.loads(run("verify", *against, "-o", "json").stdout)
        assert (value["verified"], value["outcome"], value["index"]) == (True, "proved", index)
        bare = run("verify", "--proof", proof, "--log-key", key)
        assert (bare.exit_code, bare.stdout.splitlines()[-1].partition(":")[0]) == (2, "PARTLY VERIFIED no_root_key")
        assert run("replay", index, "--store", store).stdout.endswith("THE SAME\n")
    newer = run("verify", *against, "--newer-keyring", own_team.folder / "keyring.dsse.json")
    assert newer.exit_code == 0
    proof.write_bytes(proof.read_bytes().replace(b'"size": ', b'"size": 1'))
    changed = run("verify", *against, "-o", "json")
    assert (changed.exit_code, json.loads(changed.stdout)["findings"][0]["code"]) == (1, "proof_invalid")
    assert run("replay", 0, "--store", store).exit_code == 2
    for odd in (("--root-threshold", "4"), ("--root-threshold", "1"), ("--newer-keyring", proof)):
        arguments = against[:6] if odd[1] == "4" else against[:4]
        assert run("verify", *arguments, *odd).exit_code == 2
    assert run("verify", "--store", store, "--log-key", key, "--root-key", published).exit_code == 2


def test_a_replay_that_differs_is_shown_and_is_a_violation(own_team: Team, approved_manifest: dict[str, Any]) -> None:
    with opened(own_team) as gate:
        assert gate.ask(approved_manifest)["allowed"]
    store = own_team.folder / "record.sqlite"
    with surgery(store) as database:
        ((index, raw),) = database.execute("SELECT idx, leaf FROM leaves WHERE leaf_type = 'decision'").fetchall()
        leaf = raw.replace(b'"granted_roles":["', b'"granted_roles":["owner","')
        assert leaf != raw
        database.execute(
            "UPDATE leaves SET leaf = ?, leaf_hash = ? WHERE idx = ?",
            (leaf, hashlib.sha256(b"\0" + leaf).digest(), index),
        )
    result = run("replay", index, "--store", store)
    assert result.exit_code == 1
    assert "granted_roles" in result.stdout
    assert result.stdout.endswith("DIFFERENT\n")
    value = json.loads(run("replay", index, "--store", store, "-o", "json").stdout)
    assert (value["verified"], value["recorded"]["allowed"], value["replayed"]["allowed"]) == (False, True, True)
    with surgery(store) as database:
        database.execute("DELETE FROM blobs WHERE name = 'wasm'")
    assert run("replay", index, "--store", store).exit_code == 2
