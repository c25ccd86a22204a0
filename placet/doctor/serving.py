"""Whether the gate answers, and whether the API server can verify who does: Service, Pods and certificates."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from placet import __version__
from placet.doctor.entries import Entry, selects
from placet.doctor.findings import Code, Finding
from placet.doctor.reading import Listing, Object, Reader, Resource, labels_of, name_of

SOON: Final = timedelta(days=30)
_TLS_FILE: Final = "tls.crt"
_VERSION_LABEL: Final = "app.kubernetes.io/version"
_SERVICE_LABEL: Final = "kubernetes.io/service-name"
_LONGEST_CHAIN: Final = 8
_DEPLOYMENTS: Final = Resource("/apis/apps/v1", "deployments", "whether enough Pods answer is not known")
_SLICES: Final = Resource("/apis/discovery.k8s.io/v1", "endpointslices", "whether any Pod is ready is not known")
_BUDGETS: Final = Resource(
    "/apis/policy/v1", "poddisruptionbudgets", "whether an eviction may take all Pods is not known"
)


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers for one Service.

    Attributes:
        namespace: of the Service.
        name: of the Service.
        service: as it is; None where there is none or it could not be read.
        deployments: of the namespace.
        slices: EndpointSlices of the namespace.
        budgets: PodDisruptionBudgets of the namespace.
        certificate: what the Pods serve with, PEM; None where it could not be read.
        unread: findings about what could not be read.
    """

    namespace: str
    name: str
    service: Object | None
    deployments: Listing
    slices: Listing
    budgets: Listing
    certificate: bytes | None
    unread: Sequence[Finding] = field(default=())

    @property
    def host(self) -> str:
        """What the API server looks for in the certificate."""
        return f"{self.name}.{self.namespace}.svc"

    @property
    def deployment(self) -> Object | None:
        """The one whose Pods the Service selects."""
        return find_deployment(self.service, self.deployments.items)


def find_deployment(service: Object | None, deployments: Sequence[Object]) -> Object | None:
    """The first Deployment whose Pods a Service selects."""
    selector = ((service or {}).get("spec") or {}).get("selector")
    for one in deployments if selector else ():
        template = (one.get("spec") or {}).get("template") or {}
        if selects({"matchLabels": selector}, labels_of(template)):
            return one
    return None


def load_serving(reader: Reader, namespace: str, name: str) -> Serving:
    """Read everything about one Service."""
    unread: list[Finding] = []
    base = f"/api/v1/namespaces/{quote(namespace, safe='')}"
    service, faults = reader.load_one(
        f"{base}/services/{quote(name, safe='')}", f"services in namespace {namespace}", "who answers is not known"
    )
    unread += faults
    listed = [reader.load_all(one, namespace=namespace) for one in (_DEPLOYMENTS, _SLICES, _BUDGETS)]
    for listing in listed:
        unread += listing.unread()
    deployments, slices, budgets = listed
    certificate, faults = _load_certificate(reader, base, find_deployment(service, deployments.items))
    unread += faults
    return Serving(namespace, name, service, deployments, slices, budgets, certificate, unread)


def _load_certificate(reader: Reader, base: str, deployment: Object | None) -> tuple[bytes | None, list[Finding]]:
    for secret in find_secrets(deployment or {}):
        found, faults = reader.load_one(
            f"{base}/secrets/{quote(secret, safe='')}", f"secrets/{secret}", "the certificate is not known"
        )
        if faults:
            return None, [Finding(Code.CERTIFICATE_UNSEEN, f"Secret/{secret}", faults[0].sentence)]
        raw = ((found or {}).get("data") or {}).get(_TLS_FILE)
        if isinstance(raw, str):
            # The private key beside it is not kept: nothing else of the Secret leaves this function.
            return _decode(raw) or b"", []
    return None, []


def find_secrets(deployment: Object) -> list[str]:
    """Secrets that the Pods mount with a file ``tls.crt``, and after them those that they mount whole."""
    spec = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    found: list[str] = []
    whole: list[str] = []
    for volume in spec.get("volumes") or ():
        sources = (volume.get("projected") or {}).get("sources") or ()
        for secret in [volume.get("secret"), *(source.get("secret") for source in sources)]:
            items = (secret or {}).get("items")
            if secret and (not items or any(one.get("key") == _TLS_FILE for one in items)):
                (found if items else whole).append(str(secret.get("name") or secret.get("secretName")))
    return found + whole


# --- who answers ---------------------------------------------------------------------------------------------------


def check_serving(seen: Serving) -> Iterator[Finding]:
    """Whether enough Pods answer."""
    yield from seen.unread
    where = f"Service/{seen.name} in {seen.namespace}"
    if seen.service is None:
        if not any(one.where.startswith("services") for one in seen.unread):
            yield Finding(Code.SERVICE_MISSING, where, "entries name it, and it is not there")
        return
    if not seen.slices.fault and not _ready(seen):
        yield Finding(Code.NO_ENDPOINTS, where, "no endpoint is ready")
    if not seen.deployments.fault:
        yield from check_deployment(seen)


def _ready(seen: Serving) -> int:
    ours = [one for one in seen.slices.items if labels_of(one).get(_SERVICE_LABEL) == seen.name]
    endpoints = [endpoint for one in ours for endpoint in one.get("endpoints") or ()]
    # Nothing said counts as ready (discovery.k8s.io/v1, EndpointConditions).
    return sum((endpoint.get("conditions") or {}).get("ready") is not False for endpoint in endpoints)


