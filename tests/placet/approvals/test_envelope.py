from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approvals.envelope import (
    MAX_ENVELOPE_BYTES,
    Envelope,
    Signature,
    pae,
    parse_annotation,
    parse_envelope,
    render_annotation,
    render_envelope,
)
from placet.errors import FormatError

GOOD = {"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": [{"keyid": "k", "sig": "AAAA"}]}


def raw(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in (GOOD | changes).items() if value is not ...}).encode()


def test_reads_what_it_writes() -> None:
    envelope = Envelope(b"{}", "application/vnd.in-toto+json", (Signature("k", b"\0\0\0"), Signature("", b"x")))
    assert parse_envelope(render_envelope(envelope)) == envelope
    assert parse_annotation(render_annotation(envelope)) == envelope


def test_pae_is_that_of_the_dsse_specification() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, test vector
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes_and_not_characters() -> None:
    assert pae("é", "ü".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xbc"


def test_a_keyid_may_be_absent() -> None:
    assert parse_envelope(raw(signatures=[{"sig": "AAAA"}])).signatures == (Signature("", b"\0\0\0"),)


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": ...},
        {"payloadType": ...},
        {"signatures": ...},
        {"extra": 1},
        {"payload": 1},
        {"payload": "e30"},
        {"payload": "e31="},
        {"payload": "e3 0="},
        {"payload": "e30=\n"},
        {"payload": "_-__"},
        {"payloadType": ""},
        {"payloadType": None},
        {"payloadType": "a\nb"},
        {"signatures": []},
        {"signatures": {}},
        {"signatures": [{"sig": "AAAA"}] * 9},
        {"signatures": [{"sig": ""}]},
        {"signatures": [{"sig": "A" * 1372}]},
        {"signatures": [{"keyid": 1, "sig": "AAAA"}]},
        {"signatures": [{"keyid": "k"}]},
        {"signatures": [{"keyid": "k", "sig": "AAAA", "cert": "x"}]},
        {"signatures": ["AAAA"]},
    ],
)
def test_refuses_what_is_not_of_the_one_form(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError) as caught:
        parse_envelope(raw(**changes))
    assert caught.value.code == "envelope_malformed"


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xef\xbb\xbf{}", b"\xff", b'{"payload":"","payload":""}'])
def test_refuses_what_is_no_object(content: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_envelope(content)
    assert caught.value.code == "envelope_malformed"


def test_refuses_by_size_before_it_reads() -> None:
    with pytest.raises(FormatError) as caught:
        parse_envelope(b" " * (MAX_ENVELOPE_BYTES + 1))
    assert caught.value.code == "too_large"
    with pytest.raises(FormatError) as caught:
        parse_annotation("!" * (MAX_ENVELOPE_BYTES * 2))
    assert caught.value.code == "too_large"


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_nothing_but_format_error_escapes(content: bytes) -> None:
    with contextlib.suppress(FormatError):
        parse_envelope(content)
    with contextlib.suppress(FormatError):
        parse_annotation(base64.b64encode(content).decode())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from([*GOOD, "other"]), _JSON)
def test_nothing_but_format_error_escapes_from_json_of_another_shape(name: str, value: object) -> None:
    try:
        parse_envelope(raw(**{name: value}))
    except FormatError:
        return
