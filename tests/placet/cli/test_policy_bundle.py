"""`placet policy bundle`: sign, show, verify, push, pull, as whoever releases policies runs them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.approvals.key_files import render_private_key, save_private_pem
from placet.cli import root
from placet.policy.bundle import load_bundle
from placet.policy.signed import SIGNATURE
from tests.simulators.desk import signer_of
from tests.simulators.file_server import serving_file
from tests.simulators.policy_bundles import make_bundle


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "policies.d")
    for name in ("ann", "ben"):
        save_keys(name)
    return tmp_path


def save_keys(name: str) -> None:
    key = signer_of(name)
    save_private_pem(Path(f"{name}.key"), key_pem(name))
    Path(f"{name}.pub").write_text(key.public_key.pem, "utf-8")


def key_pem(name: str, passphrase: str | None = None) -> bytes:
    """The private key that belongs to a name, as ``signer_of`` makes it."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    return render_private_key(private, passphrase)


def run(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(root, ["policy", "bundle", *arguments], prog_name="placet")
    assert done.exit_code == code, done.output
    return done


def test_two_people_sign_and_a_gate_s_keys_verify() -> None:
    run("sign", "policies.d", "--key", "ann.key", "--version", "7")
    run("sign", "policies.d", "--key", "ben.key")
    shown = json.loads(
        run("verify", "policies.d", "--verify-key", "ann.pub", "--verify-key", "ben.pub", "-o", "json").stdout
    )
    assert (shown["schema"], shown["version"]) == ("placet.dev/policy-bundle-verification/v1", 7)
    assert len(shown["signers"]) == 2
    text = run("verify", "policies.d", "--verify-key", "ann.pub").stdout
    assert text.startswith(f"verified  version 7, {shown['digest']}")


def test_a_signature_begins_anew_where_the_bundle_or_the_version_is_another(here: Path) -> None:
    run("sign", "policies.d", "--key", "ann.key", "--version", "7")
    run("sign", "policies.d", "--key", "ben.key", "--version", "8")
    shown = json.loads(run("show", "policies.d", "-o", "json").stdout)
    assert (shown["version"], len(shown["signatures"])) == (8, 1)
    make_bundle(here / "policies.d", compiler="1.22.3")
    refused = run("sign", "policies.d", "--key", "ann.key", code=2)
    assert "no --version is given" in refused.stderr


def test_what_is_not_signed_is_shown_as_such_and_not_verified() -> None:
    assert "signed    no" in run("show", "policies.d").stdout
    assert "is not signed" in run("verify", "policies.d", "--verify-key", "ann.pub", code=2).stderr
    refused = run("verify", "policies.d", "--verify-key", "nowhere.pub", code=2)
    assert "can't read the key nowhere.pub" in refused.stderr
    assert "no key was found" in run("verify", "policies.d", code=2).stderr


def test_a_bundle_with_a_changed_file_is_not_signed(here: Path) -> None:
    (here / "policies.d" / "policy.wasm").write_bytes(b"other")
    assert (
        "policy.wasm is not the one" in run("sign", "policies.d", "--key", "ann.key", "--version", "1", code=2).stderr
    )
    assert not (here / "policies.d" / SIGNATURE).exists()


def test_from_one_folder_over_a_web_server_into_another(here: Path) -> None:
    run("sign", "policies.d", "--key", "ann.key", "--version", "7")
    with serving_file() as server:
        assert run("push", "policies.d", server.url).stdout.strip() == server.url
        done = run("pull", server.url, "got.d", "--verify-key", "ann.pub")
        assert done.stdout.startswith("verified  version 7")
        assert load_bundle(here / "got.d").files == load_bundle(here / "policies.d").files


def test_what_does_not_verify_changes_nothing(here: Path) -> None:
    run("sign", "policies.d", "--key", "ann.key", "--version", "7")
    shutil.copytree(here / "policies.d", here / "got.d")
    make_bundle(here / "policies.d", compiler="1.22.3")
    run("sign", "policies.d", "--key", "ben.key", "--version", "8")
    refused = run("pull", "policies.d", "got.d", "--verify-key", "ann.pub", code=2)
    assert "0 of the 1 signatures that are wanted verify" in refused.stderr
    assert load_bundle(here / "got.d").compiler == "1.22.2"
    older = run("pull", "policies.d", "got.d", "--verify-key", "ben.pub", "--minimum-version", "9", code=2)
    assert "has version 8, and version 9 was in force before" in older.stderr
    run("pull", "policies.d", "got.d", "--verify-key", "ben.pub")
    assert load_bundle(here / "got.d").compiler == "1.22.3"


def test_signatures_are_left_aside_only_by_a_word_for_it() -> None:
    assert "Name the keys" in run("pull", "policies.d", "got.d", code=2).stderr
    assert "Name the keys" in run("pull", "policies.d", "got.d", "--unsigned", "--verify-key", "ann.pub", code=2).stderr
    run("pull", "policies.d", "got.d", "--unsigned")


def test_a_key_s_passphrase_is_asked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_private_pem(here / "eve.key", key_pem("eve", "word"))
    assert "passphrase" in run("sign", "policies.d", "--key", "eve.key", "--version", "1", code=2).stderr
    monkeypatch.setenv("PLACET_KEY_PASSPHRASE", "word")
    run("sign", "policies.d", "--key", "eve.key", "--version", "1")
