"""A gate whose log has all that its decisions rest on, as a served one has, and an auditor with public keys.

>>> cases = CaseDesk.open(tmp_path)
>>> decision = cases.decide(review(cases.approve(example(), *ROLES)))
>>> cases.judge(cases.prove(decision)).verdict.outcome
<Outcome.PROVED: 'proved'>
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.audit.log import AuditLog, render_time
from placet.audit.note import LogKey
from placet.audit.record import CONFIGURATION, SCHEMA
from placet.audit.stores.file import open_readonly
from placet.canonical import render_canonical
from placet.decision import Decision
from placet.dossier.file import render_file, verify_file
from placet.dossier.judge import Judged, Roots, judge_case
from placet.policy.bundle import shipped_bundle
from tests.simulators.gate import ORIGIN, GateDesk
from webhook.foundations import record_keyring, record_policies

ROLES: Final = ("technical", "security", "business", "executive")
CASE_KEY: Final = LogKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
KEYS: Final = [CASE_KEY.verifier]


@dataclass
class CaseDesk(GateDesk):
    """See the module."""

    folder: Path = Path()

    @classmethod
    def start(cls, folder: Path, **parts: Any) -> CaseDesk:
        """A gate that has recorded its policies and its policy data; each keyring is recorded before it is used."""
        opened = GateDesk.open(folder, **parts)
        desk = cls(**vars(opened), folder=folder)
        record_policies(desk.log, desk.desk.cluster, shipped_bundle(), desk.desk.now)
        desk.configure()
        return desk

    def configure(self) -> None:
        """Record the policy data, as the webhook does."""
        body = {
            "schema": SCHEMA,
            "type": CONFIGURATION,
            "time": render_time(self.desk.now),
            "cluster": self.desk.cluster,
            "data_digest": str(self.data.digest),
        }
        self.log.append(body, attachments={"data": render_canonical(self.data.value)})

    def decide(self, review: dict[str, Any], *, environment: str = "production") -> Decision:
        record_keyring(self.log, self.desk.cluster, self.desk.keyring, self.desk.now)
        return super().decide(review, environment=environment)

    def send(self, review: dict[str, Any]) -> Decision:
        """Decide under the keyring that was recorded last."""
        return super().decide(review)

    @property
    def store(self) -> Path:
        """The file of the record."""
        return self.folder / "record.sqlite"

    @property
    def roots(self) -> Roots:
        """What an auditor pins."""
        return Roots(self.desk.root_keys, self.desk.root_threshold)

    def sign(self) -> None:
        """Sign a checkpoint over all that is there."""
        signing = AuditLog.open(self.store, origin=ORIGIN, key=CASE_KEY)
        try:
            signing.checkpoint()
        finally:
            signing.close()

    def prove(self, decision: Decision | int) -> bytes:
        """The proof file of a decision, or of a leaf."""
        index = decision if isinstance(decision, int) else index_of(decision)
        self.sign()
        with open_readonly(self.store) as reader:
            return render_file(reader, index, KEYS)

    def judge(self, raw: bytes, *, roots: Roots | None = None) -> Judged:
        """What an auditor finds who has the file and public keys."""
        return judge_case(verify_file(raw, KEYS).case, roots or self.roots)


def index_of(decision: Decision) -> int:
    """Where a decision stands in the record."""
    assert decision.recorded is not None
    return decision.recorded.index
