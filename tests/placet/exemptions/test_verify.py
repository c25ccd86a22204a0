"""Each step of the order of verification: what passes, and what one thing wrong in it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from placet.approvals.envelope import render_envelope
from placet.approvals.signing import sign_payload, sign_statement
from placet.canonical import Digest
from placet.exemptions.folder import SignedExemption, check_signed
from placet.exemptions.statement import PAYLOAD_TYPE, render_exemption
from placet.exemptions.verify import MEANINGS, Exemption, ExemptionContext, Unfit, check_exemption
from tests.simulators.desk import ApprovalDesk, sample_workload, signer_of
from tests.simulators.exemptions import add_exempters, exemption_of, sign_exemption

WORKLOAD = sample_workload()
DAY = timedelta(days=1)


@pytest.fixture
def desk() -> ApprovalDesk:
    made = ApprovalDesk.standard()
    add_exempters(made)
    return made


def context(desk: ApprovalDesk, **changes: Any) -> ExemptionContext:
    fields: dict[str, Any] = {
        "cluster": desk.cluster,
        "environment": desk.environment,
        "namespace": WORKLOAD.namespace,
        "projection": WORKLOAD.projection.digest,
        "images": WORKLOAD.images,
        "grade": "no",
        "requester": "deployer@example.org",
        "now": desk.now,
        "max_days": 90,
        "persons": 1,
        "persons_for_models": 2,
    }
    return ExemptionContext(**(fields | changes))


def check(
    desk: ApprovalDesk,
    *,
    by: str | Sequence[str] = "fay",
    situation: dict[str, Any] | None = None,
    made_of_it: bool = False,
    **terms: Any,
) -> Exemption | Unfit:
    raw = sign_exemption(desk, exemption_of(desk, WORKLOAD, **terms), by=by)
    return hold(desk, raw, made_of_it=made_of_it, **(situation or {}))


def hold(desk: ApprovalDesk, raw: bytes, *, made_of_it: bool = False, **situation: Any) -> Exemption | Unfit:
    read = check_signed(raw, keyring=desk.keyring)
    assert not isinstance(read, str), read
    signed = SignedExemption(*read, "x")
    return check_exemption(signed, keyring=desk.keyring, context=context(desk, **situation), made_of_it=made_of_it)


def code(found: Exemption | Unfit) -> str:
    assert isinstance(found, Unfit), found
    assert found.code in MEANINGS
    assert found.sentence
    return found.code


def test_one_person_with_the_grant_exempts_what_serves_no_model(desk: ApprovalDesk) -> None:
    found = check(desk)
    assert isinstance(found, Exemption)
    assert (found.persons, found.detection, found.expires) == (("p-fay",), "no", desk.now + 30 * DAY)


@pytest.mark.parametrize(
    ("terms", "situation", "wrong"),
    [
        ({"clusters": ("other",)}, {}, "exemption_other_cluster"),
        ({}, {"projection": Digest.of(b"another")}, "exemption_content_differs"),
        ({}, {"grade": "suspected"}, "exemption_model"),
        ({}, {"grade": "serves_model"}, "exemption_model"),
        ({"detection": "suspected", "by": ("fay", "gus")}, {"grade": "serves_model"}, "exemption_model"),
        ({"lifetime": 91 * DAY}, {}, "exemption_too_long"),
        ({}, {"max_days": 29}, "exemption_too_long"),
        ({"by": "bob"}, {}, "exemption_not_granted"),
        ({"by": "ci"}, {}, "exemption_not_granted"),
        ({"detection": "serves_model", "by": ("hal", "bob")}, {}, "exemption_not_granted"),
        ({"detection": "serves_model"}, {"grade": "serves_model"}, "exemption_persons_missing"),
        ({"detection": "serves_model", "by": ("fay", "hal")}, {"grade": "serves_model"}, "exemption_persons_missing"),
        ({"detection": "suspected"}, {"grade": "suspected"}, "exemption_persons_missing"),
        ({}, {"persons": 2}, "exemption_persons_missing"),
        ({}, {"requester": "fay@example.org"}, "exemption_persons_missing"),
        ({}, {"requester": "P-FAY"}, "exemption_persons_missing"),
        ({"detection": "suspected", "by": ("fay", "gus")}, {"requester": "p-gus"}, "exemption_persons_missing"),
    ],
)
def test_one_thing_that_is_wrong_refuses(
    desk: ApprovalDesk, terms: dict[str, Any], situation: dict[str, Any], wrong: str
) -> None:
    assert code(check(desk, situation=situation, **terms)) == wrong


@pytest.mark.parametrize("grade", ["no", "suspected", "serves_model"])
def test_two_persons_exempt_what_detection_recognises_when_they_say_so(desk: ApprovalDesk, grade: str) -> None:
    found = check(desk, detection="serves_model", by=("fay", "gus"), situation={"grade": grade})
    assert isinstance(found, Exemption)
    assert found.persons == ("p-fay", "p-gus")


def test_two_keys_of_one_person_are_one_person(desk: ApprovalDesk) -> None:
    desk.add("fay-at-work", roles=["exempt"], person="P-Fay")
    by = ("fay", "fay-at-work")
    found = check(desk, detection="suspected", by=by, situation={"grade": "suspected"})
    assert code(found) == "exemption_persons_missing"


def test_an_image_by_its_tag_needs_a_word_of_its_own(desk: ApprovalDesk) -> None:
    loose = {"images": (replace(WORKLOAD.images[0], digest=None, tag="1"),)}
    assert code(check(desk, situation=loose)) == "exemption_image_unpinned"
    assert isinstance(check(desk, images="as_named", situation=loose), Exemption)


@pytest.mark.parametrize(
    ("name", "other"),
    [("environments", ["staging"]), ("namespaces", ["kube-public"]), ("models", ["llama"])],
)
def test_the_grant_must_reach_the_place(desk: ApprovalDesk, name: str, other: list[str]) -> None:
    desk.grant("fay", "exempt")[name] = other
    assert code(check(desk)) == "exemption_not_granted"


def test_it_holds_from_its_first_moment_and_no_longer_at_its_last(desk: ApprovalDesk) -> None:
    said = exemption_of(desk, WORKLOAD, not_before=desk.now + DAY, expires=desk.now + 2 * DAY)
    raw = sign_exemption(desk, said)
    tick = timedelta(microseconds=1)
    assert code(hold(desk, raw, now=desk.now + DAY - tick)) == "exemption_not_yet_valid"
    assert isinstance(hold(desk, raw, now=desk.now + DAY), Exemption)
    assert isinstance(hold(desk, raw, now=desk.now + 2 * DAY - tick), Exemption)
    assert code(hold(desk, raw, now=desk.now + 2 * DAY)) == "exemption_expired"


def test_the_keyring_takes_it_back(desk: ApprovalDesk) -> None:
    desk.document["revokedApprovals"] = [exemption_of(desk, WORKLOAD).exemption_id]
    assert code(check(desk)) == "exemption_withdrawn"
    assert code(check(desk, made_of_it=True)) == "exemption_withdrawn"


def test_what_was_made_of_it_outlives_its_end(desk: ApprovalDesk) -> None:
    raw = sign_exemption(desk, exemption_of(desk, WORKLOAD))
    later: dict[str, Any] = {"now": desk.now + 300 * DAY}
    assert code(hold(desk, raw, **later)) == "exemption_expired"
    assert isinstance(hold(desk, raw, made_of_it=True, **later), Exemption)
    assert code(hold(desk, raw, made_of_it=True, projection=Digest.of(b"2"), **later)) == "exemption_content_differs"


def test_it_ends_with_the_key_that_it_rests_on(desk: ApprovalDesk) -> None:
    desk.identity("fay")["keys"][0]["validUntil"] = "2026-12-01T00:00:00Z"
    found = check(desk)
    assert isinstance(found, Exemption)
    assert found.expires.isoformat() == "2026-12-01T00:00:00+00:00"
    raw = sign_exemption(desk, exemption_of(desk, WORKLOAD))
    assert code(hold(desk, raw, now=found.expires)) == "exemption_expired"
    assert isinstance(hold(desk, raw, now=found.expires, made_of_it=True), Exemption)


@pytest.mark.parametrize("made_of_it", [False, True])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda desk: desk.revoke_key("fay", at=desk.now + DAY, how="compromised"),
        lambda desk: desk.revoke_key("fay", at=desk.now - DAY, how="superseded"),
    ],
)
def test_a_key_in_wrong_hands_exempts_nothing(
    desk: ApprovalDesk, made_of_it: bool, spoil: Callable[[ApprovalDesk], None]
) -> None:
    spoil(desk)
    assert code(check(desk, made_of_it=made_of_it)) == "exemption_key"


def unread(desk: ApprovalDesk, raw: bytes) -> str:
    read = check_signed(raw, keyring=desk.keyring)
    assert isinstance(read, str)
    return read


def test_a_stranger_exempts_nothing(desk: ApprovalDesk) -> None:
    payload = render_exemption(exemption_of(desk, WORKLOAD))
    raw = render_envelope(sign_payload(signer_of("mallory"), payload, PAYLOAD_TYPE))
    assert "no key of the keyring" in unread(desk, raw)


def test_nothing_that_was_signed_for_another_purpose_exempts(desk: ApprovalDesk) -> None:
    payload = render_exemption(exemption_of(desk, WORKLOAD))
    assert PAYLOAD_TYPE in unread(desk, render_envelope(sign_statement(desk.signers["fay"], payload)))
    renamed = replace(sign_statement(desk.signers["fay"], payload), payload_type=PAYLOAD_TYPE)
    assert "the signature is not one of key" in unread(desk, render_envelope(renamed))


def test_every_flip_of_a_bit_is_refused(desk: ApprovalDesk) -> None:
    raw = sign_exemption(desk, exemption_of(desk, WORKLOAD))
    good = check_signed(raw, keyring=desk.keyring)
    assert not isinstance(good, str)
    keyring = desk.keyring
    for place in range(0, len(raw), 7):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        read = check_signed(changed, keyring=keyring)
        # The keyid is a hint that nobody signs.
        assert isinstance(read, str) or read == good
