from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.approvals.envelope import Signature, parse_envelope, render_envelope
from placet.approvals.keyring import (
    KEYRING_PAYLOAD_TYPE,
    MAX_KEYRING_BYTES,
    VerifiedKeyring,
    load_keyring,
    load_roots,
    verify_keyring,
)
from placet.approvals.keys import PublicKey
from placet.approvals.signing import add_signature, sign_payload
from placet.canonical import Digest, render_canonical
from placet.errors import KeyringError
from tests.simulators.desk import NOON, ApprovalDesk, signer_of, stored_signer


@pytest.fixture
def desk() -> ApprovalDesk:
    return ApprovalDesk.standard()


def verify(
    desk: ApprovalDesk, raw: bytes | None = None, *, now: datetime = NOON, minimum_version: int = 0, threshold: int = 2
) -> VerifiedKeyring:
    return verify_keyring(
        desk.keyring_bytes if raw is None else raw,
        roots=desk.root_keys,
        threshold=threshold,
        now=now,
        minimum_version=minimum_version,
    )


def refused(desk: ApprovalDesk, raw: bytes | None = None, **how: Any) -> str:
    with pytest.raises(KeyringError) as caught:
        verify(desk, raw, **how)
    assert str(caught.value)
    return caught.value.code


def test_a_good_keyring_is_read_whole(desk: ApprovalDesk) -> None:
    desk.document["thresholds"] = {"security": 2}
    keyring = verify(desk)
    assert keyring.version == 1
    assert keyring.thresholds == {"technical": 1, "security": 2, "business": 1, "executive": 1}
    assert keyring.expires == NOON + timedelta(days=335)
    assert keyring.digest == Digest.of(render_canonical(desk.document))
    assert keyring.identities["bob@example.org"].person == "p-bob"
    found = keyring.find_key(signer_of("bob").public_key.fingerprint)
    assert found is not None
    assert found[0].id == "bob@example.org"
    assert keyring.find_key("0" * 64) is None


# -- roots and signatures


def test_any_roots_that_are_enough_verify(desk: ApprovalDesk) -> None:
    payload = render_canonical(desk.document)
    for one, two in ((0, 1), (1, 2), (2, 0)):
        envelope = add_signature(sign_payload(desk.roots[one], payload, KEYRING_PAYLOAD_TYPE), desk.roots[two])
        assert verify(desk, render_envelope(envelope)).version == 1


def test_one_root_is_not_two(desk: ApprovalDesk) -> None:
    envelope = sign_payload(desk.roots[0], render_canonical(desk.document), KEYRING_PAYLOAD_TYPE)
    assert refused(desk, render_envelope(envelope)) == "keyring_signatures"
    doubled = replace(envelope, signatures=envelope.signatures * 2)
    assert refused(desk, render_envelope(doubled)) == "keyring_signatures"
    renamed = replace(doubled, signatures=(doubled.signatures[0], Signature("other", doubled.signatures[0].sig)))
    assert refused(desk, render_envelope(renamed)) == "keyring_signatures"


def test_a_root_that_is_pinned_twice_counts_once(desk: ApprovalDesk) -> None:
    envelope = sign_payload(desk.roots[0], render_canonical(desk.document), KEYRING_PAYLOAD_TYPE)
    with pytest.raises(KeyringError) as caught:
        verify_keyring(render_envelope(envelope), roots=[desk.root_keys[0]] * 2, threshold=2, now=NOON)
    assert caught.value.code == "keyring_roots"


@pytest.mark.parametrize(("roots", "threshold"), [(0, 1), (3, 0), (3, 4), (0, 0)])
def test_no_root_or_no_threshold_trusts_nothing(desk: ApprovalDesk, roots: int, threshold: int) -> None:
    with pytest.raises(KeyringError) as caught:
        verify_keyring(desk.keyring_bytes, roots=desk.root_keys[:roots], threshold=threshold, now=NOON)
    assert caught.value.code == "keyring_roots"


def test_strangers_signatures_do_not_count(desk: ApprovalDesk) -> None:
    desk.roots = [signer_of("mallory"), signer_of("mallory-2")]
    raw = desk.keyring_bytes
    assert refused(ApprovalDesk.standard(), raw) == "keyring_signatures"


