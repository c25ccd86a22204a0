"""Write the golden proof of the present version: a decision that rests on an earlier one, with all that both rested on.

Once for each version of the format, and never over one that is there: what was written must go on to verify.

python -m tests.golden.proofs.build
"""

from __future__ import annotations

import copy
import gzip
import json
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from placet.canonical import render_canonical
from placet.errors import PlacetError
from placet.policy.data import load_policy_data
from placet.policy.wasm import EmbeddedEngine
from placet.workload import read_workload
from tests.golden.audit.build import WITNESS
from tests.simulators.cases import CASE_KEY, ROLES, CaseDesk
from tests.simulators.gate import example, review
from tests.simulators.tampering import START

FOLDER: Final = Path(__file__).resolve().parent
PROOF: Final = FOLDER / "v2.json.gz"
COSIGNED: Final = FOLDER / "v2-cosigned.json.gz"


def attested(desk: CaseDesk) -> dict[str, Any]:
    """The example with evidence and every approval on it."""
    manifest = copy.deepcopy(example())
    held = manifest["metadata"].setdefault("annotations", {})
    for name, text in desk.desk.evidence(read_workload(manifest, kinds=desk.data.kinds)).items():
        held[f"placet.dev/evidence.{name}"] = text
    return desk.approve(manifest, *ROLES)


def scaled(desk: CaseDesk) -> bytes:
    """The proof of an update that rests on the decision that admitted the workload."""
    manifest = attested(desk)
    desk.decide(review(manifest))
    small = copy.deepcopy(manifest)
    small["spec"]["replicas"] = 3
    desk.decide(review(small, old=manifest))
    desk.desk.now += timedelta(days=40)
    decision = desk.decide(review(manifest, old=small))
    if decision.change != "scaled":
        raise PlacetError(f"{decision.change}: {decision.violations}")
    return desk.prove(decision)


def cosigned(raw: bytes) -> bytes:
    """The same proof under the same checkpoint, as a witness has cosigned it."""
    document = json.loads(raw)
    document["checkpoint"] = WITNESS.cosign(document["checkpoint"].encode(), moment=START).decode()
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def main() -> None:
    """Write what is not there yet."""
    if PROOF.exists() and not COSIGNED.exists():
        COSIGNED.write_bytes(gzip.compress(cosigned(gzip.decompress(PROOF.read_bytes())), 9, mtime=0))
        return
    if PROOF.exists():
        raise SystemExit(f"{PROOF} is there, and stays as it is")
    with tempfile.TemporaryDirectory() as folder:
        desk = CaseDesk.start(Path(folder), engine=EmbeddedEngine.default(load_policy_data(None)))
        raw = scaled(desk)
        found = [[one.part, str(one.outcome), one.code] for one in desk.judge(raw).verdict.findings]
        desk.log.close()
    PROOF.write_bytes(gzip.compress(raw, 9, mtime=0))
    (FOLDER / "v2.verdict.json").write_bytes(render_canonical(found) + b"\n")
    (FOLDER / "log.vkey").write_text(f"{CASE_KEY.verifier}\n", encoding="ascii")
    for number, key in enumerate(desk.desk.root_keys, 1):
        (FOLDER / f"root-{number}.pub").write_text(key.pem, encoding="ascii")
    print(f"wrote {PROOF}", file=sys.stderr)  # noqa: T201 - a program


if __name__ == "__main__":
    main()
