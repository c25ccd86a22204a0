"""A signed bundle is what was signed, by as many as were asked for, and no older than what was in force."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals.envelope import Envelope, render_envelope
from placet.approvals.signing import sign_payload
from placet.canonical import Digest
from placet.errors import EngineError, FormatError
from placet.policy.bundle import MANIFEST, load_bundle
from placet.policy.signed import (
    SIGNATURE,
    SignedBundle,
    read_bundle_statement,
    render_bundle_statement,
    verify_bundle,
)
from tests.simulators.desk import NOON, signer_of
from tests.simulators.policy_bundles import FILES, REVISION, make_bundle, sign_bundle

KEYS = tuple(signer_of(name).public_key for name in ("ann", "ben", "cem"))
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "policies"


def verify(folder: Path, *, threshold: int = 2, minimum: int = 0, later: timedelta = timedelta(0)) -> SignedBundle:
    return verify_bundle(folder, keys=KEYS, threshold=threshold, now=NOON + later, minimum_version=minimum)


def refused(folder: Path, **how: object) -> str:
    with pytest.raises(EngineError) as caught:
        verify(folder, **how)  # type: ignore[arg-type]
    return caught.value.code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sign_bundle(make_bundle(tmp_path / "policies"), "ann", "ben", version=7)


def test_two_of_three_signatures_are_believed(folder: Path) -> None:
    signed = verify(folder)
    assert (signed.version, signed.issued_at) == (7, NOON)
    assert signed.digest == Digest.of((folder / MANIFEST).read_bytes())
    assert signed.signers == tuple(sorted(key.fingerprint for key in KEYS[:2]))
    assert signed.bundle.revision == REVISION


def test_what_was_signed_once_is_signed_the_same_for_ever(tmp_path: Path) -> None:
    """The golden files are those of this bundle; they are never written again."""
    folder = sign_bundle(make_bundle(tmp_path / "policies"), "ann", "ben", version=7)
    assert (folder / MANIFEST).read_bytes() == (GOLDEN / MANIFEST).read_bytes()
    assert (folder / SIGNATURE).read_bytes() == (GOLDEN / SIGNATURE).read_bytes()
    payload = render_bundle_statement((folder / MANIFEST).read_bytes(), REVISION, version=7, issued_at=NOON)
    assert payload == (GOLDEN / "statement.json").read_bytes()


def test_fewer_signatures_than_wanted_are_none(folder: Path) -> None:
    assert refused(folder, threshold=3) == "bundle_signatures"


def test_one_key_that_signs_twice_counts_once(tmp_path: Path) -> None:
    folder = sign_bundle(make_bundle(tmp_path / "policies"), "ann")
    path = folder / SIGNATURE
    envelope = json.loads(path.read_bytes())
    envelope["signatures"] *= 2
    path.write_text(json.dumps(envelope), "utf-8")
    assert refused(folder) in {"bundle_signatures", "bundle_unsigned"}


def test_a_stranger_s_signature_does_not_count(tmp_path: Path) -> None:
    assert refused(sign_bundle(make_bundle(tmp_path / "policies"), "ann", "mallory")) == "bundle_signatures"


def test_a_key_that_is_listed_twice_counts_once(folder: Path) -> None:
    twice = (KEYS[0], KEYS[0])
    with pytest.raises(EngineError, match="2 of 1 keys") as caught:
        verify_bundle(folder, keys=twice, threshold=2, now=NOON)
    assert caught.value.code == "bundle_keys"


@pytest.mark.parametrize("threshold", [0, 4])
def test_a_threshold_that_can_not_be_met_or_asks_for_nobody_verifies_nothing(folder: Path, threshold: int) -> None:
    assert refused(folder, threshold=threshold) == "bundle_keys"


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_any_file_that_is_changed_is_found(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    assert refused(folder) in {"bundle_invalid", "bundle_signatures"}


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_any_file_that_is_missing_is_found(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert refused(folder) == "bundle_invalid"


def test_a_bundle_without_a_signature_is_told_from_one_with_a_bad_one(folder: Path) -> None:
    (folder / SIGNATURE).write_text("{}", "utf-8")
    assert refused(folder) == "bundle_unsigned"
    (folder / SIGNATURE).unlink()
    with pytest.raises(EngineError, match="is not signed"):
        verify(folder)


def test_the_signature_of_another_bundle_does_not_count(folder: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", compiler="1.22.3")
    (other / SIGNATURE).write_bytes((folder / SIGNATURE).read_bytes())
    assert refused(other) == "bundle_signatures"


def test_a_revision_that_the_manifest_does_not_have_is_refused(tmp_path: Path) -> None:
    folder = sign_bundle(make_bundle(tmp_path / "policies"), "ann", "ben", revision="sha256:" + "6" * 64)
    assert refused(folder) == "bundle_signatures"


def test_an_older_version_is_a_rollback_and_the_same_one_is_not(folder: Path) -> None:
    assert verify(folder, minimum=7).version == 7
    assert refused(folder, minimum=8) == "bundle_rollback"


def test_a_bundle_from_the_future_waits(folder: Path) -> None:
    assert verify(folder, later=-timedelta(minutes=5)).version == 7
    assert refused(folder, later=-timedelta(minutes=6)) == "bundle_not_yet_valid"


def test_a_signature_over_another_payload_type_is_none(folder: Path) -> None:
    payload = render_bundle_statement((folder / MANIFEST).read_bytes(), REVISION, version=9, issued_at=NOON)
    envelope: Envelope = sign_payload(signer_of("ann"), payload, "application/vnd.placet.keyring+json")
    (folder / SIGNATURE).write_bytes(render_envelope(envelope))
    assert refused(folder, threshold=1) == "bundle_signatures"


def test_a_manifest_can_not_name_files_outside_its_folder(tmp_path: Path) -> None:
    for name in ("../manifest.json", "/etc/hostname", "a/../../b", "", "a//b", ".hidden"):
        folder = make_bundle(tmp_path / "policies", files={name: "sha256:" + "0" * 64})
        with pytest.raises(EngineError) as caught:
            load_bundle(folder)
        assert caught.value.code == "bundle_invalid"


@given(version=st.integers(1, 2**53 - 1), manifest=st.binary(max_size=64))
def test_what_is_rendered_is_read_back(version: int, manifest: bytes) -> None:
    payload = render_bundle_statement(manifest, REVISION, version=version, issued_at=NOON)
    assert read_bundle_statement(payload) == (Digest.of(manifest), REVISION, version, NOON)


_SAMPLE = render_bundle_statement(b"{}", REVISION, version=3, issued_at=NOON)


@given(
    st.one_of(
        st.binary(max_size=80),
        st.tuples(st.integers(0, len(_SAMPLE) - 1), st.binary(min_size=1, max_size=4)).map(
            lambda edit: _SAMPLE[: edit[0]] + edit[1] + _SAMPLE[edit[0] + 1 :]
        ),
    )
)
def test_a_statement_that_is_none_raises_one_kind_of_error(raw: bytes) -> None:
    try:
        digest, revision, version, moment = read_bundle_statement(raw)
    except FormatError:
        return
    assert (len(digest.hex), revision[:7], version >= 1) == (64, "sha256:", True)
    assert moment.utcoffset() == timedelta(0)
