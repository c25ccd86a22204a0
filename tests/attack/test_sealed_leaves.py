"""Who breaks the glass, reviews, revokes, holds and prunes is sealed as everybody is, and the gate still knows them."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.approvals.revocations import KeptRevocations, Revocation
from placet.audit.location import open_reader
from placet.audit.log import AuditLog
from placet.audit.person_keys import PersonKeys
from placet.audit.persons import NONCE
from placet.audit.record import SEALED_EVENT_SCHEMA, parse_leaf
from placet.audit.sealer import seal_event
from placet.breakglass.record import LogGlass, StoredGlass
from placet.canonical import Digest
from placet.errors import StoreUnavailable
from placet.messages import render_refusal
from placet.revoked import SOMEBODY, RevocationRecord
from tests.attack.test_break_glass import annotated, let_in, overdue, refused_for, variant
from tests.simulators.desk import NOON
from tests.simulators.gate import GateDesk, example, review
from tests.simulators.tampering import LOG_KEY, ORIGIN

CLUSTER = "prod-eu-1"
ROLES = ("technical", "security", "business", "executive")


@pytest.fixture
def keys(tmp_path: Path) -> PersonKeys:
    (tmp_path / "persons").mkdir()
    (tmp_path / "persons.key").write_bytes(base64.b64encode(bytes(range(32))))
    return PersonKeys.open(tmp_path / "persons", tmp_path / "persons.key", writable=True)


@pytest.fixture
def glass(tmp_path: Path, keys: PersonKeys) -> GateDesk:
    opened = GateDesk.open(tmp_path, persons=keys)
    opened.desk.glass_keepers()
    return opened


def events(desk: GateDesk) -> list[Any]:
    return [body for _, body in desk.log.since("break-glass", 0)]


def destroy(keys: PersonKeys, *names: str) -> None:
    for name in names:
        person = keys.find(name)
        assert person is not None, name
        keys.destroy(person)


def test_no_leaf_of_break_glass_names_anybody_and_the_keys_open_them_all(glass: GateDesk, keys: PersonKeys) -> None:
    carried, token = let_in(glass, reason="p-gina and Hugo@Example.org say so, deployer@example.org waits")
    reviewed = annotated(carried, review=glass.desk.glass_review(token))
    assert glass.decide(review(reviewed, old=carried)).allowed
    used, looked_into = events(glass)
    for body in (used, looked_into):
        assert body["schema"] == SEALED_EVENT_SCHEMA
        assert not any(name in repr(body).casefold() for name in ("gina", "hugo", "rita", "deployer"))
    opened = keys.opener().open(used)
    assert [one["person"] for one in opened["signers"]] == ["p-gina", "p-hugo"]
    assert opened["user"] == "deployer@example.org"
    assert opened["reason"] == "p-gina and hugo@example.org say so, deployer@example.org waits"
    assert keys.opener().open(looked_into)["person"] == "p-rita"


def test_a_party_is_known_by_a_sealed_name_under_another_key_of_theirs(glass: GateDesk) -> None:
    carried, token = overdue(glass)
    glass.desk.add("gwen", roles=["break-glass-review"])
    glass.desk.identity("gwen")["person"] = "p-gina"
    own = annotated(glass.approve(variant(2), *ROLES), review=glass.desk.glass_review(token, by=["gwen"]))
    refused = glass.decide(review(own, old=carried))
    assert refused_for(refused, "review_overdue")
    assert "self_approval" in {note.code for note in refused.notes}
    glass.desk.identity("gwen")["person"] = "p-gwen"
    other = annotated(glass.approve(variant(2), *ROLES), review=glass.desk.glass_review(token, by=["gwen"]))
    assert glass.decide(review(other, old=carried)).allowed


def test_who_deployed_it_is_known_though_sealed(glass: GateDesk) -> None:
    carried, token = glass.let_in(example())
    glass.ledger.permit(carried, "break-glass")
    assert glass.decide(review(carried, username="rita@example.org")).allowed
    glass.desk.now += timedelta(hours=24)
    new = annotated(glass.approve(variant(2), *ROLES), review=glass.desk.glass_review(token))
    refused = glass.decide(review(new, old=carried))
    assert "self_approval" in {note.code for note in refused.notes}


@pytest.mark.parametrize("erased", ["p-gina", "deployer@example.org"])
def test_where_a_party_can_not_be_told_nobody_is_said_to_be_none(
    glass: GateDesk, keys: PersonKeys, erased: str
) -> None:
    carried, token = overdue(glass)
    destroy(keys, erased)
    asked = annotated(glass.approve(variant(2), *ROLES), review=glass.desk.glass_review(token))
    refused = glass.decide(review(asked, old=carried))
    assert refused_for(refused, "review_overdue")
    (note,) = [one for one in refused.notes if one.code == "party_unknown"]
    assert "can't be told" in note.details["sentence"]
    assert render_refusal(refused)
    assert len(events(glass)) == 1


def test_a_restart_reads_what_was_let_in_and_reviewed(glass: GateDesk, keys: PersonKeys, tmp_path: Path) -> None:
    carried, token = overdue(glass)
    fresh = LogGlass(glass.log, cluster=glass.desk.cluster, persons=keys)
    assert [use.token_id for use in fresh.state().open_uses()] == [token.token_id]
    stored = StoredGlass(tmp_path / "record.sqlite", cluster=glass.desk.cluster)
    (unopened,) = stored.opened(stored.state().open_uses())
    assert not unopened.is_told(unopened.requester)
    asked = annotated(carried, review=glass.desk.glass_review(token))
    assert glass.decide(review(asked, old=carried)).allowed
    assert fresh.state().open_uses() == ()


def test_what_can_not_be_sealed_lets_nothing_in(glass: GateDesk, keys: PersonKeys) -> None:
    carried, _ = glass.let_in(example())
    glass.ledger.permit(carried, "break-glass")
    keys.folder.rename(keys.folder.with_name("away"))
    decision = glass.decide(review(carried))
    assert not decision.allowed
    assert events(glass) == []


# -- revocations


def taken_back(number: int, person: str = "p-bob") -> Revocation:
    return Revocation(
        approval_id=f"0a0b0c0d-0000-4000-8000-{number:012d}",
        role="security",
        environment="production",
        person=person,
        statement=Digest.of(b"statement"),
        envelope=b"envelope",
    )


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog.open(tmp_path / "revoked.sqlite", origin=ORIGIN, key=LOG_KEY)


def told(kept: KeptRevocations) -> list[str]:
    return sorted(one.person for one in kept.now)


def test_a_revocation_seals_its_person_and_every_replica_says_who(log: AuditLog, keys: PersonKeys) -> None:
    kept = KeptRevocations()
    kept.add([taken_back(1)])
    list(RevocationRecord(log, kept, cluster=CLUSTER, persons=keys).append_new(NOON))
    ((_, body),) = log.since("revocation", 0)
    assert (body["schema"], "bob" in repr(body)) == (SEALED_EVENT_SCHEMA, False)
    for persons, expected in ((keys, "p-bob"), (None, SOMEBODY)):
        other = KeptRevocations()
        RevocationRecord(log, other, cluster=CLUSTER, persons=persons).learn(NOON)
        assert told(other) == [expected]
    log.close()


def test_an_erasure_takes_the_name_out_of_a_gate_that_runs(log: AuditLog, keys: PersonKeys) -> None:
    kept = KeptRevocations()
    record = RevocationRecord(log, kept, cluster=CLUSTER, persons=keys)
    kept.add([taken_back(1), taken_back(2, "p-carol")])
    list(record.append_new(NOON))
    record.learn(NOON)
    assert told(kept) == ["p-bob", "p-carol"]
    destroy(keys, "p-bob")
    log.append({"schema": "placet.dev/record/v1", "type": "erasure", "time": "2026-11-22T12:00:00.000000Z"})
    record.learn(NOON)
    assert told(kept) == ["p-carol", SOMEBODY], "it goes on revoking, and says no name that would be sealed anew"
    assert keys.find("p-bob") is None
    log.close()


def test_a_revocation_counts_though_its_names_can_not_be_opened_now(log: AuditLog, keys: PersonKeys) -> None:
    first = KeptRevocations()
    first.add([taken_back(1)])
    list(RevocationRecord(log, first, cluster=CLUSTER, persons=keys).append_new(NOON))
    away = keys.folder.rename(keys.folder.with_name("away"))
    kept = KeptRevocations()
    record = RevocationRecord(log, kept, cluster=CLUSTER, persons=keys)
    with pytest.raises(StoreUnavailable):
        record.learn(NOON)
    assert told(kept) == [SOMEBODY]
    away.rename(keys.folder)
    record.learn(NOON + timedelta(seconds=1))
    assert told(kept) == ["p-bob"], "tried again, though nothing new was read"
    log.close()


# -- exemptions, holds, prunes


def test_an_exemption_seals_its_signers_and_their_names_in_its_reason(keys: PersonKeys) -> None:
    body = {
        "schema": "placet.dev/record/v1",
        "type": "exemption",
        "event": "found",
        "reason": "fay@example.org asked, see Zed",
        "ticket": "OPS-1",
        "signers": [{"person": "p-fay", "key": "1"}],
    }
    sealed = seal_event(body, keys, ("fay@example.org", "zed"))
    assert not any(name in repr(sealed).casefold() for name in ("fay", "zed"))
    opened = keys.opener().open(sealed)
    assert (opened["reason"], opened["signers"]) == (
        "fay@example.org asked, see zed",
        [{"person": "p-fay", "key": "1"}],
    )
    assert sealed["ticket"] == "OPS-1"


def test_what_names_nobody_is_as_earlier_releases_wrote_it(keys: PersonKeys) -> None:
    body = {"schema": "placet.dev/record/v1", "type": "hold", "by": "system:serviceaccount:a:b", "reason": "audit"}
    assert seal_event(body, keys, ("sam",)) == body
    assert seal_event(body | {"by": "sam"}, None) == body | {"by": "sam"}
    twice = [seal_event(body | {"by": "sam"}, keys)[NONCE] for _ in range(2)]
    assert twice[0] != twice[1]


def test_a_reason_full_of_names_still_fits_its_leaf(keys: PersonKeys) -> None:
    body = {
        "schema": "placet.dev/record/v1",
        "type": "hold",
        "by": "abe",
        "reason": "abe " * 256,
        "ticket": "abe " * 125,
    }
    sealed = seal_event(body, keys)
    assert "abe" not in repr({name: sealed[name] for name in ("by", "reason", "ticket")})
    assert len(repr(sealed)) < 14_000


def test_the_types_that_a_gate_reads_again_are_refused_by_releases_that_can_not_open_them(
    glass: GateDesk, tmp_path: Path
) -> None:
    let_in(glass)
    with open_reader(tmp_path / "record.sqlite") as reader:
        leaves = [parse_leaf(one.raw_leaf).body for one in reader.leaves(0, 100)]
    kinds = {body["type"]: body["schema"] for body in leaves}
    assert kinds == {"break-glass": "placet.dev/record/v3", "decision": "placet.dev/record/v2"}
