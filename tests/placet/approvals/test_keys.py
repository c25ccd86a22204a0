from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals import keys as keys_module
from placet.approvals.key_files import (
    generate_private_key,
    load_private_pem,
    parse_private_key,
    render_private_key,
    save_private_pem,
)
from placet.approvals.keys import (
    ECDSA_P256,
    ED25519,
    RSA_PSS,
    PublicKey,
    check_signature,
    from_crypto,
    parse_public_pem,
    read_public_key,
)
from placet.approvals.signing import KeySigner
from placet.errors import SigningKeyError
from tests.simulators.desk import signer_of, stored_signer

MESSAGE = b"what was signed"
SIGNERS = {
    ED25519: signer_of("alice"),
    ECDSA_P256: stored_signer("ecdsa-p256"),
    RSA_PSS: stored_signer("rsa-pss"),
}
each_scheme = pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


def spki_of_point(encoded: bytes) -> bytes:
    return bytes.fromhex("302a300506032b6570032100") + encoded


@each_scheme
def test_a_key_verifies_what_it_signed_and_nothing_else(signer: KeySigner) -> None:
    signature = signer.sign(MESSAGE)
    assert check_signature(signer.public_key, MESSAGE, signature)
    assert not check_signature(signer.public_key, MESSAGE + b".", signature)
    assert not check_signature(signer.public_key, b"", signature)
    for other in SIGNERS.values():
        if other is not signer:
            assert not check_signature(other.public_key, MESSAGE, signature)


@each_scheme
def test_no_flip_or_cut_of_a_signature_verifies(signer: KeySigner) -> None:
    signature = signer.sign(MESSAGE)
    for at in range(len(signature)):
        assert not check_signature(
            signer.public_key, MESSAGE, signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :]
        )
        assert not check_signature(signer.public_key, MESSAGE, signature[:at])
    assert not check_signature(signer.public_key, MESSAGE, signature + b"\0")


@each_scheme
def test_the_fingerprint_is_the_sha256_of_the_der(signer: KeySigner) -> None:
    key = signer.public_key
    assert key.fingerprint == hashlib.sha256(key.spki).hexdigest()
    assert read_public_key(key.spki) == key
    assert parse_public_pem(key.pem.encode()) == key


def test_rsa_is_verified_with_one_padding_and_one_salt_length() -> None:
    private = SIGNERS[RSA_PSS].private
    assert isinstance(private, rsa.RSAPrivateKey)
    key = SIGNERS[RSA_PSS].public_key
    mgf = padding.MGF1(hashes.SHA256())
    for salt in (0, 20, 31, 33, padding.PSS.MAX_LENGTH):
        signature = private.sign(MESSAGE, padding.PSS(mgf=mgf, salt_length=salt), hashes.SHA256())
        assert not check_signature(key, MESSAGE, signature)
    assert not check_signature(key, MESSAGE, private.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256()))
    other_hash = padding.PSS(mgf=padding.MGF1(hashes.SHA512()), salt_length=32)
    assert not check_signature(key, MESSAGE, private.sign(MESSAGE, other_hash, hashes.SHA512()))


def test_ecdsa_is_verified_with_one_hash_and_in_der() -> None:
    private = SIGNERS[ECDSA_P256].private
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    key = SIGNERS[ECDSA_P256].public_key
    assert not check_signature(key, MESSAGE, private.sign(MESSAGE, ec.ECDSA(hashes.SHA512())))
    assert not check_signature(key, MESSAGE, b"\1" * 64)


def add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, two
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def times(factor: int, point: tuple[int, int]) -> tuple[int, int]:
    result = (0, 1)
    while factor:
        if factor & 1:
            result = add(result, point)
        point, factor = add(point, point), factor >> 1
    return result


