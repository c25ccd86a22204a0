"""Policies that come as a file: what is in force across restarts, what is told, and what goes on meanwhile."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from placet.audit.record import POLICY
from placet.config import load_config
from placet.errors import EngineError
from placet.policy.bundle import SHIPPED
from placet.policy.offer import NOTHING, Offer, find_offer
from placet.policy.package import render_package
from tests.e2e.gateprocess import Team
from tests.e2e.processes import poll_until
from tests.policies.compiled import package
from tests.simulators.apiobjects import ObjectServer
from tests.simulators.desk import signer_of
from tests.simulators.policy_bundles import make_bundle, sign_bundle
from tests.webhook.gaterun import Gate, opened
from webhook import generation as building
from webhook import shadow_candidate
from webhook.fetching import AGAIN
from webhook.foundations import find_package
from webhook.runtime import Runtime

POD = {"PLACET_POD_NAMESPACE": "placet-system", "PLACET_POD_NAME": "placet-0", "PLACET_POD_UID": "u-1"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """Version -> what ships, signed by ann with it."""
    folder = tmp_path_factory.mktemp("packages")
    return {version: package(SHIPPED, folder / str(version), version) for version in (3, 4)}


@pytest.fixture
def team(own_team: Team, packages: dict[int, bytes]) -> Team:
    """Judges by a package in a file, version 3."""
    for name in ("ann", "ben"):
        (own_team.folder / f"{name}.pub").write_text(signer_of(name).public_key.pem, "utf-8")
    policy = {"bundle": "in-force/now", "bundle_keys": ["ann.pub"], "bundle_source": "file:mounted/policies.tar.gz"}
    own_team.configure({"policy": policy})
    (own_team.folder / "mounted").mkdir()
    offer(own_team, packages[3])
    return own_team


def offer(team: Team, raw: bytes) -> None:
    """Replace the file as a kubelet does: another folder behind a symbolic link."""
    mounted = team.folder / "mounted"
    version = mounted / f"..{sha256(raw).hexdigest()[:8]}"
    version.mkdir(exist_ok=True)
    (version / "policies.tar.gz").write_bytes(raw)
    (mounted / "..data_tmp").symlink_to(version.name)
    (mounted / "..data_tmp").rename(mounted / "..data")
    if not (mounted / "policies.tar.gz").is_symlink():
        (mounted / "policies.tar.gz").symlink_to(Path("..data", "policies.tar.gz"))


def look(gate: Gate) -> str:
    result = gate.runtime.fetcher.look(gate.runtime.config)
    gate.round()
    return result


def lose_folder(team: Team) -> None:
    """What a Pod that is made anew has: nothing."""
    shutil.rmtree(team.folder / "in-force")


def test_the_link_of_a_config_map_that_is_switched_is_noticed(team: Team, packages: dict[int, bytes]) -> None:
    with opened(team) as gate:
        assert look(gate) == "unchanged"
        offer(team, packages[4])
        assert look(gate) == "fetched"
        assert gate.runtime.generation.version == 4
        assert look(gate) == "unchanged"


def test_a_start_without_folder_and_with_a_bad_package_goes_on_by_the_record(
    team: Team, packages: dict[int, bytes]
) -> None:
    with opened(team):
        pass
    for bad in (packages[4][:-20], b"", None):
        lose_folder(team)
        if bad is None:
            shutil.rmtree(team.folder / "mounted")
        else:
            offer(team, bad)
        with opened(team) as gate:
            assert gate.runtime.generation.version == 3
            status, text = gate.ready()
            assert (status, "warning policies: bundle_" in text) == (200, True)


def test_a_replica_behind_the_record_starts_by_the_record(team: Team, packages: dict[int, bytes]) -> None:
    with opened(team):
        pass
    shutil.copytree(team.folder / "in-force", team.folder / "older")
    offer(team, packages[4])
    with opened(team):
        pass
    shutil.rmtree(team.folder / "in-force")
    (team.folder / "older").rename(team.folder / "in-force")
    offer(team, packages[3])
    with opened(team) as gate:
        assert gate.runtime.generation.version == 4


def test_what_the_record_keeps_is_verified_like_any_other(team: Team) -> None:
    """Whoever can write to the record signs no policies by that, and a key that was trusted once counts no more."""
    with opened(team):
        pass
    lose_folder(team)
    offer(team, b"")
    team.configure({"policy": {"bundle_keys": ["ben.pub"]}})
    with pytest.raises(EngineError, match="0 of the 1 signatures") as caught, opened(team):
        pass
    assert caught.value.code == "bundle_signatures"


def test_a_first_start_with_a_bad_package_says_what_is_wrong_with_it(team: Team, packages: dict[int, bytes]) -> None:
    offer(team, packages[4][:-20])
    with pytest.raises(EngineError, match="is no single gzip stream") as caught, opened(team):
        pass
    assert caught.value.code == "bundle_invalid"


def test_signed_policies_are_recorded_with_their_package_and_who_may_sign(
    team: Team, packages: dict[int, bytes]
) -> None:
    with opened(team) as gate:
        (leaf,) = gate.records(POLICY)
        assert leaf["version"] == 3
        assert find_package(gate.runtime._log) == packages[3]
        (configuration,) = gate.records("configuration")
        assert configuration["bundle_keys"] == [f"sha256:{sha256((team.folder / 'ann.pub').read_bytes()).hexdigest()}"]
        (team.folder / "ann.pub").write_text((team.folder / "ann.pub").read_text("utf-8") + "\n", "utf-8")
        gate.round()
        newest = gate.records("configuration")[-1]
        assert newest["changed"] == ["policy.bundle_keys"]
        assert newest["bundle_keys"] != configuration["bundle_keys"]
        assert len(gate.records(POLICY)) == 1


def test_what_ships_is_recorded_as_before(own_team: Team) -> None:
    with opened(own_team) as gate:
        (leaf,) = gate.records(POLICY)
        assert not {"version", "package_digest"} & leaf.keys()
        assert find_package(gate.runtime._log) is None
        assert "bundle_keys" not in gate.records("configuration")[0]


def test_a_refused_package_is_tried_again_after_a_while_or_when_asked_otherwise(
    team: Team, packages: dict[int, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    monkeypatch.setattr("webhook.fetching.prove_candidate", lambda _config, _data: tried.append(1))
    stranger = package(SHIPPED, tmp_path / "s", 9, "ben")
    with opened(team) as gate:
        before = len(tried)
        offer(team, stranger)
        assert [look(gate) for _ in range(5)] == ["refused"] * 5
        first = gate.runtime.fetcher.problem
        gate.clock.ahead += AGAIN
        assert look(gate) == "refused"
        assert gate.runtime.fetcher.problem == first  # in the same words, so it is not told again
        config = gate.runtime.config
        trusting = replace(config, policy=replace(config.policy, bundle_keys=(team.folder / "ben.pub",)))
        assert gate.runtime.fetcher.look(trusting) == "fetched"
        assert len(tried) == before + 1


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, team: Team) -> Iterator[ObjectServer]:
    for name, value in POD.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "api").mkdir()
    with ObjectServer(tmp_path / "api") as running:
        team.configure({"kubeconfig": str(running.kubeconfig)})
        yield running


def test_a_refused_and_a_taken_bundle_are_events_on_the_pod(
    team: Team, server: ObjectServer, packages: dict[int, bytes], tmp_path: Path
) -> None:
    with opened(team) as gate:
        (notices,) = gate.runtime.publishing.loops
        notices.run_once()
        (taken,) = server.of("events")
        assert taken["reason"] == "PoliciesInForce"
        assert taken["message"].startswith(f"policies in force: version 3, {find_offer(packages[3]).digest}, with ")
        offer(team, package(SHIPPED, tmp_path / "s", 2))
        for _ in range(3):
            look(gate)
            notices.run_once()
        (refused,) = [one for one in server.of("events") if one["reason"] == "PoliciesRefused"]
        assert refused["involvedObject"]["uid"] == "u-1"
        assert refused["count"] == 1
        for words in ("(bundle_rollback)", "offered: version 2, sha256:", "in force stays version 3", "rollback_to: 2"):
            assert words in refused["message"]
        assert gate.metric("placet_stale", part="policies") == 1
        offer(team, packages[4])
        assert look(gate) == "fetched"
        assert gate.metric("placet_stale", part="policies") == 0


def test_a_shadow_that_is_refused_is_an_event_on_the_pod(
    team: Team, server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_candidate, "SETTLED_S", 0.0)
    (team.folder / "next.tar.gz").write_bytes(package(SHIPPED, tmp_path / "s", 9, "ben"))
    team.configure({"policy": {"shadow": {"bundle": "next.tar.gz"}}})
    with opened(team) as gate:
        loader = gate.runtime.shadow.loader
        for _ in range(3):
            loader.look(gate.runtime.config)
            gate.runtime.publishing.loops[0].run_once()
        (refused,) = [one for one in server.of("events") if one["reason"] == "ShadowRefused"]
        assert (refused["type"], refused["count"], refused["involvedObject"]["name"]) == ("Warning", 1, "placet-0")
        for words in ("(bundle_signatures)", "offered: version 9, sha256:", "reviews are decided as before"):
            assert words in refused["message"]
        assert gate.ready()[0] == 200


def test_a_shadow_that_can_not_be_had_is_one_event_and_no_second_one_about_its_folder(
    team: Team, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_candidate, "SETTLED_S", 0.0)
    team.configure({"policy": {"shadow": {"bundle": "next", "source": "http://127.0.0.1:1/policies.tar.gz"}}})
    with opened(team) as gate:
        gate.runtime.shadow.loader.look(gate.runtime.config)
        gate.runtime.publishing.loops[0].run_once()
        told = {one["reason"]: one["message"] for one in server.of("events")}
        assert told.keys() == {"PoliciesInForce", "ShadowUnreachable"}
        assert "can't be had (bundle_unreachable)" in told["ShadowUnreachable"]


def test_policy_data_of_a_shadow_that_can_not_be_used_are_an_event(
    team: Team, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_candidate, "SETTLED_S", 0.0)
    (team.folder / "candidate.yaml").write_text("risk_approvals:\n  high: [tecnical]\n", "utf-8")
    team.configure({"policy": {"shadow": {"data": "candidate.yaml"}}})
    with opened(team) as gate:
        gate.runtime.shadow.loader.look(gate.runtime.config)
        gate.runtime.publishing.loops[0].run_once()
        (refused,) = [one for one in server.of("events") if one["reason"] == "ShadowRefused"]
        assert "(policy_data_invalid)" in refused["message"]
        assert "candidate.yaml:2" in refused["message"]


def test_a_first_start_that_fails_by_its_policies_is_told_before_it_ends(
    team: Team, server: ObjectServer, tmp_path: Path
) -> None:
    offer(team, package(SHIPPED, tmp_path / "s", 3, "ben"))
    for _ in range(2):  # as a kubelet starts it again
        with pytest.raises(EngineError) as caught:
            Runtime.open(load_config(team.folder / "placet.yaml"), background=False)
        assert caught.value.code == "bundle_signatures"
    (refused,) = server.of("events")
    assert (refused["reason"], refused["count"]) == ("PoliciesRefused", 2)
    assert "(bundle_signatures)" in refused["message"]


def test_a_first_start_by_a_folder_that_nobody_signed_is_told(team: Team, server: ObjectServer, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, team.folder / "unsigned")
    file = team.folder / "placet.yaml"
    lines = [line for line in file.read_text("utf-8").splitlines(keepends=True) if "bundle_source" not in line]
    file.write_text("".join(lines), "utf-8")
    team.configure({"policy": {"bundle": "unsigned"}})
    with pytest.raises(EngineError, match="is not signed"):
        Runtime.open(load_config(team.folder / "placet.yaml"), background=False)
    (refused,) = server.of("events")
    assert (refused["reason"], "(bundle_unsigned)" in refused["message"]) == ("PoliciesRefused", True)


def test_a_first_start_fails_in_the_same_words_where_the_cluster_can_not_be_told(
    team: Team, server: ObjectServer, tmp_path: Path
) -> None:
    server.fail = lambda _method, _path: 503
    offer(team, package(SHIPPED, tmp_path / "s", 3, "ben"))
    with pytest.raises(EngineError) as caught:
        Runtime.open(load_config(team.folder / "placet.yaml"), background=False)
    assert caught.value.code == "bundle_signatures"


def test_an_api_server_that_is_away_holds_up_neither_policies_nor_answers(
    team: Team, server: ObjectServer, packages: dict[int, bytes]
) -> None:
    server.fail = lambda _method, _path: 503
    with opened(team) as gate:
        gate.runtime.publishing.loops[0].run_once()
        offer(team, packages[4])
        assert look(gate) == "fetched"
        assert gate.runtime.generation.version == 4
        status, text = gate.ready()
        assert (status, "warning publishing: unpublished" in text) == (200, True)
        assert gate.metric("placet_publish_failing", part="notices") == 1


def test_readiness_is_looked_at_while_policies_are_tried_aside(
    team: Team, own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof may take a minute; replicas that all looked overdue meanwhile would refuse everything."""
    begun, go_on = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        begun.set()
        assert go_on.wait(60)

    monkeypatch.setattr(building, "prove_candidate", hang)
    with opened(team, background=True) as gate:
        folder = team.folder / "in-force" / "now"
        shutil.rmtree(folder)
        shutil.copytree(own_policies, folder)
        sign_bundle(folder, "ann", version=5)
        try:
            assert begun.wait(60)
            looked = gate.runtime._readiness._looked_s
            assert poll_until(lambda: gate.runtime._readiness._looked_s > looked, 30)
            assert gate.runtime.generation.version == 3
        finally:
            go_on.set()
        assert poll_until(lambda: gate.runtime.generation.version == 5, 60)


def test_an_offer_is_read_as_far_as_it_can_be(tmp_path: Path, packages: dict[int, bytes]) -> None:
    assert find_offer(packages[3]).version == 3
    assert find_offer(b"nothing") == Offer(f"sha256:{sha256(b'nothing').hexdigest()}")
    unsigned = find_offer(render_package(make_bundle(tmp_path / "b")))
    assert (unsigned.version, unsigned.shown) == (0, f" (offered: {unsigned.digest})")
    assert NOTHING.shown == ""


def test_a_file_is_named_from_the_configuration_s_folder(team: Team) -> None:
    config = load_config(team.folder / "placet.yaml")
    assert config.policy.bundle_source == f"file:{team.folder / 'mounted' / 'policies.tar.gz'}"
    assert timedelta(seconds=config.policy.bundle_poll_s) == timedelta(minutes=1)
