"""A decision is proved with everything that it rested on, from one file, by public keys alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.audit.stores.file import open_readonly
from placet.canonical import Digest, render_canonical
from placet.dossier.case import open_case
from placet.dossier.file import MAX_FILE_BYTES, Dossier, render_file, verify_file
from placet.dossier.judge import Judged, Roots, judge_case
from placet.dossier.leaves import ListedLeaves, StoreLeaves
from placet.dossier.today import compare_today, read_newer_keyring
from placet.dossier.verdict import Outcome
from placet.errors import AuditError, FormatError, KeyringError, TamperError
from placet.exemptions.folder import Exemptions
from placet.policy.wasm import EmbeddedEngine
from placet.workload import read_workload
from tests.simulators.cases import KEYS, ROLES, CaseDesk, index_of
from tests.simulators.desk import signer_of
from tests.simulators.exemptions import ExemptionShelf, add_exempters, exemption_of, sign_exemption
from tests.simulators.gate import example, review

Json = dict[str, Any]


def proved(judged: Judged) -> set[str]:
    return {one.part for one in judged.verdict.of(Outcome.PROVED)}


def attested(desk: CaseDesk) -> Json:
    """The example with evidence and every approval on it."""
    manifest = copy.deepcopy(example())
    held = manifest["metadata"].setdefault("annotations", {})
    for name, text in desk.desk.evidence(read_workload(manifest, kinds=desk.data.kinds)).items():
        held[f"placet.dev/evidence.{name}"] = text
    return desk.approve(manifest, *ROLES)


def test_an_admission_is_proved_part_by_part(desk: CaseDesk) -> None:
    judged = desk.judge(desk.prove(desk.decide(review(attested(desk)))))
    assert judged.verdict.outcome is Outcome.PROVED, judged.verdict.findings
    facts = {f"evidence {one}" for one in ("parameters", "data_classification", "coverage", "rollback", "strategy")}
    said = {f"statement {one}" for one in ("coverage", "deployment_plan", "model_bom", "rollback_drill")}
    assert proved(judged) == {"input", "keyring", "replay", *(f"approval {role}" for role in ROLES), *facts, *said}
    assert judged.answer is not None
    assert judged.answer.allowed


def test_the_clock_of_whoever_verifies_plays_no_role_and_what_ended_since_is_said_apart(desk: CaseDesk) -> None:
    raw = desk.prove(desk.decide(review(attested(desk))))
    desk.desk.document["identities"] = [
        one for one in desk.desk.document["identities"] if one["id"] != "bob@example.org"
    ]
    desk.desk.revoke_key("carol", at=desk.desk.now, how="compromised")
    desk.desk.document["version"] = 2
    newer = read_newer_keyring(desk.desk.keyring_bytes, desk.roots)
    later = desk.desk.now + timedelta(days=9 * 365)
    judged = desk.judge(raw)
    assert judged.verdict.outcome is Outcome.PROVED
    told = "\n".join(compare_today(judged.approvals, newer, later))
    for said in ("version 2, expired", "p-bob (security): key", "is revoked as compromised", "expired 3255 days ago"):
        assert said in told, told
    assert list(compare_today((), newer, desk.desk.now)) == []


def test_a_newer_keyring_that_nobody_signed_says_nothing(desk: CaseDesk) -> None:
    for raw in (b"{}", desk.desk.keyring_bytes[:-2]):
        with pytest.raises(KeyringError):
            read_newer_keyring(raw, desk.roots)
    with pytest.raises(KeyringError):
        read_newer_keyring(desk.desk.keyring_bytes, Roots([signer_of("other").public_key], 1))


def test_a_refusal_is_proved_by_what_was_judged(desk: CaseDesk) -> None:
    decision = desk.decide(review(desk.approve(example(), "technical", "security")))
    assert not decision.allowed
    judged = desk.judge(desk.prove(decision))
    assert judged.verdict.outcome is Outcome.PROVED, judged.verdict.findings
    assert {"replay", "approval technical", "approval security"} <= proved(judged)


def test_an_update_that_changes_nothing_is_proved_by_the_envelopes_that_are_kept_once(desk: CaseDesk) -> None:
    manifest = attested(desk)
    first = desk.decide(review(manifest))
    touched = copy.deepcopy(manifest)
    touched["metadata"]["labels"]["team"] = "serving"
    second = desk.decide(review(touched, old=manifest))
    assert second.change == "unchanged"
    with open_readonly(desk.store) as reader:
        assert reader.attachment(index_of(first), "signed") is not None
        assert reader.attachment(index_of(second), "signed") is None
    dossier = verify_file(desk.prove(second), KEYS)
    assert index_of(first) in dossier.leaves.held
    assert judge_case(dossier.case, desk.roots).verdict.outcome is Outcome.PROVED


def test_what_is_carried_forward_is_proved_with_the_decision_that_it_rests_on(desk: CaseDesk) -> None:
    manifest = attested(desk)
    desk.decide(review(manifest))
    small = copy.deepcopy(manifest)
    small["spec"]["replicas"] = 3
    desk.decide(review(small, old=manifest))
    desk.desk.now += timedelta(days=40)  # the approvals on it hold no longer
    decision = desk.decide(review(manifest, old=small))
    assert decision.change == "scaled", decision.violations
    judged = desk.judge(desk.prove(decision))
    assert judged.verdict.outcome is Outcome.PROVED, judged.verdict.findings
    assert {"precedent", "precedent: replay", "precedent: approval security", "replay"} <= proved(judged)


def test_break_glass_is_proved_by_its_token(desk: CaseDesk) -> None:
    desk.desk.glass_keepers()
    carried, _ = desk.let_in(example())
    desk.ledger.permit(carried, "break-glass")
    decision = desk.decide(review(carried))
    assert decision.allowed, decision.violations
    judged = desk.judge(desk.prove(decision))
    assert judged.verdict.outcome is Outcome.PROVED, judged.verdict.findings
    assert {"break-glass token", "replay"} <= proved(judged)
    assert judged.answer is not None
    assert not judged.answer.allowed


def test_an_exemption_is_proved_by_its_envelope(tmp_path: Path, engine: EmbeddedEngine) -> None:
    shelf = ExemptionShelf()
    exemptions: Exemptions = shelf
    desk = CaseDesk.start(tmp_path, engine=engine, exemptions=exemptions)
    try:
        add_exempters(desk.desk)
        workload = read_workload(example(), kinds=desk.data.kinds)
        said = exemption_of(desk.desk, workload, detection="serves_model", images="as_named")
        shelf.files["llama"] = sign_exemption(desk.desk, said, by=("fay", "gus"))
        desk.ledger.permit(example(), "exempted content")
        first, second = desk.decide(review(example())), desk.decide(review(example()))
        assert first.allowed, first.notes
        for decision in (first, second):
            judged = desk.judge(desk.prove(decision))
            assert judged.verdict.outcome is Outcome.PROVED, judged.verdict.findings
            assert proved(judged) == {"keyring", "exemption"}
        with open_readonly(desk.store) as reader:
            assert reader.attachment(index_of(second), "exemption") is None
    finally:
        desk.log.close()


def test_a_revoked_approval_is_proved_to_have_been_taken_back(desk: CaseDesk) -> None:
    manifest = attested(desk)
    admitted = desk.decide(review(manifest)).recorded
    assert admitted is not None
    approval = next(one for one in admitted.leaf["approvals"] if one["role"] == "security")
    desk.desk.document["revokedApprovals"].append(approval["approval_id"])
    desk.desk.document["version"] = 2
    decision = desk.decide(review(manifest))
    assert not decision.allowed
    judged = desk.judge(desk.prove(decision))
    assert judged.verdict.outcome is Outcome.PROVED, judged.verdict.findings
    assert "revocation security" in proved(judged)


def test_what_is_no_decision_is_proved_to_be_in_the_log_with_its_attachments(desk: CaseDesk) -> None:
    desk.decide(review(example()))
    for index in range(3):
        dossier = verify_file(desk.prove(index), KEYS)
        assert dossier.leaves.attachments.keys() == {(index, name) for name in dossier.case.used[index]}
        assert [one.outcome for one in judge_case(dossier.case, desk.roots).verdict.findings] == []


def test_without_root_keys_or_with_others_nobody_is_believed(desk: CaseDesk) -> None:
    raw = desk.prove(desk.decide(review(attested(desk))))
    open_ended = desk.judge(raw, roots=Roots((), 0))
    assert open_ended.verdict.outcome is Outcome.UNKNOWN
    assert {one.code for one in open_ended.verdict.of(Outcome.UNKNOWN)} == {"no_root_key", "no_keyring"}
    for roots in (Roots([signer_of("other").public_key], 1), Roots(desk.desk.root_keys, 3)):
        judged = desk.judge(raw, roots=roots)
        assert [one.code for one in judged.verdict.of(Outcome.WRONG)] == ["keyring_signatures"]


@pytest.mark.parametrize(
    ("attachment", "part"),
    [
        ("input", "input"),
        ("signed", "signed"),
        ("content", "content"),
        ("data", "policy data"),
        ("wasm", "policies' wasm"),
        ("envelope", "keyring"),
    ],
)
def test_what_was_erased_is_named_and_leaves_the_proof_open(desk: CaseDesk, attachment: str, part: str) -> None:
    raw = desk.prove(desk.decide(review(attested(desk))))
    document = json.loads(raw)
    for leaf in document["leaves"]:
        leaf["attachments"].pop(attachment, None)
    judged = desk.judge(json.dumps(document).encode())
    assert judged.verdict.outcome is Outcome.UNKNOWN
    assert part in {one.part for one in judged.verdict.of(Outcome.UNKNOWN)}


def test_a_leaf_that_was_left_out_is_named_and_leaves_the_proof_open(desk: CaseDesk) -> None:
    raw = desk.prove(desk.decide(review(attested(desk))))
    parts = set()
    for place in range(1, len(json.loads(raw)["leaves"])):
        document = json.loads(raw)
        del document["leaves"][place]
        judged = desk.judge(json.dumps(document).encode())
        assert judged.verdict.outcome is Outcome.UNKNOWN
        parts |= {one.part for one in judged.verdict.of(Outcome.UNKNOWN)}
    assert {"keyring", "policies", "policy data"} <= parts


def test_every_changed_byte_of_what_is_proved_is_found(desk: CaseDesk) -> None:
    document = json.loads(desk.prove(desk.decide(review(attested(desk)))))
    for place, leaf in enumerate(document["leaves"]):
        texts = [("leaf", leaf), *(("hashes", leaf) for _ in leaf["hashes"][:1])]
        texts += [(name, leaf["attachments"]) for name in leaf["attachments"]]
        for name, holder in texts:
            kept = holder[name]
            text = kept[0] if isinstance(kept, list) else kept
            for at in {0, len(text) // 2, len(text) - 8}:
                other = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
                holder[name] = [other, *kept[1:]] if isinstance(kept, list) else other
                with pytest.raises((TamperError, FormatError)):
                    verify_file(json.dumps(document).encode(), KEYS)
            holder[name] = kept
        kept_index = leaf["index"]
        leaf["index"] = (kept_index + 1) % document["size"]
        with pytest.raises((TamperError, FormatError)):
            verify_file(json.dumps(document).encode(), KEYS)
        leaf["index"] = kept_index
        assert place < len(document["leaves"])
    verify_file(json.dumps(document).encode(), KEYS)


def test_parts_of_another_proof_are_found_and_named(desk: CaseDesk) -> None:
    manifest = attested(desk)
    one = desk.decide(review(manifest))
    desk.desk.document["version"] = 2
    desk.desk.document["thresholds"]["security"] = 2
    two = desk.decide(review(manifest))
    assert (one.allowed, two.allowed) == (True, False)
    first, second = json.loads(desk.prove(one)), json.loads(desk.prove(two))
    assert first["checkpoint"] == second["checkpoint"]
    mixed = copy.deepcopy(first)
    own = first["leaves"][0]
    mixed["leaves"] = [own, *(leaf for leaf in second["leaves"][1:] if leaf["index"] != own["index"])]
    with pytest.raises(TamperError) as caught:
        desk.judge(json.dumps(mixed).encode())
    assert caught.value.code == "proof_unrelated"
    keyrings = [
        next(leaf for leaf in proof["leaves"] if "envelope" in leaf["attachments"]) for proof in (first, second)
    ]
    mixed = copy.deepcopy(first)
    next(leaf for leaf in mixed["leaves"] if "envelope" in leaf["attachments"])["attachments"] = keyrings[1][
        "attachments"
    ]
    with pytest.raises(TamperError) as caught:
        desk.judge(json.dumps(mixed).encode())
    assert caught.value.code == "attachment_changed"
    mixed = copy.deepcopy(first)
    mixed["leaves"].append(keyrings[1])
    with pytest.raises(TamperError, match="does not rest on it"):
        desk.judge(json.dumps(mixed).encode())


def forge(desk: CaseDesk, dossier: Dossier, **changes: Any) -> Judged:
    """What is found of a log whose owner wrote another decision, and signs for it: bodies and attachments agree."""
    held, attachments = dict(dossier.leaves.held), dict(dossier.leaves.attachments)
    subject = held[dossier.subject.index]
    index, body = subject.index, copy.deepcopy(dict(subject.body))
    document = json.loads(attachments[index, "input"])
    for name, change in changes.items():
        change(document if name == "document" else body)
    attachments[index, "input"] = render_canonical(document)
    body["input_digest"] = str(Digest.of(attachments[index, "input"]))
    held[index] = type(subject)(index, body)
    return judge_case(open_case(ListedLeaves(held, attachments), held[index]), desk.roots)


def test_an_owner_of_the_log_who_invents_an_admission_is_found(desk: CaseDesk) -> None:
    refused = desk.prove(desk.decide(review(desk.approve(example(), "technical", "security"))))
    allowed = desk.prove(desk.decide(review(attested(desk))))

    def admit(body: Json) -> None:
        body |= {"allowed": True, "approved": True, "violations": [], "granted_roles": body["required_roles"]}

    def add_approval(document: Json) -> None:
        document["approvals"].append(document["approvals"][0] | {"role": "executive", "person": "p-dave"})

    def without_input(body: Json) -> None:
        body |= {"allowed": True}

    forged: dict[str, tuple[bytes, Json, str]] = {
        "only the answer": (refused, {"body": admit}, "replay_differs"),
        "an approval in the input": (refused, {"body": admit, "document": add_approval}, "approval_invalid"),
        "another risk": (allowed, {"document": lambda one: one["risk"].update(level="low")}, "input_differs"),
        "another requester": (
            allowed,
            {"document": lambda one: one.update(requester="alice@example.org")},
            "input_differs",
        ),
        "both say another requester": (
            allowed,
            {
                "document": lambda one: one.update(requester="alice@example.org"),
                "body": lambda one: one.update(user="alice@example.org"),
            },
            "approval_invalid",
        ),
        "another content": (
            allowed,
            {
                "document": lambda one: one.update(projection=f"sha256:{'0' * 64}"),
                "body": lambda one: one.update(projection=f"sha256:{'0' * 64}"),
            },
            "approval_invalid",
        ),
        "an approval left out": (allowed, {"document": lambda one: one["approvals"].pop()}, "approval_uncounted"),
        "evidence of nobody": (
            allowed,
            {"body": lambda one: one["evidence"].append({"fact": "tested", "statement": "sha256:" + "0" * 64})},
            "evidence_invalid",
        ),
        "a statement of nobody": (
            allowed,
            {
                "document": lambda one: one["evidence"].append(
                    one["evidence"][0] | {"statement": "sha256:" + "0" * 64, "claims": {"lines_covered": 100}}
                )
            },
            "evidence_invalid",
        ),
        "a statement left out": (allowed, {"document": lambda one: one["evidence"].pop()}, "evidence_invalid"),
        "a claim that nobody signed": (
            allowed,
            {"document": lambda one: one["evidence"][0]["claims"].update(lines_covered=100)},
            "evidence_differs",
        ),
        "another attester": (
            allowed,
            {"document": lambda one: one["evidence"][0].update(attester="mallory@example.org")},
            "evidence_differs",
        ),
        "nonsense": (allowed, {"document": lambda one: one.update(images="none")}, "input_unreadable"),
    }
    for name, (raw, changes, code) in forged.items():
        judged = forge(desk, verify_file(raw, KEYS), **changes)
        assert judged.verdict.outcome is Outcome.WRONG, name
        assert code in {one.code for one in judged.verdict.of(Outcome.WRONG)}, (name, judged.verdict.findings)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**40),
    st.text(max_size=5),
    st.lists(st.one_of(st.none(), st.integers(), st.lists(st.text(max_size=2), max_size=2)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.lists(st.text(max_size=2), max_size=2)), max_size=2),
)


@pytest.fixture(scope="module")
def desk_and_proof(
    tmp_path_factory: pytest.TempPathFactory, engine: EmbeddedEngine
) -> Iterator[tuple[CaseDesk, Dossier]]:
    desk = CaseDesk.start(tmp_path_factory.mktemp("log"), engine=engine)
    yield desk, verify_file(desk.prove(desk.decide(review(attested(desk)))), KEYS)
    desk.log.close()


@given(steps=st.lists(st.integers(0, 99), min_size=1, max_size=4), odd=ODD)
@settings(max_examples=40, deadline=None)
def test_an_owner_of_the_log_who_writes_nonsense_is_found_and_stops_nobody(
    desk_and_proof: tuple[CaseDesk, Dossier], steps: list[int], odd: Any
) -> None:
    desk, dossier = desk_and_proof

    def spoil(value: Json) -> None:
        for depth, step in enumerate(steps, start=1):
            name = sorted(value)[step % len(value)]
            inner = value[name]
            inner = inner[0] if isinstance(inner, list) and inner and isinstance(inner[0], dict) else inner
            if not isinstance(inner, dict) or not inner or depth == len(steps):
                value[name] = odd
                return
            value = inner

    for part in ("document", "body"):
        judged = forge(desk, dossier, **{part: spoil})
        assert judged.verdict.findings
        assert all(isinstance(one.sentence, str) for one in judged.verdict.findings)


@given(raw=st.binary(max_size=200))
def test_arbitrary_bytes_are_no_proof(raw: bytes) -> None:
    with pytest.raises(FormatError):
        verify_file(raw, KEYS)


def test_an_admission_that_names_nothing_it_was_let_in_on_is_found(desk: CaseDesk) -> None:
    decision = desk.decide(review(example()))
    with open_readonly(desk.store) as reader:
        held = StoreLeaves(reader).at(index_of(decision))
    assert held is not None
    body = {key: value for key, value in held.body.items() if not key.endswith("_digest")} | {"allowed": True}
    bare = type(held)(held.index, body)
    judged = judge_case(open_case(ListedLeaves({held.index: bare}, {}), bare), desk.roots)
    assert "no_ground" in {one.code for one in judged.verdict.of(Outcome.WRONG)}


def test_a_leaf_under_no_checkpoint_is_not_proved(desk: CaseDesk) -> None:
    first, _ = desk.decide(review(example())), desk.prove(0)
    second = desk.decide(review(example()))
    with open_readonly(desk.store) as reader, pytest.raises(AuditError) as caught:
        render_file(reader, index_of(second), KEYS)
    assert caught.value.code == "not_signed_yet"
    assert desk.judge(desk.prove(first)).verdict.outcome is Outcome.PROVED


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "placet.dev/audit-proof/v9"},
        {"more": 1},
        {"leaves": []},
        {"leaves": [1]},
        {"leaves": [{}]},
        {"leaves": {}},
        {"size": "3"},
        {"checkpoint": 1},
    ],
)
def test_what_is_not_of_the_form_is_refused(desk: CaseDesk, change: Json) -> None:
    document = json.loads(desk.prove(0)) | change
    with pytest.raises((FormatError, TamperError)):
        verify_file(json.dumps(document).encode(), KEYS)


def test_a_file_beyond_its_bounds_is_refused(desk: CaseDesk) -> None:
    document = json.loads(desk.prove(0))
    for changed in (
        document | {"leaves": document["leaves"] * 65},
        document | {"leaves": document["leaves"] * 2},
    ):
        with pytest.raises(FormatError):
            verify_file(json.dumps(changed).encode(), KEYS)
    with pytest.raises(FormatError) as caught:
        verify_file(b" " * (MAX_FILE_BYTES + 1), KEYS)
    assert caught.value.code == "too_large"
