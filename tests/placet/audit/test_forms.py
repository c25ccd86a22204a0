"""A form says of a leaf what reading it strictly says, or nothing: over leaves that were made, and that were hurt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from placet.audit.forms import MAX_FORMS, Form, Forms
from placet.audit.patterns import Asked, NotAForm, ask_all, ask_columns, ask_little
from placet.audit.record import (
    MAX_LEAF_BYTES,
    SEALED_SCHEMA,
    attachment_digests,
    parse_body,
    render_leaf,
    search_values,
)
from placet.audit.stores.reader import COLUMNS
from placet.errors import AuditError, FormatError
from tests.simulators.tampering import decision

HEARTBEAT = {
    "schema": "placet.dev/record/v1",
    "type": "heartbeat",
    "time": "2026-11-22T18:00:00.000000Z",
    "interval_s": 600,
}
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_SCALAR = st.one_of(_TEXT, st.booleans(), st.none(), st.integers(-(2**53) + 1, 2**53 - 1))
_VALUE = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_NAMES = (
    "violations", "model", "approved", "cluster", "name", "user", "projection", "spooled", "input_digest", "x_digest",
    "model name", "model.name", "_digest", "request_digest", "uid", "time", "allowed", "schema", "type", "risk",
    "person_nonce",
)  # fmt: skip
_CHANGES = st.dictionaries(st.sampled_from(_NAMES) | _TEXT, _VALUE, max_size=4)
_VIOLATION = st.fixed_dictionaries(
    {"rule": _TEXT, "code": st.sampled_from(["a", "b|c", ""])}, optional={"object": _TEXT}
)
_BODIES = st.builds(
    lambda number, violations, changes: decision(number) | {"violations": violations} | changes,
    st.integers(0, 7),
    st.lists(_VIOLATION, max_size=3),
    _CHANGES,
)


class Said(NamedTuple):
    """Of a leaf its search columns, the digests of its attachments, and whether it was spooled."""

    values: tuple[Any, ...]
    digests: dict[str, str]
    spooled: bool


def read(forms: Forms, raw: bytes) -> Said | None:
    """What a form says; None where none fits."""
    fitted, left = forms.fit([raw])
    assert len(left) + sum(len(one.places) for one in fitted) == 1
    if left:
        return None
    form, groups = fitted[0].form, fitted[0].by_group()
    (values,) = zip(*form.columns(groups, 1), strict=True)
    assert form.times(groups) == (values[COLUMNS.index("time")],)
    return Said(values, {name: groups[number][0] for name, number in form.digests}, form.spooled)


def strictly(raw: bytes) -> Said | None:
    """What the strict way says; None where it refuses."""
    try:
        body = parse_body(raw)
        return Said(search_values(body), attachment_digests(body), "spooled" in body)
    except FormatError:
        return None


def taught(*raws: bytes) -> Forms:
    """Forms of these leaves."""
    forms = Forms(patience=0)
    for raw in raws:
        forms._patience = 0
        forms.learn(parse_body(raw))
    return forms


def leaf(body: dict[str, Any]) -> bytes | None:
    """Bytes of a leaf that is read strictly, or None where there is none of this body."""
    try:
        raw = render_leaf(body).raw
    except AuditError:
        return None
    return raw if strictly(raw) else None


def hurt(raw: bytes) -> st.SearchStrategy[bytes]:
    """Leaves that differ from this one in a few bytes."""
    pieces = [b"", b'"', b"\\", b"\n", b" ", b"0", b"-", b"1.5", b"1e3", b",", b"{}", b"\x7f", b"\xc3\xa9", b"\xff"]
    pieces += [b'"a":1,', b"[[]]", b"null", b"true", b"\x00", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"9" * 16]

    def changed(start: int, length: int, piece: bytes) -> bytes:
        return raw[:start] + piece + raw[start + length :]

    place = st.integers(0, len(raw))
    return st.builds(changed, place, st.integers(0, 3), st.sampled_from(pieces))


def test_a_form_says_what_the_leaf_says_that_it_was_made_of() -> None:
    raw = render_leaf(decision(4, spooled=True)).raw

    said = read(taught(raw), raw)

    assert said == strictly(raw)
    assert said is not None
    assert said.spooled
    assert said.digests.keys() == {"input", "request"}


def test_a_form_of_a_leaf_with_sealed_names_fits_such_leaves_alone() -> None:
    raws = [
        render_leaf(decision(number, schema=SEALED_SCHEMA, person_nonce=f"{number:032x}", user=f"sealed:{number}")).raw
        for number in (4, 5)
    ]
    forms = taught(raws[0])

    for raw in raws:
        said = read(forms, raw)
        assert said is not None
        assert said == strictly(raw)
    for other in (b"v1", b"v3"):
        assert read(forms, raws[1].replace(b"placet.dev/record/v2", b"placet.dev/record/" + other)) is None


def test_a_form_says_every_search_column() -> None:
    raw = render_leaf(decision(4)).raw

    said = read(taught(raw), raw)

    assert said is not None
    assert len(said.values) == len(COLUMNS)


def test_a_form_fits_leaves_with_other_texts_numbers_and_lengths_of_lists() -> None:
    forms = taught(render_leaf(decision(4)).raw)
    other = render_leaf(
        decision(
            5,
            violations=[{"rule": "r", "code": "c"}, {"rule": "s", "code": "c"}],
            latency_us=-17,
            user="Jörg \u2028 \U0001f600",
            required_roles=[],
            images=[],
        )
    ).raw

    assert read(forms, other) == strictly(other)
    assert read(forms, other) is not None


@given(_BODIES, _BODIES)
def test_a_form_of_one_leaf_says_of_another_what_reading_it_says(first: dict[str, Any], second: dict[str, Any]) -> None:
    made, other = leaf(first), leaf(second)
    assume(made and other)
    assert made
    assert other

    forms = taught(made)

    for raw in (made, other):
        said = read(forms, raw)
        assert said is None or said == strictly(raw)


@given(st.data(), _BODIES)
def test_what_the_strict_way_refuses_fits_no_form(data: st.DataObject, body: dict[str, Any]) -> None:
    raw = leaf(body)
    assume(raw)
    assert raw
    forms = taught(raw)

    for _ in range(20):
        changed = data.draw(hurt(raw))
        said = read(forms, changed)
        assert said is None or said == strictly(changed)


@given(st.data(), st.lists(_BODIES, min_size=1, max_size=3))
def test_leaves_are_read_together_as_one_by_one(data: st.DataObject, bodies: list[dict[str, Any]]) -> None:
    raws = [raw for raw in map(leaf, bodies) if raw]
    assume(raws)
    changed = [data.draw(hurt(data.draw(st.sampled_from(raws)))) for _ in range(4)]
    leaves = data.draw(st.permutations([*raws, *changed, render_leaf(HEARTBEAT).raw]))

    fitted, left = taught(*raws).fit(leaves)

    found: list[Said | None] = [None] * len(leaves)
    for one in fitted:
        columns = one.form.columns(one.by_group(), len(one.places))
        for place, values in zip(one.places, zip(*columns, strict=True), strict=True):
            digests = {name: one.by_group()[number][one.places.index(place)] for name, number in one.form.digests}
            assert found[place] is None
            found[place] = Said(values, digests, one.form.spooled)
    assert sorted([*left, *(place for one in fitted for place in one.places)]) == list(range(len(leaves)))
    for raw, said in zip(leaves, found, strict=True):
        assert said is None or said == strictly(raw)
        assert said is None or said == read(taught(*raws), raw)


@pytest.mark.parametrize("asked", [ask_all, ask_columns, ask_little])
def test_whatever_is_asked_the_same_leaves_fit(asked: Asked) -> None:
    raw = render_leaf(decision(4, message="a", approvals=[{"role": "x"}])).raw
    forms = Forms(patience=0, asked=asked)
    forms.learn(parse_body(raw))

    for changed in (raw, *itertools.islice(_every_byte_changed(raw), 0, None, 7)):
        fitted, left = forms.fit([changed])
        assert (left == []) == (read(taught(raw), changed) is not None)
        if fitted:
            body = parse_body(changed)
            assert fitted[0].form.times(fitted[0].by_group()) == (body["time"],)
            assert fitted[0].form.answers(fitted[0].by_group()) == (int(body["allowed"]),)


def _every_byte_changed(raw: bytes) -> Iterator[bytes]:
    for place, byte in enumerate(raw):
        for other in {byte ^ 1, byte ^ 0x20, 0x22, 0x5C, 0x0A, 0x30, 0x2D, 0x2E} - {byte}:
            yield raw[:place] + bytes([other]) + raw[place + 1 :]
        yield raw[:place] + raw[place + 1 :]
        yield raw[:place] + bytes([byte, byte]) + raw[place + 1 :]


def test_every_change_of_one_byte_is_read_as_the_strict_way_reads_it() -> None:
    raw = render_leaf(decision(4, rejected=[{"n": 0, "m": None, "t": ["x"]}, {"n": -5, "m": None, "t": []}])).raw
    forms = taught(raw)
    fitted = 0

    for changed in _every_byte_changed(raw):
        said = read(forms, changed)
        fitted += said is not None
        assert said is None or said == strictly(changed)

    assert fitted > 1000  # within texts, mostly


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"latency_us":1500', b'"latency_us":01500'),
        (b'"latency_us":1500', b'"latency_us":-0'),
        (b'"latency_us":1500', b'"latency_us":1.5'),
        (b'"latency_us":1500', b'"latency_us":1e3'),
        (b'"latency_us":1500', b'"latency_us":9007199254740992'),
        (b'"images":[]', b'"images":[,]'),
        (b'"granted_roles":["technical"]', b'"granted_roles":["technical",]'),
        (b'"granted_roles":["technical"]', b'"granted_roles":["technical""x"]'),
        (b'"granted_roles":["technical"]', b'"granted_roles":[,"technical"]'),
        (b'"granted_roles":["technical"]', b'"granted_roles":["technical"'),
        (b'"mode":"enforce"', b'"mode":"enf\x1frce"'),
        (b'"mode":"enforce"', b'"mode":"enf\\u006frce"'),
        (b'"mode":"enforce"', b'"mode":"\xff"'),
        (b'"mode":"enforce"', b'"mode":"\xed\xa0\x80"'),
        (b'"mode":"enforce"', b'"mode":"enforce","mode":"enforce"'),
        (b'"mode":"enforce"', b'"mode": "enforce"'),
        (b'"time":"2026', b'"time":"20x6'),
        (b'"uid":"uid-4"', b'"uid":""'),
        (b'"request_digest":"sha256:', b'"request_digest":"sha512:'),
        (b"decision\n", b"decision\n\n"),
        (b"decision\n", b"decision"),
        (b'"type":"decision"', b'"type":"keyring"'),
        (b'"schema":"placet.dev', b'"schema":"placetXdev'),
    ],
)
def test_a_form_fits_nothing_that_is_malformed(old: bytes, new: bytes) -> None:
    raw = render_leaf(decision(4)).raw
    changed = raw.replace(old, new)
    assert changed != raw

    assert strictly(changed) is None
    assert read(taught(raw), changed) is None


def test_a_leaf_that_is_too_large_fits_no_form() -> None:
    raw = render_leaf(decision(4)).raw
    large = raw.replace(b'"mode":"enforce"', b'"mode":"%s"' % (b"x" * MAX_LEAF_BYTES))

    assert strictly(large) is None
    assert read(taught(raw), large) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sp ace": 1},
        {"é": 1},
        {"deep": [[[[[[[[["x"]]]]]]]]]},
        {"mixed": [1, "a", None]},
        {"model": {"na me": "x"}},
        {"many": {f"member-{number}": [{"a": 1}] for number in range(1000)}},
    ],
)
def test_of_what_is_out_of_the_common_no_form_is_made(changes: dict[str, Any]) -> None:
    with pytest.raises(NotAForm):
        Form(json.loads(render_leaf(decision(4, **changes)).raw.partition(b"\n")[2]), ask_all)


def test_few_forms_are_made_and_kept() -> None:
    forms = Forms(patience=2)
    raws = [render_leaf(decision(4, **{f"member_{number}": 1})).raw for number in range(5000)]
    for raw in raws:
        assert read(forms, raw) is None
        forms.learn(parse_body(raw))

    assert 5 < len(forms._forms) <= MAX_FORMS  # each took twice as many as the one before


def test_the_form_that_fitted_last_is_tried_first() -> None:
    raws = [render_leaf(decision(4, **{f"member_{number}": 1})).raw for number in range(3)]
    forms = taught(*raws)

    assert read(forms, raws[0]) == strictly(raws[0])
    first = forms._forms[0]
    assert read(forms, raws[0]) == strictly(raws[0])
    assert forms._forms[0] is first


@example(violations=[{"rule": "a", "code": "b"}] * 40)
@given(violations=st.lists(_VIOLATION, max_size=4))
def test_the_column_of_violations_is_that_of_the_strict_way(violations: list[dict[str, str]]) -> None:
    raw = render_leaf(decision(4, violations=violations)).raw

    said = read(taught(raw), raw)

    assert said is None or said == strictly(raw)
