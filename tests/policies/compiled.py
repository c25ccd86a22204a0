"""Policies that are not those that ship, compiled once in a session, and packages of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from placet.policy.package import render_package
from tests.policies.programs import POLICIES
from tests.simulators.policy_bundles import sign_bundle
from tools import bundle as builder

STRICT: Final = """# METADATA
# title: Nobody deploys on behalf of mallory
# description: A rule of a team's own.
# custom:
#   severity: high
#   solution: Ask the team.
#   controls:
#     - NIST SP 800-53 AC-3
package admission.rules.team.strict

severity := rego.metadata.chain()[1].annotations.custom.severity

passes if input.workload.namespace != "forbidden"

report contains {"code": "namespace_forbidden"} if input.workload.namespace == "forbidden"
"""
_APPROVALS: Final = Path("admission", "rules", "approvals", "required", "required.rego")


def compile_strict(folder: Path) -> Path:
    """What ships and one rule of a team's own; gives the bundle's folder."""
    sources = _copy(folder)
    rule = sources / "admission" / "rules" / "team" / "strict" / "strict.rego"
    rule.parent.mkdir(parents=True)
    rule.write_text(STRICT, "utf-8")
    return _compile(sources, folder / "built")


def compile_open(folder: Path) -> Path:
    """What ships, but that no approval is ever missing: what a gate must never take, whoever has signed it."""
    sources = _copy(folder)
    with (sources / _APPROVALS).open("a", encoding="utf-8") as file:
        file.write("\npasses if input.schema\n")
    return _compile(sources, folder / "built")


def package(source: Path, folder: Path, version: int, *people: str) -> bytes:
    """A package of a compiled bundle, signed; a copy of the bundle is made in a new folder.

    Args:
        source: a bundle.
        folder: does not exist.
        version: to sign.
        people: who sign; ann without any.
    """
    shutil.copytree(source, folder)
    return render_package(sign_bundle(folder, *(people or ("ann",)), version=version))


def _copy(folder: Path) -> Path:
    shutil.copytree(POLICIES, folder / "sources")
    return folder / "sources"


def _compile(sources: Path, built: Path) -> Path:
    for name, content in builder.build(builder.find_opa(), sources).items():
        path = built / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return built
