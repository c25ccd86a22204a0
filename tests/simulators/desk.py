"""An approval desk in memory: persons with keys and roles, a clock, a keyring signed by roots, and their signatures.

    >>> desk = ApprovalDesk.standard()
    >>> workload = sample_workload()
    >>> raw = {"security": desk.approve(workload, role="security")}
    >>> findings = check_approvals(
    ...     raw, keyring=desk.keyring, revocations=Revocations.none(), context=desk.context(workload)
    ... )
    >>> [(one.role, one.person, sorted(one.bindings)) for one in findings.verified]
    [('security', 'p-bob', ['images', 'model', 'projection'])]

The keys are made from their owners' names and the clock stands still until a test moves it, so that every byte is the
same in every run. A test changes what it wants to be wrong: ``desk.now += timedelta(days=31)``,
``desk.grant("bob", "security")["maxRisk"] = "medium"`` (the keyring is signed again by itself), or
``desk.sign(replace(desk.statement(workload, role="security"), environment="staging"), by="bob")``.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.approvals.envelope import Envelope, render_annotation, render_envelope
from placet.approvals.in_toto import render_in_toto, workload_subjects
from placet.approvals.key_files import parse_private_key, render_private_key
from placet.approvals.keyring import KEYRING_PAYLOAD_TYPE, VerifiedKeyring, verify_keyring
from placet.approvals.keys import PublicKey
from placet.approvals.revocations import Revocations
from placet.approvals.signing import KeySigner, Signer, add_signature, sign_payload, sign_statement
from placet.approvals.statement import ApprovalStatement, Audience, RevocationStatement, render_statement
from placet.approvals.times import render_time
from placet.approvals.verify import ApprovalContext, check_approvals
from placet.breakglass.statement import (
    REVIEW_PAYLOAD_TYPE,
    TOKEN_PAYLOAD_TYPE,
    ReviewStatement,
    TokenStatement,
    render_break_glass_review,
    render_token,
)
from placet.canonical import Digest, render_canonical
from placet.evidence.kinds import COVERAGE_TYPE, CYCLONEDX_TYPE, PLAN_TYPE, TEST_RESULT_TYPE
from placet.evidence.statement import coverage_predicate, model_predicate, plan_predicate, rollback_predicate
from placet.evidence.verify import EvidenceContext
from placet.model import BINDINGS, ROLES, Image, ModelIdentity, Projection, Workload
from placet.policy.data import load_policy_data

SHIPPED_KINDS: Final = load_policy_data(None).evidence
NOON: Final = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
ENVIRONMENTS: Final = ("development", "staging", "production")
_KEYS: Final = Path(__file__).resolve().parents[1] / "data" / "keys"

__all__ = ["NOON", "ApprovalDesk", "Revocations", "check_approvals", "sample_workload", "signer_of", "stored_signer"]


def signer_of(name: str) -> KeySigner:
    """The Ed25519 key that belongs to a name, always the same one."""
    return KeySigner.of(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def stored_signer(scheme: str) -> KeySigner:
    """The checked-in test key of a scheme whose keys can't be made from a name: ``ecdsa-p256`` or ``rsa-pss``."""
    return KeySigner.of(parse_private_key((_KEYS / f"{scheme}.pem").read_bytes(), None))


def sample_workload(**changes: Any) -> Workload:
    """A pinned Deployment that serves a model. Fields of ``Workload`` may be given another value."""
    canonical = b'{"containers":[{"image":"registry.example/llama","name":"server"}]}'
    fields: dict[str, Any] = {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
        "namespace": "ml",
        "name": "llama",
        "generated": False,
        "uid": "",
        "model": ModelIdentity("llama-3.1-70b", "1.0.0", Digest.of(b"weights")),
        "images": (
            Image(
                container="spec.template.spec.containers[server]",
                reference=f"registry.example/llama@{Digest.of(b'image')}",
                name="registry.example/llama",
                tag="",
                digest=Digest.of(b"image"),
            ),
        ),
        "projection": Projection(canonical, Digest.of(canonical)),
        "replicas": 4,
        "strategy": "rolling",
        "approvals": {},
        "evidence": {},
        "declared": {},
    }
    return Workload(**(fields | changes))


