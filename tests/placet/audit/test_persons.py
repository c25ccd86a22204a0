"""Sealed names: they open under their key, in their record, and nowhere else."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.persons import (
    NONCE,
    derive_salt,
    find_nonce,
    find_raw_nonce,
    find_sealed,
    is_person,
    open_with,
    render_sealed,
    seal,
)
from placet.audit.record import SCHEMA, SEALED_SCHEMA
from placet.canonical import render_canonical

KEY = bytes(range(32))
NONCE_BYTES = bytes(range(16))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    TEXTS | st.integers(-5, 5) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def test_the_bytes_are_those_of_the_documentation() -> None:
    salt = hmac.new(KEY, b"placet.dev/person-salt/v1\n" + NONCE_BYTES, hashlib.sha256).digest()
    commitment = hashlib.sha256(b"placet.dev/person/v1\n" + salt + "Zoë@example.org".encode()).hexdigest()
    assert seal(KEY, NONCE_BYTES, "Zoë@example.org") == f"sealed:{NONCE_BYTES.hex()}:{commitment}"
    assert render_sealed(salt, NONCE_BYTES, "Zoë@example.org") == seal(KEY, NONCE_BYTES, "Zoë@example.org")


def test_one_name_is_one_text_in_a_record_and_another_one_everywhere_else() -> None:
    names = {seal(key, nonce, name) for key in (KEY, KEY[::-1]) for nonce in (KEY[:16], KEY[16:]) for name in "ab"}
    assert len(names) == 8
    assert derive_salt(KEY, NONCE_BYTES) != derive_salt(KEY, NONCE_BYTES[::-1])


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("alice@example.org", True),
        ("kubernetes-admin", True),
        ("", False),
        ("system:serviceaccount:ml:deployer", False),
        ("system:admin", False),
        (" system:x", True),
    ],
)
def test_what_kubernetes_keeps_for_itself_is_no_person(name: str, person: bool) -> None:
    assert is_person(name) is person


@pytest.mark.parametrize(
    "body",
    [
        {"schema": SCHEMA, NONCE: NONCE_BYTES.hex()},
        {"schema": SEALED_SCHEMA},
        {"schema": SEALED_SCHEMA, NONCE: 7},
        {"schema": SEALED_SCHEMA, NONCE: "0" * 31},
        {"schema": SEALED_SCHEMA, NONCE: "A" * 32},
        {"schema": SEALED_SCHEMA, NONCE: "0" * 32 + "\n"},
    ],
)
def test_what_has_no_nonce_of_that_form_is_not_sealed(body: dict[str, Any]) -> None:
    assert find_nonce(body) is None


def test_a_text_can_not_pass_for_the_nonce_of_its_record() -> None:
    body = {"a": f'"{NONCE}":"{"f" * 32}"', "schema": SEALED_SCHEMA, NONCE: NONCE_BYTES.hex(), "z": NONCE}
    raw = render_canonical(body)
    assert find_raw_nonce(raw) == find_nonce(body) == NONCE_BYTES
    assert find_raw_nonce(render_canonical({"a": body["a"]})) is None


def test_what_somebody_wrote_in_this_form_is_not_found_with_another_nonce() -> None:
    sealed, words = seal(KEY, NONCE_BYTES, "alice"), seal(KEY, NONCE_BYTES[::-1], "alice")
    value = {"user": sealed, "message": f"by {sealed}, image {words}"}
    assert list(find_sealed(value, NONCE_BYTES)) == [sealed, sealed]
    assert open_with(value, {sealed: "alice"}) == {"user": "alice", "message": f"by alice, image {words}"}


@given(JSON)
def test_a_value_without_sealed_names_stays_as_it_is(value: Any) -> None:
    assert open_with(value, {seal(KEY, NONCE_BYTES, "a"): "b"}) == value
    assert list(find_sealed(value, NONCE_BYTES)) == []


@given(TEXTS.filter(bool), TEXTS, TEXTS)
def test_a_name_of_any_characters_opens_within_any_text(name: str, before: str, after: str) -> None:
    sealed = seal(KEY, NONCE_BYTES, name)
    assert list(find_sealed([f"{before}{sealed} {after}"], NONCE_BYTES)) == [sealed]
    assert open_with(f"{before}{sealed} {after}", {sealed: name}) == f"{before}{name} {after}"
