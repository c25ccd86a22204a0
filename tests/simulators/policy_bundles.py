"""Small policy bundles that nobody has to compile, and people who sign them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from placet.approvals.envelope import render_envelope
from placet.approvals.signing import add_signature, sign_statement
from placet.canonical import Digest
from placet.policy.bundle import MANIFEST, load_bundle
from placet.policy.signed import SIGNATURE, render_bundle_statement
from tests.simulators.desk import NOON, signer_of

REVISION: Final = "sha256:" + "5" * 64
_RULE: Final = {
    "title": "T",
    "description": "D",
    "severity": "high",
    "solution": "S",
    "controls": ["NIST SP 800-53 CM-3"],
}
FILES: Final = {
    "bundle.tar.gz": b"sources",
    "policy.wasm": b"\0asm",
    "defaults/rules.yaml": b"rules: {}\n",
    "schemas/data.json": b"{}",
}


def make_bundle(folder: Path, **changes: Any) -> Path:
    """A folder with a manifest and the files that it names; ``changes`` are members of the manifest."""
    manifest = {
        "schema": "placet.dev/policy-bundle/v1",
        "revision": REVISION,
        "compiler": "1.22.2",
        "entrypoints": ["admission/main/decision"],
        "files": {name: str(Digest.of(content)) for name, content in FILES.items()},
        "guard": {"id": "admission.main", **_RULE},
        "rules": [{"id": "approvals.required", **_RULE}],
        **changes,
    }
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps(manifest, sort_keys=True, indent=1) + "\n", "utf-8")
    return folder


def sign_bundle(folder: Path, *names: str, version: int = 1, revision: str | None = None) -> Path:
    """Let these people sign, each with a key that follows from the name, at noon."""
    bundle = load_bundle(folder)
    payload = render_bundle_statement(
        bundle.load_manifest(), revision or bundle.revision, version=version, issued_at=NOON
    )
    envelope = sign_statement(signer_of(names[0]), payload)
    for name in names[1:]:
        envelope = add_signature(envelope, signer_of(name))
    (folder / SIGNATURE).write_bytes(render_envelope(envelope) + b"\n")
    return folder
