"""Targets: what reads approvals, revocations, the keyring and evidence.

Bytes that nobody signed end at the signature. So each input is read both as it comes and as a payload that the right
keys have signed: whoever holds one key must not crash the gate either, nor say more than that key may.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from placet.approvals.envelope import parse_annotation, parse_envelope, render_annotation, render_envelope
from placet.approvals.in_toto import parse_in_toto
from placet.approvals.keyring import KEYRING_PAYLOAD_TYPE, verify_keyring
from placet.approvals.revocations import SUFFIX, load_revocations
from placet.approvals.signing import add_signature, sign_payload
from placet.approvals.statement import REVOCABLE, ApprovalStatement, parse_statement, render_statement
from placet.canonical import render_canonical
from placet.errors import FormatError, KeyringError
from placet.evidence.adapters import parse_bom, parse_coverage_json
from placet.evidence.predicates import read_predicate
from placet.evidence.verify import check_evidence
from placet.exemptions.folder import SignedExemption, SignedExemptions, check_signed
from placet.exemptions.statement import PAYLOAD_TYPE, parse_exemption, render_exemption
from placet.exemptions.survey import survey
from tests.fuzz.documents import TESTS
from tests.fuzz.target import require
from tests.simulators.desk import SHIPPED_KINDS, ApprovalDesk, sample_workload
from tests.simulators.exemptions import add_exempters, exemption_of, sign_exemption

_LIMITS: Final = {"exemptions": {"max_days": 90, "persons": 1, "persons_for_models": 2}}
_FACTS: Final = ("parameters", "data_classification", "coverage", "rollback", "strategy")


@functools.cache
def _desk() -> ApprovalDesk:
    return ApprovalDesk.standard()


@functools.cache
def _keyring() -> Any:
    return _desk().keyring


def run_envelope(raw: bytes) -> None:
    """A DSSE envelope, as a file and as an annotation."""
    for read, write in ((parse_envelope, render_envelope), (_annotation, _rendered)):
        try:
            envelope = read(raw)
        except FormatError as error:
            require(error.code in {"too_large", "envelope_malformed"}, "a refusal has a documented code")
            continue
        require(read(write(envelope)) == envelope, "an envelope that is written again is the same")


def _annotation(raw: bytes) -> Any:
    return parse_annotation(raw.decode("utf-8", "replace"))


def _rendered(envelope: Any) -> bytes:
    return render_annotation(envelope).encode()


def run_statement(raw: bytes) -> None:
    """The payload of an approval or a revocation."""
    for closed, floats in ((True, False), (False, False), (False, True)):
        try:
            parse_in_toto(raw, closed=closed, allow_floats=floats)
        except FormatError as error:
            require(error.code in {"statement_malformed", "statement_type"}, "a refusal has a documented code")
    try:
        statement = parse_statement(raw)
    except FormatError as error:
        require(error.code in {"statement_malformed", "statement_type", "predicate_type"}, "and here too")
        return
    require(parse_statement(render_statement(statement)) == statement, "a statement that is written again is the same")
    if isinstance(statement, ApprovalStatement):
        require(statement.issued_at <= statement.not_before < statement.expires, "an approval's times are in order")
    require(statement.role in REVOCABLE, "a role that is known")


def run_keyring(raw: bytes) -> None:
    """A keyring: unsigned bytes are none, and one that the roots have signed is whole or refused."""
    desk = _desk()
    options: dict[str, Any] = {"roots": desk.root_keys, "threshold": desk.root_threshold, "now": desk.now}
    try:
        found = verify_keyring(raw, **options)
    except KeyringError:
        pass
    else:
        payload = json.loads(raw)["payload"]
        require(payload in _signed_payloads(), "only what the roots have signed is a keyring")
        require(found.version == 1, "and it is the one that they signed")
    envelope = sign_payload(desk.roots[0], raw, KEYRING_PAYLOAD_TYPE)
    signed = render_envelope(add_signature(envelope, desk.roots[1]))
    try:
        keyring = verify_keyring(signed, **options)
    except KeyringError:
        return
    require(keyring.version >= 1, "versions count from one")
    require(all(count >= 1 for count in keyring.thresholds.values()), "no threshold is zero")
    keys = [held.public_key.fingerprint for _, held in keyring.all_keys()]
    require(len(set(keys)) == len(keys), "no key stands under two identities")
    for fingerprint in keys:
        require(keyring.find_key(fingerprint) is not None, "every key is found")


@functools.cache
def _signed_payloads() -> frozenset[str]:
    return frozenset({json.loads(_desk().keyring_bytes)["payload"]})


def run_revocation(raw: bytes) -> None:
    """A revocation's file: as it comes, and signed by somebody who may revoke for one role."""
    desk = _desk()
    for content in (raw, render_envelope(sign_payload(desk.signers["bob"], raw, "application/vnd.in-toto+json"))):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"one{SUFFIX}").write_bytes(content)
            try:
                found = load_revocations(Path(folder), keyring=_keyring())
            except KeyringError:
                continue
        require(len(found) == 1, "a file is a revocation or a refusal")
        statement = parse_statement(json_payload(content))
        require(statement.role == "security" or content is raw, "nobody takes back for a role that is not theirs")


