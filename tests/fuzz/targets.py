"""All targets by name."""

from __future__ import annotations

from typing import Final

from tests.fuzz import decision, documents, glass, http, keeping, records, settings, signed
from tests.fuzz.target import Target

TARGETS: Final = {
    name: Target(name, run, seeds)
    for module in (documents, signed, glass, records, keeping, settings, http)
    for name, (run, seeds) in module.RUNS.items()
} | {
    name: Target(name, run, seeds, max_bytes=64 * 1024, head_line=True) for name, (run, seeds) in decision.RUNS.items()
}
