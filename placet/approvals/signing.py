"""Signing: private keys named by URI, through the Signer interface of securesystemslib.

| URI                                     | where the key is                                              |
|-----------------------------------------|---------------------------------------------------------------|
| `file:<path>`, or a path                | a PKCS#8 file, encrypted                                       |
| `awskms:<key id or ARN>`                | AWS KMS (needs the package `boto3`)                            |
| `gcpkms:projects/...`                   | Google Cloud KMS (`google-cloud-kms`)                          |
| `azurekms://<vault>.vault.azure.net/...`| Azure Key Vault (`azure-identity`, `azure-keyvault-keys`)      |
| `hsm:<key id>?label=<token>`            | a PKCS#11 token (`python-pkcs11`; PYKCS11LIB names its module) |
| `hv:<key name>/<version>`               | HashiCorp Vault's Transit engine (`hvac`)                      |

A key service is asked for the signature alone; whether it is one is decided here, by the same function that will
verify it later. A signature that our own verifier would refuse is never written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import (
    SIGNER_FOR_URI_SCHEME,
    AWSSigner,
    AzureSigner,
    GCPSigner,
    HSMSigner,
    Key,
    SSlibKey,
    VaultSigner,
)
from securesystemslib.signer import Signature as LibrarySignature
from securesystemslib.signer import Signer as LibrarySigner

from placet.approvals.envelope import IN_TOTO_PAYLOAD_TYPE, Envelope, Signature, pae
from placet.approvals.key_files import PrivateKey, is_encrypted, load_private_pem, parse_private_key
from placet.approvals.keys import ECDSA_P256, ED25519, RSA_PSS, PublicKey, check_signature, from_crypto
from placet.errors import SigningKeyError

SecretsSource = Callable[[str], str]
"""Asks for a secret by its name (``passphrase``, ``pin``)."""

_LIBRARY_SCHEMES: Final = {ED25519: "ed25519", ECDSA_P256: "ecdsa-sha2-nistp256", RSA_PSS: "rsassa-pss-sha256"}
_PACKAGES: Final = {
    "awskms": "boto3",
    "gcpkms": "google-cloud-kms",
    "azurekms": "azure-identity azure-keyvault-keys",
    "hsm": "python-pkcs11",
    "hv": "hvac",
}
URI_SCHEMES: Final = ("file", *_PACKAGES)


class Signer(Protocol):
    """Something that signs bytes with one key."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what it signs."""

    def sign(self, message: bytes) -> bytes:
        """Raw signature over the message, by the key's one scheme."""


@dataclass(frozen=True, slots=True)
class KeySigner:
    """Signs with a private key in memory."""

    private: PrivateKey
    public_key: PublicKey

    @classmethod
    def of(cls, private: PrivateKey) -> KeySigner:
        """A signer for the key.

        Raises:
            SigningKeyError: a key that is not allowed.
        """
        return cls(private, from_crypto(private.public_key()))

    def sign(self, message: bytes) -> bytes:
        """Raw signature over the message, by the key's one scheme."""
        private = self.private
        if isinstance(private, Ed25519PrivateKey):
            return private.sign(message)
        if isinstance(private, ec.EllipticCurvePrivateKey):
            return private.sign(message, ec.ECDSA(hashes.SHA256()))
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
        return private.sign(message, pss, hashes.SHA256())


class _FileSigner(LibrarySigner):
    """Our encrypted key files behind securesystemslib's interface; its own ``file2:`` reads no passphrase."""

    def __init__(self, signer: KeySigner, public_key: SSlibKey) -> None:
        self._signer = signer
        self._public_key = public_key

    @property
    def public_key(self) -> SSlibKey:
        return self._public_key

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsSource | None = None
    ) -> _FileSigner:
        path = Path(priv_key_uri.removeprefix("file:"))
        signer = _open_file(path, secrets_handler)
        return cls(signer, _library_key(signer.public_key) if not isinstance(public_key, SSlibKey) else public_key)

    def sign(self, payload: bytes) -> LibrarySignature:
        return LibrarySignature(self.public_key.keyid, self._signer.sign(payload).hex())


SIGNER_FOR_URI_SCHEME["file"] = _FileSigner


def _open_file(path: Path, ask: SecretsSource | None) -> KeySigner:
    pem = load_private_pem(path)
    passphrase = ask(f"passphrase of {path}") if is_encrypted(pem) and ask is not None else None
    return KeySigner.of(parse_private_key(pem, passphrase))


def _library_key(key: PublicKey) -> SSlibKey:
    return SSlibKey.from_crypto(key.crypto, keyid=key.fingerprint, scheme=_LIBRARY_SCHEMES[key.scheme])


