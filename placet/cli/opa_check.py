"""The OPA server as a gate would find it: asked, and given nothing."""

from __future__ import annotations

import os
from typing import Final

from placet.cli.config_checks import FINE, PROBLEM
from placet.config_policy import PolicyConfig
from placet.errors import ConfigError, EngineError
from placet.policy.data import PolicyData
from placet.policy.opa import OpaEngine

TOKEN_VARIABLE: Final = "PLACET_OPA_TOKEN"  # noqa: S105 - the name of a variable


def check_opa(policy: PolicyConfig, data: PolicyData) -> tuple[str, str, str]:
    """Status, sentence and hint: whether it answers, and with which version and bundle."""
    try:
        # The gate's own engine: what it would not send a token to, this does not either.
        engine = OpaEngine(
            policy.opa_url,
            data,
            token=os.environ.get(TOKEN_VARIABLE, ""),
            ca_file="" if policy.opa_ca is None else str(policy.opa_ca),
            push=policy.opa_bundle == "push",
            timeout_s=policy.opa_timeout_s,
        )
        try:
            engine.identify()
        finally:
            engine.close()
    except (ConfigError, EngineError) as error:
        return PROBLEM, f"{policy.opa_url}: {error} ({error.code})", error.hint
    if policy.opa_bundle == "push":
        return FINE, f"{policy.opa_url}: OPA {engine.version} answers; the gate gives it policies and data", ""
    return FINE, f"{policy.opa_url}: OPA {engine.version} with revision {engine.revision}", ""
