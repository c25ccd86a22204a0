"""Who answers, and whether they can be verified."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from placet.doctor.entries import find_entries
from placet.doctor.reading import Reader
from placet.doctor.serving import (
    Serving,
    check_certificates,
    check_serving,
    find_secrets,
    is_issued,
    load_serving,
    parse_certificates,
)
from tests.placet.doctor.samples import (
    BUDGET,
    HOST,
    NOW,
    SERVICE,
    SLICE,
    FakeApi,
    Issuer,
    configuration,
    deployment,
    listing,
)

UNREADY = {"conditions": {"ready": False}}
WHERE = ("placet-system", "placet")


def serving(certificate: bytes | None = b"", **parts: Any) -> Serving:
    values: dict[str, Any] = {
        "service": SERVICE,
        "deployments": listing("deployments", deployment()),
        "slices": listing("endpointslices", SLICE),
        "budgets": listing("poddisruptionbudgets", BUDGET),
    } | parts
    return Serving(*WHERE, certificate=certificate, **values)


def codes(seen: Serving) -> list[str]:
    return [str(one.code) for one in check_serving(seen)]


def test_nothing_is_said_of_a_gate_that_answers() -> None:
    assert codes(serving()) == []


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"service": None}, "service_missing"),
        ({"slices": listing("endpointslices")}, "no_endpoints"),
        ({"slices": listing("endpointslices", {**SLICE, "metadata": {"name": "other"}})}, "no_endpoints"),
        ({"slices": listing("endpointslices", {**SLICE, "endpoints": [UNREADY]})}, "no_endpoints"),
        ({"deployments": listing("deployments")}, "deployment_missing"),
        ({"deployments": listing("deployments", deployment() | {"status": {}})}, "deployment_unavailable"),
        ({"deployments": listing("deployments", deployment(replicas=0))}, "deployment_unavailable"),
        ({"deployments": listing("deployments", deployment(replicas=1))}, "single_replica"),
        ({"budgets": listing("poddisruptionbudgets")}, "no_disruption_budget"),
        ({"deployments": listing("deployments", deployment() | {"metadata": {"name": "placet"}})}, "version_skew"),
    ],
)  # fmt: skip
def test_each_fault_has_its_code(parts: Any, code: str) -> None:
    assert codes(serving(**parts)) == [code]


def test_an_endpoint_that_says_nothing_of_itself_is_ready() -> None:
    assert codes(serving(slices=listing("endpointslices", {**SLICE, "endpoints": [{"addresses": ["10.0.0.1"]}]}))) == []


def test_what_could_not_be_read_is_not_called_missing() -> None:
    assert codes(serving(slices=listing("endpointslices", fault="no"), deployments=listing("x", fault="no"))) == []


def examine(ca: bytes, certificate: bytes | None) -> list[str]:
    entries = list(find_entries([configuration(ca)]))
    return [str(one.code) for one in check_certificates(entries, {WHERE: serving(certificate)}, NOW)]


def test_nothing_is_said_of_a_certificate_that_fits() -> None:
    issuer = Issuer()
    assert examine(issuer.pem, issuer.serve(HOST)) == []
    assert examine(Issuer("another").pem + issuer.pem, issuer.serve("*.placet-system.svc")) == []


@pytest.mark.parametrize(
    ("host", "days", "authority_days", "expected"),
    [
        ("elsewhere.svc", 300, 900, ["certificate_name"]),
        ("*.svc", 300, 900, ["certificate_name"]),
        (HOST, 20, 900, ["certificate_expires"]),
        (HOST, -1, 900, ["certificate_expires"]),
        (HOST, 300, 20, ["ca_expires"]),
        (HOST, 300, -1, ["ca_expires"]),
    ],
)
def test_each_fault_of_a_certificate_has_its_code(
    host: str, days: int, authority_days: int, expected: list[str]
) -> None:
    issuer = Issuer(days=authority_days)
    assert examine(issuer.pem, issuer.serve(host, days=days)) == expected


def test_an_authority_that_lasts_does_not_hide_the_end_of_the_one_that_issued() -> None:
    issuer = Issuer(days=20)
    assert examine(Issuer("another").pem + issuer.pem, issuer.serve(HOST)) == ["ca_expires"]
    assert examine(issuer.pem, None) == ["ca_expires", "certificate_unseen"]


def test_another_authority_of_the_same_name_does_not_fit() -> None:
    assert examine(Issuer().pem, Issuer().serve(HOST)) == ["ca_misfit"]
    assert examine(Issuer().pem, b"no certificate") == ["ca_misfit"]


@pytest.mark.parametrize(("ca", "code"), [(b"", "ca_missing"), (b"-----BEGIN", "ca_invalid")])
def test_a_bundle_that_is_none(ca: bytes, code: str) -> None:
    assert examine(ca, Issuer().serve(HOST)) == [code]


def test_a_certificate_that_nobody_saw_is_not_called_fine() -> None:
    assert examine(Issuer().pem, None) == ["certificate_unseen"]


def test_an_intermediate_leads_to_the_authority_and_not_without_the_chain() -> None:
    root = Issuer("root")
    middle = Issuer("middle", above=root)
    leaf = middle.serve(HOST)
    assert is_issued(parse_certificates(leaf + middle.pem), parse_certificates(root.pem))
    assert not is_issued(parse_certificates(leaf), parse_certificates(root.pem))
    assert is_issued(parse_certificates(leaf), parse_certificates(leaf))


BASE = "/api/v1/namespaces/placet-system"


def answers(issuer: Issuer) -> dict[str, Any]:
    data = {"tls.crt": base64.b64encode(issuer.serve(HOST)).decode(), "tls.key": "c2VjcmV0LWtleQ=="}
    return {
        f"{BASE}/services/placet": copy.deepcopy(SERVICE),
        f"{BASE}/secrets/placet-tls": {"data": data},
        "/apis/apps/v1/namespaces/placet-system/deployments?limit=500": {"items": [deployment()]},
        "/apis/discovery.k8s.io/v1/namespaces/placet-system/endpointslices?limit=500": {"items": [SLICE]},
        "/apis/policy/v1/namespaces/placet-system/poddisruptionbudgets?limit=500": {"items": [BUDGET]},
    }


def test_the_secret_of_the_pods_is_found_and_its_key_is_not_kept() -> None:
    issuer = Issuer()
    api = FakeApi(answers(issuer))
    seen = load_serving(Reader(api), *WHERE)
    assert seen.certificate is not None
    assert is_issued(parse_certificates(seen.certificate), [issuer.certificate])
    assert "c2VjcmV0" not in repr(seen)
    assert codes(seen) == []
    assert not any("log-key" in path for path in api.asked)


def test_a_secret_that_may_not_be_read_leaves_the_certificate_unknown() -> None:
    seen = load_serving(Reader(FakeApi({**answers(Issuer()), f"{BASE}/secrets/placet-tls": None})), *WHERE)
    assert codes(seen) == ["certificate_unseen"]
    entries = list(find_entries([configuration(Issuer().pem)]))
    assert list(check_certificates(entries, {WHERE: seen}, NOW)) == []


def test_a_service_that_may_not_be_read_is_not_called_missing() -> None:
    seen = load_serving(Reader(FakeApi({**answers(Issuer()), f"{BASE}/services/placet": None})), *WHERE)
    assert set(codes(seen)) == {"not_read"}


def test_a_secret_that_names_the_certificate_comes_before_one_that_is_mounted_whole() -> None:
    volumes = [
        {"secret": {"secretName": "whole"}},
        {"secret": {"secretName": "log", "items": [{"key": "log.key"}]}},
        {"secret": {"secretName": "mine", "items": [{"key": "tls.crt"}]}},
    ]
    assert find_secrets({"spec": {"template": {"spec": {"volumes": volumes}}}}) == ["mine", "whole"]
