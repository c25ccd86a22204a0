"""What an auditor is given, and nothing else: published files, public keys, the API server's audit log, one proof.

The store and the private keys that made them are in another folder, and gone.
"""

from __future__ import annotations

import copy
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.audit.checkpoint import verify_checkpoint
from placet.audit.cosignature import Cosigner
from placet.audit.stores.file import open_readonly
from placet.audit.tile_writer import write_tiles
from placet.dossier.file import render_file
from placet.policy.wasm import EmbeddedEngine
from placet.workload import read_workload
from tests.simulators.apiserverlog import events_of, write_log
from tests.simulators.cases import KEYS, ROLES, CaseDesk, index_of
from tests.simulators.gate import example, review

WITNESS: Final = Cosigner("witness.example.org/w1", Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))


def attested(desk: CaseDesk) -> dict[str, Any]:
    """The example with evidence and every approval on it."""
    manifest = copy.deepcopy(example())
    held = manifest["metadata"].setdefault("annotations", {})
    for name, text in desk.desk.evidence(read_workload(manifest, kinds=desk.data.kinds)).items():
        held[f"placet.dev/evidence.{name}"] = text
    return desk.approve(manifest, *ROLES)


def publish(folder: Path, making: Path, *, engine: EmbeddedEngine) -> None:
    """Fill the auditor's folder.

    Args:
        folder: the auditor's: ``published``, ``log.vkey``, ``witness.vkey``, ``roots``, ``audit.log``, ``llama.json``.
        making: the platform team's, with the store; removed at the end.
        engine: with the policies compiled.
    """
    desk = CaseDesk.start(making, engine=engine)
    manifest = attested(desk)
    admitted = desk.decide(review(manifest))
    desk.decide(review(example()))  # without approvals: refused
    desk.desk.now += timedelta(days=9)
    touched = copy.deepcopy(manifest)
    touched["metadata"]["labels"]["team"] = "serving"
    desk.decide(review(touched, old=manifest))
    desk.sign()
    with open_readonly(desk.store) as reader:
        write_tiles(folder / "published", reader, KEYS)
        note = WITNESS.cosign((folder / "published" / "checkpoint").read_bytes(), moment=desk.desk.now)
        (folder / "published" / "cosigned").mkdir()
        (folder / "published" / "cosigned" / "w1.note").write_bytes(note)
        published = verify_checkpoint(note, KEYS)
        (folder / "llama.json").write_bytes(render_file(reader, index_of(admitted), KEYS, published=published))
    write_log(folder / "audit.log", events_of(desk.store))
    (folder / "log.vkey").write_text(f"{KEYS[0]}\n", encoding="ascii")
    (folder / "witness.vkey").write_text(f"{WITNESS.verifier}\n", encoding="ascii")
    (folder / "roots").mkdir()
    for number, key in enumerate(desk.desk.root_keys, 1):
        (folder / "roots" / f"root-{number}.pub").write_text(key.pem, encoding="ascii")
    desk.log.close()
    shutil.rmtree(making)
