"""A small certificate authority for the tests: server and client certificates that live for a day."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIFETIME: Final = dt.timedelta(days=1)
# Certificates start a little in the past, for clocks that disagree.
LEEWAY: Final = dt.timedelta(minutes=5)

_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class CertificateFiles:
    """Paths of a certificate and its private key, both PEM."""

    certificate: Path
    key: Path


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def write_rsa_key(path: Path) -> Path:
    """Write a new 2048-bit RSA private key, as service account tokens need one."""
    return _write_private(path, _key_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))


class Authority:
    """A certificate authority whose files are kept in one folder.

    Example:
        >>> authority = Authority(tmp_path, "test authority")
        >>> server = authority.server(["127.0.0.1", "localhost"])
        >>> client = authority.client("alice", ["developers"])
    """

    def __init__(self, folder: Path, common_name: str) -> None:
        """Make the authority's key and its self-signed certificate."""
        self._folder = folder
        self._name = _name(common_name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issued = 0
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = _key_usage(signs_certificates=True)
        key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        builder = builder.add_extension(usage, critical=True).add_extension(key_id, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.path = folder / "ca.crt"
        self.path.write_bytes(self.pem)

    def server(self, hosts: Sequence[str], *, lifetime: dt.timedelta = LIFETIME) -> CertificateFiles:
        """A certificate for a server that is reached by these host names and IP addresses.

        A lifetime below zero gives one that has expired; it began ``LEEWAY`` ago.
        """
        names = x509.SubjectAlternativeName([_alternative_name(host) for host in hosts])
        return self._issue(_name(hosts[0]), _SERVER, names, lifetime)

    def client(
        self, common_name: str, organizations: Sequence[str] = (), *, sans: Sequence[x509.GeneralName] = ()
    ) -> CertificateFiles:
        """A client certificate; Kubernetes reads the names as a user and its groups."""
        names = x509.SubjectAlternativeName(sans) if sans else None
        return self._issue(_name(common_name, organizations), _CLIENT, names)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: dt.timedelta = LIFETIME
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - LEEWAY)
            .not_valid_after(now + lifetime)
        )

    def _issue(
        self,
        subject: x509.Name,
        purpose: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        lifetime: dt.timedelta = LIFETIME,
    ) -> CertificateFiles:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            self._builder(subject, key, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(issuer_key, critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        self._issued += 1
        stem = self._folder / f"certificate-{self._issued}"
        certificate = builder.sign(self._key, hashes.SHA256())
        stem.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return CertificateFiles(stem.with_suffix(".crt"), _write_private(stem.with_suffix(".key"), _key_pem(key)))


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
