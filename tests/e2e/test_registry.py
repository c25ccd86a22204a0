"""Policies in a real OCI registry: pushed by one, pulled by a gate's owner and by OPA itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from placet.errors import EngineError, InputError
from placet.policy.bundle import SHIPPED, shipped_bundle
from placet.policy.locations import fetch_package, parse_location, store_package
from placet.policy.package import parse_package, render_package
from placet.policy.registry import MANIFEST_TYPE, PACKAGE_TYPE
from tests.e2e.authority import Authority
from tests.e2e.processes import poll_until
from tests.simulators.file_server import serving_file
from tests.simulators.opa import OpaProcess
from tests.simulators.policy_bundles import sign_bundle
from tests.simulators.ports import free_port
from tests.simulators.registry import PASSWORD, USER, Registry, basic_auth, running_registry
from tests.simulators.token_server import serving_tokens


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with running_registry(folder) as server:
        yield server


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("bundle") / "policies"
    shutil.copytree(SHIPPED, folder)
    return render_package(sign_bundle(folder, "ann", version=3))


def code_of(text: str, **how: Any) -> str:
    with pytest.raises(EngineError) as caught:
        fetch_package(parse_location(text), **how)
    return caught.value.code


def test_what_was_pushed_is_pulled_by_its_tag_and_by_its_digest(registry: Registry, package: bytes) -> None:
    tagged = parse_location(registry.reference("team/policies", "3"))
    fixed = store_package(package, tagged)
    first = fetch_package(tagged)
    assert first.raw == package
    assert fixed == f"{tagged.text.rpartition(':')[0]}@{first.tag}"
    assert fetch_package(parse_location(fixed)).raw == package
    assert fetch_package(tagged, tag=first.tag).raw is None
    assert store_package(package, tagged) == fixed  # again: nothing new


def test_a_tag_that_moves_is_fetched_anew(registry: Registry, package: bytes, tmp_path: Path) -> None:
    tagged = parse_location(registry.reference("moving", "latest"))
    store_package(package, tagged)
    before = fetch_package(tagged)
    shutil.copytree(SHIPPED, tmp_path / "policies")
    other = render_package(sign_bundle(tmp_path / "policies", "ann", version=4))
    store_package(other, tagged)
    assert fetch_package(tagged, tag=before.tag).raw == other


def test_opa_loads_the_policies_from_the_same_reference(registry: Registry, package: bytes, tmp_path: Path) -> None:
    store_package(package, parse_location(registry.reference("for-opa", "3")))
    arguments = [
        *("--set", f"services.registry.url=http://127.0.0.1:{registry.port}", "--set", "services.registry.type=oci"),
        *("--set", f"bundles.placet.resource=127.0.0.1:{registry.port}/for-opa:3"),
        *("--set", "bundles.placet.service=registry"),
        *("--set", f"persistence_directory={tmp_path / 'opa'}"),
    ]

    def revision() -> str:
        url = f"{opa.url}/v1/data/admission/main/judged?provenance=true"
        bundles = requests.get(url, timeout=5).json()["provenance"].get("bundles", {})
        return str(bundles.get("placet", {}).get("revision", ""))

    with OpaProcess(tmp_path, pull=False, arguments=arguments) as opa:
        assert poll_until(lambda: revision() != "", 30.0), opa.url
        assert revision() == shipped_bundle().revision


def test_what_is_not_there_or_not_ours_is_told_so(registry: Registry, package: bytes) -> None:
    assert code_of(registry.reference("team/policies", "nothing")) == "bundle_missing"
    assert code_of(registry.reference("nobody", "1")) == "bundle_missing"
    registry.put_manifest("foreign", "1", {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": []})
    assert code_of(registry.reference("foreign", "1")) == "bundle_invalid"
    assert code_of(f"oci+http://127.0.0.1:{free_port()}/p:1") == "bundle_unreachable"
    with pytest.raises(InputError, match="can't be pushed to"):
        store_package(package, parse_location(f"oci+http://127.0.0.1:{registry.port}/p@sha256:{'0' * 64}"))


def test_a_registry_that_gives_other_bytes_is_not_believed(registry: Registry, package: bytes) -> None:
    """The store behind it is written to: bytes are held against the digest that names them."""
    place = parse_location(registry.reference("tampered", "1"))
    store_package(package, place)
    registry.corrupt(package)
    try:
        assert code_of(place.text) in {"bundle_invalid", "bundle_unreachable"}
    finally:
        registry.restore(package)
    assert fetch_package(place).raw == package


def test_both_layers_are_what_the_manifest_of_the_policies_names(registry: Registry, package: bytes) -> None:
    store_package(package, parse_location(registry.reference("layers", "3")))
    manifest = registry.get_manifest("layers", "3")
    assert [layer["mediaType"] for layer in manifest["layers"]][1] == PACKAGE_TYPE
    sizes = [layer["size"] for layer in manifest["layers"]]
    assert sizes == [len(parse_package(package)["bundle.tar.gz"]), len(package)]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `docker login` writes."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker" / "config.json"


def test_tls_and_a_password(tmp_path: Path, docker: Path, package: bytes) -> None:
    authority = Authority(tmp_path, "registry")
    certificate = authority.server(["127.0.0.1"])
    with running_registry(tmp_path, certificate=certificate, auth=basic_auth(tmp_path)) as server:
        place = parse_location(server.reference("team/policies", "3"))
        assert code_of(place.text, ca_file=authority.path) == "bundle_unreachable"
        server.log_in(docker, USER, "wrong")
        assert code_of(place.text, ca_file=authority.path) == "bundle_unreachable"
        server.log_in(docker, USER, PASSWORD)
        store_package(package, place, ca_file=authority.path)
        assert fetch_package(place, ca_file=authority.path).raw == package
        assert code_of(place.text) == "bundle_unreachable"  # an authority that the system does not know


def test_a_token_from_elsewhere(tmp_path: Path, docker: Path, package: bytes) -> None:
    """As public registries have it: 401 names where tokens are had, for this repository and this deed."""
    authority = Authority(tmp_path, "registry")
    certificate = authority.server(["127.0.0.1"])
    with (
        serving_tokens(certificate) as tokens,
        running_registry(tmp_path, certificate=certificate, auth=tokens.settings(certificate)) as server,
    ):
        place = parse_location(server.reference("team/policies", "3"))
        assert code_of(place.text, ca_file=authority.path) == "bundle_unreachable"
        assert tokens.asked == [""]
        server.log_in(docker, USER, PASSWORD)
        store_package(package, place, ca_file=authority.path)
        assert fetch_package(place, ca_file=authority.path).raw == package


def test_a_credential_helper_is_asked_for_what_the_file_does_not_hold(
    tmp_path: Path, docker: Path, package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "bin" / "docker-credential-vault"
    helper.parent.mkdir()
    helper.write_text(f"""#!/bin/sh
cat > '{tmp_path}/asked'
echo '{{"Username": "{USER}", "Secret": "{PASSWORD}"}}'
""")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:/usr/bin:/bin")
    with running_registry(tmp_path, auth=basic_auth(tmp_path)) as server:
        docker.write_text(json.dumps({"auths": {f"127.0.0.1:{server.port}": {}}, "credsStore": "vault"}), "utf-8")
        place = parse_location(server.reference("team/policies", "3"))
        store_package(package, place)
        assert (tmp_path / "asked").read_text("utf-8") == f"127.0.0.1:{server.port}"


def test_a_realm_without_tls_gets_no_password(tmp_path: Path, docker: Path) -> None:
    """A registry over TLS that names one is not told the secret, nor is a host that is not its own."""
    authority = Authority(tmp_path, "registry")
    certificate = authority.server(["127.0.0.1"])
    with serving_file() as listener, serving_tokens(certificate) as tokens:
        tokens.realm = listener.url
        settings = tokens.settings(certificate)
        with running_registry(tmp_path, certificate=certificate, auth=settings) as server:
            server.log_in(docker, USER, PASSWORD)
            assert code_of(server.reference("p", "1"), ca_file=authority.path) == "bundle_unreachable"
            assert listener.asked == []
