"""Cosignatures are those of C2SP tlog-cosignature v1, and count as many witnesses as there are."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.cosignature import (
    Cosigner,
    WitnessKey,
    parse_witness_vkey,
    require_witnesses,
    verify_cosignatures,
)
from placet.errors import FormatError, TamperError
from tests.simulators.tampering import LOG_KEY, START
from tests.simulators.tileslog import MemoryLog

W1 = Cosigner("witness.example.org/w1", Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))
W2 = Cosigner("witness.example.org/w2", Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35))))
NOTE = MemoryLog.of(7).note(7).encode()


def test_the_line_is_that_of_the_specification() -> None:
    """By hand, from the words of the specification."""
    text, _, block = W1.cosign(NOTE, moment=START).decode().rpartition("\n\n")
    name, encoded = block.splitlines()[-1].removeprefix("\u2014 ").split(" ")
    raw = base64.b64decode(encoded)
    public = W1.verifier.public
    assert name == "witness.example.org/w1"
    assert raw[:4] == hashlib.sha256(name.encode() + b"\n\x04" + public).digest()[:4]
    seconds = int.from_bytes(raw[4:12], "big")
    assert seconds == int(START.timestamp())
    message = f"cosignature/v1\ntime {seconds}\n{text}\n".encode()
    Ed25519PublicKey.from_public_bytes(public).verify(raw[12:], message)
    assert len(raw) == 4 + 8 + 64


def test_the_example_key_type_of_the_specification_is_recognised() -> None:
    text = str(W1.verifier)
    assert parse_witness_vkey(f" {text}\n") == W1.verifier
    assert base64.b64decode(text.split("+", 2)[2])[:1] == b"\x04"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "w+00000000+AAAA",
        str(LOG_KEY.verifier),
        str(W1.verifier).replace("w1", "w2"),
        str(W1.verifier)[:-4],
        f"w+{'0' * 8}+" + base64.b64encode(b"\x06" + bytes(32)).decode(),
    ],
)
def test_what_is_no_witness_key_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_witness_vkey(text)


@given(st.text(max_size=80))
def test_a_witness_key_is_read_or_refused(text: str) -> None:
    try:
        key = parse_witness_vkey(text)
    except FormatError:
        return
    assert str(key) == text.strip()


def test_the_log_still_verifies_and_both_witnesses_are_found() -> None:
    note = W2.cosign(W1.cosign(NOTE, moment=START), moment=START + timedelta(seconds=5))
    assert verify_checkpoint(note, [LOG_KEY.verifier]).size == 7
    found = verify_cosignatures(note, [W2.verifier, W1.verifier])
    assert [(one.witness.name[-2:], one.moment) for one in found] == [
        ("w2", START + timedelta(seconds=5)),
        ("w1", START),
    ]
    assert len(require_witnesses(note, [W1.verifier, W2.verifier], 2)) == 2


def test_cosigning_again_replaces_the_line() -> None:
    note = W1.cosign(W2.cosign(W1.cosign(NOTE, moment=START), moment=START), moment=START + timedelta(days=1))
    assert note.count(b"witness.example.org/w1") == 1
    assert note.count(b"witness.example.org/w2") == 1
    assert verify_cosignatures(note, [W1.verifier])[0].moment == START + timedelta(days=1)


def test_every_changed_byte_of_a_cosignature_is_found() -> None:
    note = W1.cosign(NOTE, moment=START)
    line = note.rindex(b" ") + 1
    raw = base64.b64decode(note[line:-1])
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        damaged = note[:line] + base64.b64encode(changed) + b"\n"
        with pytest.raises(TamperError) as refused:
            require_witnesses(damaged, [W1.verifier], 1)
        assert refused.value.code == ("witness_missing" if place < 4 else "cosignature_invalid")
    for short in (raw[:-1], raw[:12], raw + b"\x00"):
        with pytest.raises(TamperError):
            verify_cosignatures(note[:line] + base64.b64encode(short) + b"\n", [W1.verifier])


def test_a_cosignature_of_another_checkpoint_is_found() -> None:
    line = W1.cosign(MemoryLog.of(6).note(6).encode(), moment=START).decode().splitlines(keepends=True)[-1]
    with pytest.raises(TamperError) as refused:
        verify_cosignatures(NOTE + line.encode(), [W1.verifier])
    assert refused.value.code == "cosignature_invalid"


def test_a_time_beyond_the_calendar_is_refused() -> None:
    raw = W1.verifier.key_id + (2**63).to_bytes(8, "big") + bytes(64)
    line = f"\u2014 {W1.name} {base64.b64encode(raw).decode()}\n"
    with pytest.raises(TamperError):
        verify_cosignatures(NOTE + line.encode(), [W1.verifier])


def test_one_key_under_two_names_is_one_witness() -> None:
    twin = Cosigner("witness.example.org/twin", W1.private)
    note = twin.cosign(W1.cosign(NOTE, moment=START), moment=START)
    with pytest.raises(TamperError) as refused:
        require_witnesses(note, [W1.verifier, twin.verifier], 2)
    assert refused.value.code == "witness_missing"


def test_the_logs_own_signature_is_no_cosignature() -> None:
    """The same key material under the log's name and type vouches for nothing."""
    as_witness = WitnessKey(LOG_KEY.name, LOG_KEY.verifier.public)
    assert as_witness.key_id != LOG_KEY.verifier.key_id
    assert verify_cosignatures(NOTE, [as_witness]) == []
    with pytest.raises(TamperError):
        require_witnesses(NOTE, [as_witness], 1)


def test_nothing_is_needed_where_nothing_is_asked_for() -> None:
    assert require_witnesses(NOTE, [], 0) == []
