"""Names of persons in the record of a decision: sealed, told to whoever may know, proved, and gone once erased."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from placet.audit.person_keys import PersonKeys
from placet.audit.persons import SEALED, render_sealed
from placet.audit.record import SEALED_SCHEMA, parse_leaf
from placet.audit.stores.file import open_readonly
from placet.canonical import parse_json, render_canonical
from placet.dossier.file import render_file, verify_file
from placet.dossier.judge import judge_case
from placet.dossier.verdict import Outcome
from placet.errors import FormatError, StoreUnavailable, TamperError
from placet.kept import collect_attachments
from placet.messages import render_refusal
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from placet.sealing import Sealing
from placet.spool.denial import parse_denial
from placet.spool.recorder import SpoolingRecorder
from placet.spool.spool import Spool
from placet.workload import read_workload
from tests.simulators.cases import KEYS, ROLES, CaseDesk, index_of
from tests.simulators.gate import example, review

ZOE = "zoe@example.org"
PLAIN: dict[str, Any] = {"approvals": [], "message": "", "advice": []}
ELSEWHERE = {
    render_sealed(bytes(32), bytes(16), "a"): {"name": "a", "salt": "00" * 32},
}


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    opened = EmbeddedEngine.default(load_policy_data(None))
    yield opened
    opened.close()


@pytest.fixture
def keys(tmp_path: Path) -> PersonKeys:
    (tmp_path / "persons").mkdir()
    (tmp_path / "persons.key").write_bytes(base64.b64encode(bytes(range(32))))
    return PersonKeys.open(tmp_path / "persons", tmp_path / "persons.key", writable=True)


@pytest.fixture
def desk(tmp_path: Path, engine: EmbeddedEngine, keys: PersonKeys) -> Iterator[CaseDesk]:
    opened = CaseDesk.start(tmp_path, engine=engine, persons=keys)
    yield opened
    opened.log.close()


def stored(desk: CaseDesk, index: int) -> tuple[bytes, dict[str, Any]]:
    with open_readonly(desk.store) as reader:
        raw = next(reader.leaves(index, index + 1)).raw_leaf
        return raw, parse_json(reader.attachment(index, "input") or b"null", max_bytes=1 << 20)


def asked_by(name: str, manifest: dict[str, Any], **terms: Any) -> dict[str, Any]:
    made = review(manifest, **terms)
    made["request"]["userInfo"]["username"] = name
    return made


def people_of(desk: CaseDesk) -> list[str]:
    """Every name in the keyring."""
    return [name for one in desk.desk.keyring.identities.values() for name in (one.id, one.person, *one.usernames)]


def test_no_name_is_in_what_is_kept_of_a_decision_and_each_opens(desk: CaseDesk, keys: PersonKeys) -> None:
    decision = desk.decide(asked_by(ZOE, desk.approve(example(), *ROLES)))
    assert decision.allowed, decision.violations
    raw, document = stored(desk, index_of(decision))
    body = parse_leaf(raw).body
    assert body["schema"] == SEALED_SCHEMA
    persons = [one["person"] for one in body["approvals"]]
    assert len({body["user"], *persons}) == len(ROLES) + 1, "whoever is another person is another text"
    assert document["requester"] == body["user"]
    assert sorted(one["person"] for one in document["approvals"]) == sorted(persons)
    for name in (ZOE, *people_of(desk)):
        assert name.encode() not in raw + render_canonical(document), name
    shown = keys.opener().open(body)
    assert shown["user"] == ZOE
    assert {one["person"] for one in shown["approvals"]} <= set(people_of(desk))


def test_two_records_of_one_person_have_nothing_in_common(desk: CaseDesk) -> None:
    found = [
        parse_leaf(stored(desk, index_of(desk.decide(asked_by(ZOE, example()))))[0]).body["user"] for _ in range(3)
    ]
    assert len({SEALED.fullmatch(one) and one.split(":")[part] for one in found for part in (1, 2)}) == 6


def test_who_attested_evidence_is_sealed_in_the_input_and_what_was_attested_is_proved(desk: CaseDesk) -> None:
    manifest = copy.deepcopy(example())
    for name, text in desk.desk.evidence(read_workload(manifest, kinds=desk.data.kinds)).items():
        manifest["metadata"].setdefault("annotations", {})[f"placet.dev/evidence.{name}"] = text
    index = index_of(desk.decide(asked_by(ZOE, desk.approve(manifest, *ROLES))))
    desk.sign()
    _, document = stored(desk, index)
    assert len(document["evidence"]) == 4
    assert all(SEALED.fullmatch(one["attester"]) for one in document["evidence"])
    with open_readonly(desk.store) as reader:
        verdict = judge_case(verify_file(render_file(reader, index, KEYS), KEYS).case, desk.roots).verdict
    assert [one.part for one in verdict.of(Outcome.UNKNOWN)] == ["persons"]
    assert {"statement coverage", "statement model_bom"} <= {one.part for one in verdict.of(Outcome.PROVED)}
    assert any("evidence whose signer is sealed" in one for one in verdict.limits)


def test_accounts_of_the_cluster_are_not_sealed(desk: CaseDesk) -> None:
    name = "system:serviceaccount:ci:deployer"
    decision = desk.decide(asked_by(name, example()))
    raw, document = stored(desk, index_of(decision))
    assert parse_leaf(raw).body["user"] == document["requester"] == name


def test_a_refusal_names_people_to_whoever_is_refused_and_to_nobody_who_reads_the_record(
    desk: CaseDesk, keys: PersonKeys
) -> None:
    asked = asked_by("bob@example.org", desk.approve(example(), *ROLES))
    decision = desk.decide(asked)
    told = render_refusal(decision)
    assert not decision.allowed
    assert "p-bob asks for this deployment" in told
    raw, _ = stored(desk, index_of(decision))
    assert b"bob" not in raw
    body = parse_leaf(raw).body
    assert body["message"] != told
    assert keys.opener().open(body)["message"] == told
    again = desk.decide(asked)
    assert again.told_before is not None
    assert render_refusal(again) == told, "the same request gets the same words"
    person = keys.find("p-bob")
    assert person is not None
    keys.destroy(person)
    once_more = render_refusal(desk.decide(asked))
    assert "bob" not in once_more
    assert SEALED.sub("p-bob", once_more) == told


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("alice", "by alice, for malice and alice's", "by #, for malice and #'s"),
        ("alice", "ALICE and alice-x and alice_x", "# and #-x and alice_x"),
        ("a.b+c@d", "(a.b+c@d)", "(#)"),
        ("o'neil\t", "by o'neil\\u0009!", "by #!"),
        ("alexandra", "asked by alexan\u2026", "asked by \u2026"),
        ("alexandra", "of malexan\u2026", "of malexan\u2026"),
        ("sealed", "sealed is a name", "# is a name"),
    ],
)
def test_a_name_is_found_in_a_sentence_as_a_word(
    desk: CaseDesk, keys: PersonKeys, name: str, text: str, expected: str
) -> None:
    sealing = Sealing(keys, desk.decide(asked_by(name, example())))
    body = {**PLAIN, "user": name, "message": text, "advice": [text]}
    sealed = sealing.body(body)
    assert SEALED.sub("#", sealed["message"]) == expected
    assert sealed["advice"] == [sealed["message"]]


def test_a_name_of_one_letter_does_not_make_a_record_too_large(desk: CaseDesk, keys: PersonKeys) -> None:
    sealing = Sealing(keys, desk.decide(asked_by("a", example())))
    body = sealing.body({**PLAIN, "user": "a", "message": "a " * 3000, "advice": ["a " * 60] * 8})
    assert len(render_canonical(body)) < 16 * 1024


def test_who_signed_is_proved_where_names_are_opened_and_left_open_where_they_are_not(
    desk: CaseDesk, keys: PersonKeys
) -> None:
    index = index_of(desk.decide(asked_by(ZOE, desk.approve(example(), *ROLES))))
    desk.sign()
    with open_readonly(desk.store) as reader:
        shown = render_file(reader, index, KEYS, opener=keys.opener())
        hidden = render_file(reader, index, KEYS)
    whole = verify_file(shown, KEYS)
    judged = judge_case(whole.case, desk.roots)
    assert judged.verdict.outcome is Outcome.PROVED, judged.verdict.findings
    assert {f"approval {role}" for role in ROLES} <= {one.part for one in judged.verdict.findings}
    assert whole.subject.body["user"] == ZOE
    assert ZOE not in hidden.decode()
    unknown = judge_case(verify_file(hidden, KEYS).case, desk.roots).verdict
    assert unknown.outcome is Outcome.UNKNOWN
    assert [(one.part, one.code) for one in unknown.of(Outcome.UNKNOWN)] == [("persons", "sealed")]
    assert {"input", "keyring", "replay"} <= {one.part for one in unknown.of(Outcome.PROVED)}


def test_no_opening_shows_another_name_than_the_one_that_was_sealed(desk: CaseDesk, keys: PersonKeys) -> None:
    index = index_of(desk.decide(asked_by(ZOE, desk.approve(example(), *ROLES))))
    desk.sign()
    with open_readonly(desk.store) as reader:
        document = json.loads(render_file(reader, index, KEYS, opener=keys.opener()))
    zoe = next(sealed for sealed, one in document["persons"].items() if one["name"] == ZOE)
    document["persons"][zoe]["name"] = "bob@example.org"
    with pytest.raises(TamperError) as caught:
        verify_file(json.dumps(document).encode(), KEYS)
    assert caught.value.code == "opening_invalid"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda persons: persons.clear(), "proof_malformed"),
        (lambda persons: persons.update({"sealed:x": {"name": "a", "salt": "00" * 32}}), "proof_malformed"),
        (lambda persons: next(iter(persons.values())).update(more="x"), "proof_malformed"),
        (lambda persons: next(iter(persons.values())).update(salt="0"), "proof_malformed"),
        (lambda persons: next(iter(persons.values())).update(salt="00" * 31), "proof_malformed"),
        (lambda persons: next(iter(persons.values())).update(salt="00" * 32), "opening_invalid"),
        (lambda persons: persons.update(ELSEWHERE), "proof_unrelated"),
    ],
)
def test_an_opening_that_is_not_of_its_form_or_not_of_the_record_is_refused(
    desk: CaseDesk, keys: PersonKeys, change: Callable[[Any], object], code: str
) -> None:
    index = index_of(desk.decide(asked_by(ZOE, example())))
    desk.sign()
    with open_readonly(desk.store) as reader:
        document = json.loads(render_file(reader, index, KEYS, opener=keys.opener()))
    change(document["persons"])
    with pytest.raises((FormatError, TamperError)) as caught:
        verify_file(json.dumps(document).encode(), KEYS)
    assert caught.value.code == code


def test_a_decision_whose_names_can_not_be_sealed_is_not_allowed(desk: CaseDesk, keys: PersonKeys) -> None:
    for path in keys.folder.iterdir():
        path.unlink()
    keys.folder.rmdir()
    decision = desk.decide(asked_by(ZOE, desk.approve(example(), *ROLES)))
    assert not decision.allowed
    assert [(one.rule, one.code) for one in decision.violations] == [("gate.record", "persons_unavailable")]
    assert decision.recorded is None


def test_what_was_approved_is_carried_forward_whether_or_not_names_are_sealed(desk: CaseDesk) -> None:
    manifest = desk.approve(example(), *ROLES)
    assert desk.decide(asked_by(ZOE, manifest)).allowed
    touched = copy.deepcopy(manifest)
    touched["metadata"]["labels"]["team"] = "serving"
    second = desk.decide(asked_by("yan@example.org", touched, old=manifest))
    assert (second.allowed, second.change) == (True, "unchanged")


def test_a_denial_that_waits_on_the_disk_names_nobody_there_either(
    desk: CaseDesk, keys: PersonKeys, engine: EmbeddedEngine, tmp_path: Path
) -> None:
    asked = asked_by("bob@example.org", desk.approve(example(), *ROLES))
    refused = desk.decide(asked)
    spool = Spool(tmp_path / "spool", max_bytes=1 << 20, max_denials=10)
    recorder = SpoolingRecorder(
        desk.log, cluster=desk.desk.cluster, spool=spool, clock=lambda: desk.desk.now, persons=keys
    )
    terms: dict[str, Any] = {"cluster": desk.desk.cluster, "engine": engine, "data_digest": desk.data.digest}
    terms |= {"cause": StoreUnavailable("away"), "latency_us": 1, "deadline_s": 5.0}
    try:
        kept = recorder.put_aside(refused, attachments=collect_attachments(refused), **terms)
        assert kept is not None
        assert kept.leaf["schema"] == SEALED_SCHEMA
        (file,) = (tmp_path / "spool").rglob("*.denial")
        held = parse_denial(file.read_bytes())
        raw = render_canonical(held.leaf) + held.attachments["input"]
        assert not any(name.encode() in raw for name in ("bob", *people_of(desk)))
        waiting = recorder.find(refused.request, refused.environment)
        assert waiting is not None
        assert waiting.leaf["message"] == render_refusal(refused)
        for path in keys.folder.iterdir():
            path.unlink()
        keys.folder.rmdir()
        other = replace(refused, request=replace(refused.request, uid="another"))
        assert recorder.put_aside(other, attachments=collect_attachments(other), **terms) is None
    finally:
        spool.close()


def test_break_glass_is_proved_with_the_names_of_its_own_leaf_opened(desk: CaseDesk, keys: PersonKeys) -> None:
    desk.desk.glass_keepers()
    carried, _ = desk.let_in(example())
    desk.ledger.permit(carried, "break-glass")
    index = index_of(desk.decide(asked_by(ZOE, carried)))
    desk.sign()
    with open_readonly(desk.store) as reader:
        shown = render_file(reader, index, KEYS, opener=keys.opener())
        hidden = render_file(reader, index, KEYS)
    case = verify_file(shown, KEYS).case
    assert judge_case(case, desk.roots).verdict.outcome is Outcome.PROVED
    assert case.glass is not None
    assert [one["person"] for one in case.glass.body["signers"]] == ["p-gina", "p-hugo"]
    assert case.glass.body["user"] == ZOE
    unopened = verify_file(hidden, KEYS).case
    assert unopened.glass is not None
    assert "gina" not in repr(unopened.glass.body)
    assert judge_case(unopened, desk.roots).verdict.outcome is Outcome.UNKNOWN
