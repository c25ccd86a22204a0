"""Write the golden files of the record: what its formats are, byte for byte, with a fixed key and fixed times.

python -m tests.golden.audit.build
"""

from __future__ import annotations

import base64
import hmac
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from placet.approvals.revocations import Revocation
from placet.audit.checkpoint import sign_checkpoint
from placet.audit.cosignature import Cosigner
from placet.audit.holds import render_hold
from placet.audit.log import render_time
from placet.audit.merkle import EMPTY_ROOT
from placet.audit.note import LogKey
from placet.audit.persons import NONCE, seal
from placet.audit.proof import find_leaf, prove_consistency, prove_inclusion
from placet.audit.pruning import Removal, render_prune
from placet.audit.record import BREAK_GLASS, ERASURE, EXEMPTION, SEALED_EVENT_SCHEMA, SEALED_SCHEMA, render_leaf
from placet.audit.retention import Retention
from placet.audit.stores.file import open_readonly
from placet.audit.stores.schema import OBJECTS
from placet.audit.tile_writer import write_tiles
from placet.audit.verify import verify_file
from placet.canonical import Digest, render_canonical
from placet.errors import PlacetError
from placet.revoked import render_revocation
from placet.shadow.answer import Answer, compare
from placet.shadow.leaves import Candidate, Sighting, describe_subject, render_begun, render_disagreement, render_tally
from tests.simulators.tampering import LOG_KEY, OTHER_KEY, START, build_log, decision, saved_notes
from tests.simulators.tileslog import content_of

WITNESS: Final = Cosigner("witness.example.org/w1", Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))
FOLDER: Final = Path(__file__).resolve().parent
PERSON_KEY: Final = bytes(range(32))
PERSON_NONCE: Final = bytes(range(16))
_NAMES: Final = b"placet.dev/person-names/v1\n"
_WRAP: Final = b"placet.dev/person-wrap/v1\n"
_MAGIC: Final = b"placet.dev/person-key/v1\n"


def shadow_leaves() -> dict[str, bytes]:
    """One of each event of policies that are tried on live reviews."""
    digests = [str(Digest.of(word)) for word in (b"sources", b"manifest", b"data")]
    candidate = Candidate(digests[0], digests[1], digests[2], version=8, run="0123456789abcdef")
    before = Answer(allowed=True, required_roles=("technical", "security"))
    after = Answer(
        allowed=False,
        violations=("approvals.required/role_missing",),
        required_roles=("technical", "security", "business"),
        missing_roles=("business",),
    )
    difference = compare(before, after)
    assert difference is not None
    leaf = decision(4)
    subject = describe_subject({"environment": "production", "group": "apps", "projection": digests[0], **leaf})
    in_force = {"revision": digests[2], "data_digest": digests[1]}
    sightings = [
        Sighting(subject, in_force, before, after, difference, f"d-{number}", number, render_time(START))
        for number in (4, 9)
    ]
    terms: dict[str, Any] = {"cluster": "prod-eu-1", "moment": START}
    counts = {"judged": 20, "agreed": 17, "stricter": 3, "shed": 1}
    bodies = {
        "begun": render_begun(candidate, **terms),
        "disagreement": render_disagreement(candidate, *sightings, count=3, **terms),
        "tally": render_tally(candidate, counts, since=START, ended=True, **terms),
    }
    return {f"shadow-{name}.leaf": render_leaf(body).raw for name, body in bodies.items()}


