"""A cluster as the API answers about it, in which all is well; tests break one thing each."""

from __future__ import annotations

import base64
import copy
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from placet import __version__
from placet.apiserver import ClusterUnavailable
from placet.doctor.entries import NAME_LABEL, Asked
from placet.doctor.reading import Listing, Resource

NOW: Final = datetime(2026, 11, 23, tzinfo=UTC)
ENVIRONMENTS: Final = ("development", "production")
HOST: Final = "placet.placet-system.svc"
ASKED: Final = {
    Asked("", "pods", "", "CREATE"): ["v1"],
    Asked("", "pods", "", "UPDATE"): ["v1"],
    Asked("", "pods", "ephemeralcontainers", "UPDATE"): ["v1"],
    Asked("apps", "deployments", "", "CREATE"): ["v1"],
    Asked("apps", "deployments", "", "UPDATE"): ["v1"],
    Asked("apps", "deployments", "scale", "UPDATE"): ["v1"],
}
_RULE: Final = {"apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "scope": "Namespaced"}
RULES: Final = [
    {**_RULE, "apiGroups": [""], "resources": ["pods", "pods/ephemeralcontainers"]},
    {**_RULE, "apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"]},
]


def webhook(name: str, environment: str, operator: str, values: list[str], ca: bytes = b"") -> dict[str, Any]:
    return {
        "name": f"{name}.placet.dev",
        "clientConfig": {
            "service": {"namespace": "placet-system", "name": "placet", "path": f"/v1/admit/{environment}"},
            "caBundle": base64.b64encode(ca).decode(),
        },
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": 10,
        "objectSelector": {},
        "namespaceSelector": {
            "matchExpressions": [
                {"key": "placet.dev/environment", "operator": operator, "values": values},
                {"key": NAME_LABEL, "operator": "NotIn", "values": ["kube-system", "placet-system"]},
            ]
        },
        "rules": copy.deepcopy(RULES),
    }


def configuration(ca: bytes = b"") -> dict[str, Any]:
    entries = [webhook(name, name, "In", [name], ca) for name in ENVIRONMENTS]
    entries.append(webhook("other-namespaces", "production", "NotIn", list(ENVIRONMENTS), ca))
    return {"metadata": {"name": "placet", "labels": {"app.kubernetes.io/part-of": "placet"}}, "webhooks": entries}


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {NAME_LABEL: name, **labels}}}


NAMESPACES: Final = [
    namespace("kube-system"),
    namespace("placet-system"),
    namespace("default"),
    namespace("ml", **{"placet.dev/environment": "production"}),
    namespace("dev", **{"placet.dev/environment": "development"}),
]


def listing(name: str, *items: dict[str, Any], fault: str = "") -> Listing:
    return Listing(Resource("/api/v1", name, "it is not known"), items, fault)


def deployment(**spec: Any) -> dict[str, Any]:
    secret = {"secret": {"name": "placet-tls", "items": [{"key": "tls.crt"}, {"key": "tls.key"}]}}
    other = {"secret": {"name": "log-key", "items": [{"key": "log.key"}]}}
    template = {
        "metadata": {"labels": {"app": "placet"}},
        "spec": {"volumes": [{"projected": {"sources": [other, secret]}}, {"emptyDir": {}}]},
    }
    return {
        "metadata": {"name": "placet", "labels": {"app.kubernetes.io/version": __version__}},
        "spec": {"replicas": 2, "template": template, **spec},
        "status": {"availableReplicas": 2},
    }


SERVICE: Final = {"metadata": {"name": "placet"}, "spec": {"selector": {"app": "placet"}}}
SLICE: Final = {
    "metadata": {"name": "placet-1", "labels": {"kubernetes.io/service-name": "placet"}},
    "endpoints": [{"conditions": {"ready": True}}],
}
BUDGET: Final = {"metadata": {"name": "placet"}, "spec": {"selector": {"matchLabels": {"app": "placet"}}}}


class Issuer:
    """An authority that issues what a test asks for."""

    def __init__(self, name: str = "authority", *, days: int = 900, above: Issuer | None = None) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (above or self).sign(self.name, self.key, days=days)

    def sign(self, name: x509.Name, key: Any, *, days: int, hosts: tuple[str, ...] = ()) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=1000))
            .not_valid_after(NOW + timedelta(days=days))
        )
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def serve(self, *hosts: str, days: int = 300) -> bytes:
        """A serving certificate, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        return pem(self.sign(x509.Name([]), key, days=days, hosts=hosts))

    @property
    def pem(self) -> bytes:
        return pem(self.certificate)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class FakeApi:
    """Answers from a table of paths; what is not in it is not there, and None in it is forbidden."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def get(self, path: str, *, timeout_s: float, hint: str) -> Any:
        self.asked.append(path)
        if path not in self.answers:
            return None
        if self.answers[path] is None:
            raise ClusterUnavailable(f"the API server answers 403 to GET {path}")
        return self.answers[path]
