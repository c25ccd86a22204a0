"""Tokens and reviews have one form; any other bytes are refused with a code, and nothing else escapes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals.envelope import parse_annotation, render_annotation
from placet.approvals.revocations import Revocations
from placet.breakglass.state import parse_event
from placet.breakglass.statement import (
    LONGEST,
    parse_break_glass_review,
    parse_token,
    render_break_glass_review,
    render_token,
)
from placet.breakglass.verify import RejectedToken, VerifiedToken, check_token
from placet.canonical import render_canonical
from placet.errors import FormatError
from tests.golden.breakglass.build import FOLDER, WORKLOAD, context_of, glass_desk

TOKEN = (FOLDER / "token.statement.json").read_bytes()
REVIEW = (FOLDER / "review.statement.json").read_bytes()
LEAVES = [json.loads((FOLDER / name).read_bytes().partition(b"\n")[2]) for name in ("used.leaf", "reviewed.leaf")]
DESK = glass_desk()
KEYRING = DESK.keyring
CODES = {"statement_malformed", "statement_type", "predicate_type"}


def changed(raw: bytes, path: str, value: Any) -> bytes:
    """The statement with one member of its predicate set, or taken out with ``...``."""
    document = json.loads(raw)
    holder = document["predicate"]
    *steps, last = path.split(".")
    for step in steps:
        holder = holder[step]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return render_canonical(document)


def test_what_is_written_reads_back() -> None:
    assert render_token(parse_token(TOKEN)) == TOKEN
    assert render_break_glass_review(parse_break_glass_review(REVIEW)) == REVIEW


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tokenId", "x"),
        ("tokenId", ...),
        ("reason", ""),
        ("reason", "   "),
        ("reason", ...),
        ("reason", "x" * 1025),
        ("reason", "a\nb"),
        ("environment", "Production"),
        ("audience.workload", "Deployment/llama-*"),
        ("audience.workload", "llama"),
        ("audience.cluster", ["prod-eu-1"]),
        ("audience.namespaces", ["ml"]),
        ("replicas", -1),
        ("replicas", True),
        ("replicas", None),
        ("expires", "2026-11-22T12:00:00Z"),
        ("expires", "2026-11-23T12:00:01Z"),
        ("expires", "2026-11-22T13:00:00+00:00"),
        ("decision", "approve"),
        ("role", "security"),
    ],
)
def test_a_token_of_another_form_is_refused(path: str, value: Any) -> None:
    with pytest.raises(FormatError) as caught:
        parse_token(changed(TOKEN, path, value))
    assert caught.value.code == "statement_malformed"


@pytest.mark.parametrize(
    ("path", "value"),
    [("conclusion", ""), ("conclusion", " "), ("conclusion", ...), ("reviewId", "1"), ("audience.namespace", "ml")],
)
def test_a_review_of_another_form_is_refused(path: str, value: Any) -> None:
    with pytest.raises(FormatError) as caught:
        parse_break_glass_review(changed(REVIEW, path, value))
    assert caught.value.code == "statement_malformed"


@pytest.mark.parametrize("name", ["projection", "break-glass:", "break-glass:x", "break-glass:" + "A" * 26])
def test_a_review_names_tokens_and_nothing_else(name: str) -> None:
    document = json.loads(REVIEW)
    document["subject"][0]["name"] = name
    with pytest.raises(FormatError):
        parse_break_glass_review(render_canonical(document))


def test_neither_is_read_as_the_other() -> None:
    for read, raw in ((parse_token, REVIEW), (parse_break_glass_review, TOKEN)):
        with pytest.raises(FormatError) as caught:
            read(raw)
        assert caught.value.code == "predicate_type"


def test_nothing_unreadable_is_signed() -> None:
    token = DESK.token(WORKLOAD)
    for wrong in (
        {"reason": ""},
        {"expires": token.issued_at + LONGEST + timedelta(seconds=1)},
        {"workload": "Job/train-*"},
    ):
        with pytest.raises(FormatError):
            render_token(replace(token, **wrong))


@given(st.data())
def test_no_changed_byte_of_a_token_counts(data: st.DataObject) -> None:
    raw = (FOLDER / "token.annotation").read_text(encoding="ascii")
    index = data.draw(st.integers(0, len(raw) - 1))
    other = data.draw(st.characters(max_codepoint=0x17F))
    text = raw[:index] + other + raw[index + 1 :]
    found = check_token(text, keyring=KEYRING, revocations=Revocations.none(), context=context_of(DESK))
    # A keyid is a hint: what can be changed is that alone.
    assert isinstance(found, RejectedToken) or parse_annotation(text).payload == TOKEN


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
def test_other_bytes_that_both_have_signed_are_refused(payload: bytes) -> None:
    for payload_type in ("application/vnd.placet.break-glass.v1+json", "application/vnd.in-toto+json"):
        text = DESK.seal_as(payload, payload_type, by=["gina", "hugo"])
        found = check_token(text, keyring=KEYRING, revocations=Revocations.none(), context=context_of(DESK))
        assert isinstance(found, RejectedToken)
        assert found.refusal.code in CODES | {"payload_type"}


def test_signatures_in_any_order_and_with_strangers_among_them_are_counted_once() -> None:
    DESK.signers.setdefault("mallory", DESK.signers["ci"])
    envelope = parse_annotation(DESK.break_glass(DESK.token(WORKLOAD), by=["ci", "hugo", "gina"]))
    doubled = replace(envelope, signatures=(*reversed(envelope.signatures), *envelope.signatures))
    text = render_annotation(doubled)
    found = check_token(text, keyring=KEYRING, revocations=Revocations.none(), context=context_of(DESK))
    assert isinstance(found, VerifiedToken)
    assert sorted(one.person for one in found.signers) == ["p-gina", "p-hugo"]


@pytest.mark.parametrize("leaf", LEAVES, ids=["used", "reviewed"])
def test_a_leaf_that_lacks_what_decides_is_refused(leaf: dict[str, Any]) -> None:
    needed = {"token_id", "token", "time", "review_due", "environment", "namespace", "kind", "name", "projection",
              "model", "signers", "user", "reason", "review_id", "tokens", "reviewed"}  # fmt: skip
    for name in needed & leaf.keys() - ({"time"} if leaf["event"] == "reviewed" else set()):
        for value in (None, 1, [1], ...):
            body = {key: one for key, one in leaf.items() if key != name or value is not ...}
            if value is not ...:
                body[name] = value
            if name == "user" and value is not ...:
                continue
            with pytest.raises(FormatError):
                parse_event(body)
    assert parse_event({**leaf, "event": "of a later release"}) is None