def files() -> dict[str, bytes]:
    """File name -> content."""
    keys = [LOG_KEY.verifier]
    with tempfile.TemporaryDirectory() as folder:
        store = build_log(Path(folder) / "record.db")
        notes = saved_notes(store)
        with open_readonly(store) as reader:
            found = find_leaf(reader, "uid-6")
            if found is None:
                raise PlacetError("the log has lost its leaf")
            inclusion = prove_inclusion(reader, found, keys)
            consistency = prove_consistency(reader, notes[0][1], keys)
        result = verify_file(store, keys, saved=notes)
    leaf = render_leaf(decision(4))
    revoked = Revocation(
        approval_id="eb0be67f-a228-5160-a5f2-236224c59e3b",
        role="security",
        environment="production",
        person="bob",
        statement=Digest.of(b"statement"),
        envelope=b"envelope",
    )
    revocation = render_leaf(render_revocation(revoked, cluster="prod-eu-1", moment=START))
    with tempfile.TemporaryDirectory() as folder, open_readonly(build_log(Path(folder) / "record.db")) as reader:
        write_tiles(Path(folder) / "tiles", reader, keys)
        published = content_of(Path(folder) / "tiles")
    cosigned = WITNESS.cosign(published["checkpoint"], moment=START)
    both = LogKey(LOG_KEY.name, LOG_KEY.private, successor=OTHER_KEY)
    alice, secret = seal(PERSON_KEY, PERSON_NONCE, "alice@example.org"), bytes(range(40, 72))
    naming, wrapping = (hmac.digest(secret, word, "sha256") for word in (_NAMES, _WRAP))
    file_name = f"{hmac.digest(naming, b'alice@example.org', 'sha256').hex()}.person"
    content = render_canonical(
        {"id": "0" * 32, "key": PERSON_KEY.hex(), "name": base64.b64encode(b"alice@example.org").decode()}
    )
    sealed = {"schema": SEALED_SCHEMA, NONCE: PERSON_NONCE.hex()}
    erasure = sealed | {
        "type": ERASURE,
        "time": render_time(START),
        "cluster": "prod-eu-1",
        "by": alice,
        "reason": "asked to be forgotten",
        "ticket": "DP-7",
        "keys": ["0" * 32],
        "attachments": [{"index": 3, "name": "envelope"}],
        "attachments_total": 1,
    }
    hold = render_hold(
        "case-7",
        covered=[(3, 6), (9, 10)],
        scope="model llama-3.1-70b",
        by="lee",
        reason="suit",
        ticket="L-1",
        now=START,
    )
    removal = Removal(((0, 2), (4, 5)), {"input": ((2, 4),)})
    pruned = render_prune(
        removal,
        before=5,
        size=12,
        root=EMPTY_ROOT,
        retention=Retention(),
        cutoffs=Retention().cutoffs(START),
        by="sam",
        reason="terms",
        now=START,
    )
    event = sealed | {"schema": SEALED_EVENT_SCHEMA}
    token, signed = str(Digest.of(b"token")), str(Digest.of(b"envelope"))
    glass = {
        "type": BREAK_GLASS,
        "time": render_time(START),
        "cluster": "prod-eu-1",
        "envelope_digest": signed,
    }
    used = glass | {
        "event": "used",
        "token_id": "t-1",
        "token": token,
        "decision_id": "d-1",
        "environment": "production",
        "namespace": "ml",
        "kind": "Deployment",
        "name": "llama",
        "projection": str(Digest.of(b"projection")),
        "model": {"name": "llama", "version": "3.1", "digest": ""},
        "signers": [{"person": alice, "key": "1" * 64}, {"person": "system:robot", "key": "2" * 64}],
        "user": alice,
        "issued": render_time(START),
        "expires": render_time(START),
        "review_due": render_time(START),
        "reason": f"{alice} said so",
        "ticket": "",
        "overridden": ["approvals.required/role_missing"],
    }
    reviewed = glass | {
        "event": "reviewed",
        "review_id": "r-1",
        "review": token,
        "tokens": [{"token_id": "t-1", "token": token}],
        "decision_id": "d-2",
        "person": alice,
        "key": "1" * 64,
        "reviewed": render_time(START),
        "conclusion": "right",
    }
    exempted = glass | {
        "type": EXEMPTION,
        "event": "found",
        "exemption_id": "e-1",
        "statement": token,
        "ticket": "",
        "reason": f"asked by {alice}",
        "signers": [{"person": alice, "key": "1" * 64}],
    }
    events: dict[str, dict[str, Any]] = {
        "used": used,
        "reviewed": reviewed,
        "exemption": exempted,
        "revocation": dict(revocation.body) | {"person": alice},
        "hold": hold | {"by": alice, "reason": f"suit of {alice}"},
        "prune": pruned | {"by": alice},
    }
    schema = "".join(f"{statement};\n" for _, statement in OBJECTS.values())
    return {
        "leaf": leaf.raw,
        "leaf.hash": f"{leaf.hash.hex()}\n".encode(),
        "revocation.leaf": revocation.raw,
        "hold.leaf": render_leaf(hold).raw,
        "prune.leaf": render_leaf(pruned).raw,
        "log.vkey": f"{LOG_KEY.verifier}\n".encode(),
        "checkpoint.note": notes[-1][1],
        "inclusion.json": inclusion,
        "consistency.json": consistency,
        "verification.json": render_canonical(result.render()) + b"\n",
        "schema.sql": schema.encode(),
        "witness.vkey": f"{WITNESS.verifier}\n".encode(),
        "cosigned.note": cosigned,
        "two-keys.note": sign_checkpoint(both, size=0, root=EMPTY_ROOT).note.encode(),
        "sealed.leaf": render_leaf(decision(4) | sealed | {"user": alice, "message": f"asked by {alice}"}).raw,
        "erasure.leaf": render_leaf(erasure).raw,
        **{f"sealed-{name}.leaf": render_leaf(body | event).raw for name, body in events.items()},
        **shadow_leaves(),
        "persons.key": base64.b64encode(secret) + b"\n",
        f"persons/{file_name}": _MAGIC
        + bytes(12)
        + AESGCM(wrapping).encrypt(bytes(12), content, _MAGIC + file_name.encode()),
        **{f"tiles/{name}": raw for name, raw in published.items()},
    }


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_bytes(content)
    print(f"wrote {len(files())} files to {FOLDER}", file=sys.stderr)  # noqa: T201 - a program
