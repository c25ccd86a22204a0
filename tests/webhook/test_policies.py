"""Policies of a folder: signed, tried aside, in force without a restart, never an older state, fetched."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from placet.canonical import Digest
from placet.config import load_config
from placet.errors import ConfigError, EngineError
from placet.policy.bundle import MANIFEST, SHIPPED, load_bundle
from placet.policy.data import load_policy_data
from placet.policy.package import render_package
from placet.policy.signed import SIGNATURE
from tests.e2e.gateprocess import Team
from tests.simulators.desk import signer_of
from tests.simulators.file_server import serving_file
from tests.simulators.policy_bundles import sign_bundle
from tests.webhook.gaterun import Gate, approved, opened
from webhook.candidate import prove_candidate


def put(team: Team, source: Path, version: int, *people: str) -> Path:
    """A bundle in the team's folder, signed."""
    folder = team.folder / "policies.d"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    return sign_bundle(folder, *(people or ("ann",)), version=version)


def configure(team: Team, **policy: Any) -> None:
    for name in ("ann", "ben"):
        (team.folder / f"{name}.pub").write_text(signer_of(name).public_key.pem, "utf-8")
    team.configure({"policy": {"bundle": "policies.d", "bundle_keys": ["ann.pub"], **policy}})


@pytest.fixture
def signed_team(own_team: Team) -> Team:
    put(own_team, SHIPPED, 3)
    configure(own_team)
    return own_team


def told(gate: Gate) -> str:
    """What /readyz says."""
    return gate.ready()[1]


def test_a_rule_of_a_team_s_own_refuses_by_its_own_words_after_a_reload(signed_team: Team, own_policies: Path) -> None:
    manifest = approved(signed_team)
    with opened(signed_team) as gate:
        assert gate.ask(manifest)["allowed"] is True
        put(signed_team, own_policies, 4)
        gate.round()
        first, second = gate.records("configuration")
        assert (first["policy"]["version"], second["policy"]["version"]) == (3, 4)
        assert second["policy"]["revision"] == load_bundle(own_policies).revision
        assert {"policy.revision", "policy.version"} <= set(second["changed"])
        manifest["metadata"]["namespace"] = "forbidden"
        said = gate.refusal(manifest)
        assert "team.strict" in said
        assert "Ask the team." in said
        assert len(gate.records("policy")) == 2


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "unsigned": (lambda folder: (folder / SIGNATURE).unlink(), "bundle_unsigned"),
    "changed": (lambda folder: (folder / "policy.wasm").write_bytes(b"\0asm"), "bundle_invalid"),
    "no manifest": (lambda folder: (folder / MANIFEST).write_text("{}", "utf-8"), "bundle_invalid"),
    "by a stranger": (lambda folder: sign_bundle(folder, "ben", version=5), "bundle_signatures"),
    "older": (lambda folder: sign_bundle(folder, "ann", version=2), "bundle_rollback"),
}


def test_what_can_not_be_used_leaves_the_old_in_force(signed_team: Team, own_policies: Path) -> None:
    with opened(signed_team) as gate:
        for count, (name, (spoil, code)) in enumerate(SPOILT.items(), start=1):
            spoil(put(signed_team, own_policies, 4))
            gate.round()
            assert gate.runtime.generation.version == 3, name
            assert code in told(gate), name
            assert gate.metric("placet_policy_reload_total", result="refused_engine") == count
        assert "role_missing" in str(gate.ask())
        put(signed_team, own_policies, 4)
        gate.round()
        assert gate.runtime.generation.version == 4
        assert "bundle" not in told(gate)


def test_an_older_version_is_refused_after_a_restart_too_and_taken_by_name(
    signed_team: Team, own_policies: Path
) -> None:
    put(signed_team, own_policies, 4)
    with opened(signed_team):
        pass
    put(signed_team, SHIPPED, 3)
    with (
        pytest.raises(EngineError, match="have version 3, and version 4 was in force before") as caught,
        opened(signed_team),
    ):
        pass
    assert "policy.bundle_rollback_to: 3" in caught.value.hint
    configure(signed_team, bundle_rollback_to=3)
    with opened(signed_team) as gate:
        newest = gate.records("configuration")[-1]
        assert newest["policy"]["version"] == 3
        assert {"key": "policy.version", "from": "4", "to": "3"} in newest["downgrades"]


def test_policies_that_nobody_signs_any_more_are_a_downgrade(signed_team: Team) -> None:
    with opened(signed_team) as gate:
        file = signed_team.folder / "placet.yaml"
        configuration = file.read_text("utf-8")
        signed_team.configure({"policy": {"bundle": "policies.d"}})
        lines = [
            line for line in file.read_text("utf-8").splitlines() if "bundle_keys" not in line and "ann.pub" not in line
        ]
        file.write_text("\n".join(lines) + "\n", "utf-8")
        assert file.read_text("utf-8") != configuration
        gate.round()
        newest = gate.records("configuration")[-1]
        assert {"policy.bundle_keys", "policy.version"} <= {one["key"] for one in newest["downgrades"]}