def low_order_points() -> set[tuple[int, int]]:
    """The eight points whose order divides 8, computed: any point times the prime order."""
    found: set[tuple[int, int]] = set()
    y = 2
    while len(found) < 8:
        x_squared = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
        x = pow(x_squared, (P + 3) // 8, P)
        if x * x % P != x_squared:
            x = x * pow(2, (P - 1) // 4, P) % P
        if x * x % P == x_squared:
            small = times(ORDER, (x, y))
            found |= {times(factor, small) for factor in range(1, 9)}
        y += 1
    return found


def test_the_list_of_low_order_points_is_what_arithmetic_gives() -> None:
    assert {y for _, y in low_order_points()} == keys_module._LOW_ORDER_Y


def low_order_encodings() -> list[bytes]:
    """Every encoding of a low-order point, those with y + p and with a needless sign bit among them."""
    found = set()
    for _, y in low_order_points():
        for spelled in (y, y + P):
            if spelled < 2**255:
                found |= {(spelled | sign << 255).to_bytes(32, "little") for sign in (0, 1)}
    return sorted(found)


@pytest.mark.parametrize("encoded", low_order_encodings(), ids=bytes.hex)
def test_low_order_points_are_refused(encoded: bytes) -> None:
    with pytest.raises(SigningKeyError, match=r"low order|one spelling"):
        read_public_key(spki_of_point(encoded))


def test_the_identity_point_would_verify_any_message() -> None:
    """Why they are refused."""
    identity = (1).to_bytes(32, "little")
    crypto = serialization.load_der_public_key(spki_of_point(identity))
    key = PublicKey("x", ED25519, b"", crypto)  # type: ignore[arg-type]
    forged = identity + bytes(32)
    assert check_signature(key, b"anything", forged)
    assert check_signature(key, b"anything else", forged)


@pytest.mark.parametrize("y", [P + 3, 2**255 - 1, 2])
def test_what_is_no_point_or_no_canonical_one_is_refused(y: int) -> None:
    with pytest.raises(SigningKeyError):
        read_public_key(spki_of_point(y.to_bytes(32, "little")))


def test_short_rsa_keys_and_odd_exponents_are_refused() -> None:
    for bits, exponent in ((2048, 65537), (3072, 3)):
        numbers = rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) | 1)
        with pytest.raises(SigningKeyError, match="RSA key"):
            from_crypto(numbers.public_key())
    with pytest.raises(SigningKeyError, match="8200 bits"):
        from_crypto(rsa.RSAPublicNumbers(65537, (1 << 8199) | 1).public_key())


def test_other_curves_and_kinds_are_refused() -> None:
    with pytest.raises(SigningKeyError, match="only P-256"):
        from_crypto(ec.generate_private_key(ec.SECP384R1()).public_key())
    with pytest.raises(SigningKeyError, match="another kind"):
        from_crypto(x25519.X25519PrivateKey.generate().public_key())


def test_a_second_spelling_of_a_key_is_refused() -> None:
    public = SIGNERS[ECDSA_P256].public_key.crypto
    assert isinstance(public, ec.EllipticCurvePublicKey)
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    compressed = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + point
    with pytest.raises(SigningKeyError):
        read_public_key(compressed)
    with pytest.raises(SigningKeyError):
        read_public_key(SIGNERS[ED25519].public_key.spki + b"\0")


@pytest.mark.parametrize(
    "text", [b"", b"-----BEGIN PUBLIC KEY-----", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_pem_of_one_public_key_is_refused(text: bytes) -> None:
    with pytest.raises(SigningKeyError):
        parse_public_pem(text)


def test_a_file_with_two_keys_is_refused() -> None:
    two = signer_of("alice").public_key.pem + signer_of("bob").public_key.pem
    with pytest.raises(SigningKeyError, match="one public key"):
        parse_public_pem(two.encode())


@given(st.binary(max_size=120))
def test_nothing_but_signing_key_error_escapes(content: bytes) -> None:
    for read in (read_public_key, parse_public_pem):
        with pytest.raises(SigningKeyError):
            read(content)
    with pytest.raises(SigningKeyError):
        parse_private_key(b"-----BEGIN PRIVATE KEY-----\n" + content, None)


# -- private keys in files


@pytest.mark.parametrize("scheme", [ED25519, ECDSA_P256])
def test_an_encrypted_key_opens_with_its_passphrase_alone(scheme: str) -> None:
    private = generate_private_key(scheme)
    sealed = render_private_key(private, "correct horse ☃")
    opened = parse_private_key(sealed, "correct horse ☃")
    assert KeySigner.of(opened).public_key == KeySigner.of(private).public_key
    with pytest.raises(SigningKeyError) as caught:
        parse_private_key(sealed, "correct horse")
    assert caught.value.code == "passphrase_wrong"
    with pytest.raises(SigningKeyError) as caught:
        parse_private_key(sealed, None)
    assert caught.value.code == "passphrase_missing"


def test_a_key_without_passphrase_opens_whatever_passphrase_is_at_hand() -> None:
    private = generate_private_key(ED25519)
    assert isinstance(parse_private_key(render_private_key(private, None), "unused"), Ed25519PrivateKey)


def test_an_encrypted_file_does_not_hold_the_key_in_the_open() -> None:
    private = generate_private_key(ED25519)
    assert isinstance(private, Ed25519PrivateKey)
    sealed = render_private_key(private, "secret")
    assert b"ENCRYPTED PRIVATE KEY" in sealed
    assert render_private_key(private, "secret") != sealed


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(SigningKeyError, match="'dsa'"):
        generate_private_key("dsa")


def test_a_key_file_is_its_owner_s_alone_and_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "a.key"
    save_private_pem(file, b"first")
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SigningKeyError, match="exists already"):
        save_private_pem(file, b"second")
    assert load_private_pem(file) == b"first"
    (tmp_path / "link.key").symlink_to(tmp_path / "elsewhere.key")
    with pytest.raises(SigningKeyError):
        save_private_pem(tmp_path / "link.key", b"third")


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError, match=r"nobody\.key"):
        load_private_pem(tmp_path / "nobody.key")
