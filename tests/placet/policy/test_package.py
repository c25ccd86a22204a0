"""A bundle as one file: the same bytes for the same folder, and nothing but a bundle comes out of it."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.errors import EngineError
from placet.policy import package
from placet.policy.bundle import MANIFEST, SHIPPED, load_bundle
from placet.policy.package import parse_package, render_package, save_package
from placet.policy.signed import SIGNATURE
from tests.simulators.policy_bundles import FILES, make_bundle, sign_bundle


def packed(*entries: tuple[tarfile.TarInfo, bytes], outer: bool = True) -> bytes:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(inner.getvalue()) if outer else inner.getvalue()


def named(name: str, content: bytes = b"{}", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = "/etc/passwd" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
    return entry, content if kind == tarfile.REGTYPE else b""


def refused(raw: bytes) -> str:
    with pytest.raises(EngineError) as caught:
        parse_package(raw)
    assert caught.value.code == "bundle_invalid"
    return str(caught.value)


def test_the_shipped_bundle_survives_the_way_there_and_back(tmp_path: Path) -> None:
    raw = render_package(SHIPPED)
    save_package(raw, tmp_path / "policies")
    assert load_bundle(tmp_path / "policies").files == load_bundle(SHIPPED).files
    assert render_package(tmp_path / "policies") == raw


def test_the_same_folder_gives_the_same_bytes_wherever_it_is(tmp_path: Path) -> None:
    one = sign_bundle(make_bundle(tmp_path / "one"), "ann")
    other = tmp_path / "a" / "b"
    shutil.copytree(one, other)
    for path in other.rglob("*"):
        path.chmod(0o700)
    assert render_package(one) == render_package(other)
    assert set(parse_package(render_package(one))) == {MANIFEST, SIGNATURE, *FILES}


def test_a_file_that_the_manifest_does_not_name_stays_behind(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "policies")
    (folder / "secret.key").write_text("no", "utf-8")
    assert "secret.key" not in parse_package(render_package(folder))


def test_a_folder_with_a_changed_file_is_not_packed(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "policies")
    (folder / "policy.wasm").write_bytes(b"other")
    with pytest.raises(EngineError, match=r"policy\.wasm is not the one in its manifest"):
        render_package(folder)


def test_a_bundle_that_is_there_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "policies")
    (folder / "left.over").write_text("old", "utf-8")
    other = make_bundle(tmp_path / "other", compiler="1.22.3")
    save_package(render_package(other), folder)
    assert load_bundle(folder).compiler == "1.22.3"
    assert not (folder / "left.over").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "policies"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years", "utf-8")
    with pytest.raises(EngineError, match="is not empty and holds no policy bundle"):
        save_package(render_package(make_bundle(tmp_path / "policies")), home)
    assert (home / "thesis.tex").read_text("utf-8") == "years"


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "a//b", ".hidden", "a/.git", "", "a\\b", "ä"])
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    assert "no package has" in refused(packed(named(MANIFEST), named(name)))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_nothing_but_files_is_taken(kind: bytes) -> None:
    assert "no package has" in refused(packed(named(MANIFEST), named("policy.wasm", kind=kind)))


def test_a_name_that_comes_twice_is_refused() -> None:
    assert "no package has" in refused(packed(named(MANIFEST), named(MANIFEST, b"other")))


def test_a_package_without_a_manifest_is_none() -> None:
    assert "holds no manifest.json" in refused(packed(named("policy.wasm")))


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "MAX_UNPACKED_BYTES", 100_000)
    assert "holds more than 100000 bytes" in refused(packed(named(MANIFEST, b"0" * 1_000_000)))


def test_too_many_files_and_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [named(f"f{number}") for number in range(501)]
    assert "more than 500 files" in refused(packed(*many))
    monkeypatch.setattr(package, "MAX_PACKAGE_BYTES", 10)
    assert "more than 10 bytes" in refused(packed(named(MANIFEST)))


def test_what_follows_the_package_or_is_cut_off_is_refused() -> None:
    raw = packed(named(MANIFEST, b"x" * 5000))
    for odd in (raw + b"more", raw + raw, raw[:-1], raw[: len(raw) // 2], b"", packed(named(MANIFEST), outer=False)):
        refused(odd)
    inner = gzip.decompress(raw)
    refused(gzip.compress(inner[:2000]))


_SAMPLE = packed(named(MANIFEST), named("policy.wasm", b"\0asm"))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(gzip.compress),
        st.tuples(st.integers(0, len(gzip.decompress(_SAMPLE)) - 1), st.binary(min_size=1, max_size=3)).map(
            lambda edit: gzip.compress(
                gzip.decompress(_SAMPLE)[: edit[0]] + edit[1] + gzip.decompress(_SAMPLE)[edit[0] + 1 :]
            )
        ),
    )
)
def test_whatever_comes_is_a_package_or_one_kind_of_error(raw: bytes) -> None:
    try:
        files = parse_package(raw)
    except EngineError as error:
        assert error.code == "bundle_invalid"
    else:
        assert MANIFEST in files