@dataclass(frozen=True, slots=True)
class _ServiceSigner:
    """A key in a KMS, HSM or Vault."""

    uri: str
    public_key: PublicKey
    library: LibrarySigner

    def sign(self, message: bytes) -> bytes:
        try:
            return bytes.fromhex(self.library.sign(message).signature)
        except Exception as exc:  # the library documents that "generic try-except" is the only way to hear of a failure
            raise SigningKeyError(f"{self.uri} did not sign: {type(exc).__name__}: {exc}") from exc


def load_signer(uri: str, *, public_key: PublicKey | None = None, ask: SecretsSource | None = None) -> Signer:
    """The signer that a URI names.

    Args:
        uri: one of ``URI_SCHEMES``, or the path of a key file.
        public_key: the key that it must be; required for everything but files.
        ask: asks a person for a passphrase or PIN; None where nobody can be asked.

    Raises:
        SigningKeyError: an unknown scheme, a key that can't be reached or read, or another key than ``public_key``.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in URI_SCHEMES:
        # A word of a URI scheme that we don't know is a mistake to speak of, not a file name.
        if colon and scheme.isalnum() and not Path(uri).exists():
            raise SigningKeyError(
                f"no key store is called {scheme[:32]!a}",
                hint=f"Known ones: {', '.join(URI_SCHEMES)}, or a file's path.",
            )
        scheme, rest = "file", uri
    if scheme == "file":
        signer = _open_file(Path(rest), ask)
        if public_key is not None and signer.public_key != public_key:
            raise SigningKeyError(f"{rest} holds another key than the public key that was named")
        return signer
    if public_key is None:
        raise SigningKeyError(
            f"the public key of {uri} is not known",
            hint="Name its PEM file with --public-key; `placet keys import` writes it.",
        )
    try:
        library = LibrarySigner.from_priv_key_uri(uri, _library_key(public_key), ask)
    except Exception as exc:  # the library's signers raise whatever their vendors' packages raise
        raise SigningKeyError(
            f"can't use {uri}: {type(exc).__name__}: {exc}",
            hint=f"Needed beside placet: pip install {_PACKAGES[scheme]}",
        ) from exc
    return _ServiceSigner(uri, public_key, library)


def sign_payload(signer: Signer, payload: bytes, payload_type: str) -> Envelope:
    """A new envelope with one signature.

    Raises:
        SigningKeyError: the signer made something that its own public key does not verify.
    """
    return add_signature(Envelope(payload, payload_type, ()), signer)


def sign_statement(signer: Signer, payload: bytes) -> Envelope:
    """A new envelope around the bytes of an in-toto statement.

    Raises:
        SigningKeyError: the signer made something that its own public key does not verify.
    """
    return sign_payload(signer, payload, IN_TOTO_PAYLOAD_TYPE)


def add_signature(envelope: Envelope, signer: Signer) -> Envelope:
    """The envelope with one more signature; one that the same key made before is replaced.

    Raises:
        SigningKeyError: the signer made something that its own public key does not verify.
    """
    key = signer.public_key
    message = pae(envelope.payload_type, envelope.payload)
    sig = signer.sign(message)
    if not check_signature(key, message, sig):
        raise SigningKeyError("the signature does not verify with the public key; nothing was written")
    others = tuple(made for made in envelope.signatures if made.keyid != key.fingerprint)
    return Envelope(envelope.payload, envelope.payload_type, (*others, Signature(key.fingerprint, sig)))


def fetch_public_key(uri: str, *, ask: SecretsSource | None = None) -> PublicKey:
    """Ask a key store for the public half of a key.

    Raises:
        SigningKeyError: not a key store, it can't be reached, or the key is not allowed.
    """
    scheme, _, rest = uri.partition(":")
    if scheme not in _PACKAGES:
        raise SigningKeyError(f"{uri[:64]!a} names no key store", hint=f"Known: {', '.join(_PACKAGES)}.")
    try:
        key = _import(scheme, rest, ask)
        crypto = key._crypto_key()  # noqa: SLF001 - its PEM form is not offered for Ed25519
    except Exception as exc:  # the library's signers raise whatever their vendors' packages raise
        hint = f"Needed beside placet: pip install {_PACKAGES[scheme]}"
        raise SigningKeyError(f"can't use {uri}: {type(exc).__name__}: {exc}", hint=hint) from exc
    return from_crypto(crypto)


def _import(scheme: str, rest: str, ask: SecretsSource | None) -> SSlibKey:
    if scheme == "awskms":
        return AWSSigner.import_(rest)[1]
    if scheme == "gcpkms":
        return GCPSigner.import_(rest)[1]
    if scheme == "azurekms":
        host, _, path = rest.removeprefix("//").partition("/")
        return AzureSigner.import_(host.removesuffix(".vault.azure.net"), path.removeprefix("keys/").partition("/")[0])[
            1
        ]
    if scheme == "hv":
        return VaultSigner.import_(rest.partition("/")[0])[1]
    keyid, _, query = rest.partition("?")
    label = dict(parse_qsl(query)).get("label")
    return HSMSigner.import_(int(keyid) if keyid else None, label, ask)[1]
