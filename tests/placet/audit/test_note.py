"""Signed notes and checkpoints are those of C2SP, and nothing else is taken for one."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.checkpoint import parse_checkpoint, sign_checkpoint, verify_checkpoint
from placet.audit.note import LogKey, generate_log_key, load_log_key, parse_note, parse_vkey, verify_note
from placet.errors import FormatError, SigningKeyError, TamperError
from tests.simulators.tampering import LOG_KEY, ORIGIN, OTHER_KEY

KEY = LOG_KEY.verifier
ROOT = bytes(range(32))
NOTE = sign_checkpoint(LOG_KEY, size=42, root=ROOT).note.encode()

# The example of https://c2sp.org/signed-note and the key of golang.org/x/mod/sumdb/note's documentation.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_verifies_the_note_of_the_go_documentation() -> None:
    assert verify_note(GO_NOTE.encode(), [parse_vkey(GO_VKEY)]).endswith("your problem is.\n")
    assert str(parse_vkey(GO_VKEY)) == GO_VKEY


def test_a_checkpoint_is_origin_size_and_root() -> None:
    text, signature = NOTE.decode().split("\n\n")
    assert text == f"{ORIGIN}\n42\n{base64.b64encode(ROOT).decode()}"
    assert signature.startswith(f"\u2014 {ORIGIN} ")
    verified = verify_checkpoint(NOTE, [KEY])
    assert (verified.origin, verified.size, verified.root, verified.note) == (ORIGIN, 42, ROOT, NOTE.decode())


def test_signing_again_gives_the_same_bytes() -> None:
    assert sign_checkpoint(LOG_KEY, size=42, root=ROOT).note.encode() == NOTE


@pytest.mark.parametrize("place", range(len(NOTE)))
def test_every_change_of_one_byte_is_found(place: int) -> None:
    for flip in (0x01, 0x20, 0x80):
        changed = NOTE[:place] + bytes([NOTE[place] ^ flip]) + NOTE[place + 1 :]
        with pytest.raises((FormatError, TamperError)):
            verify_checkpoint(changed, [KEY])


@pytest.mark.parametrize("place", range(len(NOTE)))
def test_every_cut_is_found(place: int) -> None:
    for changed in (NOTE[:place], NOTE[:place] + NOTE[place + 1 :]):
        with pytest.raises((FormatError, TamperError)):
            verify_checkpoint(changed, [KEY])


def test_another_key_of_the_same_name_is_no_signature() -> None:
    with pytest.raises(TamperError, match="no trusted key"):
        verify_checkpoint(NOTE, [OTHER_KEY.verifier])
    with pytest.raises(TamperError, match="no trusted key"):
        verify_checkpoint(NOTE, [])


def test_a_checkpoint_of_another_log_is_none_of_this() -> None:
    signed = LOG_KEY.sign("placet.dev/log/other\n1\n" + base64.b64encode(ROOT).decode() + "\n")
    with pytest.raises(TamperError, match="another log"):
        verify_checkpoint(signed.encode(), [KEY])


def test_signatures_of_witnesses_are_passed_over() -> None:
    witness = LogKey("witness.example/w", OTHER_KEY.private).sign(NOTE.decode().split("\n\n")[0] + "\n")
    both = NOTE.decode() + witness.split("\n\n")[1]
    assert verify_checkpoint(both.encode(), [KEY]).size == 42


def test_a_wrong_signature_of_a_known_key_condemns_a_note_with_a_right_one() -> None:
    wrong = sign_checkpoint(LOG_KEY, size=43, root=ROOT).note.split("\n\n")[1]
    with pytest.raises(TamperError, match="is wrong"):
        verify_checkpoint(NOTE + wrong.encode(), [KEY])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x\n",
        "x\n1\n",
        "x\n01\nAAAA\n",
        "x\n-1\nAAAA\n",
        "x\n1\nAAAA\n",
        "x\n1\n!\n",
        "x\n9999999999999999999\n" + "A" * 43 + "=\n",
        "x\n1\n" + "A" * 42 + "B=\n",
        "\n1\n" + "A" * 43 + "=\n",
        "x\n1\n" + "A" * 43 + "=\n\ny\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_checkpoint(text)


def test_extension_lines_are_passed_over() -> None:
    assert parse_checkpoint("x\n1\n" + "A" * 43 + "=\nextension\n").size == 1


@pytest.mark.parametrize("text", ["no new line", "tab\t\n", "return\r\n", ""])
def test_what_can_not_be_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(FormatError):
        LOG_KEY.sign(text)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "x",
        "x+y",
        str(KEY).replace("+", "-"),
        str(KEY)[:-4],
        str(KEY).replace("placet", "other"),
        "a b+" + str(KEY).split("+", 1)[1],
        f"{ORIGIN}+00000000+AAAA",
        f"{ORIGIN}+{KEY.key_id.hex()}+!!!!",
    ],
)
def test_what_is_no_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(FormatError):
        parse_vkey(vkey)


def test_more_signatures_or_bytes_than_anybody_needs_are_refused() -> None:
    line = NOTE.decode().split("\n\n")[1]
    for raw in (NOTE + (line * 100).encode(), b"x" * 70_000 + b"\n" + NOTE):
        with pytest.raises(FormatError):
            parse_note(raw)


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_fail(raw: bytes) -> None:
    with pytest.raises((FormatError, TamperError)):
        verify_checkpoint(raw, [KEY])


@given(st.text(max_size=120))
def test_no_text_before_a_signature_line_does_more_than_fail(text: str) -> None:
    line = NOTE.decode().split("\n\n")[1]
    with pytest.raises((FormatError, TamperError)):
        verify_checkpoint(f"{text}\n\n{line}".encode(errors="replace"), [KEY])


def test_a_key_file_is_read_back_and_only_its_owner_may(tmp_path: Path) -> None:
    made = generate_log_key(tmp_path / "log.pem", name=ORIGIN)
    assert load_log_key(tmp_path / "log.pem", name=ORIGIN).verifier == made.verifier
    assert (tmp_path / "log.pem").stat().st_mode & 0o777 == 0o600
    assert "private" not in repr(made)


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    generate_log_key(tmp_path / "log.pem", name=ORIGIN)
    with pytest.raises(SigningKeyError) as caught:
        generate_log_key(tmp_path / "log.pem", name=ORIGIN)
    assert caught.value.code == "key_exists"


def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    made = generate_log_key(tmp_path / "log.pem", name=ORIGIN, passphrase=b"correct")
    assert load_log_key(tmp_path / "log.pem", name=ORIGIN, passphrase=b"correct").verifier == made.verifier
    for passphrase in (None, b"wrong"):
        with pytest.raises(SigningKeyError):
            load_log_key(tmp_path / "log.pem", name=ORIGIN, passphrase=passphrase)


def test_what_is_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (other, b"", b"-----BEGIN PRIVATE KEY-----\n"):
        (tmp_path / "log.pem").write_bytes(content)
        with pytest.raises(SigningKeyError):
            load_log_key(tmp_path / "log.pem", name=ORIGIN)
    with pytest.raises(SigningKeyError, match="can't be read"):
        load_log_key(tmp_path / "none.pem", name=ORIGIN)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u200bb"])
def test_what_can_not_be_a_key_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SigningKeyError):
        generate_log_key(tmp_path / "log.pem", name=name)
    assert LogKey(name, Ed25519PrivateKey.generate())