def test_roots_of_every_scheme_verify(desk: ApprovalDesk) -> None:
    desk.roots = [stored_signer("ecdsa-p256"), stored_signer("rsa-pss")]
    assert verify(desk).version == 1


def test_every_flipped_byte_rejects_or_is_in_a_hint(desk: ApprovalDesk) -> None:
    raw = desk.keyring_bytes
    clean = parse_envelope(raw)
    for at in range(0, len(raw), 7):
        flipped = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        try:
            verify(desk, flipped)
        except KeyringError:
            continue
        changed = parse_envelope(flipped)
        assert replace(changed, signatures=()) == replace(clean, signatures=())
        assert [one.sig for one in changed.signatures] == [one.sig for one in clean.signatures]


def test_every_truncation_rejects(desk: ApprovalDesk) -> None:
    raw = desk.keyring_bytes
    for length in [*range(64), *range(64, len(raw), 101), len(raw) - 1]:
        assert refused(desk, raw[:length]) == "keyring_malformed"


def test_an_envelope_of_another_type_is_no_keyring(desk: ApprovalDesk) -> None:
    payload = render_canonical(desk.document)
    envelope = add_signature(sign_payload(desk.roots[0], payload, "application/vnd.in-toto+json"), desk.roots[1])
    assert refused(desk, render_envelope(envelope)) == "keyring_malformed"


def test_what_is_too_large_is_not_read(desk: ApprovalDesk) -> None:
    assert refused(desk, b" " * (MAX_KEYRING_BYTES + 1)) == "keyring_malformed"


# -- version and time


def test_an_older_version_never_comes_back(desk: ApprovalDesk) -> None:
    desk.document["version"] = 7
    assert verify(desk, minimum_version=7).version == 7
    assert refused(desk, minimum_version=8) == "keyring_rollback"


def test_a_keyring_holds_from_its_first_moment_and_not_at_its_last(desk: ApprovalDesk) -> None:
    keyring = verify(desk)
    assert refused(desk, now=keyring.issued - timedelta(seconds=1)) == "keyring_not_yet_valid"
    assert verify(desk, now=keyring.issued).version == 1
    assert verify(desk, now=keyring.expires - timedelta(seconds=1)).version == 1
    assert refused(desk, now=keyring.expires) == "keyring_expired"


# -- content


def bob(change: Callable[[dict[str, Any]], object]) -> Callable[[ApprovalDesk], object]:
    return lambda desk: change(desk.identity("bob"))


def bobs_key(**members: Any) -> Callable[[ApprovalDesk], object]:
    return lambda desk: desk.identity("bob")["keys"][0].update(members)


def bobs_grant(**members: Any) -> Callable[[ApprovalDesk], object]:
    return lambda desk: desk.grant("bob", "security").update(members)


def document(**members: Any) -> Callable[[ApprovalDesk], object]:
    return lambda desk: desk.document.update(members)


@pytest.mark.parametrize(
    "change",
    [
        document(schema="placet.dev/keyring/v2"),
        document(version=0),
        document(version=True),
        document(version="1"),
        document(issued="yesterday"),
        document(expires="2026-10-23T12:00:00Z"),
        document(thresholds={"security": 0}),
        document(thresholds={"cfo": 1}),
        document(thresholds=[]),
        document(identities=[]),
        document(identities={}),
        document(revokedApprovals=None),
        document(revokedApprovals=["1"]),
        document(comment="x"),
        lambda desk: desk.document.pop("revokedApprovals"),
        lambda desk: desk.add("bob", roles=["technical"]),
        lambda desk: desk.add("robert", roles=["technical"], signer=signer_of("bob")),
        bob(lambda entry: entry["keys"].append(entry["keys"][0])),
        bob(lambda entry: entry.update(keys=[])),
        bob(lambda entry: entry.update(person="")),
        bob(lambda entry: entry.update(id="bob smith")),
        bob(lambda entry: entry.update(admin=True)),
        bob(lambda entry: entry.update(usernames="bob")),
        bob(lambda entry: entry.pop("grants")),
        bob(lambda entry: entry.update(attests=[{"facts": ["the weather"], "models": ["*"]}])),
        bob(lambda entry: entry.update(attests=[{"facts": [], "models": ["*"]}])),
        bobs_key(fingerprint="0" * 64),
        bobs_key(scheme="ecdsa-p256-sha256"),
        bobs_key(scheme="rsa-pkcs1"),
        bobs_key(publicKey="AAAA"),
        bobs_key(publicKey=signer_of("alice").public_key.pem),
        bobs_key(validUntil="2026-01-01T00:00:00Z"),
        bobs_key(revokedAt="2026-11-22T12:00:00Z"),
        bobs_key(revocation="compromised"),
        bobs_key(revokedAt="2026-11-22T12:00:00Z", revocation="lost"),
        bobs_grant(role="cfo"),
        bobs_grant(environments=[]),
        bobs_grant(environments=["*"]),
        bobs_grant(maxRisk="any"),
        bobs_grant(models=[]),
        bobs_grant(namespaces=["ML"]),
        bobs_grant(until="2027"),
    ],
)
def test_what_is_not_of_the_one_form_is_refused(desk: ApprovalDesk, change: Callable[[ApprovalDesk], object]) -> None:
    change(desk)
    assert refused(desk) == "keyring_malformed"


