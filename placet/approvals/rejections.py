"""Why an approval or a piece of evidence was not accepted: one table of codes, from which the documentation is made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class RejectionCode(StrEnum):
    """Stable and machine-readable; in records, metrics and policy input. Never renamed, never given another meaning."""

    TOO_MANY = "too_many"
    TOO_LARGE = "too_large"
    TOO_MUCH_WORK = "too_much_work"
    ENVELOPE_MALFORMED = "envelope_malformed"
    PAYLOAD_TYPE = "payload_type"
    SIGNER_UNKNOWN = "signer_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    STATEMENT_MALFORMED = "statement_malformed"
    STATEMENT_TYPE = "statement_type"
    PREDICATE_TYPE = "predicate_type"
    NOT_AN_APPROVAL = "not_an_approval"
    KEY_NOT_YET_VALID = "key_not_yet_valid"
    KEY_EXPIRED = "key_expired"
    KEY_SUPERSEDED = "key_superseded"
    KEY_COMPROMISED = "key_compromised"
    ROLE_UNKNOWN = "role_unknown"
    ROLE_MISMATCH = "role_mismatch"
    NOT_GRANTED = "not_granted"
    WRONG_CLUSTER = "wrong_cluster"
    WRONG_NAMESPACE = "wrong_namespace"
    WRONG_WORKLOAD = "wrong_workload"
    WRONG_ENVIRONMENT = "wrong_environment"
    POLICY_DIFFERS = "policy_differs"
    MODEL_DIFFERS = "model_differs"
    PROJECTION_DIFFERS = "projection_differs"
    IMAGE_DIFFERS = "image_differs"
    SUBJECT_DIFFERS = "subject_differs"
    RISK_ABOVE = "risk_above"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    TOO_OLD = "too_old"
    NOT_PASSED = "not_passed"
    REVOKED = "revoked"
    SELF_APPROVAL = "self_approval"
    DUPLICATE = "duplicate"
    TOO_FEW_PERSONS = "too_few_persons"
    PARTY_UNKNOWN = "party_unknown"
    TOO_LONG = "too_long"
    MORE_REPLICAS = "more_replicas"


MEANINGS: Final = {
    RejectionCode.TOO_MANY: "The workload carries more envelopes than are looked at.",
    RejectionCode.TOO_LARGE: "The envelope is larger than is read.",
    RejectionCode.TOO_MUCH_WORK: "The envelopes of this workload ask for more signature checks than are made.",
    RejectionCode.ENVELOPE_MALFORMED: "The annotation is not strict base64 of a strict DSSE envelope.",
    RejectionCode.PAYLOAD_TYPE: "The envelope holds something else than an in-toto statement.",
    RejectionCode.SIGNER_UNKNOWN: "No key of the keyring made the signature.",
    RejectionCode.SIGNATURE_INVALID: "The signature names a key of the keyring, which did not sign these bytes.",
    RejectionCode.STATEMENT_MALFORMED: "The signed statement is not of the one form that is accepted.",
    RejectionCode.STATEMENT_TYPE: "The payload is not an in-toto Statement v1.",
    RejectionCode.PREDICATE_TYPE: "The statement says something of another kind than expected here.",
    RejectionCode.NOT_AN_APPROVAL: "The statement revokes; it stands where an approval is expected.",
    RejectionCode.KEY_NOT_YET_VALID: "The signing key is, or was when it signed, not valid yet.",
    RejectionCode.KEY_EXPIRED: "The signing key is, or was when it signed, no longer valid.",
    RejectionCode.KEY_SUPERSEDED: "The signing key had been replaced when it signed.",
    RejectionCode.KEY_COMPROMISED: "The signing key is known to be in wrong hands; nothing it ever signed counts.",
    RejectionCode.ROLE_UNKNOWN: "The annotation names a role that does not exist.",
    RejectionCode.ROLE_MISMATCH: "The statement was signed for another role than the annotation says.",
    RejectionCode.NOT_GRANTED: "The signer may not say this: role, environment, model, namespace, level or fact.",
    RejectionCode.WRONG_CLUSTER: "Signed for other clusters.",
    RejectionCode.WRONG_NAMESPACE: "Signed for other namespaces.",
    RejectionCode.WRONG_WORKLOAD: "Signed for another workload.",
    RejectionCode.WRONG_ENVIRONMENT: "Signed for another environment.",
    RejectionCode.POLICY_DIFFERS: "Signed for another state of the policy data.",
    RejectionCode.MODEL_DIFFERS: "Signed for another model, version or model artifact.",
    RejectionCode.PROJECTION_DIFFERS: "What is governed in the workload differs from what was signed.",
    RejectionCode.IMAGE_DIFFERS: "The workload's images are not those that were signed.",
    RejectionCode.SUBJECT_DIFFERS: "The evidence is about something else than this workload.",
    RejectionCode.RISK_ABOVE: "The assessed risk is above the level that the approval covers.",
    RejectionCode.NOT_YET_VALID: "The statement does not hold yet.",
    RejectionCode.EXPIRED: "The statement holds no longer.",
    RejectionCode.TOO_OLD: "The evidence is older than is accepted for its kind.",
    RejectionCode.NOT_PASSED: "The attested test did not pass.",
    RejectionCode.REVOKED: "The approval was taken back.",
    RejectionCode.SELF_APPROVAL: "The requester is the approver.",
    RejectionCode.DUPLICATE: "The same person has approved in this role already.",
    RejectionCode.TOO_FEW_PERSONS: "Fewer than two persons who may do so have signed the break-glass token.",
    RejectionCode.PARTY_UNKNOWN: "Who was party to a break-glass can't be told: their name is sealed, and has no key.",
    RejectionCode.TOO_LONG: "The break-glass token holds longer than the policy data lets one.",
    RejectionCode.MORE_REPLICAS: "The workload asks for more replicas than the break-glass token lets in.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason, as a value.

    Attributes:
        code: why, for machines.
        sentence: why, for the person who deploys; no capital, no full stop, safe to print.
    """

    code: RejectionCode
    sentence: str


def render_meanings() -> str:
    """The table of codes in Markdown."""
    rows = "\n".join(f"| `{code}` | {MEANINGS[code]} |" for code in RejectionCode)
    return f"| code | meaning |\n|---|---|\n{rows}\n"
