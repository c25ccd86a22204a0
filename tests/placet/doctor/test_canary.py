"""The canary on demand: silent where the gate refuses, a hole where it does not, and unknown where nobody can say."""

from __future__ import annotations

import json
from typing import Any

from placet.canary import ANNOTATION, CanaryKey
from placet.doctor.canary import check_canaries
from placet.doctor.findings import Severity

KEY = CanaryKey(b"k" * 32)
PLACES = {"a": "production", "b": "staging", "c": "development"}


class Sender:
    """Refuses with the seal in a, admits in b, and is not allowed in c."""

    def create_dry_run(self, path: str, body: Any, *, timeout_s: float, hint: str) -> tuple[int, bytes]:
        assert timeout_s > 30
        assert hint
        namespace = body["metadata"]["namespace"]
        assert path == f"/apis/apps/v1/namespaces/{namespace}/deployments"
        if namespace == "b":
            return 201, b"{}"
        nonce = body["metadata"]["annotations"][ANNOTATION].partition(".")[0]
        key = KEY if namespace == "a" else CanaryKey(b"o" * 32)
        cause = key.cause(environment=PLACES[namespace], namespace=namespace, nonce=nonce, verdict="refused")
        return 403, json.dumps({"message": "no", "details": {"causes": [cause]}}).encode()


def test_only_what_this_gate_did_not_refuse_is_found() -> None:
    found = [(one.code.value, one.severity, one.where) for one in check_canaries(Sender(), KEY, PLACES)]
    assert found == [
        ("canary_admitted", Severity.HOLE, "Namespace/b environment staging"),
        ("canary_undecided", Severity.UNKNOWN, "Namespace/c environment development"),
    ]
