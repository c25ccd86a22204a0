"""What is dear to start, once for all tests of the policies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from placet.policy.guest import Guest
from tests.policies.programs import compile_guest, running_opa


@pytest.fixture(scope="session")
def harness() -> Guest:
    """The policies behind the harness, as Wasm."""
    return compile_guest(["harness/proofs", "harness/decisions", "harness/risks"])


@pytest.fixture(scope="module")
def opa_url() -> Iterator[str]:
    """An OPA server with the shipped bundle."""
    with running_opa() as url:
        yield url