def test_policies_of_another_release_are_refused(signed_team: Team) -> None:
    folder = signed_team.folder / "policies.d"
    schema = json.loads((folder / "schemas/input.json").read_bytes())
    schema["properties"]["schema"]["const"] = "placet.dev/policy-input/v99"
    (folder / "schemas/input.json").write_text(json.dumps(schema), "utf-8")
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"]["schemas/input.json"] = str(Digest.of((folder / "schemas/input.json").read_bytes()))
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    sign_bundle(folder, "ann", version=4)
    with pytest.raises(EngineError, match="for another release of placet"), opened(signed_team):
        pass


def test_policies_are_tried_in_a_process_of_their_own(signed_team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(signed_team.folder / "placet.yaml")
    data = load_policy_data(None, load_bundle(signed_team.folder / "policies.d"))
    prove_candidate(config, data)
    with pytest.raises(EngineError, match="were not ready within") as caught:
        prove_candidate(config, data, time_s=0.01)
    assert caught.value.code == "candidate_failed"
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EngineError, match="ended with status 1"):
        prove_candidate(config, data)


def test_a_module_that_crashes_the_compiler_or_runs_for_ever_stays_outside(signed_team: Team) -> None:
    folder = signed_team.folder / "policies.d"
    with opened(signed_team) as gate:
        (folder / "policy.wasm").write_bytes(b"\0asm\x01\0\0\0")
        manifest = json.loads((folder / MANIFEST).read_bytes())
        manifest["files"]["policy.wasm"] = str(Digest.of((folder / "policy.wasm").read_bytes()))
        (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
        sign_bundle(folder, "ann", version=4)
        gate.round()
        assert "tried aside" in told(gate)
        assert gate.runtime.generation.version == 3


@pytest.fixture
def source(own_team: Team, own_policies: Path, tmp_path: Path) -> Iterator[Any]:
    shutil.copytree(own_policies, tmp_path / "release")
    with serving_file() as server:
        configure(own_team, bundle_source=server.url)
        yield server


def release(server: Any, folder: Path, version: int, person: str = "ann") -> None:
    server.content = render_package(sign_bundle(folder, person, version=version))


def test_policies_are_fetched_verified_tried_and_put_in_force(own_team: Team, source: Any, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="there is no policy package"), opened(own_team):
        pass
    release(source, tmp_path / "release", 3)
    with opened(own_team) as gate:
        fetcher, config = gate.runtime.fetcher, gate.runtime.config
        assert gate.runtime.generation.version == 3
        assert fetcher.look(config) == "unchanged"
        release(source, tmp_path / "release", 4, "ben")
        assert fetcher.look(config) == "refused"
        assert "bundle_signatures" in told(gate)
        release(source, tmp_path / "release", 2)
        assert fetcher.look(config) == "refused"
        assert "bundle_rollback" in told(gate)
        shutil.rmtree(tmp_path / "release")
        shutil.copytree(SHIPPED, tmp_path / "release")
        release(source, tmp_path / "release", 5)
        assert fetcher.look(config) == "fetched"
        gate.round()
        assert gate.runtime.generation.version == 5
        source.status = 503
        assert fetcher.look(config) == "refused"
        assert "bundle_unreachable" in told(gate)
        assert gate.ready()[0] == 200  # what is in force goes on
        source.status = 0
        assert fetcher.look(config) == "unchanged"
        assert "bundle" not in told(gate)


def test_what_was_fetched_once_is_enough_to_start_without_the_source(
    own_team: Team, source: Any, tmp_path: Path
) -> None:
    release(source, tmp_path / "release", 3)
    with opened(own_team):
        pass
    source.status = 503
    with opened(own_team) as gate:
        assert gate.runtime.generation.version == 3


def test_a_start_fetches_what_another_replica_has_in_force_already(own_team: Team, source: Any, tmp_path: Path) -> None:
    release(source, tmp_path / "release", 3)
    with opened(own_team):
        pass
    older = tmp_path / "older"
    shutil.copytree(own_team.folder / "policies.d", older)
    release(source, tmp_path / "release", 4)
    with opened(own_team) as gate:
        assert gate.runtime.generation.version == 4
    shutil.rmtree(own_team.folder / "policies.d")
    shutil.copytree(older, own_team.folder / "policies.d")
    with opened(own_team) as gate:
        assert gate.runtime.generation.version == 4


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        ({"bundle_keys": ["a.pub"]}, "none is named"),
        ({"bundle": "p", "bundle_threshold": 2}, "can't come from 0 keys"),
        ({"bundle": "p", "bundle_keys": ["a.pub"], "bundle_threshold": 2}, "can't come from 1 keys"),
        ({"bundle": "p", "bundle_rollback_to": 1}, "have no version"),
        ({"bundle": "p", "bundle_source": "https://h/p"}, "must be signed"),
        ({"bundle": "p", "bundle_source": "ftp://h/p"}, "bundle_source"),
        ({"bundle": "p", "bundle_keys": ["a.pub"], "bundle_source": "oci://h/p"}, "is no reference"),
    ],
)
def test_keys_that_do_not_go_together_are_refused_with_their_line(own_team: Team, policy: Any, fault: str) -> None:
    own_team.configure({"policy": policy})
    with pytest.raises(ConfigError, match=fault) as caught:
        load_config(own_team.folder / "placet.yaml")
    assert "placet.yaml:" in str(caught.value)
