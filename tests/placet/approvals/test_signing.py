from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Key, SSlibKey
from securesystemslib.signer import Signature as LibrarySignature
from securesystemslib.signer import Signer as LibrarySigner

from placet.approvals.bundle import render_bundle
from placet.approvals.envelope import Envelope, pae
from placet.approvals.key_files import render_private_key
from placet.approvals.keys import PublicKey, check_signature
from placet.approvals.signing import KeySigner, add_signature, fetch_public_key, load_signer, sign_statement
from placet.errors import SigningKeyError
from tests.simulators.desk import signer_of, stored_signer

SIGNERS = {"ed25519": signer_of("alice"), "ecdsa": stored_signer("ecdsa-p256"), "rsa": stored_signer("rsa-pss")}
each_scheme = pytest.mark.parametrize("scheme", SIGNERS)


def key_file(folder: Path, signer: KeySigner, passphrase: str | None = None) -> Path:
    file = folder / "signer.key"
    file.write_bytes(render_private_key(signer.private, passphrase))
    return file


@each_scheme
@pytest.mark.parametrize("prefix", ["", "file:"])
def test_a_key_file_signs(tmp_path: Path, scheme: str, prefix: str) -> None:
    signer = load_signer(f"{prefix}{key_file(tmp_path, SIGNERS[scheme])}")
    envelope = sign_statement(signer, b"{}")
    assert signer.public_key == SIGNERS[scheme].public_key
    assert check_signature(signer.public_key, pae(envelope.payload_type, b"{}"), envelope.signatures[0].sig)
    assert envelope.signatures[0].keyid == signer.public_key.fingerprint


def test_an_encrypted_key_file_asks_for_its_passphrase_by_name(tmp_path: Path) -> None:
    file = key_file(tmp_path, SIGNERS["ed25519"], "secret")
    asked: list[str] = []

    def ask(name: str) -> str:
        asked.append(name)
        return "secret"

    assert load_signer(str(file), ask=ask).public_key == SIGNERS["ed25519"].public_key
    assert asked == [f"passphrase of {file}"]
    with pytest.raises(SigningKeyError) as caught:
        load_signer(str(file))
    assert caught.value.code == "passphrase_missing"


def test_a_file_that_holds_another_key_than_was_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError, match="another key"):
        load_signer(str(key_file(tmp_path, signer_of("alice"))), public_key=signer_of("bob").public_key)


@each_scheme
def test_the_library_s_own_interface_opens_our_files(tmp_path: Path, scheme: str) -> None:
    ours = SIGNERS[scheme]
    library_key = SSlibKey.from_crypto(ours.public_key.crypto)
    file = key_file(tmp_path, ours, "secret")
    signer = LibrarySigner.from_priv_key_uri(f"file:{file}", library_key, lambda _: "secret")
    signature = signer.sign(b"message")
    library_key.verify_signature(signature, b"message")
    assert check_signature(ours.public_key, b"message", bytes.fromhex(signature.signature))


@dataclass
class Service(LibrarySigner):
    """A key service behind the library's interface."""

    uri: str
    key: SSlibKey
    answers: Any

    @property
    def public_key(self) -> SSlibKey:
        return self.key

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Any = None) -> Service:
        assert isinstance(public_key, SSlibKey)
        if priv_key_uri.endswith("/denied"):
            raise PermissionError("not allowed to use this key")
        return cls(priv_key_uri, public_key, secrets_handler)

    def sign(self, payload: bytes) -> LibrarySignature:
        if self.uri.endswith("/down"):
            raise ConnectionError("no route")
        name = "mallory" if self.uri.endswith("/other") else "alice"
        return LibrarySignature(self.key.keyid, signer_of(name).sign(payload).hex())


@pytest.fixture
def alice(monkeypatch: pytest.MonkeyPatch) -> PublicKey:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "awskms", Service)
    return signer_of("alice").public_key


def test_a_key_service_signs(alice: PublicKey) -> None:
    envelope = sign_statement(load_signer("awskms:key", public_key=alice), b"{}")
    assert check_signature(alice, pae(envelope.payload_type, b"{}"), envelope.signatures[0].sig)


def test_a_service_that_signs_with_another_key_gives_no_envelope(alice: PublicKey) -> None:
    with pytest.raises(SigningKeyError, match="does not verify"):
        sign_statement(load_signer("awskms:key/other", public_key=alice), b"{}")


@pytest.mark.parametrize(("uri", "says"), [("awskms:key/denied", "not allowed"), ("awskms:key/down", "no route")])
def test_a_service_that_fails_is_named(alice: PublicKey, uri: str, says: str) -> None:
    with pytest.raises(SigningKeyError, match=says):
        sign_statement(load_signer(uri, public_key=alice), b"{}")


def test_a_service_needs_its_public_key() -> None:
    with pytest.raises(SigningKeyError, match="public key of awskms:key is not known"):
        load_signer("awskms:key")


@pytest.mark.parametrize("uri", ["awskms:key", "gcpkms:k", "azurekms://v.vault.azure.net/keys/k/1", "hv:k/1", "hsm:2"])
def test_a_service_whose_package_is_missing_says_what_to_install(uri: str) -> None:
    with pytest.raises(SigningKeyError) as caught:
        sign_statement(load_signer(uri, public_key=stored_signer("ecdsa-p256").public_key, ask=lambda _: "1"), b"{}")
    assert uri in str(caught.value)
    with pytest.raises(SigningKeyError) as caught:
        fetch_public_key(uri, ask=lambda _: "1")
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize("uri", ["gnupg:0123", "file2:/tmp/key", "s3:key"])
def test_an_unknown_key_store_is_refused(uri: str) -> None:
    with pytest.raises(SigningKeyError, match="no key store"):
        load_signer(uri)
    with pytest.raises(SigningKeyError, match="names no key store"):
        fetch_public_key(uri)


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.key"
    for content in (b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"x" * 70_000):
        file.write_bytes(content)
        with pytest.raises(SigningKeyError):
            load_signer(str(file))


def test_signing_again_replaces_the_signer_s_own_signature() -> None:
    envelope = sign_statement(stored_signer("rsa-pss"), b"{}")
    again = add_signature(add_signature(envelope, signer_of("alice")), stored_signer("rsa-pss"))
    assert len(again.signatures) == 2


def test_a_bundle_is_made_of_the_signature_of_the_key_that_is_named() -> None:
    envelope = add_signature(sign_statement(signer_of("alice"), b"{}"), signer_of("bob"))
    assert render_bundle(envelope, signer_of("bob").public_key) != render_bundle(
        envelope, signer_of("alice").public_key
    )
    with pytest.raises(SigningKeyError):
        render_bundle(envelope, signer_of("mallory").public_key)
    with pytest.raises(SigningKeyError):
        render_bundle(Envelope(b"{}", "x", ()), signer_of("alice").public_key)