def check_deployment(seen: Serving) -> Iterator[Finding]:
    """The Deployment behind the Service."""
    found = seen.deployment
    if found is None:
        yield Finding(Code.DEPLOYMENT_MISSING, f"Service/{seen.name} in {seen.namespace}", "it selects no Deployment")
        return
    where = f"Deployment/{name_of(found)} in {seen.namespace}"
    wanted = (found.get("spec") or {}).get("replicas", 1)
    available = (found.get("status") or {}).get("availableReplicas", 0)
    if not wanted or available < wanted:
        yield Finding(Code.DEPLOYMENT_UNAVAILABLE, where, f"{available} of {wanted} Pods are available")
    if wanted == 1:
        yield Finding(Code.SINGLE_REPLICA, where, "it has one replica")
    labels = labels_of(((found.get("spec") or {}).get("template")) or {})
    budgets = [one for one in seen.budgets.items if selects((one.get("spec") or {}).get("selector"), labels)]
    if not seen.budgets.fault and not budgets:
        yield Finding(Code.NO_DISRUPTION_BUDGET, where, "no PodDisruptionBudget selects its Pods")
    version = labels_of(found).get(_VERSION_LABEL)
    if version != __version__:
        yield Finding(Code.VERSION_SKEW, where, f"it is of version {version or 'unknown'}, this is {__version__}")


# --- certificates --------------------------------------------------------------------------------------------------


def check_certificates(
    entries: Sequence[Entry], serving: Mapping[tuple[str, str], Serving], now: datetime
) -> Iterator[Finding]:
    """The caBundle of each entry, and the certificate that it has to fit. Equal faults are said once."""
    said: set[tuple[Code, str]] = set()
    for entry in entries:
        seen = serving.get(entry.service) if entry.service else None
        for finding in _check_pair(entry, seen, now):
            if (finding.code, finding.sentence) not in said:
                said.add((finding.code, finding.sentence))
                yield finding


def _check_pair(entry: Entry, seen: Serving | None, now: datetime) -> Iterator[Finding]:
    raw = entry.client.get("caBundle")
    if not raw:
        yield Finding(Code.CA_MISSING, entry.where, "it has no caBundle")
        return
    authorities = parse_certificates(_decode(str(raw)))
    if not authorities:
        yield Finding(Code.CA_INVALID, entry.where, "caBundle holds no certificate in PEM")
        return
    if seen is None or seen.certificate is None:
        until = max(one.not_valid_after_utc for one in authorities)
        yield from _check_end(Code.CA_EXPIRES, entry.where, "the last authority of caBundle", until, now)
    if seen is None:
        yield Finding(
            Code.CERTIFICATE_UNSEEN, entry.where, f"it asks {entry.client.get('url')}, which is not connected to"
        )
        return
    if seen.certificate is None:
        if not any(one.code == Code.CERTIFICATE_UNSEEN for one in seen.unread):
            yield Finding(
                Code.CERTIFICATE_UNSEEN, entry.where, f"no Secret with {_TLS_FILE} was found behind {seen.host}"
            )
        return
    yield from check_chain(seen, entry.where, authorities, now)


def check_chain(seen: Serving, where: str, authorities: Sequence[x509.Certificate], now: datetime) -> Iterator[Finding]:
    """The serving certificate against its authorities and the Service's name."""
    chain = parse_certificates(seen.certificate)
    secret = f"the certificate of {seen.host}"
    if not chain:
        yield Finding(Code.CA_MISFIT, where, f"{secret} is no certificate in PEM")
        return
    issuers = [one for one in authorities if is_issued(chain, [one])]
    if not issuers:
        issuer = chain[0].issuer.rfc4514_string() or "an issuer without a name"
        yield Finding(Code.CA_MISFIT, where, f"{secret} was issued by {issuer}, which caBundle does not have")
    else:
        until = max(one.not_valid_after_utc for one in issuers)
        yield from _check_end(Code.CA_EXPIRES, where, f"the authority of {secret}", until, now)
    if not names_host(chain[0], seen.host):
        yield Finding(Code.CERTIFICATE_NAME, where, f"{secret} does not name {seen.host}")
    if chain[0].not_valid_before_utc > now:
        yield Finding(
            Code.CERTIFICATE_EXPIRES, where, f"{secret} holds only from {_day(chain[0].not_valid_before_utc)} on"
        )
    yield from _check_end(Code.CERTIFICATE_EXPIRES, where, secret, chain[0].not_valid_after_utc, now)


def _check_end(code: Code, where: str, what: str, until: datetime, now: datetime) -> Iterator[Finding]:
    if until <= now:
        yield Finding(code, where, f"{what} expired on {_day(until)}")
    elif until - now < SOON:
        yield Finding(code, where, f"{what} expires on {_day(until)}")


def _day(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d}"


def parse_certificates(raw: bytes | None) -> list[x509.Certificate]:
    """Certificates of a PEM text; none where it is not one."""
    try:
        return x509.load_pem_x509_certificates(raw or b"")
    except ValueError:
        return []


def is_issued(chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]) -> bool:
    """Whether the first certificate leads to an authority, through the others of the chain where need be.

    A certificate that is itself among the authorities is trusted as it stands, as Go's crypto/x509 does.
    """
    current = chain[0]
    for _ in range(_LONGEST_CHAIN):
        if any(current == one or _issued(current, one) for one in authorities):
            return True
        above = next((one for one in chain[1:] if one != current and _issued(current, one)), None)
        if above is None:
            return False
        current = above
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Whether a subject alternative name covers the host; a common name alone never does."""
    try:
        found: Any = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    names = [str(name).lower() for name in found.get_values_for_type(x509.DNSName)]
    return host.lower() in names or f"*.{host.lower().partition('.')[2]}" in names


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
