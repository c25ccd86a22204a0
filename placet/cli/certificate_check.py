"""Certificates as a TLS server and its callers would find them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from placet.cli.config_checks import FINE, PROBLEM, WARNING, expiry
from placet.errors import ConfigError

_MAX_BYTES: Final = 1024 * 1024
Finding = tuple[str, str, str]
_NEW: Final = "Put a new certificate in its place; a gate that runs takes it without a restart."


def check_certificate(certificate: Path, key: Path, *, now: datetime) -> Iterator[Finding]:
    """Status, sentence and hint for a serving certificate and its key.

    Raises:
        ConfigError: a file can't be read as what it should be.
    """
    chain = load_certificates(certificate)
    first = chain[0]
    if _public(first.public_key()) != _public(_load_key(key).public_key()):
        yield PROBLEM, f"{key} is not the key of {certificate}", "Name the pair that was issued together."
        return
    status, words = expiry(first.not_valid_after_utc, now)
    if now < first.not_valid_before_utc:
        yield PROBLEM, f"{certificate}: holds only from {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on", _NEW
    names = _names(first)
    if not names:
        hint = "Kubernetes looks at subject alternative names alone: SERVICE.NAMESPACE.svc."
        yield PROBLEM, f"{certificate}: names no host", hint
    if not _serves(first):
        yield PROBLEM, f"{certificate}: is not for servers (extended key usage)", _NEW
    yield status, f"{certificate}: {words}; for {', '.join(names) or 'nobody'}", "" if status == FINE else _NEW


def check_authorities(file: Path, *, now: datetime) -> Iterator[Finding]:
    """Status, sentence and hint for a file of authorities.

    Raises:
        ConfigError: it can't be read as certificates.
    """
    for found in load_certificates(file):
        status, words = expiry(found.not_valid_after_utc, now)
        name = found.subject.rfc4514_string() or "an authority without a name"
        yield status, f"{file}: {name} {words}", ""


def load_certificates(file: Path) -> list[x509.Certificate]:
    """Every certificate of a PEM file, in order; at least one.

    Raises:
        ConfigError: it can't be read as certificates.
    """
    try:
        return x509.load_pem_x509_certificates(_read(file))
    except ValueError as exc:
        raise ConfigError(f"{file}: holds no certificate in PEM") from exc


def _load_key(file: Path) -> Any:
    try:
        return load_pem_private_key(_read(file), None)
    except (ValueError, TypeError) as exc:
        hint = "A server's key is not encrypted: nobody is there to type a passphrase."
        raise ConfigError(f"{file}: holds no private key in PEM that opens without a passphrase", hint=hint) from exc


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_MAX_BYTES)


def _public(key: Any) -> bytes:
    raw: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return raw


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def _serves(certificate: x509.Certificate) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usages))


__all__ = ["WARNING", "Finding", "check_authorities", "check_certificate", "load_certificates"]