def test_a_root_key_must_not_approve(desk: ApprovalDesk) -> None:
    desk.add("root", roles=["security"], signer=desk.roots[2])
    assert refused(desk) == "keyring_malformed"


def test_low_order_keys_do_not_get_in(desk: ApprovalDesk) -> None:
    spki = bytes.fromhex("302a300506032b6570032100") + (1).to_bytes(32, "little")
    desk.identity("bob")["keys"][0].update(
        publicKey=base64.b64encode(spki).decode(), fingerprint=hashlib.sha256(spki).hexdigest()
    )
    assert refused(desk) == "keyring_malformed"


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b'{"version":1,"version":2}', b'{"version":1.0}'])
def test_signed_bytes_that_are_no_keyring_are_refused(desk: ApprovalDesk, payload: bytes) -> None:
    envelope = add_signature(sign_payload(desk.roots[0], payload, KEYRING_PAYLOAD_TYPE), desk.roots[1])
    assert refused(desk, render_envelope(envelope)) == "keyring_malformed"


def test_names_of_one_person_lead_to_that_person_in_any_letter_case(desk: ApprovalDesk) -> None:
    desk.identity("bob")["usernames"] = ["oidc:bob"]
    keyring = verify(desk)
    for name in ("bob@example.org", "BOB@EXAMPLE.ORG", "p-bob", "oidc:Bob"):
        assert "p-bob" in keyring.persons_of(name)
    assert keyring.persons_of("system:serviceaccount:argocd:deployer") == {"system:serviceaccount:argocd:deployer"}


@given(st.binary(max_size=300))
def test_nothing_but_keyring_error_escapes(raw: bytes) -> None:
    assert refused(ApprovalDesk.standard(), raw) == "keyring_malformed"


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
)


@settings(deadline=None)
@given(st.data())
def test_nothing_but_keyring_error_escapes_from_signed_json_of_another_shape(data: st.DataObject) -> None:
    desk = ApprovalDesk.standard()
    bob = desk.identity("bob")
    target = data.draw(st.sampled_from([desk.document, bob, bob["keys"][0], bob["grants"][0]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(_JSON)
    try:
        verify(desk)
    except KeyringError as exc:
        assert exc.code.startswith("keyring_")


# -- files


def test_files_are_read(desk: ApprovalDesk, tmp_path: Path) -> None:
    paths = desk.write(tmp_path / "desk")
    roots = load_roots([paths["roots"]])
    assert {root.fingerprint for root in roots} == {root.fingerprint for root in desk.root_keys}
    assert verify_keyring(load_keyring(paths["keyring"]), roots=roots, threshold=2, now=NOON).version == 1


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyringError) as caught:
        load_keyring(tmp_path / "keyring.json")
    assert caught.value.code == "keyring_missing"
    for paths in ([tmp_path / "root.pub"], [], [tmp_path]):
        with pytest.raises(KeyringError) as caught:
            load_roots(paths)
        assert caught.value.code == "keyring_roots"


def test_a_root_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "root.pub").write_text("hello")
    with pytest.raises(KeyringError, match=r"root\.pub"):
        load_roots([tmp_path])


def test_the_payload_is_canonical_json(desk: ApprovalDesk) -> None:
    payload = parse_envelope(desk.keyring_bytes).payload
    assert payload == render_canonical(json.loads(payload))
    assert isinstance(desk.root_keys[0], PublicKey)
