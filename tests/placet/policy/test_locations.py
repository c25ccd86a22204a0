"""Where packages are kept: folders and web servers. Registries are in tests/e2e/test_registry.py, with a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.errors import EngineError, InputError
from placet.policy import locations
from placet.policy.locations import BUNDLE_TOKEN, fetch_package, parse_location, store_package
from placet.policy.package import render_package
from tests.e2e.authority import Authority
from tests.simulators.file_server import serving_file
from tests.simulators.policy_bundles import make_bundle
from tests.simulators.ports import free_port

TAGGED = "oci://registry.example.org:5000/team/policies:7"
FIXED = "oci://registry.example.org/policies@sha256:" + "0" * 64


@pytest.fixture
def package(tmp_path: Path) -> bytes:
    return render_package(make_bundle(tmp_path / "policies"))


def code_of(text: str, *, ca_file: Path | None = None) -> str:
    with pytest.raises(EngineError) as caught:
        fetch_package(parse_location(text), ca_file=ca_file)
    return caught.value.code


def test_places_are_told_apart() -> None:
    assert (parse_location("policies.d").kind, parse_location("/srv/p").kind) == ("folder", "folder")
    assert [parse_location(text).plain for text in ("https://h/p", "http://h/p")] == [False, True]
    assert parse_location(TAGGED).address == "registry.example.org:5000/team/policies:7"
    assert (parse_location(TAGGED).moves, parse_location(FIXED).moves) == (True, False)
    assert parse_location("oci+http://localhost:5000/p:1").plain


@pytest.mark.parametrize(
    "text",
    [
        "ftp://host/file",
        "https://",
        "https://user:s3cret@host/file",
        "oci://registry.example.org/policies",
        "oci://registry.example.org/Policies:1",
        "oci://policies:1",
        "oci://registry.example.org/policies@sha256:00",
        "oci://registry.example.org/policies:1 ",
        "oci://registry.example.org/../etc:1",
    ],
)
def test_what_is_no_place_is_refused_with_a_hint_and_without_its_password(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_location(text)
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_a_folder_gives_and_takes(tmp_path: Path, package: bytes) -> None:
    assert fetch_package(parse_location(str(tmp_path / "policies"))).raw == package
    assert store_package(package, parse_location(str(tmp_path / "new"))) == str(tmp_path / "new")
    assert fetch_package(parse_location(str(tmp_path / "new"))).raw == package
    assert code_of(str(tmp_path / "nowhere")) == "bundle_invalid"


def test_a_folder_that_can_not_be_written_is_told_so(tmp_path: Path, package: bytes) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(EngineError, match="can't write"):
        store_package(package, parse_location(str(tmp_path / "file" / "below")))


def test_a_web_server_gives_what_it_took_and_nothing_twice(package: bytes) -> None:
    with serving_file() as server:
        place = parse_location(server.url)
        assert code_of(server.url) == "bundle_missing"
        assert store_package(package, place) == server.url
        first = fetch_package(place)
        assert first.raw == package
        again = fetch_package(place, tag=first.tag)
        assert (again.raw, again.tag) == (None, first.tag)
        server.content = package + b"x"
        assert fetch_package(place, tag=first.tag).raw == package + b"x"


def test_a_token_is_read_from_the_environment(package: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_file() as server:
        server.token, server.content = "s3cret", package
        with pytest.raises(EngineError) as caught:
            fetch_package(parse_location(server.url))
        assert caught.value.code == "bundle_unreachable"
        assert BUNDLE_TOKEN in caught.value.hint
        with pytest.raises(EngineError, match="401"):
            store_package(package, parse_location(server.url))
        monkeypatch.setenv(BUNDLE_TOKEN, "s3cret")
        assert fetch_package(parse_location(server.url)).raw == package


def test_a_redirect_is_not_followed(package: bytes) -> None:
    """A token would go along, and whoever moved the file could move it anywhere."""
    with serving_file() as server, serving_file() as elsewhere:
        elsewhere.content = package
        server.status, server.location = 302, elsewhere.url
        assert code_of(server.url) == "bundle_unreachable"
        assert elsewhere.asked == []


def test_more_than_any_package_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locations, "MAX_PACKAGE_BYTES", 1000)
    with serving_file() as server:
        server.content = b"0" * 200_000
        assert code_of(server.url) == "bundle_invalid"


def test_a_server_that_is_not_there_is_named() -> None:
    text = f"http://127.0.0.1:{free_port()}/policies.tar.gz"
    with pytest.raises(EngineError, match="can't be reached") as caught:
        fetch_package(parse_location(text))
    assert (caught.value.code, bool(caught.value.hint)) == ("bundle_unreachable", True)
    with pytest.raises(EngineError, match="can't be reached"):
        store_package(b"", parse_location(text))


def test_only_an_authority_that_is_named_vouches_for_a_server(tmp_path: Path, package: bytes) -> None:
    for name in ("known", "strange"):
        (tmp_path / name).mkdir()
    authority, stranger = Authority(tmp_path / "known", "files"), Authority(tmp_path / "strange", "others")
    files = authority.server(["127.0.0.1"])
    with serving_file((files.certificate, files.key)) as server:
        server.content = package
        assert fetch_package(parse_location(server.url), ca_file=authority.path).raw == package
        assert code_of(server.url, ca_file=stranger.path) == "bundle_unreachable"
        assert code_of(server.url) == "bundle_unreachable"
