"""Private keys in files: PKCS#8 in PEM, encrypted under a passphrase.

The passphrase is stretched with scrypt (RFC 7914) inside PBES2 (RFC 8018), which OpenSSL reads as well. The library's
own writer would stretch it with 2,048 rounds of PBKDF2, which a stolen file does not withstand.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from placet.approvals.keys import ECDSA_P256, ED25519, MIN_RSA_BITS, RSA_PSS
from placet.errors import SigningKeyError

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# OWASP's parameters for scrypt that stay within OpenSSL's 32 MiB: 16 MiB, five times over.
_SCRYPT_N: Final = 2**14
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 5
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32
_OID_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")
_OID_SCRYPT: Final = bytes.fromhex("06092b06010401da47040b")
_OID_AES256_CBC: Final = bytes.fromhex("060960864801650304012a")
_SEQUENCE: Final = 0x30
_OCTETS: Final = 0x04
_INTEGER: Final = 0x02
_MAX_FILE_BYTES: Final = 64 * 1024


def generate_private_key(scheme: str) -> PrivateKey:
    """A new private key from the operating system's randomness.

    Raises:
        SigningKeyError: no such scheme.
    """
    if scheme == ED25519:
        return Ed25519PrivateKey.generate()
    if scheme == ECDSA_P256:
        return ec.generate_private_key(ec.SECP256R1())
    if scheme == RSA_PSS:
        return rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS)
    raise SigningKeyError(f"no signature scheme is called {scheme[:32]!a}")


def render_private_key(key: PrivateKey, passphrase: str | None) -> bytes:
    """PKCS#8 in PEM.

    Args:
        key: the private key.
        passphrase: None writes the key unencrypted.
    """
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if passphrase is None:
        return _pem("PRIVATE KEY", der)
    return _pem("ENCRYPTED PRIVATE KEY", _encrypt(der, passphrase.encode("utf-8")))


def _encrypt(der: bytes, passphrase: bytes) -> bytes:
    salt, iv = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(16)
    key = Scrypt(salt=salt, length=_KEY_BYTES, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    padded = padder.update(der) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padded) + encryptor.finalize()
    # EncryptedPrivateKeyInfo (RFC 5958) of PBES2-params (RFC 8018 A.4) with scrypt-params (RFC 7914 section 7)
    numbers = b"".join(_der(_INTEGER, _big_endian(n)) for n in (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P, _KEY_BYTES))
    kdf = _der(_SEQUENCE, _OID_SCRYPT + _der(_SEQUENCE, _der(_OCTETS, salt) + numbers))
    cipher = _der(_SEQUENCE, _OID_AES256_CBC + _der(_OCTETS, iv))
    algorithm = _der(_SEQUENCE, _OID_PBES2 + _der(_SEQUENCE, kdf + cipher))
    return _der(_SEQUENCE, algorithm + _der(_OCTETS, sealed))


def _big_endian(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:  # noqa: PLR2004 - X.690 section 8.1.3.4: the short form holds 7 bits
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _pem(label: str, der: bytes) -> bytes:
    body = base64.b64encode(der).decode("ascii")
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode("ascii")


def is_encrypted(pem: bytes) -> bool:
    """Whether a private key file needs a passphrase."""
    return b"ENCRYPTED" in pem


def parse_private_key(pem: bytes, passphrase: str | None) -> PrivateKey:
    """Read PKCS#8 in PEM, encrypted or not.

    Raises:
        SigningKeyError: not a private key of an accepted kind, or the passphrase is missing or wrong.
    """
    secret = passphrase.encode("utf-8") if passphrase is not None and is_encrypted(pem) else None
    try:
        key = serialization.load_pem_private_key(pem, secret)
    except TypeError as exc:
        raise SigningKeyError(
            "the private key is encrypted and no passphrase was given", code="passphrase_missing"
        ) from exc
    except ValueError as exc:
        if secret is not None:
            raise SigningKeyError("the passphrase does not open the private key", code="passphrase_wrong") from exc
        raise SigningKeyError("not a private key in PEM (PKCS#8)") from exc
    except UnsupportedAlgorithm as exc:
        raise SigningKeyError("a private key of a kind that is not supported") from exc
    if not isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise SigningKeyError("a private key of another kind than Ed25519, ECDSA P-256 or RSA")
    return key


def load_private_pem(path: Path) -> bytes:
    """The bytes of a private key file.

    Raises:
        SigningKeyError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise SigningKeyError(f"can't read the private key {path}: {exc.strerror or exc}") from exc
    if len(content) > _MAX_FILE_BYTES:
        raise SigningKeyError(f"{path} is too large to be a private key")
    return content


def save_private_pem(path: Path, pem: bytes) -> None:
    """Write a private key to a new file that its owner alone can read.

    Raises:
        SigningKeyError: the file exists already, or can't be written. An existing key is never overwritten.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as exc:
        raise SigningKeyError(f"{path} exists already", hint="Name another file; a key is never overwritten.") from exc
    except OSError as exc:
        raise SigningKeyError(f"can't write {path}: {exc.strerror or exc}") from exc
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