@dataclass
class ApprovalDesk:
    """Persons, keys, roots and a clock. Made by ``standard``.

    Attributes:
        now: the clock; stands still until a test moves it.
        environment: where approvals are given for unless a call says otherwise.
        cluster: the cluster they are given for.
        document: the keyring's content as JSON; whatever changes here is signed when it is next asked for.
        signers: name -> what signs for it.
        roots: what signs the keyring.
        root_threshold: how many roots must have signed.
    """

    now: datetime
    environment: str
    cluster: str
    document: dict[str, Any]
    signers: dict[str, Signer]
    roots: list[KeySigner]
    root_threshold: int = 2
    _issued: int = field(default=0, repr=False)

    @classmethod
    def standard(cls, *, environment: str = "production", cluster: str = "prod-eu-1") -> ApprovalDesk:
        """alice technical, bob security, carol business, dave executive; erin technical and security; ci attests.

        Three roots of which two must sign. Grants reach every environment, model and namespace, up to critical.
        """
        desk = cls(
            now=NOON,
            environment=environment,
            cluster=cluster,
            document={
                "schema": "placet.dev/keyring/v1",
                "version": 1,
                "issued": render_time(NOON - timedelta(days=30)),
                "expires": render_time(NOON + timedelta(days=335)),
                "thresholds": dict.fromkeys(ROLES, 1),
                "identities": [],
                "revokedApprovals": [],
            },
            signers={},
            roots=[signer_of(f"root-{number}") for number in (1, 2, 3)],
        )
        for name, roles in {
            "alice": ["technical"],
            "bob": ["security"],
            "carol": ["business"],
            "dave": ["executive"],
            "erin": ["technical", "security"],
        }.items():
            desk.add(name, roles=roles)
        desk.add("ci", facts=["parameters", "data_classification", "coverage", "rollback", "strategy"])
        return desk

    # -- the keyring

    def add(
        self,
        name: str,
        *,
        roles: Iterable[str] = (),
        facts: Sequence[str] = (),
        person: str = "",
        signer: Signer | None = None,
    ) -> dict[str, Any]:
        """Add an identity ``<name>@example.org``; gives its entry in the document for further changes."""
        self.signers[name] = signer or signer_of(name)
        entry: dict[str, Any] = {
            "id": f"{name}@example.org",
            "person": person or f"p-{name}",
            "keys": [self.key_entry(self.signers[name].public_key)],
            "grants": [
                {
                    "role": role,
                    "environments": list(ENVIRONMENTS),
                    "maxRisk": "critical",
                    "models": ["*"],
                    "namespaces": ["*"],
                }
                for role in roles
            ],
        }
        if facts:
            entry["attests"] = [{"facts": list(facts), "models": ["*"]}]
        self.document["identities"].append(entry)
        return entry

    def key_entry(self, key: PublicKey) -> dict[str, Any]:
        """A key as the keyring writes it, valid for a year around the clock."""
        return {
            "fingerprint": key.fingerprint,
            "scheme": key.scheme,
            "publicKey": base64.b64encode(key.spki).decode(),
            "validFrom": render_time(NOON - timedelta(days=60)),
            "validUntil": render_time(NOON + timedelta(days=305)),
        }

    def identity(self, name: str) -> dict[str, Any]:
        """An identity's entry in the document."""
        entries: list[dict[str, Any]] = self.document["identities"]
        return next(entry for entry in entries if entry["id"] == f"{name}@example.org")

    def grant(self, name: str, role: str) -> dict[str, Any]:
        """One grant in the document."""
        grants: list[dict[str, Any]] = self.identity(name)["grants"]
        return next(grant for grant in grants if grant["role"] == role)

    def revoke_key(self, name: str, *, at: datetime, how: str) -> None:
        """Mark the identity's first key as ``superseded`` or ``compromised``."""
        self.identity(name)["keys"][0] |= {"revokedAt": render_time(at), "revocation": how}

    @property
    def root_keys(self) -> tuple[PublicKey, ...]:
        """The roots that configuration would pin."""
        return tuple(root.public_key for root in self.roots)

    @property
    def keyring_bytes(self) -> bytes:
        """The keyring as a file holds it, signed by as many roots as are wanted."""
        envelope = sign_payload(self.roots[0], render_canonical(self.document), KEYRING_PAYLOAD_TYPE)
        for root in self.roots[1 : self.root_threshold]:
            envelope = add_signature(envelope, root)
        return render_envelope(envelope)

    @property
    def keyring(self) -> VerifiedKeyring:
        """The keyring, verified at the desk's time."""
        return verify_keyring(self.keyring_bytes, roots=self.root_keys, threshold=self.root_threshold, now=self.now)

    # -- approvals

    def statement(
        self,
        workload: Workload,
        *,
        role: str,
        environment: str | None = None,
        max_risk: str = "critical",
        lifetime: timedelta = timedelta(days=30),
        risk_inputs: Digest | None = None,
        ticket: str = "CHG-1",
        reason: str = "looks good",
    ) -> ApprovalStatement:
        """What somebody would sign for this workload now."""
        self._issued += 1
        return ApprovalStatement(
            approval_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://placet.dev/desk/{self._issued}")),
            role=role,
            model_name=workload.model.name,
            model_version=workload.model.version,
            audience=Audience((self.cluster,), (workload.namespace,), workload.resource),
            environment=environment or self.environment,
            max_risk=max_risk,
            risk_inputs=risk_inputs or Digest.of(b"risk inputs"),
            policy=None,
            issued_at=self.now,
            not_before=self.now,
            expires=self.now + lifetime,
            ticket=ticket,
            reason=reason,
            subjects=workload_subjects(workload.projection.digest, workload.images, workload.model),
        )

    def holder_of(self, role: str) -> str:
        """The first identity with a grant for the role."""
        for name in self.signers:
            if any(grant["role"] == role for grant in self.identity(name)["grants"]):
                return name
        raise LookupError(role)

    def envelope(self, statement: ApprovalStatement | RevocationStatement, *, by: str | Sequence[str]) -> Envelope:
        """The statement signed by one or several."""
        first, *others = [by] if isinstance(by, str) else by
        envelope = sign_statement(self.signers[first], render_statement(statement))
        for name in others:
            envelope = add_signature(envelope, self.signers[name])
        return envelope

    def sign(self, statement: ApprovalStatement, *, by: str | Sequence[str]) -> str:
        """The statement signed, as the value of an annotation."""
        return render_annotation(self.envelope(statement, by=by))

    def approve(self, workload: Workload, *, role: str, by: str | Sequence[str] = "", **terms: Any) -> str:
        """An approval as the value of an annotation. ``terms`` are those of ``statement``."""
        return self.sign(self.statement(workload, role=role, **terms), by=by or self.holder_of(role))

    def approve_all(self, workload: Workload, roles: Iterable[str], **terms: Any) -> dict[str, str]:
        """role -> value of its annotation, each by the first who holds the role."""
        return {role: self.approve(workload, role=role, **terms) for role in roles}

    def revoke(self, approval_id: str, *, role: str, by: str = "", environment: str | None = None) -> bytes:
        """A signed revocation as a file holds it."""
        statement = RevocationStatement(approval_id, role, environment or self.environment, self.now, "", "withdrawn")
        return render_envelope(self.envelope(statement, by=by or self.holder_of(role)))

    # -- break-glass

    def glass_keepers(self) -> None:
        """gina and hugo may break the glass, rita may review; everywhere, up to critical."""
        for name in ("gina", "hugo"):
            self.add(name, roles=["break-glass"])
        self.add("rita", roles=["break-glass-review"])

    def token(
        self,
        workload: Workload,
        *,
        environment: str | None = None,
        lifetime: timedelta = timedelta(hours=4),
        reason: str = "the old model answers with garbage",
    ) -> TokenStatement:
        """What two persons would sign to let this workload in now."""
        self._issued += 1
        return TokenStatement(
            token_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://placet.dev/desk/token/{self._issued}")),
            model_name=workload.model.name,
            model_version=workload.model.version,
            cluster=self.cluster,
            environment=environment or self.environment,
            namespace=workload.namespace,
            workload=workload.resource,
            replicas=workload.replicas,
            issued_at=self.now,
            expires=self.now + lifetime,
            ticket="INC-1",
            reason=reason,
            subjects=workload_subjects(workload.projection.digest, workload.images, workload.model),
        )

    def seal_as(self, payload: bytes, payload_type: str, *, by: Sequence[str]) -> str:
        """Any bytes of any type, signed by one or several, as the value of an annotation."""
        envelope = sign_payload(self.signers[by[0]], payload, payload_type)
        for name in by[1:]:
            envelope = add_signature(envelope, self.signers[name])
        return render_annotation(envelope)

    def break_glass(self, token: TokenStatement, *, by: Sequence[str] = ("gina", "hugo")) -> str:
        """A token as the value of an annotation."""
        return self.seal_as(render_token(token), TOKEN_PAYLOAD_TYPE, by=by)

    def glass_review(self, *tokens: TokenStatement, by: Sequence[str] = ("rita",), **changes: Any) -> str:
        """A review of tokens as the value of an annotation."""
        self._issued += 1
        review = ReviewStatement(
            review_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://placet.dev/desk/review/{self._issued}")),
            cluster=self.cluster,
            environment=self.environment,
            issued_at=self.now,
            conclusion="right at the time; approvals follow",
            tokens={token.token_id: Digest.of(render_token(token)) for token in tokens},
        )
        payload = render_break_glass_review(replace(review, **changes))
        return self.seal_as(payload, REVIEW_PAYLOAD_TYPE, by=by)

    # -- evidence

    def attest(
        self, workload: Workload, predicate_type: str, predicate: Any, *, about: str, by: str | Sequence[str] = "ci"
    ) -> str:
        """A signed predicate about the workload as the value of an annotation.

        Args:
            workload: what it is about.
            predicate_type: its URI.
            predicate: JSON, not checked here.
            about: start of the subjects' names: ``image``, ``model`` or ``projection``.
            by: who signs.
        """
        subjects = workload_subjects(workload.projection.digest, workload.images, workload.model)
        payload = render_in_toto((one for one in subjects if one.name.startswith(about)), predicate_type, predicate)
        return self.seal(payload, by=by)

    def seal(self, payload: bytes, *, by: str | Sequence[str] = "ci") -> str:
        """Any bytes, signed, as the value of an annotation."""
        first, *others = [by] if isinstance(by, str) else by
        envelope = sign_statement(self.signers[first], payload)
        for name in others:
            envelope = add_signature(envelope, self.signers[name])
        return render_annotation(envelope)

    def evidence(self, workload: Workload, *, by: str = "ci") -> dict[str, str]:
        """All five facts: 85 of 100 lines, 70.6 billion parameters, confidential, back in 3 minutes, blue_green."""
        day = timedelta(days=1)
        return {
            "coverage": self.attest(
                workload,
                COVERAGE_TYPE,
                coverage_predicate(lines=(85, 100), branches=(40, 60), issued_at=self.now, lifetime=30 * day),
                about="image",
                by=by,
            ),
            "model": self.attest(
                workload,
                CYCLONEDX_TYPE,
                model_predicate(
                    workload.model, parameters=70_600_000_000, classification="confidential", made_at=self.now
                ),
                about="model",
                by=by,
            ),
            "rollback": self.attest(
                workload, TEST_RESULT_TYPE, rollback_predicate(3, finished_at=self.now), about="projection", by=by
            ),
            "strategy": self.attest(
                workload,
                PLAN_TYPE,
                plan_predicate("blue_green", issued_at=self.now, lifetime=30 * day),
                about="projection",
                by=by,
            ),
        }

    def evidence_context(self, workload: Workload, /, **changes: Any) -> EvidenceContext:
        """The request that evidence is held against."""
        fields: dict[str, Any] = {
            "environment": self.environment,
            "cluster": self.cluster,
            "namespace": workload.namespace,
            "projection": workload.projection.digest,
            "images": workload.images,
            "model": workload.model,
            "now": self.now,
            "kinds": SHIPPED_KINDS,
        }
        return EvidenceContext(**(fields | changes))

    def context(self, workload: Workload, /, **changes: Any) -> ApprovalContext:
        """The request that the approvals are held against: a stranger deploys the workload here and now."""
        fields: dict[str, Any] = {
            "environment": self.environment,
            "cluster": self.cluster,
            "namespace": workload.namespace,
            "workload": workload.resource,
            "projection": workload.projection.digest,
            "images": workload.images,
            "model": workload.model,
            "level": "high",
            "risk_inputs": Digest.of(b"risk inputs"),
            "requester": "deployer@example.org",
            "now": self.now,
            "bindings": frozenset(BINDINGS),
        }
        return ApprovalContext(**(fields | changes))

    # -- files, for the command line and for whole systems

    def write(self, folder: Path, *, passphrase: str | None = None) -> Mapping[str, Path]:
        """Write ``keyring.dsse.json``, ``roots/*.pub``, ``keys/<name>.key`` and an empty ``revocations/``.

        Args:
            folder: an empty folder.
            passphrase: encrypts the private keys; None leaves them open.

        Returns:
            ``keyring``, ``roots``, ``keys``, ``revocations`` -> path.
        """
        paths = {name: folder / name for name in ("roots", "keys", "revocations")}
        for path in paths.values():
            path.mkdir(parents=True)
        keyring = folder / "keyring.dsse.json"
        keyring.write_bytes(self.keyring_bytes)
        for number, root in enumerate(self.roots, 1):
            (paths["roots"] / f"root-{number}.pub").write_text(root.public_key.pem)
            (paths["keys"] / f"root-{number}.key").write_bytes(render_private_key(root.private, passphrase))
        for name, signer in self.signers.items():
            if isinstance(signer, KeySigner):
                (paths["keys"] / f"{name}.key").write_bytes(render_private_key(signer.private, passphrase))
                (paths["keys"] / f"{name}.pub").write_text(signer.public_key.pem)
        return {"keyring": keyring, **paths}