def run_exemption(raw: bytes) -> None:
    """An exemption's file: as it comes, and signed by somebody who may exempt what serves no model."""
    desk = _exempters()
    for content in (raw, render_envelope(sign_payload(desk.signers["hal"], raw, PAYLOAD_TYPE))):
        read = check_signed(content, keyring=desk.keyring)
        if isinstance(read, str):
            require(read != "", "a file that does not count is told why")
            continue
        statement = read[0]
        require(parse_exemption(render_exemption(statement)) == statement, "what is written again is the same")
        require(statement.issued_at <= statement.not_before < statement.expires, "its times are in order")
        held = SignedExemptions.of((SignedExemption(*read, "one"),))
        for standing in survey(held, keyring=desk.keyring, cluster=desk.cluster, data=_LIMITS, now=desk.now):
            counts = standing.state in {"in_force", "ends_soon"}
            require(counts != bool(standing.why), "one that does not count is told why")
            require(not counts or statement.detection == "no", "one person alone exempts nothing that serves a model")


@functools.cache
def _exempters() -> ApprovalDesk:
    desk = ApprovalDesk.standard()
    add_exempters(desk)
    return desk


def exemptions() -> Iterator[bytes]:
    """As a signed file, and its payload."""
    said = exemption_of(_exempters(), sample_workload())
    yield sign_exemption(_exempters(), said)
    yield render_exemption(said)
    yield render_exemption(replace(said, detection="serves_model", images="as_named"))


def json_payload(content: bytes) -> bytes:
    """The payload of an envelope in JSON."""
    return parse_envelope(content).payload


def run_evidence(raw: bytes) -> None:
    """Predicates, reports of tools, and statements of a pipeline that may attest everything."""
    for read in (parse_bom, parse_coverage_json):
        try:
            read(raw)
        except FormatError:
            continue
    try:
        statement = parse_in_toto(raw, closed=False, allow_floats=True)
    except FormatError:
        pass
    else:
        try:
            evidence = read_predicate(SHIPPED_KINDS, statement.predicate_type, statement.predicate)
        except FormatError as error:
            require(error.code in {"predicate_type", "statement_malformed", "not_passed"}, "a documented code")
        else:
            require(evidence.facts.keys() <= set(_FACTS), "facts that are known")
            claims = [set(saying.claims) for saying in evidence.sayings.values()]
            require(all(claims) and len(set().union(*claims)) == sum(map(len, claims)), "each claim is said once")
    desk, workload = _desk(), sample_workload()
    found = check_evidence({"x": desk.seal(raw)}, keyring=_keyring(), context=desk.evidence_context(workload))
    facts = {name for name in _FACTS if getattr(found.facts, name) is not None}
    require(facts == set(found.facts.sources), "each fact names the statement that it comes from")
    require(found.statements or found.rejected, "evidence counts or is told to be rejected")
    require({one.statement for one in found.statements} == found.counted, "what counts is what the rules get")
    require(all(one.subjects for one in found.statements), "a statement is about something of the workload")
    stranger = check_evidence(
        {"x": desk.seal(raw, by="alice")}, keyring=_keyring(), context=desk.evidence_context(workload)
    )
    require(not stranger.facts.sources and not stranger.statements, "who may not attest says nothing")


def envelopes() -> Iterator[bytes]:
    """Golden annotations and what is in them."""
    for file in sorted((TESTS / "golden" / "approvals").glob("*/annotation.txt")):
        text = file.read_text(encoding="utf-8").strip()
        yield text.encode()
        yield render_envelope(parse_annotation(text))


def statements() -> Iterator[bytes]:
    """Golden statements, and a revocation."""
    for file in sorted((TESTS / "golden" / "approvals").glob("*/statement.json")):
        yield file.read_bytes()
    yield from revocations()


def revocations() -> Iterator[bytes]:
    """As a signed file, and its payload."""
    signed = _desk().revoke("5deb6534-1170-4d6e-a2b8-aa5fd8a7c6a8", role="security")
    yield signed
    yield json_payload(signed)


def keyrings() -> Iterator[bytes]:
    """As a signed file, and its payload."""
    yield _desk().keyring_bytes
    yield render_canonical(_desk().document)


def evidence() -> Iterator[bytes]:
    """The statements of a pipeline, and what the tools wrote that they come from."""
    for annotation in _desk().evidence(sample_workload()).values():
        yield parse_annotation(annotation).payload
    yield b'{"meta":{"timestamp":"2026-11-22T12:00:00"},"totals":{"covered_lines":85,"num_statements":100}}'


RUNS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]]] = {
    "envelope": (run_envelope, envelopes),
    "statement": (run_statement, statements),
    "keyring": (run_keyring, keyrings),
    "revocation": (run_revocation, revocations),
    "exemption": (run_exemption, exemptions),
    "evidence": (run_evidence, evidence),
}
