"""Public keys: three schemes, one fixed scheme for each key, and the one function that checks a signature.

| scheme              | key                                  | signature                                             |
|---------------------|--------------------------------------|-------------------------------------------------------|
| `ed25519`           | RFC 8032, prime-order points         | 64 bytes                                              |
| `ecdsa-p256-sha256` | NIST P-256, named curve              | ASN.1 DER, SHA-256                                    |
| `rsa-pss-sha256`    | 3072 to 8192 bits, exponent 65537    | RSASSA-PSS, SHA-256, MGF1 with SHA-256, salt 32 bytes |
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from placet.errors import SigningKeyError

ED25519: Final = "ed25519"
ECDSA_P256: Final = "ecdsa-p256-sha256"
RSA_PSS: Final = "rsa-pss-sha256"
SCHEMES: Final = (ED25519, ECDSA_P256, RSA_PSS)

MIN_RSA_BITS: Final = 3072
# A verification takes time with the square of the size: a key must not be a way to spend the gate's time.
MAX_RSA_BITS: Final = 8192
_RSA_EXPONENT: Final = 65537
_SALT_BYTES: Final = 32
_MAX_PEM_BYTES: Final = 16 * 1024
_ED25519_SIGNATURE_BYTES: Final = 64
_SHORTEST_ECDSA: Final = 8
_LONGEST_ECDSA: Final = 72

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
# y of the points whose order divides 8. A key like that makes signatures that verify for any message (the identity
# point), or for one message in eight. Their other, non-canonical spellings (y + p) fall to the range check.
_LOW_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that passed the checks of its scheme. Made by ``read_public_key`` and ``parse_public_pem``.

    Attributes:
        fingerprint: SHA-256 of the DER SubjectPublicKeyInfo, 64 lower-case hexadecimal digits.
        scheme: one of ``SCHEMES``.
        spki: DER SubjectPublicKeyInfo.
    """

    fingerprint: str
    scheme: str
    spki: bytes = field(repr=False)
    crypto: Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey = field(repr=False, compare=False)

    @property
    def pem(self) -> str:
        """PEM with a line break at the end, as OpenSSL and cosign read it."""
        return self.crypto.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode("ascii")

    def may_have_made(self, signature: bytes) -> bool:
        """Whether the signature has a length that this key's scheme can produce: spares the costly check."""
        if self.scheme == ED25519:
            return len(signature) == _ED25519_SIGNATURE_BYTES
        if self.scheme == ECDSA_P256:
            return _SHORTEST_ECDSA <= len(signature) <= _LONGEST_ECDSA
        return isinstance(self.crypto, rsa.RSAPublicKey) and len(signature) == (self.crypto.key_size + 7) // 8


def read_public_key(spki: bytes) -> PublicKey:
    """Read a DER SubjectPublicKeyInfo (RFC 5280 section 4.1).

    Raises:
        SigningKeyError: not such a structure, not in its one DER spelling, of an unknown kind, or weak.
    """
    try:
        crypto = serialization.load_der_public_key(spki)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SigningKeyError("not a public key of a known kind (DER SubjectPublicKeyInfo)") from exc
    return _checked(crypto, spki)


def parse_public_pem(text: bytes) -> PublicKey:
    """Read one public key in PEM.

    Raises:
        SigningKeyError: not exactly one ``PUBLIC KEY`` block, or a key that is not allowed.
    """
    if len(text) > _MAX_PEM_BYTES or text.count(b"-----BEGIN ") != 1 or b"-----BEGIN PUBLIC KEY-----" not in text:
        raise SigningKeyError(
            "not a file with one public key in PEM",
            hint="It starts with -----BEGIN PUBLIC KEY-----; `placet keys show` writes one.",
        )
    try:
        crypto = serialization.load_pem_public_key(text)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SigningKeyError("not a public key of a known kind in PEM") from exc
    return _checked(crypto, None)


def from_crypto(crypto: object) -> PublicKey:
    """The public key of an object of the ``cryptography`` package.

    Raises:
        SigningKeyError: a key that is not allowed.
    """
    return _checked(crypto, None)


def _checked(crypto: object, given: bytes | None) -> PublicKey:
    if isinstance(crypto, Ed25519PublicKey):
        scheme = ED25519
        _require_strong_point(crypto.public_bytes_raw())
    elif isinstance(crypto, ec.EllipticCurvePublicKey):
        scheme = ECDSA_P256
        if not isinstance(crypto.curve, ec.SECP256R1):
            raise SigningKeyError(f"an elliptic curve key on {crypto.curve.name}; only P-256 is accepted")
    elif isinstance(crypto, rsa.RSAPublicKey):
        scheme = RSA_PSS
        if not MIN_RSA_BITS <= crypto.key_size <= MAX_RSA_BITS:
            raise SigningKeyError(
                f"an RSA key of {crypto.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted"
            )
        if crypto.public_numbers().e != _RSA_EXPONENT:
            raise SigningKeyError(f"an RSA key whose public exponent is not {_RSA_EXPONENT}")
    else:
        raise SigningKeyError("a key of another kind than Ed25519, ECDSA P-256 or RSA")
    spki = crypto.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if given is not None and given != spki:
        # A second spelling would be a second fingerprint, and one key could then count twice.
        raise SigningKeyError("a public key that is not in its one DER spelling")
    return PublicKey(hashlib.sha256(spki).hexdigest(), scheme, spki, crypto)


def _require_strong_point(encoded: bytes) -> None:
    """Refuse points of low order, non-canonical spellings, and what is on no curve (RFC 8032 section 5.1.3)."""
    value = int.from_bytes(encoded, "little")
    y, sign = value & (2**255 - 1), value >> 255
    if y >= _P:
        raise SigningKeyError("an Ed25519 key that is not in its one spelling")
    if y in _LOW_ORDER_Y:
        raise SigningKeyError("an Ed25519 key of low order, for which anybody can make signatures")
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x_squared = u * pow(v, -1, _P) % _P
    if x_squared == 0 and sign:
        raise SigningKeyError("an Ed25519 key that is not in its one spelling")
    if pow(x_squared, (_P - 1) // 2, _P) != 1:
        raise SigningKeyError("an Ed25519 key that is not a point of the curve")


def check_signature(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether the key made this signature over exactly these bytes, by the key's one scheme.

    Every signature that placet trusts goes through here.
    """
    if not key.may_have_made(signature):
        return False
    crypto = key.crypto
    try:
        if isinstance(crypto, Ed25519PublicKey):
            crypto.verify(signature, message)
        elif isinstance(crypto, ec.EllipticCurvePublicKey):
            crypto.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        else:
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=_SALT_BYTES)
            crypto.verify(signature, message, pss, hashes.SHA256())
    except InvalidSignature:
        return False
    return True
