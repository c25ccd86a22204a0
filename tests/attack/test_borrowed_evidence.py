"""Evidence of one image says nothing of another."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.evidence.kinds import COVERAGE_TYPE
from placet.evidence.statement import coverage_predicate
from placet.workload import read_workload
from tests.simulators.gate import GateDesk, example, review

SIDECAR = {"name": "sidecar", "image": "registry.example/logger@sha256:" + "b" * 64}
UNKNOWN, BEST = 8, 2


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[GateDesk]:
    opened = GateDesk.open(tmp_path)
    yield opened
    opened.log.close()


def attested(desk: GateDesk, manifest: dict[str, Any], name: str, *containers: str) -> dict[str, Any]:
    """The manifest with a perfect coverage of some containers' images on it."""
    workload = read_workload(manifest)
    images = tuple(image for image in workload.images if any(f"[{one}]" in image.container for one in containers))
    predicate = coverage_predicate(
        lines=(100, 100), branches=(0, 0), issued_at=desk.desk.now, lifetime=timedelta(days=30)
    )
    signed = copy.deepcopy(manifest)
    signed["metadata"]["annotations"][f"placet.dev/evidence.{name}"] = desk.desk.attest(
        replace(workload, images=images), COVERAGE_TYPE, predicate, about="image"
    )
    return signed


def coverage_score(desk: GateDesk, manifest: dict[str, Any]) -> int:
    findings = desk.decide(review(manifest)).findings
    assert findings is not None
    return int(findings.document["risk"]["factors"]["testing_coverage"])


def test_a_tested_sidecar_does_not_vouch_for_the_server(desk: GateDesk) -> None:
    manifest = example()
    assert coverage_score(desk, attested(desk, manifest, "coverage", "server")) == BEST
    manifest["spec"]["template"]["spec"]["containers"].append(SIDECAR)
    assert coverage_score(desk, attested(desk, manifest, "coverage", "sidecar")) == UNKNOWN
    assert coverage_score(desk, attested(desk, manifest, "coverage", "server")) == UNKNOWN


def test_every_image_attested_by_one_or_by_several_statements_counts(desk: GateDesk) -> None:
    manifest = example()
    manifest["spec"]["template"]["spec"]["containers"].append(SIDECAR)
    assert coverage_score(desk, attested(desk, manifest, "coverage", "server", "sidecar")) == BEST
    apart = attested(desk, attested(desk, manifest, "coverage-a", "server"), "coverage-b", "sidecar")
    assert coverage_score(desk, apart) == BEST


def test_an_image_without_a_digest_has_no_coverage(desk: GateDesk) -> None:
    manifest = example()
    manifest["spec"]["template"]["spec"]["initContainers"] = [{"name": "fetch", "image": "busybox:1"}]
    assert coverage_score(desk, attested(desk, manifest, "coverage", "server")) == UNKNOWN
