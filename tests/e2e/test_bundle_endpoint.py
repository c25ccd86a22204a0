"""One bundle service for two readers: a gate takes the package from it, a real OPA the bundle that is for OPA."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from placet.cli import root
from placet.errors import EngineError
from placet.policy.bundle import SHIPPED, load_bundle
from placet.policy.locations import fetch_package, parse_location
from placet.policy.package import parse_package
from tests.e2e.processes import poll_until
from tests.policies.compiled import package
from tests.simulators.file_server import FileServer, serving_file
from tests.simulators.opa import OpaProcess

PATIENCE_S = 60.0


def push(folder: Path, server: FileServer, *more: str) -> None:
    done = CliRunner().invoke(root, ["policy", "bundle", "push", str(folder), server.url, *more])
    assert done.exit_code == 0, done.output


def polling(server: FileServer) -> list[str]:
    base, _, resource = server.url.rpartition("/")
    return [
        *("--set", f"services.bundles.url={base}", "--set", "bundles.placet.service=bundles"),
        *("--set", f"bundles.placet.resource={resource}"),
        *("--set", "bundles.placet.polling.min_delay_seconds=1"),
        *("--set", "bundles.placet.polling.max_delay_seconds=1"),
    ]


def test_a_gate_and_an_opa_follow_the_same_release(tmp_path: Path, own_policies: Path) -> None:
    def revision() -> str:
        url = f"{opa.url}/v1/data/admission/main/judged?provenance=true"
        bundles = requests.get(url, timeout=5).json()["provenance"].get("bundles", {})
        return str(bundles.get("placet", {}).get("revision", ""))

    with serving_file() as ours, serving_file() as theirs:
        push(SHIPPED, theirs, "--opa")
        ours.content = package(SHIPPED, tmp_path / "first", 3)
        with OpaProcess(tmp_path, pull=False, arguments=polling(theirs)) as opa:
            assert poll_until(lambda: revision() == load_bundle(SHIPPED).revision, PATIENCE_S)
            assert poll_until(lambda: 304 in theirs.answered, PATIENCE_S), theirs.answered
            push(own_policies, theirs, "--opa")
            assert poll_until(lambda: revision() == load_bundle(own_policies).revision, PATIENCE_S)
        first = fetch_package(parse_location(ours.url))
        assert fetch_package(parse_location(ours.url), tag=first.tag).raw is None
        ours.content = package(own_policies, tmp_path / "second", 4)
        second = fetch_package(parse_location(ours.url), tag=first.tag)
        assert second.raw == ours.content
        assert parse_package(second.raw)["bundle.tar.gz"] == theirs.content
        assert ours.answered == [200, 304, 200]
        assert set(ours.preferred) == {"modes=snapshot"}


def test_a_bundle_for_opa_is_told_from_a_package() -> None:
    with serving_file() as server:
        push(SHIPPED, server, "--opa")
        got = fetch_package(parse_location(server.url))
        with pytest.raises(EngineError, match="a bundle for OPA, and no policy package") as caught:
            parse_package(got.raw or b"")
        assert "without --opa" in caught.value.hint


def test_what_is_for_opa_goes_to_a_file_or_a_server_alone(tmp_path: Path) -> None:
    file = tmp_path / "opa.tar.gz"
    done = CliRunner().invoke(root, ["policy", "bundle", "push", str(SHIPPED), f"file:{file}", "--opa"])
    assert (done.exit_code, file.read_bytes()) == (0, (SHIPPED / "bundle.tar.gz").read_bytes())
    for place in ("oci://registry.example.org/p:1", str(tmp_path / "folder")):
        refused = CliRunner().invoke(root, ["policy", "bundle", "push", str(SHIPPED), place, "--opa"])
        assert refused.exit_code == 2
        assert "--opa goes with a file or a URL" in refused.output
