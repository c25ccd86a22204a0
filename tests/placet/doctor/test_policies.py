"""What the doctor says of signed policies: those in force, those that are offered, and why a gate refuses them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from placet.config_policy import PolicyConfig
from placet.doctor.findings import Code
from placet.doctor.policies import check_policies
from placet.policy.bundle import SHIPPED
from tests.policies.compiled import package
from tests.simulators.desk import signer_of
from tests.simulators.policy_bundles import sign_bundle

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def policy(tmp_path: Path) -> PolicyConfig:
    """Version 3, signed by ann; the source is a file that is not there."""
    shutil.copytree(SHIPPED, tmp_path / "in-force")
    sign_bundle(tmp_path / "in-force", "ann", version=3)
    (tmp_path / "ann.pub").write_text(signer_of("ann").public_key.pem, "utf-8")
    return PolicyConfig(
        engine="embedded", opa_url="", opa_ca=None, opa_bundle="push", opa_timeout_s=1.0, data=None,
        bundle=tmp_path / "in-force", bundle_keys=(tmp_path / "ann.pub",), bundle_source=f"file:{tmp_path / 'offered'}",
    )  # fmt: skip


def found(policy: PolicyConfig) -> dict[Code, str]:
    return {one.code: one.sentence for one in check_policies(policy, NOW)}


def test_policies_that_ship_need_no_word(policy: PolicyConfig) -> None:
    assert found(replace(policy, bundle=None)) == {}


def test_what_is_in_force_has_version_and_digest(policy: PolicyConfig, tmp_path: Path) -> None:
    (tmp_path / "offered").write_bytes(package(SHIPPED, tmp_path / "same", 3))
    said = found(policy)
    assert said.keys() == {Code.POLICIES_OWN}
    assert said[Code.POLICIES_OWN].startswith("version 3, sha256:")


def test_what_is_offered_is_named_and_what_is_refused_with_its_code(policy: PolicyConfig, tmp_path: Path) -> None:
    offered = tmp_path / "offered"
    offered.write_bytes(package(SHIPPED, tmp_path / "newer", 4))
    assert found(policy)[Code.POLICIES_OFFERED].startswith("version 4, ")
    for name, raw, code in (
        ("older", package(SHIPPED, tmp_path / "older", 2), "bundle_rollback"),
        ("stranger", package(SHIPPED, tmp_path / "stranger", 9, "ben"), "bundle_signatures"),
        ("short", offered.read_bytes()[:-9], "bundle_invalid"),
    ):
        offered.write_bytes(raw)
        said = found(policy)[Code.POLICIES_REFUSED]
        assert said.endswith(f"({code})"), name
        assert "(offered: " in said
    offered.unlink()
    assert "bundle_missing" in found(policy)[Code.POLICIES_UNREACHABLE]


def test_a_folder_that_nobody_signs_is_a_risk_and_one_that_is_refused_too(policy: PolicyConfig) -> None:
    assert Code.POLICIES_UNSIGNED in found(replace(policy, bundle_keys=(), bundle_source=""))
    assert policy.bundle is not None
    (policy.bundle / "signature.dsse.json").unlink()
    assert "bundle_unsigned" in found(policy)[Code.POLICIES_REFUSED]
